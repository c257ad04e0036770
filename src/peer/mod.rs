//! How members talk: TLS, proofs of a callsign, frames, dialling, accepting.
//!
//! A process starts one [`Transport`]. Each member (one object) registers with its callsign on a port, takes what
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
//! # How a message gets through
//!
//! 1. TLS 1.3, with a certificate that each process makes for itself at its start and shows on both sides. Nobody
//!    vouches for it; it gives the process a name, the *instance*, that nobody else can use.
//! 2. Hellos: the protocol versions, and on the accepting side which of its ports this is.
//! 3. For each member that wants to talk to another, a *channel*: `open` with a share of a SPAKE2 exchange, `offer` with
//!    the other share and the tag that confirms it, `confirm` with the opener's tag, `accept`. A member that knows an
//!    address only asks who is there (`find`, `found`: numbers that say nothing) and tries one after the other.
//! 4. `data`, with the channel's number. The sender's identity was told with the proof, and is not told again.
//!
//! A channel belongs to the two instances: a connection that takes the place of another needs no new proofs. It ends
//! with either process, with either member, and a minute after the last connection between the two.
//!
//! # Who can do what with which key
//!
//! The callsign never travels, nor anything made from it but SPAKE2 shares and the tags of their keys. A share commits
//! its sender to one word, so a guess costs an exchange with a live member, and leaves nothing to try afterwards. A tag
//! covers the TLS exporter, both instances, both shares, the version and the channel.
//!
//! | who | can | cannot |
//! |---|---|---|
//! | listens on the path | see addresses, times and lengths | read, or try words |
//! | stands in the path, without the callsign | cut and delay; guess once for each connection that it breaks | read, change, or pass a proof on: the exporters of its two connections differ |
//! | reaches the port | guess once on a connection at each callsign served, 16 times and then every ten seconds from one source; learn how many members a port has | speak; hold a connection longer than [`Timing::prove_max`]; pass for another process |
//! | answers at an address of the fleet | guess once for each proof that members try there, which is about one a second and up to 1,024 for a member that has just been made | speak |
//! | is a member of another group here | guess at the callsigns of other groups, 1,024 times and then every ten seconds | pass for another process; read or send other groups' messages |
//! | knows the callsign | speak as any member of its group | take part in other groups; read what others send each other |
//! | knows the callsign of members that have certificates, and has none | have a proof refused after it was found right | take part |
//! | holds a certificate of the authority, without the callsign | nothing more than anybody | take part |
//! | has known a callsign that was replaced | talk on channels that it has, until a connection is cut for a minute | open one, once the members have dropped the former callsign |
//!
//! Certificates ([`Identity`]) are shown with the proof, in the frames that confirm it, and signed for it: see there.
//!
//! A wrong callsign is told to the member concerned ([`Notice::WrongCallsign`]), at once and then once a minute for each
//! source: an IPv4 address, or the network of 64 bits that an IPv6 host commands. A proof that is broken off halfway costs a
//! guess as well, and is told from the fourth within an hour, since connections break, too. Addresses are what the kernel sees: behind a load balancer that hides its clients, all share one, and a
//! guesser there delays newcomers, not those who have a channel.
//!
//! The side that was asked confirms first. It could otherwise not be told which of its members is meant, and it gives
//! nothing away: whoever opened has bound itself to one word by then. The opener, which may have been led to a
//! stranger by its name service, says no more than that it does not fit.
//!
//! Strangers are bounded: in number ([`Limits`]), in time until they have said hello ([`Timing::handshake_max`]) and
//! proven a callsign ([`Timing::prove_max`]), in memory (frames of 32 kB). Above a limit the newcomer is closed, never
//! an established connection.
//!
//! Sources: RFC 9382 (SPAKE2), RFC 8446 section 7.5 and RFC 9266 (exporters as channel bindings), RFC 9261
//! (authentication by certificates within a connection).

mod accept;
mod admission;
mod backlog;
mod certificate;
mod connection;
mod destination;
mod dial;
mod error;
mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
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
pub use certificate::{CertificateError, Identity};
pub use error::Error;
pub use frame::{FRAME_MAX_BYTES, MEMBER_MAX_BYTES, Versions};
pub use mailbox::{Event, Incoming, Notice};
pub use members::Credentials;
pub use proof::Callsign;
pub use switchboard::{ReplyRoute, To};
pub use transport::{Config, Inbox, Timing, Transport};
