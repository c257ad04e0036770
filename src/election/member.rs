//! One member of a group, as a synchronous state machine: an event and the time come in, commands go out.

use std::sync::Arc;

use rand::Rng;

use super::asking::Pending;
use super::command::{Claim, Command, Destination, Fault, Notice, Order, Problem, StepDown};
use super::durable::{Durable, Membership};
use super::event::{Config, Event};
use super::fitness::Penalty;
use super::joining::Joining;
use super::leading::Leading;
use super::message::{Handover, Message, Promised};
use super::obligation::Obligation;
use super::obstacle::Fitness;
use super::roster::Roster;
use super::settings::Settings;
use super::standing::Standing;
use super::types::{GroupId, MemberId, MemoryId, Term, Tick};

/// Why the member will not lead any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Resignation {
    Leaving,
    Exiting,
}

/// The last promise to a leader: other candidates are refused until it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Promise {
    /// `None` after a restart, when the member has forgotten whom it promised.
    pub leader: Option<MemberId>,
    pub term: Term,
    pub until: Tick,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// The incarnation is not durable yet: nothing may be sent.
    Starting,
    /// In no group.
    Outside(Joining),
    Follower,
    Standing(Standing),
    Leading(Box<Leading>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Staged {
    pub number: u64,
    pub durable: Durable,
}

/// One member. See the module documentation for its promises.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    pub(super) id: MemberId,
    pub(super) config: Config,
    /// What is durable; messages speak of nothing else.
    pub(super) durable: Durable,
    /// The one write under way.
    pub(super) staged: Option<Staged>,
    pub(super) writes: u64,
    /// The version of the memory with which this incarnation began.
    pub(super) recalled: u64,
    pub(super) role: Role,
    pub(super) promise: Option<Promise>,
    pub(super) claim: Option<Claim>,
    /// The highest term for which it is known that no payload of it or an earlier one is left.
    pub(super) receipt: Term,
    /// Payloads that may be running elsewhere.
    pub(super) obligations: Vec<Obligation>,
    /// The last term that this incarnation led in.
    pub(super) led: Term,
    /// The last term in which this incarnation was free to run the payload.
    pub(super) served: Term,
    pub(super) order: Order,
    pub(super) orders: u64,
    pub(super) payload_gone: bool,
    /// When the payload was last ordered to stop.
    pub(super) stopping_since: Tick,
    /// What the replica before this one ran is left in peace until then.
    pub(super) spared_until: Option<Tick>,
    /// The candidate does not stand before this tick.
    pub(super) not_before: Tick,
    pub(super) jitter_ms: i64,
    /// The leader that stepped down in this member's favour.
    pub(super) handover: Option<Handover>,
    /// The vote that it gave with that, and the term that it is for.
    pub(super) vote_in_hand: Option<(MemberId, Term)>,
    /// A person asked for this member when that leader stepped down.
    pub(super) chosen: bool,
    /// A vote that waits for its write.
    pub(super) ballot: Option<Ballot>,
    /// The last heartbeat, acknowledged again when a write is through.
    pub(super) heard: Option<Heard>,
    /// When a leader of its group, or one that stood, was last heard; the start, until one is.
    pub(super) rival_heard_at: Tick,
    pub(super) resignation: Option<Resignation>,
    /// Since when it is to leave.
    pub(super) leaving_since: Option<Tick>,
    pub(super) left: bool,
    /// The group is being given up.
    pub(super) dissolving: bool,
    /// Where to ask for admission after that.
    pub(super) rejoin_through: Option<String>,
    pub(super) problem: Option<Problem>,
    pub(super) persist_failed: bool,
    /// The newest start that was heard of each voter, sorted by identity.
    pub(super) starts: Vec<Start>,
    /// Another group with this callsign, and when it was last met.
    pub(super) other_group: Option<(GroupId, Tick)>,
    /// Rounds in a row that ended without an answer.
    pub(super) unanswered_rounds: u32,
    /// When a voter that asked to leave asks again.
    pub(super) next_leave: Tick,
    /// When it looks for other groups next.
    pub(super) next_look: Tick,
    pub(super) fitness: Fitness,
    /// The payload failed under this member when it led last.
    pub(super) penalty: Option<Penalty>,
    /// What a person asked for through this member.
    pub(super) pending: Option<Pending>,
}

/// One start of a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Start {
    pub id: MemberId,
    pub memory: MemoryId,
    pub incarnation: u64,
    /// The version of the memory with which it began.
    pub recalled: u64,
    /// The highest version that it has spoken from.
    pub version: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ballot {
    pub candidate: MemberId,
    pub term: Term,
    pub handover: Option<Handover>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Heard {
    pub leader: MemberId,
    pub term: Term,
    pub sequence: u64,
    pub at: Tick,
}

/// What one step works on besides the member: the time, the commands that it gives and its randomness.
pub(super) struct Context<'a> {
    pub now: Tick,
    pub out: &'a mut Vec<Command>,
    pub rng: &'a mut dyn Rng,
}

impl Context<'_> {
    pub(super) fn notify(&mut self, notice: Notice) {
        self.out.push(Command::Notify(notice));
    }

    /// A random number of milliseconds from zero up to, not including, `bound_ms`.
    pub(super) fn below_ms(&mut self, bound_ms: i64) -> i64 {
        let bound = u64::try_from(bound_ms).unwrap_or(0).max(1);
        i64::try_from(self.rng.next_u64() % bound).unwrap_or(0)
    }
}

impl Member {
    /// Starts a member from what it remembers; the first command makes its next incarnation durable.
    ///
    /// `former` is there where it takes the place of a replica that it has watched: a claim that this one had, and by which
    /// it ran the payload, with an end that must not be too late. It is believed as far as the memory bears it out.
    #[must_use]
    pub fn start(
        id: MemberId,
        durable: Durable,
        config: Config,
        former: Option<Claim>,
        now: Tick,
    ) -> (Member, Vec<Command>) {
        let mut member = Member {
            id,
            recalled: durable.version,
            durable,
            staged: None,
            writes: 0,
            role: Role::Starting,
            promise: None,
            claim: None,
            receipt: 0,
            obligations: Vec::new(),
            led: 0,
            served: 0,
            order: Order::Hold,
            orders: 0,
            payload_gone: false,
            stopping_since: now,
            spared_until: None,
            not_before: now,
            jitter_ms: 0,
            handover: None,
            vote_in_hand: None,
            chosen: false,
            ballot: None,
            heard: None,
            rival_heard_at: now,
            resignation: None,
            leaving_since: None,
            left: false,
            dissolving: false,
            rejoin_through: None,
            problem: None,
            persist_failed: false,
            starts: Vec::new(),
            other_group: None,
            unanswered_rounds: 0,
            next_leave: now,
            next_look: now,
            fitness: Fitness::Fit,
            penalty: None,
            pending: None,
            config,
        };
        // A lone voter cannot have promised anything to anybody else.
        if let Some(membership) = &member.durable.group
            && membership.roster.voters.iter().any(|voter| voter.id != id)
        {
            let until = now + membership.roster.settings.lease_ms;
            member.promise = Some(Promise {
                leader: None,
                term: member.durable.term,
                until,
            });
        }
        if let Some(former) = former {
            member.reprise(former, now);
        }
        let mut out = Vec::new();
        member.stage_incarnation(&mut out);
        (member, out)
    }

    /// Takes one step. The commands are to be carried out in their order.
    pub fn step(&mut self, now: Tick, event: Event, rng: &mut dyn Rng) -> Vec<Command> {
        let mut out = Vec::new();
        let mut context = Context {
            now,
            out: &mut out,
            rng,
        };
        match event {
            event if !self.is_faulty() => {
                self.handle(event, &mut context);
                self.expire(&mut context);
                self.tend_pending(&mut context);
            }
            Event::Asked(request, wish) => self.on_asked(request, wish, &mut context),
            _ => {}
        }
        if self.is_faulty() {
            self.refuse_pending(&mut context);
        }
        self.order_payload(now, &mut out);
        out
    }

    fn handle(&mut self, event: Event, context: &mut Context<'_>) {
        match event {
            Event::Tick => self.on_tick(context),
            Event::Received(received) => self.on_received(received, context),
            Event::Persisted(number) => self.on_persisted(number, context),
            Event::PersistFailed(number) => self.on_persist_failed(number, context),
            Event::PayloadStopped(number) => self.on_payload_stopped(number, context),
            Event::Configured(config) => self.on_configured(config, context),
            Event::Fitness(fitness) => self.on_fitness(fitness, context),
            Event::Asked(request, wish) => self.on_asked(request, wish, context),
            Event::Fenced { member, term } => self.on_fenced(member, term),
            Event::Leave => {
                self.resignation = Some(Resignation::Leaving);
                self.leaving_since.get_or_insert(context.now);
                self.on_tick(context);
            }
            Event::Resign => {
                // Leaving says more than exiting: the roster is to be told.
                self.resignation.get_or_insert(Resignation::Exiting);
                self.on_tick(context);
            }
        }
    }

    pub(super) fn on_tick(&mut self, context: &mut Context<'_>) {
        self.try_writing_again(context);
        match &self.role {
            Role::Starting => self.restart_if_idle(context),
            Role::Outside(_) => self.seek(context),
            Role::Follower => self.follow(context),
            Role::Standing(_) => self.campaign(context),
            Role::Leading(_) => self.lead(context),
        }
    }

    /// A claim that has ended is a claim no more, whatever event made the member look.
    fn expire(&mut self, context: &mut Context<'_>) {
        if self.claim.is_some_and(|claim| claim.until <= context.now) {
            self.on_claim_ended(context);
        }
        let now = context.now;
        let receipt = self.receipt;
        self.obligations
            .retain(|one| one.term > receipt && one.until > now);
        if self.resignation == Some(Resignation::Leaving) && self.has_nothing_to_leave(now) {
            self.left = true;
        }
    }

    fn on_configured(&mut self, config: Config, context: &mut Context<'_>) {
        self.config = config;
        if let Role::Outside(joining) = &mut self.role {
            joining.ask_at_once(context.now);
        }
        self.on_tick(context);
    }

    /// Takes up the role that the memory tells.
    pub(super) fn enter(&mut self, context: &mut Context<'_>) {
        if self.durable.group.is_some() {
            self.become_follower(context);
        } else {
            self.enter_outside(context);
        }
    }

    // === roles ===

    pub(super) fn become_follower(&mut self, context: &mut Context<'_>) {
        self.role = Role::Follower;
        self.not_before = self.not_before.max(context.now);
        // Candidates of neighbouring ranks stand one heartbeat apart; half of it keeps them apart in spite of jitter.
        self.jitter_ms = 1 + context.below_ms(self.settings().heartbeat_ms / 4);
    }

    fn on_claim_ended(&mut self, context: &mut Context<'_>) {
        self.claim = None;
        if let Role::Leading(_) = self.role {
            self.step_down(StepDown::QuorumLost, context);
        }
    }

    pub(super) fn step_down(&mut self, reason: StepDown, context: &mut Context<'_>) {
        if let Role::Leading(leading) = &self.role {
            context.notify(Notice::SteppedDown {
                term: leading.term,
                reason,
            });
            self.become_follower(context);
        }
    }

    pub(super) fn fail(&mut self, fault: Fault) {
        self.problem = Some(Problem::Faulty(fault));
        self.claim = None;
        self.role = Role::Follower;
    }

    /// Whether the protocol was found broken; the member then takes no part until it is started anew.
    #[must_use]
    pub fn is_faulty(&self) -> bool {
        matches!(self.problem, Some(Problem::Faulty(_)))
    }

    // === sending ===

    pub(super) fn others(&self) -> Vec<MemberId> {
        self.roster().map_or_else(Vec::new, |roster| {
            roster
                .voters
                .iter()
                .map(|voter| voter.id)
                .filter(|id| *id != self.id)
                .collect()
        })
    }

    pub(super) fn send(&self, to: MemberId, message: Message, out: &mut Vec<Command>) {
        let address = self
            .roster()
            .and_then(|roster| roster.voter(to))
            .map(|v| Arc::clone(&v.profile.address));
        self.send_to(Destination::Member(to, address), message, out);
    }

    pub(super) fn send_to(&self, to: Destination, message: Message, out: &mut Vec<Command>) {
        out.push(Command::Send {
            to,
            group: self.group(),
            message,
        });
    }

    // === looking ===

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> MemberId {
        self.id
    }

    /// Its memory of votes; sent with every message.
    #[must_use]
    pub fn memory(&self) -> MemoryId {
        self.durable.memory
    }

    /// The number of this start of the member; sent with every message.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.durable.incarnation
    }

    /// The version of the memory with which this start began; sent with every message.
    #[must_use]
    pub fn recalled(&self) -> u64 {
        self.recalled
    }

    /// The version of its memory; sent with every message.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.durable.version
    }

    /// The term in which it leads, else the highest that it knows of durably.
    #[must_use]
    pub fn term(&self) -> Term {
        match &self.role {
            Role::Leading(leading) => leading.term,
            _ => self.durable.term,
        }
    }

    /// The group that it belongs to.
    #[must_use]
    pub fn group(&self) -> Option<GroupId> {
        self.durable.group.as_ref().map(|membership| membership.id)
    }

    /// The newest roster that it holds durably.
    #[must_use]
    pub fn roster(&self) -> Option<&Roster> {
        self.durable.group.as_ref().map(|membership| &*membership.roster)
    }

    /// The same, to be kept beside changes of the member.
    pub(super) fn shared_roster(&self) -> Option<Arc<Roster>> {
        self.durable
            .group
            .as_ref()
            .map(|membership| Arc::clone(&membership.roster))
    }

    /// The group's settings, or its own while it has no group.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        self.roster()
            .map_or(&self.config.settings, |roster| &roster.settings)
    }

    /// The right to run the payload, if it holds it at `now`.
    #[must_use]
    pub fn claim(&self, now: Tick) -> Option<Claim> {
        self.claim.filter(|claim| claim.until > now)
    }

    /// Whether it has left its group, or had none to leave, and its payload is gone.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.left
    }

    /// Whether the process may end: there is nothing left to hand over.
    #[must_use]
    pub fn may_exit(&self, now: Tick) -> bool {
        if self.is_only_voter() || matches!(self.role, Role::Starting) {
            return true;
        }
        let stopped = self.payload_gone || self.order != Order::Stop;
        let successor_leads = self
            .promise
            .is_some_and(|p| p.term > self.served && p.leader.is_some());
        let handed_over = self.served == 0 || successor_leads || now >= self.not_before;
        self.claim(now).is_none() && stopped && handed_over
    }

    pub(super) fn membership(&self) -> Option<&Membership> {
        self.durable.group.as_ref()
    }

    pub(super) fn is_only_voter(&self) -> bool {
        self.roster()
            .is_some_and(|roster| roster.voters.iter().all(|voter| voter.id == self.id))
    }

    pub(super) fn is_voter(&self) -> bool {
        self.roster()
            .is_some_and(|roster| roster.voter(self.id).is_some())
    }

    /// What this member last promised, or held itself, as a candidate must know it. One that led until a moment ago is
    /// free to vote, but its payload may take the stop budget yet.
    pub(super) fn promised(&self, now: Tick) -> Option<Promised> {
        let promise = self.promise.map(|p| (p.leader, p.term, p.until));
        let claim = self.claim.map(|claim| (Some(self.id), claim.term, claim.until));
        let stopping = (!self.payload_gone).then(|| {
            let runs = matches!(self.order, Order::Run { .. }) || self.spared_until.is_some();
            (
                Some(self.id),
                self.served,
                if runs { now } else { self.stopping_since },
            )
        });
        let open = [promise, claim, stopping].into_iter().flatten();
        let open: Vec<_> = open.filter(|(_, term, _)| *term > self.receipt).collect();
        let (leader, ..) = open.first()?;
        let same = open.iter().all(|(other, ..)| other == leader);
        let until = open.iter().map(|(.., until)| *until).max()?;
        Some(Promised {
            leader: leader.filter(|_| same),
            term: open.iter().map(|(_, term, _)| *term).max()?,
            ended_ago_ms: now.since(until),
        })
    }

    /// For how long this member still refuses `candidate`, in milliseconds; zero when it does not.
    pub(super) fn refuses_ms(&self, candidate: MemberId, handover: Option<Handover>, now: Tick) -> i64 {
        let released = |term: Term| handover.is_some_and(|handover| handover.term >= term);
        let claim_ms = match self.claim {
            // A leader that hands over ends its claim itself, whatever others say of it.
            Some(claim) if candidate != self.id => claim.until.since(now).max(0),
            _ => 0,
        };
        let promise_ms = match self.promise {
            Some(promise) if promise.leader != Some(candidate) && !released(promise.term) => {
                promise.until.since(now).max(0)
            }
            _ => 0,
        };
        claim_ms.max(promise_ms)
    }

    /// When [`Event::Tick`] is due next.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        if self.is_faulty() {
            return None;
        }
        let role = match &self.role {
            Role::Starting => self.staged.is_none().then_some(self.not_before),
            Role::Outside(joining) => self.seek_at(joining),
            Role::Follower => self.follow_at(),
            Role::Standing(standing) => standing.deadline,
            Role::Leading(leading) => Some(self.lead_at(leading)),
        };
        let claim = self.claim.map(|claim| claim.until).or(self.spared_until);
        // The payload may start when the last obligation is over.
        let clear = match self.role {
            Role::Leading(_) => self.obligations.iter().map(|one| one.until).max(),
            _ => None,
        };
        [role, claim, clear, self.pending_at()]
            .into_iter()
            .flatten()
            .min()
    }
}
