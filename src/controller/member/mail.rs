//! The member's messages: out to the others, and in from them.

use kube::ResourceExt;

use super::{ELECTION, Shell};
use crate::election::{self, Destination, Message};
use crate::{mail, peer};

impl Shell {
    pub(super) fn send(&self, to: &Destination, group: Option<election::GroupId>, message: &Message) {
        let Some(member) = &self.member else {
            return;
        };
        match message {
            Message::Heartbeat { .. } => self.metrics.count_heartbeat_sent(),
            // A promise binds whoever is asked for this member's vote next: that is another replica, if one has taken over.
            Message::Ack { .. } if !self.shared.mandate.holds() => return,
            _ => {}
        }
        let body = match mail::pack(member, group, message) {
            Ok(body) => body,
            Err(error) => return tracing::error!(%error, "cannot encode a message"),
        };
        if let Err(error) = self.ear.send(&mail::to(to), member.incarnation(), body) {
            tracing::debug!(%error, "cannot send a message");
        }
    }

    pub(super) fn take_event(&mut self, event: &peer::Event) {
        match event {
            peer::Event::Message(incoming) => self.take_message(incoming),
            peer::Event::Notice(notice) => self.take_link(notice),
        }
    }

    pub(super) fn take_message(&mut self, incoming: &peer::Incoming) {
        let received = match mail::unpack(incoming) {
            Ok(received) => received,
            // It is not answered, and repeated in vain.
            Err(error) => return tracing::debug!(%error, "cannot read a message"),
        };
        match &received.message {
            Message::Heartbeat { .. } => self.metrics.count_heartbeat_received(),
            Message::Ack { .. } => {}
            message => {
                tracing::debug!(target: ELECTION, object = self.object.name_any(), from = %received.from, ?message, "hears")
            }
        }
        self.step(election::Event::Received(received));
    }

    pub(super) fn take_link(&mut self, notice: &peer::Notice) {
        self.dirty = true;
        match notice {
            peer::Notice::WrongCallsign { .. } => {
                return self.tell(true, "Listening", "WrongCallsign", notice.to_string());
            }
            peer::Notice::NewcomerRefused { .. } => {
                return self.tell(true, "Listening", "CertificateRefused", notice.to_string());
            }
            peer::Notice::CertificateRefused { .. } => {
                self.tell(true, "Listening", "CertificateRefused", notice.to_string());
            }
            _ => {}
        }
        if self.unreachable.take(notice) {
            tracing::info!(object = self.object.name_any(), "{notice}");
        }
    }
}
