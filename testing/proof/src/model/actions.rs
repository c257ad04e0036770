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
    /// What a member left of its payload is removed by a leader that waits.
    Fence(usize),
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
    /// The controller that stands by takes over; a write under way is through or never will be.
    Replace {
        /// Whether the write is through.
        written: bool,
    },
    /// The controller that was replaced goes on for a moment.
    Haunt,
    /// A message arrives at the controller that was replaced.
    HauntBy(usize),
    /// The user does to the member what is next on the list.
    Wish,
    /// The link to that seat is cut.
    Cut(usize),
    /// The link to that seat is mended.
    Mend(usize),
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
        let left = &state.left;
        let seat = state.turn;
        let place = &state.seats[seat];
        let mut is_done = true;
        let order = self.in_order(state);
        // Between events nobody could tell when exactly it was: just before the next, or just after the last.
        let is_eventful = !order.is_empty() || state.acted;
        match &place.process {
            Process::Down => {
                actions.push(Action::Start);
                if left.allow(Mishap::Restore) && place.disk != place.backup {
                    actions.push(Action::Restore);
                }
            }
            Process::Paused(_) => actions.push(Action::Resume),
            Process::Up(member) => {
                if self.fences && !member.waits_for_payload_of().is_empty() {
                    let others = (0..state.seats.len()).filter(|other| *other != seat);
                    actions.extend(others.map(Action::Fence));
                }
                is_done = order.is_empty();
                possible_in_order(state, &order, actions);
                if !is_done {
                    possible_on_links(state, actions);
                }
                if let Some(copy) = place.copy.filter(|_| place.order.1 == Order::Stop) {
                    // It is gone within the stop budget.
                    is_done &= state.instant < copy.until;
                    actions.push(Action::Gone);
                }
                if !place.wishes.is_empty() {
                    actions.push(Action::Wish);
                }
                if left.allow(Mishap::Pause) && !is_done {
                    actions.push(Action::Pause);
                }
                if left.allow(Mishap::Crash) && is_eventful {
                    actions.push(Action::Crash { written: false });
                    if place.write.is_some() {
                        actions.push(Action::Crash { written: true });
                    }
                }
            }
        }
        if self.may_be_replaced(state) {
            actions.push(Action::Replace { written: false });
            if place.write.is_some() {
                actions.push(Action::Replace { written: true });
            }
        }
        if place.former.is_some() && left.allow(Mishap::Haunting) {
            actions.push(Action::Haunt);
            actions.extend(
                self.arriving(state, seat)
                    .map(|(flight, _)| Action::HauntBy(flight)),
            );
        }
        if is_done {
            actions.push(Action::Pass);
        }
    }

    /// Whether the controller that stands by takes over at this instant: it does so at once, or is not there.
    fn may_be_replaced(&self, state: &State) -> bool {
        let place = &state.seats[state.turn];
        let after = self.standby[state.turn];
        let at = place.rest.zip(after).map(|(rest, after)| rest.since + after);
        let rests = !matches!(place.process, Process::Up(_));
        rests && place.former.is_none() && at.is_some_and(|at| (at..=at + 1).contains(&state.instant))
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
}

/// The first thing that is to be done, or something else before it, or what goes wrong with it.
fn possible_in_order(state: &State, order: &[Action], actions: &mut Vec<Action>) {
    let left = &state.left;
    let Some(first) = order.first() else { return };
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
    let allowed = bad.into_iter().filter(|(kind, _)| left.allow(*kind));
    actions.extend(allowed.map(|(_, action)| action));
}

/// What may happen to the links from the seat, before it says anything.
fn possible_on_links(state: &State, actions: &mut Vec<Action>) {
    for to in (0..state.seats.len()).filter(|to| *to != state.turn) {
        if state.cuts.contains(&(state.turn, to)) {
            actions.push(Action::Mend(to));
        } else if state.left.allow(Mishap::Cut) {
            actions.push(Action::Cut(to));
        }
    }
}
