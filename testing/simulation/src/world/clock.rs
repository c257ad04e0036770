//! A cluster's clock: its rate differs from true time, and drifts.

use crate::election::Tick;

/// The rate of a clock that keeps true time.
pub(super) const TRUE_PERMILLE: i64 = 1_000;

/// Tells a member's ticks from true time and back.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    /// Since then it runs at its present rate.
    since_ms: i64,
    /// What it showed then.
    shown: i64,
    rate_permille: i64,
}

impl Clock {
    pub(super) fn new() -> Clock {
        Clock {
            since_ms: 0,
            shown: 0,
            rate_permille: TRUE_PERMILLE,
        }
    }

    pub(super) fn tick(&self, now_ms: i64) -> Tick {
        Tick(self.shown + (now_ms - self.since_ms) * self.rate_permille / TRUE_PERMILLE)
    }

    /// The first millisecond at which it shows this tick, or a later one.
    pub(super) fn when(&self, tick: Tick) -> i64 {
        let ahead = (tick.0 - self.shown) * TRUE_PERMILLE;
        self.since_ms
            + ahead.div_euclid(self.rate_permille)
            + i64::from(ahead.rem_euclid(self.rate_permille) > 0)
    }

    pub(super) fn set_rate(&mut self, now_ms: i64, rate_permille: i64) {
        self.shown = self.tick(now_ms).0;
        self.since_ms = now_ms;
        self.rate_permille = rate_permille;
    }
}
