//! What the leader runs.

mod access;
mod catalog;
mod claim;
mod decode;
mod inventory;
mod mark;
mod object;
mod order;
mod runner;
mod status;

pub use access::{Access, AccessError};
pub use catalog::{Catalog, CatalogError};
pub use decode::{DecodeError, Document, Payload, TEXT_BYTES_MAX};
pub use inventory::{Entry, Inventory, InventoryStore, OBJECTS_MAX, StoreError};
pub use mark::Owner;
pub use object::ObjectKey;
pub use order::{Claim, NumberedOrder, Order};
pub use runner::Runner;
pub use status::{ObjectState, ObjectStatus, Phase, Status};
