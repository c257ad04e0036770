//! What this process and one other have proven to each other, and what is being proven.
//!
//! A channel joins a member here and one there that have shown one another that they know one callsign. It belongs to
//! the two processes, by the keys that their connections are made with, so it outlives a connection: a link that was
//! cut is used again as soon as it is back.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::backlog::{Backlog, Outgoing};
use super::certificate::Identity;
use super::frame::{Accept, ChannelKey, Code, Data, Endpoint, Find, Found, SeatNumber, Target};
use super::link::ConnectionId;
use super::members::SeatId;
use super::proof::Callsign;

/// Channels between two processes at most: a controller with as many objects.
pub(super) const CHANNELS: usize = 1_024;

/// Proofs that this process has under way with another at most: on a link of 100 ms, 200 channels open within a second.
const TRIES: usize = 64;

/// Of these, for one member that looks for its like at a port: whoever is found at once has few tries wasted.
const TRIES_PER_SEARCH: usize = 4;

/// Messages that are kept until the acceptance of their channel: as many as a sender has waiting.
const EARLY: usize = 16;

/// An open channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Channel {
    /// The member here.
    pub(super) seat: SeatId,
    /// The member there.
    pub(super) member: Arc<str>,
    /// Its port.
    pub(super) endpoint: Endpoint,
    /// Its place there.
    pub(super) their_seat: SeatNumber,
}

/// Whom a member here wants a channel to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Want {
    /// This member.
    Member(Arc<str>),
    /// Whoever has the same callsign at this port.
    Port(Option<Endpoint>),
}

/// A channel that a member here waits for.
pub(super) type Wish = (SeatId, Want);

#[derive(Debug)]
struct Opening {
    /// The address that the messages were for.
    address: Arc<str>,
    /// The connection on which it is under way.
    link: Option<ConnectionId>,
    waiting: Backlog,
    callsign: Callsign,
    /// Seats up to this one were tried in vain.
    after: SeatNumber,
    has_asked: bool,
    has_found: bool,
    candidates: VecDeque<(Target, bool)>,
    in_flight: usize,
    refused: Option<(Code, String)>,
}

#[derive(Debug)]
struct Try {
    wish: Wish,
    /// The connection on which it is under way.
    link: ConnectionId,
    target: Target,
    former: bool,
    /// Whether the other side has shown that it knows the callsign.
    is_confirmed: bool,
    /// By what, and for what, its certificate has to be accepted.
    check: Option<Check>,
    early: Vec<Early>,
}

/// What a certificate has to be shown for.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) identity: Arc<Identity>,
    /// What the proof's tag covers.
    pub(super) message: Vec<u8>,
}

/// A message that came before the acceptance of its channel.
#[derive(Debug)]
pub(super) struct Early {
    pub(super) id: ConnectionId,
    pub(super) data: Data,
    pub(super) received_at: Duration,
}

/// A channel that has just been opened, with what waited for it.
#[derive(Debug)]
pub(super) struct Accepted {
    /// The member here.
    pub(super) seat: SeatId,
    pub(super) key: ChannelKey,
    pub(super) waiting: Backlog,
    pub(super) early: Vec<Early>,
}

/// What comes next in opening channels.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Ask who is served at a port.
    Find(Find),
    /// Begin a proof.
    Prove(Job),
}

/// A proof to begin.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Job {
    /// The member here.
    pub(super) seat: SeatId,
    pub(super) channel: u32,
    pub(super) target: Target,
    pub(super) former: bool,
    pub(super) callsign: Callsign,
}

/// An opening that came to nothing.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) wish: Wish,
    pub(super) address: Arc<str>,
    pub(super) code: Code,
    /// Why, where the code does not say it all.
    pub(super) cause: String,
    /// The last seat that was tried.
    pub(super) tried: SeatNumber,
}

#[derive(Debug, Default)]
pub(super) struct Pair {
    /// The connections that are not retired, oldest first.
    pub(super) links: Vec<ConnectionId>,
    /// Since when there is none.
    pub(super) apart_since: Option<Instant>,
    channels: HashMap<ChannelKey, Channel>,
    /// The places there of members that a channel leads to.
    taken: HashSet<SeatNumber>,
    openings: HashMap<Wish, Opening>,
    /// The wishes in the order in which they came up.
    queue: VecDeque<Wish>,
    tries: HashMap<u32, Try>,
    last_number: u32,
}

impl Pair {
    /// True once the other process has proven to be no stranger.
    pub(super) fn is_trusted(&self) -> bool {
        !self.channels.is_empty()
    }

    /// A member here whose callsign the other process has proven; always the same one, as long as that is here.
    pub(super) fn proven_by(&self) -> Option<SeatId> {
        self.channels.values().map(|channel| channel.seat).min()
    }

    pub(super) fn channel(&self, key: ChannelKey) -> Option<&Channel> {
        self.channels.get(&key)
    }

    /// How many channels are open, or being opened.
    pub(super) fn remembered(&self) -> usize {
        self.channels.len() + self.openings.len() + self.tries.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.channels.len() >= CHANNELS
    }

    /// The channel of a member here to another member, or to a port.
    pub(super) fn find(&self, wish: &Wish) -> Option<ChannelKey> {
        let fits = |channel: &Channel| {
            channel.seat == wish.0
                && match &wish.1 {
                    Want::Member(member) => channel.member == *member,
                    Want::Port(endpoint) => Some(channel.endpoint) == *endpoint,
                }
        };
        let found = self.channels.iter().filter(|(_, channel)| fits(channel));
        found.map(|(key, _)| *key).max()
    }

    pub(super) fn add(&mut self, key: ChannelKey, channel: Channel) {
        self.taken.insert(channel.their_seat);
        self.channels.insert(key, channel);
    }

    pub(super) fn remove(&mut self, key: ChannelKey) -> Option<Channel> {
        let removed = self.channels.remove(&key);
        self.find_taken();
        removed
    }

    fn find_taken(&mut self) {
        self.taken = self.channels.values().map(|channel| channel.their_seat).collect();
    }

    // Openings.

    /// Whether a channel is waited for already; if so, the message waits as well.
    pub(super) fn wait(&mut self, wish: &Wish, message: Outgoing) -> Result<(), Outgoing> {
        match self.openings.get_mut(wish) {
            Some(opening) => {
                opening.waiting.push(message);
                Ok(())
            }
            None => Err(message),
        }
    }

    /// Begins to open a channel for a message.
    pub(super) fn begin(
        &mut self,
        wish: Wish,
        address: &Arc<str>,
        callsign: Callsign,
        after: SeatNumber,
        message: Outgoing,
    ) {
        let mut opening = Opening {
            address: Arc::clone(address),
            link: None,
            waiting: Backlog::default(),
            callsign,
            after,
            has_asked: false,
            has_found: false,
            candidates: VecDeque::new(),
            in_flight: 0,
            refused: None,
        };
        if let Want::Member(member) = &wish.1 {
            opening.has_found = true;
            opening
                .candidates
                .push_back((Target::Member(Arc::clone(member)), false));
            // Who is known by name is surely there, so these go first: the first proof makes the rest easier.
            self.queue.push_front(wish.clone());
        } else {
            self.queue.push_back(wish.clone());
        }
        opening.waiting.push(message);
        self.openings.insert(wish, opening);
    }

    /// What to do next on this connection, if anything. One that is not the newest finishes what it began.
    pub(super) fn next(&mut self, link: ConnectionId) -> Option<Step> {
        let is_newest = self.links.last() == Some(&link);
        if self.tries.len() >= TRIES {
            return None;
        }
        // Each member there can be tried once by a stranger, so only one member here can look for its like.
        let is_stranger = !self.is_trusted();
        let mut searching = false;
        for wish in &self.queue {
            let Some(opening) = self.openings.get_mut(wish) else {
                continue;
            };
            if opening.link.map_or(!is_newest, |own| own != link) {
                continue;
            }
            opening.link = Some(link);
            if let Want::Port(endpoint) = &wish.1 {
                if is_stranger && std::mem::replace(&mut searching, true) {
                    continue;
                }
                if !std::mem::replace(&mut opening.has_asked, true) {
                    return Some(Step::Find(Find {
                        endpoint: *endpoint,
                        after: opening.after,
                    }));
                }
            }
            if opening.in_flight >= TRIES_PER_SEARCH {
                continue;
            }
            // Two groups rarely have two members each on the same two controllers.
            let is_free = |(target, _): &(Target, bool)| !matches!(target, Target::Seat(seat) if self.taken.contains(seat));
            let free = opening.candidates.iter().position(is_free).unwrap_or(0);
            let Some((target, former)) = opening.candidates.remove(free) else {
                continue;
            };
            opening.in_flight += 1;
            self.last_number = self.last_number.wrapping_add(1);
            let (channel, callsign) = (self.last_number, opening.callsign.clone());
            let begun = Try {
                wish: wish.clone(),
                link,
                target: target.clone(),
                former,
                is_confirmed: false,
                check: None,
                early: Vec::new(),
            };
            self.tries.insert(channel, begun);
            return Some(Step::Prove(Job {
                seat: wish.0,
                channel,
                target,
                former,
                callsign,
            }));
        }
        None
    }

    /// The other side says who is served at a port.
    pub(super) fn found(&mut self, found: &Found) -> Vec<Failure> {
        let waits = |(wish, opening): &(&Wish, &mut Opening)| {
            wish.1 == Want::Port(found.endpoint) && opening.has_asked && !opening.has_found
        };
        let mut openings: Vec<_> = self.openings.iter_mut().filter(waits).collect();
        openings.sort_unstable_by_key(|(wish, _)| wish.0);
        let mut asked = Vec::new();
        for (nth, (wish, opening)) in openings.into_iter().enumerate() {
            opening.has_found = true;
            let newer = found.seats.iter().copied().filter(|seat| *seat > opening.after);
            let (late, mut early): (Vec<_>, Vec<_>) = newer.partition(|seat| self.taken.contains(seat));
            // Most often both controllers have their members in one order; then each finds its like at once.
            let ahead = nth.checked_rem(early.len()).unwrap_or(0);
            early.rotate_left(ahead);
            opening.after = found.seats.iter().copied().fold(opening.after, SeatNumber::max);
            let seats = early.into_iter().chain(late);
            opening
                .candidates
                .extend(seats.map(|seat| (Target::Seat(seat), false)));
            asked.push(wish.clone());
        }
        asked
            .into_iter()
            .filter_map(|wish| self.conclude(&wish))
            .collect()
    }

    /// The other side's port is closed, or it will not say who is served there.
    pub(super) fn not_found(&mut self, endpoint: Option<Endpoint>, code: Code) -> Vec<Failure> {
        let asked: Vec<_> = self
            .openings
            .iter_mut()
            .filter(|(wish, opening)| {
                wish.1 == Want::Port(endpoint) && opening.has_asked && !opening.has_found
            })
            .map(|(wish, opening)| {
                opening.has_found = true;
                opening.refused = Some((code, String::new()));
                wish.clone()
            })
            .collect();
        asked
            .into_iter()
            .filter_map(|wish| self.conclude(&wish))
            .collect()
    }

    /// The other side knows the callsign: returns for whom it is confirmed, unless nobody waits for it any more.
    pub(super) fn confirm(&mut self, number: u32) -> Option<SeatId> {
        let begun = self.tries.get_mut(&number)?;
        if !self.openings.contains_key(&begun.wish) {
            self.tries.remove(&number);
            return None;
        }
        begun.is_confirmed = true;
        Some(begun.wish.0)
    }

    /// A certificate has to be shown with the acceptance.
    pub(super) fn demand(&mut self, number: u32, check: Check) {
        if let Some(begun) = self.tries.get_mut(&number) {
            begun.check = Some(check);
        }
    }

    /// What certificate has to be shown with the acceptance, if any.
    pub(super) fn check(&self, number: u32) -> Option<Check> {
        self.tries.get(&number)?.check.clone()
    }

    /// A proof has failed, at either side; returns the opening that fails with it.
    pub(super) fn refused(
        &mut self,
        number: u32,
        code: Code,
        cause: &str,
        has_former: bool,
    ) -> Option<Failure> {
        let begun = self.tries.remove(&number)?;
        let opening = self.openings.get_mut(&begun.wish)?;
        opening.in_flight = opening.in_flight.saturating_sub(1);
        if has_former && !begun.former {
            opening.candidates.push_back((begun.target, true));
        }
        if matches!(code, Code::Busy | Code::Certificate) {
            // The rest would be refused as well, or is somebody else.
            opening.candidates.clear();
        }
        if code != Code::WrongCallsign || opening.refused.is_none() {
            opening.refused = Some((code, cause.to_owned()));
        }
        self.conclude(&begun.wish)
    }

    /// Whether a channel is as good as open: all that is missing is to hear it.
    pub(super) fn is_awaited(&self, key: ChannelKey) -> bool {
        let begun = self.tries.get(&key.number).filter(|_| key.is_ours);
        begun.is_some_and(|begun| begun.is_confirmed)
    }

    /// Keeps what has overtaken the acceptance on another connection.
    pub(super) fn keep(&mut self, key: ChannelKey, early: Early) {
        if let Some(begun) = self.tries.get_mut(&key.number)
            && begun.early.len() < EARLY
        {
            begun.early.push(early);
        }
    }

    /// The other side has accepted, over this connection and with a certificate that was found good or without; none where
    /// it was not asked to, or not so.
    pub(super) fn accepted(
        &mut self,
        link: ConnectionId,
        accept: Accept,
        is_certified: bool,
    ) -> Option<Accepted> {
        let begun = self.tries.get(&accept.channel)?;
        // Whoever was confirmed to answers after that, on the connection where it was; anybody else may have come between.
        if !begun.is_confirmed || begun.link != link || begun.check.is_some() && !is_certified {
            return None;
        }
        let Try { wish, early, .. } = self.tries.remove(&accept.channel)?;
        let waiting = self.openings.remove(&wish).map(|opening| opening.waiting);
        self.queue.retain(|queued| *queued != wish);
        let key = ChannelKey {
            number: accept.channel,
            is_ours: true,
        };
        let seat = wish.0;
        let channel = Channel {
            seat,
            member: accept.member,
            endpoint: accept.endpoint,
            their_seat: accept.seat,
        };
        self.add(key, channel);
        Some(Accepted {
            seat,
            key,
            waiting: waiting.unwrap_or_default(),
            early,
        })
    }

    /// Ends an opening that has nothing left to try.
    fn conclude(&mut self, wish: &Wish) -> Option<Failure> {
        let opening = self.openings.get(wish)?;
        if !opening.has_found || opening.in_flight > 0 || !opening.candidates.is_empty() {
            return None;
        }
        let opening = self.openings.remove(wish)?;
        self.queue.retain(|queued| queued != wish);
        let refused = opening.refused;
        let (code, cause) = refused.unwrap_or((Code::WrongCallsign, String::new()));
        Some(Failure {
            wish: wish.clone(),
            address: opening.address,
            code,
            cause,
            tried: opening.after,
        })
    }

    /// Whether channels are waited for though nothing is under way that could open one.
    pub(super) fn is_stuck(&self) -> bool {
        self.tries.is_empty() && !self.openings.is_empty()
    }

    /// Whether this process has proofs under way on a connection.
    pub(super) fn is_proving(&self, link: ConnectionId) -> bool {
        self.tries.values().any(|begun| {
            let opening = self.openings.get(&begun.wish);
            opening.is_some_and(|opening| opening.link == Some(link))
        })
    }

    /// The connection has ended, and with it the proofs on it; returns what waited for them.
    pub(super) fn link_ended(&mut self, link: ConnectionId, now: Instant) -> Vec<Outgoing> {
        let is_apart = self.links.is_empty();
        let ended = |opening: &mut Opening| is_apart || opening.link == Some(link);
        let mut waiting = Vec::new();
        for (wish, mut opening) in self.openings.extract_if(|_, opening| ended(opening)) {
            waiting.extend(std::iter::from_fn(|| opening.waiting.pop(now)));
            self.queue.retain(|queued| *queued != wish);
            self.tries.retain(|_, begun| begun.wish != wish);
        }
        waiting
    }

    /// The member here has gone.
    pub(super) fn forget(&mut self, seat: SeatId) {
        self.channels.retain(|_, channel| channel.seat != seat);
        self.find_taken();
        self.openings.retain(|wish, _| wish.0 != seat);
        self.tries.retain(|_, begun| begun.wish.0 != seat);
        self.queue.retain(|wish| wish.0 != seat);
    }
}
