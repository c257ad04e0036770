//! How often callsigns may be guessed at, and who is told of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::members::SeatId;

/// Wrong callsigns in a row that one source may try on one member: an operator's mistakes in several clusters behind
/// one address.
const STRANGER_BURST: f64 = 16.0;

/// The same for the members of another group on the same two controllers, which look for theirs among all: as many as
/// a controller has.
const GROUP_BURST: f64 = 1_024.0;

/// After these, one in ten seconds: 8,640 a day.
const REFILL_PER_SECOND: f64 = 0.1;

/// Members that one of ours may try in a row, looking for its like. Each may be somebody who guesses at its callsign.
const SEARCH_BURST: f64 = 1_024.0;

/// After these, one in a second: the search for a member of a group has to go on.
const SEARCH_REFILL_PER_SECOND: f64 = 1.0;

/// Guessers and members that are remembered at most, about 100 bytes each; who comes above that is not answered.
const BUCKETS: usize = 65_536;

/// Sources whose failures are counted for a member at most, in all.
const REPORTS: usize = 1_024;

/// A member is told of one source at most this often.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// A source that has failed no more for this long is forgotten.
const REPORT_FORGET: Duration = Duration::from_secs(3_600);

/// Whose guesses are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Guesser {
    /// Somebody who has proven nothing, by address.
    Stranger(IpAddr),
    /// Somebody who has proven the callsign of this member. A new certificate costs nothing, so it is no name.
    Group(SeatId),
    /// Whoever answers a member of ours that looks for its like.
    Answering,
}

impl Guesser {
    fn burst(self) -> f64 {
        match self {
            Self::Stranger(_) => STRANGER_BURST,
            Self::Group(_) => GROUP_BURST,
            Self::Answering => SEARCH_BURST,
        }
    }

    fn refill_per_second(self) -> f64 {
        match self {
            Self::Stranger(_) | Self::Group(_) => REFILL_PER_SECOND,
            Self::Answering => SEARCH_REFILL_PER_SECOND,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn refill(&mut self, now: Instant, guesser: Guesser) {
        let gained = now.duration_since(self.at).as_secs_f64() * guesser.refill_per_second();
        self.tokens = (self.tokens + gained).min(guesser.burst());
        self.at = now;
    }
}

#[derive(Clone, Copy, Debug)]
struct Report {
    attempts: u64,
    began_at: Instant,
    last_at: Instant,
    told_at: Option<Instant>,
}

/// Proofs that were begun and not finished.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    buckets: HashMap<(Guesser, SeatId), Bucket>,
    reports: HashMap<(IpAddr, SeatId), Report>,
    failed: u64,
}

impl Guesses {
    /// Takes the place of one guess at a member's callsign, if there is one.
    pub(super) fn take(&mut self, now: Instant, guesser: Guesser, seat: SeatId) -> bool {
        if self.buckets.len() >= BUCKETS && !self.buckets.contains_key(&(guesser, seat)) {
            return false;
        }
        let full = Bucket {
            tokens: guesser.burst(),
            at: now,
        };
        let bucket = self.buckets.entry((guesser, seat)).or_insert(full);
        bucket.refill(now, guesser);
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }

    /// Gives the place back: it was no guess.
    pub(super) fn give_back(&mut self, guesser: Guesser, seat: SeatId) {
        if let Some(bucket) = self.buckets.get_mut(&(guesser, seat)) {
            bucket.tokens = (bucket.tokens + 1.0).min(guesser.burst());
        }
    }

    /// Counts a failure; returns how many there were and within what time, if the member is to be told now.
    pub(super) fn failed(&mut self, now: Instant, source: IpAddr, seat: SeatId) -> Option<(u64, Duration)> {
        self.failed += 1;
        if self.reports.len() >= REPORTS && !self.reports.contains_key(&(source, seat)) {
            return None;
        }
        let report = self.reports.entry((source, seat)).or_insert(Report {
            attempts: 0,
            began_at: now,
            last_at: now,
            told_at: None,
        });
        report.attempts += 1;
        report.last_at = now;
        let is_due = report
            .told_at
            .is_none_or(|at| now.duration_since(at) >= REPORT_INTERVAL);
        is_due.then(|| {
            report.told_at = Some(now);
            (report.attempts, now.duration_since(report.began_at))
        })
    }

    /// How many proofs have failed.
    pub(super) fn count(&self) -> u64 {
        self.failed
    }

    /// Forgets whoever may guess as often as anybody.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.buckets.retain(|(guesser, _), bucket| {
            bucket.refill(now, *guesser);
            bucket.tokens < guesser.burst()
        });
        self.reports
            .retain(|_, report| now.duration_since(report.last_at) < REPORT_FORGET);
    }

    /// The member is here no longer.
    pub(super) fn forget(&mut self, seat: SeatId) {
        self.buckets
            .retain(|(guesser, at), _| *at != seat && *guesser != Guesser::Group(seat));
        self.reports.retain(|(_, at), _| *at != seat);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEAT: SeatId = SeatId(1);
    const OTHER: SeatId = SeatId(2);

    fn source(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn a_source_has_its_guesses_at_each_member_and_then_one_in_ten_seconds() {
        let (mut guesses, start) = (Guesses::default(), Instant::now());
        let stranger = Guesser::Stranger(source(1));
        let count = |guesses: &mut Guesses, now, guesser, seat| {
            (0..2_000).filter(|_| guesses.take(now, guesser, seat)).count()
        };
        assert_eq!(count(&mut guesses, start, stranger, SEAT), 16);
        assert_eq!(count(&mut guesses, start, stranger, OTHER), 16);
        assert_eq!(count(&mut guesses, start, Guesser::Stranger(source(2)), SEAT), 16);
        assert_eq!(count(&mut guesses, start, Guesser::Group(OTHER), SEAT), 1_024);
        assert_eq!(count(&mut guesses, start, Guesser::Answering, SEAT), 1_024);
        let later = start + Duration::from_secs(35);
        assert_eq!(count(&mut guesses, later, stranger, SEAT), 3);
        assert_eq!(count(&mut guesses, later, Guesser::Answering, SEAT), 35);
        guesses.give_back(stranger, SEAT);
        assert_eq!(count(&mut guesses, later, stranger, SEAT), 1);
    }

    #[test]
    fn whoever_is_quiet_is_forgotten_and_nobody_else() {
        let (mut guesses, start) = (Guesses::default(), Instant::now());
        for last in 0..100 {
            assert!(guesses.take(start, Guesser::Stranger(source(last)), SEAT));
            guesses.failed(start, source(last), SEAT);
        }
        guesses.sweep(start + Duration::from_secs(9));
        assert_eq!((guesses.buckets.len(), guesses.reports.len()), (100, 100));
        guesses.sweep(start + Duration::from_secs(11));
        assert_eq!((guesses.buckets.len(), guesses.reports.len()), (0, 100));
        guesses.sweep(start + Duration::from_secs(3_601));
        assert_eq!(guesses.reports.len(), 0);
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        for number in 0..70_000_u32 {
            guesses.take(now, Guesser::Stranger(IpAddr::from(number.to_be_bytes())), SEAT);
            guesses.failed(now, IpAddr::from(number.to_be_bytes()), SEAT);
        }
        assert_eq!((guesses.buckets.len(), guesses.reports.len()), (BUCKETS, REPORTS));
        assert_eq!(guesses.count(), 70_000);
    }

    #[test]
    fn a_member_is_told_at_once_and_then_once_a_minute() {
        let (mut guesses, start) = (Guesses::default(), Instant::now());
        let mut told = Vec::new();
        for second in 0..=125 {
            let now = start + Duration::from_secs(second);
            told.extend(guesses.failed(now, source(1), SEAT));
        }
        let minutes = |count: u64| Duration::from_secs(60 * count);
        assert_eq!(told, [(1, minutes(0)), (61, minutes(1)), (121, minutes(2))]);
    }
}
