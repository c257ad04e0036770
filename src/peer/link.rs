//! A connection as the switchboard sees it: what waits to be written, and whether it is still in use.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::backlog::{Backlog, Outgoing};
use super::frame::{Endpoint, Frame, Instance};

/// Answers other than messages that wait on one connection before it is read no further: whoever provokes more has to
/// read them first.
const CONTROL: usize = 16;

/// One write carries at most this much, so that a pong never waits behind more.
const BATCH_BYTES: usize = 64 * 1024;

/// Names a connection within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ConnectionId(pub(super) u64);

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

/// Wakes the two halves of a connection.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// There may be something to write.
    pub(super) work: Notify,
    /// The answers that were waiting are on their way.
    pub(super) answered: Notify,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) opened: Opened,
    pub(super) opened_at: Instant,
    /// When a message last went either way; pings do not count.
    pub(super) used_at: Instant,
    /// True once a frame has come in.
    pub(super) proven: bool,
    pub(super) retiring: bool,
    /// How many members were last heard here.
    pub(super) routes: usize,
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
            proven: false,
            retiring: false,
            routes: 0,
            signals: Arc::default(),
            control: VecDeque::new(),
            backlog: Backlog::default(),
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

    /// What to write now.
    pub(super) fn take_work(&mut self, now: Instant) -> Work {
        let mut frames: Vec<Frame> = self.control.drain(..).collect();
        self.signals.answered.notify_one();
        let mut bytes = 0;
        while bytes < BATCH_BYTES {
            let Some(message) = self.backlog.pop(now) else {
                break;
            };
            bytes += message.data.weight_bytes();
            frames.push(Frame::Data(message.data));
        }
        match frames.is_empty() {
            false => Work::Frames(frames),
            true if self.retiring => Work::Goodbye,
            true => Work::Wait,
        }
    }

    /// The next message that was not begun to be written.
    pub(super) fn take_unsent(&mut self, now: Instant) -> Option<Outgoing> {
        self.backlog.pop(now)
    }
}
