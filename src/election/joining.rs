//! A member without a group: it asks its fleet, joins the group it finds, or founds one if it is meant to.

use std::sync::Arc;

use super::command::{Destination, Notice, Problem, StepDown};
use super::durable::{Durable, Membership};
use super::member::{Context, Heard, Member, Resignation, Role};
use super::message::{Founder, Message, Precedence, Refusal};
use super::roster::{Roster, Voter};
use super::types::{GroupId, MemberId, Term, Tick};

/// Addresses learnt from others, and members that may found a group, that are remembered: more than a fleet has.
const REMEMBERED_MAX: usize = 64;

/// What a member without a group knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Joining {
    pub since: Tick,
    pub next_probe: Tick,
    /// When this member last asked anybody, who may be about to admit it.
    pub asked_at: Option<Tick>,
    /// When this member last looked whether it may found a group.
    pub looked_at: Tick,
    /// Addresses that others named, besides the fleet.
    pub known: Vec<String>,
    /// Leaders that spoke to this member as to the voter that it was.
    pub leaders: Vec<MemberId>,
    pub answers: Vec<Answer>,
    pub rivals: Vec<Rival>,
    pub yielded: Option<Yielded>,
}

/// The last "no group" from an address of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Answer {
    pub address: String,
    pub at: Tick,
    /// The other lets this member go first.
    pub yields: bool,
}

/// Another member that goes first: it may found a group, or has one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rival {
    pub id: MemberId,
    pub at: Tick,
    /// As a founder; `None` while it is in a group, which goes before all founders.
    pub precedence: Option<Precedence>,
}

/// The member that this one lets go first, so that it lets no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Yielded {
    pub to: MemberId,
    pub at: Tick,
}

impl Joining {
    pub(super) fn begin(now: Tick) -> Joining {
        Joining {
            since: now,
            next_probe: now,
            asked_at: None,
            looked_at: now - 1,
            known: Vec::new(),
            leaders: Vec::new(),
            answers: Vec::new(),
            rivals: Vec::new(),
            yielded: None,
        }
    }

    pub(super) fn ask_at_once(&mut self, now: Tick) {
        self.next_probe = now;
    }

    fn learn(&mut self, address: &str) {
        if !self.known.iter().any(|known| known == address) {
            if self.known.len() == REMEMBERED_MAX {
                self.known.remove(0);
            }
            self.known.push(address.to_owned());
        }
    }

    fn note_rival(&mut self, id: MemberId, precedence: Option<Precedence>, at: Tick) {
        self.rivals.retain(|rival| rival.id != id);
        if self.rivals.len() == REMEMBERED_MAX {
            self.rivals.remove(0);
        }
        self.rivals.push(Rival { id, at, precedence });
    }

    /// Whether a member of a group has answered since then, so that none is founded.
    pub(super) fn met_a_group(&self, since: Tick) -> bool {
        let is_member = |rival: &Rival| rival.precedence.is_none() && rival.at > since;
        self.rivals.iter().any(is_member)
    }

    /// Whether `asker` goes before all that were heard since `since`, and nobody else was let go first since then: two
    /// founders that do not know of each other may both ask this member.
    fn goes_first(&self, asker: MemberId, precedence: Precedence, since: Tick) -> bool {
        let before = |rival: &Rival| rival.precedence.is_none_or(|other| other > precedence);
        let preceded = self
            .rivals
            .iter()
            .any(|rival| rival.id != asker && rival.at > since && before(rival));
        let promised = self
            .yielded
            .is_some_and(|yielded| yielded.to != asker && yielded.at > since);
        !preceded && !promised
    }
}

impl Member {
    pub(super) fn founder(&self) -> Founder {
        Founder {
            profile: self.config.profile.clone(),
            memory: self.durable.memory,
            ready: self.config.ready,
            alone: self.fleet().next().is_none(),
        }
    }

    /// The fleet without this member's own address, which users list too.
    pub(super) fn fleet(&self) -> impl Iterator<Item = &String> {
        self.config
            .fleet
            .iter()
            .filter(|address| ***address != *self.config.profile.address)
    }

    pub(super) fn seek(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        let pause_ms = self.settings().round_ms();
        let Role::Outside(joining) = &self.role else {
            return;
        };
        if self.resignation.is_some() {
            if let Role::Outside(joining) = &mut self.role {
                joining.looked_at = now;
            }
            return;
        }
        if self.staged.is_some() || now < self.not_before {
            return;
        }
        if self.may_found(joining, now) {
            return self.found(context);
        }
        if joining.next_probe > now {
            if let Role::Outside(joining) = &mut self.role {
                joining.looked_at = now;
            }
            return;
        }
        // Its own address too: what answers there and is not this member has the same address by mistake, and says so.
        let mut targets: Vec<String> = self.config.fleet.clone();
        targets.extend(
            joining
                .known
                .iter()
                .filter(|known| !self.config.fleet.contains(known))
                .cloned(),
        );
        let founder = self.founder();
        let leaders = joining
            .leaders
            .iter()
            .map(|id| (Destination::Member(*id, None), String::new()));
        let addresses = targets
            .into_iter()
            .map(|address| (Destination::Address(address.clone()), address));
        let asked: Vec<(Destination, String)> = leaders.chain(addresses).collect();
        let asked_at = (!asked.is_empty()).then_some(now);
        for (to, asked) in asked {
            self.send_to(
                to,
                Message::Probe {
                    founder: founder.clone(),
                    asked,
                },
                context.out,
            );
        }
        if let Role::Outside(joining) = &mut self.role {
            joining.next_probe = now + pause_ms;
            joining.asked_at = asked_at.or(joining.asked_at);
            joining.looked_at = now;
        }
    }

    pub(super) fn seek_at(&self, joining: &Joining) -> Option<Tick> {
        if self.staged.is_some() {
            return None;
        }
        if self.resignation.is_some() {
            return self.unadmitted_at(joining).filter(|at| *at > joining.looked_at);
        }
        let listened = self.listened_at(joining);
        // The end of listening counts once; after it, answers decide.
        let at = if self.config.ready && listened > joining.looked_at {
            joining.next_probe.min(listened)
        } else {
            joining.next_probe
        };
        Some(at.max(self.not_before))
    }

    /// When it is sure that nobody admits this member to a group any more: an admission that it had asked for would make
    /// it a voter that the others count on.
    fn unadmitted_at(&self, joining: &Joining) -> Option<Tick> {
        // An earlier start may have asked just before it ended.
        let restarted = (self.durable.incarnation > 1).then_some(joining.since);
        let asked_at = joining.asked_at.or(restarted);
        asked_at.map(|at| at + self.settings().lease_ms)
    }

    fn listened_at(&self, joining: &Joining) -> Tick {
        joining.since + self.settings().lease_ms * 2
    }

    /// Founding is safe when nobody else founds at the same time: whoever could has been asked and lets this one go first.
    fn may_found(&self, joining: &Joining, now: Tick) -> bool {
        let lease_ms = self.settings().lease_ms;
        let rivalled = joining
            .rivals
            .iter()
            .any(|rival| now.since(rival.at) < lease_ms * 2);
        if !self.config.ready || rivalled {
            return false;
        }
        // Whom an earlier start let go first is forgotten.
        if self.durable.incarnation > 1 && now < self.listened_at(joining) {
            return false;
        }
        let mut asked = self
            .fleet()
            .filter(|address| !self.config.found_without.contains(address))
            .peekable();
        if asked.peek().is_none() {
            return now >= self.listened_at(joining);
        }
        // The promise to let this one go first lasts two leases; half of it is left for writing the group down.
        let yields = |answer: &Answer| answer.yields && now.since(answer.at) < lease_ms;
        asked.all(|address| {
            joining
                .answers
                .iter()
                .any(|answer| answer.address == *address && yields(answer))
        })
    }

    /// Addresses that a member which is meant to found a group still waits for.
    #[must_use]
    pub fn waits_for(&self, now: Tick) -> Vec<&str> {
        let Role::Outside(joining) = &self.role else {
            return Vec::new();
        };
        let answered = |address: &String| {
            joining
                .answers
                .iter()
                .any(|a| a.address == *address && now.since(a.at) < self.settings().lease_ms)
        };
        self.fleet()
            .filter(|address| !answered(address))
            .map(String::as_str)
            .collect()
    }

    fn found(&mut self, context: &mut Context<'_>) {
        let profile = self.config.profile.clone();
        let voter = Voter {
            id: self.id,
            memory: self.durable.memory,
            profile,
        };
        let high = u128::from(context.rng.next_u64());
        let id = GroupId(high << 64 | u128::from(context.rng.next_u64()));
        let roster = Arc::new(Roster::founded(voter, self.config.settings));
        let next = Durable {
            group: Some(Membership { id, roster }),
            ..self.durable.clone()
        };
        self.stage(next, context.out);
    }

    pub(super) fn enter_group(&mut self, context: &mut Context<'_>) {
        let founded = self.is_only_voter();
        context.notify(if founded { Notice::Founded } else { Notice::Joined });
        if let Some(heard) = &self.heard {
            let (leader, term) = (heard.leader, heard.term);
            context.notify(Notice::Following { leader, term });
        }
        self.not_before = context.now;
        self.become_follower(context);
        if founded {
            self.follow(context);
        }
    }

    // === answers to others ===

    pub(super) fn on_probe(
        &mut self,
        from: MemberId,
        group: Option<GroupId>,
        founder: Founder,
        asked: String,
        context: &mut Context<'_>,
    ) {
        let own = self.founder();
        let own_group = self.group();
        // A member that is founding at this moment has no group to tell of yet, and lets nobody go first; nor does one
        // that may have let another go first before it was started anew.
        let first_start = self.durable.incarnation == 1;
        let free = |listened_at: Tick| self.staged.is_none() && (first_start || context.now >= listened_at);
        let since = context.now - self.settings().lease_ms * 2;
        let free = match &self.role {
            Role::Outside(joining) => free(self.listened_at(joining)),
            _ => false,
        };
        let to = Destination::Member(from, Some(founder.profile.address.clone()));
        match &mut self.role {
            Role::Outside(joining) if group.is_some() => {
                let is_news = !joining.rivals.iter().any(|rival| rival.id == from);
                joining.learn(&founder.profile.address);
                joining.note_rival(from, None, context.now);
                // All members of a group may ask it, each again and again.
                if is_news {
                    joining.ask_at_once(context.now);
                    self.seek(context);
                }
            }
            Role::Outside(joining) => {
                let precedence = founder.precedence(from);
                let preferred = founder.ready && precedence > own.precedence(self.id);
                if preferred {
                    joining.note_rival(from, Some(precedence), context.now);
                }
                joining.learn(&founder.profile.address);
                let yields = free && preferred && joining.goes_first(from, precedence, since);
                if yields {
                    joining.yielded = Some(Yielded {
                        to: from,
                        at: context.now,
                    });
                }
                self.send_to(
                    to,
                    Message::NoGroup {
                        founder: own,
                        asked,
                        yields,
                    },
                    context.out,
                );
            }
            Role::Leading(_) if group.is_some() && group == own_group => {
                self.tell_not_a_voter(from, context);
            }
            _ if group.is_some() && group == own_group => {}
            Role::Leading(_) if group.is_none() => self.admit(from, founder, context),
            Role::Leading(_) | Role::Starting | Role::Follower | Role::Standing(_) => {
                self.answer_in_group(to, context)
            }
        }
    }

    pub(super) fn answer_in_group(&self, to: Destination, context: &mut Context<'_>) {
        let leader_address = self.leader_address();
        let (peak, rank) = (
            self.roster().map_or(0, |roster| roster.peak),
            self.config.profile.rank,
        );
        self.send_to(
            to,
            Message::InGroup {
                leader_address,
                peak,
                rank,
            },
            context.out,
        );
    }

    // === answers of others ===

    pub(super) fn on_no_group(
        &mut self,
        from: MemberId,
        founder: &Founder,
        asked: String,
        yields: bool,
        context: &mut Context<'_>,
    ) {
        let own = self.founder().precedence(self.id);
        let known = self.fleet().any(|address| *address == asked);
        let Role::Outside(joining) = &mut self.role else {
            return;
        };
        let precedence = founder.precedence(from);
        if founder.ready && precedence > own {
            joining.note_rival(from, Some(precedence), context.now);
        }
        // Only answers to questions that this member asks are kept, so that their number is the fleet's.
        if known {
            joining.answers.retain(|answer| answer.address != asked);
            joining.answers.push(Answer {
                address: asked,
                at: context.now,
                yields,
            });
            self.seek(context);
        }
    }

    pub(super) fn on_in_group(
        &mut self,
        from: MemberId,
        group: Option<GroupId>,
        leader_address: Option<String>,
        (peak, rank): (usize, i64),
        context: &mut Context<'_>,
    ) {
        if let Role::Outside(joining) = &mut self.role {
            // Where there is a group none is founded.
            joining.note_rival(from, None, context.now);
            if let Some(address) = leader_address {
                joining.learn(&address);
            }
            return;
        }
        let (Some(other), Some(roster)) = (group, self.roster()) else {
            return;
        };
        if Some(other) == self.group() {
            if let (Some(Resignation::Leaving), Some(address)) = (self.resignation, leader_address) {
                self.send_to(Destination::Address(address), Message::Leave, context.out);
            }
            return;
        }
        let newborn = roster.peak == 1;
        let goes_first = peak > 1 || (rank, from) > (self.config.profile.rank, self.id);
        if newborn && goes_first {
            return self.yield_group(leader_address, context);
        }
        if peak == 1 {
            // The other is to yield, and may never ask by itself.
            self.answer_in_group(Destination::Member(from, None), context);
        } else {
            self.other_group = Some((other, context.now));
        }
    }

    /// A group that never had a second voter gives way to the one that it met.
    pub(super) fn yield_group(&mut self, leader_address: Option<String>, context: &mut Context<'_>) {
        if !self.dissolving {
            context.notify(Notice::Yielded);
            self.give_up_group(leader_address, StepDown::Yielded, context);
        }
    }

    pub(super) fn on_refused(&mut self, from: MemberId, refusal: Refusal, now: Tick) {
        if let Role::Outside(joining) = &mut self.role {
            joining.note_rival(from, None, now);
            self.problem = match refusal {
                Refusal::Busy => None,
                other => Some(Problem::Refused(other)),
            };
        }
    }

    /// A leader has put this member into its roster.
    pub(super) fn on_admitted(
        &mut self,
        from: MemberId,
        group: Option<GroupId>,
        (term, sequence): (Term, u64),
        roster: Option<Arc<Roster>>,
        context: &mut Context<'_>,
    ) {
        let (Some(group), Role::Outside(joining)) = (group, &mut self.role) else {
            return;
        };
        joining.note_rival(from, None, context.now);
        let admitted = roster.filter(|roster| {
            roster
                .voter(self.id)
                .is_some_and(|voter| voter.memory == self.durable.memory)
        });
        let Some(roster) = admitted else {
            // The leader takes this member for the voter that it was before it lost its memory: it asks to be admitted anew.
            if !joining.leaders.contains(&from) && joining.leaders.len() < REMEMBERED_MAX {
                joining.leaders.push(from);
                joining.ask_at_once(context.now);
            }
            return self.seek(context);
        };
        // A member that is to leave joins first: who counts on its vote has to agree to do without.
        let next = self.remembering(term, Some((group, roster)));
        if self.stage(next, context.out) {
            self.heard = Some(Heard {
                leader: from,
                term,
                sequence,
                at: context.now,
            });
        }
    }

    // === giving up ===

    /// Leaves the group in order to join another or the same anew, once the payload is gone.
    pub(super) fn give_up_group(
        &mut self,
        leader_address: Option<String>,
        reason: StepDown,
        context: &mut Context<'_>,
    ) {
        self.claim = None;
        self.promise = None;
        self.heard = None;
        self.dissolving = true;
        self.rejoin_through = leader_address;
        self.step_down(reason, context);
        self.become_follower(context);
        if self.payload_gone {
            self.dissolve(context);
        }
    }

    pub(super) fn dissolve(&mut self, context: &mut Context<'_>) {
        if self.dissolving && self.payload_gone {
            let next = Durable {
                group: None,
                ..self.durable.clone()
            };
            self.stage(next, context.out);
        }
    }

    /// Takes up the search for a group.
    pub(super) fn enter_outside(&mut self, context: &mut Context<'_>) {
        let mut joining = Joining::begin(context.now);
        if let Some(address) = self.rejoin_through.take() {
            joining.learn(&address);
        }
        self.dissolving = false;
        (self.claim, self.promise, self.heard) = (None, None, None);
        (self.handover, self.vote_in_hand, self.ballot) = (None, None, None);
        self.role = Role::Outside(joining);
        self.seek(context);
    }

    pub(super) fn has_nothing_to_leave(&self, now: Tick) -> bool {
        let alone = match &self.role {
            Role::Outside(joining) => {
                self.staged.is_none() && self.unadmitted_at(joining).is_none_or(|at| at <= now)
            }
            _ => self.group().is_none() || self.is_only_voter(),
        };
        alone && self.payload_gone && !matches!(self.role, Role::Starting)
    }
}

#[cfg(test)]
mod tests;
