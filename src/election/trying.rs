//! Help for tests: one member, moved by hand, whose commands are compared exactly.
//!
//! Time is told in milliseconds since its start. The others are numbered as the member is: 1, 2, 3 with ranks 10, 20
//! and 30, memories 1, 2, 3 and addresses `m1`, `m2`, `m3`; further ones have rank 5. Nothing is random.
#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::convert::Infallible;
pub(super) use std::sync::Arc;

use rand::TryRng;

use super::*;

pub(super) const GROUP: GroupId = GroupId(7);
pub(super) const SETTINGS: Settings = Settings::BALANCED;
pub(super) const HEARTBEAT: i64 = SETTINGS.heartbeat_ms;
pub(super) const LEASE: i64 = SETTINGS.lease_ms;
pub(super) const ROUND: i64 = 2 * HEARTBEAT;
/// A lease less the drift bound.
pub(super) const CLAIM: i64 = LEASE * 1000 / 1020;
pub(super) const STOP_TIMEOUT: i64 = 30_000;
/// The stop budget and the drift bound.
pub(super) const STOP: i64 = 2_000 + 40 + 1;

struct NoChance;

impl TryRng for NoChance {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0)
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0)
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(0);
        Ok(())
    }
}

pub(super) fn profile(id: u128) -> Profile {
    Profile {
        name: format!("m{id}").into(),
        address: format!("m{id}").into(),
        rank: if id <= 3 {
            i64::try_from(id).unwrap_or(0) * 10
        } else {
            5
        },
        duty: Duty::Candidate,
    }
}

pub(super) fn voter(id: u128) -> Voter {
    Voter {
        id: MemberId(id),
        memory: MemoryId(id),
        profile: profile(id),
    }
}

pub(super) fn stamp(term: Term, version: u64) -> Stamp {
    Stamp { term, version }
}

/// The roster of members 1 to `voters`.
pub(super) fn roster(voters: u128, quorum: QuorumMode, stamp: Stamp) -> Roster {
    let settings = Settings { quorum, ..SETTINGS };
    let all = 2..=voters;
    let grown = all.fold(Roster::founded(voter(1), settings), |roster, id| {
        roster.with(voter(id), stamp.term)
    });
    Roster { stamp, ..grown }
}

pub(super) fn config(id: u128) -> Config {
    Config {
        profile: profile(id),
        fleet: Vec::new(),
        ready: false,
        found_without: Vec::new(),
        settings: SETTINGS,
        paused: false,
        stop_timeout_ms: STOP_TIMEOUT,
    }
}

pub(super) fn durable(id: u128, term: Term, vote: Option<u128>, roster: Option<Roster>) -> Durable {
    Durable {
        memory: MemoryId(id),
        incarnation: 1,
        version: 0,
        term,
        vote: vote.map(MemberId),
        group: roster.map(|roster| Membership {
            id: GROUP,
            roster: Arc::new(roster),
        }),
    }
}

/// A member on a stage of its own.
#[derive(Clone)]
pub(super) struct Actor {
    pub(super) member: Member,
    pub(super) now: Tick,
}

impl Actor {
    /// Starts member `id` at 0 ms with what it remembers; its incarnation is durable at once.
    pub(super) fn start(id: u128, remembered: Durable, config: Config) -> (Actor, Vec<Command>) {
        Actor::start_after(id, remembered, config, None)
    }

    /// The same, in the place of a replica that had this claim.
    pub(super) fn start_after(
        id: u128,
        remembered: Durable,
        config: Config,
        former: Option<Claim>,
    ) -> (Actor, Vec<Command>) {
        let (member, commands) = Member::start(MemberId(id), remembered.clone(), config, former, Tick(0));
        let incarnation = remembered.incarnation + 1;
        let next = Durable {
            incarnation,
            ..remembered
        };
        assert_eq!(
            commands,
            [persist(1, next)],
            "a start says nothing before it is durable"
        );
        let mut actor = Actor { member, now: Tick(0) };
        let commands = actor.step(Event::Persisted(1));
        (actor, commands)
    }

    /// A member without a group that starts for the first time; its payload is gone.
    pub(super) fn newcomer(config: Config, id: u128) -> (Actor, Vec<Command>) {
        let new = Durable::new(MemoryId(id));
        let (mut actor, commands) = Actor::start(id, new, config);
        assert_eq!(actor.step(Event::PayloadStopped(1)), []);
        (actor, commands)
    }

    /// Voter `id` of three in term 1, whose abstention is over in a moment and whose payload is gone.
    pub(super) fn voter(id: u128) -> Actor {
        Actor::voter_of(id, roster(3, QuorumMode::Auto, stamp(1, 3)))
    }

    pub(super) fn voter_of(id: u128, roster: Roster) -> Actor {
        let settings = roster.settings;
        let (mut actor, commands) = Actor::start(
            id,
            durable(id, 1, None, Some(roster)),
            Config {
                settings,
                ..config(id)
            },
        );
        // What a lone voter runs is left in peace.
        if !actor.member.is_only_voter() {
            assert_eq!(commands, [payload(1, Order::Stop)]);
            assert_eq!(actor.step(Event::PayloadStopped(1)), []);
        }
        actor.now = Tick(LEASE);
        actor
    }

    /// Member `id` of three, elected in term 2 by itself and the next at the lease's end, serving since then.
    pub(super) fn leader(id: u128) -> Actor {
        Actor::leader_of(id, roster(3, QuorumMode::Auto, stamp(1, 3)))
    }

    pub(super) fn leader_of(id: u128, roster: Roster) -> Actor {
        let mut actor = Actor::voter_of(id, roster);
        let other = if id == 1 { 2 } else { 1 };
        actor.stand();
        actor.hear(other, voted(2, None));
        let own = |actor: &Actor| actor.member.roster().map(|roster| roster.stamp);
        actor.ack(other, 1, own(&actor));
        actor.now = actor.now + STOP;
        actor.tick();
        actor.persisted();
        actor.ack(other, actor.sequence(), own(&actor));
        assert_eq!(actor.member.view(actor.now).part, Part::Leader);
        actor
    }

    /// Stands for term 2 and makes its own vote durable.
    pub(super) fn stand(&mut self) {
        let other = if self.member.id() == MemberId(1) { 2 } else { 1 };
        if let Some(at) = self.member.deadline() {
            self.now = self.now.max(at);
        }
        self.tick();
        self.hear(other, pre_voted(2, true));
        self.persisted();
    }

    pub(super) fn step(&mut self, event: Event) -> Vec<Command> {
        self.member.step(self.now, event, &mut NoChance)
    }

    pub(super) fn tick(&mut self) -> Vec<Command> {
        self.step(Event::Tick)
    }

    /// Waits until the member is due, and ticks.
    pub(super) fn wait(&mut self) -> Vec<Command> {
        match self.member.deadline() {
            Some(at) => self.now = self.now.max(at),
            None => panic!("nothing is due: {:?}", self.member),
        }
        self.tick()
    }

    /// The write under way becomes durable.
    pub(super) fn persisted(&mut self) -> Vec<Command> {
        let number = self.member.writes;
        self.step(Event::Persisted(number))
    }

    pub(super) fn persist_failed(&mut self) -> Vec<Command> {
        let number = self.member.writes;
        self.step(Event::PersistFailed(number))
    }

    pub(super) fn stopped(&mut self) -> Vec<Command> {
        let number = self.member.orders;
        self.step(Event::PayloadStopped(number))
    }

    /// A message of a voter of its group.
    pub(super) fn hear(&mut self, from: u128, message: Message) -> Vec<Command> {
        self.receive(from, 1, Some(GROUP), message)
    }

    /// A message of a member without a group.
    pub(super) fn hear_stranger(&mut self, from: u128, message: Message) -> Vec<Command> {
        self.receive(from, 1, None, message)
    }

    pub(super) fn receive(
        &mut self,
        from: u128,
        incarnation: u64,
        group: Option<GroupId>,
        message: Message,
    ) -> Vec<Command> {
        self.step(Event::Received(Received {
            from: MemberId(from),
            memory: MemoryId(from),
            incarnation,
            // Each start has written its number and nothing else.
            recalled: incarnation - 1,
            version: incarnation,
            group,
            message,
        }))
    }

    /// A heartbeat of a leader that holds the same roster.
    pub(super) fn heartbeat(&mut self, from: u128, term: Term, sequence: u64) -> Vec<Command> {
        let stamp = self.member.roster().map_or(stamp(0, 0), |roster| roster.stamp);
        let message = Message::Heartbeat {
            term,
            sequence,
            stamp,
            roster: None,
        };
        self.hear(from, message)
    }

    /// Another acknowledges the heartbeat with this number, holding the roster with that stamp.
    pub(super) fn ack(&mut self, from: u128, sequence: u64, held: Option<Stamp>) -> Vec<Command> {
        let term = self.member.term();
        let held = held.unwrap_or_default();
        self.hear(from, ack(from, term, sequence, held))
    }

    /// The number of its newest heartbeat.
    pub(super) fn sequence(&self) -> u64 {
        match &self.member.role {
            super::member::Role::Leading(leading) => leading.sequence,
            _ => 0,
        }
    }
}

// === commands ===

pub(super) fn send(to: u128, message: Message) -> Command {
    Command::Send {
        to: Destination::Member(MemberId(to), Some(format!("m{to}").into())),
        group: Some(GROUP),
        message,
    }
}

/// What a member without a group sends.
pub(super) fn ask(to: Destination, message: Message) -> Command {
    Command::Send {
        to,
        group: None,
        message,
    }
}

/// The write with this number; members that `durable` describes have written nothing before.
pub(super) fn persist(number: u64, durable: Durable) -> Command {
    let durable = Box::new(Durable {
        version: number,
        ..durable
    });
    Command::Persist { number, durable }
}

pub(super) fn payload(number: u64, order: Order) -> Command {
    Command::Payload { number, order }
}

pub(super) fn notify(notice: Notice) -> Command {
    Command::Notify(notice)
}

// === messages ===

pub(super) fn pre_voted(term: Term, granted: bool) -> Message {
    Message::PreVoted {
        term,
        granted,
        voter_term: 1,
        wait_ms: 0,
        roster: None,
    }
}

pub(super) fn voted(term: Term, promised: Option<Promised>) -> Message {
    Message::Voted {
        term,
        granted: true,
        voter_term: term,
        promised,
        receipt: 0,
    }
}

pub(super) fn ack(from: u128, term: Term, sequence: u64, stamp: Stamp) -> Message {
    hindered_ack(from, (term, sequence), stamp, None)
}

/// An acknowledgement of one that something keeps from leading.
pub(super) fn hindered_ack(
    from: u128,
    (term, sequence): (Term, u64),
    stamp: Stamp,
    obstacle: Option<Obstacle>,
) -> Message {
    Message::Ack {
        term,
        sequence,
        stamp,
        lease_ms: LEASE,
        obstacle,
        profile: profile(from),
        receipt: 0,
    }
}
