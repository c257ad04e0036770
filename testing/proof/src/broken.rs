//! The copy of the election in which one rule may be broken, and the same model of it.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The copy, made by the build script.
pub mod election {
    include!(concat!(env!("OUT_DIR"), "/election/mod.rs"));
}

/// The model of the copy.
#[path = "model/mod.rs"]
pub mod model;

/// No rule is broken.
const NONE: usize = usize::MAX;

static BROKEN: AtomicUsize = AtomicUsize::new(NONE);

/// Breaks the rule with this number from [`MUTATIONS`](crate::mutations::MUTATIONS), and no other, in the whole process.
pub fn break_rule(number: usize) {
    BROKEN.store(number, Ordering::SeqCst);
}

/// Whether the rule with this number is broken.
pub(crate) fn is(number: usize) -> bool {
    BROKEN.load(Ordering::Relaxed) == number
}
