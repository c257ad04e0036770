//! Who is reached how: the synchronous core of the transport.
//!
//! It holds members, connections, channels and addresses, and decides where each message goes, which of two
//! connections stays, who may prove what, who hears of a failure and when an address is dialled. It does no I/O and no
//! cryptography: connection tasks take from it what to write and what to prove and tell it what arrived and what was
//! proven, and a returned [`Dial`] asks for an attempt.
//!
//! # Rules
//!
//! - A message goes over the connection that it answers, if that lives; else over the channel on which its receiver was
//!   last heard; else to the receiver's address, where a channel is opened first.
//! - An address belongs to the controller that answered there, as long as any connection to that controller lives.
//! - Two connections between the same two controllers: the newer one stays, since it has just been shown to work
//!   while the older one may be dead without knowing. Only the controller with the smaller instance number decides,
//!   once a frame has come in on the newer one, so both agree and none is retired before both ends can use the other.
//! - A retired connection sends what is queued, says goodbye, and reads until the other side has done the same.
//! - A connection that ends unexpectedly gives back what it had not begun to write.
//! - A stranger tries each callsign served here once on a connection, and the connection ends with that; see
//!   [`Guesses`] for how often it may come back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Error;
use super::backlog::Outgoing;
use super::destination::{Bound, Destinations, Dial};
use super::frame::{
    ChannelKey, Code, DATA_OVERHEAD_BYTES, Data, Endpoint, FRAME_MAX_BYTES, Frame, Instance, Refusal,
    Versions,
};
use super::guesses::Guesses;
use super::link::{ConnectionId, Link, Opened, Signals, Work};
use super::mailbox::{Event, Incoming, Notice};
use super::members::{Credentials, Members, SeatId};
use super::pair::{Early, Pair, Want};

/// A connection without messages, other than pings, is retired after this.
const IDLE_RETIRE: Duration = Duration::from_secs(60);

/// What two processes have proven to each other holds for this long after their last connection.
const APART_FORGET: Duration = Duration::from_secs(60);

/// Leads back to the sender of a message, over the connection that it came on, while that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyRoute(pub(super) ConnectionId, pub(super) ChannelKey);

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
    /// The other processes, and this one where members of it talk to each other.
    pairs: HashMap<Instance, Pair>,
    /// The channel on which a member here has last heard another.
    routes: HashMap<(SeatId, Arc<str>), (Instance, ChannelKey)>,
    destinations: Destinations,
    guesses: Guesses,
}

impl Switchboard {
    pub(super) fn new(instance: Instance) -> Self {
        Self {
            instance,
            shut_down: false,
            members: Members::default(),
            links: HashMap::new(),
            pairs: HashMap::new(),
            routes: HashMap::new(),
            destinations: Destinations::default(),
            guesses: Guesses::default(),
        }
    }

    // Members.

    /// Gives `member` a seat at a port; the returned handle is notified of each event.
    pub(super) fn register(
        &mut self,
        endpoint: Endpoint,
        member: &Arc<str>,
        credentials: Credentials,
    ) -> Result<(SeatId, Arc<Notify>), Error> {
        if self.shut_down {
            return Err(Error::ShutDown);
        }
        self.members.register(endpoint, member, credentials)
    }

    /// Replaces a member's callsigns. Its channels stay open.
    pub(super) fn set_credentials(&mut self, seat: SeatId, credentials: Credentials) -> Result<(), Error> {
        self.destinations.forget_proofs(seat);
        self.members.set_credentials(seat, credentials)
    }

    pub(super) fn unregister(&mut self, seat: SeatId) {
        self.members.unregister(seat);
        self.destinations.forget_member(seat);
        self.guesses.forget(seat);
        self.routes.retain(|(from, _), _| *from != seat);
        for pair in self.pairs.values_mut() {
            pair.forget(seat);
        }
    }

    /// The next event of a member; an error after the transport was shut down and everything was taken.
    pub(super) fn take_event(&mut self, seat: SeatId) -> Result<Option<Event>, Error> {
        match self.members.take_event(seat) {
            None if self.shut_down => Err(Error::ShutDown),
            event => Ok(event),
        }
    }

    // Sending.

    /// Queues a message; returns the attempt to dial that it needs, if any.
    pub(super) fn send(
        &mut self,
        now: Instant,
        from: SeatId,
        to: &To,
        incarnation: u64,
        body: Arc<RawValue>,
    ) -> Result<Option<Dial>, Error> {
        if self.shut_down {
            return Err(Error::ShutDown);
        }
        let bytes = DATA_OVERHEAD_BYTES + body.get().len();
        if bytes > FRAME_MAX_BYTES {
            return Err(Error::SendTooLong {
                bytes,
                limit_bytes: FRAME_MAX_BYTES,
            });
        }
        let message = Outgoing {
            from,
            to: to.member.clone(),
            channel: None,
            incarnation,
            body,
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
        let member = message.to.clone();
        let answered = via.and_then(|ReplyRoute(id, key)| {
            let link = self.links.get(&id).filter(|link| !link.retiring)?;
            let channel = self.pairs.get(&link.opened.instance)?.channel(key)?;
            (channel.seat == message.from).then_some((id, key))
        });
        let heard = || {
            let (instance, key) = *self.routes.get(&(message.from, member.clone()?))?;
            Some((*self.pairs.get(&instance)?.links.last()?, key))
        };
        if let Some((id, key)) = answered.or_else(heard) {
            self.push(now, id, key, message);
            return Ok(None);
        }
        match message.address.clone() {
            Some(address) => self.send_to_address(now, &address, message),
            None => Err(Error::SendUnreachable { member }),
        }
    }

    fn push(&mut self, now: Instant, id: ConnectionId, key: ChannelKey, mut message: Outgoing) {
        message.channel = Some(key);
        if let Some(link) = self.links.get_mut(&id) {
            link.push(now, message);
        }
    }

    fn send_to_address(
        &mut self,
        now: Instant,
        address: &Arc<str>,
        message: Outgoing,
    ) -> Result<Option<Dial>, Error> {
        let from = message.from;
        let destination = self.destinations.sent_to(now, address)?;
        let Some(seat) = self.members.get(from) else {
            return Ok(None);
        };
        let (credentials, notice) = (seat.credentials.clone(), destination.interest(now, from));
        if let Some(notice) = notice {
            self.members.tell(from, notice);
        }
        let is_quiet = destination.is_quiet(now, from);
        let bound = destination.bound.and_then(|bound| {
            let pair = self.pairs.get_mut(&bound.instance)?;
            let newest = *pair.links.last()?;
            Some((bound, pair, newest))
        });
        let Some((bound, pair, newest)) = bound else {
            return Ok((!is_quiet).then(|| destination.wait(address, message)).flatten());
        };
        let want = message
            .to
            .clone()
            .map_or(Want::Port(bound.endpoint), Want::Member);
        let wish = (from, want);
        if let Some(key) = pair.find(&wish) {
            self.push(now, newest, key, message);
            return Ok(None);
        }
        let Err(message) = pair.wait(&wish, message) else {
            return Ok(None);
        };
        if is_quiet {
            return Ok(None);
        }
        let attempt = destination.attempt(from, bound.instance, credentials.former.is_some());
        let callsign = match credentials.former {
            Some(former) if attempt.former => former,
            _ => credentials.callsign,
        };
        pair.begin(wish, address, callsign, attempt.after, message);
        self.stir(newest);
        Ok(None)
    }

    /// Has a connection look for proofs to begin.
    fn stir(&self, id: ConnectionId) {
        if let Some(link) = self.links.get(&id) {
            link.signals.proofs.notify_one();
        }
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
            self.members.tell(member, outcome.clone());
        }
    }

    // Connections.

    /// Adds a connection.
    pub(super) fn opened(
        &mut self,
        now: Instant,
        id: ConnectionId,
        opened: Opened,
    ) -> (Arc<Signals>, Vec<Dial>) {
        let instance = opened.instance;
        let mut link = Link::new(now, opened.clone());
        let signals = Arc::clone(&link.signals);
        if self.shut_down {
            link.retire(now);
            self.links.insert(id, link);
            return (signals, Vec::new());
        }
        let pair = self.pairs.entry(instance).or_default();
        if !pair.links.is_empty() && self.instance < instance {
            // The answer shows that the other side can use it, too.
            link.control(Frame::Ping);
        }
        pair.links.push(id);
        pair.apart_since = None;
        if pair.is_trusted() {
            link.trust();
        }
        self.links.insert(id, link);
        let mut dials = Vec::new();
        if let Some((address, endpoint)) = opened.dialled
            && let Some(destination) = self.destinations.get_mut(&address)
        {
            destination.bound = Some(Bound { instance, endpoint });
            destination.dial_ended();
            let waiting: Vec<_> = std::iter::from_fn(|| destination.take_pending(now)).collect();
            self.conclude(Notice::Connected { address });
            dials = self.route_all(now, waiting);
        }
        (signals, dials)
    }

    /// What finds no way is lost, as any message may be; its sender repeats it.
    fn route_all(&mut self, now: Instant, messages: Vec<Outgoing>) -> Vec<Dial> {
        let routed = messages.into_iter().map(|message| self.route(now, None, message));
        routed.filter_map(Result::ok).flatten().collect()
    }

    /// Takes note that a frame came in. The first one shows that the connection works both ways: older ones to the
    /// same controller are retired.
    pub(super) fn heard(&mut self, now: Instant, id: ConnectionId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut link.is_heard, true) || self.instance >= link.opened.instance {
            return;
        }
        let siblings = self
            .pairs
            .get(&link.opened.instance)
            .map(|pair| pair.links.clone());
        let siblings = siblings.unwrap_or_default();
        // A retired connection is not among them, and retires none.
        if siblings.contains(&id) {
            for older in siblings.into_iter().take_while(|sibling| *sibling != id) {
                self.retire(now, older);
            }
        }
    }

    /// Gives a message to the member that it is for, or answers that there is none.
    pub(super) fn received(&mut self, now: Instant, id: ConnectionId, data: Data, received_at: Duration) {
        self.heard(now, id);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let key = ChannelKey {
            number: data.channel,
            is_ours: !data.opener,
        };
        let instance = link.opened.instance;
        let Some(pair) = self.pairs.get_mut(&instance) else {
            return;
        };
        let Some(channel) = pair.channel(key) else {
            if pair.is_awaited(key) {
                return pair.keep(
                    key,
                    Early {
                        id,
                        data,
                        received_at,
                    },
                );
            }
            return link.control(Frame::Error(Refusal::of_channel(Code::UnknownChannel, key)));
        };
        link.used_at = now;
        let message = Incoming {
            from: Arc::clone(&channel.member),
            incarnation: data.incarnation,
            body: data.body,
            via: ReplyRoute(id, key),
            received_at,
        };
        self.routes
            .insert((channel.seat, Arc::clone(&channel.member)), (instance, key));
        self.members.deliver(channel.seat, message);
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
        let Some(link) = self.links.get_mut(&id) else {
            return Work::Goodbye;
        };
        let pair = self.pairs.get(&link.opened.instance);
        let proving = link.retiring && pair.is_some_and(|pair| pair.is_proving(id));
        link.take_work(now, proving)
    }

    /// Takes a connection out of use: it writes what is queued, says goodbye and ends.
    pub(super) fn retire(&mut self, now: Instant, id: ConnectionId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if link.retiring {
            return;
        }
        link.retire(now);
        let instance = link.opened.instance;
        let Some(pair) = self.pairs.get_mut(&instance) else {
            return;
        };
        pair.links.retain(|sibling| *sibling != id);
        match pair.links.last().copied() {
            // What was to be begun on this one is begun there.
            Some(heir) => self.stir(heir),
            None => self.destinations.unbind(instance),
        }
    }

    /// The other side says nothing more on a connection.
    pub(super) fn heard_goodbye(&mut self, now: Instant, id: ConnectionId) {
        self.retire(now, id);
        if let Some(link) = self.links.get_mut(&id) {
            link.hear_goodbye();
        }
    }

    /// Ends what a stranger did not prove in time.
    pub(super) fn retire_stranger(&mut self, now: Instant, id: ConnectionId) {
        let is_trusted = |link: &Link| link.signals.is_trusted.load(Ordering::Relaxed);
        if self.links.get(&id).is_some_and(|link| !is_trusted(link)) {
            self.retire(now, id);
        }
    }

    /// Removes a connection that has ended, and finds another way for what it had not begun to write.
    pub(super) fn closed(&mut self, now: Instant, id: ConnectionId) -> Vec<Dial> {
        self.retire(now, id);
        let Some(mut link) = self.links.remove(&id) else {
            return Vec::new();
        };
        if !link.signals.is_trusted.load(Ordering::Relaxed) {
            for seat in std::mem::take(&mut link.failed) {
                self.report(now, link.opened.remote, seat);
            }
        }
        if let Some((address, _)) = &link.opened.dialled
            && let Some(destination) = self.destinations.get_mut(address)
        {
            destination.connection_ended(now.duration_since(link.opened_at));
        }
        let mut unsent = Vec::new();
        let instance = link.opened.instance;
        if let Some(pair) = self.pairs.get_mut(&instance) {
            unsent = pair.link_ended(id, now);
            if pair.links.is_empty() {
                pair.apart_since.get_or_insert(now);
                if !pair.is_trusted() {
                    self.pairs.remove(&instance);
                }
            }
        }
        if self.shut_down {
            return Vec::new();
        }
        unsent.extend(std::iter::from_fn(|| link.take_unsent(now)));
        self.route_all(now, unsent)
    }

    // Housekeeping.

    /// Forgets addresses and retires connections that nobody has used for a while.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.destinations.sweep(now);
        self.guesses.sweep(now);
        let idle = self
            .links
            .iter()
            .filter(|(_, link)| now.duration_since(link.used_at) > IDLE_RETIRE);
        for id in idle.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.retire(now, id);
        }
        let is_apart = |since: Instant| now.duration_since(since) > APART_FORGET;
        self.pairs
            .retain(|_, pair| !(pair.links.is_empty() && pair.apart_since.is_some_and(is_apart)));
        let pairs = &self.pairs;
        self.routes.retain(|_, (instance, key)| {
            pairs
                .get(instance)
                .is_some_and(|pair| pair.channel(*key).is_some())
        });
    }

    /// Takes every connection out of use and refuses everything from here on.
    pub(super) fn shut_down(&mut self, now: Instant) {
        self.shut_down = true;
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            self.retire(now, id);
        }
        self.members.wake_all();
    }

    /// How many other processes are connected.
    pub(super) fn peers(&self) -> usize {
        self.pairs.values().filter(|pair| !pair.links.is_empty()).count()
    }

    /// How many proofs of strangers, and of members that were asked for by name, have failed.
    pub(super) fn failed_proofs(&self) -> u64 {
        self.guesses.count()
    }

    /// How much it keeps of others, counted.
    pub(super) fn remembered(&self) -> usize {
        let pairs = self.pairs.values().map(|pair| 1 + pair.remembered());
        let kept = [
            self.routes.len(),
            self.destinations.len(),
            self.guesses.remembered(),
        ];
        pairs.chain(kept).sum()
    }

    /// How many connections are up, retired ones included.
    pub(super) fn connections(&self) -> usize {
        self.links.len()
    }
}

mod proving;
#[cfg(test)]
mod tests;

pub(super) use proving::Asked;
