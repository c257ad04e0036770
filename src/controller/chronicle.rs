//! The bounded history of who led.

use std::collections::VecDeque;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{HISTORY_MAX_ENTRIES, Move, MultiClusterStatus};

/// The latest changes of leader, newest first.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    moves: VecDeque<Move>,
    leader: String,
}

impl Chronicle {
    /// Goes on from what stands in the status.
    pub(super) fn recall(status: &MultiClusterStatus) -> Chronicle {
        Chronicle {
            moves: status.history.iter().take(HISTORY_MAX_ENTRIES).cloned().collect(),
            leader: status
                .leader
                .as_ref()
                .map(|leader| leader.name.clone())
                .unwrap_or_default(),
        }
    }

    /// Somebody leads; tells whether that is a change.
    pub(super) fn leads(&mut self, leader: String, term: u64, reason: String, now: jiff::Timestamp) -> bool {
        if leader == self.leader {
            return false;
        }
        self.moves.push_front(Move {
            at: Time(now),
            term: i64::try_from(term).unwrap_or(i64::MAX),
            from: std::mem::replace(&mut self.leader, leader.clone()),
            to: leader,
            reason,
            took_ms: None,
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

    /// For the status.
    pub(super) fn moves(&self) -> Vec<Move> {
        self.moves.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_kept_and_only_the_latest() {
        let mut chronicle = Chronicle::default();
        for term in 1..=12 {
            let leader = format!("member-{}", term / 2);
            chronicle.leads(leader, term, format!("term {term}"), jiff::Timestamp::UNIX_EPOCH);
        }
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
        for term in 13..40 {
            chronicle.leads(term.to_string(), term, String::new(), jiff::Timestamp::UNIX_EPOCH);
        }
        assert_eq!(chronicle.moves().len(), HISTORY_MAX_ENTRIES);
    }
}
