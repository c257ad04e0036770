//! An address that members send to: whom it led to, what waits for it, and who hears what became of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Error;
use super::backlog::Backlog;
use super::frame::{Endpoint, GroupKey, Instance};
use super::mailbox::Notice;

/// The wait before the second attempt to dial an address.
const BACK_OFF_FIRST: Duration = Duration::from_millis(50);

/// The longest wait between attempts, so that a healed link is found within about a second.
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// A connection that lived shorter than this counts as a failed attempt: a controller that accepts and then closes,
/// because it is full, must not be dialled in a loop.
const SETTLED: Duration = Duration::from_secs(5);

/// A member of a group, as the one who sends.
pub(super) type Sender = (GroupKey, Arc<str>);

/// The controller behind an address, and which of its ports the address leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) instance: Instance,
    pub(super) endpoint: Option<Endpoint>,
}

/// A member that sends to an address, and what it has heard about it.
#[derive(Debug)]
pub(super) struct Interest {
    pub(super) heard: Option<Notice>,
    pub(super) sent_at: Instant,
}

#[derive(Debug)]
pub(super) struct Destination {
    pub(super) bound: Option<Bound>,
    pub(super) dialling: bool,
    pub(super) failures: u32,
    pub(super) pending: Backlog,
    pub(super) outcome: Option<Notice>,
    pub(super) interests: HashMap<Sender, Interest>,
    pub(super) sent_at: Instant,
    /// When it was last dialled anew because nobody there knew a group.
    pub(super) revalidated_at: Option<Instant>,
}

impl Destination {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            bound: None,
            dialling: false,
            failures: 0,
            pending: Backlog::default(),
            outcome: None,
            interests: HashMap::new(),
            sent_at: now,
            revalidated_at: None,
        }
    }

    /// Takes note that a connection that this address led to has ended after `lived`.
    pub(super) fn connection_ended(&mut self, lived: Duration) {
        self.failures = if lived < SETTLED {
            self.failures.saturating_add(1)
        } else {
            0
        };
    }

    /// The longest wait before the next attempt; the caller shortens it at random.
    pub(super) fn back_off(&self) -> Duration {
        match self.failures.checked_sub(1) {
            None => Duration::ZERO,
            // Doubling five times passes the longest wait.
            Some(doublings) => (BACK_OFF_FIRST * 2_u32.pow(doublings.min(5))).min(BACK_OFF_MAX),
        }
    }

    /// Records what became of the address; returns the members that have not heard it yet.
    pub(super) fn conclude(&mut self, outcome: &Notice) -> Vec<Sender> {
        self.outcome = Some(outcome.clone());
        let mut told = Vec::new();
        for (sender, interest) in &mut self.interests {
            let refused = interest.heard.as_ref().is_some_and(Notice::is_refusal);
            // A refusal stands until the member is heard from there: that the port answers does not disprove it.
            let connected = matches!(outcome, Notice::Connected { .. });
            if interest.heard.as_ref() != Some(outcome) && !(refused && connected) {
                interest.heard = Some(outcome.clone());
                told.push(sender.clone());
            }
        }
        told
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
