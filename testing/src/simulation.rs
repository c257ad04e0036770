//! Whole groups of the shipped state machine on a simulated network, from a seed that replays exactly.
//!
//! Time is simulated: an hour costs milliseconds. Every member's process can crash and restart with exactly what it
//! had made durable, freeze, and be cut off; its payload runs on without it, as a real one does.

#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a simulator belongs to tests: it fails by panicking, and traces a seed to the terminal"
)]

mod events;
mod faults;
mod judge;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use flagship::election::{
    Config, Durable, Duty, Event, GroupId, Member, MemberId, MemoryId, Notice, Order, Profile, Received,
    Settings, Term, Tick,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// How the simulated network and API servers behave.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// One-way delay of a message, least and most, in milliseconds.
    pub delay_ms: (i64, i64),
    /// How many of a thousand messages are lost.
    pub loss_permille: u64,
    /// How many of a thousand messages arrive twice.
    pub duplicate_permille: u64,
    /// How long a write to an API server takes, least and most, in milliseconds.
    pub write_ms: (i64, i64),
    /// How long a payload takes to stop, least and most, in milliseconds.
    pub stop_ms: (i64, i64),
}

impl Default for Weather {
    fn default() -> Weather {
        Weather {
            delay_ms: (1, 5),
            loss_permille: 0,
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
    mailbox: VecDeque<Event>,
    running: Option<Running>,
    order: (u64, Order),
    /// The rate of its clock in thousandths.
    rate_permille: i64,
    notices: Vec<(i64, Notice)>,
    wake_at: Option<i64>,
}

/// Violations that are kept of one world.
const VIOLATIONS_MAX: usize = 10;

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
    queue: BinaryHeap<Reverse<(i64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    sequence: u64,
    /// Pairs (from, to) whose link is cut in that direction.
    cuts: Vec<(usize, usize)>,
    /// Further addresses of sites.
    aliases: BTreeMap<String, usize>,
    leaders: BTreeMap<(GroupId, Term), MemberId>,
    /// Whether two valid claims at once break a promise: not where each of two voters may lead alone.
    guarded: bool,
    /// What went wrong.
    pub violations: Vec<Violation>,
    /// Messages delivered.
    pub delivered: u64,
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
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            sequence: 0,
            cuts: Vec::new(),
            aliases: BTreeMap::new(),
            leaders: BTreeMap::new(),
            guarded: true,
            violations: Vec::new(),
            delivered: 0,
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
            mailbox: VecDeque::new(),
            running: None,
            order: (0, Order::Hold),
            rate_permille: 1000,
            notices: Vec::new(),
            wake_at: None,
        });
        index
    }

    /// Sets the rate of a site's clock in thousandths of true time.
    pub fn set_clock_rate(&mut self, site: usize, permille: i64) {
        self.sites[site].rate_permille = permille;
    }

    /// A number below `bound` from the world's own randomness.
    pub fn draw(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound.max(1)
    }

    /// Simulated milliseconds since the beginning.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    fn tick(&self, site: usize) -> Tick {
        Tick(self.now_ms * self.sites[site].rate_permille / 1000)
    }

    /// Lets time pass.
    pub fn run(&mut self, ms: i64) {
        let end = self.now_ms + ms;
        while let Some(Reverse((at, sequence))) = self.queue.peek().copied() {
            if at > end {
                break;
            }
            self.queue.pop();
            self.now_ms = self.now_ms.max(at);
            let Some(happening) = self.happenings.remove(&sequence) else {
                continue;
            };
            self.happen(happening);
            self.check();
        }
        self.now_ms = end;
        self.check();
    }

    /// Lets time pass until `done` or `limit_ms` are over; tells how long it took.
    pub fn run_until(&mut self, limit_ms: i64, mut done: impl FnMut(&World) -> bool) -> Option<i64> {
        let start = self.now_ms;
        while self.now_ms - start < limit_ms {
            if done(self) {
                return Some(self.now_ms - start);
            }
            self.run(1);
        }
        done(self).then_some(limit_ms)
    }
}
