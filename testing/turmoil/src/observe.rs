//! What the outside sees of a witness.

#[path = "../../../src/observe/health.rs"]
pub mod health;
#[path = "../../../src/observe/metrics.rs"]
pub mod metrics;
#[path = "../../../src/observe/process.rs"]
mod process;
#[path = "../../../src/observe/serve.rs"]
pub mod serve;
