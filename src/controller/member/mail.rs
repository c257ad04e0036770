//! The member's messages: packed into frames, and out of them.

use std::sync::Arc;

use kube::ResourceExt;
use serde_json::value::to_raw_value;

use super::{ELECTION, Shell};
use crate::election::{self, Destination, MemberId, MemoryId, Message, Received};
use crate::peer::{self, To};

impl Shell {
    pub(super) fn send(&self, to: &Destination, group: Option<election::GroupId>, message: &Message) {
        let Some(member) = &self.member else {
            return;
        };
        if matches!(message, Message::Heartbeat { .. }) {
            self.metrics.count_heartbeat_sent();
        }
        let body = match to_raw_value(&Parcel {
            memory: member.memory(),
            group,
            message,
        }) {
            Ok(body) => body,
            Err(error) => return tracing::error!(%error, "cannot encode a message"),
        };
        let to = match to {
            Destination::Address(address) => To {
                via: None,
                member: None,
                address: Some(Arc::from(address.as_str())),
            },
            Destination::Member(id, address) => To {
                via: None,
                member: Some(Arc::from(id.to_string())),
                address: address.as_deref().map(Arc::from),
            },
        };
        if let Err(error) = self.ear.send(&to, member.incarnation(), Arc::from(body)) {
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
        let Ok(from) = incoming.from.parse::<MemberId>() else {
            return tracing::debug!(from = %incoming.from, "a message from something that is no member");
        };
        // A newer release may say what this one does not know; it is not answered, and repeated in vain.
        let parcel: OwnedParcel = match serde_json::from_str(incoming.body.get()) {
            Ok(parcel) => parcel,
            Err(error) => return tracing::debug!(%error, %from, "a message that this release does not know"),
        };
        match &parcel.message {
            Message::Heartbeat { .. } => self.metrics.count_heartbeat_received(),
            Message::Ack { .. } => {}
            message => {
                tracing::debug!(target: ELECTION, object = self.object.name_any(), %from, ?message, "hears")
            }
        }
        let received = Received {
            from,
            incarnation: incoming.incarnation,
            memory: parcel.memory,
            group: parcel.group,
            message: parcel.message,
        };
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

/// What travels inside a frame.
#[derive(serde::Serialize)]
struct Parcel<'a> {
    memory: MemoryId,
    group: Option<election::GroupId>,
    message: &'a Message,
}

#[derive(serde::Deserialize)]
struct OwnedParcel {
    memory: MemoryId,
    #[serde(default)]
    group: Option<election::GroupId>,
    message: Message,
}
