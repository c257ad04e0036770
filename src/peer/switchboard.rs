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
//!   once a frame has come in on the newer one, so both agree and none is retired before the other is usable at both ends.
//! - A retired connection sends what is queued, says goodbye, and reads until the other side has done the same.
//! - A connection that ends unexpectedly gives back what it had not begun to write.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Error;
use super::backlog::{Backlog, Outgoing};
use super::destination::{Bound, Destination, Interest, Sender, split_address};
use super::frame::{Code, Data, Endpoint, FRAME_MAX_BYTES, Frame, Instance, MEMBER_MAX_BYTES, Refusal};
use super::frame::{GroupKey, Versions};
use super::mailbox::{Event, Incoming, Mailbox, Notice};

/// Addresses that are sent to at most: 1,000 voters, and as many that have just changed theirs.
const DESTINATIONS: usize = 2_048;

/// Members reached through one connection at most: a controller with as many objects.
const ROUTES_PER_CONNECTION: usize = 1_024;

/// Answers other than messages that wait on one connection before it is read no further: whoever provokes more has to
/// read them first.
const CONTROL: usize = 16;

/// One write carries at most this much, so that a pong never waits behind more.
const BATCH_BYTES: usize = 64 * 1024;

/// An unused address is forgotten and an unused connection retired after this.
const IDLE_FORGET: Duration = Duration::from_secs(60);

/// Dialling goes on for this long after the last message to an address: five heartbeats of the slowest profile.
const DIAL_PATIENCE: Duration = Duration::from_secs(10);

/// An address where nobody knew a group is dialled anew at most this often: its name or its load balancer may lead
/// elsewhere by now.
const REVALIDATE: Duration = Duration::from_secs(30);

/// Names a connection within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ConnectionId(pub(super) u64);

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

/// Asks for an attempt to dial `address`, after `wait` at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dial {
    pub(super) address: Arc<str>,
    pub(super) wait: Duration,
}

/// Why an attempt to dial failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DialFailure {
    Unresolvable(String),
    Failed(String),
    Version { ours: Versions, theirs: Versions },
}

/// A connection that has just come up.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) instance: Instance,

    /// The address that was dialled, and the port of the other side that it led to.
    pub(super) dialled: Option<(Arc<str>, Option<Endpoint>)>,
}

/// What a connection should write next.
#[derive(Debug, PartialEq)]
pub(super) enum Work {
    Frames(Vec<Frame>),
    /// Everything is written: say goodbye.
    Goodbye,
    Wait,
}

#[derive(Debug)]
struct Link {
    opened: Opened,
    opened_at: Instant,
    /// When a message last went either way; pings do not count.
    used_at: Instant,
    proven: bool,
    retiring: bool,
    control: VecDeque<Frame>,
    backlog: Backlog,
    routes: usize,
    signals: Arc<Signals>,
}

impl Link {
    fn control(&mut self, frame: Frame) {
        self.control.push_back(frame);
        self.signals.work.notify_one();
    }
}

/// Wakes the two halves of a connection.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// There may be something to write.
    pub(super) work: Notify,
    /// The answers that were waiting are on their way.
    pub(super) answered: Notify,
}

#[derive(Debug)]
pub(super) struct Switchboard {
    instance: Instance,
    shut_down: bool,
    mailboxes: HashMap<(GroupKey, Endpoint), Mailbox>,
    served_at: HashMap<Sender, Endpoint>,
    links: HashMap<ConnectionId, Link>,
    /// The connections to each other controller that are not retired, oldest first.
    instances: HashMap<Instance, Vec<ConnectionId>>,
    routes: HashMap<Sender, ConnectionId>,
    destinations: HashMap<Arc<str>, Destination>,
    /// True while some member may stand refused at some address.
    refused: bool,
}

impl Switchboard {
    pub(super) fn new(instance: Instance) -> Self {
        Self {
            instance,
            shut_down: false,
            mailboxes: HashMap::new(),
            served_at: HashMap::new(),
            links: HashMap::new(),
            instances: HashMap::new(),
            routes: HashMap::new(),
            destinations: HashMap::new(),
            refused: false,
        }
    }

    // Members.

    /// Gives `member` the messages for `group` that reach `endpoint`.
    pub(super) fn register(
        &mut self,
        group: GroupKey,
        endpoint: Endpoint,
        member: &Arc<str>,
    ) -> Result<Arc<Notify>, Error> {
        if self.shut_down {
            return Err(Error::ShutDown);
        }
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

    pub(super) fn unregister(&mut self, group: GroupKey, endpoint: Endpoint) {
        let Some(mailbox) = self.mailboxes.remove(&(group, endpoint)) else {
            return;
        };
        let sender = (group, mailbox.member);
        // The member may have moved to another port in between.
        if self.served_at.get(&sender) == Some(&endpoint) {
            self.served_at.remove(&sender);
            for destination in self.destinations.values_mut() {
                destination.interests.remove(&sender);
            }
        }
    }

    /// The next event of a member; an error after the transport was shut down and everything was taken.
    pub(super) fn take_event(&mut self, group: GroupKey, endpoint: Endpoint) -> Result<Option<Event>, Error> {
        match self.mailboxes.get_mut(&(group, endpoint)).and_then(Mailbox::take) {
            None if self.shut_down => Err(Error::ShutDown),
            event => Ok(event),
        }
    }

    fn tell(&mut self, sender: &Sender, notice: Notice) {
        let mailbox = self
            .served_at
            .get(sender)
            .and_then(|at| self.mailboxes.get_mut(&(sender.0, *at)));
        if let Some(mailbox) = mailbox {
            mailbox.put_notice(notice);
        }
    }

    fn conclude(&mut self, address: &Arc<str>, outcome: &Notice) {
        let told = self
            .destinations
            .get_mut(address)
            .map(|destination| destination.conclude(outcome));
        for sender in told.unwrap_or_default() {
            self.tell(&sender, outcome.clone());
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
            if self.queue(now, id, &message) {
                return Ok(None);
            }
        }
        let Some(address) = message.address.clone() else {
            return Err(Error::SendUnreachable { member });
        };
        self.send_to_address(now, &address, message)
    }

    fn queue(&mut self, now: Instant, id: ConnectionId, message: &Outgoing) -> bool {
        match self.links.get_mut(&id) {
            Some(link) if !link.retiring => {
                link.backlog.push(message.clone());
                link.used_at = now;
                link.signals.work.notify_one();
                true
            }
            _ => false,
        }
    }

    fn send_to_address(
        &mut self,
        now: Instant,
        address: &Arc<str>,
        mut message: Outgoing,
    ) -> Result<Option<Dial>, Error> {
        if !self.destinations.contains_key(address) {
            split_address(address)?;
            if self.destinations.len() >= DESTINATIONS {
                return Err(Error::SendTooManyAddresses { limit: DESTINATIONS });
            }
            self.destinations
                .insert(Arc::clone(address), Destination::new(now));
        }
        let sender = (message.data.group, Arc::clone(&message.data.from));
        let is_served = self.served_at.contains_key(&sender);
        let Some(destination) = self.destinations.get_mut(address) else {
            return Ok(None);
        };
        destination.sent_at = now;
        let mut told = None;
        if is_served {
            let interest = destination.interests.entry(sender.clone()).or_insert_with(|| {
                told.clone_from(&destination.outcome);
                Interest {
                    heard: destination.outcome.clone(),
                    sent_at: now,
                }
            });
            interest.sent_at = now;
        }
        let bound = destination.bound;
        let newest = bound.and_then(|bound| self.instances.get(&bound.instance)?.last().copied());
        if let (Some(bound), Some(newest)) = (bound, newest) {
            message.data.endpoint = bound.endpoint;
            self.queue(now, newest, &message);
        }
        let dial = match self.destinations.get_mut(address) {
            Some(destination) if newest.is_none() => {
                message.data.endpoint = None;
                destination.bound = None;
                destination.pending.push(message);
                let dial = Dial {
                    address: Arc::clone(address),
                    wait: destination.back_off(),
                };
                (!std::mem::replace(&mut destination.dialling, true)).then_some(dial)
            }
            _ => None,
        };
        if let Some(notice) = told {
            self.tell(&sender, notice);
        }
        Ok(dial)
    }

    // Dialling.

    /// Takes note that an attempt failed; returns the longest wait before the next one, or none if nobody has sent to
    /// the address for a while.
    pub(super) fn dial_failed(
        &mut self,
        now: Instant,
        address: &Arc<str>,
        failure: DialFailure,
    ) -> Option<Duration> {
        let outcome = match failure {
            DialFailure::Unresolvable(cause) => Notice::Unresolvable {
                address: Arc::clone(address),
                cause,
            },
            DialFailure::Failed(cause) => Notice::DialFailed {
                address: Arc::clone(address),
                cause,
            },
            DialFailure::Version { ours, theirs } => Notice::VersionMismatch {
                address: Arc::clone(address),
                ours,
                theirs,
            },
        };
        self.conclude(address, &outcome);
        let shut_down = self.shut_down;
        let destination = self.destinations.get_mut(address)?;
        destination.failures = destination.failures.saturating_add(1);
        if shut_down || now.duration_since(destination.sent_at) > DIAL_PATIENCE {
            destination.dialling = false;
            destination.pending.clear();
            return None;
        }
        Some(destination.back_off())
    }

    /// Takes note that an attempt was broken off.
    pub(super) fn dial_abandoned(&mut self, address: &Arc<str>) {
        if let Some(destination) = self.destinations.get_mut(address) {
            destination.dialling = false;
        }
    }

    // Connections.

    /// Adds a connection.
    pub(super) fn opened(&mut self, now: Instant, id: ConnectionId, opened: Opened) -> Arc<Signals> {
        let instance = opened.instance;
        let signals = Arc::new(Signals::default());
        let mut link = Link {
            opened: opened.clone(),
            opened_at: now,
            used_at: now,
            proven: false,
            retiring: self.shut_down,
            control: VecDeque::new(),
            backlog: Backlog::default(),
            routes: 0,
            signals: Arc::clone(&signals),
        };
        if self.shut_down {
            signals.work.notify_one();
        } else {
            let siblings = self.instances.entry(instance).or_default();
            if !siblings.is_empty() && self.instance < instance {
                // The answer shows that the other side can use it, too.
                link.control(Frame::Ping);
            }
            siblings.push(id);
        }
        self.links.insert(id, link);
        if let Some((address, endpoint)) = opened.dialled {
            self.bind(now, &address, Bound { instance, endpoint });
        }
        signals
    }

    fn bind(&mut self, now: Instant, address: &Arc<str>, bound: Bound) {
        let Some(destination) = self.destinations.get_mut(address) else {
            return;
        };
        destination.bound = Some(bound);
        destination.dialling = false;
        let newest = self
            .instances
            .get(&bound.instance)
            .and_then(|siblings| siblings.last().copied());
        while let Some(mut message) = self
            .destinations
            .get_mut(address)
            .and_then(|to| to.pending.pop(now))
        {
            message.data.endpoint = bound.endpoint;
            if let Some(newest) = newest {
                self.queue(now, newest, &message);
            }
        }
        self.conclude(
            address,
            &Notice::Connected {
                address: Arc::clone(address),
            },
        );
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
        for older in siblings.into_iter().take_while(|sibling| *sibling != id) {
            self.retire(older);
        }
    }

    /// Gives a message to the member that it is for, or answers that there is none.
    pub(super) fn received(&mut self, now: Instant, id: ConnectionId, data: Data, received_at: Duration) {
        self.heard(id);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.used_at = now;
        let at = match &data.to {
            Some(to) => self.served_at.get(&(data.group, Arc::clone(to))).copied(),
            None => data.endpoint,
        };
        let Some(mailbox) = at.and_then(|at| self.mailboxes.get_mut(&(data.group, at))) else {
            let is_served = data.to.is_some() && self.mailboxes.keys().any(|(group, _)| *group == data.group);
            let refusal = if is_served {
                Refusal::of(&data, Code::UnknownMember, "this member is not here")
            } else {
                Refusal::of(
                    &data,
                    Code::UnknownGroup,
                    "nobody here has this callsign on this port",
                )
            };
            link.control(Frame::Error(refusal));
            return;
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
        if !link.retiring && link.routes < ROUTES_PER_CONNECTION && self.routes.get(&sender) != Some(&id) {
            link.routes += 1;
            if let Some(former) = self
                .routes
                .insert(sender, id)
                .and_then(|former| self.links.get_mut(&former))
            {
                former.routes = former.routes.saturating_sub(1);
            }
        }
        if self.refused {
            self.accepted(id, &receiver);
        }
    }

    /// A message for `receiver` came from where it was refused before: the refusal no longer holds.
    fn accepted(&mut self, id: ConnectionId, receiver: &Sender) {
        let Some(instance) = self.links.get(&id).map(|link| link.opened.instance) else {
            return;
        };
        let mut mended = Vec::new();
        self.refused = false;
        for (address, destination) in &mut self.destinations {
            let is_here = destination.bound.is_some_and(|bound| bound.instance == instance);
            for (sender, interest) in &mut destination.interests {
                if !interest.heard.as_ref().is_some_and(Notice::is_refusal) {
                    continue;
                }
                if is_here && sender == receiver {
                    let notice = Notice::Connected {
                        address: Arc::clone(address),
                    };
                    interest.heard = Some(notice.clone());
                    mended.push(notice);
                } else {
                    self.refused = true;
                }
            }
        }
        for notice in mended {
            self.tell(receiver, notice);
        }
    }

    /// Answers a frame whose type this version does not know.
    pub(super) fn unknown_type(&mut self, id: ConnectionId, kind: &str) {
        self.heard(id);
        if let Some(link) = self.links.get_mut(&id) {
            link.control(Frame::Error(Refusal::new(
                Code::UnknownType,
                format_args!("{kind:?} is not known"),
            )));
        }
    }

    /// The other side refused a message of ours.
    pub(super) fn refused(&mut self, now: Instant, id: ConnectionId, refusal: Refusal) {
        self.heard(id);
        let Some(instance) = self.links.get(&id).map(|link| link.opened.instance) else {
            return;
        };
        let (Some(group), Some(from)) = (refusal.group, refusal.from) else {
            return;
        };
        if let Some(to) = &refusal.to {
            self.forget_route(&(group, Arc::clone(to)), id);
        }
        let sender = (group, from);
        let mut told = Vec::new();
        for (address, destination) in &mut self.destinations {
            let is_here = destination.bound.is_some_and(|bound| {
                bound.instance == instance
                    && (refusal.endpoint.is_none() || bound.endpoint == refusal.endpoint)
            });
            let Some(interest) = destination.interests.get_mut(&sender).filter(|_| is_here) else {
                continue;
            };
            let notice = match (refusal.code, &refusal.to) {
                (Code::UnknownGroup, _) => Notice::UnknownGroup {
                    address: Arc::clone(address),
                },
                (Code::UnknownMember, Some(to)) => Notice::UnknownMember {
                    address: Arc::clone(address),
                    member: Arc::clone(to),
                },
                _ => continue,
            };
            if interest.heard.as_ref() != Some(&notice) {
                interest.heard = Some(notice.clone());
                told.push(notice);
            }
            let since = destination.revalidated_at.map(|at| now.duration_since(at));
            if refusal.code == Code::UnknownGroup && since.is_none_or(|since| since >= REVALIDATE) {
                destination.revalidated_at = Some(now);
                // The first refusal only starts the clock: most often it is the user's mistake, not a moved address.
                if since.is_some() {
                    destination.bound = None;
                }
            }
        }
        self.refused |= !told.is_empty();
        for notice in told {
            self.tell(&sender, notice);
        }
    }

    fn forget_route(&mut self, sender: &Sender, id: ConnectionId) {
        if self.routes.get(sender) == Some(&id) {
            self.routes.remove(sender);
            if let Some(link) = self.links.get_mut(&id) {
                link.routes = link.routes.saturating_sub(1);
            }
        }
    }

    /// Asks the other side for a sign of life.
    pub(super) fn ping(&mut self, id: ConnectionId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.control(Frame::Ping);
        }
    }

    /// Answers a ping.
    pub(super) fn pong(&mut self, id: ConnectionId) {
        self.heard(id);
        if let Some(link) = self.links.get_mut(&id) {
            link.control(Frame::Pong);
        }
    }

    /// Refuses what came in; the connection is about to end.
    pub(super) fn refuse(&mut self, id: ConnectionId, refusal: Refusal) {
        if let Some(link) = self.links.get_mut(&id) {
            link.control(Frame::Error(refusal));
        }
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
        let siblings = self.instances.entry(instance).or_default();
        siblings.retain(|sibling| *sibling != id);
        if let Some(heir) = siblings.last().copied() {
            for route in self.routes.values_mut().filter(|route| **route == id) {
                *route = heir;
            }
            let moved = std::mem::take(&mut link.routes);
            if let Some(heir) = self.links.get_mut(&heir) {
                heir.routes += moved;
            }
            return;
        }
        self.instances.remove(&instance);
        self.routes.retain(|_, route| *route != id);
        for destination in self.destinations.values_mut() {
            if destination.bound.is_some_and(|bound| bound.instance == instance) {
                destination.bound = None;
            }
        }
    }

    /// True while a connection must not be read, for too many answers wait to be written.
    pub(super) fn is_behind(&self, id: ConnectionId) -> bool {
        self.links
            .get(&id)
            .is_some_and(|link| link.control.len() >= CONTROL)
    }

    /// What a connection should write now.
    pub(super) fn take_work(&mut self, now: Instant, id: ConnectionId) -> Work {
        let Some(link) = self.links.get_mut(&id) else {
            return Work::Goodbye;
        };
        let mut frames: Vec<Frame> = link.control.drain(..).collect();
        link.signals.answered.notify_one();
        let mut bytes = 0;
        while bytes < BATCH_BYTES {
            let Some(message) = link.backlog.pop(now) else {
                break;
            };
            bytes += message.data.weight_bytes();
            frames.push(Frame::Data(message.data));
        }
        match frames.is_empty() {
            false => Work::Frames(frames),
            true if link.retiring => Work::Goodbye,
            true => Work::Wait,
        }
    }

    /// Removes a connection that has ended, and finds another way for what it had not begun to write.
    pub(super) fn closed(&mut self, now: Instant, id: ConnectionId) -> Vec<Dial> {
        self.retire(id);
        let Some(mut link) = self.links.remove(&id) else {
            return Vec::new();
        };
        if let Some((address, _)) = &link.opened.dialled {
            if let Some(destination) = self.destinations.get_mut(address) {
                destination.connection_ended(now.duration_since(link.opened_at));
            }
        }
        if self.shut_down {
            return Vec::new();
        }
        let mut dials = Vec::new();
        while let Some(message) = link.backlog.pop(now) {
            // What finds no way is lost, as any message may be; its sender repeats it.
            dials.extend(self.route(now, None, message).ok().flatten());
        }
        dials
    }

    // Housekeeping.

    /// Forgets addresses and retires connections that nobody has used for a while.
    pub(super) fn sweep(&mut self, now: Instant) {
        let is_idle = |since: Instant| now.duration_since(since) > IDLE_FORGET;
        self.destinations.retain(|_, destination| {
            destination
                .interests
                .retain(|_, interest| !is_idle(interest.sent_at));
            destination.dialling || !is_idle(destination.sent_at)
        });
        let idle: Vec<_> = self
            .links
            .iter()
            .filter(|(_, link)| is_idle(link.used_at))
            .map(|(id, _)| *id)
            .collect();
        for id in idle {
            self.retire(id);
        }
    }

    /// Takes every connection out of use and refuses everything from here on.
    pub(super) fn shut_down(&mut self) {
        self.shut_down = true;
        let all: Vec<_> = self.links.keys().copied().collect();
        for id in all {
            self.retire(id);
        }
        for mailbox in self.mailboxes.values() {
            mailbox.filled.notify_one();
        }
    }

    /// How many connections are up, retired ones included.
    pub(super) fn connections(&self) -> usize {
        self.links.len()
    }
}

#[cfg(test)]
mod tests;
