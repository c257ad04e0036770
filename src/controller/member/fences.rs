//! What this member removes of what silent members left.

use std::time::Duration;

use kube::ResourceExt;

use super::Shell;
use crate::controller::fencing::{Lead, Outcome, Report};
use crate::election::{self, Part, View};

impl Shell {
    /// Goes by the kubeconfigs that the spec names.
    pub(super) fn follow_fences(&mut self) {
        let Some(spec) = &self.spec else { return };
        let namespace = self.object.namespace().unwrap_or_default();
        let shared = &self.shared;
        self.fencing
            .follow(&spec.fencing, &shared.watching, &namespace, &shared.watches);
    }

    /// Begins what is to be removed, and ends what is not any more.
    pub(super) fn tend_fences(&mut self, view: Option<&View>) {
        let is_elected = |view: &&View| matches!(view.part, Part::Waiting | Part::Leader | Part::HandingOver);
        let member = self.member.as_ref().filter(|_| view.filter(is_elected).is_some());
        let lead = member.and_then(|member| {
            Some(Lead {
                group: member.group()?,
                term: member.term(),
                lease: Duration::from_millis(u64::try_from(member.settings().lease_ms).unwrap_or(0)),
            })
        });
        let waits_for = member.map_or_else(Vec::new, election::Member::waits_for_payload_of);
        self.fencing.tend(self.id, lead, view, &waits_for);
    }

    pub(super) fn take_report(&mut self, report: &Report) {
        self.dirty = true;
        let words = report.words();
        self.chronicle.fenced(&report.name, &words);
        match &report.outcome {
            Outcome::Impossible(_) => self.tell(true, "Fencing", "FencingImpossible", words),
            Outcome::Removed(_) => {
                // That there was nothing to remove is no event.
                if let Some(term) = report.term() {
                    self.tell(false, "Fencing", "PayloadFenced", words);
                    let member = report.member;
                    self.step(election::Event::Fenced { member, term });
                }
            }
        }
    }
}
