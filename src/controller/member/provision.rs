//! What this member knows of its payload: what it is, as whom it is applied, and whether it could be run here.

use std::sync::Arc;

use super::Shell;
use crate::controller::eligibility::Verdict;
use crate::controller::sources;
use crate::election::Order;
use crate::payload::Patience;

/// Why the payload is not known where the spec cannot be read.
const SPEC_INVALID: &str = "InvalidSpec";

impl Shell {
    /// Goes by what the payload is now, as whom it is applied, and what becomes of it.
    pub(super) fn take_payload(&mut self) {
        self.dirty = true;
        let object = Arc::clone(&self.object);
        let spec = &object.spec;
        let (sources, account) = match self.spec.clone() {
            Some(valid) => (valid.payload_from, valid.service_account),
            // What a former process applied is taken down as it was applied, also where the spec is invalid.
            None => (
                Vec::new(),
                spec.service_account_name.clone().filter(|name| !name.is_empty()),
            ),
        };
        self.sources.keep(&sources);
        let is_same_policy =
            !self.application.take_policy(spec.demotion.policy) || self.order.1 != Order::Stop;
        let account = self.application.take_account(account.as_deref(), &self.shared);
        let is_same_account = matches!(account, Ok(false));
        let texts = match account {
            // As anybody else it must not be applied.
            Err(error) => Err(("CannotImpersonate", error.to_string())),
            Ok(_) if self.spec.is_none() && !spec.payload_from.is_empty() => Err((
                SPEC_INVALID,
                "the spec cannot be carried out; see InvalidSpec".to_owned(),
            )),
            Ok(_) => self.sources.texts(),
        };
        let mut is_same_text = true;
        let before = self.source_trouble.take();
        match texts {
            Ok(others) => {
                is_same_text = !self.application.take_texts(&spec.payload, others, &self.shared);
            }
            Err(trouble) => self.source_trouble = Some(trouble),
        }
        if let Some((reason, note)) = self
            .source_trouble
            .clone()
            .filter(|trouble| before.as_ref() != Some(trouble))
            && ![sources::PENDING, SPEC_INVALID].contains(&reason)
        {
            self.tell(true, "Applying", reason, note);
        }
        if is_same_text && is_same_policy && is_same_account && !self.owes_order {
            return;
        }
        if let Some(error) = self.application.error().filter(|_| !is_same_text) {
            self.tell(true, "Applying", "PayloadInvalid", error.to_owned());
        }
        if self.order.1 != Order::Hold {
            self.send_order();
        }
    }

    /// Whether the newest order is given only once the payload was read. A stop that has no list to go by looks for the
    /// payload's objects, and before that nobody is told that none are left.
    pub(super) fn waits_for_payload(&self) -> bool {
        let is_first = !self.application.has_begun();
        let is_listed = !self.store.inventory().entries.is_empty();
        let trouble = self.source_trouble.as_ref().map(|(reason, _)| *reason);
        is_blind_stop(self.order.1, is_first, is_listed, trouble)
    }

    /// Whether the payload has been unwell here for longer than it may be.
    pub(super) fn has_failed(&self) -> bool {
        self.spec.as_ref().is_some_and(|spec| {
            self.application.has_failed(Patience {
                startup: spec.startup_timeout,
                failure: spec.failure_timeout,
            })
        })
    }

    /// Whether the payload that it is to run has failed or is not known, or one that it does not run would not be taken here.
    pub(super) fn is_unfit(&self) -> bool {
        match self.order.1 {
            Order::Run { .. } => self.has_failed() || self.unknown_payload().is_some(),
            Order::Stop | Order::Hold => matches!(self.verdict(), Verdict::Refused(_)),
        }
    }

    /// Why what is to run is not what the spec says, in one word and in many.
    pub(super) fn payload_error(&self) -> Option<(&'static str, String)> {
        let invalid = self
            .application
            .error()
            .map(|error| ("PayloadInvalid", error.to_owned()));
        self.source_trouble.clone().or(invalid)
    }

    /// Whether this member could run the payload: not without knowing it, and not where a dry run says no.
    pub(super) fn verdict(&self) -> Verdict {
        let is_pending = |trouble: &(&str, String)| trouble.0 == sources::PENDING;
        match self.unknown_payload() {
            Some(why) => Verdict::Refused(why),
            None if self.source_trouble.as_ref().is_some_and(is_pending) => Verdict::Untried,
            None => self.eligibility.verdict(),
        }
    }

    /// Why there is nothing to run, and will not be in a moment.
    fn unknown_payload(&self) -> Option<String> {
        lacking(self.application.has_payload(), self.payload_error())
    }
}

/// Whether this order would stop what nobody has said yet: the first one, with the payload being read and nothing listed.
fn is_blind_stop(order: Order, is_first: bool, is_listed: bool, trouble: Option<&str>) -> bool {
    order == Order::Stop && is_first && !is_listed && trouble == Some(sources::PENDING)
}

/// Why there is nothing to run, and will not be in a moment: the payload is being read where that has just begun.
fn lacking(has_payload: bool, trouble: Option<(&'static str, String)>) -> Option<String> {
    let (_, why) = trouble.filter(|(reason, _)| !has_payload && *reason != sources::PENDING)?;
    Some(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_that_is_not_known_is_lacking_unless_it_is_being_read() {
        let trouble = |reason| Some((reason, "why".to_owned()));
        for reason in ["PayloadSourceMissing", "PayloadInvalid", SPEC_INVALID] {
            assert_eq!(
                lacking(false, trouble(reason)).as_deref(),
                Some("why"),
                "{reason}"
            );
            assert_eq!(
                lacking(true, trouble(reason)),
                None,
                "it goes on by the former one"
            );
        }
        assert_eq!(lacking(false, trouble(sources::PENDING)), None);
        assert_eq!(lacking(true, None), None);
    }

    #[test]
    fn a_first_stop_waits_until_the_payload_was_read_unless_there_is_a_list_to_go_by() {
        let pending = Some(sources::PENDING);
        assert!(is_blind_stop(Order::Stop, true, false, pending));
        assert!(!is_blind_stop(Order::Stop, true, true, pending));
        assert!(
            !is_blind_stop(Order::Stop, false, false, pending),
            "it is to stop what it runs"
        );
        assert!(!is_blind_stop(Order::Run { term: 3 }, true, false, pending));
        for known in [None, Some("PayloadSourceMissing")] {
            assert!(!is_blind_stop(Order::Stop, true, false, known));
        }
    }
}
