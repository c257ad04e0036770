//! Looking for other groups with the same callsign.

use std::collections::BTreeSet;

use super::command::Destination;
use super::member::{Context, Member, Role};
use super::message::Message;
use super::types::Tick;

impl Member {
    /// A member of a group asks the addresses of its fleet that are no voter's for groups, and a leader those of voters
    /// that have fallen silent: a member that was made anew learns of this group before it founds another, and two groups
    /// with one callsign are found. All do, since the one that is made anew may stand in any member's fleet.
    pub(super) fn look_for_other_groups(&mut self, context: &mut Context<'_>) {
        if context.now < self.next_look || self.resignation.is_some() {
            return;
        }
        // A member that is meant to found a group listens for two leases before it does. Its predecessor counts as
        // silent after one; the other is left for asking it more than once.
        self.next_look = context.now + self.settings().round_ms();
        let founder = self.founder();
        for asked in self.strangers(context.now) {
            let message = Message::Probe {
                founder: founder.clone(),
                asked: asked.clone(),
            };
            self.send_to(Destination::Address(asked), message, context.out);
        }
    }

    /// When a follower looks next, if there is anything to look for; a leader looks at each of its heartbeats.
    pub(super) fn look_at(&self) -> Option<Tick> {
        let roster = self.roster()?;
        let is_known = |address: &String| {
            roster
                .voters
                .iter()
                .any(|voter| *voter.profile.address == **address)
        };
        let idle = self.resignation.is_some() || self.fleet().all(is_known);
        (!idle).then_some(self.next_look)
    }

    fn strangers(&self, now: Tick) -> Vec<String> {
        let Some(roster) = self.roster() else {
            return Vec::new();
        };
        let lease_ms = roster.settings.lease_ms;
        let is_silent = |id| match &self.role {
            Role::Leading(leading) => {
                let heard = leading
                    .seen(id)
                    .map_or(leading.since, |seen| seen.acknowledged_at);
                id != self.id && now.since(heard) >= lease_ms
            }
            _ => false,
        };
        let (silent, known): (Vec<_>, Vec<_>) = roster.voters.iter().partition(|voter| is_silent(voter.id));
        let mut known: BTreeSet<&str> = known.iter().map(|voter| &*voter.profile.address).collect();
        let silent = silent.into_iter().map(|voter| &*voter.profile.address);
        self.fleet()
            .map(String::as_str)
            .chain(silent)
            .filter(|address| known.insert(*address))
            .map(str::to_owned)
            .collect()
    }
}
