//! Who votes, agreed and versioned together with the group's settings.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::settings::{QuorumMode, Settings};
use super::types::{MemberId, MemoryId, Term};

/// Orders two rosters of one group: the term of the leader that wrote it, then its count of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// The term in which the roster was written.
    pub term: Term,
    /// Counts the changes of the roster since the group was founded.
    pub version: u64,
}

/// What a member takes part for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Duty {
    /// It votes, and leads if it is elected.
    #[default]
    Candidate,
    /// It votes and never leads.
    Witness,
}

impl Duty {
    pub(super) fn is_candidate(&self) -> bool {
        *self == Duty::Candidate
    }
}

/// What a member says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Profile {
    /// For people: the name of its `MultiCluster`.
    pub name: Arc<str>,
    /// How the others reach it, `host:port`.
    pub address: Arc<str>,
    /// The higher is preferred as leader.
    pub rank: i64,
    /// What it takes part for.
    #[serde(default, skip_serializing_if = "Duty::is_candidate")]
    pub duty: Duty,
}

/// One member with a vote.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Voter {
    /// Its identity.
    pub id: MemberId,
    /// The memory of votes with which it was admitted.
    pub memory: MemoryId,
    /// What it says of itself.
    #[serde(flatten)]
    pub profile: Profile,
}

/// The voters and the settings that a group agreed on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Roster {
    /// Orders it among the rosters of its group.
    pub stamp: Stamp,
    /// Timing and quorum.
    pub settings: Settings,
    /// Sorted by identity.
    pub voters: Vec<Voter>,
    /// The most voters that the group ever had: a group that had three never falls back to quorum `None`.
    pub peak: usize,
    /// The voter that a person asked to lead: preferred to all others whatever their ranks, until it falls out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<MemberId>,
}

impl Roster {
    /// The roster of a group that is being founded by `voter`.
    #[must_use]
    pub fn founded(voter: Voter, settings: Settings) -> Roster {
        Roster {
            stamp: Stamp { term: 1, version: 1 },
            settings,
            voters: vec![voter],
            peak: 1,
            chosen: None,
        }
    }

    /// The voter with this identity.
    #[must_use]
    pub fn voter(&self, id: MemberId) -> Option<&Voter> {
        let at = self.voters.binary_search_by_key(&id, |voter| voter.id).ok()?;
        self.voters.get(at)
    }

    /// Whether each voter may lead alone although there are two (quorum `None`).
    #[must_use]
    pub fn is_unguarded(&self) -> bool {
        self.voters.len() == 2
            && match self.settings.quorum {
                QuorumMode::None => true,
                QuorumMode::Auto => self.peak <= 2,
                QuorumMode::Majority => false,
            }
    }

    /// How many voters, itself included, a leader needs.
    #[must_use]
    pub fn need(&self) -> usize {
        if self.is_unguarded() {
            1
        } else {
            self.voters.len() / 2 + 1
        }
    }

    /// The greater is preferred: the chosen one, then rank, identity where ranks are equal.
    #[must_use]
    pub fn preference(&self, voter: &Voter) -> (bool, i64, MemberId) {
        (self.chosen == Some(voter.id), voter.profile.rank, voter.id)
    }

    /// The next roster, written in `term`, with one voter added.
    #[must_use]
    pub fn with(&self, voter: Voter, term: Term) -> Roster {
        let mut next = self.next(term);
        next.voters.retain(|v| v.id != voter.id);
        next.voters.push(voter);
        next.voters.sort_by_key(|v| v.id);
        next.peak = next.peak.max(next.voters.len());
        next
    }

    /// The next roster, written in `term`, with one voter removed.
    #[must_use]
    pub fn without(&self, id: MemberId, term: Term) -> Roster {
        let mut next = self.next(term);
        next.voters.retain(|v| v.id != id);
        next.chosen = next.chosen.filter(|chosen| *chosen != id);
        next
    }

    /// The next roster, written in `term`, otherwise the same.
    #[must_use]
    pub fn next(&self, term: Term) -> Roster {
        let stamp = Stamp {
            term,
            version: self.stamp.version + 1,
        };
        Roster {
            stamp,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voter(id: u128, rank: i64) -> Voter {
        let profile = Profile {
            name: format!("m{id}").into(),
            address: format!("m{id}:1").into(),
            rank,
            duty: Duty::Candidate,
        };
        Voter {
            id: MemberId(id),
            memory: MemoryId(id),
            profile,
        }
    }

    fn roster(quorum: QuorumMode, voters: u128) -> Roster {
        let settings = Settings {
            quorum,
            ..Settings::FAST
        };
        (2..=voters).fold(Roster::founded(voter(1, 1), settings), |roster, id| {
            roster.with(voter(id, 1), 1)
        })
    }

    #[test]
    fn quorum_follows_mode_and_size() {
        let need = |quorum, voters| roster(quorum, voters).need();
        assert_eq!(
            [1, 2, 3, 4, 5].map(|n| need(QuorumMode::Majority, n)),
            [1, 2, 2, 3, 3]
        );
        assert_eq!([1, 2, 3].map(|n| need(QuorumMode::Auto, n)), [1, 1, 2]);
        assert_eq!([1, 2].map(|n| need(QuorumMode::None, n)), [1, 1]);
    }

    #[test]
    fn a_group_that_had_three_voters_never_falls_back_to_none() {
        let shrunk = roster(QuorumMode::Auto, 3).without(MemberId(3), 1);
        assert_eq!(
            (shrunk.voters.len(), shrunk.need(), shrunk.is_unguarded()),
            (2, 2, false)
        );
    }

    #[test]
    fn equal_ranks_are_ordered_by_identity() {
        let founded = Roster::founded(voter(1, 5), Settings::FAST)
            .with(voter(2, 5), 1)
            .with(voter(3, 9), 1);
        let preferences: Vec<_> = founded
            .voters
            .iter()
            .map(|voter| founded.preference(voter))
            .collect();
        assert!(preferences.is_sorted(), "{preferences:?}");
    }

    #[test]
    fn every_change_is_newer_than_what_it_changes() {
        let first = Roster::founded(voter(1, 1), Settings::FAST);
        let second = first.with(voter(2, 1), 1);
        assert!(second.stamp > first.stamp);
        assert!(second.without(MemberId(2), 1).stamp > second.stamp);
        assert!(
            first.next(2).stamp > second.stamp,
            "a later term's roster wins over more changes in an earlier term"
        );
    }
}
