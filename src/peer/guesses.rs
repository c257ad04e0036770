//! How often callsigns may be guessed at, and who is told of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::admission::source_of;
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

/// Strangers and members that are remembered at most, about 100 bytes each; a stranger who comes above that is not answered.
/// One source tries as many members as there are, so it takes several dozens of them at once to keep others out, and fewer to
/// take all places among the handshakes.
const STRANGERS: usize = 65_536;

/// The same for the members of other groups, and for those of ours that look for their like: apart from strangers, so that
/// no stranger stands in their way.
const ACQUAINTANCES: usize = 65_536;

/// Proofs that one source may break off on one member within [`REPORT_FORGET`] before it is taken to guess. Connections break,
/// seldom within the round trip that a proof takes; and whoever guesses knows by then whether its word was right.
const BROKEN_OFF: u32 = 3;

/// Sources whose failures are counted for a member at most, in all.
const REPORTS: usize = 1_024;

/// A member is told of one source at most this often.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// A source that has failed no more for this long is forgotten.
const REPORT_FORGET: Duration = Duration::from_secs(3_600);

/// Whose guesses are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Guesser {
    /// Somebody who has proven nothing, by source.
    Stranger(IpAddr),
    /// Somebody who has proven the callsign of this member. A new certificate costs nothing, so it is no name.
    Group(SeatId),
    /// Whoever answers a member of ours that looks for its like.
    Answering,
}

impl Guesser {
    /// Whoever comes from this address and has proven nothing.
    pub(super) fn stranger(address: IpAddr) -> Self {
        Self::Stranger(source_of(address))
    }

    fn is_stranger(self) -> bool {
        matches!(self, Self::Stranger(_))
    }

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
    broken_off: u32,
    began_at: Instant,
    last_at: Instant,
    told_at: Option<Instant>,
}

/// Proofs that were begun and not finished.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    strangers: HashMap<(Guesser, SeatId), Bucket>,
    acquaintances: HashMap<(Guesser, SeatId), Bucket>,
    reports: HashMap<(IpAddr, SeatId), Report>,
    failed: u64,
}

impl Guesses {
    /// Those who are counted beside this one, and how many of them are remembered at most.
    fn like(&mut self, guesser: Guesser) -> (&mut HashMap<(Guesser, SeatId), Bucket>, usize) {
        match guesser.is_stranger() {
            true => (&mut self.strangers, STRANGERS),
            false => (&mut self.acquaintances, ACQUAINTANCES),
        }
    }

    /// Takes the place of one guess at a member's callsign, if there is one.
    pub(super) fn take(&mut self, now: Instant, guesser: Guesser, seat: SeatId) -> bool {
        let (buckets, limit) = self.like(guesser);
        if buckets.len() >= limit && !buckets.contains_key(&(guesser, seat)) {
            return false;
        }
        let full = Bucket {
            tokens: guesser.burst(),
            at: now,
        };
        let bucket = buckets.entry((guesser, seat)).or_insert(full);
        bucket.refill(now, guesser);
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }

    /// Gives the place back: it was no guess.
    pub(super) fn give_back(&mut self, guesser: Guesser, seat: SeatId) {
        if let Some(bucket) = self.like(guesser).0.get_mut(&(guesser, seat)) {
            bucket.tokens = (bucket.tokens + 1.0).min(guesser.burst());
        }
    }

    /// Counts a failure of whoever comes from this address; returns how many there were and within what time, if the member
    /// is to be told now.
    pub(super) fn failed(&mut self, now: Instant, address: IpAddr, seat: SeatId) -> Option<(u64, Duration)> {
        self.failed += 1;
        let report = self.report(now, address, seat)?;
        if report.attempts == 0 {
            report.began_at = now;
        }
        report.attempts += 1;
        let is_due = report
            .told_at
            .is_none_or(|at| now.duration_since(at) >= REPORT_INTERVAL);
        is_due.then(|| {
            report.told_at = Some(now);
            (report.attempts, now.duration_since(report.began_at))
        })
    }

    /// Counts a proof that was neither finished nor refused: a failure if that is no accident any more.
    pub(super) fn broken_off(
        &mut self,
        now: Instant,
        address: IpAddr,
        seat: SeatId,
    ) -> Option<(u64, Duration)> {
        let report = self.report(now, address, seat)?;
        if report.broken_off < BROKEN_OFF {
            report.broken_off += 1;
            return None;
        }
        self.failed(now, address, seat)
    }

    fn report(&mut self, now: Instant, address: IpAddr, seat: SeatId) -> Option<&mut Report> {
        let source = source_of(address);
        if self.reports.len() >= REPORTS && !self.reports.contains_key(&(source, seat)) {
            return None;
        }
        let report = self.reports.entry((source, seat)).or_insert(Report {
            attempts: 0,
            broken_off: 0,
            began_at: now,
            last_at: now,
            told_at: None,
        });
        report.last_at = now;
        Some(report)
    }

    /// How many guessers are remembered.
    pub(super) fn remembered(&self) -> usize {
        self.strangers.len() + self.acquaintances.len() + self.reports.len()
    }

    /// How many proofs have failed.
    pub(super) fn count(&self) -> u64 {
        self.failed
    }

    /// Forgets whoever may guess as often as anybody.
    pub(super) fn sweep(&mut self, now: Instant) {
        for buckets in [&mut self.strangers, &mut self.acquaintances] {
            buckets.retain(|(guesser, _), bucket| {
                bucket.refill(now, *guesser);
                bucket.tokens < guesser.burst()
            });
        }
        self.reports
            .retain(|_, report| now.duration_since(report.last_at) < REPORT_FORGET);
    }

    /// The member is here no longer.
    pub(super) fn forget(&mut self, seat: SeatId) {
        for buckets in [&mut self.strangers, &mut self.acquaintances] {
            buckets.retain(|(guesser, at), _| *at != seat && *guesser != Guesser::Group(seat));
        }
        self.reports.retain(|(_, at), _| *at != seat);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const SEAT: SeatId = SeatId(1);
    const OTHER: SeatId = SeatId(2);

    fn source(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn a_source_has_its_guesses_at_each_member_and_then_one_in_ten_seconds() {
        let (mut guesses, start) = (Guesses::default(), Instant::now());
        let stranger = Guesser::stranger(source(1));
        let count = |guesses: &mut Guesses, now, guesser, seat| {
            (0..2_000).filter(|_| guesses.take(now, guesser, seat)).count()
        };
        assert_eq!(count(&mut guesses, start, stranger, SEAT), 16);
        assert_eq!(count(&mut guesses, start, stranger, OTHER), 16);
        assert_eq!(count(&mut guesses, start, Guesser::stranger(source(2)), SEAT), 16);
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
            assert!(guesses.take(start, Guesser::stranger(source(last)), SEAT));
            guesses.failed(start, source(last), SEAT);
        }
        guesses.sweep(start + Duration::from_secs(9));
        assert_eq!((guesses.strangers.len(), guesses.reports.len()), (100, 100));
        guesses.sweep(start + Duration::from_secs(11));
        assert_eq!((guesses.strangers.len(), guesses.reports.len()), (0, 100));
        guesses.sweep(start + Duration::from_secs(3_601));
        assert_eq!(guesses.reports.len(), 0);
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        for number in 0..70_000_u32 {
            guesses.take(now, Guesser::stranger(IpAddr::from(number.to_be_bytes())), SEAT);
            guesses.failed(now, IpAddr::from(number.to_be_bytes()), SEAT);
        }
        assert_eq!(
            (guesses.strangers.len(), guesses.reports.len()),
            (STRANGERS, REPORTS)
        );
        assert_eq!(guesses.count(), 70_000);
        // Whoever has proven something, and our own search, are in nobody's way.
        assert!(guesses.take(now, Guesser::Group(OTHER), SEAT));
        assert!(guesses.take(now, Guesser::Answering, SEAT));
        for number in 0..70_000 {
            guesses.take(now, Guesser::Group(SeatId(number)), SEAT);
        }
        assert_eq!(guesses.acquaintances.len(), ACQUAINTANCES);
    }

    #[test]
    fn all_addresses_of_one_host_share_their_guesses_and_are_told_of_as_one() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        let address = |host: u16| IpAddr::from([0x2001, 0xdb8, 1, 2, 3, 4, 5, host]);
        let taken = (0..100).filter(|host| guesses.take(now, Guesser::stranger(address(*host)), SEAT));
        assert_eq!(taken.count(), 16);
        let told: Vec<_> = (0..100)
            .filter_map(|host| guesses.failed(now, address(host), SEAT))
            .collect();
        assert_eq!(told, [(1, Duration::ZERO)]);
        let other = IpAddr::from([0x2001, 0xdb8, 1, 3, 3, 4, 5, 6]);
        assert!(guesses.take(now, Guesser::stranger(other), SEAT));
        let mapped = Guesser::stranger("::ffff:10.0.0.1".parse().unwrap());
        assert_eq!(mapped, Guesser::stranger(source(1)));
    }

    #[test]
    fn a_few_connections_that_break_are_no_guesses_and_many_are() {
        let (mut guesses, start) = (Guesses::default(), Instant::now());
        let minute = |count: u64| start + Duration::from_secs(60 * count);
        let told: Vec<_> = (0..6)
            .map(|count| guesses.broken_off(minute(count), source(1), SEAT))
            .collect();
        let within = |count: u64| Duration::from_secs(60 * count);
        let third = [Some((1, within(0))), Some((2, within(1))), Some((3, within(2)))];
        assert_eq!((&told[..3], &told[3..]), (&[None; 3][..], &third[..]));
        assert_eq!(guesses.count(), 3);
        // Each source, each member and each hour begin anew.
        assert_eq!(guesses.broken_off(minute(6), source(2), SEAT), None);
        assert_eq!(guesses.broken_off(minute(6), source(1), OTHER), None);
        guesses.sweep(minute(66));
        assert_eq!(guesses.broken_off(minute(66), source(1), SEAT), None);
        // What has failed is told all the same.
        assert_eq!(guesses.failed(minute(66), source(2), SEAT), Some((1, within(0))));
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
