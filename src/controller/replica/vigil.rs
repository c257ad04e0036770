//! When a replica that stands by takes over: a decision on what it reads of the Lease, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::Claim;
use crate::election::MemberId;

/// What the Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// Who holds it, if anybody does.
    pub holder: Option<String>,
    /// Changes with each renewal.
    pub renewal: Option<String>,
    /// Whether it was given up by who held it.
    pub is_given_up: bool,
    /// For how long each renewal holds.
    pub length: Duration,
    /// How long the claims of members lasted yet when it was renewed.
    pub claims: Claims,
}

/// The claims by which members run their payload. Their ends are CLOCK_BOOTTIME, or what is left of it in a [`Reading`].
pub(super) type Claims = BTreeMap<MemberId, Claim>;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Read it again after this time.
    Wait(Duration),
    /// Nobody is active any more. These claims were last heard of from the one that was, with ends that are not too late.
    Take { claims: Claims },
}

/// One replica's watch over another. Only what it has read itself counts, and on its own clock: the time at which the
/// other says that it renewed the Lease is that one's. While it cannot read, nor can it know that nothing has changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Vigil {
    last: Option<Last>,
    claims: Claims,
    /// Until when whoever was seen to hold it may be sure of it.
    held_until: Duration,
}

#[derive(Clone, Debug)]
struct Last {
    reading: Reading,
    /// When it was first read like that.
    since: Duration,
    /// When the last reading was begun.
    begun: Duration,
}

/// Between two readings of a Lease that is not as anybody who held it left it.
const HAND_PAUSE: Duration = Duration::from_millis(100);
/// So many readings within the time that a renewal holds.
const READINGS: u32 = 6;

impl Vigil {
    /// Takes a reading that was begun and ended at these times; none where there is no Lease. One that is gone, or that
    /// somebody's hand has emptied, is held as long as it was, and is there again when its holder renews it.
    pub(super) fn read(&mut self, begun: Duration, ended: Duration, reading: Option<Reading>) -> Verdict {
        let is_held = |reading: &Reading| reading.holder.is_some() || reading.is_given_up;
        let Some(reading) = reading.filter(is_held) else {
            self.last = None;
            return self.unless_held(begun, ended, HAND_PAUSE);
        };
        let mut since = ended;
        if let Some(last) = &self.last {
            if last.reading == reading {
                since = last.since;
            } else {
                // It was changed after the former reading was begun.
                let told = |(member, claim): (&MemberId, &Claim)| {
                    let until = last.begun + claim.until;
                    (*member, Claim { until, ..*claim })
                };
                self.claims = reading.claims.iter().map(told).collect();
            }
        }
        let pause = reading.length / READINGS;
        self.held_until = match reading.holder {
            Some(_) => since + reading.length,
            None => Duration::ZERO,
        };
        self.last = Some(Last {
            reading,
            since,
            begun,
        });
        self.unless_held(begun, ended, pause)
    }

    fn unless_held(&self, begun: Duration, ended: Duration, pause: Duration) -> Verdict {
        if begun >= self.held_until {
            Verdict::Take {
                claims: self.claims.clone(),
            }
        } else {
            Verdict::Wait(pause.min(self.held_until.saturating_sub(ended)))
        }
    }

    /// A reading failed: what is read next is the first that counts.
    pub(super) fn failed(&mut self) {
        *self = Vigil {
            held_until: self.held_until,
            ..Vigil::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn claims(until: Option<u64>) -> Claims {
        let claim = |until| Claim {
            term: 5,
            until: MS(until),
        };
        until
            .map(|until| (MemberId(7), claim(until)))
            .into_iter()
            .collect()
    }

    fn held(renewal: u64) -> Reading {
        Reading {
            holder: Some("a".to_owned()),
            renewal: Some(renewal.to_string()),
            is_given_up: false,
            length: MS(1_200),
            claims: claims(Some(2_500)),
        }
    }

    fn take(until: Option<u64>) -> Verdict {
        Verdict::Take {
            claims: claims(until),
        }
    }

    #[test]
    fn it_takes_over_when_nothing_was_renewed_for_the_whole_time() {
        let mut vigil = Vigil::default();
        assert_eq!(vigil.read(MS(0), MS(10), Some(held(1))), Verdict::Wait(MS(200)));
        assert_eq!(
            vigil.read(MS(210), MS(220), Some(held(2))),
            Verdict::Wait(MS(200))
        );
        assert_eq!(
            vigil.read(MS(1_300), MS(1_310), Some(held(2))),
            Verdict::Wait(MS(110))
        );
        // It was begun too early to show that nothing came in the last moment.
        assert_eq!(
            vigil.read(MS(1_419), MS(1_430), Some(held(2))),
            Verdict::Wait(MS(0))
        );
        assert_eq!(vigil.read(MS(1_430), MS(1_440), Some(held(2))), take(Some(2_500)));
    }

    #[test]
    fn what_was_not_seen_to_be_renewed_tells_nothing_of_claims() {
        let mut vigil = Vigil::default();
        assert_eq!(vigil.read(MS(0), MS(10), Some(held(1))), Verdict::Wait(MS(200)));
        assert_eq!(vigil.read(MS(1_210), MS(1_220), Some(held(1))), take(None));
    }

    #[test]
    fn while_it_cannot_read_it_does_not_know_that_nothing_was_renewed() {
        let mut vigil = Vigil::default();
        vigil.read(MS(0), MS(10), Some(held(1)));
        vigil.read(MS(210), MS(220), Some(held(2)));
        vigil.failed();
        assert_eq!(
            vigil.read(MS(9_000), MS(9_010), Some(held(2))),
            Verdict::Wait(MS(200))
        );
        assert_eq!(vigil.read(MS(10_210), MS(10_220), Some(held(2))), take(None));
    }

    #[test]
    fn a_lease_that_was_given_up_is_taken_at_once() {
        let free = Reading {
            holder: None,
            is_given_up: true,
            ..held(3)
        };
        let mut vigil = Vigil::default();
        assert_eq!(vigil.read(MS(0), MS(10), Some(free.clone())), take(None));
        let mut vigil = Vigil::default();
        vigil.read(MS(0), MS(10), Some(held(1)));
        vigil.read(MS(210), MS(220), Some(held(2)));
        assert_eq!(vigil.read(MS(410), MS(420), Some(free)), take(Some(2_710)));
    }

    #[test]
    fn a_lease_that_somebody_deleted_or_emptied_is_held_as_long_as_it_was() {
        assert_eq!(
            Vigil::default().read(MS(0), MS(10), None),
            take(None),
            "there never was one"
        );
        let emptied = Reading {
            holder: None,
            ..held(2)
        };
        for hand in [None, Some(emptied)] {
            let mut vigil = Vigil::default();
            vigil.read(MS(0), MS(10), Some(held(1)));
            vigil.read(MS(210), MS(220), Some(held(2)));
            assert_eq!(vigil.read(MS(410), MS(420), hand.clone()), Verdict::Wait(MS(100)));
            vigil.failed();
            assert_eq!(
                vigil.read(MS(1_400), MS(1_405), hand.clone()),
                Verdict::Wait(MS(15))
            );
            let mut renewed = vigil.clone();
            assert_eq!(vigil.read(MS(1_420), MS(1_430), hand), take(None));
            assert_eq!(
                renewed.read(MS(1_420), MS(1_430), Some(held(3))),
                Verdict::Wait(MS(200))
            );
        }
    }
}
