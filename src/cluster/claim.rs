//! What a claim permits: which requests may be sent, and how long the API server may take over them.
//!
//! A request must not take effect after the claim has ended, even if the API server or the network between stood still
//! meanwhile. A check before sending is not enough, because a request can lie in a socket for any time and the server
//! counts its `timeout` only from when it reads it. So the body is held back until the server has asked for it
//! (`Expect: 100-continue`): at that moment the server's own deadline is known to run already, and whether it ends within
//! the claim is simple arithmetic on our clock.

use std::time::Duration;

use tokio::sync::watch;

/// The right to create and update, as granted by the election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The term that it was granted for.
    pub term: u64,
    /// When it ends, on the clock of [`crate::clock::boottime`].
    pub until: Duration,
}

/// The longest that a single write may take at the server, whatever the claim: slower than this is as good as failed,
/// and a retry is cheap.
pub(crate) const SERVER_TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// A healthy API server answers a write in a few milliseconds. With less than this left it would be asked in vain.
const SERVER_TIMEOUT_MIN: Duration = Duration::from_millis(20);

/// The writer's view of the claim.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    claim: watch::Receiver<Option<Claim>>,
    /// Until when this process may act at all.
    mandate: watch::Receiver<Duration>,
    term: u64,
}

impl Guard {
    pub(crate) fn new(
        claim: watch::Receiver<Option<Claim>>,
        mandate: watch::Receiver<Duration>,
        term: u64,
    ) -> Self {
        Self { claim, mandate, term }
    }

    fn until(&self) -> Option<Duration> {
        let claim = self.claim.borrow().filter(|claim| claim.term == self.term);
        claim.map(|claim| claim.until.min(*self.mandate.borrow()))
    }

    /// The `timeout` to ask the server for in a request that is sent now; none if too little of the claim is left.
    pub(crate) fn server_timeout(&self, now: Duration) -> Option<Duration> {
        server_timeout(self.until()?.checked_sub(now)?)
    }

    /// Whether a request whose `timeout` began to run before `now` is certain to end within the claim.
    pub(crate) fn covers(&self, now: Duration, server_timeout: Duration) -> bool {
        self.until()
            .is_some_and(|until| latest_effect(now, server_timeout) <= until)
    }
}

/// Two fifths of what is left: half of it remains for the request to reach the server, and a tenth for clocks that run
/// at different rates.
fn server_timeout(left: Duration) -> Option<Duration> {
    let timeout = (left * 2 / 5).min(SERVER_TIMEOUT_MAX);
    (timeout >= SERVER_TIMEOUT_MIN).then_some(timeout)
}

/// When a request, whose `timeout` began to run at the server before `now`, has certainly taken effect or never will:
/// a quarter is added for a server's clock that is slower than ours.
pub(crate) fn latest_effect(now: Duration, server_timeout: Duration) -> Duration {
    now + server_timeout * 5 / 4
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a test fails by panicking"
    )]

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_timeout_leaves_room_for_the_way_to_the_server() {
        assert_eq!(server_timeout(MS(400)), Some(MS(160)));
        assert_eq!(server_timeout(MS(50)), Some(MS(20)));
        assert_eq!(server_timeout(MS(49)), None);
        assert_eq!(server_timeout(Duration::MAX / 4), Some(SERVER_TIMEOUT_MAX));
    }

    #[test]
    fn only_the_claim_of_the_same_term_counts() {
        let (sender, claim) = watch::channel(Some(Claim {
            term: 7,
            until: MS(1_000),
        }));
        let (mandate_sender, mandate) = watch::channel(MS(60_000));
        let guard = Guard::new(claim, mandate, 7);
        assert_eq!(guard.server_timeout(MS(600)), Some(MS(160)));
        assert!(guard.covers(MS(800), MS(160)));
        assert!(!guard.covers(MS(801), MS(160)));
        // A renewal that arrives while the request is under way counts.
        sender.send_replace(Some(Claim {
            term: 7,
            until: MS(1_100),
        }));
        assert!(guard.covers(MS(900), MS(160)));
        assert_eq!(guard.server_timeout(MS(1_200)), None);
        sender.send_replace(Some(Claim {
            term: 7,
            until: MS(9_000),
        }));
        mandate_sender.send_replace(MS(1_000));
        assert_eq!(
            guard.server_timeout(MS(600)),
            Some(MS(160)),
            "the process may act until then"
        );
        assert!(!guard.covers(MS(801), MS(160)));
        mandate_sender.send_replace(MS(60_000));
        for other in [
            None,
            Some(Claim {
                term: 8,
                until: MS(9_000),
            }),
        ] {
            sender.send_replace(other);
            assert_eq!(guard.server_timeout(MS(600)), None);
            assert!(!guard.covers(MS(600), MS(1)));
        }
    }
}
