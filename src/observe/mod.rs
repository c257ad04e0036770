//! What the outside sees of a running controller: logs, metrics, health, Events.
//!
//! Nothing here may hold up the work: a full queue drops an Event, a slow scraper is cut off, and no caller waits.

pub mod events;
pub mod health;
pub mod logs;
pub mod metrics;
mod process;
pub mod serve;
