//! How members talk: TLS, frames, dialling, accepting.
//!
//! A process starts one [`Transport`]. Each member (one object) registers with its group's key on a port, takes what
//! arrives from its [`Inbox`], and sends to other members by connection, identity or address. One connection joins two
//! processes, however many groups and ports they share.
//!
//! # What is promised
//!
//! Messages may be lost, duplicated never, and two that went over different connections may overtake each other.
//! Sending never waits, everything is bounded, and newer messages displace older ones. A dead connection is replaced
//! within [`Timing::silence_max`] and about a second after its link has healed. [`Transport::shut_down`] lets what is
//! queued for connected peers leave.
//!
//! # What is protected, and what is not yet
//!
//! Every connection is TLS 1.3 from its first byte, with a certificate that each process makes at start. Whoever
//! listens on the path learns nothing but addresses, times and lengths. That is all, so far:
//!
//! - Certificates are not verified. Whoever can stand *in* the path can read and change everything.
//! - The key of a group is a digest of its callsign and is sent in every message. Whoever gets to see one, by
//!   accepting a connection, can try words until one fits.
//! - Whoever reaches the port and knows a callsign can speak as any member of its group; knowing none, it can pass
//!   for another process by its instance number and so disturb, but not read, that process's connection.
//!
//! A proof of the callsign, bound to the connection's TLS exporter, has its place in `handshake::authenticate`, the one
//! step between the TLS handshake and the first message. Until then the network has to keep strangers from the port.
//!
//! Strangers are bounded, though: in number ([`Limits`]), in time until they have said hello
//! ([`Timing::handshake_max`]), in memory (a few kilobytes before hello, a frame after it). Above a limit the newcomer
//! is closed, never an established connection.

mod accept;
mod admission;
mod backlog;
mod connection;
mod destination;
mod dial;
mod error;
mod frame;
mod guesses;
mod handshake;
mod link;
mod mailbox;
mod members;
mod pair;
mod proof;
mod prover;
mod switchboard;
#[cfg(test)]
mod tests;
mod tls;
mod transport;

pub use accept::Listener;
pub use admission::Limits;
pub use error::Error;
pub use frame::{FRAME_MAX_BYTES, MEMBER_MAX_BYTES, Versions};
pub use mailbox::{Event, Incoming, Notice};
pub use members::Credentials;
pub use proof::Callsign;
pub use switchboard::{ReplyRoute, To};
pub use transport::{Config, Inbox, Timing, Transport};
