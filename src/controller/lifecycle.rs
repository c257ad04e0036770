//! What a MultiCluster, as it stands, asks of the one that serves it.

use std::time::Duration;

use kube::ResourceExt;

use super::store::inventory_of;
use crate::api::{FINALIZER, MultiCluster};
use crate::election::{Config, Durable, MemberId, Order};

/// How far the service of an object has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// Whether its member takes part in the election.
    pub has_member: bool,
    /// Whether its address is being asked for, under which it would take part.
    pub awaits_address: bool,
    /// Whether the object is being deleted.
    pub is_deleted: bool,
    /// Whether that was acted on.
    pub is_leaving: bool,
    /// Whether nobody but this member can run the payload, so that it may go on unattended.
    pub is_alone: bool,
    /// The newest order to the payload.
    pub order: Order,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// The member begins.
    Start(Config),
    /// The member goes by this from now on.
    Configure(Config),
    /// The member leaves its group.
    Leave,
    /// The payload stops, without a member that could order it.
    Stop,
}

/// What a new version of the object asks for; `config` is there once a spec was valid.
pub(super) fn asks(standing: Standing, config: Option<Config>) -> Vec<Ask> {
    let Standing {
        has_member,
        awaits_address,
        is_deleted,
        is_leaving,
        is_alone,
        order,
    } = standing;
    match config {
        // Under another address it would not be known as the one that it was, and in a moment it has its own.
        _ if !has_member && awaits_address => Vec::new(),
        // A member that begins after the deletion has not heard of it.
        Some(config) if !has_member => [Ask::Start(config)]
            .into_iter()
            .chain(is_deleted.then_some(Ask::Leave))
            .collect(),
        None if !has_member => {
            // The others cannot hear this member: they wait for its payload no longer than for a silent one, so that what
            // a former process left here must not run on.
            let must_stop = order == Order::Hold && (is_deleted || !is_alone);
            must_stop.then_some(Ask::Stop).into_iter().collect()
        }
        config => {
            let leave = (is_deleted && !is_leaving).then_some(Ask::Leave);
            config.map(Ask::Configure).into_iter().chain(leave).collect()
        }
    }
}

/// Whether this is the memory of a group that nobody else is in.
pub(super) fn is_alone(durable: Option<&Durable>, id: MemberId) -> bool {
    let group = durable.and_then(|durable| durable.group.as_ref());
    group.is_some_and(|group| group.roster.voters.iter().all(|voter| voter.id == id))
}

/// Whether this member's own part of a deletion is over: what keeps the object is somebody else's.
pub(super) fn is_over(object: &MultiCluster) -> bool {
    let owns = || {
        let inventory = object.status.as_ref().map(inventory_of).unwrap_or_default();
        inventory.entries.iter().any(|entry| !entry.kept)
    };
    object.metadata.deletion_timestamp.is_some() && !has_finalizer(object) && !owns()
}

/// Whether the object would go without leaving its group first. One that is being deleted takes no finalizer any more.
pub(super) fn lacks_finalizer(object: &MultiCluster) -> bool {
    object.metadata.deletion_timestamp.is_none() && !has_finalizer(object)
}

fn has_finalizer(object: &MultiCluster) -> bool {
    object.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// How long a member that is being deleted asks a group to take it out that nobody leads: several rounds of every profile
/// but the slowest. After it the object goes, and the others report a silent member.
const LEAVE_LIMIT: Duration = Duration::from_secs(15);
/// The same for a member whose vote the group needed before: its leader may be about to be started anew.
const NEEDED_LIMIT: Duration = Duration::from_secs(300);

/// How far a member is that is being deleted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    /// Whether its group has let it go; none without an election.
    pub has_left: Option<bool>,
    /// Whether its payload is gone.
    pub is_gone: bool,
    /// For how long it has asked.
    pub asked_for: Duration,
    /// For how long it has heard no leader meanwhile; none while it hears one.
    pub unled_for: Option<Duration>,
    /// Whether a leader was found to need it.
    pub was_needed: bool,
}

/// Whether a member that is being deleted may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// Not yet.
    Awaited,
    /// There is a leader, and it does not let it go.
    Needed,
    /// Nobody leads who could let it go.
    Unanswered,
    /// Nothing holds it.
    Free,
}

/// A group that has a leader is not to lose it because one more member goes.
pub(super) fn departure(leaving: Leaving) -> Departure {
    let limit = if leaving.was_needed {
        NEEDED_LIMIT
    } else {
        LEAVE_LIMIT
    };
    match (leaving.has_left, leaving.is_gone, leaving.unled_for) {
        (Some(true), _, _) | (None, true, _) => Departure::Free,
        (Some(false), true, Some(unled_for)) if unled_for > limit => Departure::Unanswered,
        (Some(false), true, None) if leaving.asked_for > LEAVE_LIMIT => Departure::Needed,
        (Some(false) | None, _, _) => Departure::Awaited,
    }
}

impl Departure {
    /// Whether the object may go.
    pub(super) fn is_final(self) -> bool {
        matches!(self, Departure::Free | Departure::Unanswered)
    }

    /// In one word.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Departure::Needed => "StillNeeded",
            Departure::Unanswered => "LeftUnanswered",
            Departure::Awaited | Departure::Free => "Leaving",
        }
    }

    /// What a person should know.
    pub(super) fn note(self) -> Option<String> {
        let note = match self {
            Departure::Awaited | Departure::Free => return None,
            Departure::Needed => format!(
                "the leader does not let this member go: it cannot write at present, or without this member's vote too few \
                 would answer for anybody to lead, and the payload would stop everywhere. Bring the silent members back, \
                 or make them anew at their serviceAddress; to lose the payload instead, take the finalizer {FINALIZER} off"
            ),
            Departure::Unanswered => {
                "left without the group's answer, since nobody leads it: the others go on counting this \
                 member as one of theirs until another joins at its serviceAddress"
                    .to_owned()
            }
        };
        Some(note)
    }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
