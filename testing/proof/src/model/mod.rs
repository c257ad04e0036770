//! The election as a state space, for stateright to walk through.
//!
//! A [`Group`] is some members, each with a cluster of its own, and the bounds up to which everything that can happen
//! does: messages are delayed, overtaken, repeated and lost; writes are slow or fail; controllers die at any instant with
//! exactly what was durable, and stand still; clocks go at different rates. Time is counted in small integers, and so are
//! the timings that a group agrees on: what matters are their relations.
//!
//! Where nothing goes wrong everything takes its usual time, a message one unit, and is done in its usual order; when a
//! payload is gone, when the dead start, the paused go on and cut links are mended is open. Whatever else happens is a
//! [`Mishap`], and there are so many of them in all and of each kind, at any place in a run.

mod actions;
mod check;
mod group;
mod invariants;
mod opening;
mod situations;
mod state;
mod steps;

pub use actions::Action;
pub use check::{Findings, Walk, check};
pub use group::{Bounds, Clock, Group, TRUE};
pub use opening::{Opening, deaf_to_strangers};
pub use situations::{Situation, all as situations};
pub use state::{Misfortunes, Mishap, State};
