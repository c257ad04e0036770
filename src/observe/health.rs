//! Whether the process is alive, and whether it is ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::boottime;

/// What the process' main loop tells about itself. Clones share one state.
#[derive(Clone, Debug)]
pub struct Health {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// How long the main loop may be silent before the process counts as hung.
    stall_limit: Duration,
    /// CLOCK_BOOTTIME of the last beat, in milliseconds.
    beat_ms: AtomicU64,
    ready: AtomicBool,
    /// What a process that is not ready waits for.
    waits_for: &'static str,
}

impl Health {
    /// Starts with a beat now, and not ready: `waits_for` says for what, as in "the watch is not established".
    #[must_use]
    pub fn new(stall_limit: Duration, waits_for: &'static str) -> Self {
        let health = Self {
            state: Arc::new(State {
                stall_limit,
                beat_ms: AtomicU64::new(0),
                ready: AtomicBool::new(false),
                waits_for,
            }),
        };
        health.beat();
        health
    }

    /// To be called by the main loop at least every third of the stall limit.
    pub fn beat(&self) {
        self.state.beat_ms.store(to_ms(boottime()), Ordering::Relaxed);
    }

    /// Whether it does its part now.
    pub fn set_ready(&self, ready: bool) {
        self.state.ready.store(ready, Ordering::Relaxed);
    }

    /// Fails when the main loop is silent, with the reason.
    pub(super) fn live(&self) -> Result<(), String> {
        self.live_at(boottime())
    }

    fn live_at(&self, now: Duration) -> Result<(), String> {
        let silent =
            Duration::from_millis(to_ms(now).saturating_sub(self.state.beat_ms.load(Ordering::Relaxed)));
        if silent <= self.state.stall_limit {
            Ok(())
        } else {
            Err(format!(
                "the main loop has been silent for {} s",
                silent.as_secs()
            ))
        }
    }

    /// Fails while it does not do its part, with the reason.
    pub(crate) fn ready(&self) -> Result<(), String> {
        if self.state.ready.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err(self.state.waits_for.to_owned())
        }
    }
}

fn to_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_main_loop_is_dead_until_it_beats_again() {
        let health = Health::new(Duration::from_secs(10), "there is no watch");
        let start = boottime();
        assert_eq!(health.live_at(start + Duration::from_secs(9)), Ok(()));
        assert_eq!(
            health.live_at(start + Duration::from_secs(12)),
            Err("the main loop has been silent for 12 s".to_owned())
        );
        health.beat();
        assert_eq!(health.live(), Ok(()));
    }

    #[test]
    fn readiness_is_what_the_process_says() {
        let health = Health::new(Duration::from_secs(10), "there is no watch");
        assert_eq!(health.ready(), Err("there is no watch".to_owned()));
        health.clone().set_ready(true);
        assert_eq!(health.ready(), Ok(()));
        health.set_ready(false);
        assert!(health.ready().is_err());
    }
}
