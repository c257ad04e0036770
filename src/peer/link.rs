//! A connection as the switchboard sees it: what waits to be written, and whether it is still in use.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::backlog::{Backlog, Outgoing};
use super::frame::{Endpoint, Frame, Instance};
use super::members::SeatId;

/// Answers other than messages that wait on one connection before it is read no further: whoever provokes more has to
/// read them first.
const CONTROL: usize = 16;

/// One write carries at most this much, so that a pong never waits behind more.
const BATCH_BYTES: usize = 64 * 1024;

/// A retired connection waits this long at most for proofs that are under way: two round trips on the slowest links.
const PROOFS_MAX: Duration = Duration::from_secs(1);

/// Names a connection within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ConnectionId(pub(super) u64);

/// A connection that has just come up.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) instance: Instance,
    /// Where the other side is, or a load balancer before it.
    pub(super) remote: IpAddr,
    /// The address that was dialled, and the port of the other side that it led to.
    pub(super) dialled: Option<(Arc<str>, Option<Endpoint>)>,
}

/// What a connection should write next.
#[derive(Debug, PartialEq)]
pub(super) enum Work {
    Frames(Vec<Frame>),
    /// Everything is written: say goodbye.
    Goodbye,
    /// Nothing now; look again when told, or at this time.
    Wait(Option<Instant>),
}

/// Wakes the parts of a connection.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// There may be something to write.
    pub(super) work: Notify,
    /// The answers that were waiting are on their way.
    pub(super) answered: Notify,
    /// There may be a proof to begin.
    pub(super) proofs: Notify,
    /// The other side is no stranger any more; told once.
    pub(super) trusted: Notify,
    /// Whether that is so.
    pub(super) is_trusted: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) opened: Opened,
    pub(super) opened_at: Instant,
    /// When a message last went either way; pings do not count.
    pub(super) used_at: Instant,
    /// True once a frame has come in.
    pub(super) is_heard: bool,
    pub(super) retiring: bool,
    /// Until when it waits for proofs.
    waits_until: Option<Instant>,
    /// Proofs that the other side has asked for and not finished.
    pub(super) asked: usize,
    /// The members here, and which of their callsigns, that the other side has tried as a stranger.
    pub(super) tried: HashSet<(SeatId, bool)>,
    /// Those of them at which it has failed, for whom they ought to know.
    pub(super) failed: Vec<SeatId>,
    pub(super) signals: Arc<Signals>,
    control: VecDeque<Frame>,
    backlog: Backlog,
}

impl Link {
    pub(super) fn new(now: Instant, opened: Opened) -> Self {
        Self {
            opened,
            opened_at: now,
            used_at: now,
            is_heard: false,
            retiring: false,
            waits_until: None,
            asked: 0,
            tried: HashSet::new(),
            failed: Vec::new(),
            signals: Arc::default(),
            control: VecDeque::new(),
            backlog: Backlog::default(),
        }
    }

    /// Takes note that the other side is no stranger.
    pub(super) fn trust(&mut self) {
        if !self.signals.is_trusted.swap(true, Ordering::Relaxed) {
            self.signals.trusted.notify_one();
        }
    }

    /// Queues an answer or a ping, ahead of all messages.
    pub(super) fn control(&mut self, frame: Frame) {
        self.control.push_back(frame);
        self.signals.work.notify_one();
    }

    pub(super) fn push(&mut self, now: Instant, message: Outgoing) {
        self.backlog.push(message);
        self.used_at = now;
        self.signals.work.notify_one();
    }

    /// True while the connection must not be read, for too many answers wait to be written.
    pub(super) fn is_behind(&self) -> bool {
        self.control.len() >= CONTROL
    }

    /// Takes the connection out of use. While proofs are under way on it, it waits a little with its goodbye: neither
    /// side must take a channel for open that the other has not heard of.
    pub(super) fn retire(&mut self, now: Instant) {
        self.retiring = true;
        self.waits_until = Some(now + PROOFS_MAX);
        self.signals.work.notify_one();
    }

    /// The other side says nothing more.
    pub(super) fn hear_goodbye(&mut self) {
        self.waits_until = None;
        self.signals.work.notify_one();
    }

    /// What to write now; `proving` tells whether this process has proofs under way on it.
    pub(super) fn take_work(&mut self, now: Instant, proving: bool) -> Work {
        let mut frames: Vec<Frame> = self.control.drain(..).collect();
        self.signals.answered.notify_one();
        let mut bytes = 0;
        while bytes < BATCH_BYTES {
            let Some(message) = self.backlog.pop(now) else {
                break;
            };
            bytes += message.weight_bytes();
            frames.extend(message.data().map(Frame::Data));
        }
        match frames.is_empty() {
            false => Work::Frames(frames),
            true if self.retiring => {
                let waits = proving || self.asked > 0;
                let until = self.waits_until.filter(|until| waits && now < *until);
                until.map_or(Work::Goodbye, |until| Work::Wait(Some(until)))
            }
            true => Work::Wait(None),
        }
    }

    /// The next message that was not begun to be written.
    pub(super) fn take_unsent(&mut self, now: Instant) -> Option<Outgoing> {
        self.backlog.pop(now)
    }
}
