//! What a member does with a message: it finds the rule for it.

use super::leading::Acknowledgement;
use super::member::{Context, Fault, Member, Notice, Problem, Received, Role, StepDown};
use super::message::Message;
use super::roster::Stamp;
use super::types::{GroupId, MemberId};

impl Member {
    pub(super) fn on_received(&mut self, received: Received, context: &mut Context<'_>) {
        let Received {
            from,
            incarnation,
            group,
            message,
        } = received;
        // Nothing may be answered before the incarnation is durable.
        if from == self.id || matches!(self.role, Role::Starting) || self.is_stale(from, incarnation) {
            return;
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
            Message::Refused { refusal } => self.on_refused(refusal),
            Message::Heartbeat {
                term,
                sequence,
                roster,
                ..
            } if self.group().is_none() => {
                self.on_admitted(from, group, (term, sequence), roster, context);
            }
            message if group.is_none() || group != self.group() => self.on_foreign(group, &message),
            Message::PreVote { term, stamp } => self.on_pre_vote(from, term, stamp, context),
            Message::PreVoted {
                term,
                granted,
                voter_term,
                wait_ms,
            } => {
                self.on_pre_voted(
                    from,
                    term,
                    granted.then_some(()).ok_or((voter_term, wait_ms)),
                    context,
                );
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
                eligible,
                profile,
                receipt,
            } => {
                self.receipt = self.receipt.max(receipt);
                let acknowledgement = Acknowledgement {
                    sequence,
                    stamp,
                    lease_ms,
                    eligible,
                    profile,
                };
                self.on_ack(from, term, acknowledgement, context);
            }
            Message::Handover { term } => self.on_handover(from, term, context),
            Message::Stopped { term } => self.on_stopped(from, term, context),
            Message::Leave => self.on_leave(from, context),
            Message::Left => self.on_left(context),
            Message::NotAVoter {
                stamp,
                leader_address,
            } => self.on_not_a_voter(from, stamp, leader_address, context),
        }
    }

    /// Whether the message was sent by an earlier start of its sender. Only voters are remembered, so that strangers
    /// cannot make the list grow.
    fn is_stale(&mut self, from: MemberId, incarnation: u64) -> bool {
        if self.roster().and_then(|roster| roster.voter(from)).is_none() {
            return false;
        }
        match self.incarnations.iter_mut().find(|(id, _)| *id == from) {
            Some((_, highest)) => {
                let stale = incarnation < *highest;
                *highest = incarnation.max(*highest);
                stale
            }
            None => {
                self.incarnations.push((from, incarnation));
                false
            }
        }
    }

    fn on_foreign(&mut self, group: Option<GroupId>, message: &Message) {
        // Two groups never merge in silence: a leader of another group speaks to this member as its voter.
        if let (Some(group), Some(_), Message::Heartbeat { .. }) = (group, self.group(), message) {
            self.problem.get_or_insert(Problem::OtherGroup { group });
        }
    }

    fn on_heartbeat(
        &mut self,
        from: MemberId,
        (term, sequence): (u64, u64),
        roster: Option<Box<super::roster::Roster>>,
        context: &mut Context<'_>,
    ) {
        if self.dissolving {
            return;
        }
        if let Role::Leading(leading) = &self.role {
            let own = leading.term;
            if term == own {
                return self.fail(Fault::TwoLeadersInOneTerm { other: from, term });
            }
            let unguarded = self.roster().is_some_and(super::roster::Roster::is_unguarded);
            if unguarded && self.outranks(from, own, term) {
                // The other yields when it hears of this member; a term below the other's would not be heard.
                if term > own {
                    self.raise_term(term, context);
                }
                return;
            }
            if term > own || unguarded {
                self.claim = None;
                self.step_down(StepDown::Superseded, context);
            }
        }
        self.follow_leader(from, (term, sequence), roster.map(|roster| *roster), context);
    }

    /// Of two members that lead at once, which quorum `None` allows, the lower rank yields, then the lower term.
    fn outranks(&self, other: MemberId, own_term: u64, other_term: u64) -> bool {
        let rank = |id| {
            self.roster()
                .and_then(|roster| roster.voter(id))
                .map(|voter| voter.profile.rank)
        };
        (rank(self.id), own_term, self.id) > (rank(other), other_term, other)
    }

    fn on_not_a_voter(
        &mut self,
        from: MemberId,
        stamp: Stamp,
        leader_address: Option<String>,
        context: &mut Context<'_>,
    ) {
        let newer = self
            .roster()
            .is_some_and(|own| stamp > own.stamp && own.voter(from).is_some());
        if newer && self.claim.is_none() {
            context.notify(Notice::Dropped);
            self.give_up_group(leader_address, StepDown::Superseded, context);
        }
    }
}
