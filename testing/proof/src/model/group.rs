//! A group with its bounds, as a model for stateright.

use stateright::{Model, Property};

use super::super::election::{Config, Message, Tick};
use super::actions::Action;
use super::invariants;
use super::state::{Misfortunes, Process, State};

/// A clock that counts `ticks` in `units` of real time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// How many ticks.
    pub ticks: i64,
    /// In how many units.
    pub units: i64,
}

/// A clock that counts the model's units.
pub const TRUE: Clock = Clock { ticks: 1, units: 1 };

impl Clock {
    /// What the clock shows at an instant: whole ticks, as members count them.
    #[must_use]
    pub fn read(self, instant: i64) -> Tick {
        Tick((instant * self.ticks).div_euclid(self.units))
    }

    /// The first instant at which the clock shows at least this.
    #[must_use]
    pub fn instant_of(self, tick: Tick) -> i64 {
        -(-tick.0 * self.units).div_euclid(self.ticks)
    }

    /// How many units pass at most until that many ticks have passed.
    #[must_use]
    pub fn units_of(self, ticks: i64) -> i64 {
        -(-ticks * self.units).div_euclid(self.ticks)
    }
}

/// How far the model goes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long it runs, in units.
    pub units: i64,
    /// The highest term of which more is looked at.
    pub term: u64,
    /// Messages that one member sends another at one instant; of more the first are lost.
    pub per_link: usize,
    /// What may go wrong.
    pub misfortunes: Misfortunes,
}

/// A group with its bounds.
pub struct Group {
    /// What is checked, for people.
    pub name: &'static str,
    /// What the users want of the members.
    pub configs: Vec<Config>,
    /// The clocks of the members, one of these at a time.
    pub clocks: Vec<Vec<Clock>>,
    /// How far it goes.
    pub bounds: Bounds,
    /// Seats where a second controller stands by, which takes over when the first was at rest for so many units.
    pub standby: Vec<Option<i64>>,
    /// Whether two leaders at once are excluded: not where each of two may lead alone.
    pub guarded: bool,
    /// Whether a leader that waits may remove another's payload through that one's API server.
    pub fences: bool,
    /// Messages that are never delivered, since losing them is what they are there to show.
    pub deaf_to: fn(&Message) -> bool,
    /// Where it begins.
    pub openings: Vec<State>,
}

impl Group {
    /// A seat's clock.
    #[must_use]
    pub fn clock(&self, state: &State, seat: usize) -> Clock {
        self.clocks[state.clocks][seat]
    }

    /// What a seat's clock shows.
    #[must_use]
    pub fn now(&self, state: &State, seat: usize) -> Tick {
        self.clock(state, seat).read(state.instant)
    }

    /// How long a payload may take to stop, in ticks of its own cluster's clock.
    #[must_use]
    pub fn stop_budget_ms(&self) -> i64 {
        self.configs
            .iter()
            .map(|config| config.settings.stop_budget_ms)
            .max()
            .unwrap_or(0)
    }

    /// Whether a seat's member wants to be woken, and can be.
    #[must_use]
    pub fn is_due(&self, state: &State, seat: usize) -> bool {
        match &state.seats[seat].process {
            Process::Up(member) => member
                .deadline()
                .is_some_and(|deadline| deadline <= self.now(state, seat)),
            Process::Down | Process::Paused(_) => false,
        }
    }
}

impl Model for Group {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.openings.clone()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.possible(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.act(&mut next, action);
        Some(next)
    }

    fn within_boundary(&self, state: &State) -> bool {
        let terms = state.seats.iter().map(|seat| seat.disk.term).max();
        state.instant <= state.ends && terms <= Some(self.bounds.term)
    }

    fn properties(&self) -> Vec<Property<Group>> {
        invariants::all()
    }
}
