//! Messages that wait for a connection, newest wins.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::Instant;

use super::frame::{ChannelKey, DATA_OVERHEAD_BYTES, Data, FRAME_MAX_BYTES};
use super::members::SeatId;

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
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) from: SeatId,
    /// The member that it is for; none where an address is all that is known.
    pub(super) to: Option<Arc<str>>,
    /// The channel that it goes over, once one is open.
    pub(super) channel: Option<ChannelKey>,
    pub(super) incarnation: u64,
    pub(super) body: Arc<RawValue>,
    /// Where to dial if the connection that it waits on ends.
    pub(super) address: Option<Arc<str>>,
    pub(super) queued_at: Instant,
}

impl Outgoing {
    /// As it travels; none while no channel is open for it.
    pub(super) fn data(&self) -> Option<Data> {
        self.channel.map(|channel| Data {
            channel: channel.number,
            opener: channel.is_ours,
            incarnation: self.incarnation,
            body: Arc::clone(&self.body),
        })
    }

    fn same_path(&self, other: &Self) -> bool {
        (self.from, &self.to, self.channel) == (other.from, &other.to, other.channel)
    }

    /// An upper bound of the encoded length.
    pub(super) fn weight_bytes(&self) -> usize {
        DATA_OVERHEAD_BYTES + self.body.get().len()
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
        self.bytes += message.weight_bytes();
        self.messages.push_back(message);
        while self.messages.len() > TOTAL || self.bytes > TOTAL_BYTES {
            self.remove(0);
        }
    }

    fn remove(&mut self, at: usize) {
        if let Some(message) = self.messages.remove(at) {
            self.bytes -= message.weight_bytes();
        }
    }

    /// The oldest message that is still worth sending.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Outgoing> {
        while let Some(message) = self.messages.pop_front() {
            self.bytes -= message.weight_bytes();
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
