//! Who is reached how: the synchronous core of the transport.
//!
//! It holds members, connections, routes and addresses, and decides where each message goes, which of two
//! connections stays, who hears of a failure and when an address is dialled. It does no I/O: connection tasks take
//! from it what to write and tell it what arrived, and a returned [`Dial`] asks for an attempt.
//!
//! # Rules
//!
//! - A message goes over the connection that it answers, if that lives; else over the connection on which its
//!   receiver was last heard; else to the receiver's address.
//! - An address belongs to the controller that answered there, as long as any connection to that controller lives.
//! - Two connections between the same two controllers: the newer one stays, since it has just been shown to work
//!   while the older one may be dead without knowing. Only the controller with the smaller instance number decides,
//!   once a frame has come in on the newer one, so both agree and none is retired before both ends can use the other.
//! - A retired connection sends what is queued, says goodbye, and reads until the other side has done the same.
//! - A connection that ends unexpectedly gives back what it had not begun to write.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Error;
use super::backlog::Outgoing;
use super::destination::{Bound, Destinations, Dial};
use super::frame::{Code, Data, Endpoint, FRAME_MAX_BYTES, Frame, GroupKey, Instance, Refusal, Versions};
use super::link::{ConnectionId, Link, Opened, Signals, Work};
use super::mailbox::{Event, Incoming, Notice};
use super::members::{Member, Members};

/// Members reached through one connection at most: a controller with as many objects.
const ROUTES_PER_CONNECTION: usize = 1_024;

/// A connection without messages, other than pings, is retired after this.
const IDLE_RETIRE: Duration = Duration::from_secs(60);

/// Leads back to the sender of a message, over the connection that it came on, while that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyRoute(pub(super) ConnectionId);

/// Where a message goes: the first of these that leads anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct To {
    /// The connection that this answers.
    pub via: Option<ReplyRoute>,
    /// The member that it is for. Nobody else gets it. Without it, whoever serves the group at `address` does.
    pub member: Option<Arc<str>>,
    /// `host:port` or `[address]:port`, resolved at each dial.
    pub address: Option<Arc<str>>,
}

/// Why an attempt to dial failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DialFailure {
    Unresolvable(String),
    Failed(String),
    Version { ours: Versions, theirs: Versions },
}

#[derive(Debug)]
pub(super) struct Switchboard {
    instance: Instance,
    shut_down: bool,
    members: Members,
    links: HashMap<ConnectionId, Link>,
    /// The connections to each other controller that are not retired, oldest first.
    instances: HashMap<Instance, Vec<ConnectionId>>,
    /// The connection on which each other member was last heard.
    routes: HashMap<Member, ConnectionId>,
    destinations: Destinations,
}

impl Switchboard {
    pub(super) fn new(instance: Instance) -> Self {
        Self {
            instance,
            shut_down: false,
            members: Members::default(),
            links: HashMap::new(),
            instances: HashMap::new(),
            routes: HashMap::new(),
            destinations: Destinations::default(),
        }
    }

    // Members.

    /// Gives `member` the messages for `group` that reach `endpoint`; the returned handle is notified of each event.
    pub(super) fn register(
        &mut self,
        group: GroupKey,
        endpoint: Endpoint,
        member: &Arc<str>,
    ) -> Result<Arc<Notify>, Error> {
        if self.shut_down {
            return Err(Error::ShutDown);
        }
        self.members.register(group, endpoint, member)
    }

    pub(super) fn unregister(&mut self, group: GroupKey, endpoint: Endpoint) {
        if let Some(member) = self.members.unregister(group, endpoint) {
            self.destinations.forget_member(&member);
        }
    }

    /// The next event of a member; an error after the transport was shut down and everything was taken.
    pub(super) fn take_event(&mut self, group: GroupKey, endpoint: Endpoint) -> Result<Option<Event>, Error> {
        match self.members.take_event(group, endpoint) {
            None if self.shut_down => Err(Error::ShutDown),
            event => Ok(event),
        }
    }

    // Sending.

    /// Queues a message; returns the attempt to dial that it needs, if any.
    pub(super) fn send(&mut self, now: Instant, to: &To, data: Data) -> Result<Option<Dial>, Error> {
        if self.shut_down {
            return Err(Error::ShutDown);
        }
        let bytes = data.weight_bytes();
        if bytes > FRAME_MAX_BYTES {
            return Err(Error::SendTooLong {
                bytes,
                limit_bytes: FRAME_MAX_BYTES,
            });
        }
        let message = Outgoing {
            data,
            address: to.address.clone(),
            queued_at: now,
        };
        self.route(now, to.via, message)
    }

    fn route(
        &mut self,
        now: Instant,
        via: Option<ReplyRoute>,
        message: Outgoing,
    ) -> Result<Option<Dial>, Error> {
        let member = message.data.to.clone();
        let heard_on = member
            .clone()
            .and_then(|to| self.routes.get(&(message.data.group, to)).copied());
        for id in [via.map(|via| via.0), heard_on].into_iter().flatten() {
            if let Some(link) = self.links.get_mut(&id).filter(|link| !link.retiring) {
                link.push(now, message);
                return Ok(None);
            }
        }
        match message.address.clone() {
            Some(address) => self.send_to_address(now, &address, message),
            None => Err(Error::SendUnreachable { member }),
        }
    }

    fn send_to_address(
        &mut self,
        now: Instant,
        address: &Arc<str>,
        mut message: Outgoing,
    ) -> Result<Option<Dial>, Error> {
        let sender = (message.data.group, Arc::clone(&message.data.from));
        let destination = self.destinations.sent_to(now, address)?;
        if self.members.is_served(&sender)
            && let Some(notice) = destination.interest(now, sender.clone())
        {
            self.members.tell(&sender, notice);
        }
        let newest = destination
            .bound
            .and_then(|bound| self.instances.get(&bound.instance)?.last());
        if let Some(link) = newest.and_then(|newest| self.links.get_mut(newest)) {
            message.data.endpoint = destination.bound.and_then(|bound| bound.endpoint);
            link.push(now, message);
            return Ok(None);
        }
        message.data.endpoint = None;
        Ok(destination.wait(address, message))
    }

    // Dialling.

    /// Takes note that an attempt failed; returns the longest wait before the next one, or none if nobody wants one.
    pub(super) fn dial_failed(
        &mut self,
        now: Instant,
        address: &Arc<str>,
        failure: DialFailure,
    ) -> Option<Duration> {
        let to = Arc::clone(address);
        self.conclude(match failure {
            DialFailure::Unresolvable(cause) => Notice::Unresolvable { address: to, cause },
            DialFailure::Failed(cause) => Notice::DialFailed { address: to, cause },
            DialFailure::Version { ours, theirs } => Notice::VersionMismatch {
                address: to,
                ours,
                theirs,
            },
        });
        self.destinations.get_mut(address)?.dial_failed(now)
    }

    /// Takes note that an attempt was broken off.
    pub(super) fn dial_abandoned(&mut self, address: &Arc<str>) {
        if let Some(destination) = self.destinations.get_mut(address) {
            destination.dial_ended();
        }
    }

    fn conclude(&mut self, outcome: Notice) {
        let destination = self.destinations.get_mut(outcome.address());
        for member in destination
            .map(|destination| destination.conclude(&outcome))
            .unwrap_or_default()
        {
            self.members.tell(&member, outcome.clone());
        }
    }

    // Connections.

    /// Adds a connection.
    pub(super) fn opened(&mut self, now: Instant, id: ConnectionId, opened: Opened) -> Arc<Signals> {
        let instance = opened.instance;
        let mut link = Link::new(now, opened.clone());
        let signals = Arc::clone(&link.signals);
        if self.shut_down {
            link.retiring = true;
            self.links.insert(id, link);
            return signals;
        }
        let siblings = self.instances.entry(instance).or_default();
        if !siblings.is_empty() && self.instance < instance {
            // The answer shows that the other side can use it, too.
            link.control(Frame::Ping);
        }
        siblings.push(id);
        if let Some((address, endpoint)) = opened.dialled
            && let Some(destination) = self.destinations.get_mut(&address)
        {
            destination.bound = Some(Bound { instance, endpoint });
            destination.dial_ended();
            while let Some(mut message) = destination.take_pending(now) {
                message.data.endpoint = endpoint;
                link.push(now, message);
            }
            self.conclude(Notice::Connected { address });
        }
        self.links.insert(id, link);
        signals
    }

    /// Takes note that a frame came in. The first one shows that the connection works both ways: older ones to the
    /// same controller are retired.
    pub(super) fn heard(&mut self, id: ConnectionId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut link.proven, true) || self.instance >= link.opened.instance {
            return;
        }
        let siblings = self
            .instances
            .get(&link.opened.instance)
            .cloned()
            .unwrap_or_default();
        // A retired connection is not among them, and retires none.
        if siblings.contains(&id) {
            for older in siblings.into_iter().take_while(|sibling| *sibling != id) {
                self.retire(older);
            }
        }
    }

    /// Gives a message to the member that it is for, or answers that there is none.
    pub(super) fn received(&mut self, now: Instant, id: ConnectionId, data: Data, received_at: Duration) {
        self.heard(id);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.used_at = now;
        let mailbox = match self.members.receiver(&data) {
            Ok(mailbox) => mailbox,
            Err(code) => {
                let detail = match code {
                    Code::ClosedPort => "this port is closed",
                    Code::UnknownMember => "this member is not here",
                    _ => "nobody here has this callsign on this port",
                };
                return link.control(Frame::Error(Refusal::of(&data, code, detail)));
            }
        };
        let Data {
            group,
            from,
            to,
            endpoint: _,
            incarnation,
            body,
        } = data;
        let receiver = (group, Arc::clone(&mailbox.member));
        let sender = (group, Arc::clone(&from));
        mailbox.put_message(Incoming {
            group,
            from,
            to,
            incarnation,
            body,
            via: ReplyRoute(id),
            received_at,
        });
        for notice in self.destinations.accepted(link.opened.instance, &receiver) {
            self.members.tell(&receiver, notice);
        }
        if !link.retiring && link.routes < ROUTES_PER_CONNECTION && self.routes.get(&sender) != Some(&id) {
            link.routes += 1;
            let former = self.routes.insert(sender, id);
            if let Some(former) = former.and_then(|former| self.links.get_mut(&former)) {
                former.routes = former.routes.saturating_sub(1);
            }
        }
    }

    /// The other side refused a message of ours.
    pub(super) fn refused(&mut self, now: Instant, id: ConnectionId, refusal: &Refusal) {
        self.heard(id);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let (Some(group), Some(from)) = (refusal.group, &refusal.from) else {
            return;
        };
        if let Some(to) = &refusal.to {
            let receiver = (group, Arc::clone(to));
            if self.routes.get(&receiver) == Some(&id) {
                self.routes.remove(&receiver);
                link.routes = link.routes.saturating_sub(1);
            }
        }
        let sender = (group, Arc::clone(from));
        for notice in self
            .destinations
            .refused(now, link.opened.instance, &sender, refusal)
        {
            self.members.tell(&sender, notice);
        }
    }

    /// Queues an answer or a ping, ahead of all messages.
    pub(super) fn control(&mut self, id: ConnectionId, frame: Frame) {
        if let Some(link) = self.links.get_mut(&id) {
            link.control(frame);
        }
    }

    /// True while a connection must not be read, for too many answers wait to be written.
    pub(super) fn is_behind(&self, id: ConnectionId) -> bool {
        self.links.get(&id).is_some_and(Link::is_behind)
    }

    /// What a connection should write now.
    pub(super) fn take_work(&mut self, now: Instant, id: ConnectionId) -> Work {
        self.links
            .get_mut(&id)
            .map_or(Work::Goodbye, |link| link.take_work(now))
    }

    /// Takes a connection out of use: it writes what is queued, says goodbye and ends.
    pub(super) fn retire(&mut self, id: ConnectionId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut link.retiring, true) {
            return;
        }
        link.signals.work.notify_one();
        let instance = link.opened.instance;
        let moved = std::mem::take(&mut link.routes);
        let siblings = self.instances.entry(instance).or_default();
        siblings.retain(|sibling| *sibling != id);
        match siblings.last().copied() {
            Some(heir) => {
                for route in self.routes.values_mut().filter(|route| **route == id) {
                    *route = heir;
                }
                if let Some(heir) = self.links.get_mut(&heir) {
                    heir.routes += moved;
                }
            }
            None => {
                self.instances.remove(&instance);
                self.routes.retain(|_, route| *route != id);
                self.destinations.unbind(instance);
            }
        }
    }

    /// Removes a connection that has ended, and finds another way for what it had not begun to write.
    pub(super) fn closed(&mut self, now: Instant, id: ConnectionId) -> Vec<Dial> {
        self.retire(id);
        let Some(mut link) = self.links.remove(&id) else {
            return Vec::new();
        };
        if let Some((address, _)) = &link.opened.dialled
            && let Some(destination) = self.destinations.get_mut(address)
        {
            destination.connection_ended(now.duration_since(link.opened_at));
        }
        let mut dials = Vec::new();
        while let Some(message) = link.take_unsent(now).filter(|_| !self.shut_down) {
            // What finds no way is lost, as any message may be; its sender repeats it.
            dials.extend(self.route(now, None, message).ok().flatten());
        }
        dials
    }

    // Housekeeping.

    /// Forgets addresses and retires connections that nobody has used for a while.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.destinations.sweep(now);
        let idle = self
            .links
            .iter()
            .filter(|(_, link)| now.duration_since(link.used_at) > IDLE_RETIRE);
        for id in idle.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.retire(id);
        }
    }

    /// Takes every connection out of use and refuses everything from here on.
    pub(super) fn shut_down(&mut self) {
        self.shut_down = true;
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            self.retire(id);
        }
        self.members.wake_all();
    }

    /// How many other processes are connected.
    pub(super) fn peers(&self) -> usize {
        self.instances.len()
    }

    /// How many connections are up, retired ones included.
    pub(super) fn connections(&self) -> usize {
        self.links.len()
    }
}

#[cfg(test)]
mod tests;
