//! Flagship.
