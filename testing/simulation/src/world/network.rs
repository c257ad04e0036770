//! How a message gets from one site to another.

use super::{Happening, Network, World};
use crate::election::{Destination, GroupId, Message, Received};

/// Of heartbeats that carry no roster and of their acknowledgements, which are nearly all that is said, one in so many
/// crosses the real encoding; of everything else each does.
const ENCODED_ONE_IN: u64 = 64;

impl World {
    pub(super) fn send(&mut self, from: usize, to: &Destination, group: Option<GroupId>, message: Message) {
        let target = match to {
            Destination::Address(address) => self.at_address(address),
            // A member is most often where its number says.
            Destination::Member(id, _) => {
                let place = usize::try_from(id.0).unwrap_or(0).wrapping_sub(1);
                let is_there = self.sites.get(place).is_some_and(|site| site.id == *id);
                is_there
                    .then_some(place)
                    .or_else(|| self.sites.iter().position(|site| site.id == *id))
            }
        };
        let Some(to) = target else { return };
        let message = self.encoded(from, to, message);
        let Some(member) = &self.sites[from].member else {
            return;
        };
        let received = Received {
            from: member.id(),
            memory: member.memory(),
            incarnation: member.incarnation(),
            recalled: member.recalled(),
            version: member.version(),
            group,
            message,
        };
        match self.weather.network {
            // It has no connection with itself.
            Network::Connections if from != to => self.send_by_connection(from, to, received),
            Network::Connections | Network::Datagrams => self.send_alone(from, to, received),
        }
    }

    fn send_alone(&mut self, from: usize, to: usize, received: Received) {
        if self.weather.duplicate_permille > 0 && self.draw(1000) < self.weather.duplicate_permille {
            self.send_once(from, to, received.clone());
        }
        self.send_once(from, to, received);
    }

    fn send_once(&mut self, from: usize, to: usize, received: Received) {
        if self.is_cut(from, to) || self.is_lost() {
            return;
        }
        let after = self.between(self.weather.delay_ms);
        self.schedule(after, Happening::Deliver { to, received });
    }

    fn encoded(&mut self, from: usize, to: usize, message: Message) -> Message {
        self.sent += 1;
        let is_common = matches!(
            message,
            Message::Heartbeat { roster: None, .. } | Message::Ack { .. }
        );
        let is_gauged = self
            .gauge
            .as_ref()
            .is_some_and(|gauge| [from, to].contains(&gauge.site));
        if is_common && !is_gauged && !self.sent.is_multiple_of(ENCODED_ONE_IN) {
            return message;
        }
        let begun = self.begin_gauging(from);
        self.wire.clear();
        serde_json::to_writer(&mut self.wire, &message).expect("every message can be encoded");
        self.end_gauging(begun);
        let begun = self.begin_gauging(to);
        let decoded = serde_json::from_slice(&self.wire).expect("every encoded message can be decoded");
        self.end_gauging(begun);
        assert_eq!(message, decoded, "a message changes on its way");
        if let Some(gauge) = self.gauge.as_mut().filter(|_| is_gauged) {
            gauge.messages += 1;
        }
        decoded
    }

    pub(super) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts.iter().any(|(a, b, _)| (*a, *b) == (from, to))
    }

    pub(super) fn is_lost(&mut self) -> bool {
        self.weather.loss_permille > 0 && self.draw(1000) < self.weather.loss_permille
    }

    fn at_address(&self, address: &str) -> Option<usize> {
        let alias = self.aliases.get(address).copied();
        alias.or_else(|| {
            self.sites
                .iter()
                .position(|site| *site.config.profile.address == *address)
        })
    }

    /// A link has been cut for so long that whatever connection it carried is given up.
    pub(super) fn grow_silent(&mut self, from: usize, to: usize, since_ms: i64) {
        if self.cuts.contains(&(from, to, since_ms)) {
            self.break_connection((from.min(to), from.max(to)));
        }
    }

    /// A process has been frozen for so long that the others give their connections with it up.
    pub(super) fn grow_dumb(&mut self, site: usize, since_ms: i64) {
        let place = &self.sites[site];
        if place.frozen && place.frozen_since_ms == since_ms {
            self.break_connections(site);
        }
    }
}
