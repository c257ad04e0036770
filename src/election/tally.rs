//! What a leader has counted of its voters' answers, so that one more answer costs a group of a thousand no more than a
//! group of three.

use super::leading::{Leading, Seen};
use super::member::{Member, Role};
use super::roster::{Profile, Roster, Stamp};
use super::types::{MemberId, Tick};

/// What voters other than the leader said last, counted for one roster and one claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Tally {
    /// The roster that is counted for.
    stamp: Stamp,
    /// Voters that hold it durably.
    holders: usize,
    /// Voters that say something else of themselves than it does, sorted.
    differing: Vec<MemberId>,
    /// The highest rank in it among the others that may lead.
    rival_rank: Option<i64>,
    /// The end of the claim that is counted for.
    claim_until: Option<Tick>,
    /// Voters whose promises outlast it.
    outlasting: usize,
}

impl Tally {
    /// How many voters other than the leader are known to hold this roster durably.
    pub(super) fn holders_of(&self, roster: &Roster) -> usize {
        if self.stamp == roster.stamp {
            self.holders
        } else {
            0
        }
    }

    /// Whether it is certain that the voters heard say of themselves what this roster does.
    pub(super) fn agrees_with(&self, roster: &Roster) -> bool {
        self.stamp == roster.stamp && self.differing.is_empty()
    }

    /// Whether it is certain that no voter of this roster is of a higher rank.
    pub(super) fn is_topped_by(&self, rank: i64, roster: &Roster) -> bool {
        self.agrees_with(roster) && self.rival_rank.is_none_or(|rival| rival <= rank)
    }

    fn add(&mut self, seen: &Seen, profile: Option<&Profile>) {
        self.holders += usize::from(seen.stamp == self.stamp);
        self.outlasting += usize::from(self.is_outlasted_by(seen));
        let differs = profile.is_none_or(|profile| *profile != seen.profile);
        if let (Err(at), true) = (self.differing.binary_search(&seen.id), differs) {
            self.differing.insert(at, seen.id);
        }
    }

    fn remove(&mut self, seen: &Seen) {
        self.holders -= usize::from(seen.stamp == self.stamp);
        self.outlasting -= usize::from(self.is_outlasted_by(seen));
        if let Ok(at) = self.differing.binary_search(&seen.id) {
            self.differing.remove(at);
        }
    }

    fn is_outlasted_by(&self, seen: &Seen) -> bool {
        self.claim_until.is_none_or(|until| seen.supports_until > until)
    }
}

impl Leading {
    /// Takes what one of the roster's voters says. Acknowledgements may overtake one another: an older one takes nothing
    /// back.
    pub(super) fn take(&mut self, seen: Seen, roster: &Roster) {
        let profile = roster.voter(seen.id).map(|voter| &voter.profile);
        match self.voters.binary_search_by_key(&seen.id, |known| known.id) {
            Ok(at) => {
                let known = &mut self.voters[at];
                self.tally.remove(known);
                let supports_until = known.supports_until.max(seen.supports_until);
                if (seen.sequence, seen.stamp) >= (known.sequence, known.stamp) {
                    *known = seen;
                }
                known.supports_until = supports_until;
                self.tally.add(known, profile);
            }
            Err(at) => {
                self.tally.add(&seen, profile);
                self.voters.insert(at, seen);
            }
        }
    }

    /// How many voters' promises outlast the claim that ends then; all do where there is none.
    pub(super) fn outlasting(&mut self, claim_until: Option<Tick>) -> usize {
        if self.tally.claim_until != claim_until {
            self.tally.claim_until = claim_until;
            let outlast = |seen: &&Seen| self.tally.is_outlasted_by(seen);
            self.tally.outlasting = self.voters.iter().filter(outlast).count();
        }
        self.tally.outlasting
    }
}

impl Member {
    /// Counts anew: the leader has begun, or holds another roster.
    pub(super) fn recount(&mut self) {
        let own = self.id;
        let Some(roster) = self.shared_roster() else {
            return;
        };
        let Role::Leading(leading) = &mut self.role else {
            return;
        };
        let rivals = roster.voters.iter().filter(|voter| voter.id != own);
        let mut tally = Tally {
            stamp: roster.stamp,
            rival_rank: rivals
                .filter(|voter| voter.profile.duty.is_candidate())
                .map(|voter| voter.profile.rank)
                .max(),
            claim_until: leading.tally.claim_until,
            ..Tally::default()
        };
        for seen in &leading.voters {
            tally.add(seen, roster.voter(seen.id).map(|voter| &voter.profile));
        }
        leading.tally = tally;
    }
}

#[cfg(test)]
mod tests;
