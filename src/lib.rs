//! Flagship.

pub mod clock;
pub mod payload;
