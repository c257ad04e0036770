//! What the leader runs.

mod backoff;
mod completeness;
mod decode;
mod fate;
mod health;
mod inventory;
mod ledger;
mod mark;
mod order;
mod project;
mod rank;
mod rehearsal;
mod remains;
mod runner;
mod status;
mod watches;
mod write;

pub use decode::{DecodeError, Document, Payload, TEXT_BYTES_MAX};
pub use health::{FaultMonitor, Finding, Health, Patience};
pub use inventory::{Entry, Inventory, InventoryStore, OBJECTS_MAX, StoreError};
pub use mark::{
    DOCUMENT_ANNOTATION, GROUP_ANNOTATION, MULTICLUSTER_ANNOTATION, ON_DEMOTION_ANNOTATION, Owner,
    PAYLOAD_LABEL, TERM_ANNOTATION,
};
pub use order::{NumberedOrder, Order};
pub use rehearsal::{Rehearsal, prepare, rehearse};
pub use runner::{Runner, foresee};
pub use status::{ObjectState, ObjectStatus, Phase, Status};
