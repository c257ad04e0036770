//! The simulated machine's clock, in the place of CLOCK_BOOTTIME.

use std::time::Duration;

use crate::machine;

/// Time since the machine booted, by its own clock.
#[must_use]
pub fn boottime() -> Duration {
    machine::current().boottime()
}
