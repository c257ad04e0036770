//! Planned moves: stop, confirm stopped, hand over. The sender's claim ends with the handover, irrevocably.

use super::command::{MoveAbort, MoveReason, Notice, StepDown};
use super::durable::Durable;
use super::member::{Context, Member, Role};
use super::message::Message;
use super::types::{MemberId, Term, Tick};

/// For how long a payload may be stopping before a move for preference's sake is given up: Kubernetes' default
/// termination grace period.
const STOP_TIMEOUT_MS: i64 = 30_000;

/// After a move that was given up, preference is not tried again for this long, and for twice as long each time: every
/// attempt takes the payload down for as long as it may be stopping.
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
}

impl Member {
    /// Begins a move if one is called for, and gives one up that takes too long.
    pub(super) fn tend_moves(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        let resignation = self.resignation_reason();
        let Role::Leading(leading) = &self.role else {
            return;
        };
        if let Some(moving) = leading.moving {
            self.write_vote_for_successor(context);
            let overdue = moving.reason == MoveReason::Preemption && moving.since + STOP_TIMEOUT_MS <= now;
            if overdue && resignation.is_none() {
                self.abort_move(MoveAbort::PayloadStuck, context);
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
            if leading.serving {
                self.start_move(
                    Moving {
                        to,
                        since: now,
                        reason,
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
        if let Some(to) = self.successor(now, Some(self.config.profile.rank)) {
            let moving = Moving {
                to: Some(to),
                since: now,
                reason: MoveReason::Preemption,
            };
            self.start_move(moving, context);
        }
    }

    fn start_move(&mut self, moving: Moving, context: &mut Context<'_>) {
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

    fn abort_move(&mut self, reason: MoveAbort, context: &mut Context<'_>) {
        let Role::Leading(leading) = &mut self.role else {
            return;
        };
        leading.no_move_before = context.now + (RETRY_AFTER_MS << leading.moves_aborted.min(DOUBLINGS_MAX));
        leading.moves_aborted = leading.moves_aborted.saturating_add(1);
        if let Some(Moving { to: Some(to), .. }) = leading.moving.take() {
            context.notify(Notice::MoveAborted { to, reason });
        }
    }

    /// The preferred voter that could lead and was heard lately; if a rank is given, of those above it.
    fn successor(&self, now: Tick, below: Option<i64>) -> Option<MemberId> {
        let Role::Leading(leading) = &self.role else {
            return None;
        };
        let roster = self.roster()?;
        let fresh_since = now - roster.settings.round_ms();
        let ready = |id| {
            leading.seen(id).is_some_and(|seen| {
                seen.eligible
                    && below.is_none_or(|rank| seen.profile.rank > rank)
                    && seen.acknowledged_at >= fresh_since
                    && seen.stamp == roster.stamp
            })
        };
        let mut candidates = roster
            .by_preference()
            .into_iter()
            .filter(|voter| voter.id != self.id);
        candidates.find(|voter| ready(voter.id)).map(|voter| voter.id)
    }

    /// The payload is gone: names the successor and resigns.
    pub(super) fn hand_over(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        let Role::Leading(leading) = &self.role else {
            return;
        };
        let Some(moving) = leading.moving else { return };
        let term = leading.term;
        let below = match moving.reason {
            MoveReason::Preemption => Some(self.config.profile.rank),
            MoveReason::Leaving | MoveReason::Exiting => None,
        };
        let successor = self.successor(now, below);
        if successor.is_none() && moving.reason == MoveReason::Preemption {
            return self.abort_move(MoveAbort::SuccessorLost, context);
        }
        let vote = successor.and_then(|to| self.vote_for_successor(to));
        self.receipt = self.receipt.max(term);
        self.claim = None;
        self.promise = None;
        self.not_before = now + self.settings().lease_ms;
        for id in self.others() {
            let message = if Some(id) == successor {
                Message::Handover { term, vote }
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
