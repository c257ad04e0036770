//! What a member has its caller do, and what it tells its user.

use std::sync::Arc;

use super::durable::Durable;
use super::message::{Message, Refusal};
use super::types::{GroupId, MemberId, RequestId, Term, Tick};
use super::wish::Hindrance;

/// To whom a message goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// Whoever serves the callsign at this address.
    Address(String),
    /// This member; the address serves where no connection with it is up.
    Member(MemberId, Option<Arc<str>>),
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
    /// Make this durable and answer with [`Event::Persisted`](super::Event::Persisted) or
    /// [`Event::PersistFailed`](super::Event::PersistFailed).
    Persist {
        /// Names this write in the answer.
        number: u64,
        /// What to write.
        durable: Box<Durable>,
    },
    /// From now on this is wanted of the payload.
    Payload {
        /// Names this order in [`Event::PayloadStopped`](super::Event::PayloadStopped).
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
    /// The leader has taken up what was asked for.
    AskedUnderWay {
        /// Which.
        request: RequestId,
    },
    /// What was asked for is so, or will not be.
    AskedEnded {
        /// Which.
        request: RequestId,
        /// Why not.
        outcome: Result<(), Hindrance>,
    },
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
    /// Its API server is out of reach, and its user wants another to lead then.
    ApiServerLost,
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
    /// The leader's payload is not healthy.
    Unfit,
    /// The leader is a witness from now on.
    Witness,
    /// A person asked for it.
    Asked,
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
    Refused(Refusal),
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
