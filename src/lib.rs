//! Flagship.

pub mod clock;
pub mod peer;
