//! What a runner tells: how far it has come, and what is in its way.

use super::health::{Finding, Health};
use crate::cluster::ObjectKey;

/// The newest state of a runner. It is published whole, so a slow reader misses steps but never the outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The number of the order that this state answers. A `Stopped` with an older number is an older stop's.
    pub order: u64,
    /// How far the order has been carried out.
    pub phase: Phase,
    /// Every object of the payload and of the inventory, in the order of the payload, then of the inventory.
    pub objects: Vec<ObjectStatus>,
    /// How often an object was put back after somebody else changed or deleted it, since the runner started.
    pub repairs: u64,
    /// The term that objects are written in; of a fence, the highest that it found. None while there is none.
    pub term: Option<u64>,
    /// How the payload does as a whole; none while it is not run. What is not in place is not well.
    pub health: Option<Health>,
}

impl Default for Status {
    /// What a runner is like before its first order.
    fn default() -> Self {
        Self {
            order: 0,
            phase: Phase::Held,
            objects: Vec::new(),
            repairs: 0,
            term: None,
            health: None,
        }
    }
}

/// How far an order has been carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is touched.
    Held,
    /// The payload is being put in place.
    Applying,
    /// Every object is in place as written, and what the payload no longer has is gone.
    Applied,
    /// Some objects are in place; the others say why they are not. They are tried again.
    Incomplete,
    /// Writes are due, but this member has no claim to make them.
    Unclaimed,
    /// An object bears a higher term of this group: somebody else leads, and nothing is written.
    Superseded {
        /// The object that bears the mark.
        object: ObjectKey,
        /// The term that it bears.
        term: u64,
    },
    /// The list of what is ours cannot be saved, so nothing new is created.
    InventoryUnsaved {
        /// Why.
        reason: String,
    },
    /// The payload is too large for its inventory.
    TooLarge {
        /// How many objects it would take.
        objects: usize,
    },
    /// The payload is being removed.
    Stopping,
    /// The payload is being removed, and something does not go. The removal is tried for ever.
    CannotStop {
        /// What does not go, and why.
        reason: String,
    },
    /// Nothing more of another member's payload is removed, since what is there shows that its controller is at work.
    WarnedOff {
        /// What shows it.
        reason: String,
    },
    /// Nothing of the payload runs any more: a list after the last deletion showed none of it, Pods included. What a policy
    /// keeps (`ObjectState::Kept`), without replicas or, by the policy Keep, as it is, and what was never ours remains.
    Stopped,
}

/// The state of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectStatus {
    /// Which object. Its namespace is the MultiCluster's until its kind is known.
    pub key: ObjectKey,
    /// The version of its API.
    pub version: String,
    /// Which document of the payload it comes from, from one; none for an object that the payload no longer has.
    pub document: Option<usize>,
    /// Its state.
    pub state: ObjectState,
    /// What an operator should know or do; empty when all is well. Its length is bounded.
    pub message: String,
    /// How it does, once it is in place; none for what is not ours.
    pub health: Option<Finding>,
}

/// The state of one object of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectState {
    /// It waits for its turn.
    Pending,
    /// It is written, and others wait until it serves: a Namespace or a CustomResourceDefinition.
    Establishing,
    /// It is in place as written.
    Applied,
    /// It existed before: a Namespace or CustomResourceDefinition that is used as it is and not owned.
    Used,
    /// Somebody deleted it, and it is awaited until it can be created again.
    Terminating,
    /// Somebody keeps changing it back; repairs are slowed down.
    Contested,
    /// The API server does not know its kind (yet).
    UnknownKind,
    /// It bears a higher term of this group: a later leader wrote it, and nothing is written over it.
    Superseded,
    /// It existed before and is not ours, so it is neither changed nor deleted.
    Foreign,
    /// The API server rejects it as written, or the document cannot be used.
    Rejected,
    /// This controller may not write it.
    Forbidden,
    /// The API server does not answer, or asks for patience.
    Unavailable,
    /// The payload no longer has it; it is removed when the payload is in place.
    Pruning,
    /// It is being deleted.
    Deleting,
    /// It is being taken to no replicas.
    ScalingDown,
    /// It does not go.
    Stuck,
    /// It is left in place by policy, still ours.
    Kept,
    /// Another object has its name, or another MultiCluster has marked it, so it was left alone and is ours no more.
    Released,
}
