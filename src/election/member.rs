//! One member of a group, as a synchronous state machine: an event and the time come in, commands go out.

use rand::Rng;

use super::durable::{Durable, Membership};
use super::joining::Joining;
use super::leading::Leading;
use super::message::{Handover, Message, Promised};
use super::roster::{Profile, Roster};
use super::settings::Settings;
use super::standing::Standing;
use super::types::{GroupId, MemberId, MemoryId, Term, Tick};

/// What the user wants of a member; it may change at any time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// Name, address and rank.
    pub profile: Profile,
    /// Addresses to join through.
    pub fleet: Vec<String>,
    /// Found a group where there is none.
    pub ready: bool,
    /// Addresses of `fleet` that need not answer before this member founds a group, because a person said so.
    pub found_without: Vec<String>,
    /// The settings to propose when this member leads.
    pub settings: Settings,
}

/// What happens to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time has passed; due at [`Member::deadline`], harmless at any other time.
    Tick,
    /// A message has arrived.
    Received(Received),
    /// The write with this number is durable.
    Persisted(u64),
    /// The write with this number failed, or nobody knows whether it did.
    PersistFailed(u64),
    /// The order with this number was [`Order::Stop`], and nothing of the payload is left.
    PayloadStopped(u64),
    /// The user changed the member's specification.
    Configured(Config),
    /// The member is to leave: its object is being deleted.
    Leave,
    /// The process is to end: hand over if leading.
    Resign,
}

/// A message with what travels beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The sender.
    pub from: MemberId,
    /// The sender's memory of votes.
    pub memory: MemoryId,
    /// The sender's incarnation.
    pub incarnation: u64,
    /// The sender's group.
    pub group: Option<GroupId>,
    /// What it says.
    pub message: Message,
}

/// To whom a message goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// Whoever serves the callsign at this address.
    Address(String),
    /// This member; the address serves where no connection with it is up.
    Member(MemberId, Option<String>),
}

/// What the caller is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Send a message, on behalf of this group.
    Send {
        /// To whom.
        to: Destination,
        /// The sender's group.
        group: Option<GroupId>,
        /// What to say.
        message: Message,
    },
    /// Make this durable and answer with [`Event::Persisted`] or [`Event::PersistFailed`].
    Persist {
        /// Names this write in the answer.
        number: u64,
        /// What to write.
        durable: Box<Durable>,
    },
    /// From now on this is wanted of the payload.
    Payload {
        /// Names this order in [`Event::PayloadStopped`].
        number: u64,
        /// What is wanted.
        order: Order,
    },
    /// Tell the user.
    Notify(Notice),
}

/// What is wanted of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Leave it as it is.
    Hold,
    /// Apply it and keep it as written, as long as the claim lasts.
    Run {
        /// The fencing token.
        term: Term,
    },
    /// Remove it.
    Stop,
}

/// The right to run the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The term in which it was won.
    pub term: Term,
    /// When it ends on this member's clock, unless it is renewed.
    pub until: Tick,
}

/// Something that a user wants to know of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// This member founded the group.
    Founded,
    /// This member is in the roster.
    Joined,
    /// This member was elected.
    Elected {
        /// The term.
        term: Term,
        /// The leader that handed over, if one did.
        from: Option<MemberId>,
    },
    /// This member follows a new leader.
    Following {
        /// The leader.
        leader: MemberId,
        /// Its term.
        term: Term,
    },
    /// This member leads no longer.
    SteppedDown {
        /// The term in which it led.
        term: Term,
        /// Why.
        reason: StepDown,
    },
    /// The leader stops its payload in order to hand over.
    MoveStarted {
        /// To whom.
        to: MemberId,
        /// Why.
        reason: MoveReason,
    },
    /// The move was given up; the payload runs here again.
    MoveAborted {
        /// To whom it was.
        to: MemberId,
        /// Why.
        reason: MoveAbort,
    },
    /// The leader admitted a voter.
    Admitted {
        /// Its name.
        name: String,
    },
    /// The leader removed a voter.
    Removed {
        /// Its name.
        name: String,
    },
    /// The leader refused a member that asks to join with the address of a live voter.
    AddressClash {
        /// The asking member's name.
        asker: String,
        /// The voter's name.
        voter: String,
        /// Their address.
        address: String,
    },
    /// This member was no voter any more and asks for admission anew.
    Dropped,
    /// This member gives up the group that it founded for one that it met.
    Yielded,
}

/// Why a leader stepped down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepDown {
    /// Too few voters acknowledged it in time.
    QuorumLost,
    /// Another member leads in a higher term, or a higher-ranked one where each may lead alone.
    Superseded,
    /// It handed over.
    HandedOver,
    /// It gave up its group.
    Yielded,
}

/// Why a leader hands over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MoveReason {
    /// A higher-ranked member is there.
    Preemption,
    /// The leader's object is being deleted.
    Leaving,
    /// The leader's process ends.
    Exiting,
}

/// Why a move was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MoveAbort {
    /// The payload did not stop in time.
    PayloadStuck,
    /// The successor fell silent.
    SuccessorLost,
}

/// A state that the protocol excludes; the member stops its payload and takes no part until it is started anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Another member leads in this member's own term.
    TwoLeadersInOneTerm {
        /// The other.
        other: MemberId,
        /// The term.
        term: Term,
    },
}

/// What keeps a member from doing its part, for its status; gone when it is mended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Problem {
    /// Admission was refused.
    Refused(super::message::Refusal),
    /// A member of another group with the same callsign answered.
    OtherGroup {
        /// That group.
        group: GroupId,
    },
    /// Nothing can be made durable.
    CannotPersist,
    /// The protocol was broken.
    Faulty(Fault),
}

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
    pub(super) role: Role,
    pub(super) promise: Option<Promise>,
    pub(super) claim: Option<Claim>,
    /// The highest term for which it is known that no payload of it or an earlier one is left.
    pub(super) receipt: Term,
    /// Payloads of these terms may be running elsewhere until then.
    pub(super) obligations: Vec<(Term, Tick)>,
    /// The last term that this incarnation led in.
    pub(super) led: Term,
    /// The last term in which this incarnation was free to run the payload.
    pub(super) served: Term,
    pub(super) order: Order,
    pub(super) orders: u64,
    pub(super) payload_gone: bool,
    /// The candidate does not stand before this tick.
    pub(super) not_before: Tick,
    pub(super) jitter_ms: i64,
    /// The leader that stepped down in this member's favour.
    pub(super) handover: Option<Handover>,
    /// A vote that waits for its write.
    pub(super) ballot: Option<Ballot>,
    /// The last heartbeat, acknowledged again when a write is through.
    pub(super) heard: Option<Heard>,
    pub(super) resignation: Option<Resignation>,
    pub(super) left: bool,
    /// The group is being given up.
    pub(super) dissolving: bool,
    /// Where to ask for admission after that.
    pub(super) rejoin_through: Option<String>,
    pub(super) problem: Option<Problem>,
    pub(super) persist_failed: bool,
    /// The newest start that was heard of each voter.
    pub(super) starts: Vec<Start>,
    /// Another group with this callsign, and when it was last met.
    pub(super) other_group: Option<(GroupId, Tick)>,
    /// Rounds in a row that ended without an answer.
    pub(super) unanswered_rounds: u32,
    /// When a voter that asked to leave asks again.
    pub(super) next_leave: Tick,
}

/// One start of a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Start {
    pub id: MemberId,
    pub memory: MemoryId,
    pub incarnation: u64,
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
    #[must_use]
    pub fn start(id: MemberId, durable: Durable, config: Config, now: Tick) -> (Member, Vec<Command>) {
        let mut member = Member {
            id,
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
            not_before: now,
            jitter_ms: 0,
            handover: None,
            ballot: None,
            heard: None,
            resignation: None,
            left: false,
            dissolving: false,
            rejoin_through: None,
            problem: None,
            persist_failed: false,
            starts: Vec::new(),
            other_group: None,
            unanswered_rounds: 0,
            next_leave: now,
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
        let mut out = Vec::new();
        member.stage_incarnation(&mut out);
        (member, out)
    }

    fn stage_incarnation(&mut self, out: &mut Vec<Command>) {
        let next = Durable {
            incarnation: self.durable.incarnation + 1,
            ..self.durable.clone()
        };
        self.stage(next, out);
    }

    /// Takes one step. The commands are to be carried out in their order.
    pub fn step(&mut self, now: Tick, event: Event, rng: &mut dyn Rng) -> Vec<Command> {
        let mut out = Vec::new();
        let mut context = Context {
            now,
            out: &mut out,
            rng,
        };
        if !self.is_faulty() {
            self.handle(event, &mut context);
            self.expire(&mut context);
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
            Event::Leave => {
                self.resignation = Some(Resignation::Leaving);
                self.on_tick(context);
            }
            Event::Resign => {
                // Leaving says more than exiting: the roster is to be told.
                self.resignation.get_or_insert(Resignation::Exiting);
                self.on_tick(context);
            }
        }
    }

    fn on_tick(&mut self, context: &mut Context<'_>) {
        self.try_writing_again(context);
        match &self.role {
            Role::Starting => self.restart_if_idle(context),
            Role::Outside(_) => self.seek(context),
            Role::Follower => self.follow(context),
            Role::Standing(_) => self.campaign(context),
            Role::Leading(_) => self.lead(context),
        }
    }

    /// After a write that failed the same is written again, whether or not something new is to be: only that shows that
    /// the member can vote and lead again.
    fn try_writing_again(&mut self, context: &mut Context<'_>) {
        let idle = self.staged.is_none() && context.now >= self.not_before;
        if self.persist_failed && idle && !self.dissolving && !matches!(self.role, Role::Starting) {
            let same = self.durable.clone();
            self.stage(same, context.out);
        }
    }

    fn restart_if_idle(&mut self, context: &mut Context<'_>) {
        if self.staged.is_none() && context.now >= self.not_before {
            self.stage_incarnation(context.out);
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
            .retain(|(term, until)| *term > receipt && *until > now);
        if self.resignation == Some(Resignation::Leaving) && self.has_nothing_to_leave() {
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

    // === durability ===

    /// Begins to make `durable` durable. Only one write is under way at a time: a wish that comes meanwhile comes again,
    /// since every message of the protocol is repeated until it has its effect.
    pub(super) fn stage(&mut self, durable: Durable, out: &mut Vec<Command>) -> bool {
        if self.staged.is_some() {
            return false;
        }
        self.writes += 1;
        out.push(Command::Persist {
            number: self.writes,
            durable: Box::new(durable.clone()),
        });
        self.staged = Some(Staged {
            number: self.writes,
            durable,
        });
        true
    }

    fn on_persisted(&mut self, number: u64, context: &mut Context<'_>) {
        let Some(staged) = self.staged.take_if(|staged| staged.number == number) else {
            return;
        };
        let before = std::mem::replace(&mut self.durable, staged.durable);
        self.persist_failed = false;
        if self.problem == Some(Problem::CannotPersist) {
            self.problem = None;
        }
        if let Some(membership) = &self.durable.group {
            if before.group.as_ref().map(|g| g.id) != Some(membership.id) {
                self.problem = None;
            }
            let voters = &membership.roster.voters;
            self.starts
                .retain(|start| voters.iter().any(|voter| voter.id == start.id));
        }
        match &self.role {
            Role::Starting => self.enter(context),
            Role::Outside(_) if self.durable.group.is_some() => self.enter_group(context),
            Role::Standing(_) if before.term != self.durable.term => self.on_term_persisted(context),
            Role::Leading(_) => {
                self.on_roster_persisted(before.group.map(|group| group.roster).as_ref(), context)
            }
            _ if self.durable.group.is_none() && before.group.is_some() => self.enter(context),
            Role::Outside(_) | Role::Follower | Role::Standing(_) => {}
        }
        self.cast_ballot(context);
        self.acknowledge_again(context);
    }

    fn on_persist_failed(&mut self, number: u64, context: &mut Context<'_>) {
        if self.staged.take_if(|staged| staged.number == number).is_none() {
            return;
        }
        self.persist_failed = true;
        self.problem.get_or_insert(Problem::CannotPersist);
        self.ballot = None;
        self.not_before = self.not_before.max(context.now + self.settings().heartbeat_ms);
        if let Role::Standing(_) = self.role {
            self.become_follower(context);
        }
    }

    /// Takes up the role that the memory tells.
    fn enter(&mut self, context: &mut Context<'_>) {
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

    // === payload ===

    fn order_payload(&mut self, now: Tick, out: &mut Vec<Command>) {
        let wanted = self.wanted(now);
        if wanted != self.order {
            self.order = wanted;
            self.orders += 1;
            self.payload_gone = false;
            out.push(Command::Payload {
                number: self.orders,
                order: wanted,
            });
        }
    }

    fn wanted(&mut self, now: Tick) -> Order {
        if self.is_faulty() || self.dissolving {
            return Order::Stop;
        }
        let Some(claim) = self.claim.filter(|claim| claim.until > now) else {
            // A member that nobody else can replace leaves its payload in peace until it leads again.
            let undecided = matches!(self.role, Role::Starting) || self.is_only_voter();
            return if undecided && self.resignation.is_none() {
                self.order
            } else {
                Order::Stop
            };
        };
        let clear = self.obligations.is_empty();
        match &mut self.role {
            Role::Leading(leading) if leading.moving.is_some() => Order::Stop,
            Role::Leading(leading) if claim.term == leading.term && (leading.serving || clear) => {
                leading.serving = true;
                self.served = claim.term;
                Order::Run { term: claim.term }
            }
            // Elected again before the claim of its former term has ended: what runs may run on.
            _ => match self.order {
                Order::Run { term } => Order::Run { term },
                Order::Hold | Order::Stop => Order::Stop,
            },
        }
    }

    fn on_payload_stopped(&mut self, number: u64, context: &mut Context<'_>) {
        if number != self.orders || self.order != Order::Stop {
            return;
        }
        self.payload_gone = true;
        if self.dissolving {
            self.dissolve(context);
        } else if let Role::Leading(_) = self.role {
            self.hand_over(context);
        } else {
            self.send_receipt(context);
        }
    }

    /// Tells the others that they need not wait: this member's payload is gone.
    fn send_receipt(&mut self, context: &mut Context<'_>) {
        if self.served > self.receipt && self.claim.is_none() {
            self.receipt = self.served;
            let stopped = Message::Stopped { term: self.served };
            for id in self.others() {
                self.send(id, stopped.clone(), context.out);
            }
        }
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
            .map(|v| v.profile.address.clone());
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

    /// The highest term that it knows of durably.
    #[must_use]
    pub fn term(&self) -> Term {
        self.durable.term
    }

    /// The group that it belongs to.
    #[must_use]
    pub fn group(&self) -> Option<GroupId> {
        self.durable.group.as_ref().map(|membership| membership.id)
    }

    /// The newest roster that it holds durably.
    #[must_use]
    pub fn roster(&self) -> Option<&Roster> {
        self.durable.group.as_ref().map(|membership| &membership.roster)
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

    /// What this member last promised, or held itself, as a candidate must know it.
    pub(super) fn promised(&self, now: Tick) -> Option<Promised> {
        let promise = self.promise.map(|p| (p.leader, p.term, p.until));
        let claim = self.claim.map(|claim| (Some(self.id), claim.term, claim.until));
        [promise, claim]
            .into_iter()
            .flatten()
            .filter(|(_, term, _)| *term > self.receipt)
            .max_by_key(|p| p.2)
            .map(|(leader, term, until)| Promised {
                leader,
                term,
                ended_ago_ms: now.since(until),
            })
    }

    /// For how long this member still refuses `candidate`, in milliseconds; zero when it does not.
    pub(super) fn refuses_ms(&self, candidate: MemberId, handover: Option<Handover>, now: Tick) -> i64 {
        let released = |term: Term| handover.is_some_and(|handover| handover.term >= term);
        let claim_ms = match self.claim {
            Some(claim) if candidate != self.id && !released(claim.term) => claim.until.since(now).max(0),
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
        let claim = self.claim.map(|claim| claim.until);
        // The payload may start when the last obligation is over.
        let clear = match self.role {
            Role::Leading(_) => self.obligations.iter().map(|(_, until)| *until).max(),
            _ => None,
        };
        [role, claim, clear].into_iter().flatten().min()
    }
}
