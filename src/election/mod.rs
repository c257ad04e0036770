//! Who leads: one member of a group as a synchronous state machine.
mod durable;
mod following;
mod joining;
mod leading;
mod member;
mod message;
mod moving;
mod receiving;
mod roster;
mod rostering;
mod settings;
mod standing;
mod types;
mod view;

pub use durable::{Durable, Membership};
pub use member::{
    Claim, Command, Config, Destination, Event, Fault, Member, MoveAbort, MoveReason, Notice, Order, Problem,
    Received, StepDown,
};
pub use message::{Founder, Handover, Message, Promised, Refusal};
pub use roster::{Profile, Roster, Stamp, Voter};
pub use settings::{InvalidSettings, QuorumMode, Settings};
pub use types::{GroupId, MemberId, MemoryId, NotAnIdentity, Term, Tick};
pub use view::{Part, Peer, View};
