//! What follows from something that happens.

use std::convert::Infallible;

use rand::TryRng;

use super::super::election::{
    Claim, Command, Destination, Durable, Event, GroupId, Member, MemberId, Message, Notice, Order, Received,
    Term,
};
use super::actions::Action;
use super::group::Group;
use super::state::{Breach, Copy, Flight, Mishap, Process, Rest, Shared, State, Write};

/// Chance that always draws the same, and something else at each seat. Identities are told apart by it; what else
/// members draw keeps candidates apart, of which the model tries all orders anyway.
struct Chance(usize);

impl TryRng for Chance {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::try_from(self.0).unwrap_or(u32::MAX))
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::try_from(self.0).unwrap_or(u64::MAX))
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(u8::try_from(self.0).unwrap_or(u8::MAX));
        Ok(())
    }
}

/// The identity of the member at a seat.
#[must_use]
pub(super) fn identity(seat: usize) -> MemberId {
    MemberId(u128::try_from(seat).unwrap_or(u128::MAX - 1) + 1)
}

/// The address of the member at a seat.
#[must_use]
pub(super) fn address(seat: usize) -> String {
    format!("m{}", seat + 1)
}

impl Group {
    /// Carries an action out.
    pub(super) fn act(&self, state: &mut State, action: Action) {
        let seat = state.turn;
        let in_order = matches!(action, Action::Written | Action::Deliver(_) | Action::Tick);
        if in_order && self.in_order(state).first() != Some(&action) {
            state.left.take(Mishap::Disorder);
        }
        state.acted = action != Action::Pass;
        match action {
            Action::Pass => {
                state.turn = (seat + 1) % state.seats.len();
                state.instant += i64::from(state.turn == 0);
            }
            Action::Tick => self.tick(state),
            Action::Deliver(place) => {
                let flight = state.flights.remove(place);
                self.deliver(state, &flight);
            }
            Action::Repeat(place) => {
                state.left.take(Mishap::Repetition);
                let flight = state.flights[place].clone();
                state.flights[place].arrives = state.instant + 1;
                self.deliver(state, &flight);
            }
            Action::Delay(place) => {
                state.left.take(Mishap::Delay);
                state.flights[place].arrives = state.instant + 1;
            }
            Action::Lose(place) => {
                state.left.take(Mishap::Loss);
                state.flights.remove(place);
            }
            Action::Written => {
                if let Some(write) = state.seats[seat].write.take() {
                    land(state, seat, &write);
                    state.seats[seat].known = write.durable;
                    self.step(state, seat, Event::Persisted(write.number));
                }
            }
            Action::WriteSlowly => {
                state.left.take(Mishap::SlowWrite);
                if let Some(write) = &mut state.seats[seat].write {
                    write.due = state.instant + 1;
                }
            }
            Action::WriteFails { written } => {
                state.left.take(Mishap::FailedWrite);
                if let Some(write) = state.seats[seat].write.take() {
                    if written {
                        land(state, seat, &write);
                    }
                    self.step(state, seat, Event::PersistFailed(write.number));
                }
            }
            Action::Gone => {
                let place = &mut state.seats[seat];
                place.copy = None;
                let number = place.order.0;
                self.step(state, seat, Event::PayloadStopped(number));
            }
            Action::Fence(other) => {
                let now = self.now(state, other);
                let place = &mut state.seats[other];
                let found = place.copy.map_or(0, |copy| copy.term);
                // What a controller with a claim put in place comes back at once.
                let holds = place.member().is_some_and(|member| member.claim(now).is_some());
                if let Some(copy) = place.copy.as_mut().filter(|_| !holds) {
                    copy.until = copy.until.min(state.instant);
                }
                let (member, term) = (identity(other), found);
                self.step(state, seat, Event::Fenced { member, term });
            }
            Action::Crash { written } => {
                self.rest(state, seat);
                crash(state, seat, written);
            }
            Action::Start => self.start(state, seat),
            Action::Restore => {
                state.left.take(Mishap::Restore);
                let place = &mut state.seats[seat];
                place.disk = place.backup.clone();
            }
            Action::Pause => {
                state.left.take(Mishap::Pause);
                self.rest(state, seat);
                if let Process::Up(member) = &state.seats[seat].process {
                    state.seats[seat].process = Process::Paused(member.clone());
                }
            }
            Action::Resume => {
                if let Process::Paused(member) = &state.seats[seat].process {
                    state.seats[seat].process = Process::Up(member.clone());
                }
            }
            Action::Replace { written } => self.replace(state, seat, written),
            Action::Haunt => self.haunt(state, seat, Event::Tick),
            Action::HauntBy(place) => {
                let flight = state.flights.remove(place);
                self.haunt(state, seat, Event::Received(Received::clone(&flight.received)));
            }
            Action::Wish => {
                let wish = state.seats[seat].wishes.remove(0);
                self.step(state, seat, wish);
            }
            Action::Cut(to) => {
                state.left.take(Mishap::Cut);
                state.cuts.push((seat, to));
                state.cuts.sort_unstable();
            }
            Action::Mend(to) => state.cuts.retain(|cut| *cut != (seat, to)),
        }
        state.flights.sort_by_key(Flight::key);
    }

    fn tick(&self, state: &mut State) {
        let seat = state.turn;
        let before = state.seats[seat].process.clone();
        let flights = state.flights.len();
        self.step(state, seat, Event::Tick);
        if state.seats[seat].process == before && state.flights.len() == flights {
            state.breach.get_or_insert(Breach::Restless);
        }
    }

    fn deliver(&self, state: &mut State, flight: &Flight) {
        let received = Received::clone(&flight.received);
        self.step(state, flight.to, Event::Received(received));
    }

    /// A controller dies or stands still where another stands by. One that went on and did nothing has rested all the time.
    fn rest(&self, state: &mut State, seat: usize) {
        if self.standby[seat].is_none() || state.seats[seat].rest.is_some() {
            return;
        }
        let place = &mut state.seats[seat];
        if let Some(copy) = &mut place.copy
            && place.order.1 == Order::Hold
        {
            // The second controller rests before it could decide: nobody is left who could stop it.
            copy.until = copy.until.min(state.instant);
        }
        place.rest = Some(Rest {
            since: state.instant,
            claim: place.claim.take(),
        });
    }

    /// The controller that stands by takes over. Nobody stops the payload before it does; of a stop that is interrupted
    /// nothing is promised but that it began in time.
    fn replace(&self, state: &mut State, seat: usize, written: bool) {
        let place = &mut state.seats[seat];
        if let Process::Paused(member) = &place.process {
            place.former = Some(member.clone());
        }
        if let Some(copy) = &mut place.copy
            && matches!(place.order.1, Order::Run { .. })
        {
            copy.until = i64::MAX;
        }
        place.order = (0, Order::Hold);
        let former = place.rest.take().and_then(|rest| rest.claim);
        let write = place.write.take();
        if let Some(write) = write.filter(|_| written) {
            land(state, seat, &write);
        }
        self.start_after(state, seat, former);
    }

    /// A controller that was replaced does what it would do: it promises nothing and touches no payload, since its time is
    /// over, and ends when it cannot write.
    fn haunt(&self, state: &mut State, seat: usize, event: Event) {
        state.left.take(Mishap::Haunting);
        let now = self.now(state, seat);
        let Some(former) = state.seats[seat].former.take() else {
            return;
        };
        let mut member = Member::clone(&former);
        let mut ends = false;
        for command in member.step(now, event, &mut Chance(seat + 1)) {
            match command {
                Command::Send {
                    message: Message::Ack { .. },
                    ..
                } => {}
                Command::Send { to, group, message } => self.send(state, seat, &member, &to, group, message),
                Command::Persist { .. } => ends = true,
                Command::Payload { .. } | Command::Notify(_) => {}
            }
        }
        state.seats[seat].former = (!ends).then(|| Shared::new(member));
    }

    pub(super) fn start(&self, state: &mut State, seat: usize) {
        self.start_after(state, seat, None);
    }

    fn start_after(&self, state: &mut State, seat: usize, former: Option<Claim>) {
        let now = self.now(state, seat);
        let place = &mut state.seats[seat];
        (place.known, place.rest, place.claim) = (place.disk.clone(), None, None);
        let durable = Durable::clone(&place.disk);
        let (member, commands) =
            Member::start(identity(seat), durable, self.configs[seat].clone(), former, now);
        let mut more = Vec::new();
        for command in commands {
            self.carry_out(state, seat, &member, command, &mut more);
        }
        state.seats[seat].process = Process::Up(Shared::new(member));
    }

    pub(super) fn step(&self, state: &mut State, seat: usize, event: Event) {
        let Process::Up(member) = &state.seats[seat].process else {
            return;
        };
        let mut member = Member::clone(member);
        let now = self.now(state, seat);
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for command in member.step(now, event, &mut Chance(seat + 1)) {
                self.carry_out(state, seat, &member, command, &mut events);
            }
        }
        if member.is_faulty() {
            state.breach.get_or_insert(Breach::Faulty);
        }
        if let Some(rest) = state.seats[seat].rest.take() {
            state.seats[seat].claim = rest.claim;
        }
        let claim = member.claim(now);
        self.bound_copy(state, seat, claim);
        if self.standby[seat].is_some() && matches!(state.seats[seat].order.1, Order::Run { .. }) {
            state.seats[seat].claim = claim.or(state.seats[seat].claim);
        }
        state.seats[seat].process = Process::Up(Shared::new(member));
    }

    /// Until when the payload of a seat may be running, by what its member has just decided.
    fn bound_copy(&self, state: &mut State, seat: usize, claim: Option<Claim>) {
        let clock = self.clock(state, seat);
        let instant = state.instant;
        let place = &mut state.seats[seat];
        let Some(copy) = &mut place.copy else { return };
        let budget = clock.units_of(self.stop_budget_ms());
        copy.until = match (place.order.1, claim) {
            (Order::Run { .. }, Some(claim)) => clock.instant_of(claim.until) + budget,
            // Nobody can replace it, and it runs on without a claim.
            (Order::Run { .. } | Order::Hold, None) => copy.until,
            (Order::Stop | Order::Hold, _) => copy.until.min(instant + budget),
        };
    }

    fn carry_out(
        &self,
        state: &mut State,
        seat: usize,
        member: &Member,
        command: Command,
        events: &mut Vec<Event>,
    ) {
        match command {
            Command::Send { to, group, message } => self.send(state, seat, member, &to, group, message),
            Command::Persist { number, durable } => {
                let due = state.instant;
                let durable = Shared::new(*durable);
                let write = Write { number, durable, due };
                if state.seats[seat].write.replace(write).is_some() {
                    state.breach.get_or_insert(Breach::TwoWrites);
                }
            }
            Command::Payload { number, order } => {
                let place = &mut state.seats[seat];
                place.order = (number, order);
                match order {
                    Order::Run { term } => {
                        place.copy = Some(Copy {
                            term,
                            until: i64::MAX,
                        });
                        if term < state.highest_run && self.guarded {
                            state.breach.get_or_insert(Breach::LowerTermOverHigher);
                        }
                        state.highest_run = state.highest_run.max(term);
                    }
                    // Where none runs a look shows that at once.
                    Order::Stop if place.copy.is_none() => events.push(Event::PayloadStopped(number)),
                    Order::Stop | Order::Hold => {}
                }
            }
            Command::Notify(Notice::Elected { term, .. }) => elect(state, seat, term),
            Command::Notify(_) => {}
        }
    }

    fn send(
        &self,
        state: &mut State,
        from: usize,
        member: &Member,
        to: &Destination,
        group: Option<GroupId>,
        message: Message,
    ) {
        let is_up = |seat: &usize| !matches!(state.seats[*seat].process, Process::Down);
        let target = (0..state.seats.len()).find(|seat| match to {
            Destination::Address(named) => *named == address(*seat),
            Destination::Member(id, _) => *id == identity(*seat),
        });
        let Some(to) =
            target.filter(|to| is_up(to) && !state.cuts.contains(&(from, *to)) && !(self.deaf_to)(&message))
        else {
            return;
        };
        let received = Shared::new(Received {
            from: member.id(),
            memory: member.memory(),
            incarnation: member.incarnation(),
            recalled: member.recalled(),
            version: member.version(),
            group,
            message,
        });
        let arrives = state.instant + 1;
        // What says the same as another that is as old is that one.
        let on_link = |flight: &Flight| (flight.from, flight.to, flight.arrives) == (from, to, arrives);
        state
            .flights
            .retain(|flight| !on_link(flight) || flight.received != received);
        if state.flights.iter().filter(|flight| on_link(flight)).count() == self.bounds.per_link
            && let Some(oldest) = state.flights.iter().position(on_link)
        {
            state.flights.remove(oldest);
        }
        state.flights.push(Flight {
            from,
            to,
            arrives,
            received,
        });
    }
}

fn crash(state: &mut State, seat: usize, written: bool) {
    state.left.take(Mishap::Crash);
    let write = state.seats[seat].write.take();
    if let Some(write) = write.filter(|_| written) {
        land(state, seat, &write);
    }
    let place = &mut state.seats[seat];
    place.process = Process::Down;
    place.order = (0, Order::Hold);
    // Its connections end with it.
    state.flights.retain(|flight| flight.to != seat);
}

fn elect(state: &mut State, seat: usize, term: Term) {
    match state.elected.iter().find(|(elected, _)| *elected == term) {
        Some((_, other)) if *other != seat => {
            state.breach.get_or_insert(Breach::TwoElectedInOneTerm);
        }
        Some(_) => {}
        None => {
            state.elected.push((term, seat));
            state.elected.sort_unstable();
        }
    }
}

/// A write becomes durable.
fn land(state: &mut State, seat: usize, write: &Write) {
    let place = &mut state.seats[seat];
    // What nobody was told of may be overwritten.
    let (before, after) = (&place.known, &write.durable);
    let vote_lost = before.term == after.term && before.vote.is_some() && before.vote != after.vote;
    let roster_lost = match (&before.group, &after.group) {
        (Some(before), Some(after)) => before.id == after.id && before.roster.stamp > after.roster.stamp,
        _ => false,
    };
    let same = before.memory == after.memory;
    if same && (before.term > after.term || vote_lost || roster_lost) {
        state.breach.get_or_insert(Breach::MemoryTakenBack);
    }
    place.disk = write.durable.clone();
}
