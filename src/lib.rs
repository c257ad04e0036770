//! Flagship.
pub mod election;
