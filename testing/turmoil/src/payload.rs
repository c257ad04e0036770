//! The payload of a simulated cluster: a copy that runs or not, whatever becomes of the process that started it.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng};

use crate::election::{Order, Term};

/// How long it takes to apply, least and most, in milliseconds.
const APPLY_MS: (u64, u64) = (5, 200);

/// A cluster as far as the payload goes.
#[derive(Debug)]
pub struct Payload {
    /// The term of the copy that runs here.
    running: Option<Term>,
    /// Its controller died since it last ordered it, so that nobody could stop it in time.
    orphaned: bool,
    /// How long it takes to stop, least and most, in milliseconds.
    stop_ms: (u64, u64),
    rng: SmallRng,
}

impl Payload {
    /// A cluster without a copy.
    #[must_use]
    pub fn new(seed: u64, stop_ms: (u64, u64)) -> Payload {
        Payload {
            running: None,
            orphaned: false,
            stop_ms,
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    /// Whether a copy runs here.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.running.is_some()
    }

    /// Whether a copy runs here that nobody could stop.
    #[must_use]
    pub fn is_orphaned(&self) -> bool {
        self.orphaned
    }

    /// Its controller has died.
    pub fn orphan(&mut self) {
        self.orphaned = self.runs();
    }

    /// The cluster is lost, or made anew.
    pub fn vanish(&mut self) {
        (self.running, self.orphaned) = (None, false);
    }

    pub(crate) fn start(&mut self, term: Term) {
        (self.running, self.orphaned) = (Some(term), false);
    }

    /// How long an order takes to carry out.
    pub(crate) fn draw(&mut self, order: Order) -> Duration {
        let (least, most) = match order {
            Order::Run { .. } => APPLY_MS,
            Order::Stop if self.runs() => self.stop_ms,
            Order::Stop | Order::Hold => (0, 0),
        };
        Duration::from_millis(self.rng.random_range(least..=most))
    }
}
