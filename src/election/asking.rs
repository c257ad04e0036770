//! What people ask of a group through one of its members: a move, the removal of a member, a group rebuilt from what is
//! left. The member asks the leader again and again until that answers.

use std::sync::Arc;

use super::command::{MoveAbort, MoveReason, Notice};
use super::durable::{Durable, Membership};
use super::leading::Seen;
use super::member::{Context, Member, Role};
use super::message::Message;
use super::moving::{Asked, Moving};
use super::obstacle::Obstacle;
use super::roster::{Duty, Roster, Stamp};
use super::types::{GroupId, MemberId, RequestId, Tick};
use super::wish::{Answer, Hindrance, Wish};

/// A leader that does not answer for so many leases is not there.
const PATIENCE_LEASES: i64 = 4;

/// Whoever asked for something does not wait for longer, and is not to be surprised by it hours later.
const PENDING_MAX_MS: i64 = 600_000;

/// Something asked for that is not done yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pending {
    pub request: RequestId,
    pub wish: Wish,
    pub asked_at: Tick,
    pub next_at: Tick,
    /// When the leader last answered, or the wish was uttered.
    pub answered_at: Tick,
    pub under_way: bool,
}

impl Member {
    pub(super) fn on_asked(&mut self, request: RequestId, wish: Wish, context: &mut Context<'_>) {
        if let Some(former) = self.pending.take() {
            context.notify(Notice::AskedEnded {
                request: former.request,
                outcome: Err(Hindrance::Replaced),
            });
        }
        self.pending = Some(Pending {
            request,
            wish,
            asked_at: context.now,
            next_at: context.now,
            answered_at: context.now,
            under_way: false,
        });
    }

    /// Asks again, or sees that it is done.
    pub(super) fn tend_pending(&mut self, context: &mut Context<'_>) {
        let Some(pending) = self.pending else { return };
        let now = context.now;
        if self.is_fulfilled(pending.wish, now) {
            return self.end_pending(Ok(()), context);
        }
        if now < pending.next_at {
            return;
        }
        if pending.answered_at + self.settings().lease_ms * PATIENCE_LEASES <= now {
            let hindrance = match pending.wish {
                // Others stand again and again: they are not gone.
                Wish::Recover => Hindrance::Alive,
                Wish::Move { .. } | Wish::Remove { .. } => Hindrance::NoLeader,
            };
            return self.end_pending(Err(hindrance), context);
        }
        if pending.asked_at + PENDING_MAX_MS <= now {
            return self.end_pending(Err(Hindrance::Overdue), context);
        }
        let round_ms = self.settings().round_ms();
        if let Some(pending) = &mut self.pending {
            pending.next_at = now + round_ms;
        }
        let (request, wish) = (pending.request, pending.wish);
        if wish == Wish::Recover {
            return self.recover(context);
        }
        if let Role::Leading(_) = self.role {
            let answer = self.consider(self.id, request, wish, context);
            self.on_answer(request, answer, context);
        } else if let Some(leader) = self.followed(now) {
            self.send(leader, Message::Request { request, wish }, context.out);
        }
    }

    /// When to look after it again.
    pub(super) fn pending_at(&self) -> Option<Tick> {
        self.pending.map(|pending| pending.next_at)
    }

    /// A member that takes no part any more does nothing that it is asked for.
    pub(super) fn refuse_pending(&mut self, context: &mut Context<'_>) {
        self.end_pending(Err(Hindrance::Faulty), context);
    }

    fn end_pending(&mut self, outcome: Result<(), Hindrance>, context: &mut Context<'_>) {
        if let Some(pending) = self.pending.take() {
            let request = pending.request;
            context.notify(Notice::AskedEnded { request, outcome });
        }
    }

    /// The leader that this member's promise binds it to.
    pub(super) fn followed(&self, now: Tick) -> Option<MemberId> {
        self.promise
            .filter(|promise| promise.until > now)
            .and_then(|promise| promise.leader)
    }

    fn is_fulfilled(&self, wish: Wish, now: Tick) -> bool {
        match wish {
            Wish::Move { to, .. } => match &self.role {
                // A leader has to see to it that nobody takes the lead away again.
                Role::Leading(leading) => to == self.id && leading.serving && self.is_chosen(self.id),
                _ => self.followed(now) == Some(to) && self.is_chosen(to),
            },
            // A follower's roster may be an older one: the leader tells.
            Wish::Remove { member } => {
                let gone = self.roster().is_some_and(|roster| roster.voter(member).is_none());
                gone && self.is_roster_agreed()
            }
            Wish::Recover => self.is_only_voter(),
        }
    }

    pub(super) fn is_chosen(&self, id: MemberId) -> bool {
        self.roster().is_some_and(|roster| roster.chosen == Some(id))
    }

    pub(super) fn on_answer(&mut self, request: RequestId, answer: Answer, context: &mut Context<'_>) {
        let now = context.now;
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.request == request) else {
            return;
        };
        pending.answered_at = now;
        match answer {
            Answer::UnderWay => {
                if !std::mem::replace(&mut pending.under_way, true) {
                    context.notify(Notice::AskedUnderWay { request });
                }
            }
            Answer::Done => self.end_pending(Ok(()), context),
            Answer::Refused { hindrance } => self.end_pending(Err(hindrance), context),
        }
    }

    // === as the leader ===

    pub(super) fn on_request(
        &mut self,
        from: MemberId,
        request: RequestId,
        wish: Wish,
        context: &mut Context<'_>,
    ) {
        if let Role::Leading(_) = self.role {
            let answer = self.consider(from, request, wish, context);
            self.send(from, Message::Answer { request, answer }, context.out);
        }
    }

    fn consider(
        &mut self,
        by: MemberId,
        request: RequestId,
        wish: Wish,
        context: &mut Context<'_>,
    ) -> Answer {
        let Role::Leading(leading) = &self.role else {
            return Answer::UnderWay;
        };
        // A move that was given up is not begun again because the answer was lost.
        if let Some((refused, hindrance)) = leading.refused
            && refused == request
        {
            return Answer::Refused { hindrance };
        }
        let unsettled = leading.moving.is_some() || self.claim.is_none() || self.resignation.is_some();
        let considered = match wish {
            _ if unsettled => Ok(Answer::UnderWay),
            Wish::Move { to, .. } if to == self.id => Ok(self.stay(context)),
            Wish::Move { to, force } => self.move_to(to, Asked { by, request, force }, context),
            Wish::Remove { member } => self.remove(member, context),
            Wish::Recover => Err(Hindrance::Leads),
        };
        considered.unwrap_or_else(|hindrance| Answer::Refused { hindrance })
    }

    /// The leader is asked to lead: it does, and from now on whatever the others' ranks are.
    fn stay(&mut self, context: &mut Context<'_>) -> Answer {
        if self.is_chosen(self.id) {
            return Answer::Done;
        }
        if let Role::Leading(leading) = &mut self.role {
            leading.chosen = true;
        }
        self.tend_roster(context);
        Answer::UnderWay
    }

    fn move_to(
        &mut self,
        to: MemberId,
        asked: Asked,
        context: &mut Context<'_>,
    ) -> Result<Answer, Hindrance> {
        if self.config.paused {
            return Err(Hindrance::LeaderPaused);
        }
        let Role::Leading(leading) = &self.role else {
            return Ok(Answer::UnderWay);
        };
        let settled = leading.serving && self.is_roster_agreed();
        match self.readiness(to, asked.force, context.now) {
            Err(Hindrance::Behind) => return Ok(Answer::UnderWay),
            // A leader that has just begun has yet to see who is there.
            Err(Hindrance::Silent) if leading.seen(to).is_none() && !self.is_seasoned(context.now) => {
                return Ok(Answer::UnderWay);
            }
            Err(hindrance) => return Err(hindrance),
            Ok(()) if !settled => return Ok(Answer::UnderWay),
            Ok(()) => {}
        }
        let moving = Moving {
            to: Some(to),
            since: context.now,
            reason: MoveReason::Asked,
            asked: Some(asked),
        };
        self.start_move(moving, context);
        Ok(Answer::UnderWay)
    }

    /// Whether that voter could take over now, or why not.
    pub(super) fn readiness(&self, id: MemberId, force: bool, now: Tick) -> Result<(), Hindrance> {
        let (Role::Leading(leading), Some(roster)) = (&self.role, self.roster()) else {
            return Err(Hindrance::NoLeader);
        };
        let voter = roster.voter(id).ok_or(Hindrance::NotAVoter)?;
        if voter.profile.duty == Duty::Witness {
            let obstacle = Obstacle::Witness;
            return Err(Hindrance::Obstacle { obstacle });
        }
        let fresh_since = now - roster.settings.round_ms();
        let heard = |seen: &&Seen| seen.acknowledged_at >= fresh_since;
        let seen = leading.seen(id).filter(heard).ok_or(Hindrance::Silent)?;
        let leaves = leading.leavers.contains(&id).then_some(Obstacle::Leaving);
        match leaves.or(seen.obstacle) {
            Some(obstacle) if !(force && obstacle.yields_to_force()) => Err(Hindrance::Obstacle { obstacle }),
            _ if seen.stamp != roster.stamp => Err(Hindrance::Behind),
            _ => Ok(()),
        }
    }

    /// Whether this leader has led for long enough to have heard all that are there.
    fn is_seasoned(&self, now: Tick) -> bool {
        matches!(&self.role, Role::Leading(leading) if now.since(leading.since) >= self.settings().lease_ms)
    }

    fn remove(&mut self, member: MemberId, context: &mut Context<'_>) -> Result<Answer, Hindrance> {
        let now = context.now;
        let (Role::Leading(leading), Some(roster)) = (&self.role, self.roster()) else {
            return Ok(Answer::UnderWay);
        };
        if member == self.id {
            return Err(Hindrance::Leads);
        }
        if roster.voter(member).is_none() {
            return Ok(if self.is_roster_agreed() {
                Answer::Done
            } else {
                Answer::UnderWay
            });
        }
        let heard_at = leading
            .seen(member)
            .map_or(leading.since, |seen| seen.acknowledged_at);
        if now.since(heard_at) < roster.settings.lease_ms {
            // A leader that has just begun has yet to see who is there.
            let is_young = leading.seen(member).is_none();
            return if is_young {
                Ok(Answer::UnderWay)
            } else {
                Err(Hindrance::Alive)
            };
        }
        let next = roster.without(member, leading.term);
        // A person has made sure that it leads alone no more, for which its acknowledgement would be waited for.
        let agreed = self.is_roster_agreed_but_for(Some(member));
        if agreed && now >= self.not_before && self.could_be_agreed(&next, None, now) {
            self.write_roster(next, context);
        }
        Ok(Answer::UnderWay)
    }

    /// A move that was asked for is given up.
    pub(super) fn refuse_move(&mut self, asked: Asked, reason: MoveAbort, context: &mut Context<'_>) {
        let hindrance = match reason {
            MoveAbort::PayloadStuck => Hindrance::PayloadStuck,
            MoveAbort::SuccessorLost => Hindrance::SuccessorLost,
        };
        let request = asked.request;
        if let Role::Leading(leading) = &mut self.role {
            leading.refused = Some((request, hindrance));
        }
        let answer = Answer::Refused { hindrance };
        if asked.by == self.id {
            self.on_answer(request, answer, context);
        } else {
            self.send(asked.by, Message::Answer { request, answer }, context.out);
        }
    }

    // === what is left ===

    /// Begins a new group with this member alone. The group's other members know nothing of it: should one come back, it
    /// is another group with the same callsign, and both say so.
    fn recover(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        // The number of this start comes first: without it another start could have the same.
        if let Role::Starting = self.role {
            return;
        }
        let hindrance = match (&self.role, self.roster()) {
            (_, None) => Some(Hindrance::NotAVoter),
            (Role::Leading(_), _) => Some(Hindrance::Leads),
            _ if self.followed(now).is_some() => Some(Hindrance::Leads),
            _ if self.is_witness() => Some(Hindrance::Obstacle {
                obstacle: Obstacle::Witness,
            }),
            _ => None,
        };
        if let Some(hindrance) = hindrance {
            return self.end_pending(Err(hindrance), context);
        }
        let Some(roster) = self.shared_roster() else {
            return;
        };
        let Some(own) = roster.voter(self.id).cloned() else {
            return self.end_pending(Err(Hindrance::NotAVoter), context);
        };
        // A leader that is there is heard within a lease, and so is one that is being elected within a round more. Until
        // then it is open whether the group is lost; a start has heard nobody yet.
        let bound = self.promise.is_some_and(|promise| promise.until > now);
        let quiet_at = self.rival_heard_at + self.settings().lease_ms + self.settings().round_ms();
        if bound || now < quiet_at {
            return;
        }
        let term = self.term_above(self.durable.term);
        let high = u128::from(context.rng.next_u64());
        let id = GroupId(high << 64 | u128::from(context.rng.next_u64()));
        let roster = Roster {
            stamp: Stamp {
                term,
                version: roster.stamp.version + 1,
            },
            voters: vec![own],
            chosen: None,
            ..(*roster).clone()
        };
        let next = Durable {
            term,
            vote: None,
            group: Some(Membership {
                id,
                roster: Arc::new(roster),
            }),
            ..self.durable.clone()
        };
        self.stage(next, context.out);
    }
}

#[cfg(test)]
mod tests;
