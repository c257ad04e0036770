//! The clock that leases, claims and received messages are measured with.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time since the machine booted, by CLOCK_BOOTTIME.
///
/// Unlike CLOCK_MONOTONIC, which [`std::time::Instant`] reads, it goes on while the machine is suspended: a lease
/// that ended in a suspend is over when the machine wakes. It cannot be set, so it never jumps.
#[must_use]
pub fn boottime() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    // The kernel counts up from zero at boot, and nanoseconds stay below a second.
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boottime_advances_with_real_time_and_never_goes_back() {
        let before = boottime();
        std::thread::sleep(Duration::from_millis(20));
        let after = boottime();
        assert!(
            after - before >= Duration::from_millis(20),
            "{before:?} then {after:?}"
        );
    }
}
