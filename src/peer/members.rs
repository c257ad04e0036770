//! The members of this process: who serves which group on which port.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Notify;

use super::Error;
use super::frame::{Code, Data, Endpoint, GroupKey, MEMBER_MAX_BYTES};
use super::mailbox::{Event, Mailbox, Notice};

/// A member of a group.
pub(super) type Member = (GroupKey, Arc<str>);

#[derive(Debug, Default)]
pub(super) struct Members {
    mailboxes: HashMap<(GroupKey, Endpoint), Mailbox>,
    served_at: HashMap<Member, Endpoint>,
}

impl Members {
    /// Gives `member` the messages for `group` that reach `endpoint`.
    pub(super) fn register(
        &mut self,
        group: GroupKey,
        endpoint: Endpoint,
        member: &Arc<str>,
    ) -> Result<Arc<Notify>, Error> {
        if member.is_empty() || member.len() > MEMBER_MAX_BYTES {
            return Err(Error::RegisterMember {
                bytes: member.len(),
                limit_bytes: MEMBER_MAX_BYTES,
            });
        }
        if let Some(taken) = self.mailboxes.get(&(group, endpoint)) {
            return Err(Error::RegisterTaken {
                member: Arc::clone(&taken.member),
            });
        }
        let mailbox = Mailbox::new(Arc::clone(member));
        let filled = Arc::clone(&mailbox.filled);
        self.mailboxes.insert((group, endpoint), mailbox);
        self.served_at.insert((group, Arc::clone(member)), endpoint);
        Ok(filled)
    }

    /// Removes whoever serves `group` at `endpoint`; returns the member if it is now served nowhere.
    pub(super) fn unregister(&mut self, group: GroupKey, endpoint: Endpoint) -> Option<Member> {
        let member = (group, self.mailboxes.remove(&(group, endpoint))?.member);
        // It may have moved to another port in between.
        if self.served_at.get(&member) != Some(&endpoint) {
            return None;
        }
        self.served_at.remove(&member);
        Some(member)
    }

    pub(super) fn is_served(&self, member: &Member) -> bool {
        self.served_at.contains_key(member)
    }

    pub(super) fn take_event(&mut self, group: GroupKey, endpoint: Endpoint) -> Option<Event> {
        self.mailboxes.get_mut(&(group, endpoint))?.take()
    }

    pub(super) fn tell(&mut self, member: &Member, notice: Notice) {
        let mailbox = self
            .served_at
            .get(member)
            .and_then(|at| self.mailboxes.get_mut(&(member.0, *at)));
        if let Some(mailbox) = mailbox {
            mailbox.put_notice(notice);
        }
    }

    /// The mailbox that a message is for, or why there is none.
    pub(super) fn receiver(&mut self, data: &Data) -> Result<&mut Mailbox, Code> {
        let endpoint = match &data.to {
            Some(to) => self.served_at.get(&(data.group, Arc::clone(to))).copied(),
            None => data.endpoint,
        };
        match endpoint.filter(|endpoint| self.mailboxes.contains_key(&(data.group, *endpoint))) {
            Some(endpoint) => self
                .mailboxes
                .get_mut(&(data.group, endpoint))
                .ok_or(Code::UnknownGroup),
            None if data.to.is_some() && self.mailboxes.keys().any(|(group, _)| *group == data.group) => {
                Err(Code::UnknownMember)
            }
            None if data.to.is_none() && data.endpoint.is_some_and(|endpoint| self.is_closed(endpoint)) => {
                Err(Code::ClosedPort)
            }
            None => Err(Code::UnknownGroup),
        }
    }

    /// A port is open for as long as somebody is served there.
    fn is_closed(&self, endpoint: Endpoint) -> bool {
        self.mailboxes.keys().all(|(_, other)| *other != endpoint)
    }

    /// Lets everyone who waits for an event look again.
    pub(super) fn wake_all(&self) {
        for mailbox in self.mailboxes.values() {
            mailbox.filled.notify_one();
        }
    }
}
