//! What waits for a member to take it: messages and notices.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::frame::{FRAME_MAX_BYTES, Versions};
use super::switchboard::ReplyRoute;

/// Messages that wait at most: 1,000 voters that answer one round, four times over.
const MESSAGES: usize = 4_096;

/// Bytes of messages that wait at most: eight of the largest.
const MESSAGES_BYTES: usize = 8 * FRAME_MAX_BYTES;

/// Notices that wait at most. Each replaces an older one about the same address, so this many addresses.
const NOTICES: usize = 1_024;

/// A message from another member.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The member that the sender says it is. Whoever knows the group's callsign can say that of itself.
    pub from: Arc<str>,
    /// The sender's incarnation, as it says.
    pub incarnation: u64,
    /// The message itself, JSON that nobody has looked into yet.
    pub body: Arc<RawValue>,
    /// Leads back over the connection that it came on.
    pub via: ReplyRoute,
    /// When it had arrived in whole, by [`boottime`](crate::clock::boottime).
    pub received_at: Duration,
}

/// What became of an address that a member sends to. Each change is told once to each member that sent to the
/// address within the last minute.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A connection is up.
    Connected {
        /// The address as it was given.
        address: Arc<str>,
    },
    /// The name has no address, or the name service does not answer.
    Unresolvable {
        /// The address as it was given.
        address: Arc<str>,
        /// What the name service said.
        cause: String,
    },
    /// No connection came up.
    DialFailed {
        /// The address as it was given.
        address: Arc<str>,
        /// The last step that failed, and why.
        cause: String,
    },
    /// The controller there is of a release too far from this one.
    VersionMismatch {
        /// The address as it was given.
        address: Arc<str>,
        /// The protocol versions spoken here.
        ours: Versions,
        /// The protocol versions spoken there.
        theirs: Versions,
    },
    /// The controller there serves nobody with this callsign on that port.
    UnknownGroup {
        /// The address as it was given.
        address: Arc<str>,
    },
    /// The controller there serves the group, but the member has gone, or was made anew.
    UnknownMember {
        /// The address as it was given.
        address: Arc<str>,
        /// The member that was looked for.
        member: Arc<str>,
    },
    /// The callsigns fit, but one side does not accept the other's certificate, or misses one.
    CertificateRefused {
        /// The address as it was given.
        address: Arc<str>,
        /// Which side, and why.
        cause: String,
    },
    /// The same, with somebody who has dialled this member.
    NewcomerRefused {
        /// The IP address that it came from.
        address: Arc<str>,
        /// Which side, and why.
        cause: String,
    },
    /// Somebody has tried to take part with a wrong callsign.
    WrongCallsign {
        /// The IP address that it came from.
        address: Arc<str>,
        /// How often, since the first time.
        attempts: u64,
        /// How long ago the first time was.
        within: Duration,
    },
}

impl Notice {
    /// The address that it is about.
    pub fn address(&self) -> &Arc<str> {
        match self {
            Self::Connected { address }
            | Self::Unresolvable { address, .. }
            | Self::DialFailed { address, .. }
            | Self::VersionMismatch { address, .. }
            | Self::UnknownGroup { address }
            | Self::UnknownMember { address, .. }
            | Self::CertificateRefused { address, .. }
            | Self::NewcomerRefused { address, .. }
            | Self::WrongCallsign { address, .. } => address,
        }
    }

    /// True for what a working connection does not disprove.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::UnknownGroup { .. } | Self::UnknownMember { .. } | Self::CertificateRefused { .. }
        )
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { address } => write!(f, "{address}: connected"),
            Self::Unresolvable { address, cause } => {
                write!(f, "{address}: the name does not resolve: {cause}")
            }
            Self::DialFailed { address, cause } => write!(f, "{address}: {cause}"),
            Self::VersionMismatch {
                address,
                ours,
                theirs,
            } => write!(
                f,
                "{address}: speaks protocol version {theirs}, this controller {ours}; upgrade the older one"
            ),
            Self::UnknownGroup { address } => {
                write!(
                    f,
                    "{address}: no MultiCluster there has this callsign on that port"
                )
            }
            Self::UnknownMember { address, member } => write!(f, "{address}: member {member} is not there"),
            Self::CertificateRefused { address, cause } | Self::NewcomerRefused { address, cause } => {
                write!(f, "{address}: {cause}")
            }
            Self::WrongCallsign {
                address,
                attempts,
                within,
            } => {
                write!(
                    f,
                    "somebody at {address} tried to take part with a wrong callsign"
                )?;
                match within.as_secs() {
                    0 => Ok(()),
                    seconds => write!(f, ", {attempts} times within {seconds} s"),
                }
            }
        }
    }
}

/// What an [`Inbox`](super::Inbox) yields.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message from another member.
    Message(Incoming),
    /// What became of an address.
    Notice(Notice),
}

/// Bounded: the oldest make room for the newest.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) filled: Arc<Notify>,
    messages: VecDeque<Incoming>,
    messages_bytes: usize,
    notices: VecDeque<Notice>,
}

impl Mailbox {
    pub(super) fn new() -> Self {
        Self {
            filled: Arc::new(Notify::new()),
            messages: VecDeque::new(),
            messages_bytes: 0,
            notices: VecDeque::new(),
        }
    }

    pub(super) fn put_message(&mut self, message: Incoming) {
        self.messages_bytes += message.body.get().len();
        self.messages.push_back(message);
        while self.messages.len() > MESSAGES || self.messages_bytes > MESSAGES_BYTES {
            let Some(oldest) = self.messages.pop_front() else {
                break;
            };
            self.messages_bytes -= oldest.body.get().len();
        }
        self.filled.notify_one();
    }

    pub(super) fn put_notice(&mut self, notice: Notice) {
        self.notices.retain(|older| older.address() != notice.address());
        self.notices.push_back(notice);
        if self.notices.len() > NOTICES {
            self.notices.pop_front();
        }
        self.filled.notify_one();
    }

    /// Notices first: they are few, and a flood of messages must not hide them.
    pub(super) fn take(&mut self) -> Option<Event> {
        if let Some(notice) = self.notices.pop_front() {
            return Some(Event::Notice(notice));
        }
        let message = self.messages.pop_front()?;
        self.messages_bytes -= message.body.get().len();
        Some(Event::Message(message))
    }
}
