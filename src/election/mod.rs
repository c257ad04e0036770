//! Who leads: one member of a group as a synchronous state machine.
//!
//! [`Member::step`] takes the time and an [`Event`] and gives [`Command`]s; it knows no clock, no network, no disk and
//! no chance but the random source that it is handed. The caller ticks it at [`Member::deadline`], carries the commands
//! out in their order, and answers each [`Command::Persist`] with exactly one [`Event::Persisted`] or
//! [`Event::PersistFailed`].
//!
//! # What it promises
//!
//! Where a leader needs a majority ([`Roster::need`]):
//! - at most one member leads in a term;
//! - at most one member holds a valid [`Claim`] at any instant, as long as the *rates* of two members' clocks differ by
//!   less than [`Settings::drift_permille`]; pauses, loss, reordering and partitions do no harm;
//! - a new leader orders [`Order::Run`] when the former one has said that its payload is gone, when it was removed through
//!   that one's API server ([`Event::Fenced`]), or when its claim and the stop budget are over by any clock;
//! - with a majority that is connected and can write, and one of it that may lead, one leads.
//!
//! An unguarded pair ([`Roster::is_unguarded`]) promises less: a partition makes two leaders, in different terms, and the
//! lower-ranked yields when they meet.
//!
//! # The protocol
//!
//! **Groups.** A member without a group sends [`Message::Probe`] to its fleet. It founds a group if it is meant to and
//! everybody it asked lets it go first ([`Message::NoGroup`]), each of them nobody else for two leases. A leader that is
//! asked admits the asker by a heartbeat with the new [`Roster`]; others name the leader ([`Message::InGroup`]). A
//! group that never had a second voter gives way to one that did.
//!
//! **Terms and votes.** A follower that hears no leader stands in order of rank. [`Message::PreVote`] binds nobody, so a
//! member that was cut off unseats nobody. It writes its own vote, then asks with [`Message::Vote`]. A voter refuses while
//! its promise to a leader lasts, refuses a roster older than its own, and has one vote in a term. The answer tells what
//! it promised before, and with that when another payload is gone for sure.
//!
//! **Lease.** [`Message::Heartbeat`] carries the leader's roster to those that do not hold it. [`Message::Ack`] promises to
//! refuse other candidates for a lease from its *arrival*; the claim that a majority of such promises gives runs from the
//! heartbeat's *sending*, shorter by the drift bound.
//!
//! **Roster.** The leader changes one voter at a time, each change agreed by a majority of the new roster and begun only
//! after one of its own term was. [`Stamp`] orders rosters. A voter that leaves is let go ([`Message::Left`]) when the
//! roster without it is agreed.
//!
//! **Moves.** Stop, confirm, [`Message::Handover`], which ends the claim in that term for good; promises to the one that
//! handed over bind no longer. Whoever stopped otherwise says [`Message::Stopped`]. Rank moves the lead
//! ([`Preemption`]), and so do a payload that fails ([`Fitness`]), a leader that leaves, and people ([`Wish`]). Whom a
//! person asked for is written into the roster and preferred to every rank until another leads.
//!
//! **Who may lead.** A voter tells with each [`Message::Ack`] what would keep it from leading ([`Obstacle`]). Nobody is
//! handed the lead whom something keeps from it, and a member that is paused, unfit or a witness does not stand. One
//! under which the payload failed is passed over by planned moves for a while that grows; where nobody leads it stands
//! like any other, since a broken payload is broken everywhere.
//!
//! **Replicas.** One replica of a member may take the place of another that led, by an ordinary vote in the next term,
//! while the promises to that member last; see `replacing`.
//!
//! # What is durable, and when
//!
//! | [`Durable`] | written before |
//! |---|---|
//! | incarnation | anything is sent after a start |
//! | term and vote | the vote is given, or asked for |
//! | term | a heartbeat of that term is acknowledged |
//! | group and roster | the stamp is acknowledged; at the leader, before it is sent |
//! | memory | a member that lost its votes speaks again |
//!
//! Promises are not written: after a start a voter refuses everybody for one lease of the group, or everybody else if it
//! replaces a leader. A vote belongs to the
//! *memory* that a voter was admitted with. A member that lost its memory has a new one, and no vote until the leader
//! has removed and admitted it. Each write has a number, the version; one whose memory went back is told so, by
//! [`Message::Outdated`], by those that have heard more of it, and begins a new one.
//!
//! # Sources
//!
//! - Diego Ongaro, *Consensus: Bridging Theory and Practice* (Stanford 2014): terms and votes 3.4, check-quorum and leases
//!   6.2 and 6.4.1, single-server membership change 4.1 with the correction of July 2015 (a leader first commits in its
//!   own term), leadership transfer 3.10, pre-vote 9.6.
//! - Cary Gray and David Cheriton, *Leases: An Efficient Fault-Tolerant Mechanism for Distributed File Cache Consistency*
//!   (SOSP 1989): leases under clocks of bounded drift.
//! - Mike Burrows, *The Chubby Lock Service for Loosely-Coupled Distributed Systems* (OSDI 2006): the term as a fencing
//!   token, Chubby's sequencer.
//!
//! # The files
//!
//! `member` holds the state and takes the steps; `receiving` finds the rule for a message; `joining`, `following`,
//! `standing` and `leading` are the parts that a member plays; `rostering` and `moving` are what a leader undertakes,
//! `asking` what people ask of it, and `tally` what its voters answer, counted; `obligation` is what it waits for;
//! `fitness` tells who may lead; `persisting` and `serving` are its memory and its payload, and `replacing` how one replica
//! takes the place of another. The rest are values.

mod asking;
mod command;
mod durable;
mod event;
mod fitness;
mod following;
mod joining;
mod leading;
mod looking;
mod member;
mod message;
mod moving;
mod obligation;
mod obstacle;
mod persisting;
mod receiving;
mod replacing;
mod roster;
mod rostering;
mod serving;
mod settings;
mod standing;
mod tally;
#[cfg(test)]
mod trying;
mod types;
mod view;
mod wish;

pub use command::{
    Claim, Command, Destination, Fault, MoveAbort, MoveReason, Notice, Order, Problem, StepDown,
};
pub use durable::{Durable, Membership};
pub use event::{Config, Event, Received};
pub use member::Member;
pub use message::{Founder, Handover, Message, Promised, Refusal};
pub use obstacle::{Fitness, Obstacle};
pub use roster::{Duty, Profile, Roster, Stamp, Voter};
pub use settings::{InvalidSettings, Preemption, QuorumMode, Settings};
pub use types::{GroupId, MemberId, MemoryId, NotAnIdentity, RequestId, Term, Tick};
pub use view::{Part, Peer, View};
pub use wish::{Answer, Hindrance, Wish};
