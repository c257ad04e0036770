//! Kubernetes Events on MultiClusters.
//!
//! An Event is a courtesy: it is dropped rather than let anything wait, and it is not repeated when the API server
//! does not take it. What must be known stands in the object's conditions.

use std::collections::VecDeque;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event as KubeEvent, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::clock::boottime;

/// Events that wait to be sent: a transition makes a few, and tens of MultiClusters may have theirs at once.
const QUEUE_MAX: usize = 256;
/// How long one Event may take to be sent.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// For how long the same Event is not sent again, as long as `kubectl describe` shows the first as recent.
const REPEAT_AFTER: Duration = Duration::from_secs(300);
/// Events remembered so that they are not sent again; beyond it the oldest may be.
const REMEMBERED_MAX: usize = 256;
/// Longest reason and note that the API server takes, in bytes.
const REASON_MAX_BYTES: usize = 128;
const NOTE_MAX_BYTES: usize = 1024;

/// What happened to an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The object that it happened to.
    pub about: ObjectReference,
    /// Whether an operator should look.
    pub warning: bool,
    /// What was being done, as one word in CamelCase: `Electing`.
    pub action: &'static str,
    /// What came of it, as one word in CamelCase: `BecameLeader`.
    pub reason: &'static str,
    /// The same in words that an operator acts on.
    pub note: String,
}

/// Where Events are handed in. Clones share one queue.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Event>,
}

/// Sends the Events that were handed in, one after the other.
pub struct Publisher {
    queue: mpsc::Receiver<Event>,
    client: Client,
    reporter: Reporter,
}

/// A queue for Events, and the publisher that empties it. `instance` tells controllers apart: the Pod's name.
#[must_use]
pub fn channel(client: Client, instance: Option<String>) -> (Events, Publisher) {
    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    let reporter = Reporter {
        controller: "flagship.dev/controller".to_owned(),
        instance,
    };
    (
        Events { queue: sender },
        Publisher {
            queue: receiver,
            client,
            reporter,
        },
    )
}

impl Events {
    /// Hands an Event in, at once. It is dropped when too many wait.
    pub fn publish(&self, event: Event) {
        if let Err(error) = self.queue.try_send(event) {
            tracing::debug!(%error, "an Event was dropped");
        }
    }
}

impl Publisher {
    /// Sends until every [`Events`] is gone.
    pub async fn run(mut self) {
        let mut recent = Recent::default();
        while let Some(event) = self.queue.recv().await {
            if !recent.is_news(&event, boottime()) {
                continue;
            }
            // The recorder would fold this Event into the last one with the same reason and keep the older note, so
            // none is kept for longer than one Event; repetition has been dealt with above.
            let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
            match timeout(SEND_TIMEOUT, recorder.publish(&to_kube(&event), &event.about)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, about = event.about.name, reason = event.reason, "cannot record an Event");
                }
                Err(_elapsed) => {
                    tracing::warn!(
                        about = event.about.name,
                        reason = event.reason,
                        "recording an Event took too long"
                    );
                }
            }
        }
    }
}

fn to_kube(event: &Event) -> KubeEvent {
    KubeEvent {
        type_: if event.warning {
            EventType::Warning
        } else {
            EventType::Normal
        },
        action: event.action.to_owned(),
        reason: cut(event.reason, REASON_MAX_BYTES),
        note: Some(cut(&event.note, NOTE_MAX_BYTES)),
        secondary: None,
    }
}

fn cut(text: &str, max_bytes: usize) -> String {
    text[..text.floor_char_boundary(max_bytes)].to_owned()
}

/// The Events of late, oldest first, with the time at which each was sent.
#[derive(Debug, Default)]
struct Recent {
    sent: VecDeque<(Duration, Event)>,
}

impl Recent {
    /// Whether the Event was not sent lately; if so, it is remembered. `now` is CLOCK_BOOTTIME.
    fn is_news(&mut self, event: &Event, now: Duration) -> bool {
        while self.sent.front().is_some_and(|(at, _)| *at + REPEAT_AFTER <= now) {
            self.sent.pop_front();
        }
        if self.sent.iter().any(|(_, sent)| sent == event) {
            return false;
        }
        if self.sent.len() == REMEMBERED_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((now, event.clone()));
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn event(note: &str) -> Event {
        Event {
            about: ObjectReference {
                name: Some("newyork".to_owned()),
                ..ObjectReference::default()
            },
            warning: false,
            action: "Electing",
            reason: "BecameLeader",
            note: note.to_owned(),
        }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_same_event_is_sent_again_only_after_a_while() {
        let mut recent = Recent::default();
        assert!(recent.is_news(&event("in term 1"), at(0)));
        assert!(!recent.is_news(&event("in term 1"), at(299)));
        assert!(
            recent.is_news(&event("in term 2"), at(299)),
            "another note is another Event"
        );
        assert!(recent.is_news(&event("in term 1"), at(300)));
        assert!(!recent.is_news(&event("in term 1"), at(599)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut recent = Recent::default();
        for term in 0..1_000 {
            assert!(recent.is_news(&event(&term.to_string()), at(1)));
        }
        assert_eq!(recent.sent.len(), REMEMBERED_MAX);
        assert!(!recent.is_news(&event("999"), at(1)));
    }

    #[test]
    fn long_notes_are_cut_to_what_the_api_server_takes() {
        assert_eq!(to_kube(&event(&"é".repeat(600))).note.unwrap(), "é".repeat(512));
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_does_not_wait() {
        let (sender, mut receiver) = mpsc::channel(1);
        let events = Events { queue: sender };
        events.publish(event("kept"));
        events.publish(event("dropped"));
        drop(events);
        assert_eq!(receiver.recv().await.unwrap().note, "kept");
        assert!(receiver.recv().await.is_none());
    }
}
