//! The durable list of what this MultiCluster owns in its cluster.

use serde::{Deserialize, Serialize};

use crate::cluster::ObjectKey;

/// The most objects that can be listed. An entry takes some 250 bytes of JSON with long names, so that a full list takes
/// 500 kB of the 1.5 MB that etcd takes for one object; the payload's text may take 1 MiB of it. A payload may have half
/// as many, so that it can be exchanged for an entirely different one.
pub const OBJECTS_MAX: usize = 2_000;

/// One object that is ours, or may be: an entry is saved before the object is first created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which object.
    #[serde(flatten)]
    pub key: ObjectKey,
    /// The version of the API that it was last written in.
    pub version: String,
    /// The object's UID, once the API server has told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Whether a stop left the object in place, as a PersistentVolumeClaim is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
}

/// What this MultiCluster owns, in the order in which it was created. It is saved before the first write that needs
/// it, so a crash orphans nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Inventory {
    /// The entries, each object once.
    pub entries: Vec<Entry>,
}

impl Inventory {
    /// The entry of an object.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == *key)
    }
}

/// Why the inventory could not be saved.
#[derive(Debug, thiserror::Error)]
#[error("cannot save the list of the payload's objects: {0}")]
pub struct StoreError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Where the inventory is kept.
pub trait InventoryStore: Send + Sync + 'static {
    /// Saves the whole list. When this returns, a crash of this process or of the API server no longer loses it.
    /// The runner retries a failure with back-off and writes nothing that is not listed meanwhile.
    fn save(&self, inventory: &Inventory) -> impl Future<Output = Result<(), StoreError>> + Send;
}
