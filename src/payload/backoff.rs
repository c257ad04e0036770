//! How long to wait before the next try.

use std::time::Duration;

use rand::{RngExt as _, rngs::StdRng};

/// A range of growing delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backoff {
    pub(super) first: Duration,
    pub(super) max: Duration,
}

impl Backoff {
    pub(super) const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max }
    }

    /// The delay after so many failed attempts, one or more: doubled each time, and up to a quarter longer by chance, so
    /// that what failed together is not tried together for ever.
    pub(super) fn delay(self, attempts: u32, rng: &mut StdRng) -> Duration {
        let doublings = attempts.saturating_sub(1).min(20);
        let delay = self.first.saturating_mul(1 << doublings).min(self.max);
        delay.mul_f64(rng.random_range(1.0..1.25))
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a test fails by panicking"
    )]

    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn delays_double_up_to_their_limit_and_vary() {
        let mut rng = StdRng::seed_from_u64(1);
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for (attempts, base) in [(1, 100), (2, 200), (4, 800), (5, 1_000), (90, 1_000)] {
            let delay = backoff.delay(attempts, &mut rng);
            let base = Duration::from_millis(base);
            assert!(delay >= base && delay <= base * 5 / 4, "{attempts}: {delay:?}");
        }
        assert_ne!(backoff.delay(1, &mut rng), backoff.delay(1, &mut rng));
    }
}
