//! Payloads of former leaders that may be running elsewhere: a leader waits for each of them before it starts its own.
//!
//! An obligation ends with the stop budget, with the former leader's word ([`Message::Stopped`]), or with a *fencing
//! receipt*: the caller removed that leader's payload through its cluster's API server, and a list showed none of it.
//! The former leader may be alive all the same, cut off from this member but not from its API server, so that a receipt
//! counts only for what cannot come back or be somebody else's:
//! - It is believed for the leader that a voter's promise names, where the promise is over and led to this member's
//!   election. A claim needs a majority of promises, so nobody holds one of an earlier term by then, and without a claim
//!   nothing is created. In an unguarded pair a claim needs nobody's promise: no receipt is believed there.
//! - It is believed up to the term that the removed objects bore, and no further. A leader that came to run its payload in
//!   a term had itself waited for those before it; one that died while it waited leaves the payload of a third member to
//!   be waited for.
//!
//! To write a higher term into the other member's status instead, or into an object beside its payload, would not do: its
//! controller goes by its claim when it writes the payload, and would see either mark a moment later.
//!
//! [`Message::Stopped`]: super::Message::Stopped

use super::member::{Member, Role};
use super::types::{MemberId, Term, Tick};

/// A payload that may be running elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Obligation {
    /// The last leader that a voter had promised, where it remembers.
    pub leader: Option<MemberId>,
    /// That leader's term: the payload is of this or an earlier one.
    pub term: Term,
    /// Until when it may be running.
    pub until: Tick,
    /// Whether that leader's claim is over for certain.
    pub claim_is_over: bool,
}

impl Member {
    /// Members whose payload keeps this one, which was elected, from starting its own.
    #[must_use]
    pub fn waits_for_payload_of(&self) -> Vec<MemberId> {
        if !matches!(&self.role, Role::Leading(leading) if !leading.serving) {
            return Vec::new();
        }
        let mut leaders: Vec<MemberId> = self.obligations.iter().filter_map(|one| one.leader).collect();
        leaders.sort_unstable();
        leaders.dedup();
        leaders.retain(|leader| *leader != self.id);
        leaders
    }

    pub(super) fn on_fenced(&mut self, member: MemberId, term: Term) {
        let is_settled = |one: &Obligation| {
            let is_named = one.leader == Some(member);
            let is_covered = one.term <= term;
            one.claim_is_over && is_named && is_covered
        };
        self.obligations.retain(|one| !is_settled(one));
    }
}

#[cfg(test)]
mod tests;
