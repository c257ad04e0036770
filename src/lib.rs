//! Flagship.

pub mod api;
pub mod cli;
pub mod clock;
pub mod election;
pub mod observe;
