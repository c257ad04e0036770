//! What people ask a group for, and what its leader answers.

use serde::{Deserialize, Serialize};

use super::obstacle::Obstacle;
use super::types::MemberId;

/// What a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "wish", rename_all = "camelCase")]
pub enum Wish {
    /// That this voter leads, until it falls out or another is asked for.
    Move {
        /// Who is to lead.
        to: MemberId,
        /// Even if it does not seem fit, and however long the payload takes to stop.
        force: bool,
    },
    /// That this voter, which will not come back, is none any more.
    Remove {
        /// Who is to go.
        member: MemberId,
    },
    /// That this member goes on alone in a new group: a person has made sure that the others run nothing.
    Recover,
}

/// What a leader answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "camelCase")]
pub enum Answer {
    /// It is being done, or waits for its turn.
    UnderWay,
    /// It is so.
    Done,
    /// It will not be.
    Refused {
        /// Why.
        hindrance: Hindrance,
    },
}

/// Why something that was asked for is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "hindrance", rename_all = "camelCase")]
pub enum Hindrance {
    /// Nobody leads, or the leader does not answer.
    NoLeader,
    /// The leader is paused.
    LeaderPaused,
    /// The member that it is about has no vote.
    NotAVoter,
    /// The member that it is about has not been heard lately.
    Silent,
    /// The member that it is about holds an older roster.
    Behind,
    /// Something keeps the member from leading.
    Obstacle {
        /// What.
        obstacle: Obstacle,
    },
    /// The payload did not stop in time.
    PayloadStuck,
    /// The successor fell silent while the payload was stopping.
    SuccessorLost,
    /// The member that is to be removed is alive.
    Alive,
    /// The member that is to be removed leads, or a group that is to be rebuilt has a leader.
    Leads,
    /// It was not done in time, and is not waited for any more.
    Overdue,
    /// The member that is asked found the protocol broken.
    Faulty,
    /// Something else was asked for since.
    Replaced,
    /// One that only a later release knows.
    #[serde(other)]
    Other,
}
