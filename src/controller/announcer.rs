//! Tells people what happens to one MultiCluster, by the log and by Events.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt};
use tokio::time::Instant;

use crate::api::MultiCluster;
use crate::observe::events::{Event, Events};

/// After this a warning that goes on is told again.
const WARN_AGAIN: Duration = Duration::from_secs(60);

/// Tells people of one object.
pub(super) struct Announcer {
    object: String,
    reference: ObjectReference,
    events: Events,
    warnings: Warnings,
}

impl Announcer {
    pub(super) fn new(object: &MultiCluster, events: Events) -> Announcer {
        Announcer {
            object: format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any()),
            reference: object.object_ref(&()),
            events,
            warnings: Warnings::default(),
        }
    }

    /// Tells; a warning that goes on is repeated now and then.
    pub(super) fn tell(&mut self, warning: bool, action: &'static str, reason: &'static str, note: String) {
        let object = &self.object;
        if warning {
            if !self.warnings.is_news(reason, &note, Instant::now()) {
                return;
            }
            tracing::warn!(object, reason, "{note}");
        } else {
            tracing::info!(object, reason, "{note}");
        }
        self.events.publish(Event {
            about: self.reference.clone(),
            warning,
            action,
            reason,
            note,
        });
    }
}

/// The last warning of each reason, and when it was told.
#[derive(Default)]
struct Warnings {
    told: BTreeMap<&'static str, (String, Instant)>,
}

impl Warnings {
    fn is_news(&mut self, reason: &'static str, note: &str, now: Instant) -> bool {
        let told = self.told.get(reason);
        if told.is_some_and(|(told, at)| told == note && now.duration_since(*at) < WARN_AGAIN) {
            return false;
        }
        self.told.insert(reason, (note.to_owned(), now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_that_goes_on_is_told_again_after_a_while() {
        let mut warnings = Warnings::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(warnings.is_news("CannotListen", "port in use", at(0)));
        assert!(!warnings.is_news("CannotListen", "port in use", at(59)));
        assert!(warnings.is_news("CannotStop", "port in use", at(59)));
        assert!(warnings.is_news("CannotListen", "port in use", at(60)));
        assert!(warnings.is_news("CannotListen", "permission denied", at(61)));
    }
}
