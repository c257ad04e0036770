//! A leader: heartbeats, and the claim that their acknowledgements give it.

use std::sync::Arc;

use super::command::{Claim, Command, Destination, MoveReason, StepDown};
use super::durable::Durable;
use super::member::{Context, Member, Resignation, Role};
use super::message::Message;
use super::moving::Moving;
use super::obstacle::Obstacle;
use super::roster::{Profile, Roster, Stamp};
use super::standing::Standing;
use super::tally::Tally;
use super::types::{MemberId, RequestId, Term, Tick};
use super::wish::Hindrance;

/// Heartbeats whose acknowledgement still counts. A lease is three heartbeats at the least and 7.5 in the profiles;
/// an acknowledgement of an older one would extend no claim.
const HEARTBEATS_REMEMBERED: usize = 32;

/// What a leader keeps besides its memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leading {
    pub term: Term,
    pub since: Tick,
    pub sequence: u64,
    /// When each of the last heartbeats was sent.
    pub sent: Vec<(u64, Tick)>,
    pub next_heartbeat: Tick,
    /// Sorted by identity; all of them are in the roster.
    pub voters: Vec<Seen>,
    pub tally: Tally,
    /// Voters whose acknowledgement of the roster is needed besides a majority.
    pub must_acknowledge: Vec<MemberId>,
    /// The payload may run, and has been ordered to.
    pub serving: bool,
    pub moving: Option<Moving>,
    /// Voters that have asked to be taken out: an acknowledgement that was under way then tells nothing of it.
    pub leavers: Vec<MemberId>,
    /// Former voters that are to hear that they are out.
    pub farewells: Vec<Destination>,
    /// Voters that were told to have another's address.
    pub clashing: Vec<MemberId>,
    /// No preemption is tried before this tick.
    pub no_move_before: Tick,
    /// How many moves were given up in this term.
    pub moves_aborted: u32,
    /// A person asked for this leader.
    pub chosen: bool,
    /// The last move that was asked for and given up.
    pub refused: Option<(RequestId, Hindrance)>,
}

/// What a leader knows of another voter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Seen {
    pub id: MemberId,
    /// The newest heartbeat that it acknowledged, and when that was heard.
    pub sequence: u64,
    pub acknowledged_at: Tick,
    /// Until when this voter's promise supports the claim.
    pub supports_until: Tick,
    pub stamp: Stamp,
    pub obstacle: Option<Obstacle>,
    /// Since when nothing has kept it from leading, in one stretch.
    pub able_since: Option<Tick>,
    pub profile: Profile,
}

/// What a voter answers to a heartbeat.
pub(super) struct Acknowledgement {
    pub sequence: u64,
    pub stamp: Stamp,
    pub lease_ms: i64,
    pub obstacle: Option<Obstacle>,
    pub profile: Profile,
}

impl Leading {
    pub(super) fn begin(term: Term, chosen: bool, now: Tick) -> Leading {
        Leading {
            term,
            since: now,
            sequence: 0,
            sent: Vec::new(),
            next_heartbeat: now,
            voters: Vec::new(),
            tally: Tally::default(),
            must_acknowledge: Vec::new(),
            serving: false,
            moving: None,
            leavers: Vec::new(),
            farewells: Vec::new(),
            clashing: Vec::new(),
            no_move_before: now,
            moves_aborted: 0,
            chosen,
            refused: None,
        }
    }

    pub(super) fn seen(&self, id: MemberId) -> Option<&Seen> {
        let at = self.voters.binary_search_by_key(&id, |seen| seen.id).ok()?;
        self.voters.get(at)
    }
}

impl Member {
    /// What a leader does when time has passed or something has changed.
    pub(super) fn lead(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        let lease_ms = self.settings().lease_ms;
        let Role::Leading(leading) = &self.role else {
            return;
        };
        if self.claim.is_none() && leading.since + lease_ms <= now {
            return self.step_down(StepDown::QuorumLost, context);
        }
        if leading.next_heartbeat <= now {
            self.send_heartbeats(context);
        }
        self.tend_moves(context);
        self.tend_roster(context);
        self.look_for_other_groups(context);
    }

    pub(super) fn lead_at(&self, leading: &Leading) -> Tick {
        let settings = self.settings();
        let stalled = self.claim.is_none().then(|| leading.since + settings.lease_ms);
        [Some(leading.next_heartbeat), stalled]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(leading.next_heartbeat)
    }

    pub(super) fn send_heartbeats(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        let (only_voter, group) = (self.is_only_voter(), self.group());
        let Some(roster) = self.shared_roster() else {
            return;
        };
        let Role::Leading(leading) = &mut self.role else {
            return;
        };
        leading.sequence += 1;
        // On the beat of the clock: what one process' many members have to say then travels together.
        let heartbeat_ms = roster.settings.heartbeat_ms;
        leading.next_heartbeat = now + (heartbeat_ms - now.0.rem_euclid(heartbeat_ms));
        if leading.sent.len() == HEARTBEATS_REMEMBERED {
            leading.sent.remove(0);
        }
        leading.sent.push((leading.sequence, now));
        let (term, sequence) = (leading.term, leading.sequence);
        for voter in roster.voters.iter().filter(|voter| voter.id != self.id) {
            let seen = leading.seen(voter.id);
            let needs_roster = seen.is_none_or(|seen| seen.stamp != roster.stamp);
            let address = Arc::clone(&voter.profile.address);
            context.out.push(Command::Send {
                to: Destination::Member(voter.id, Some(address)),
                group,
                message: Message::Heartbeat {
                    term,
                    sequence,
                    stamp: roster.stamp,
                    roster: needs_roster.then(|| Arc::clone(&roster)),
                },
            });
        }
        // A member that may lead alone needs no acknowledgement, but one that was frozen for longer than its claim may
        // have been replaced meanwhile, unless there is nobody to replace it.
        let lapsed = self.claim.is_some_and(|claim| claim.until <= now);
        if roster.need() == 1 && (only_voter || !lapsed) {
            self.claim = Some(Claim {
                term,
                until: now + roster.settings.claim_ms(roster.settings.lease_ms),
            });
        }
    }

    pub(super) fn on_ack(
        &mut self,
        from: MemberId,
        term: Term,
        acknowledgement: Acknowledgement,
        context: &mut Context<'_>,
    ) {
        let now = context.now;
        let Some(roster) = self.shared_roster() else {
            return;
        };
        let own_term = match &self.role {
            Role::Leading(leading) => leading.term,
            _ => return,
        };
        if term > own_term {
            return self.raise_term(term, context);
        }
        if term < own_term || roster.voter(from).is_none() {
            return;
        }
        let Role::Leading(leading) = &mut self.role else {
            return;
        };
        let Some((_, sent_at)) = leading
            .sent
            .iter()
            .find(|(s, _)| *s == acknowledgement.sequence)
            .copied()
        else {
            return;
        };
        let lease_ms = acknowledgement.lease_ms.min(roster.settings.lease_ms);
        let supports_until = sent_at + roster.settings.claim_ms(lease_ms);
        let able_since = leading
            .seen(from)
            .filter(|known| now.since(known.acknowledged_at) < roster.settings.lease_ms)
            .and_then(|known| known.able_since)
            .or(Some(now))
            .filter(|_| acknowledgement.obstacle.is_none());
        let seen = Seen {
            id: from,
            sequence: acknowledgement.sequence,
            acknowledged_at: now,
            supports_until,
            stamp: acknowledgement.stamp,
            obstacle: acknowledgement.obstacle,
            able_since,
            profile: acknowledgement.profile,
        };
        leading.take(seen, &roster);
        self.renew_claim(now);
        self.tend_moves(context);
        self.tend_roster(context);
    }

    /// The claim lasts as long as a majority's promises do, the leader itself counted.
    fn renew_claim(&mut self, now: Tick) {
        let Some(need) = self.roster().map(Roster::need) else {
            return;
        };
        let Role::Leading(leading) = &mut self.role else {
            return;
        };
        if need == 1 {
            return;
        }
        let claim = self.claim.filter(|claim| claim.term == leading.term);
        if leading.outlasting(claim.map(|claim| claim.until)) < need - 1 {
            return;
        }
        let supports = leading.voters.iter().map(|seen| seen.supports_until);
        let mut supports: Vec<Tick> = supports.collect();
        supports.sort_unstable_by(|a, b| b.cmp(a));
        let Some(until) = supports.get(need - 2).copied().filter(|until| *until > now) else {
            return;
        };
        self.claim = Some(Claim {
            term: leading.term,
            until,
        });
    }

    /// Stands again above a term that a voter has heard of. The claim lasts on meanwhile, and so does the payload.
    pub(super) fn raise_term(&mut self, term: Term, context: &mut Context<'_>) {
        // What is durable may be ahead of the term it leads in, by votes for successors.
        let term = self.term_above(term.max(self.durable.term));
        let next = Durable {
            term,
            vote: Some(self.id),
            ..self.durable.clone()
        };
        let chosen = matches!(&self.role, Role::Leading(leading) if leading.chosen);
        if self.stage(next, context.out) {
            self.chosen = chosen;
            self.role = Role::Standing(Standing::writing(term));
        }
    }

    /// Where the leader is to be asked for admission, as far as this member knows.
    pub(super) fn leader_address(&self) -> Option<String> {
        let leader = match (&self.role, self.promise) {
            (Role::Leading(_), _) => Some(self.id),
            (_, Some(promise)) => promise.leader,
            (_, None) => None,
        };
        let roster = self.roster()?;
        let voter = roster.voter(leader?)?;
        Some(voter.profile.address.to_string())
    }

    pub(super) fn resignation_reason(&self) -> Option<MoveReason> {
        match self.resignation? {
            Resignation::Leaving => Some(MoveReason::Leaving),
            // There is nobody to hand over to, and nobody who could start a second copy: the payload runs on.
            Resignation::Exiting if self.is_only_voter() => None,
            Resignation::Exiting => Some(MoveReason::Exiting),
        }
    }
}

#[cfg(test)]
mod tests;
