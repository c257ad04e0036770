//! What members say to one another. Unknown fields are ignored, so that two adjacent releases can run in one group.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::obstacle::Obstacle;
use super::roster::{Profile, Roster, Stamp};
use super::types::{MemberId, MemoryId, RequestId, Term};
use super::wish::{Answer, Wish};

/// One message. The sender's identity, incarnation and group travel beside it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Message {
    /// "Is there a group here, and will it have me?"
    Probe {
        /// The asker.
        founder: Founder,
        /// The address that is asked; the answer repeats it.
        asked: String,
    },
    /// The answer of a member that has no group either.
    NoGroup {
        /// The answering member, as a possible founder.
        founder: Founder,
        /// The address that was asked.
        asked: String,
        /// It promises not to found a group within two leases: the asker goes first.
        yields: bool,
    },
    /// The answer of a member of a group that does not lead it, or leads another group than the asker's.
    InGroup {
        /// Where to ask for admission, if a leader is known.
        leader_address: Option<String>,
        /// The most voters that the group ever had.
        peak: usize,
        /// The answering member's rank: of two groups that never had a second voter the lower-ranked yields.
        rank: i64,
    },
    /// Admission refused, or withdrawn.
    Refused {
        /// Why.
        refusal: Refusal,
    },
    /// "Would you vote for me?" Nothing is made durable for it, so a member that was cut off unseats nobody.
    PreVote {
        /// The term in which it would stand.
        term: Term,
        /// The roster it goes by.
        stamp: Stamp,
    },
    /// The answer to [`Message::PreVote`].
    PreVoted {
        /// The term that was asked about.
        term: Term,
        /// Whether the vote would be given.
        granted: bool,
        /// The answering voter's own term.
        voter_term: Term,
        /// After how many milliseconds to ask again, when a promise to a leader stands in the way.
        wait_ms: i64,
        /// The voter's roster, when the candidate's is older: the voter may be one that does not stand itself.
        #[serde(default)]
        roster: Option<Arc<Roster>>,
    },
    /// "Vote for me."
    Vote {
        /// The term in which it stands.
        term: Term,
        /// The roster it goes by.
        stamp: Stamp,
        /// The leader that stepped down in its favour.
        handover: Option<Handover>,
    },
    /// The answer to [`Message::Vote`]; a granted vote is durable before it is sent.
    Voted {
        /// The term that was asked about.
        term: Term,
        /// Whether the vote is given.
        granted: bool,
        /// The answering voter's own term.
        voter_term: Term,
        /// What the voter last promised to a leader.
        promised: Option<Promised>,
        /// The highest term for which the voter knows that no payload of it or an earlier one is left.
        receipt: Term,
    },
    /// "I lead in this term."
    Heartbeat {
        /// The leader's term.
        term: Term,
        /// Counts the leader's heartbeats in this term; an acknowledgement names it.
        sequence: u64,
        /// The leader's roster.
        stamp: Stamp,
        /// The roster itself, for those that have not acknowledged it.
        roster: Option<Arc<Roster>>,
    },
    /// The answer to [`Message::Heartbeat`].
    Ack {
        /// The answering voter's term; a higher one than the leader's refuses the heartbeat.
        term: Term,
        /// The heartbeat that is acknowledged; zero, which is no heartbeat's number, in a refusal.
        sequence: u64,
        /// The roster that the voter holds durably.
        stamp: Stamp,
        /// For how long from receipt the voter refuses other candidates.
        lease_ms: i64,
        /// Why it could not lead if it were asked to; nothing if it could.
        #[serde(default)]
        obstacle: Option<Obstacle>,
        /// What it says of itself now.
        profile: Profile,
        /// See [`Message::Voted`].
        receipt: Term,
    },
    /// "I have stopped the payload and will not lead in this term again: stand for the next."
    Handover {
        /// The sender's term.
        term: Term,
        /// The term in which the sender has voted for the receiver already.
        #[serde(default)]
        vote: Option<Term>,
        /// A person asked for this successor.
        #[serde(default)]
        chosen: bool,
    },
    /// "I led in this term, have stopped the payload and will not lead in it again."
    Stopped {
        /// The sender's term.
        term: Term,
    },
    /// "Take me out of the roster."
    Leave,
    /// "You are out of the roster."
    Left,
    /// "You have said more than you remember": the receiver's memory went back, or it has a successor.
    Outdated {
        /// The number of the latest start that was heard.
        incarnation: u64,
        /// The version that the memory must have had when the receiver started.
        #[serde(default)]
        version: u64,
    },
    /// "You ask for votes, but are no voter any more."
    NotAVoter {
        /// The roster that says so.
        stamp: Stamp,
        /// Where to ask for admission, if a leader is known.
        leader_address: Option<String>,
    },
    /// "Somebody asks for this through me."
    Request {
        /// Names it in the answer.
        request: RequestId,
        /// What is asked for.
        wish: Wish,
    },
    /// The leader's answer to [`Message::Request`].
    Answer {
        /// Which.
        request: RequestId,
        /// What becomes of it.
        answer: Answer,
    },
}

impl Message {
    /// The highest term that the message would make its receiver believe in.
    pub(super) fn highest_term(&self) -> Term {
        match self {
            Message::PreVote { term, .. } | Message::Vote { term, .. } | Message::Stopped { term } => *term,
            Message::PreVoted { term, voter_term, .. } => *term.max(voter_term),
            Message::Voted {
                term,
                voter_term,
                receipt,
                ..
            } => *term.max(voter_term).max(receipt),
            Message::Heartbeat {
                term, stamp, roster, ..
            } => {
                let held = roster.as_ref().map_or(0, |roster| roster.stamp.term);
                (*term).max(stamp.term).max(held)
            }
            Message::Ack {
                term, stamp, receipt, ..
            } => (*term).max(stamp.term).max(*receipt),
            Message::Handover { term, vote, .. } => (*term).max(vote.unwrap_or(0)),
            Message::NotAVoter { stamp, .. } => stamp.term,
            Message::Probe { .. }
            | Message::NoGroup { .. }
            | Message::InGroup { .. }
            | Message::Refused { .. }
            | Message::Leave
            | Message::Left
            | Message::Outdated { .. }
            | Message::Request { .. }
            | Message::Answer { .. } => 0,
        }
    }
}

/// A member that has no group, with what decides who founds one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Founder {
    /// What it says of itself.
    pub profile: Profile,
    /// Its memory of votes.
    pub memory: MemoryId,
    /// It is meant to found a group.
    pub ready: bool,
    /// It names no other members: it will ask nobody before it founds a group.
    pub alone: bool,
}

/// Ready, alone, rank, identity.
pub(super) type Precedence = (bool, bool, i64, MemberId);

impl Founder {
    /// Of two members that might found a group, the greater goes first.
    #[must_use]
    pub fn precedence(&self, id: MemberId) -> Precedence {
        (self.ready, self.alone, self.profile.rank, id)
    }
}

/// The leader that stepped down in the candidate's favour: promises made to it, and to leaders before it, no longer bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Handover {
    /// The leader that stepped down.
    pub from: MemberId,
    /// The term in which it led.
    pub term: Term,
}

/// The last promise of a voter: a payload of `term` or an earlier one may be running until the stop budget after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Promised {
    /// To whom, unless the voter has forgotten it in a restart.
    pub leader: Option<MemberId>,
    /// The leader's term, or the highest that it can have been.
    pub term: Term,
    /// How long ago it ended, negative when it is yet to end.
    pub ended_ago_ms: i64,
}

/// Why a member is not admitted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "camelCase")]
pub enum Refusal {
    /// A member that is alive has the same address.
    AddressTaken {
        /// The name of that member.
        by: String,
    },
    /// Quorum `None` is for two voters and nothing else.
    TwoVotersOnly,
    /// The group has as many voters as one group may have.
    Full,
    /// The leader has a change of the roster or a move under way; the asker asks again.
    Busy,
}
