//! The one clock that leases and claims are measured with.

use std::time::Duration;

/// Time since boot, suspend included (CLOCK_BOOTTIME): it never jumps when the wall clock is set, and a machine
/// that slept has not saved its lease by sleeping.
#[must_use]
pub fn boottime() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}
