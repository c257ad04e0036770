//! No more than one member leads in a term (promise G1).

use std::collections::BTreeMap;

use super::Sight;
use crate::election::{GroupId, MemberId, Term};

/// Who led in each term.
#[derive(Default)]
pub(super) struct Leaders {
    by_term: BTreeMap<(GroupId, Term), MemberId>,
    /// What was seen last: most often it is seen again.
    last: Option<(GroupId, Term, MemberId)>,
}

impl Leaders {
    pub(super) fn see(&mut self, sight: Sight) -> Option<String> {
        let Sight { id, group, term, .. } = sight;
        if self.last == Some((group, term, id)) {
            return None;
        }
        self.last = Some((group, term, id));
        let leader = *self.by_term.entry((group, term)).or_insert(id);
        (leader != id).then(|| format!("G1: {leader} and {id} both led in term {term}"))
    }
}
