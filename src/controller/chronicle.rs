//! The bounded history of who led.

use std::collections::VecDeque;
use std::time::Duration;

use crate::api::{HISTORY_MAX_ENTRIES, Move, MultiClusterStatus, Role, whole_seconds};
use crate::election::MemberId;

/// What an API server answers may be of any length; so much tells what is wrong.
const FENCING_MAX_CHARS: usize = 1_024;

/// The latest changes of leader, newest first.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    moves: VecDeque<Move>,
    /// By identity: members of one group may share their names.
    leader: Option<MemberId>,
    leader_name: String,
}

impl Chronicle {
    /// Goes on from what stands in the status.
    pub(super) fn recall(status: &MultiClusterStatus) -> Chronicle {
        let leader = status
            .members
            .iter()
            .find(|member| member.role == Some(Role::Leader));
        Chronicle {
            moves: status.history.iter().take(HISTORY_MAX_ENTRIES).cloned().collect(),
            leader: leader.and_then(|leader| leader.id.parse().ok()),
            leader_name: leader.map(|leader| leader.name.clone()).unwrap_or_default(),
        }
    }

    /// Somebody leads; tells whether that is a change.
    pub(super) fn leads(
        &mut self,
        leader: MemberId,
        name: String,
        term: u64,
        reason: String,
        now: jiff::Timestamp,
    ) -> bool {
        if self.leader.replace(leader) == Some(leader) {
            return false;
        }
        self.moves.push_front(Move {
            at: whole_seconds(now),
            term: i64::try_from(term).unwrap_or(i64::MAX),
            from: std::mem::replace(&mut self.leader_name, name.clone()),
            to: name,
            reason,
            took_ms: None,
            fencing: String::new(),
        });
        self.moves.truncate(HISTORY_MAX_ENTRIES);
        true
    }

    /// The payload is in place, this long after this member was elected.
    pub(super) fn applied_after(&mut self, took: Duration) {
        if let Some(latest) = self.moves.front_mut().filter(|latest| latest.took_ms.is_none()) {
            latest.took_ms = i64::try_from(took.as_millis()).ok();
        }
    }

    /// What became of the copy that this member left, if it led before.
    pub(super) fn fenced(&mut self, member: &str, outcome: &str) {
        if let Some(latest) = self.moves.front_mut().filter(|latest| latest.from == member) {
            latest.fencing = outcome.chars().take(FENCING_MAX_CHARS).collect();
        }
    }

    /// For the status.
    pub(super) fn moves(&self) -> Vec<Move> {
        self.moves.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{MemberState, MemberStatus};

    #[test]
    fn only_changes_are_kept_and_only_the_latest() {
        let mut chronicle = Chronicle::default();
        for term in 1..=12 {
            let leader = format!("member-{}", term / 2);
            let id = MemberId(u128::from(term / 2));
            chronicle.leads(
                id,
                leader,
                term,
                format!("term {term}"),
                jiff::Timestamp::UNIX_EPOCH,
            );
        }
        chronicle.fenced("member-4", "another's copy");
        chronicle.fenced("member-5", "its copy");
        chronicle.applied_after(Duration::from_millis(7));
        chronicle.applied_after(Duration::from_millis(9));
        let moves: Vec<_> = chronicle.moves();
        let told: Vec<_> = moves
            .iter()
            .map(|one| (one.term, one.from.as_str(), one.to.as_str(), one.took_ms))
            .collect();
        assert_eq!(
            told,
            [
                (12, "member-5", "member-6", Some(7)),
                (10, "member-4", "member-5", None),
                (8, "member-3", "member-4", None),
                (6, "member-2", "member-3", None),
                (4, "member-1", "member-2", None),
                (2, "member-0", "member-1", None),
                (1, "", "member-0", None),
            ]
        );
        let fencing: Vec<_> = moves.iter().map(|one| one.fencing.as_str()).collect();
        assert_eq!(fencing, ["its copy", "", "", "", "", "", ""]);
        for term in 13..40 {
            let id = MemberId(u128::from(term));
            chronicle.leads(
                id,
                term.to_string(),
                term,
                String::new(),
                jiff::Timestamp::UNIX_EPOCH,
            );
        }
        assert_eq!(chronicle.moves().len(), HISTORY_MAX_ENTRIES);
    }

    #[test]
    fn members_of_one_name_are_told_apart_also_after_a_restart() {
        let status = |leader: u128| MultiClusterStatus {
            members: (1..=2)
                .map(|id| MemberStatus {
                    name: "web".to_owned(),
                    id: MemberId(id).to_string(),
                    address: format!("10.0.0.{id}:9990"),
                    rank: 5,
                    role: Some(if id == leader {
                        Role::Leader
                    } else {
                        Role::Follower
                    }),
                    state: MemberState::Alive,
                    last_seen: None,
                })
                .collect(),
            ..MultiClusterStatus::default()
        };
        let mut chronicle = Chronicle::recall(&status(1));
        let mut leads = |id, term| {
            let name = "web".to_owned();
            chronicle.leads(
                MemberId(id),
                name,
                term,
                String::new(),
                jiff::Timestamp::UNIX_EPOCH,
            )
        };
        assert!(!leads(1, 3), "it led before the restart");
        assert!(leads(2, 4));
        assert!(!leads(2, 5));
        assert!(leads(1, 6));
        assert_eq!(chronicle.moves().len(), 2);
    }
}
