//! Proofs of the election: its source, compiled once more, is walked through by a model checker, and so are copies of
//! it, each with one rule broken, which the same checker must find.

#![allow(
    clippy::duplicate_mod,
    reason = "the model is compiled against the election and against a copy that can be broken"
)]

#[path = "../../../src/election/mod.rs"]
pub mod election;
pub mod model;

pub mod broken;
pub mod mutations;
