//! Simulations of whole processes: the sources of the wire and of the witness, compiled once more on a machine whose
//! network, clock and disk are simulated.
//!
//! What runs here is what is shipped: TLS, proofs, frames, dialling and accepting, the election, the shell around it with
//! its memory in a file, and the witness as a whole. Ours are [`system`] and [`clock`], which stand for the machine, and
//! what a [`candidate`] has for a payload. A [`World`](world::World) is a few such machines and their network; a
//! [`Life`](life::Life) is what happens to them at random, from a seed. The seed says which faults come when; keys, proofs
//! and the order of maps differ from run to run, so that a seed that failed once may have to be lived a few times.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a simulation belongs to tests: it fails by panicking"
)]

pub mod candidate;
pub mod clock;
pub mod invariants;
pub mod life;
pub mod log;
pub mod machine;
pub mod payload;
pub mod system;
pub mod watch;
pub mod world;

pub use flagship_simulation::election;

#[path = "../../../src/mail.rs"]
pub mod mail;
pub mod observe;
#[path = "../../../src/peer/mod.rs"]
pub mod peer;
#[path = "../../../src/witness/mod.rs"]
pub mod witness;
