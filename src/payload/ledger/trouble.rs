//! What went wrong with an object: how it is told, and when it is tried again.

use std::time::Duration;

use super::{Failure, Fault, Ledger, Mode, SAVE_DELAY, Seen, Step};
use crate::cluster::ObjectKey;
use crate::payload::{backoff::Backoff, status::ObjectState};

/// The server answers, but not now: soon tried again, and rarely when that goes on.
pub(super) const UNAVAILABLE: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
/// What is needed first may come at any moment.
pub(super) const MISSING: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
/// Only a person can change it.
pub(super) const REFUSED: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(60));
/// Between two repairs of an object that somebody else keeps changing.
pub(super) const CONTESTED: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30));
/// After so many failures a Namespace or CustomResourceDefinition stays, since nobody knows what is in it.
pub(super) const LIST_ATTEMPTS: u32 = 6;
/// So many repairs in a row are made at once; then somebody is taken to be working against us.
pub(super) const REPAIRS_AT_ONCE: u32 = 3;
/// An object that was left alone for so long is contested no more.
pub(super) const REPAIR_MEMORY: Duration = Duration::from_secs(60);
/// The longest text about one object: a sentence of the API server with long names in it.
pub(super) const MESSAGE_BYTES_MAX: usize = 600;

impl Ledger {
    /// Somebody else changed or deleted an object that was right: it is repaired, ever later if that goes on.
    pub(super) fn note_drift(&mut self, now: Duration, key: &ObjectKey) {
        let Some(item) = self.items.get_mut(key) else {
            return;
        };
        if !matches!(self.mode, Mode::Running { .. }) || item.repair.under_way || item.document.is_none() {
            return;
        }
        let repair = &mut item.repair;
        repair.count = if now.saturating_sub(repair.last) < REPAIR_MEMORY {
            repair.count + 1
        } else {
            1
        };
        (repair.under_way, repair.last) = (true, now);
        if let Some(attempts) = repair
            .count
            .checked_sub(REPAIRS_AT_ONCE)
            .filter(|attempts| *attempts > 0)
        {
            item.due = now + CONTESTED.delay(attempts, &mut self.rng);
        }
    }

    pub(super) fn failed(
        &mut self,
        now: Duration,
        key: &ObjectKey,
        step: &Step,
        failure: Failure,
        maybe_until: Option<Duration>,
    ) {
        if let Failure::Missing(_) = failure {
            self.doubt_what_is_shared(now, key);
        }
        let Some(item) = self.items.get_mut(key) else {
            return;
        };
        if maybe_until.is_some() {
            (item.maybe_until, item.seen) = (maybe_until, Seen::Unsure);
            item.maybe_created = true;
        }
        if item.suspected && matches!(failure, Failure::Forbidden(_)) {
            // What no inventory lists and that account may not even read it has not written either. Whether the controller may
            // act as that account says nothing about the object.
            (item.seen, item.maybe_created) = (Seen::Absent, false);
            return;
        }
        let (state, backoff, at_least) = match &failure {
            // Nothing was done; it goes on with the next claim.
            Failure::Unclaimed => return,
            Failure::Missing(_) => (ObjectState::Unavailable, MISSING, None),
            Failure::Rejected(_) => (ObjectState::Rejected, REFUSED, None),
            Failure::Forbidden(_) | Failure::NotImpersonated(_) => (ObjectState::Forbidden, REFUSED, None),
            Failure::Unavailable(_, retry_after) => (ObjectState::Unavailable, UNAVAILABLE, *retry_after),
        };
        let attempts = item.fault.as_ref().map_or(0, |fault| fault.attempts) + 1;
        if matches!(step, Step::ListContents | Step::ListCustomResources)
            && (backoff == REFUSED || attempts > LIST_ATTEMPTS)
        {
            item.kept = true;
            let message = format!(
                "left in place, since it cannot be told whether it holds what is not ours: {failure}"
            );
            item.fault = Some(Fault {
                state: ObjectState::Kept,
                message,
                attempts: 0,
            });
            self.save_due.get_or_insert(now + SAVE_DELAY);
            self.no_longer_expect_gone(key);
            return;
        }
        let delay = backoff.delay(attempts, &mut self.rng);
        item.due = now + at_least.map_or(delay, |wait| delay.max(wait.min(backoff.max)));
        item.fault = Some(Fault {
            state,
            message: cut(failure.to_string()),
            attempts,
        });
    }

    /// What was found to be there before, and is used, is gone perhaps: it is not watched, so it is asked for again.
    pub(super) fn doubt_what_is_shared(&mut self, now: Duration, key: &ObjectKey) {
        for (shared, item) in &mut self.items {
            let needed = shared.is_custom_resource_definition()
                || shared.is_namespace() && Some(&shared.name) == key.namespace.as_ref();
            if needed && matches!(item.seen, Seen::Foreign(_)) && item.document.is_some() {
                (item.seen, item.due) = (Seen::Unsure, now);
            }
        }
    }
}

/// An API server may quote a whole value in its refusal, and a full inventory leaves little room in the status: what a
/// person needs stands at the beginning.
pub(super) fn cut(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        message.push('…');
    }
    message
}
