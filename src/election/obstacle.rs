//! What keeps a member from leading, as it tells the others and as its caller tells it.

use serde::{Deserialize, Serialize};

/// What the caller knows of how this member would run the payload, or runs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fitness {
    /// It would run it, or runs it, well.
    #[default]
    Fit,
    /// It could not run it, or the payload that it runs has been unhealthy for too long: another is to lead, if one can.
    Unfit,
    /// Its API server has been out of reach for longer than the user allows: it is not to lead, whoever else does.
    CutOff,
}

/// Why a voter could not take the lead at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Obstacle {
    /// It has no vote.
    NotAVoter,
    /// It votes and never leads.
    Witness,
    /// Its API server takes no writes.
    CannotPersist,
    /// It is about to leave, or its process ends.
    Leaving,
    /// Its own old copy of the payload is not gone yet.
    Stopping,
    /// A person paused it.
    Paused,
    /// Its API server would not take the payload, or its mirrors are too far behind.
    Unfit,
    /// The payload failed under it not long ago.
    Failed,
    /// One that only a later release knows.
    #[serde(other)]
    Other,
}

impl Obstacle {
    /// Whether a person may order a move there all the same: nothing but the payload's own success is at stake.
    pub(super) fn yields_to_force(self) -> bool {
        matches!(self, Obstacle::Unfit | Obstacle::Failed)
    }
}
