//! A simulated machine, as its processes see it: a clock that drifts and a disk that may be slow.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng};
use tokio::runtime::{Handle, Id};

use crate::election::Tick;

/// The rate of a clock that keeps true time.
pub const TRUE_PERMILLE: u32 = 1_000;

/// A clock that runs at its own rate.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// In true time: since then it runs at its present rate.
    since: Duration,
    /// What it showed then.
    shown: Duration,
    rate_permille: u32,
}

impl Clock {
    fn at(&self, now: Duration) -> Duration {
        self.shown + now.saturating_sub(self.since) * self.rate_permille / TRUE_PERMILLE
    }

    /// When it shows this, in true time.
    fn when(&self, shown: Duration) -> Duration {
        self.since + shown.saturating_sub(self.shown) * TRUE_PERMILLE / self.rate_permille
    }
}

/// A machine.
#[derive(Debug)]
pub struct Machine {
    clock: Cell<Clock>,
    /// How long work that blocks takes, least and most, in milliseconds.
    blocking_ms: Cell<(u64, u64)>,
    rng: RefCell<SmallRng>,
}

thread_local! {
    /// The machines of this thread's simulation, by the runtime of the process that runs there.
    static MACHINES: RefCell<HashMap<Id, Rc<Machine>>> = RefCell::new(HashMap::new());
}

/// The machine on which the calling task runs.
pub(crate) fn current() -> Rc<Machine> {
    MACHINES.with_borrow(|machines| {
        let machine = machines.get(&Handle::current().id());
        Rc::clone(machine.expect("a process begins with `run_here`"))
    })
}

impl Machine {
    /// A machine that has been up for a while, with true time and a disk that takes up to ten milliseconds.
    #[must_use]
    pub fn new(seed: u64) -> Machine {
        let mut rng = SmallRng::seed_from_u64(seed);
        let clock = Clock {
            since: Duration::ZERO,
            shown: Duration::from_millis(rng.random_range(0..1_000_000_000)),
            rate_permille: TRUE_PERMILLE,
        };
        Machine {
            clock: Cell::new(clock),
            blocking_ms: Cell::new(DISK_MS),
            rng: RefCell::new(rng),
        }
    }

    /// From here on the calling process runs on this machine, and none other does.
    pub fn run_here(self: &Rc<Self>) {
        MACHINES.with_borrow_mut(|machines| {
            machines.retain(|_, machine| !Rc::ptr_eq(machine, self));
            machines.insert(Handle::current().id(), Rc::clone(self));
        });
    }

    /// Time since it booted, for one of its processes.
    pub fn boottime(&self) -> Duration {
        self.boottime_at(turmoil::sim_elapsed().expect("called within a simulation"))
    }

    /// Time since it booted, at some true time.
    pub fn boottime_at(&self, now: Duration) -> Duration {
        self.clock.get().at(now)
    }

    /// When its clock shows this, in true time.
    pub fn when(&self, tick: Tick) -> Duration {
        self.clock
            .get()
            .when(Duration::from_millis(u64::try_from(tick.0).unwrap_or(0)))
    }

    /// Its clock runs at this rate from now on.
    pub fn set_rate(&self, now: Duration, rate_permille: u32) {
        self.clock.set(Clock {
            since: now,
            shown: self.boottime_at(now),
            rate_permille,
        });
    }

    /// How long work that blocks takes from now on, least and most, in milliseconds.
    pub fn set_blocking_ms(&self, blocking_ms: (u64, u64)) {
        self.blocking_ms.set(blocking_ms);
    }

    /// How long a piece of work that blocks takes, before it is done and after.
    pub(crate) fn draw_blocking(&self) -> (Duration, Duration) {
        let (least, most) = self.blocking_ms.get();
        let mut rng = self.rng.borrow_mut();
        let whole_ms = rng.random_range(least..=most);
        let before_ms = rng.random_range(0..=whole_ms);
        (
            Duration::from_millis(before_ms),
            Duration::from_millis(whole_ms - before_ms),
        )
    }
}

/// How long work that blocks takes on a machine that is well, least and most, in milliseconds.
pub const DISK_MS: (u64, u64) = (1, 10);
