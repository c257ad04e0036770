//! Whether this member could run the payload, as far as its own API server says beforehand.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::{Access, Catalog};
use crate::payload::{Owner, Payload, Rehearsal, rehearse};

/// A dry run does not stand beside the writes of a move that has just been made, here or in the next cluster.
const SETTLE: Duration = Duration::from_secs(2);
/// Between two rehearsals of the same payload: rights, quotas and policies change without notice.
const INTERVAL: Duration = Duration::from_secs(300);
/// As long as it is refused: who mends that wants to see it.
const REFUSED_INTERVAL: Duration = Duration::from_secs(30);
/// After a rehearsal that told nothing, at first and at last.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// What is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was not tried yet.
    #[default]
    Untried,
    /// The API server would take it.
    Permitted,
    /// It would not: which object, and why.
    Refused(String),
}

/// What is rehearsed.
#[derive(Clone)]
struct Subject {
    payload: Arc<Payload>,
    access: Access,
}

impl Subject {
    fn is_same(&self, other: &Subject) -> bool {
        Arc::ptr_eq(&self.payload, &other.payload) && self.access.user() == other.access.user()
    }
}

/// Rehearses the payload of one MultiCluster while it is not run here.
pub(super) struct Eligibility {
    subject: watch::Sender<Option<Subject>>,
    verdict: watch::Receiver<Verdict>,
    /// It ends with this.
    _task: AbortOnDropHandle<()>,
}

impl Eligibility {
    pub(super) fn start(catalog: Arc<Catalog>, owner: Owner) -> Eligibility {
        let (subject, subjects) = watch::channel(None);
        let (verdicts, verdict) = watch::channel(Verdict::default());
        let task = tokio::spawn(run(catalog, owner, subjects, verdicts));
        Eligibility {
            subject,
            verdict,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Rehearses this from now on; nothing without it, as long as it is run, or being stopped. What was found counts until
    /// something else is.
    pub(super) fn tend(&self, in_waiting: Option<(Arc<Payload>, Access)>) {
        let subject = in_waiting.map(|(payload, access)| Subject { payload, access });
        self.subject.send_if_modified(|known| {
            let is_same = match (&subject, &known) {
                (Some(subject), Some(known)) => subject.is_same(known),
                (None, None) => true,
                _ => false,
            };
            *known = subject;
            !is_same
        });
    }

    /// Waits for another verdict.
    pub(super) async fn changed(&mut self) {
        // The task ends with this.
        if self.verdict.changed().await.is_err() {
            std::future::pending().await
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.verdict.borrow().clone()
    }
}

async fn run(
    catalog: Arc<Catalog>,
    owner: Owner,
    mut subjects: watch::Receiver<Option<Subject>>,
    verdicts: watch::Sender<Verdict>,
) {
    let mut retry = RETRY.0;
    loop {
        let subject = subjects.borrow_and_update().clone();
        let again_in = match subject {
            None => None,
            Some(Subject { payload, access }) => {
                let rehearsing = async {
                    tokio::time::sleep(SETTLE).await;
                    rehearse(&access, &catalog, &owner, &payload).await
                };
                let rehearsal = tokio::select! {
                    rehearsal = rehearsing => rehearsal,
                    changed = subjects.changed() => match changed {
                        Ok(()) => continue,
                        Err(_closed) => return,
                    },
                };
                let (verdict, again_in) = match rehearsal {
                    Rehearsal::Permitted => (Some(Verdict::Permitted), INTERVAL),
                    Rehearsal::Refused { object, cause } => (
                        Some(Verdict::Refused(format!("{object}: {cause}"))),
                        REFUSED_INTERVAL,
                    ),
                    Rehearsal::Unknown(why) => {
                        tracing::debug!(multicluster = %owner, why, "a dry run of the payload told nothing");
                        let again_in = retry;
                        retry = (retry * 2).min(RETRY.1);
                        (None, again_in)
                    }
                };
                if let Some(verdict) = verdict {
                    retry = RETRY.0;
                    verdicts.send_if_modified(|known| {
                        let changed = *known != verdict;
                        *known = verdict;
                        changed
                    });
                }
                // Many members of one cluster that began together do not ask together for ever.
                Some(again_in.mul_f64(rand::rng().random_range(0.75..1.25)))
            }
        };
        let pause = async {
            match again_in {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = pause => {}
            changed = subjects.changed() => if changed.is_err() {
                return;
            },
        }
    }
}
