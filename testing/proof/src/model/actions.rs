//! What may happen next.

use super::super::election::Order;
use super::group::Group;
use super::state::{Mishap, Process, State};

/// Something that happens, at the seat whose turn it is unless it says another. Messages are named by their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Nothing more at this seat; after the last a unit of real time passes.
    Pass,
    /// The member, which is due, is woken.
    Tick,
    /// A message arrives.
    Deliver(usize),
    /// A message arrives, and will once more.
    Repeat(usize),
    /// A message takes a unit longer.
    Delay(usize),
    /// A message is lost.
    Lose(usize),
    /// The write becomes durable, and the member is told.
    Written,
    /// The write takes a unit longer.
    WriteSlowly,
    /// The member is told that the write failed.
    WriteFails {
        /// Whether it is durable all the same.
        written: bool,
    },
    /// The payload that was ordered to stop is gone.
    Gone,
    /// The controller dies; a write under way is through or never will be.
    Crash {
        /// Whether the write is through.
        written: bool,
    },
    /// The controller starts from what its API server holds.
    Start,
    /// What the dead controller's API server holds is replaced by a backup.
    Restore,
    /// The controller stands still.
    Pause,
    /// The controller goes on.
    Resume,
    /// The user does to the member what is next on the list.
    Wish,
    /// A link is cut in one direction.
    Cut(usize, usize),
    /// A cut link is mended.
    Mend(usize, usize),
}

impl Group {
    /// All that may happen next.
    ///
    /// A message takes a unit of time at the least, so what happens at two seats at one instant may happen in any order
    /// without a difference, and only one is tried: from the first seat to the last.
    pub(super) fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        if state.breach.is_some() || state.instant >= state.ends {
            return;
        }
        if state.turn == 0 {
            self.possible_on_links(state, actions);
        }
        let left = &state.left;
        let seat = state.turn;
        let place = &state.seats[seat];
        let mut is_done = true;
        match &place.process {
            Process::Down => {
                actions.push(Action::Start);
                if left.allow(Mishap::Restore) && place.disk != place.backup {
                    actions.push(Action::Restore);
                }
            }
            Process::Paused(_) => actions.push(Action::Resume),
            Process::Up(_) => {
                is_done = self.possible_in_order(state, actions);
                if let Some(copy) = place.copy.filter(|_| place.order.1 == Order::Stop) {
                    // It is gone within the stop budget.
                    is_done &= state.instant < copy.until;
                    actions.push(Action::Gone);
                }
                if !place.wishes.is_empty() {
                    actions.push(Action::Wish);
                }
                if left.allow(Mishap::Pause) {
                    actions.push(Action::Pause);
                }
                if left.allow(Mishap::Crash) {
                    actions.push(Action::Crash { written: false });
                    if place.write.is_some() {
                        actions.push(Action::Crash { written: true });
                    }
                }
            }
        }
        if is_done {
            actions.push(Action::Pass);
        }
    }

    /// What is to be done at the seat at this instant; tells whether there is nothing.
    fn possible_in_order(&self, state: &State, actions: &mut Vec<Action>) -> bool {
        let left = &state.left;
        let order = self.in_order(state);
        let Some(first) = order.first() else { return true };
        let most = if left.allow(Mishap::Disorder) {
            order.len()
        } else {
            1
        };
        actions.extend(&order[..most]);
        let bad = match *first {
            Action::Deliver(flight) => vec![
                (Mishap::Repetition, Action::Repeat(flight)),
                (Mishap::Delay, Action::Delay(flight)),
                (Mishap::Loss, Action::Lose(flight)),
            ],
            Action::Written => vec![
                (Mishap::SlowWrite, Action::WriteSlowly),
                (Mishap::FailedWrite, Action::WriteFails { written: false }),
                (Mishap::FailedWrite, Action::WriteFails { written: true }),
            ],
            _ => Vec::new(),
        };
        actions.extend(
            bad.into_iter()
                .filter(|(kind, _)| left.allow(*kind))
                .map(|(_, action)| action),
        );
        false
    }

    /// What is to be done at the seat at this instant, in the usual order.
    pub(super) fn in_order(&self, state: &State) -> Vec<Action> {
        let seat = state.turn;
        let mut order = Vec::new();
        if state.seats[seat]
            .write
            .as_ref()
            .is_some_and(|write| write.due <= state.instant)
        {
            order.push(Action::Written);
        }
        order.extend(
            self.arriving(state, seat)
                .map(|(flight, _)| Action::Deliver(flight)),
        );
        if self.is_due(state, seat) {
            order.push(Action::Tick);
        }
        order
    }

    /// The messages that arrive at a seat now, with their places.
    pub(super) fn arriving<'a>(
        &self,
        state: &'a State,
        seat: usize,
    ) -> impl Iterator<Item = (usize, &'a super::state::Flight)> {
        let flights = state.flights.iter().enumerate();
        flights.filter(move |(_, flight)| flight.to == seat && flight.arrives <= state.instant)
    }

    fn possible_on_links(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(state.cuts.iter().map(|(from, to)| Action::Mend(*from, *to)));
        if !state.left.allow(Mishap::Cut) {
            return;
        }
        for from in 0..state.seats.len() {
            for to in (0..state.seats.len()).filter(|to| *to != from && !state.cuts.contains(&(from, *to))) {
                actions.push(Action::Cut(from, to));
            }
        }
    }
}
