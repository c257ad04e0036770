//! Planned moves: stop, confirm stopped, hand over. The sender's claim ends with the handover, irrevocably.

use super::command::{MoveAbort, MoveReason, Notice, StepDown};
use super::durable::Durable;
use super::leading::Seen;
use super::member::{Context, Member, Role};
use super::message::Message;
use super::obstacle::{Fitness, Obstacle};
use super::roster::{Duty, Voter};
use super::settings::Preemption;
use super::types::{MemberId, RequestId, Term, Tick};
use super::wish::Hindrance;

/// After a move that was given up, the member does not try again of itself for this long, and for twice as long each
/// time: every attempt takes the payload down for as long as it may be stopping.
const RETRY_AFTER_MS: i64 = 60_000;
/// About an hour.
const DOUBLINGS_MAX: u32 = 6;

/// A move under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Moving {
    /// The successor, if there is one.
    pub to: Option<MemberId>,
    pub since: Tick,
    pub reason: MoveReason,
    /// Who asked for it, if a person did.
    pub asked: Option<Asked>,
}

/// A move that a person asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    /// Through which member.
    pub by: MemberId,
    pub request: RequestId,
    pub force: bool,
}

impl Moving {
    /// Whether it is given up when the payload takes too long to stop.
    fn may_be_given_up(&self) -> bool {
        match self.reason {
            MoveReason::Preemption | MoveReason::Unfit | MoveReason::Witness => true,
            MoveReason::Asked => self.asked.is_none_or(|asked| !asked.force),
            MoveReason::Leaving | MoveReason::Exiting => false,
        }
    }
}

impl Member {
    /// Begins a move if one is called for, and gives one up that takes too long.
    pub(super) fn tend_moves(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        let resignation = self.resignation_reason();
        if resignation.is_some() && self.is_roster_agreed() {
            // Nobody else would tell them.
            self.bid_farewell(context);
        }
        if resignation == Some(MoveReason::Leaving) && self.dismiss_witness(context) {
            return;
        }
        let Role::Leading(leading) = &self.role else {
            return;
        };
        if let Some(moving) = leading.moving {
            if resignation == Some(MoveReason::Leaving) && self.waits_for_leavers(now) {
                return self.let_leavers_go_first(context);
            }
            if self.payload_gone && moving.to.is_none() {
                return self.hand_over(context);
            }
            self.write_vote_for_successor(context);
            let overdue = moving.since + self.config.stop_timeout_ms <= now;
            if resignation.is_some() {
                return;
            }
            if overdue && moving.may_be_given_up() {
                self.abort_move(MoveAbort::PayloadStuck, context);
            } else if moving.asked.is_some() && moving.to.is_some_and(|to| self.is_silent(to, now)) {
                // Whom a person asked for cannot be replaced by another, however long the payload may be stopping.
                self.abort_move(MoveAbort::SuccessorLost, context);
            }
            return;
        }
        if let Some(reason) = resignation {
            let to = self.successor(now, None);
            // A successor needs the newest roster; a leader that has just begun waits a round until one holds it.
            let young = leading.since + self.settings().round_ms() > now && self.claim.is_some();
            if young && (to.is_none() || self.staged.is_some()) {
                return;
            }
            let waits = reason == MoveReason::Leaving && self.waits_for_leavers(now);
            if leading.serving || waits {
                self.start_move(
                    Moving {
                        to,
                        since: now,
                        reason,
                        asked: None,
                    },
                    context,
                );
            } else {
                self.claim = None;
                self.step_down(StepDown::HandedOver, context);
            }
            return;
        }
        let settled = leading.serving && leading.no_move_before <= now && self.is_roster_agreed();
        // A successor that holds older ranks than this leader would hand the lead straight back.
        if !settled || self.roster_wished().is_some() {
            return;
        }
        let reason = match self.fitness {
            _ if self.is_witness() => MoveReason::Witness,
            Fitness::Unfit => MoveReason::Unfit,
            Fitness::Fit | Fitness::CutOff => MoveReason::Preemption,
        };
        if self.config.paused {
            return;
        }
        if let Some(to) = self.successor_for(reason, now) {
            let moving = Moving {
                to: Some(to),
                since: now,
                reason,
                asked: None,
            };
            self.start_move(moving, context);
        }
    }

    /// Whether witnesses are all that would be left, and are taken out of the roster first, one at a time: a group that
    /// nobody can lead any more would keep them from joining the next one.
    fn dismiss_witness(&mut self, context: &mut Context<'_>) -> bool {
        let (Role::Leading(leading), Some(roster)) = (&self.role, self.roster()) else {
            return false;
        };
        if leading.moving.is_some_and(|moving| moving.to.is_some()) {
            return false;
        }
        let others = || roster.voters.iter().filter(|voter| voter.id != self.id);
        if others().any(|voter| voter.profile.duty == Duty::Candidate) {
            return false;
        }
        // Which of them is gone may decide whether the others can agree.
        let mut rosters = others().map(|witness| roster.without(witness.id, leading.term));
        let Some(next) = rosters.find(|next| self.could_be_agreed(next, None, context.now)) else {
            return false;
        };
        if self.is_roster_agreed() {
            self.write_roster(next, context);
        }
        true
    }

    /// Whether nobody could take over because all that might are leaving too: who leads lets them go first, and the
    /// witnesses after them, since a group without a leader lets nobody go. Those that do not get away within two leases
    /// never will.
    fn waits_for_leavers(&self, now: Tick) -> bool {
        let (Role::Leading(leading), Some(roster)) = (&self.role, self.roster()) else {
            return false;
        };
        let lease_ms = roster.settings.lease_ms;
        let in_time = self
            .leaving_since
            .is_some_and(|since| now.since(since) < 2 * lease_ms);
        let leaves = |seen: &Seen| {
            let says_so = seen.obstacle == Some(Obstacle::Leaving) || leading.leavers.contains(&seen.id);
            says_so && now.since(seen.acknowledged_at) < lease_ms
        };
        // One that has just been elected does not know yet who leaves.
        let is_new = now.since(leading.since) < lease_ms;
        let unheard = is_new
            && roster
                .voters
                .iter()
                .any(|voter| voter.id != self.id && leading.seen(voter.id).is_none());
        let waits = unheard || leading.voters.iter().any(leaves);
        in_time && waits && self.successor(now, None).is_none()
    }

    fn let_leavers_go_first(&mut self, context: &mut Context<'_>) {
        if let Role::Leading(leading) = &mut self.role
            && let Some(moving) = &mut leading.moving
        {
            moving.to = None;
        }
        self.dismiss_witness(context);
    }

    /// To whom a move for this reason goes.
    fn successor_for(&self, reason: MoveReason, now: Tick) -> Option<MemberId> {
        match reason {
            MoveReason::Preemption => self.preferred(now),
            MoveReason::Unfit | MoveReason::Leaving | MoveReason::Exiting => self.successor(now, None),
            MoveReason::Witness => self.successor_of_witness(now),
            MoveReason::Asked => None,
        }
    }

    /// A voter that is to lead in this leader's place for its rank alone.
    fn preferred(&self, now: Tick) -> Option<MemberId> {
        let Preemption::Always { after_ms } = self.settings().preemption else {
            return None;
        };
        let (Role::Leading(leading), Some(roster)) = (&self.role, self.roster()) else {
            return None;
        };
        let rank = self.config.profile.rank;
        if leading.tally.is_topped_by(rank, roster) || leading.chosen || self.is_chosen(self.id) {
            return None;
        }
        let able_for = |id: &MemberId| {
            let since = leading.seen(*id).and_then(|seen| seen.able_since);
            since.is_some_and(|since| now.since(since) >= after_ms)
        };
        self.successor(now, Some(rank)).filter(able_for)
    }

    /// To whom a leader hands over that is a witness now. It has just written that into the roster, and waits for the
    /// preferred one to hold that.
    fn successor_of_witness(&self, now: Tick) -> Option<MemberId> {
        let roster = self.roster()?;
        let may_lead = |voter: &&Voter| voter.id != self.id && voter.profile.duty == Duty::Candidate;
        let others = roster.voters.iter().filter(may_lead);
        let heard = others.map(|voter| (voter, self.readiness(voter.id, false, now)));
        let possible = heard.filter(|(_, readiness)| matches!(readiness, Ok(()) | Err(Hindrance::Behind)));
        let (first, readiness) = possible.max_by_key(|(voter, _)| roster.preference(voter))?;
        readiness.is_ok().then_some(first.id)
    }

    pub(super) fn start_move(&mut self, moving: Moving, context: &mut Context<'_>) {
        if let Some(to) = moving.to {
            context.notify(Notice::MoveStarted {
                to,
                reason: moving.reason,
            });
        }
        if let Role::Leading(leading) = &mut self.role {
            leading.moving = Some(moving);
        }
        self.write_vote_for_successor(context);
    }

    /// While the payload stops there is time to make the vote for the successor durable: it goes with the handover, and
    /// nobody hears of it before. Until then the leader leads on in its term, also if the move is given up.
    fn write_vote_for_successor(&mut self, context: &mut Context<'_>) {
        let Role::Leading(leading) = &self.role else {
            return;
        };
        let (Some(Moving { to: Some(to), .. }), Some(roster)) = (leading.moving, self.roster()) else {
            return;
        };
        // One that may lead alone needs no vote but its own.
        if roster.need() == 1 || self.vote_for_successor(to).is_some() || self.persist_failed {
            return;
        }
        let next = Durable {
            term: self.term_above(self.durable.term),
            vote: Some(to),
            ..self.durable.clone()
        };
        self.stage(next, context.out);
    }

    /// The term in which this leader has voted for its successor.
    fn vote_for_successor(&self, successor: MemberId) -> Option<Term> {
        let Role::Leading(leading) = &self.role else {
            return None;
        };
        let voted = self.durable.vote == Some(successor) && self.durable.term > leading.term;
        voted.then_some(self.durable.term)
    }

    /// Whether a voter has not been heard for a lease.
    fn is_silent(&self, id: MemberId, now: Tick) -> bool {
        let Role::Leading(leading) = &self.role else {
            return false;
        };
        let heard = leading
            .seen(id)
            .map_or(leading.since, |seen| seen.acknowledged_at);
        now.since(heard) >= self.settings().lease_ms
    }

    fn abort_move(&mut self, reason: MoveAbort, context: &mut Context<'_>) {
        let Role::Leading(leading) = &mut self.role else {
            return;
        };
        let Some(moving) = leading.moving.take() else {
            return;
        };
        leading.no_move_before = context.now + (RETRY_AFTER_MS << leading.moves_aborted.min(DOUBLINGS_MAX));
        leading.moves_aborted = leading.moves_aborted.saturating_add(1);
        if let Some(to) = moving.to {
            context.notify(Notice::MoveAborted { to, reason });
        }
        if let Some(asked) = moving.asked {
            self.refuse_move(asked, reason, context);
        }
    }

    /// The preferred voter that could lead and was heard lately; if a rank is given, of those above it.
    fn successor(&self, now: Tick, below: Option<i64>) -> Option<MemberId> {
        let (Role::Leading(leading), Some(roster)) = (&self.role, self.roster()) else {
            return None;
        };
        let as_told = leading.tally.agrees_with(roster);
        let is_ready = |voter: &&Voter| {
            let above = |rank: i64| {
                let seen = || leading.seen(voter.id);
                // Where no voter says otherwise the roster tells their ranks.
                !(as_told && voter.profile.rank <= rank)
                    && seen().is_some_and(|seen| seen.profile.rank > rank)
            };
            voter.id != self.id
                && voter.profile.duty == Duty::Candidate
                && below.is_none_or(above)
                && self.readiness(voter.id, false, now).is_ok()
        };
        let ready = roster.voters.iter().filter(is_ready);
        ready
            .max_by_key(|voter| roster.preference(voter))
            .map(|voter| voter.id)
    }

    /// The payload is gone: names the successor and resigns.
    pub(super) fn hand_over(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        let Role::Leading(leading) = &self.role else {
            return;
        };
        let Some(moving) = leading.moving else { return };
        if !self.obligations.is_empty() {
            // What it waits for itself is nothing that it can say is gone: whoever leads next waits for it, too.
            self.claim = None;
            return self.step_down(StepDown::HandedOver, context);
        }
        let (term, since) = (leading.term, leading.since);
        let successor = match moving.asked {
            Some(asked) => moving
                .to
                .filter(|to| self.readiness(*to, asked.force, now).is_ok()),
            None => self.successor_for(moving.reason, now),
        };
        let leaves = matches!(moving.reason, MoveReason::Leaving | MoveReason::Exiting);
        if moving.reason == MoveReason::Leaving && self.waits_for_leavers(now) {
            return self.let_leavers_go_first(context);
        }
        if successor.is_none() && !leaves {
            return self.abort_move(MoveAbort::SuccessorLost, context);
        }
        if moving.reason == MoveReason::Unfit {
            self.penalize(since, now);
        }
        let chosen = moving.reason == MoveReason::Asked;
        let vote = successor.and_then(|to| self.vote_for_successor(to));
        self.receipt = self.receipt.max(term);
        self.claim = None;
        self.promise = None;
        self.not_before = now + self.settings().lease_ms;
        for id in self.others() {
            let message = if Some(id) == successor {
                Message::Handover { term, vote, chosen }
            } else {
                Message::Stopped { term }
            };
            self.send(id, message, context.out);
        }
        self.step_down(StepDown::HandedOver, context);
    }
}

#[cfg(test)]
mod tests;
