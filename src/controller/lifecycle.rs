//! What a MultiCluster, as it stands, asks of the one that serves it.

use kube::ResourceExt;

use super::store::inventory_of;
use crate::api::{FINALIZER, MultiCluster};
use crate::election::{Config, Durable, MemberId, Order};

/// How far the service of an object has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// Whether its member takes part in the election.
    pub has_member: bool,
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
        is_deleted,
        is_leaving,
        is_alone,
        order,
    } = standing;
    match config {
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

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
