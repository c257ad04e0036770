//! Who leads: one member of a group as a synchronous state machine.
mod command;
mod durable;
mod event;
mod following;
mod joining;
mod leading;
mod member;
mod message;
mod moving;
mod persisting;
mod receiving;
mod roster;
mod rostering;
mod serving;
mod settings;
mod standing;
#[cfg(test)]
mod trying;
mod types;
mod view;

pub use command::{
    Claim, Command, Destination, Fault, MoveAbort, MoveReason, Notice, Order, Problem, StepDown,
};
pub use durable::{Durable, Membership};
pub use event::{Config, Event, Received};
pub use member::Member;
pub use message::{Founder, Handover, Message, Promised, Refusal};
pub use roster::{Profile, Roster, Stamp, Voter};
pub use settings::{InvalidSettings, QuorumMode, Settings};
pub use types::{GroupId, MemberId, MemoryId, NotAnIdentity, Term, Tick};
pub use view::{Part, Peer, View};
