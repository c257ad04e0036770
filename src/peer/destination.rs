//! Addresses that members send to: whom each led to, what waits for it, and who hears what became of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Error;
use super::backlog::{Backlog, Outgoing};
use super::frame::{Code, Endpoint, Instance, SeatNumber};
use super::mailbox::Notice;
use super::members::SeatId;
use super::pair::{Failure, Want};

/// Addresses that are sent to at most: 1,000 voters, and as many that have just changed theirs.
const DESTINATIONS: usize = 2_048;

/// An address that nobody sends to is forgotten after this.
const IDLE_FORGET: Duration = Duration::from_secs(60);

/// The wait before the second attempt to dial an address.
const BACK_OFF_FIRST: Duration = Duration::from_millis(50);

/// The longest wait between attempts, so that a healed link is found within about a second.
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// A connection that lived shorter than this counts as a failed attempt: a controller that accepts and then closes,
/// because it is full, must not be dialled in a loop.
const SETTLED: Duration = Duration::from_secs(5);

/// Dialling goes on for this long after the last message to an address: five heartbeats of the slowest profile.
const DIAL_PATIENCE: Duration = Duration::from_secs(10);

/// An address where nobody knew a group is dialled anew at most this often: its name or its load balancer may lead
/// elsewhere by now.
const REVALIDATE: Duration = Duration::from_secs(30);

/// The wait after a proof has failed at an address, before the next. It doubles up to the longest.
const PROOF_PAUSE_FIRST: Duration = Duration::from_secs(1);

/// The longest wait, so that a member that comes up later is found within seconds.
const PROOF_PAUSE_MAX: Duration = Duration::from_secs(5);

/// The controller behind an address, and which of its ports the address leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) instance: Instance,
    pub(super) endpoint: Option<Endpoint>,
}

/// Asks for an attempt to dial `address`, after `wait` at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dial {
    pub(super) address: Arc<str>,
    pub(super) wait: Duration,
}

/// A member that sends to an address, and what it has heard about it.
#[derive(Debug)]
struct Interest {
    heard: Option<Notice>,
    sent_at: Instant,
    proofs: Proofs,
}

/// What came of a member's proofs at an address.
#[derive(Clone, Debug, Default)]
struct Proofs {
    failures: u32,
    quiet_until: Option<Instant>,
    /// Up to which seat of which controller each callsign was tried: the present one and the former.
    tried: [Option<(Instance, SeatNumber)>; 2],
}

/// How a member is to try next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    /// By its former callsign.
    pub(super) former: bool,
    /// Seats up to this one were tried in vain.
    pub(super) after: SeatNumber,
}

#[derive(Debug)]
pub(super) struct Destination {
    pub(super) bound: Option<Bound>,
    dialling: bool,
    failures: u32,
    pending: Backlog,
    outcome: Option<Notice>,
    interests: HashMap<SeatId, Interest>,
    sent_at: Instant,
    /// When nobody there last knew a group and the address was given up for that.
    refused_at: Option<Instant>,
}

impl Destination {
    fn new(now: Instant) -> Self {
        Self {
            bound: None,
            dialling: false,
            failures: 0,
            pending: Backlog::default(),
            outcome: None,
            interests: HashMap::new(),
            sent_at: now,
            refused_at: None,
        }
    }

    /// Takes note that `member` sends here; returns what it has to be told first.
    pub(super) fn interest(&mut self, now: Instant, member: SeatId) -> Option<Notice> {
        let mut news = None;
        let interest = self.interests.entry(member).or_insert_with(|| {
            news.clone_from(&self.outcome);
            Interest {
                heard: self.outcome.clone(),
                sent_at: now,
                proofs: Proofs::default(),
            }
        });
        interest.sent_at = now;
        news
    }

    /// Whether a member whose proofs have failed here is to wait before the next.
    pub(super) fn is_quiet(&self, now: Instant, member: SeatId) -> bool {
        let quiet_until = self
            .interests
            .get(&member)
            .and_then(|interest| interest.proofs.quiet_until);
        quiet_until.is_some_and(|until| now < until)
    }

    /// How a member with this many callsigns is to try next at a controller.
    pub(super) fn attempt(&self, member: SeatId, instance: Instance, has_former: bool) -> Attempt {
        let proofs = self.interests.get(&member).map(|interest| &interest.proofs);
        let former = has_former && proofs.is_some_and(|proofs| proofs.failures % 2 == 1);
        let tried = proofs.and_then(|proofs| proofs.tried[usize::from(former)]);
        let after = tried.filter(|(tried_at, _)| *tried_at == instance);
        Attempt {
            former,
            after: after.map(|(_, seat)| seat).unwrap_or_default(),
        }
    }

    /// Keeps a message until a connection is up; returns the attempt that this needs, if none is under way.
    pub(super) fn wait(&mut self, address: &Arc<str>, message: Outgoing) -> Option<Dial> {
        self.pending.push(message);
        let dial = Dial {
            address: Arc::clone(address),
            wait: self.back_off(),
        };
        (!std::mem::replace(&mut self.dialling, true)).then_some(dial)
    }

    pub(super) fn take_pending(&mut self, now: Instant) -> Option<Outgoing> {
        self.pending.pop(now)
    }

    pub(super) fn dial_ended(&mut self) {
        self.dialling = false;
    }

    /// Takes note that an attempt failed; returns the longest wait before the next one, or none if nobody has sent here
    /// for a while.
    pub(super) fn dial_failed(&mut self, now: Instant) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        if now.duration_since(self.sent_at) > DIAL_PATIENCE {
            self.dialling = false;
            self.pending.clear();
            return None;
        }
        Some(self.back_off())
    }

    /// Takes note that a connection that this address led to has ended after `lived`.
    pub(super) fn connection_ended(&mut self, lived: Duration) {
        self.failures = if lived < SETTLED {
            self.failures.saturating_add(1)
        } else {
            0
        };
    }

    fn back_off(&self) -> Duration {
        match self.failures.checked_sub(1) {
            None => Duration::ZERO,
            // Doubling five times passes the longest wait.
            Some(doublings) => (BACK_OFF_FIRST * 2_u32.pow(doublings.min(5))).min(BACK_OFF_MAX),
        }
    }

    /// Records what became of the address; returns the members that have not heard it yet.
    pub(super) fn conclude(&mut self, outcome: &Notice) -> Vec<SeatId> {
        self.outcome = Some(outcome.clone());
        let is_connected = matches!(outcome, Notice::Connected { .. });
        let mut told = Vec::new();
        for (member, interest) in &mut self.interests {
            // A refusal stands until the member is heard from there: that the port answers does not disprove it.
            let stands = is_connected && interest.heard.as_ref().is_some_and(Notice::is_refusal);
            if interest.heard.as_ref() != Some(outcome) && !stands {
                interest.heard = Some(outcome.clone());
                told.push(*member);
            }
        }
        told
    }

    /// Takes note that a member's proof came to nothing here; returns what it has not heard yet.
    fn failed(
        &mut self,
        now: Instant,
        instance: Instance,
        has_former: bool,
        failure: &Failure,
    ) -> Option<Notice> {
        let member = failure.wish.0;
        let Attempt { former, .. } = self.attempt(member, instance, has_former);
        let interest = self.interests.get_mut(&member)?;
        let address = Arc::clone(&failure.address);
        let notice = match (failure.code, &failure.wish.1) {
            (Code::ClosedPort, _) => {
                // The next message dials, which finds what is there now and tells of it.
                self.bound = None;
                return None;
            }
            (Code::UnknownMember, Want::Member(member)) => Notice::UnknownMember {
                address,
                member: Arc::clone(member),
            },
            (code, _) => {
                let proofs = &mut interest.proofs;
                if !matches!(code, Code::Busy | Code::Certificate) {
                    proofs.tried[usize::from(former)] = Some((instance, failure.tried));
                }
                proofs.failures = proofs.failures.saturating_add(1);
                // The other callsign is tried at once.
                let rounds = proofs.failures / if has_former { 2 } else { 1 };
                let is_round = !has_former || proofs.failures.is_multiple_of(2);
                let pause = PROOF_PAUSE_FIRST * 2_u32.pow(rounds.saturating_sub(1).min(3));
                proofs.quiet_until = is_round.then(|| now + pause.min(PROOF_PAUSE_MAX));
                if !is_round {
                    return None;
                }
                // The first refusal only starts the clock: most often it is a mistake, not a moved address.
                let first = *self.refused_at.get_or_insert(now);
                if now.duration_since(first) >= REVALIDATE {
                    self.refused_at = Some(now);
                    self.bound = None;
                }
                match code {
                    Code::Certificate => Notice::CertificateRefused {
                        address,
                        cause: failure.cause.clone(),
                    },
                    _ => Notice::UnknownGroup { address },
                }
            }
        };
        let is_news = interest.heard.as_ref() != Some(&notice);
        interest.heard = Some(notice.clone());
        is_news.then_some(notice)
    }
}

#[derive(Debug, Default)]
pub(super) struct Destinations {
    by_address: HashMap<Arc<str>, Destination>,
}

impl Destinations {
    /// The destination at an address that is sent to now.
    pub(super) fn sent_to(&mut self, now: Instant, address: &Arc<str>) -> Result<&mut Destination, Error> {
        if !self.by_address.contains_key(address) {
            split_address(address)?;
            if self.by_address.len() >= DESTINATIONS {
                return Err(Error::SendTooManyAddresses { limit: DESTINATIONS });
            }
        }
        let destination = self
            .by_address
            .entry(Arc::clone(address))
            .or_insert_with(|| Destination::new(now));
        destination.sent_at = now;
        Ok(destination)
    }

    /// How many addresses are remembered.
    pub(super) fn len(&self) -> usize {
        self.by_address.len()
    }

    pub(super) fn get_mut(&mut self, address: &Arc<str>) -> Option<&mut Destination> {
        self.by_address.get_mut(address)
    }

    /// No connection leads to this controller any more.
    pub(super) fn unbind(&mut self, instance: Instance) {
        for destination in self.by_address.values_mut() {
            if destination.bound.is_some_and(|bound| bound.instance == instance) {
                destination.bound = None;
            }
        }
    }

    pub(super) fn forget_member(&mut self, member: SeatId) {
        for destination in self.by_address.values_mut() {
            destination.interests.remove(&member);
        }
    }

    /// The member has another callsign: what it tried in vain it tries again.
    pub(super) fn forget_proofs(&mut self, member: SeatId) {
        for destination in self.by_address.values_mut() {
            if let Some(interest) = destination.interests.get_mut(&member) {
                interest.proofs = Proofs::default();
            }
        }
    }

    /// A proof came to nothing at the controller `instance`; returns what to tell the member.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        instance: Instance,
        has_former: bool,
        failure: &Failure,
    ) -> Option<Notice> {
        let destination = self.by_address.get_mut(&failure.address)?;
        destination.failed(now, instance, has_former, failure)
    }

    /// A member is connected by a channel with one at the controller `instance`: a refusal there no longer holds.
    /// Returns what to tell the member.
    pub(super) fn accepted(&mut self, instance: Instance, member: SeatId) -> Vec<Notice> {
        let mut news = Vec::new();
        for (address, destination) in &mut self.by_address {
            if destination.bound.is_none_or(|bound| bound.instance != instance) {
                continue;
            }
            let Some(interest) = destination.interests.get_mut(&member) else {
                continue;
            };
            interest.proofs.failures = 0;
            interest.proofs.quiet_until = None;
            if interest.heard.as_ref().is_some_and(Notice::is_refusal) {
                let notice = Notice::Connected {
                    address: Arc::clone(address),
                };
                interest.heard = Some(notice.clone());
                destination.refused_at = None;
                news.push(notice);
            }
        }
        news
    }

    /// Forgets whom and what nobody has sent to for a while.
    pub(super) fn sweep(&mut self, now: Instant) {
        let is_idle = |since: Instant| now.duration_since(since) > IDLE_FORGET;
        self.by_address.retain(|_, destination| {
            destination
                .interests
                .retain(|_, interest| !is_idle(interest.sent_at));
            destination.dialling || !is_idle(destination.sent_at)
        });
    }
}

/// Splits an address into host and port.
pub(super) fn split_address(address: &str) -> Result<(&str, u16), Error> {
    let wrong = || Error::SendAddress {
        address: address.to_owned(),
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .filter(|host| host.parse::<std::net::Ipv6Addr>().is_ok()),
        None => Some(host).filter(|host| !host.is_empty() && !host.contains([':', ']', '/', ' '])),
    };
    match host {
        // A DNS name has at most 253 characters; port 0 cannot be dialled.
        Some(host) if port != 0 && host.len() <= 253 => Ok((host, port)),
        _ => Err(wrong()),
    }
}
