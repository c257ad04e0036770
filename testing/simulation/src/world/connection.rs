//! TCP between two sites, as far as the election notices it, with the timeouts of the room `peer`.
//!
//! A segment that is lost holds back what is sent after it until it was repeated with success. It is repeated after the
//! retransmission timeout, which doubles each time: RFC 6298 with Linux's minimum of 200 ms (`TCP_RTO_MIN`) over the
//! smoothed round trip, and 1 s for a SYN. Linux joins small segments when it repeats them, so a repetition carries all
//! that waits. Repetitions that acknowledgements of later segments set off (RACK, RFC 8985) are left out: where heartbeats
//! follow each other faster than the timeout, as in profile Fast, real connections recover sooner than these.
//!
//! A connection on which nothing gets through for [`SILENCE_MAX_MS`] is broken, and what it carried is lost. It is dialled
//! again as soon as one of the two has something to say.

use std::collections::VecDeque;

use super::{Happening, Weather, World};
use crate::election::Received;

/// Linux's `TCP_RTO_MIN`.
const RTO_MIN_MS: i64 = 200;

/// The silence after which a connection is dead: `Timing::silence_max`, which is its `TCP_USER_TIMEOUT` too.
pub const SILENCE_MAX_MS: i64 = 3_000;

/// How long a SYN is waited for: `CONNECT_MAX`, which is when the kernel would repeat it.
const CONNECT_MAX_MS: i64 = 1_000;

/// How long TLS and greetings may take: `Timing::handshake_max`.
const HANDSHAKE_MAX_MS: i64 = 3_000;

/// How long the proof of the callsign may take besides: `Timing::prove_max`.
const PROVE_MAX_MS: i64 = 10_000;

/// Round trips from the SYN to the first message: TCP, TLS, greetings, and two for the proof of the callsign.
pub const ROUND_TRIPS: u32 = 5;

/// After this a message that waits is not sent any more: `AGE_MAX`.
const AGE_MAX_MS: i64 = 3_000;

/// Messages that wait for a connection at most, the newest: `PER_SENDER`.
const WAITING_MAX: usize = 16;

/// Dialling goes on for so long after the last message: `DIAL_PATIENCE`.
const DIAL_PATIENCE_MS: i64 = 10_000;

/// Waits between attempts: `BACK_OFF_FIRST`, doubled up to `BACK_OFF_MAX`.
const BACK_OFF_FIRST_MS: i64 = 50;
const BACK_OFF_MAX_MS: i64 = 1_000;

/// A connection that lived for less counts as a failed attempt: `SETTLED`.
const SETTLED_MS: i64 = 5_000;

/// A frozen process that is being greeted is looked at this often.
const GREETING_LOOK_MS: i64 = 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Dialling,
    Up,
}

/// The connection of two sites.
pub(super) struct Connection {
    state: State,
    /// Counts what was begun on it, so that what belongs to an earlier connection or attempt is told apart.
    generation: u64,
    up_since_ms: i64,
    failures: u32,
    last_sent_ms: i64,
    /// From the first site to the second, and back.
    ways: [Way; 2],
}

/// One direction of a connection.
struct Way {
    /// What waits for a connection, or behind a lost segment and with it, with when it was sent.
    waiting: VecDeque<(i64, Received)>,
    /// How often the segment that holds the others back was lost; zero while none does.
    losses: u32,
    /// When it was sent first.
    lost_since_ms: i64,
    /// When the last segment arrives, before which none that is sent later does.
    last_arrival_ms: i64,
}

impl Connection {
    pub(super) fn new() -> Connection {
        let way = || Way {
            waiting: VecDeque::new(),
            losses: 0,
            lost_since_ms: 0,
            last_arrival_ms: 0,
        };
        Connection {
            state: State::Closed,
            generation: 0,
            up_since_ms: 0,
            failures: 0,
            last_sent_ms: 0,
            ways: [way(), way()],
        }
    }

    fn back_off_ms(&self) -> i64 {
        match self.failures.checked_sub(1) {
            None => 0,
            Some(doublings) => (BACK_OFF_FIRST_MS << doublings.min(5)).min(BACK_OFF_MAX_MS),
        }
    }
}

/// One of the steps of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A lost segment is repeated: the one on the way from the first site to the second, or on the way back.
    Repeat { way: usize },
    /// An attempt to connect begins; the site on this end of the pair dials.
    Dial { dialler: usize },
    /// The attempt has gone well as far as the network goes.
    Greeted { dialler: usize, give_up_at: i64 },
    /// The attempt has failed.
    Failed { dialler: usize },
}

/// Two sites, the lower number first.
pub(super) type Pair = (usize, usize);

/// The place of a pair in a list of them that grows with each site.
pub(super) fn index((low, high): Pair) -> usize {
    high * (high - 1) / 2 + low
}

impl Weather {
    /// The retransmission timeout of a connection in this weather, before it is doubled. The mean deviation of the sum of
    /// two delays, each equally likely between its bounds, is a third of the width; RFC 6298 adds four of them.
    pub(crate) fn rto_ms(&self) -> i64 {
        let (least, most) = self.delay_ms;
        least + most + RTO_MIN_MS.max((most - least) * 4 / 3)
    }
}

impl World {
    /// Sends over the connection between two sites, or sees to it that there is one.
    pub(super) fn send_by_connection(&mut self, from: usize, to: usize, received: Received) {
        let pair = (from.min(to), from.max(to));
        let way = usize::from(from > to);
        let now = self.now_ms;
        let connection = &mut self.connections[index(pair)];
        connection.last_sent_ms = now;
        match connection.state {
            State::Up if connection.ways[way].losses == 0 => self.transmit(pair, way, received),
            State::Up => connection.ways[way].waiting.push_back((now, received)),
            State::Closed => {
                connection.wait(way, now, received);
                connection.state = State::Dialling;
                self.dial_later(pair, way);
            }
            State::Dialling => connection.wait(way, now, received),
        }
    }

    fn transmit(&mut self, pair: Pair, way: usize, received: Received) {
        let to = [pair.1, pair.0][way];
        if self.passes([pair.0, pair.1][way], to, 0) {
            let arrives_at = self.arrival(pair, way);
            self.schedule_at(arrives_at, Happening::Deliver { to, received });
            return;
        }
        let (now, rto_ms) = (self.now_ms, self.weather.rto_ms());
        let connection = &mut self.connections[index(pair)];
        let generation = connection.generation;
        let way_out = &mut connection.ways[way];
        way_out.waiting.push_back((now, received));
        way_out.losses = 1;
        way_out.lost_since_ms = now;
        let stage = Stage::Repeat { way };
        self.schedule(
            rto_ms,
            Happening::Connection {
                pair,
                generation,
                stage,
            },
        );
    }

    /// When what is sent now arrives: not before what was sent earlier.
    fn arrival(&mut self, pair: Pair, way: usize) -> i64 {
        let arrives_at = self.now_ms + self.between(self.weather.delay_ms);
        let last = &mut self.connections[index(pair)].ways[way].last_arrival_ms;
        *last = arrives_at.max(*last);
        *last
    }

    /// Whether a segment that is sent now gets through; it was lost so often before.
    fn passes(&mut self, from: usize, to: usize, losses: u32) -> bool {
        !self.is_cut(from, to) && (losses >= self.weather.losses_in_a_row_max || !self.is_lost())
    }

    pub(super) fn go_on_with_connection(&mut self, pair: Pair, generation: u64, stage: Stage) {
        if self.connections[index(pair)].generation != generation {
            return;
        }
        match stage {
            Stage::Repeat { way } => self.repeat(pair, way),
            Stage::Dial { dialler } => self.dial(pair, dialler),
            Stage::Greeted { dialler, give_up_at } => self.greet(pair, dialler, give_up_at),
            Stage::Failed { dialler } => self.dial_failed(pair, dialler),
        }
    }

    fn repeat(&mut self, pair: Pair, way: usize) {
        let now = self.now_ms;
        if now - self.connections[index(pair)].ways[way].lost_since_ms >= SILENCE_MAX_MS {
            return self.break_connection(pair);
        }
        let (to, losses) = (
            [pair.1, pair.0][way],
            self.connections[index(pair)].ways[way].losses,
        );
        if self.passes([pair.0, pair.1][way], to, losses) {
            let arrives_at = self.arrival(pair, way);
            let way_out = &mut self.connections[index(pair)].ways[way];
            way_out.losses = 0;
            for (_, received) in std::mem::take(&mut way_out.waiting) {
                self.schedule_at(arrives_at, Happening::Deliver { to, received });
            }
            return;
        }
        let rto_ms = self.weather.rto_ms();
        let connection = &mut self.connections[index(pair)];
        let generation = connection.generation;
        let way_out = &mut connection.ways[way];
        // The user timeout is looked at when it is over, not at the next repetition after it.
        let next = (now + (rto_ms << way_out.losses.min(10))).min(way_out.lost_since_ms + SILENCE_MAX_MS);
        way_out.losses += 1;
        let stage = Stage::Repeat { way };
        self.schedule_at(
            next,
            Happening::Connection {
                pair,
                generation,
                stage,
            },
        );
    }

    /// What the connection carried is lost, and what waited for it.
    pub(super) fn break_connection(&mut self, pair: Pair) {
        let now = self.now_ms;
        let Some(connection) = self.connections.get_mut(index(pair)) else {
            return;
        };
        if connection.state == State::Up {
            let is_settled = now - connection.up_since_ms >= SETTLED_MS;
            connection.failures = if is_settled { 0 } else { connection.failures + 1 };
        }
        connection.state = State::Closed;
        connection.generation += 1;
        for way in &mut connection.ways {
            way.waiting.clear();
            way.losses = 0;
        }
    }

    /// All connections of a site are gone.
    pub(super) fn break_connections(&mut self, site: usize) {
        for other in (0..self.sites.len()).filter(|other| *other != site) {
            self.break_connection((site.min(other), site.max(other)));
        }
    }

    // === dialling ===

    fn dial_later(&mut self, pair: Pair, dialler: usize) {
        let connection = &self.connections[index(pair)];
        let (wait_ms, generation) = (connection.back_off_ms(), connection.generation);
        // At random between half and all of it.
        let wait_ms = self.between((wait_ms / 2, wait_ms));
        let stage = Stage::Dial { dialler };
        self.schedule(
            wait_ms,
            Happening::Connection {
                pair,
                generation,
                stage,
            },
        );
    }

    fn dial(&mut self, pair: Pair, dialler: usize) {
        let now = self.now_ms;
        let ends = [pair.0, pair.1];
        let (from, to) = (ends[dialler], ends[1 - dialler]);
        let connection = &mut self.connections[index(pair)];
        let forgotten = now - connection.last_sent_ms > DIAL_PATIENCE_MS;
        if forgotten || self.sites[from].member.is_none() {
            return self.break_connection(pair);
        }
        let round_trip_ms = self.between(self.weather.delay_ms) + self.between(self.weather.delay_ms);
        let is_heard = self.passes(from, to, 0) && !self.sites[to].dark;
        let is_answered = is_heard && self.passes(to, from, 0) && round_trip_ms < CONNECT_MAX_MS;
        if !is_answered {
            return self.attempt_ends(pair, CONNECT_MAX_MS, Stage::Failed { dialler });
        }
        if self.sites[to].member.is_none() {
            // The kernel says that nobody listens.
            return self.attempt_ends(pair, round_trip_ms, Stage::Failed { dialler });
        }
        let give_up_at = now + round_trip_ms + HANDSHAKE_MAX_MS + PROVE_MAX_MS;
        let mut took_ms = round_trip_ms;
        for _ in 1..ROUND_TRIPS {
            for (from, to) in [(from, to), (to, from)] {
                took_ms += self.between(self.weather.delay_ms);
                let mut losses = 0;
                while !self.passes(from, to, losses) && now + took_ms < give_up_at {
                    took_ms += self.weather.rto_ms() << losses.min(10);
                    losses += 1;
                }
            }
        }
        if now + took_ms >= give_up_at {
            return self.attempt_ends(pair, give_up_at - now, Stage::Failed { dialler });
        }
        self.attempt_ends(pair, took_ms, Stage::Greeted { dialler, give_up_at });
    }

    fn attempt_ends(&mut self, pair: Pair, after_ms: i64, stage: Stage) {
        let generation = self.connections[index(pair)].generation;
        self.schedule(
            after_ms,
            Happening::Connection {
                pair,
                generation,
                stage,
            },
        );
    }

    fn greet(&mut self, pair: Pair, dialler: usize, give_up_at: i64) {
        let now = self.now_ms;
        let frozen = self.sites[pair.0].frozen || self.sites[pair.1].frozen;
        let severed = self.is_cut(pair.0, pair.1) || self.is_cut(pair.1, pair.0);
        let gone = self.sites[pair.0].member.is_none() || self.sites[pair.1].member.is_none();
        if gone || now >= give_up_at {
            return self.dial_failed(pair, dialler);
        }
        if frozen || severed {
            let again_ms = GREETING_LOOK_MS.min(give_up_at - now);
            return self.attempt_ends(pair, again_ms, Stage::Greeted { dialler, give_up_at });
        }
        let connection = &mut self.connections[index(pair)];
        connection.state = State::Up;
        connection.generation += 1;
        connection.up_since_ms = now;
        for way in 0..2 {
            let waiting = std::mem::take(&mut self.connections[index(pair)].ways[way].waiting);
            for (sent_at, received) in waiting {
                if now - sent_at <= AGE_MAX_MS {
                    self.send_waiting(pair, way, received);
                }
            }
        }
    }

    fn send_waiting(&mut self, pair: Pair, way: usize, received: Received) {
        let now = self.now_ms;
        let way_out = &mut self.connections[index(pair)].ways[way];
        if way_out.losses == 0 {
            self.transmit(pair, way, received);
        } else {
            way_out.waiting.push_back((now, received));
        }
    }

    fn dial_failed(&mut self, pair: Pair, dialler: usize) {
        let connection = &mut self.connections[index(pair)];
        connection.failures = connection.failures.saturating_add(1);
        connection.state = State::Dialling;
        self.dial_later(pair, dialler);
    }
}

impl Connection {
    fn wait(&mut self, way: usize, now_ms: i64, received: Received) {
        let waiting = &mut self.ways[way].waiting;
        if waiting.len() == WAITING_MAX {
            waiting.pop_front();
        }
        waiting.push_back((now_ms, received));
    }
}
