//! For how long the active replica may be sure that no other is.

use std::time::Duration;

/// How long the Lease is held between renewals while no replica stands by, and at the most: a controller that is started
/// again after a crash waits for it.
const LENGTH_MAX: Duration = Duration::from_secs(3);
/// The renewals of the shortest one, ten a second, are no load for an API server yet.
const LENGTH_MIN: Duration = Duration::from_millis(300);

/// A renewal is given this many times as long as answers have taken lately: one that is sent a third of that later still comes
/// in time.
const ANSWERS: u32 = 3;
/// No answer is waited for longer than this.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// For how long each renewal of the Lease holds. A replica that stands by takes over when it has seen none for so long,
/// and is then to be elected before the former one's claim is over: two fifths of the lease leave time for that. With an API
/// server that answers slowly it takes longer; the active replica would lose its tenure at each renewal otherwise.
pub(super) fn length(shortest_lease: Option<Duration>, has_standby: bool, pace: Pace) -> Duration {
    shortest(shortest_lease, has_standby).max(pace.slowest() * ANSWERS)
}

/// With an API server that answers at once.
fn shortest(shortest_lease: Option<Duration>, has_standby: bool) -> Duration {
    match shortest_lease {
        Some(lease) if has_standby => (lease * 2 / 5).clamp(LENGTH_MIN, LENGTH_MAX),
        _ => LENGTH_MAX,
    }
}

/// How long after one renewal the next is tried: two may fail. It is no longer where the Lease is held for longer, so that
/// an API server that is quick again is soon known to be.
pub(super) fn pause(shortest_lease: Option<Duration>, has_standby: bool) -> Duration {
    shortest(shortest_lease, has_standby) / 3
}

/// How long the API server has taken for the last answers. As long as the Lease is held for longer because of one of them, the
/// next replica waits for longer too, so that not many count: eight renewals take three seconds of profile Balanced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pace {
    took: [Duration; 8],
}

impl Pace {
    /// It has answered.
    pub(super) fn answered(&mut self, took: Duration) {
        self.took.rotate_right(1);
        self.took[0] = took.min(ANSWER_MAX);
    }

    /// It has not, within this time.
    pub(super) fn unanswered(&mut self, within: Duration) {
        self.answered(within * 2);
    }

    fn slowest(self) -> Duration {
        self.took.into_iter().max().unwrap_or_default()
    }
}

/// The longest that is waited for until a tenure is over, so that the Lease can be passed on.
pub(super) const LAPSE_MAX: Duration = LENGTH_MAX;

/// How long a renewal may take to reach the API server: what it says of the time that is left is so much less.
pub(super) fn way(length: Duration) -> Duration {
    length / 5
}

/// The time until which this replica may act, on its own clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tenure {
    until: Duration,
}

impl Tenure {
    pub(super) fn until(self) -> Duration {
        self.until
    }

    /// A renewal for `length` is sent: if it is shorter than the one before, it may be in force from now on.
    pub(super) fn asked(&mut self, now: Duration, length: Duration) {
        self.until = self.until.min(now + sure(length));
    }

    /// The renewal that was sent at `asked_at` is in force.
    pub(super) fn granted(&mut self, asked_at: Duration, length: Duration) {
        self.until = self.until.max(asked_at + sure(length));
    }

    /// It is given up.
    pub(super) fn end(&mut self, now: Duration) {
        self.until = self.until.min(now);
    }
}

/// A tenth less, for clocks that run at different rates.
fn sure(length: Duration) -> Duration {
    length * 9 / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_renewal_counts_from_its_sending_and_a_shorter_one_binds_before_it_is_answered() {
        let mut tenure = Tenure::default();
        tenure.asked(MS(1_000), MS(3_000));
        assert_eq!(tenure.until(), MS(0), "nothing was granted");
        tenure.granted(MS(1_000), MS(3_000));
        assert_eq!(tenure.until(), MS(3_700));
        tenure.asked(MS(2_000), MS(1_000));
        assert_eq!(tenure.until(), MS(2_900));
        tenure.granted(MS(2_000), MS(1_000));
        assert_eq!(tenure.until(), MS(2_900));
        tenure.asked(MS(2_300), MS(1_000));
        assert_eq!(tenure.until(), MS(2_900), "this one may never arrive");
        tenure.end(MS(2_400));
        assert_eq!(tenure.until(), MS(2_400));
    }

    #[test]
    fn it_is_held_for_two_fifths_of_the_shortest_lease_where_another_replica_stands_by() {
        let length = |lease, has_standby| length(lease, has_standby, Pace::default());
        assert_eq!(length(Some(MS(3_000)), true), MS(1_200));
        assert_eq!(length(Some(MS(600)), true), MS(300));
        assert_eq!(length(Some(MS(15_000)), true), MS(3_000));
        assert_eq!(length(Some(MS(600)), false), MS(3_000));
        assert_eq!(length(None, true), MS(3_000));
    }

    #[test]
    fn it_is_held_longer_while_the_api_server_answers_slowly() {
        let mut pace = Pace::default();
        pace.answered(MS(40));
        assert_eq!(length(Some(MS(3_000)), true, pace), MS(1_200));
        pace.unanswered(MS(1_200));
        assert_eq!(length(Some(MS(3_000)), true, pace), MS(7_200));
        pace.answered(MS(5_000));
        assert_eq!(length(Some(MS(3_000)), true, pace), MS(15_000));
        pace.unanswered(MS(15_000));
        assert_eq!(
            length(None, false, pace),
            MS(30_000),
            "nothing is waited for longer"
        );
        for _ in 0..7 {
            pace.answered(MS(40));
        }
        assert_eq!(
            length(None, false, pace),
            MS(30_000),
            "it may be slow now and then"
        );
        pace.answered(MS(40));
        assert_eq!(length(Some(MS(3_000)), true, pace), MS(1_200));
        assert_eq!(pause(Some(MS(3_000)), true), MS(400));
    }
}
