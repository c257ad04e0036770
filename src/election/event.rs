//! What a member is told: its user's wishes, and what happens to it.

use super::message::Message;
use super::obstacle::Fitness;
use super::roster::Profile;
use super::settings::Settings;
use super::types::{GroupId, MemberId, MemoryId, RequestId, Term};
use super::wish::Wish;

/// What the user wants of a member; it may change at any time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// Name, address, rank and duty.
    pub profile: Profile,
    /// Addresses to join through.
    pub fleet: Vec<String>,
    /// Found a group where there is none.
    pub ready: bool,
    /// Addresses of `fleet` that need not answer before this member founds a group, because a person said so.
    pub found_without: Vec<String>,
    /// The settings to propose when this member leads.
    pub settings: Settings,
    /// Keep doing what it does: neither take the lead nor give it away by a planned move.
    pub paused: bool,
    /// For how long the payload may be stopping before a planned move is given up, in milliseconds.
    pub stop_timeout_ms: i64,
}

/// What happens to a member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Time has passed; due at [`Member::deadline`](super::Member::deadline), harmless at any other time.
    Tick,
    /// A message has arrived.
    Received(Received),
    /// The write with this number is durable.
    Persisted(u64),
    /// The write with this number failed, or nobody knows whether it did.
    PersistFailed(u64),
    /// The order with this number was [`Order::Stop`](super::Order::Stop), and nothing of the payload is left.
    PayloadStopped(u64),
    /// The user changed the member's specification.
    Configured(Config),
    /// How well this member would run the payload, or runs it, has changed.
    Fitness(Fitness),
    /// The caller removed what another member left of its payload, through the API server of that member's cluster, and a
    /// list showed that none of it is left. It began to after this member was elected.
    Fenced {
        /// Whose it was.
        member: MemberId,
        /// The highest term that it bore: that member had run it in this one.
        term: Term,
    },
    /// A person asks for something.
    Asked(RequestId, Wish),
    /// The member is to leave: its object is being deleted.
    Leave,
    /// The process is to end: hand over if leading.
    Resign,
}

/// A message with what travels beside it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Received {
    /// The sender.
    pub from: MemberId,
    /// The sender's memory of votes.
    pub memory: MemoryId,
    /// The sender's incarnation.
    pub incarnation: u64,
    /// The version of the memory with which that incarnation began.
    pub recalled: u64,
    /// The version of the sender's memory; 0 from a release that does not count.
    pub version: u64,
    /// The sender's group.
    pub group: Option<GroupId>,
    /// What it says.
    pub message: Message,
}
