//! Carries out the orders of the election for one MultiCluster.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    access::Access,
    catalog::Catalog,
    inventory::{Inventory, InventoryStore},
    mark::Owner,
    order::{Claim, NumberedOrder},
    status::Status,
};

/// Carries out the orders of the election for one MultiCluster.
pub struct Runner<S> {
    /// Access to the cluster that the payload is to run in.
    pub access: Access,
    /// Its kinds.
    pub catalog: Arc<Catalog>,
    /// The MultiCluster.
    pub owner: Owner,
    /// What is ours, as it was saved last.
    pub inventory: Inventory,
    /// Where it is saved.
    pub store: S,
    /// What to do; the newest order counts.
    pub orders: watch::Receiver<NumberedOrder>,
    /// The right to create and update.
    pub claim: watch::Receiver<Option<Claim>>,
    /// Where the runner tells how far it has come.
    pub status: watch::Sender<Status>,
}
