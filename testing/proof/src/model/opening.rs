//! Where a model begins: a group in a certain situation, brought about by its own members without any mishap.
#![allow(clippy::panic, reason = "a model belongs to tests: it fails by panicking")]

use std::sync::Arc;

use super::super::election::{
    Config, Durable, Duty, Event, GroupId, MemberId, Membership, MemoryId, Message, Order, Profile, Roster,
    Settings, Voter,
};
use super::actions::Action;
use super::group::{Bounds, Clock, Group, TRUE};
use super::state::{Misfortunes, Process, Seat, Shared, State};
use super::steps::{address, identity};

/// A payload that is stopping is waited for, however long.
const PATIENCE_MS: i64 = i64::MAX;
/// No situation takes longer to come about.
const STEPS_MAX: usize = 10_000;

/// What is said to members that are in no group.
#[must_use]
pub fn deaf_to_strangers(message: &Message) -> bool {
    matches!(
        message,
        Message::Probe { .. } | Message::NoGroup { .. } | Message::InGroup { .. } | Message::Refused { .. }
    )
}

/// A group that is being described.
pub struct Opening {
    group: Group,
    voters: usize,
    wishes: Vec<Vec<Event>>,
    cuts: Vec<(usize, usize)>,
    dead: Vec<usize>,
    told: Vec<(usize, Event)>,
}

impl Opening {
    /// Members with these ranks, of which the first `voters` are in one roster; the rest are in no group.
    #[must_use]
    pub fn new(
        name: &'static str,
        ranks: &[i64],
        voters: usize,
        settings: Settings,
        bounds: Bounds,
    ) -> Opening {
        let seats = ranks.len();
        let config = |seat: usize| Config {
            profile: Profile {
                name: address(seat).into(),
                address: address(seat).into(),
                rank: ranks[seat],
                duty: Duty::Candidate,
            },
            fleet: Vec::new(),
            ready: false,
            found_without: Vec::new(),
            settings,
            paused: false,
            stop_timeout_ms: PATIENCE_MS,
        };
        Opening {
            group: Group {
                name,
                configs: (0..seats).map(config).collect(),
                clocks: vec![vec![TRUE; seats]],
                bounds,
                standby: vec![None; seats],
                guarded: true,
                fences: false,
                deaf_to: deaf_to_strangers,
                openings: Vec::new(),
            },
            voters,
            wishes: vec![Vec::new(); seats],
            cuts: Vec::new(),
            dead: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Each run has one of these sets of clocks.
    #[must_use]
    pub fn clocks(mut self, clocks: Vec<Vec<Clock>>) -> Opening {
        self.group.clocks = clocks;
        self
    }

    /// A second controller stands by, which takes over when the first was at rest for so many units.
    #[must_use]
    pub fn standby(mut self, seat: usize, after: i64) -> Opening {
        self.group.standby[seat] = Some(after);
        self
    }

    /// Two leaders at once are no breach.
    #[must_use]
    pub fn unguarded(mut self) -> Opening {
        self.group.guarded = false;
        self
    }

    /// A leader that waits may remove another's payload through that one's API server.
    #[must_use]
    pub fn with_fencing(mut self) -> Opening {
        self.group.fences = true;
        self
    }

    /// Changes what a member's user wants from the beginning.
    #[must_use]
    pub fn configure(mut self, seat: usize, change: impl FnOnce(&mut Config)) -> Opening {
        change(&mut self.group.configs[seat]);
        self
    }

    /// The user does this to a member at some instant.
    #[must_use]
    pub fn wish(mut self, seat: usize, event: Event) -> Opening {
        self.wishes[seat].push(event);
        self
    }

    /// The user does this to a member at the beginning.
    #[must_use]
    pub fn told(mut self, seat: usize, event: Event) -> Opening {
        self.told.push((seat, event));
        self
    }

    /// A link is cut from the beginning, in one direction.
    #[must_use]
    pub fn cut(mut self, from: usize, to: usize) -> Opening {
        self.cuts.push((from, to));
        self
    }

    /// A controller is yet to start.
    #[must_use]
    pub fn dead(mut self, seat: usize) -> Opening {
        self.dead.push(seat);
        self
    }

    /// Members without a group are heard too.
    #[must_use]
    pub fn with_strangers(mut self) -> Opening {
        self.group.deaf_to = |_| false;
        self
    }

    /// Begins with controllers that are yet to start.
    #[must_use]
    pub fn from_the_start(mut self) -> Group {
        let openings = (0..self.group.clocks.len()).map(|clocks| self.unborn(clocks));
        self.group.openings = openings.map(|state| self.begun(state)).collect();
        self.group
    }

    /// Begins when all voters have started and none has stood yet.
    #[must_use]
    pub fn leaderless(self) -> Group {
        self.begin_when(|group, state| {
            let terms = state.seats.iter().all(|seat| seat.disk.term == 1);
            terms && (0..state.seats.len()).any(|seat| group.is_due(state, seat))
        })
    }

    /// Begins when the first member leads, its payload runs and all voters know.
    #[must_use]
    pub fn led_by_first(self) -> Group {
        let voters = self.voters;
        self.begin_when(move |_, state| {
            let first = &state.seats[0];
            let stamp = |seat: &Seat| seat.disk.group.as_ref().map(|membership| membership.roster.stamp);
            let same = |seat: &Seat| seat.write.is_none() && stamp(seat) == stamp(first);
            let stamped = stamp(first).is_some_and(|stamp| stamp.term > 1);
            let runs = matches!(first.order.1, Order::Run { .. });
            stamped && runs && state.seats[..voters].iter().all(same)
        })
    }

    /// Begins when that is so, all of them having started and nothing having gone wrong.
    #[must_use]
    pub fn begin_when(mut self, is_so: impl Fn(&Group, &State) -> bool) -> Group {
        let mut openings = Vec::new();
        for clocks in 0..self.group.clocks.len() {
            let mut state = self.unborn(clocks);
            for seat in (0..self.voters).filter(|seat| !self.dead.contains(seat)) {
                self.group.start(&mut state, seat);
            }
            for step in 0.. {
                if state.turn == 0 && is_so(&self.group, &state) {
                    break;
                }
                if step == STEPS_MAX {
                    panic!("{} does not come about: {:?}", self.group.name, state.elected);
                }
                let action = calmly(&self.group, &state);
                self.group.act(&mut state, action);
            }
            openings.push(self.begun(state));
        }
        self.group.openings = openings;
        self.group
    }

    fn unborn(&self, clocks: usize) -> State {
        let configs = &self.group.configs;
        let voter = |seat: usize| Voter {
            id: identity(seat),
            memory: memory(seat),
            profile: configs[seat].profile.clone(),
        };
        let roster = (self.voters > 0).then(|| {
            let founded = Roster::founded(voter(0), configs[0].settings);
            (1..self.voters).fold(founded, |roster, seat| roster.with(voter(seat), 1))
        });
        let durable = |seat: usize| match roster.clone().filter(|_| seat < self.voters) {
            Some(roster) => Durable {
                term: 1,
                group: Some(Membership {
                    id: GroupId(1),
                    roster: Arc::new(roster),
                }),
                ..Durable::new(memory(seat))
            },
            None => Durable::new(memory(seat)),
        };
        let seat = |seat: usize| {
            let disk = Shared::new(durable(seat));
            Seat {
                process: Process::Down,
                known: disk.clone(),
                backup: disk.clone(),
                disk,
                write: None,
                order: (0, Order::Hold),
                copy: None,
                wishes: Vec::new(),
                rest: None,
                claim: None,
                former: None,
            }
        };
        State {
            instant: 0,
            ends: i64::MAX,
            turn: 0,
            acted: false,
            clocks,
            seats: (0..configs.len()).map(seat).collect(),
            flights: Vec::new(),
            cuts: Vec::new(),
            left: Misfortunes::default(),
            elected: Vec::new(),
            highest_run: 0,
            breach: None,
        }
    }

    /// The state from which on everything may happen.
    fn begun(&self, mut state: State) -> State {
        for (seat, wishes) in state.seats.iter_mut().zip(&self.wishes) {
            seat.wishes = wishes.clone();
            // Taken while the controller runs: what it writes from here on would be forgotten.
            seat.backup = seat.disk.clone();
        }
        state.cuts = self.cuts.clone();
        for (seat, event) in &self.told {
            self.group.step(&mut state, *seat, event.clone());
        }
        state.left = self.group.bounds.misfortunes;
        state.ends = state.instant + self.group.bounds.units;
        state
    }
}

fn memory(seat: usize) -> MemoryId {
    let MemberId(number) = identity(seat);
    MemoryId(number)
}

/// What happens next where nothing goes wrong: everything at once, and time passes when nothing is left to do.
fn calmly(group: &Group, state: &State) -> Action {
    let seat = state.turn;
    let place = &state.seats[seat];
    if place.order.1 == Order::Stop && place.copy.is_some() {
        return Action::Gone;
    }
    let order = group.in_order(state);
    order.first().copied().unwrap_or(Action::Pass)
}
