//! A follower: it acknowledges the leader, and stands when no leader is left.

use std::sync::Arc;

use super::command::{Notice, StepDown};
use super::durable::{Durable, Membership};
use super::member::{Context, Heard, Member, Promise, Resignation, Role};
use super::message::{Handover, Message};
use super::obstacle::Obstacle;
use super::roster::{Roster, Voter};
use super::types::{GroupId, MemberId, Term, Tick};

impl Member {
    pub(super) fn follow_leader(
        &mut self,
        from: MemberId,
        (term, sequence): (Term, u64),
        roster: Option<Arc<Roster>>,
        context: &mut Context<'_>,
    ) {
        if term < self.durable.term {
            // The refusal tells the sender that a higher term is known. It names no heartbeat: the sender may lead in that
            // term by now, and would take it for the acknowledgement of another one, which was never promised anything.
            let heard = Heard {
                leader: from,
                term,
                sequence: 0,
                at: context.now,
            };
            return self.acknowledge(&heard, context);
        }
        // The sender has said since that it leads in this term no longer.
        if term <= self.receipt {
            return;
        }
        if !matches!(self.role, Role::Follower) {
            self.become_follower(context);
        }
        (self.claim, self.spared_until) = (None, None);
        self.unanswered_rounds = 0;
        if self
            .promise
            .is_none_or(|promise| (promise.leader, promise.term) != (Some(from), term))
        {
            context.notify(Notice::Following { leader: from, term });
        }
        (self.handover, self.vote_in_hand, self.chosen) = (None, None, false);
        self.promise_to(from, term, context.now);
        self.heard = Some(Heard {
            leader: from,
            term,
            sequence,
            at: context.now,
        });
        let newer = roster.filter(|new| self.roster().is_some_and(|own| new.stamp > own.stamp));
        if term > self.durable.term || newer.is_some() {
            let next = self.remembering(term, self.group().zip(newer));
            self.stage(next, context.out);
        }
        self.acknowledge_again(context);
    }

    /// The memory with this term, and with this roster if one is given.
    pub(super) fn remembering(&self, term: Term, roster: Option<(GroupId, Arc<Roster>)>) -> Durable {
        let mut next = self.durable.clone();
        if term > next.term {
            next.term = term;
            next.vote = None;
        }
        if let Some((id, roster)) = roster {
            next.group = Some(Membership { id, roster });
        }
        next
    }

    pub(super) fn promise_to(&mut self, leader: MemberId, term: Term, received_at: Tick) {
        let until = received_at + self.settings().lease_ms;
        let until = self.promise.map_or(until, |promise| promise.until.max(until));
        self.promise = Some(Promise {
            leader: Some(leader),
            term,
            until,
        });
    }

    /// Acknowledges the last heartbeat once its term is durable. The roster that it brought may come later: the
    /// acknowledgement tells which one is held, and a slow API server must not cost the leader its claim.
    pub(super) fn acknowledge_again(&mut self, context: &mut Context<'_>) {
        let Some(heard) = self.heard.clone() else {
            return;
        };
        if heard.term == self.durable.term && matches!(self.role, Role::Follower) {
            // The promise is for the lease of the roster that is durable now, from the heartbeat's arrival.
            self.promise_to(heard.leader, heard.term, heard.at);
            self.acknowledge(&heard, context);
        }
    }

    fn acknowledge(&self, heard: &Heard, context: &mut Context<'_>) {
        let Some(roster) = self.roster() else { return };
        let message = Message::Ack {
            term: self.durable.term,
            sequence: heard.sequence,
            stamp: roster.stamp,
            lease_ms: roster.settings.lease_ms,
            obstacle: self.obstacle(context.now),
            profile: self.config.profile.clone(),
            receipt: self.receipt,
        };
        self.send(heard.leader, message, context.out);
    }

    pub(super) fn on_handover(
        &mut self,
        from: MemberId,
        term: Term,
        (vote, chosen): (Option<Term>, bool),
        context: &mut Context<'_>,
    ) {
        let current = self
            .promise
            .is_some_and(|p| p.leader == Some(from) && p.term == term);
        // A person who asked for this member may have done so in spite of what speaks against it. One that is leaving itself,
        // which crossed this message, leads for as long as it takes to let the others go first.
        let able = self
            .obstacle(context.now)
            .is_none_or(|obstacle| obstacle == Obstacle::Leaving || chosen && obstacle.yields_to_force());
        if !current || term != self.durable.term || !able {
            return;
        }
        self.receipt = self.receipt.max(term);
        self.promise = None;
        self.heard = None;
        self.handover = Some(Handover { from, term });
        self.vote_in_hand = vote.map(|term| (from, term));
        self.chosen = chosen;
        self.not_before = context.now;
        self.begin_campaign(context);
    }

    pub(super) fn on_stopped(&mut self, from: MemberId, term: Term, context: &mut Context<'_>) {
        self.receipt = self.receipt.max(term);
        if self
            .promise
            .is_some_and(|p| p.leader == Some(from) && p.term <= term)
        {
            self.promise = None;
            self.heard = None;
            // Whoever the leader named as its successor goes first.
            self.not_before = self.not_before.max(context.now + self.settings().round_ms());
        }
    }

    pub(super) fn follow(&mut self, context: &mut Context<'_>) {
        if self.dissolving {
            return self.dissolve(context);
        }
        self.look_for_other_groups(context);
        if self.persist_failed {
            // A member that cannot persist does not vote, least of all for itself.
            return self.tend_leaving(context);
        }
        self.tend_leaving(context);
        let Some(stand_at) = self.stand_at().filter(|at| *at <= context.now) else {
            return;
        };
        let late_ms = context.now.since(stand_at);
        // A member whose own timers ran late doubts itself first: what it missed may be waiting to be read.
        if late_ms > self.settings().heartbeat_ms && !self.is_only_voter() {
            self.not_before = context.now + self.settings().round_ms();
            return;
        }
        self.begin_campaign(context);
    }

    /// A voter that is to leave asks the leader, or everybody where it does not know who leads.
    fn tend_leaving(&mut self, context: &mut Context<'_>) {
        if self.resignation != Some(Resignation::Leaving) || context.now < self.next_leave {
            return;
        }
        self.next_leave = context.now + self.settings().round_ms();
        match self
            .promise
            .filter(|promise| promise.until > context.now)
            .and_then(|promise| promise.leader)
            .filter(|leader| *leader != self.id)
        {
            Some(leader) => self.send(leader, Message::Leave, context.out),
            None => {
                for id in self.others() {
                    self.send(id, Message::Leave, context.out);
                }
            }
        }
    }

    pub(super) fn on_left(&mut self, context: &mut Context<'_>) {
        if self.resignation == Some(Resignation::Leaving) {
            self.left = self.payload_gone;
        } else if self.claim.is_none() {
            context.notify(Notice::Dropped);
            self.give_up_group(None, StepDown::Superseded, context);
        }
    }

    /// When a follower stands, if no leader is heard before.
    fn stand_at(&self) -> Option<Tick> {
        if self.resignation.is_some() || self.dissolving {
            return None;
        }
        if !self.may_stand() && !self.chosen && self.spared_until.is_none() {
            return None;
        }
        let roster = self.roster()?;
        if self.is_only_voter() || self.handover.is_some() || self.spared_until.is_some() {
            return Some(self.not_before);
        }
        // The preferred one of those that are left goes first, the others a heartbeat apart.
        let silent = self
            .promise
            .and_then(|promise| promise.leader)
            .filter(|leader| *leader != self.id);
        let may_lead = |voter: &&Voter| voter.profile.duty.is_candidate();
        let own = roster.voter(self.id).filter(may_lead);
        let own = own.map(|voter| roster.preference(voter));
        let goes_first =
            |voter: &&Voter| Some(voter.id) != silent && own.is_none_or(|own| roster.preference(voter) > own);
        let position = roster.voters.iter().filter(may_lead).filter(goes_first).count();
        // However many are preferred, a group is not to be without a leader for long because they are all gone.
        let delay_ms = i64::try_from(position)
            .unwrap_or(i64::MAX)
            .saturating_mul(roster.settings.heartbeat_ms)
            .min(roster.settings.lease_ms);
        let from = self
            .promise
            .map_or(self.not_before, |promise| promise.until.max(self.not_before));
        Some(from + delay_ms + self.jitter_ms)
    }

    pub(super) fn follow_at(&self) -> Option<Tick> {
        if self.dissolving {
            return (self.payload_gone && self.staged.is_none()).then_some(self.not_before);
        }
        let leave = (self.resignation == Some(Resignation::Leaving)).then_some(self.next_leave);
        let retry = (self.persist_failed && self.staged.is_none()).then_some(self.not_before);
        // While a write is under way no election can begin; its end makes the member look again.
        let stand = if self.staged.is_none() && !self.persist_failed {
            self.stand_at()
        } else {
            None
        };
        [leave, retry, stand, self.look_at()].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests;
