//! How a leader changes the roster: one voter at a time, each change agreed before the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::command::{Destination, Notice};
use super::leading::Leading;
use super::member::{Context, Member, Role};
use super::message::{Founder, Message, Refusal};
use super::roster::{Roster, Voter};
use super::settings::{QuorumMode, Settings};
use super::types::{MemberId, Tick};

/// Voters of one group. A roster of so many fits into one frame and into a status with room to spare.
const VOTERS_MAX: usize = 1_000;

impl Member {
    /// Whether a majority holds the leader's own roster durably, so that the next change may follow.
    pub(super) fn is_roster_agreed(&self) -> bool {
        self.is_roster_agreed_but_for(None)
    }

    /// The same, where one voter is known to be gone whose acknowledgement would be needed besides a majority.
    pub(super) fn is_roster_agreed_but_for(&self, gone: Option<MemberId>) -> bool {
        let (Role::Leading(leading), Some(roster)) = (&self.role, self.roster()) else {
            return false;
        };
        let holds =
            |id: MemberId| id == self.id || leading.seen(id).is_some_and(|seen| seen.stamp == roster.stamp);
        let holders = leading.tally.holders_of(roster) + usize::from(self.is_voter());
        self.staged.is_none()
            && roster.stamp.term == leading.term
            && holders >= roster.need()
            && leading
                .must_acknowledge
                .iter()
                .all(|id| holds(*id) || gone == Some(*id))
    }

    /// A new leader writes the roster in its own term before it changes it.
    pub(super) fn restamp_roster(&mut self, context: &mut Context<'_>) {
        let (Role::Leading(leading), Some(roster)) = (&self.role, self.roster()) else {
            return;
        };
        let mut next = roster.next(leading.term);
        next.chosen = self.choice(leading, roster);
        self.write_roster(next, context);
    }

    /// Whoever was asked for is preferred until another leads.
    fn choice(&self, leading: &Leading, roster: &Roster) -> Option<MemberId> {
        (leading.chosen || roster.chosen == Some(self.id)).then_some(self.id)
    }

    pub(super) fn write_roster(&mut self, next: Roster, context: &mut Context<'_>) -> bool {
        let Some(membership) = self.membership() else {
            return false;
        };
        // A successor must hold the newest roster when the payload is gone; it makes the change itself.
        let names_successor = |leading: &Leading| leading.moving.is_some_and(|moving| moving.to.is_some());
        if matches!(&self.role, Role::Leading(leading) if names_successor(leading)) {
            return false;
        }
        let (group, old) = (membership.id, &membership.roster);
        let left_behind = |id: &MemberId| old.voter(*id).is_some() && next.voter(*id).is_some();
        // A voter that may lead alone goes on doing so until it holds the roster that says otherwise.
        let must: Vec<MemberId> = if old.is_unguarded() && !next.is_unguarded() {
            old.voters
                .iter()
                .map(|voter| voter.id)
                .filter(left_behind)
                .collect()
        } else {
            Vec::new()
        };
        let durable = self.remembering(self.durable.term, Some((group, Arc::new(next))));
        let staged = self.stage(durable, context.out);
        if staged && let Role::Leading(leading) = &mut self.role {
            leading.must_acknowledge = must;
        }
        staged
    }

    /// Brings the roster up to what the voters say of themselves and what the leader's user wants of the group.
    pub(super) fn tend_roster(&mut self, context: &mut Context<'_>) {
        if !self.is_roster_agreed() {
            let now = context.now;
            // The payload comes first: its first writes are not to wait beside this one.
            let unstamped = match (&self.role, self.roster()) {
                (Role::Leading(leading), Some(roster)) => {
                    roster.stamp.term != leading.term && leading.since + roster.settings.heartbeat_ms <= now
                }
                _ => false,
            };
            if unstamped && self.staged.is_none() && now >= self.not_before {
                self.restamp_roster(context);
            }
            return;
        }
        self.bid_farewell(context);
        let wished = self.roster_wished();
        self.tell_clashes(wished.as_ref(), context);
        if context.now >= self.not_before
            && let Some(next) = wished
        {
            self.write_roster(next, context);
        }
    }

    /// Tells once of each voter that is not given the address which it says is its own.
    fn tell_clashes(&mut self, wished: Option<&Roster>, context: &mut Context<'_>) {
        let (Role::Leading(leading), Some(roster)) = (&self.role, wished.or(self.roster())) else {
            return;
        };
        if wished.is_none() && leading.clashing.is_empty() && self.is_content(leading, roster) {
            return;
        }
        let refused = |voter: &&Voter| {
            let said = match leading.seen(voter.id) {
                _ if voter.id == self.id => &self.config.profile,
                Some(seen) => &seen.profile,
                None => return false,
            };
            said.address != voter.profile.address
        };
        let clashing: Vec<MemberId> = roster
            .voters
            .iter()
            .filter(refused)
            .map(|voter| voter.id)
            .collect();
        if clashing == leading.clashing {
            return;
        }
        let notices: Vec<Notice> = clashing
            .iter()
            .filter(|id| !leading.clashing.contains(id))
            .filter_map(|id| {
                let asker = match leading.seen(*id) {
                    Some(seen) => &seen.profile,
                    None => &self.config.profile,
                };
                let has_it = |voter: &&Voter| voter.profile.address == asker.address;
                Some(Notice::AddressClash {
                    asker: asker.name.to_string(),
                    voter: roster.voters.iter().find(has_it)?.profile.name.to_string(),
                    address: asker.address.to_string(),
                })
            })
            .collect();
        for notice in notices {
            context.notify(notice);
        }
        if let Role::Leading(leading) = &mut self.role {
            leading.clashing = clashing;
        }
    }

    /// The roster as the voters and the leader's user want it by what they said last, if that is another than the present.
    pub(super) fn roster_wished(&self) -> Option<Roster> {
        let (Role::Leading(leading), Some(roster)) = (&self.role, self.roster()) else {
            return None;
        };
        if self.is_content(leading, roster) {
            return None;
        }
        let mut next = roster.next(leading.term);
        next.chosen = self.choice(leading, roster);
        for voter in &mut next.voters {
            let profile = match leading.seen(voter.id) {
                _ if voter.id == self.id => &self.config.profile,
                Some(seen) => &seen.profile,
                None => continue,
            };
            voter.profile = profile.clone();
        }
        keep_addresses_apart(&mut next.voters, &roster.voters);
        next.settings = self.settings_wished(roster);
        let differs =
            (&next.voters, &next.settings, next.chosen) != (&roster.voters, &roster.settings, roster.chosen);
        differs.then_some(next)
    }

    /// Whether nobody wants the roster to be another, as far as that is seen without looking at every voter.
    fn is_content(&self, leading: &Leading, roster: &Roster) -> bool {
        let own = roster.voter(self.id).map(|voter| &voter.profile);
        leading.tally.agrees_with(roster)
            && own == Some(&self.config.profile)
            && self.choice(leading, roster) == roster.chosen
            && self.settings_wished(roster) == roster.settings
    }

    /// What the leader's user wants of the group, as far as so many voters can have it.
    fn settings_wished(&self, roster: &Roster) -> Settings {
        let mut settings = self.config.settings;
        if settings.quorum == QuorumMode::None && roster.voters.len() > 2 {
            settings.quorum = roster.settings.quorum;
        }
        settings
    }

    /// A voter that is out may go only when that is agreed: until then the others may need its vote.
    pub(super) fn bid_farewell(&mut self, context: &mut Context<'_>) {
        if let Role::Leading(leading) = &mut self.role {
            for to in std::mem::take(&mut leading.farewells) {
                self.send_to(to, Message::Left, context.out);
            }
        }
    }

    pub(super) fn on_roster_persisted(&mut self, before: Option<&Roster>, context: &mut Context<'_>) {
        let (Some(before), Some(roster)) = (before, self.shared_roster()) else {
            return;
        };
        if before.stamp == roster.stamp {
            return;
        }
        for voter in roster
            .voters
            .iter()
            .filter(|voter| before.voter(voter.id).is_none())
        {
            context.notify(Notice::Admitted {
                name: voter.profile.name.to_string(),
            });
        }
        let mut gone = Vec::new();
        for voter in before
            .voters
            .iter()
            .filter(|voter| roster.voter(voter.id).is_none())
        {
            context.notify(Notice::Removed {
                name: voter.profile.name.to_string(),
            });
            gone.push(Destination::Member(voter.id, Some(voter.profile.address.clone())));
        }
        if let Role::Leading(leading) = &mut self.role {
            leading.voters.retain(|seen| roster.voter(seen.id).is_some());
            leading.leavers.retain(|id| roster.voter(*id).is_some());
            leading.farewells.extend(gone);
        }
        self.recount();
        self.send_heartbeats(context);
    }

    /// A member asks this leader for admission.
    pub(super) fn admit(&mut self, from: MemberId, founder: Founder, context: &mut Context<'_>) {
        let now = context.now;
        let to = Destination::Member(from, Some(founder.profile.address.clone()));
        let Some(roster) = self.shared_roster() else {
            return;
        };
        let refuse = |refusal| Message::Refused { refusal };
        if roster
            .voter(from)
            .is_some_and(|voter| voter.memory == founder.memory)
        {
            return self.send_heartbeats(context);
        }
        if !self.is_roster_agreed() || self.claim.is_none() {
            return self.send_to(to, refuse(Refusal::Busy), context.out);
        }
        let Role::Leading(leading) = &self.role else {
            return;
        };
        if leading.moving.is_some() {
            return self.send_to(to, refuse(Refusal::Busy), context.out);
        }
        let term = leading.term;
        // A voter that forgot its votes, and one whose place is taken over by its successor at the same address, goes first.
        let address = &founder.profile.address;
        let former = roster
            .voters
            .iter()
            .find(|v| v.id == from || v.profile.address == *address)
            .cloned();
        if let Some(former) = former {
            let silent_since = now - roster.settings.lease_ms;
            let last_heard = leading
                .seen(former.id)
                .map_or(leading.since, |seen| seen.acknowledged_at);
            if former.id == self.id || (former.id != from && last_heard > silent_since) {
                context.notify(Notice::AddressClash {
                    asker: founder.profile.name.to_string(),
                    voter: former.profile.name.to_string(),
                    address: address.to_string(),
                });
                let refusal = Refusal::AddressTaken {
                    by: former.profile.name.to_string(),
                };
                return self.send_to(to, refuse(refusal), context.out);
            }
            let next = roster.without(former.id, term);
            if self.could_be_agreed(&next, None, now) {
                self.write_roster(next, context);
            }
            return self.send_to(to, refuse(Refusal::Busy), context.out);
        }
        if roster.settings.quorum == QuorumMode::None && roster.voters.len() == 2 {
            return self.send_to(to, refuse(Refusal::TwoVotersOnly), context.out);
        }
        if roster.voters.len() >= VOTERS_MAX {
            return self.send_to(to, refuse(Refusal::Full), context.out);
        }
        let voter = Voter {
            id: from,
            memory: founder.memory,
            profile: founder.profile,
        };
        let next = roster.with(voter, term);
        if self.could_be_agreed(&next, Some(from), now) {
            self.write_roster(next, context);
        } else {
            self.send_to(to, refuse(Refusal::Busy), context.out);
        }
    }

    /// Whether enough of those voters were heard lately, the newcomer among them. A leader that wrote down a roster
    /// which nobody is there to agree to would lose its claim by it.
    pub(super) fn could_be_agreed(&self, next: &Roster, newcomer: Option<MemberId>, now: Tick) -> bool {
        let Role::Leading(leading) = &self.role else {
            return false;
        };
        let lease_ms = self.settings().lease_ms;
        let heard = |id: MemberId| {
            let seen = leading.seen(id);
            id == self.id
                || newcomer == Some(id)
                || seen.is_some_and(|seen| now.since(seen.acknowledged_at) < lease_ms)
        };
        next.voters.iter().filter(|voter| heard(voter.id)).count() >= next.need()
    }

    /// A voter asks to be taken out.
    pub(super) fn on_leave(&mut self, from: MemberId, context: &mut Context<'_>) {
        let Some(roster) = self.roster() else { return };
        let Role::Leading(_) = &self.role else {
            // One that is out already may not know who leads since.
            if roster.voter(from).is_none() {
                self.answer_in_group(Destination::Member(from, None), context);
            }
            return;
        };
        let (agreed, voter) = (self.is_roster_agreed(), roster.voter(from).is_some());
        if agreed && !voter {
            return self.send(from, Message::Left, context.out);
        }
        // It may take a while until it can be let go, and nothing is to be handed over to it meanwhile.
        if let Role::Leading(leading) = &mut self.role
            && voter
            && !leading.leavers.contains(&from)
        {
            leading.leavers.push(from);
        }
        let (Role::Leading(leading), Some(roster)) = (&self.role, self.roster()) else {
            return;
        };
        if !agreed {
            return;
        }
        let next = roster.without(from, leading.term);
        if self.claim.is_some() && self.could_be_agreed(&next, None, context.now) {
            self.write_roster(next, context);
        }
    }
}

/// Voters may exchange their addresses, but where two want the same one, who moved to it stays where it was.
fn keep_addresses_apart(wished: &mut [Voter], present: &[Voter]) {
    loop {
        let mut takers: BTreeMap<&str, usize> = BTreeMap::new();
        for voter in &*wished {
            *takers.entry(&voter.profile.address).or_default() += 1;
        }
        let moved = |(one, former): &(&Voter, &Voter)| one.profile.address != former.profile.address;
        // The same voters in the same order.
        let back: Vec<(usize, Arc<str>)> = wished
            .iter()
            .zip(present)
            .enumerate()
            .filter(|(_, pair)| moved(pair) && takers[&*pair.0.profile.address] > 1)
            .map(|(index, (_, former))| (index, Arc::clone(&former.profile.address)))
            .collect();
        // Each round moves some back, and where all are back no two have one address.
        if back.is_empty() {
            return;
        }
        for (index, address) in back {
            wished[index].profile.address = address;
        }
    }
}

#[cfg(test)]
mod tests;
