//! A candidate: it asks whether it would be elected, makes its own vote durable, and asks for the votes.

use std::sync::Arc;

use super::command::{Notice, StepDown};
use super::durable::Durable;
use super::leading::Leading;
use super::member::{Ballot, Context, Member, Role, Staged};
use super::message::{Handover, Message, Promised};
use super::obligation::Obligation;
use super::roster::{Roster, Stamp};
use super::types::{MemberId, Term, Tick};

/// After this long a write to an API server counts as failed, with some room for the way to the voter and back.
const WRITE_MAX_MS: i64 = 6_000;

/// One candidacy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Standing {
    /// The term in which it stands.
    pub term: Term,
    pub phase: Phase,
    pub granted: Vec<MemberId>,
    pub refused: Vec<MemberId>,
    /// What the voters promised before.
    pub promised: Vec<(Option<MemberId>, Term, Tick)>,
    /// When the round is given up; `None` while the own vote is being written, which is always answered.
    pub deadline: Option<Tick>,
}

/// Why a voter would not vote for a candidate.
pub(super) struct Refused {
    pub voter_term: Term,
    pub wait_ms: i64,
    pub roster: Option<Arc<Roster>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// Nobody is bound yet.
    PreVote,
    /// The own vote is being made durable.
    Writing,
    Vote,
}

impl Standing {
    fn begin(term: Term, deadline: Option<Tick>) -> Standing {
        let (granted, refused, promised) = (Vec::new(), Vec::new(), Vec::new());
        Standing {
            term,
            phase: Phase::PreVote,
            granted,
            refused,
            promised,
            deadline,
        }
    }

    /// A candidacy whose own vote is being made durable already.
    pub(super) fn writing(term: Term) -> Standing {
        Standing {
            phase: Phase::Writing,
            ..Standing::begin(term, None)
        }
    }
}

impl Member {
    pub(super) fn begin_campaign(&mut self, context: &mut Context<'_>) {
        self.handover = self
            .handover
            .filter(|handover| handover.term == self.durable.term);
        self.vote_in_hand = self.vote_in_hand.filter(|_| self.handover.is_some());
        let deadline = context.now + self.settings().round_ms();
        let term = self.term_above(self.durable.term);
        let standing = Standing::begin(term, Some(deadline));
        self.role = Role::Standing(Standing {
            granted: vec![self.id],
            ..standing
        });
        let Some(stamp) = self.roster().map(|roster| roster.stamp) else {
            return;
        };
        if self.handover.is_some() || self.is_only_voter() {
            return self.write_own_vote(context);
        }
        for id in self.others() {
            self.send(id, Message::PreVote { term, stamp }, context.out);
        }
    }

    /// The next term above `term` that this member may stand in. Of two voters that each may lead alone, each has every
    /// second term, so that they never lead in the same one.
    pub(super) fn term_above(&self, term: Term) -> Term {
        let next = term.saturating_add(1);
        match self.roster().filter(|roster| roster.is_unguarded()) {
            Some(roster) if roster.voters.first().is_some_and(|voter| voter.id == self.id) => next | 1,
            Some(_) => next.saturating_add(next & 1),
            None => next,
        }
    }

    fn write_own_vote(&mut self, context: &mut Context<'_>) {
        let term = match self.vote_in_hand {
            Some((_, term)) if term > self.durable.term => term,
            _ => self.term_above(self.durable.term),
        };
        let next = Durable {
            term,
            vote: Some(self.id),
            ..self.durable.clone()
        };
        if !self.stage(next, context.out) {
            // Another write is under way; the candidate stands when it is through.
            self.not_before = context.now;
            return self.become_follower(context);
        }
        if let Role::Standing(standing) = &mut self.role {
            standing.term = term;
            standing.phase = Phase::Writing;
            standing.deadline = None;
        }
    }

    pub(super) fn on_term_persisted(&mut self, context: &mut Context<'_>) {
        let (id, now) = (self.id, context.now);
        let (term, vote) = (self.durable.term, self.durable.vote);
        let promised = self.promised(now);
        let deadline = now + self.vote_round_ms();
        let Role::Standing(standing) = &mut self.role else {
            return;
        };
        if standing.term != term || vote != Some(id) {
            return self.become_follower(context);
        }
        standing.phase = Phase::Vote;
        standing.granted = vec![id];
        if let Some((voter, _)) = self.vote_in_hand.take_if(|(_, given_for)| *given_for == term) {
            standing.granted.push(voter);
        }
        standing.refused.clear();
        standing.deadline = Some(deadline);
        if let Some(promised) = promised {
            standing
                .promised
                .push((promised.leader, promised.term, now - promised.ended_ago_ms));
        }
        if let Some(stamp) = self.roster().map(|roster| roster.stamp) {
            for other in self.others() {
                self.send(
                    other,
                    Message::Vote {
                        term,
                        stamp,
                        handover: self.handover,
                    },
                    context.out,
                );
            }
        }
        self.count_votes(context);
    }

    pub(super) fn campaign(&mut self, context: &mut Context<'_>) {
        let unguarded = self.roster().is_some_and(Roster::is_unguarded);
        let Role::Standing(standing) = &self.role else {
            return;
        };
        let Some(deadline) = standing.deadline.filter(|deadline| *deadline <= context.now) else {
            return;
        };
        let late = context.now.since(deadline) > self.settings().heartbeat_ms;
        match standing.phase {
            // Where each may lead alone, silence is consent, unless it was this member that did not listen.
            Phase::PreVote if unguarded && standing.refused.is_empty() && !late => {
                self.write_own_vote(context)
            }
            Phase::PreVote | Phase::Writing | Phase::Vote => {
                self.unanswered_rounds = self.unanswered_rounds.saturating_add(1);
                self.give_up_round(0, context);
            }
        }
    }

    /// How long votes are waited for. Voters write theirs to their API servers first; where those are slow each round is
    /// longer than the one before, up to what a write may take before it counts as failed.
    fn vote_round_ms(&self) -> i64 {
        let round_ms = self.settings().round_ms();
        let longer = round_ms << self.unanswered_rounds.min(5);
        longer.min(WRITE_MAX_MS.max(round_ms))
    }

    /// Stands again after `wait_ms`, and a random while so that two candidates do not meet again.
    fn give_up_round(&mut self, wait_ms: i64, context: &mut Context<'_>) {
        let heartbeat_ms = self.settings().heartbeat_ms;
        let pause_ms = heartbeat_ms / 4 + context.below_ms(heartbeat_ms);
        (self.handover, self.vote_in_hand, self.chosen) = (None, None, false);
        self.not_before = context.now + wait_ms.clamp(0, self.settings().lease_ms) + pause_ms;
        self.become_follower(context);
    }

    // === as a voter ===

    pub(super) fn on_pre_vote(
        &mut self,
        from: MemberId,
        term: Term,
        stamp: Stamp,
        context: &mut Context<'_>,
    ) {
        let Some(roster) = self.shared_roster() else {
            return;
        };
        let own = roster.stamp;
        if stamp < own && roster.voter(from).is_none() {
            return self.tell_not_a_voter(from, context);
        }
        let rival_ms = if stamp <= own && self.goes_before(from, term) {
            self.settings().round_ms()
        } else {
            0
        };
        let wait_ms = self.vote_wait_ms(from, None, context.now).max(rival_ms);
        let granted = term > self.durable.term && stamp >= own && wait_ms == 0 && !self.dissolving;
        let message = Message::PreVoted {
            term,
            granted,
            // A leader's vote for a successor is nobody's business: who stood above it would unseat the leader.
            voter_term: self.term(),
            wait_ms,
            roster: (stamp < own).then_some(roster),
        };
        self.send(from, message, context.out);
    }

    /// Whether this member stands itself, and the other is to wait for the outcome: two candidates of one term would only
    /// take each other's votes.
    fn goes_before(&self, other: MemberId, term: Term) -> bool {
        let preference = |id| {
            let roster = self.roster()?;
            roster.voter(id).map(|voter| roster.preference(voter))
        };
        match &self.role {
            Role::Standing(standing) if standing.phase == Phase::PreVote => {
                preference(self.id) > preference(other)
            }
            Role::Standing(standing) => standing.term >= term,
            _ => false,
        }
    }

    /// How long until this member could vote for `candidate`, as far as promises go.
    fn vote_wait_ms(&self, candidate: MemberId, handover: Option<Handover>, now: Tick) -> i64 {
        match &self.role {
            // A leader that has just been elected has no claim yet, and is not to be unseated before it can have one.
            Role::Leading(leading) if self.claim.is_none() => {
                (leading.since + self.settings().lease_ms).since(now).max(0)
            }
            _ => self.refuses_ms(candidate, handover, now),
        }
    }

    pub(super) fn on_vote(
        &mut self,
        from: MemberId,
        term: Term,
        stamp: Stamp,
        handover: Option<Handover>,
        context: &mut Context<'_>,
    ) {
        let Some(own) = self.roster().map(|roster| roster.stamp) else {
            return;
        };
        let voted_already = term == self.durable.term && self.durable.vote == Some(from);
        let free = term > self.durable.term || (term == self.durable.term && self.durable.vote.is_none());
        let bound = self.vote_wait_ms(from, handover, context.now) > 0;
        let leaves = self.dissolving || self.changes_group();
        if bound || stamp < own || !(free || voted_already) || leaves {
            let message = Message::Voted {
                term,
                granted: false,
                voter_term: self.term(),
                promised: None,
                receipt: self.receipt,
            };
            return self.send(from, message, context.out);
        }
        let ballot = Ballot {
            candidate: from,
            term,
            handover,
        };
        let under_way = |staged: &Staged| (staged.durable.term, staged.durable.vote) == (term, Some(from));
        if voted_already {
            self.ballot = Some(ballot);
            self.cast_ballot(context);
        } else if self.staged.as_ref().is_some_and(under_way) {
            // It is given when it is durable.
            self.ballot = Some(ballot);
        } else {
            let next = Durable {
                term,
                vote: Some(from),
                ..self.durable.clone()
            };
            if self.stage(next, context.out) {
                self.ballot = Some(ballot);
                // A term above its own is about to be this member's: it must write nothing in its own any more.
                self.claim = None;
                self.step_down(StepDown::Superseded, context);
            }
        }
    }

    /// Gives the vote that is durable by now, if nothing has come in between.
    pub(super) fn cast_ballot(&mut self, context: &mut Context<'_>) {
        let durable = (self.durable.term, self.durable.vote);
        let Some(ballot) = self
            .ballot
            .take_if(|ballot| durable == (ballot.term, Some(ballot.candidate)))
        else {
            return;
        };
        if self.vote_wait_ms(ballot.candidate, ballot.handover, context.now) > 0 {
            return;
        }
        if !matches!(self.role, Role::Follower) {
            self.claim = None;
            self.step_down(StepDown::Superseded, context);
            self.become_follower(context);
        }
        self.spared_until = None;
        self.not_before = self.not_before.max(context.now + self.settings().round_ms());
        let message = Message::Voted {
            term: ballot.term,
            granted: true,
            voter_term: ballot.term,
            promised: self.promised(context.now),
            receipt: self.receipt,
        };
        self.send(ballot.candidate, message, context.out);
    }

    // === as a candidate ===

    pub(super) fn on_pre_voted(
        &mut self,
        from: MemberId,
        term: Term,
        answer: Result<(), Refused>,
        context: &mut Context<'_>,
    ) {
        let own = self.roster().map(|roster| roster.stamp);
        let Role::Standing(standing) = &mut self.role else {
            return;
        };
        if standing.phase != Phase::PreVote || standing.term != term {
            return;
        }
        match answer {
            Ok(()) => {
                record(&mut standing.granted, from);
                if self.has_majority() {
                    self.write_own_vote(context);
                }
            }
            Err(Refused {
                voter_term,
                wait_ms,
                roster,
            }) => {
                record(&mut standing.refused, from);
                let newer = roster.filter(|roster| own.is_some_and(|own| roster.stamp > own));
                if newer.is_some() || voter_term > self.durable.term {
                    let next = self.remembering(voter_term, self.group().zip(newer));
                    self.stage(next, context.out);
                    self.give_up_round(0, context);
                } else if self.cannot_win() {
                    self.give_up_round(wait_ms, context);
                }
            }
        }
    }

    pub(super) fn on_voted(
        &mut self,
        from: MemberId,
        term: Term,
        answer: Result<Option<Promised>, Term>,
        context: &mut Context<'_>,
    ) {
        let now = context.now;
        let Role::Standing(standing) = &mut self.role else {
            return;
        };
        if standing.phase != Phase::Vote || standing.term != term {
            return;
        }
        match answer {
            Ok(promised) => {
                record(&mut standing.granted, from);
                if let Some(promised) = promised {
                    standing
                        .promised
                        .push((promised.leader, promised.term, now - promised.ended_ago_ms));
                }
                self.count_votes(context);
            }
            Err(voter_term) => {
                record(&mut standing.refused, from);
                if voter_term > self.durable.term {
                    let next = self.remembering(voter_term, None);
                    self.stage(next, context.out);
                    self.give_up_round(0, context);
                } else if self.cannot_win() {
                    self.give_up_round(0, context);
                }
            }
        }
    }

    fn has_majority(&self) -> bool {
        let (Role::Standing(standing), Some(roster)) = (&self.role, self.roster()) else {
            return false;
        };
        let votes = standing
            .granted
            .iter()
            .filter(|id| roster.voter(**id).is_some())
            .count();
        // Where each may lead alone, the other is heard before the first vote is written.
        let heard = !roster.is_unguarded() || standing.phase != Phase::PreVote || votes > 1;
        votes >= roster.need() && heard
    }

    fn cannot_win(&self) -> bool {
        let (Role::Standing(standing), Some(roster)) = (&self.role, self.roster()) else {
            return true;
        };
        let open = roster
            .voters
            .iter()
            .filter(|voter| !standing.refused.contains(&voter.id))
            .count();
        open < roster.need() || (roster.is_unguarded() && standing.phase == Phase::PreVote)
    }

    fn count_votes(&mut self, context: &mut Context<'_>) {
        if !self.has_majority() {
            return;
        }
        let Role::Standing(standing) = std::mem::replace(&mut self.role, Role::Follower) else {
            return;
        };
        let Some((settings, is_unguarded)) = self
            .roster()
            .map(|roster| (roster.settings, roster.is_unguarded()))
        else {
            return;
        };
        for (leader, term, ended) in standing.promised {
            // What this incarnation ran itself is no other's payload.
            if leader == Some(self.id) && term <= self.led {
                continue;
            }
            // The promise ended on another clock, and what ran under it has the stop budget from there.
            let ago_ms = context.now.since(ended).max(0);
            let drift_ms = ago_ms.min(3 * settings.stop_budget_ms) * settings.drift_permille / 1000;
            let until = ended + settings.stretched_ms(settings.stop_budget_ms) + drift_ms;
            if term > self.receipt && until > context.now {
                self.obligations.push(Obligation {
                    leader,
                    term,
                    until,
                    claim_is_over: ended <= context.now && !is_unguarded,
                });
            }
        }
        let from = self.handover.take().map(|handover| handover.from);
        self.led = standing.term;
        self.unanswered_rounds = 0;
        self.promise = None;
        let chosen = std::mem::take(&mut self.chosen);
        self.role = Role::Leading(Box::new(Leading::begin(standing.term, chosen, context.now)));
        context.notify(Notice::Elected {
            term: standing.term,
            from,
        });
        self.recount();
        self.lead(context);
    }
}

fn record(list: &mut Vec<MemberId>, id: MemberId) {
    if !list.contains(&id) {
        list.push(id);
    }
}

#[cfg(test)]
mod tests;
