//! What a member does with a message: it finds the rule for it.

use std::cmp::Ordering;
use std::sync::Arc;

use super::command::{Fault, Notice, StepDown};
use super::durable::Durable;
use super::event::Received;
use super::leading::Acknowledgement;
use super::member::{Context, Member, Role, Start};
use super::message::Message;
use super::roster::{Roster, Stamp};
use super::standing::Refused;
use super::types::{GroupId, MemberId, MemoryId, TERMS_AHEAD_MAX, Term};

/// Whether a message speaks for the vote that its sender was admitted with.
fn counts_as_voter(message: &Message) -> bool {
    matches!(
        message,
        Message::PreVoted { .. }
            | Message::Voted { .. }
            | Message::Ack { .. }
            | Message::Handover { .. }
            | Message::Stopped { .. }
            | Message::Leave
            | Message::Request { .. }
            | Message::Answer { .. }
    )
}

impl Member {
    pub(super) fn on_received(&mut self, received: Received, context: &mut Context<'_>) {
        let Received {
            from,
            memory,
            incarnation,
            recalled,
            version,
            group,
            message,
        } = received;
        // Nothing may be answered before the incarnation is durable.
        if matches!(self.role, Role::Starting) {
            return;
        }
        if from == self.id {
            return self.on_own(message, context);
        }
        let is_forged = message.highest_term() > self.durable.term.saturating_add(TERMS_AHEAD_MAX);
        if is_forged && self.group().is_some() {
            return;
        }
        let voter = self.roster().and_then(|roster| roster.voter(from));
        if let Some(voter) = voter.filter(|voter| voter.memory == memory) {
            let start = Start {
                id: voter.id,
                memory,
                incarnation,
                recalled,
                version,
            };
            if let Some((incarnation, version)) = self.forgotten_by(start) {
                let outdated = Message::Outdated { incarnation, version };
                return self.send(from, outdated, context.out);
            }
        } else if voter.is_some() && counts_as_voter(&message) {
            // It lost its memory of votes since it was admitted, or was admitted anew by a roster that is yet to come.
            return;
        }
        let leads_or_stands = matches!(
            message,
            Message::Heartbeat { .. } | Message::PreVote { .. } | Message::Vote { .. }
        );
        if leads_or_stands && group.is_some() && group == self.group() {
            self.rival_heard_at = context.now;
        }
        match message {
            Message::Probe { founder, asked } => self.on_probe(from, group, founder, asked, context),
            Message::NoGroup {
                founder,
                asked,
                yields,
            } => self.on_no_group(from, &founder, asked, yields, context),
            Message::InGroup {
                leader_address,
                peak,
                rank,
            } => {
                self.on_in_group(from, group, leader_address, (peak, rank), context);
            }
            Message::Refused { refusal } => self.on_refused(from, refusal, context.now),
            // What came before the group that it remembers may have been forgotten too.
            Message::Outdated { incarnation, version } => self.on_outdated(incarnation, version, context),
            Message::Heartbeat {
                term,
                sequence,
                roster,
                ..
            } if self.group().is_none() => {
                self.on_admitted(from, group, (term, sequence), roster, context);
            }
            message if group.is_none() || group != self.group() => {
                self.on_foreign(group, &message, context);
            }
            Message::PreVote { term, stamp } => self.on_pre_vote(from, term, stamp, context),
            Message::PreVoted {
                term,
                granted,
                voter_term,
                wait_ms,
                roster,
            } => {
                let refused = Refused {
                    voter_term,
                    wait_ms,
                    roster,
                };
                self.on_pre_voted(from, term, granted.then_some(()).ok_or(refused), context);
            }
            Message::Vote {
                term,
                stamp,
                handover,
            } => self.on_vote(from, term, stamp, handover, context),
            Message::Voted {
                term,
                granted,
                voter_term,
                promised,
                receipt,
            } => {
                self.receipt = self.receipt.max(receipt);
                self.on_voted(from, term, granted.then_some(promised).ok_or(voter_term), context);
            }
            Message::Heartbeat {
                term,
                sequence,
                roster,
                ..
            } => {
                self.on_heartbeat(from, (term, sequence), roster, context);
            }
            Message::Ack {
                term,
                sequence,
                stamp,
                lease_ms,
                obstacle,
                profile,
                receipt,
            } => {
                self.receipt = self.receipt.max(receipt);
                let acknowledgement = Acknowledgement {
                    sequence,
                    stamp,
                    lease_ms,
                    obstacle,
                    profile,
                };
                self.on_ack(from, term, acknowledgement, context);
            }
            Message::Handover { term, vote, chosen } => self.on_handover(from, term, (vote, chosen), context),
            Message::Stopped { term } => self.on_stopped(from, term, context),
            Message::Leave => self.on_leave(from, context),
            Message::Left => self.on_left(context),
            Message::NotAVoter {
                stamp,
                leader_address,
            } => self.on_not_a_voter(from, stamp, leader_address, context),
            Message::Request { request, wish } => self.on_request(from, request, wish, context),
            Message::Answer { request, answer } => self.on_answer(request, answer, context),
        }
    }

    /// Where more was heard of the sender than this start of it can remember: the number of the latest start, and the
    /// version that its memory must have had. Only voters are remembered, so that strangers cannot make the list grow.
    fn forgotten_by(&mut self, start: Start) -> Option<(u64, u64)> {
        let known = match self.starts.binary_search_by_key(&start.id, |known| known.id) {
            Ok(at) => &mut self.starts[at],
            Err(at) => {
                self.starts.insert(at, start);
                return None;
            }
        };
        // A release that does not count versions says nothing by them.
        let counts = start.version > 0;
        let remembers = match start.incarnation.cmp(&known.incarnation) {
            _ if known.memory != start.memory => None,
            Ordering::Less => Some(known.recalled),
            // A copy of the memory that an earlier start made may be started with the same number as a later one was.
            Ordering::Equal if counts && start.recalled < known.recalled => Some(known.recalled),
            Ordering::Equal => {
                // Messages may overtake one another.
                known.version = known.version.max(start.version);
                return None;
            }
            Ordering::Greater if counts && start.recalled < known.version => Some(known.version),
            Ordering::Greater => None,
        };
        match remembers {
            Some(version) => Some((known.incarnation, version)),
            None => {
                *known = start;
                None
            }
        }
    }

    /// An address of the fleet turned out to be this member's own, under another name: it does not stand in its way.
    fn on_own(&mut self, message: Message, context: &mut Context<'_>) {
        if let Message::Probe { founder, asked } = message {
            let own = self.id;
            self.on_no_group(own, &founder, asked, true, context);
        }
    }

    /// This member's memory is older than what the others heard of it, and its votes are not to be trusted: it begins a
    /// new one and asks to be admitted anew. If it has a successor instead, the write fails and the process ends.
    fn on_outdated(&mut self, incarnation: u64, version: u64, context: &mut Context<'_>) {
        let remembers = incarnation <= self.durable.incarnation && version <= self.recalled;
        if remembers || self.dissolving {
            return;
        }
        let high = u128::from(context.rng.next_u64());
        let next = Durable {
            memory: MemoryId(high << 64 | u128::from(context.rng.next_u64())),
            vote: None,
            group: None,
            ..self.durable.clone()
        };
        if self.stage(next, context.out) && !matches!(self.role, Role::Outside(_)) {
            self.claim = None;
            self.step_down(StepDown::Superseded, context);
            self.become_follower(context);
        }
    }

    fn on_foreign(&mut self, group: Option<GroupId>, message: &Message, context: &mut Context<'_>) {
        let (Some(group), Some(own), Message::Heartbeat { roster, .. }) = (group, self.roster(), message)
        else {
            return;
        };
        // The leader of another group speaks to this member as its voter. A group of one has nothing to defend; else
        // two groups never merge in silence.
        let theirs = roster.as_ref().map_or(0, |roster| roster.peak);
        if own.peak == 1 && theirs > 1 {
            self.yield_group(None, context);
        } else {
            self.other_group = Some((group, context.now));
        }
    }

    fn on_heartbeat(
        &mut self,
        from: MemberId,
        (term, sequence): (Term, u64),
        roster: Option<Arc<Roster>>,
        context: &mut Context<'_>,
    ) {
        // A person was sure that nobody leads; what is being written cannot be taken back.
        if self.dissolving || self.changes_group() {
            return;
        }
        // A leader that stands again above another's term leads on meanwhile.
        let own = match &self.role {
            Role::Leading(leading) => Some(leading.term),
            Role::Standing(standing) if self.claim.is_some() => Some(standing.term),
            _ => None,
        };
        if let Some(own) = own {
            let alone_here = self.roster().is_some_and(Roster::is_unguarded);
            let alone_there = roster.as_ref().map_or(alone_here, |roster| roster.is_unguarded());
            let stays = match (alone_here, alone_there) {
                (true, true) => self.outranks((from, roster.as_deref()), own, term),
                // One that leads alone because it does not know yet that a majority is asked for yields to it.
                (here, there) => there && !here,
            };
            let leading = matches!(self.role, Role::Leading(_));
            if stays && (leading || term <= own) {
                // The other yields when it hears of this member; a term below the other's would not be heard.
                if leading && term >= own {
                    self.raise_term(term, context);
                } else if leading {
                    self.tell_not_a_voter(from, context);
                }
                return;
            }
            if term == own && leading && !alone_here {
                return self.fail(Fault::TwoLeadersInOneTerm { other: from, term });
            }
            if term > own || alone_here {
                self.claim = None;
                self.step_down(StepDown::Superseded, context);
            }
        }
        self.follow_leader(from, (term, sequence), roster, context);
    }

    /// Of two members that lead at once, which quorum `None` allows, the lower rank yields, then the lower term. What
    /// their rosters say of each other is old where they were apart: of itself each knows best, or both would stay.
    fn outranks(
        &self,
        (other, roster): (MemberId, Option<&Roster>),
        own_term: Term,
        other_term: Term,
    ) -> bool {
        let rank = |id, roster: Option<&Roster>| {
            roster
                .and_then(|roster| roster.voter(id))
                .map(|voter| voter.profile.rank)
        };
        let others_rank = rank(other, roster.or(self.roster()));
        (rank(self.id, self.roster()), own_term, self.id) > (others_rank, other_term, other)
    }

    /// Tells another that it is out of the roster of this member's group, if it is. Where each of two may lead alone, and
    /// one was taken out while the other did not hear it, both lead until they hear this.
    pub(super) fn tell_not_a_voter(&self, other: MemberId, context: &mut Context<'_>) {
        let Some(roster) = self.roster().filter(|roster| roster.voter(other).is_none()) else {
            return;
        };
        let message = Message::NotAVoter {
            stamp: roster.stamp,
            leader_address: self.leader_address(),
        };
        self.send(other, message, context.out);
    }

    fn on_not_a_voter(
        &mut self,
        from: MemberId,
        stamp: Stamp,
        leader_address: Option<String>,
        context: &mut Context<'_>,
    ) {
        let Some(own) = self.roster() else { return };
        let newer = stamp > own.stamp || stamp == own.stamp && from > self.id;
        if !newer {
            // Two may each have taken the other out: whose roster is newer stays.
            if let Role::Leading(_) = self.role {
                self.tell_not_a_voter(from, context);
            }
            return;
        }
        let alone = self.is_only_voter();
        let known = alone || own.voter(from).is_some();
        // Whoever leads by a majority learns it by the end of its claim; one that may lead alone has no other way.
        let believed = known && (self.claim.is_none() || alone || own.is_unguarded());
        if believed && !self.dissolving {
            context.notify(Notice::Dropped);
            self.give_up_group(leader_address, StepDown::Superseded, context);
        }
    }
}

#[cfg(test)]
mod tests;
