//! What a member knows, as its status tells it.

use super::command::Problem;
use super::member::{Member, Role};
use super::roster::{Duty, Profile};
use super::types::{MemberId, Tick};

/// A member's own part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// It has not begun yet.
    Starting,
    /// It looks for a group to join.
    Joining,
    /// It is meant to found a group and waits until that is safe.
    Founding,
    /// It follows a leader.
    Follower,
    /// It is a voter and hears no leader.
    Leaderless,
    /// It stands for election.
    Candidate,
    /// It was elected and waits until the payload can run nowhere else.
    Waiting,
    /// It leads.
    Leader,
    /// It leads and is stopping its payload in order to hand over.
    HandingOver,
    /// It takes no part, since the protocol was found broken.
    Faulty,
}

/// What a member knows at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its own part.
    pub part: Part,
    /// The leader, if it knows of one that its promise still binds it to.
    pub leader: Option<MemberId>,
    /// All voters.
    pub voters: Vec<Peer>,
    /// How many voters a leader needs.
    pub need: usize,
    /// How many voters, itself included, this member has heard within a lease; a follower counts itself and the leader.
    pub have: usize,
    /// Two voters are left to themselves by a partition, and both lead.
    pub unguarded: bool,
    /// What keeps the member from doing its part.
    pub problem: Option<Problem>,
}

/// A voter as another sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its identity.
    pub id: MemberId,
    /// What it says of itself.
    pub profile: Profile,
    /// When it was last heard, where this member hears it: a leader hears all, a follower only the leader.
    pub last_heard: Option<Tick>,
    /// Whether it was heard within a lease.
    pub alive: Option<bool>,
}

/// Another group counts as met for this many leases; its leader and this one ask each other more often.
const MET_FOR_LEASES: i64 = 4;

impl Member {
    fn met(&self, now: Tick) -> Option<Problem> {
        let (group, at) = self.other_group?;
        let recent = now.since(at) < self.settings().lease_ms * MET_FOR_LEASES;
        recent.then_some(Problem::OtherGroup { group })
    }

    /// The part that the member plays at `now`.
    #[must_use]
    pub fn part(&self, now: Tick) -> Part {
        let lease_ms = self.settings().lease_ms;
        match &self.role {
            _ if self.is_faulty() => Part::Faulty,
            Role::Starting => Part::Starting,
            Role::Outside(joining) if self.config.ready && !joining.met_a_group(now - 2 * lease_ms) => {
                Part::Founding
            }
            Role::Outside(_) => Part::Joining,
            Role::Follower if self.followed(now).is_some() => Part::Follower,
            Role::Follower => Part::Leaderless,
            Role::Standing(_) => Part::Candidate,
            Role::Leading(leading) if leading.moving.is_some() => Part::HandingOver,
            Role::Leading(leading) if leading.serving => Part::Leader,
            Role::Leading(_) => Part::Waiting,
        }
    }

    /// What the member knows at `now`.
    #[must_use]
    pub fn view(&self, now: Tick) -> View {
        let lease_ms = self.settings().lease_ms;
        let leading = match &self.role {
            Role::Leading(leading) => Some(leading),
            _ => None,
        };
        let last_heard = |id: MemberId| match (leading, &self.heard) {
            _ if id == self.id => Some(now),
            (Some(leading), _) => leading.seen(id).map(|seen| seen.acknowledged_at),
            (None, Some(heard)) if heard.leader == id => Some(heard.at),
            (None, _) => None,
        };
        let alive = |id: MemberId| match (leading, last_heard(id)) {
            (_, Some(at)) => Some(now.since(at) < lease_ms),
            (Some(_), None) => Some(false),
            (None, None) => None,
        };
        let roster = self.roster();
        let voters: Vec<Peer> = roster.map_or_else(Vec::new, |roster| {
            let peer = |voter: &super::roster::Voter| Peer {
                id: voter.id,
                profile: voter.profile.clone(),
                last_heard: last_heard(voter.id),
                alive: alive(voter.id),
            };
            roster.voters.iter().map(peer).collect()
        });
        View {
            part: self.part(now),
            leader: if leading.is_some() {
                Some(self.id)
            } else {
                self.followed(now)
            },
            need: roster.map_or(0, super::roster::Roster::need),
            have: voters.iter().filter(|peer| peer.alive == Some(true)).count(),
            // Beside a witness, which never leads, the other leads alone without harm.
            unguarded: roster.is_some_and(|roster| {
                let may_lead = |voter: &super::roster::Voter| voter.profile.duty == Duty::Candidate;
                roster.is_unguarded() && roster.voters.iter().all(may_lead)
            }),
            voters,
            problem: self.problem.clone().or_else(|| self.met(now)),
        }
    }
}
