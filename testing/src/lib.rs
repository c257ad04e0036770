//! Harness.
#![allow(clippy::expect_used)]
pub mod simulation;
