//! Whole groups of the shipped state machine on a simulated network, from a seed that replays exactly.
//!
//! Time is simulated: an hour costs milliseconds. Every member's process can crash and restart with exactly what it
//! had made durable, freeze, and be cut off; its payload runs on without it, as a real one does.

mod agenda;
mod clock;
mod connection;
mod faults;
mod gauge;
pub mod invariants;
mod look;
mod network;
mod step;

use std::collections::{BTreeMap, VecDeque};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use self::agenda::Agenda;
use self::clock::Clock;
use self::connection::{Connection, Pair, Stage};
pub use self::connection::{ROUND_TRIPS, SILENCE_MAX_MS};
pub use self::gauge::Gauge;
use self::invariants::Invariants;
use crate::election::{
    Config, Durable, Duty, Event, Member, MemberId, MemoryId, Notice, Order, Profile, Received, Settings,
    Term, Tick,
};

/// How messages travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Each for itself: lost, repeated and overtaken, which is harsher than anything that connections do.
    #[default]
    Datagrams,
    /// Over TCP, which repeats what is lost and holds back what comes behind it.
    Connections,
}

/// How the simulated network and API servers behave.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// How messages travel.
    pub network: Network,
    /// One-way delay of a message, least and most, in milliseconds.
    pub delay_ms: (i64, i64),
    /// How many of a thousand messages, or segments of a connection, are lost.
    pub loss_permille: u64,
    /// How often one segment of a connection is lost in a row at most.
    pub losses_in_a_row_max: u32,
    /// How many of a thousand messages arrive twice; none over connections.
    pub duplicate_permille: u64,
    /// How long a write to an API server takes, least and most, in milliseconds.
    pub write_ms: (i64, i64),
    /// How long a payload takes to stop, least and most, in milliseconds.
    pub stop_ms: (i64, i64),
}

impl Default for Weather {
    fn default() -> Weather {
        Weather {
            network: Network::Datagrams,
            delay_ms: (1, 5),
            loss_permille: 0,
            losses_in_a_row_max: u32::MAX,
            duplicate_permille: 0,
            write_ms: (3, 12),
            stop_ms: (5, 60),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Happening {
    Deliver {
        to: usize,
        received: Received,
    },
    Written {
        to: usize,
        process: u64,
        number: u64,
        durable: Box<Durable>,
        outcome: Outcome,
    },
    Gone {
        to: usize,
        number: u64,
    },
    Wake {
        to: usize,
        process: u64,
        at_ms: i64,
    },
    Connection {
        pair: Pair,
        generation: u64,
        stage: Stage,
    },
    /// A link has been cut since then, if it is still the same cut.
    Silent {
        from: usize,
        to: usize,
        since_ms: i64,
    },
    /// A process has been frozen since then, if it still is.
    Dumb {
        site: usize,
        since_ms: i64,
    },
}

/// How an API server treats writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// They succeed.
    #[default]
    Works,
    /// They are refused.
    Refuses,
    /// Nobody is told what became of them: half of them are durable.
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Durable,
    Failed,
    DurableUntold,
}

/// A copy of the payload in one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Running {
    term: Term,
    /// Its controller died or was frozen since it last ordered it, so that nobody could stop it in time.
    orphaned: bool,
}

/// One cluster with one controller.
struct Site {
    id: MemberId,
    config: Config,
    /// `None` while the process is dead.
    member: Option<Member>,
    /// Counts the processes, so that what a dead one waited for is told apart.
    process: u64,
    disk: Durable,
    /// The process whose write was the last to become durable.
    writer: u64,
    storage: Storage,
    writes: u64,
    frozen: bool,
    frozen_since_ms: i64,
    /// The whole cluster is down: nothing answers there, not even by a refusal.
    dark: bool,
    mailbox: VecDeque<Event>,
    running: Option<Running>,
    /// When the last claim that it held is over, in true time.
    claim_ends_ms: i64,
    order: (u64, Order),
    clock: Clock,
    notices: Vec<(i64, Notice)>,
    wake_at: Option<i64>,
}

/// Violations that are kept of one world.
const VIOLATIONS_MAX: usize = 10;

/// Notices that are kept of one site, the newest: scenarios look at all of a few minutes.
const NOTICES_MAX: usize = 4_096;

/// A violated promise, with when and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, in simulated milliseconds.
    pub at_ms: i64,
    /// What was seen.
    pub what: String,
}

/// A simulated world.
pub struct World {
    now_ms: i64,
    rng: SmallRng,
    weather: Weather,
    sites: Vec<Site>,
    agenda: Agenda<Happening>,
    /// Links that are cut in the direction from the first to the second, and since when.
    cuts: Vec<(usize, usize, i64)>,
    /// One for each pair of sites, where messages travel over connections.
    connections: Vec<Connection>,
    /// Further addresses of sites.
    aliases: BTreeMap<String, usize>,
    invariants: Invariants,
    /// Whether two valid claims at once break a promise: not where each of two voters may lead alone.
    guarded: bool,
    /// Messages sent so far, and room to encode one.
    sent: u64,
    wire: Vec<u8>,
    gauge: Option<Gauge>,
    digest: u64,
    /// What went wrong.
    pub violations: Vec<Violation>,
    /// Messages delivered.
    pub delivered: u64,
    /// Leaders that lost the lead without handing it over.
    pub falls: u64,
    /// Prints every event and command, for looking into a seed.
    pub traced: bool,
}

impl Site {
    fn orphan(&mut self) {
        if let Some(copy) = &mut self.running {
            copy.orphaned = true;
        }
    }
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64, weather: Weather) -> World {
        World {
            now_ms: 0,
            rng: SmallRng::seed_from_u64(seed),
            weather,
            sites: Vec::new(),
            agenda: Agenda::new(),
            cuts: Vec::new(),
            connections: Vec::new(),
            aliases: BTreeMap::new(),
            invariants: Invariants::default(),
            guarded: true,
            sent: 0,
            wire: Vec::new(),
            gauge: None,
            digest: 0,
            violations: Vec::new(),
            delivered: 0,
            falls: 0,
            traced: false,
        }
    }

    /// Two claims at once are no violation in this world.
    #[must_use]
    pub fn unguarded(mut self) -> World {
        self.guarded = false;
        self
    }

    /// Adds a cluster whose controller is yet to be started. Its address is `site-N`.
    pub fn site(&mut self, rank: i64, ready: bool, fleet: &[usize], settings: Settings) -> usize {
        let index = self.sites.len();
        let number = u128::try_from(index).unwrap_or_default() + 1;
        let profile = Profile {
            name: format!("site-{index}").into(),
            address: format!("site-{index}").into(),
            rank,
            duty: Duty::Candidate,
        };
        let fleet = fleet.iter().map(|site| format!("site-{site}")).collect();
        let config = Config {
            profile,
            fleet,
            ready,
            found_without: Vec::new(),
            settings,
            paused: false,
            stop_timeout_ms: 30_000,
        };
        self.sites.push(Site {
            id: MemberId(number),
            config,
            member: None,
            process: 0,
            disk: Durable::new(MemoryId(number)),
            writer: 0,
            storage: Storage::Works,
            writes: 0,
            frozen: false,
            frozen_since_ms: 0,
            dark: false,
            mailbox: VecDeque::new(),
            running: None,
            claim_ends_ms: 0,
            order: (0, Order::Hold),
            clock: Clock::new(),
            notices: Vec::new(),
            wake_at: None,
        });
        if self.weather.network == Network::Connections {
            self.connections.extend((0..index).map(|_| Connection::new()));
        }
        index
    }

    /// A number below `bound` from the world's own randomness.
    pub fn draw(&mut self, bound: u64) -> u64 {
        // The upper half of the product: a division costs more than the generator.
        let product = u128::from(self.rng.next_u64()) * u128::from(bound.max(1));
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// A number from `least` to `most` from the world's own randomness.
    pub fn between(&mut self, (least, most): (i64, i64)) -> i64 {
        let span = u64::try_from(most - least + 1).unwrap_or(1);
        least + i64::try_from(self.draw(span)).unwrap_or(0)
    }

    /// Simulated milliseconds since the beginning.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Changes with every step that any member takes: two runs with the same digest went the same way.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    fn tick(&self, site: usize) -> Tick {
        self.sites[site].clock.tick(self.now_ms)
    }

    /// Lets time pass.
    pub fn run(&mut self, ms: i64) {
        self.run_to(self.now_ms + ms);
    }

    fn run_to(&mut self, end_ms: i64) {
        while let Some((at_ms, happening)) = self.agenda.take_until(end_ms) {
            self.now_ms = self.now_ms.max(at_ms);
            self.happen(happening);
        }
        self.now_ms = end_ms;
    }

    /// Lets time pass until `done` or `limit_ms` are over; tells how long it took. `done` is asked whenever something has
    /// happened.
    pub fn run_until(&mut self, limit_ms: i64, mut done: impl FnMut(&World) -> bool) -> Option<i64> {
        let start = self.now_ms;
        let end = start + limit_ms;
        while !done(self) {
            if self.now_ms == end {
                return None;
            }
            let next = self
                .agenda
                .next_at()
                .map_or(end, |at_ms| at_ms.max(self.now_ms + 1));
            self.run_to(next.min(end));
        }
        Some(self.now_ms - start)
    }

    fn schedule(&mut self, after_ms: i64, happening: Happening) {
        self.agenda.put(self.now_ms + after_ms, happening);
    }

    fn schedule_at(&mut self, at_ms: i64, happening: Happening) {
        self.agenda.put(at_ms.max(self.now_ms), happening);
    }
}
