//! Simulations of the election: its source, compiled once more with optimisation, in whole groups that live through
//! years of faults in minutes.
//!
//! A [`World`](world::World) is a discrete-event simulation of clusters, their API servers, payloads, clocks and the
//! network between them; it holds every step against the promises of the election. A [`Life`](life::Life) is what
//! happens to one group at random, from a seed that replays exactly.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a simulation belongs to tests: it fails by panicking, and traces a seed to the terminal"
)]

pub mod crowd;
#[path = "../../../src/election/mod.rs"]
pub mod election;
pub mod life;
pub mod rates;
pub mod tolerance;
pub mod workers;
pub mod world;
