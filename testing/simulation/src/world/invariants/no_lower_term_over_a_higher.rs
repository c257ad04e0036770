//! Terms are fencing tokens: once the payload was started in one, none is started in a lower one, and in the same only by
//! the same member.

use std::collections::BTreeMap;

use super::Sight;
use crate::election::{GroupId, MemberId, Term};

/// The highest term in which the payload of each group was started, and by whom.
#[derive(Default)]
pub(super) struct TermsThatRan {
    highest: BTreeMap<GroupId, (Term, MemberId)>,
}

impl TermsThatRan {
    pub(super) fn see(&mut self, sight: Sight) -> Option<String> {
        let Sight { id, group, term, .. } = sight;
        let (highest, by) = *self.highest.entry(group).or_insert((term, id));
        if term > highest {
            self.highest.insert(group, (term, id));
        }
        let is_lower = term < highest || (term == highest && by != id);
        is_lower.then(|| format!("{id} starts the payload in term {term} after {by} did in term {highest}"))
    }
}
