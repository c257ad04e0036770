//! Flagship.

pub mod api;
