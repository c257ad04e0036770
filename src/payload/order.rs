//! What the election orders.

use std::sync::Arc;

use super::decode::Payload;
use crate::api::DemotionPolicy;

/// An order with its number: a status tells which one it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedOrder {
    /// Grows with each order.
    pub number: u64,
    /// The order.
    pub order: Order,
}

/// What to do with the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Touch nothing, watch nothing. For a member that does not know yet, and for one whose payload cannot be
    /// decoded: its objects stay as they are.
    Hold,
    /// Put the payload in place and keep it as written, writing only while a claim of this term lasts.
    Run {
        /// The election's term, stamped on every object.
        term: u64,
        /// The group's id, stamped likewise: terms of different groups cannot be compared.
        group: String,
        /// The payload.
        payload: Arc<Payload>,
    },
    /// Take down everything that is ours as the policy has it, and say so when nothing of it runs any more. Needs no claim.
    Stop {
        /// What becomes of objects whose own annotation does not say.
        policy: DemotionPolicy,
        /// What this member would run, if that is known. On a runner's first stop these objects are looked for as
        /// well, so that an inventory that was lost with the status leaves no second copy behind.
        payload: Option<Arc<Payload>>,
    },
    /// Take down what another member of the group left in its cluster, as [`Order::Stop`] does, for a leader of a later term.
    /// Nothing is touched that bears another group's mark or a higher term, and nothing that comes back: that member's
    /// controller is at work then. The inventory is that member's and is not to be changed by whoever removes for it.
    Fence {
        /// The highest term that is removed. No claim of it or an earlier one is valid any more.
        term: u64,
        /// The group's id.
        group: String,
        /// What becomes of objects whose own annotation does not say.
        policy: DemotionPolicy,
        /// What that member would run, if that is known: looked for as well.
        payload: Option<Arc<Payload>>,
    },
}
