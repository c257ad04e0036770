//! What a member must remember across restarts: each part is durable before a message that depends on it is sent.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::roster::Roster;
use super::types::{GroupId, MemberId, MemoryId, Term};

/// The memory of one member.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Durable {
    /// Drawn at random with the memory: a member that lost or altered its memory is not the voter that it was.
    pub memory: MemoryId,
    /// Counts the starts of the member, so that what an earlier one sent is known to be old.
    pub incarnation: u64,
    /// The number of the write that made this durable: what it says may go up by more than one, since writes that fail
    /// are counted too. Others compare it with what a later start remembers, and so find out a memory that went back.
    #[serde(default)]
    pub version: u64,
    /// The highest term heard of.
    pub term: Term,
    /// For whom it voted in that term.
    pub vote: Option<MemberId>,
    /// The group it belongs to.
    pub group: Option<Membership>,
}

/// A member's part in a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Membership {
    /// The group.
    pub id: GroupId,
    /// The newest roster of it that the member holds; shared, since a roster is copied at every turn and never altered.
    pub roster: Arc<Roster>,
}

impl Durable {
    /// The memory of a member that never ran.
    #[must_use]
    pub fn new(memory: MemoryId) -> Durable {
        Durable {
            memory,
            incarnation: 0,
            version: 0,
            term: 0,
            vote: None,
            group: None,
        }
    }
}
