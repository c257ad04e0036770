//! The one writer of a MultiCluster's status: the election's memory, the payload's inventory and what users see.
//!
//! Every write names the resource version that it goes by, so a second controller that serves the same object is
//! noticed rather than overwritten. What must be durable is written at once; what only informs waits a little, and
//! goes with the next write.

mod listing;
mod memory;
mod writer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Client;
use tokio::sync::{Notify, mpsc, oneshot};

use self::listing::Listing;
pub(super) use self::listing::inventory_of;
pub(super) use self::memory::recall;
pub(super) use self::writer::Writer;
use crate::api::{MultiCluster, MultiClusterStatus};
use crate::election::Durable;
use crate::observe::metrics::Metrics;
use crate::payload::{Inventory, InventoryStore, StoreError};

/// What became of a write that the election waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It is durable.
    Durable(u64),
    /// It failed, or nobody knows.
    Failed(u64),
    /// Another controller serves the object: this one must not go on.
    Superseded,
    /// The memory that this member started from was no longer the newest: it must start again from the newest.
    Outdated,
}

/// The object whose status is written.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// Hands in what is to be written. Clones share one writer.
#[derive(Clone)]
pub(super) struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    wishes: Mutex<Wishes>,
    wake: Notify,
}

type Reply = oneshot::Sender<Result<(), StoreError>>;

#[derive(Default)]
struct Wishes {
    memory: Option<(u64, Box<Durable>)>,
    inventory: Option<(Inventory, Vec<Reply>)>,
    listing: Listing,
    status: Option<Box<MultiClusterStatus>>,
    /// The object's version and status as the watch told them last.
    seen: Option<(String, Box<MultiClusterStatus>)>,
    closed: bool,
}

/// A store for one object, and the writer that serves it. `written` hears of every memory that was handed in.
pub(super) fn channel(
    client: Client,
    metrics: Metrics,
    object: &MultiCluster,
    target: Target,
    written: mpsc::Sender<Written>,
) -> (Store, Writer) {
    let current = object.status.clone().unwrap_or_default();
    let shared = Arc::new(Shared {
        wishes: Mutex::new(Wishes {
            listing: Listing::begin(inventory_of(&current)),
            ..Wishes::default()
        }),
        wake: Notify::new(),
    });
    let version = object.metadata.resource_version.clone().unwrap_or_default();
    let writer = Writer::new(
        Arc::clone(&shared),
        client,
        metrics,
        target,
        (version, current),
        written,
    );
    (Store { shared }, writer)
}

impl Shared {
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Makes the election's memory durable; a newer one replaces one that has not been begun. `foreseen` is the inventory
    /// that will be saved first if this vote is won: it is listed by the same write, and no more after the next memory.
    pub(super) fn persist(&self, number: u64, durable: Box<Durable>, foreseen: Option<Inventory>) {
        let mut wishes = self.shared.wishes();
        wishes.memory = Some((number, durable));
        wishes.listing.foresee(foreseen);
        drop(wishes);
        self.shared.wake.notify_one();
    }

    /// The inventory that was saved last.
    pub(super) fn inventory(&self) -> Inventory {
        self.shared.wishes().listing.saved().clone()
    }

    /// Tells users; the fields that the store itself keeps are ignored.
    pub(super) fn inform(&self, status: MultiClusterStatus) {
        self.shared.wishes().status = Some(Box::new(status));
        self.shared.wake.notify_one();
    }

    /// Compares what the watch tells with what was written: a status that somebody else wrote is put back, and a version
    /// that somebody else made costs no conflict.
    pub(super) fn seen(&self, version: String, status: MultiClusterStatus) {
        self.shared.wishes().seen = Some((version, Box::new(status)));
        self.shared.wake.notify_one();
    }

    /// Lets the writer end when everything is written.
    pub(super) fn close(&self) {
        self.shared.wishes().closed = true;
        self.shared.wake.notify_one();
    }
}

impl InventoryStore for Store {
    async fn save(&self, inventory: &Inventory) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        {
            let mut wishes = self.shared.wishes();
            if wishes.inventory.is_none() && wishes.listing.adopt(inventory) {
                return Ok(());
            }
            let waiting = wishes
                .inventory
                .take()
                .map_or_else(Vec::new, |(_, waiting)| waiting);
            let waiting = waiting.into_iter().chain([reply]).collect();
            wishes.inventory = Some((inventory.clone(), waiting));
        }
        self.shared.wake.notify_one();
        answer
            .await
            .unwrap_or_else(|closed| Err(StoreError(Box::new(closed))))
    }
}
