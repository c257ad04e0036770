//! Messages that wait for a connection, newest wins.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::frame::{Data, FRAME_MAX_BYTES};

/// Messages of one sender to one receiver that wait at most: every message of the election is repeated or superseded
/// within a heartbeat, and one step sends a receiver a handful at most.
const PER_SENDER: usize = 16;

/// Messages that wait on one connection at most: 200 groups between a pair of controllers, a few messages each.
const TOTAL: usize = 2_048;

/// Bytes that wait on one connection at most: the largest frame, and as much again of others.
const TOTAL_BYTES: usize = 2 * FRAME_MAX_BYTES;

/// After this a message is not worth sending: it is the default lease, and whoever sent it has sent newer ones.
const AGE_MAX: Duration = Duration::from_secs(3);

/// A message on its way out.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outgoing {
    pub(super) data: Data,
    /// Where to dial if the connection that it waits on ends.
    pub(super) address: Option<Arc<str>>,
    pub(super) queued_at: Instant,
}

impl Outgoing {
    fn same_path(&self, other: &Self) -> bool {
        let (one, two) = (&self.data, &other.data);
        (one.group, &one.from, &one.to) == (two.group, &two.from, &two.to)
    }
}

#[derive(Debug, Default)]
pub(super) struct Backlog {
    messages: VecDeque<Outgoing>,
    bytes: usize,
}

impl Backlog {
    /// Adds a message, and drops the oldest ones that no longer fit.
    pub(super) fn push(&mut self, message: Outgoing) {
        if self.messages.len() >= PER_SENDER {
            let mut same = (0..self.messages.len()).filter(|&at| self.messages[at].same_path(&message));
            let oldest = same.next();
            // The oldest is one of those that count, hence one less than the bound.
            if let (Some(oldest), true) = (oldest, same.count() >= PER_SENDER - 1) {
                self.remove(oldest);
            }
        }
        self.bytes += message.data.weight_bytes();
        self.messages.push_back(message);
        while self.messages.len() > TOTAL || self.bytes > TOTAL_BYTES {
            self.remove(0);
        }
    }

    fn remove(&mut self, at: usize) {
        if let Some(message) = self.messages.remove(at) {
            self.bytes -= message.data.weight_bytes();
        }
    }

    /// The oldest message that is still worth sending.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Outgoing> {
        while let Some(message) = self.messages.pop_front() {
            self.bytes -= message.data.weight_bytes();
            if now.duration_since(message.queued_at) <= AGE_MAX {
                return Some(message);
            }
        }
        None
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests;
