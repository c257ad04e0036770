//! One replica of a member takes the place of another, so that the group need not choose another leader.
//!
//! A cluster may have two controllers. The active one serves the members; the other takes the next incarnation of each
//! when the active one has died or was frozen for long enough that it writes nothing any more, which is the caller's to
//! know. Where the former replica led, the new one asks for the next term at once, and voters, which have promised
//! themselves to the member rather than to a replica of it, may vote for it before their promise ends.
//!
//! That is safe because a member that led in the highest term which its memory knows has promised nobody anything since:
//! whoever follows another writes that one's term first, and so does whoever votes for a successor. Others are still
//! refused for a lease, as after every start.
//!
//! The payload is spared meanwhile, for no longer than the former replica's claim lasts: by then this member leads, or the
//! payload has the stop budget yet before another may start it.

use super::command::Claim;
use super::member::Member;
use super::types::Tick;

impl Member {
    /// Takes up what the replica before this one did, which had this claim; where that has ended, or was not followed up to
    /// the end, it is a start like any other.
    pub(super) fn reprise(&mut self, former: Claim, now: Tick) {
        let Claim { term, until } = former;
        if until <= now || self.durable.term != term {
            return;
        }
        self.spared_until = Some(until);
        (self.led, self.served) = (term, term);
        if let Some(promise) = &mut self.promise {
            promise.leader = Some(self.id);
        }
    }

    /// Whether the payload of the replica before this one is left in peace yet.
    pub(super) fn spares(&mut self, now: Tick) -> bool {
        self.spared_until = self
            .spared_until
            .filter(|until| *until > now && self.resignation.is_none());
        self.spared_until.is_some()
    }
}

#[cfg(test)]
mod tests;
