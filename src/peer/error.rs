//! What can go wrong when a member is given a port, a callsign or a message.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;

/// An operation of the transport that failed.
///
/// Failures that happen later, on the way to another member, are [`Notice`](super::Notice)s instead.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// Fatal: this process cannot make its own certificate.
    #[error("making this process's own certificate: {0}")]
    MakeCertificate(#[from] rcgen::Error),
    /// Fatal: the TLS library refuses our settings.
    #[error("configuring TLS 1.3: {0}")]
    ConfigureTls(#[from] rustls::Error),
    /// A broken invariant of the caller.
    #[error("the transport was started outside a tokio runtime: {0}")]
    StartRuntime(#[from] tokio::runtime::TryCurrentError),
    /// For the user: another process, or another object's other address, has the port.
    #[error("listening on {address}: {cause}; free the port or choose another one")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system answered.
        cause: io::Error,
    },
    /// For the user: two objects on one port have the same callsign.
    #[error(
        "the callsign is already used on this port by the MultiCluster of UID {member}; choose another callsign or port"
    )]
    RegisterTaken {
        /// The identity of the member that has it.
        member: Arc<str>,
    },
    /// A broken invariant of the caller.
    #[error("a member's identity has 1 to {limit_bytes} bytes, not {bytes}")]
    RegisterMember {
        /// The length of the identity.
        bytes: usize,
        /// The longest that is allowed.
        limit_bytes: usize,
    },
    /// For the user: an address that can never be dialled.
    #[error("{address:?} is not an address to dial; write host:port, or [address]:port for IPv6")]
    SendAddress {
        /// The address as it was given.
        address: String,
    },
    /// A broken invariant of the caller: no message is that large.
    #[error("a message of {bytes} bytes is longer than the {limit_bytes} allowed")]
    SendTooLong {
        /// An upper bound of the encoded length.
        bytes: usize,
        /// The longest that is allowed.
        limit_bytes: usize,
    },
    /// Retryable: nothing leads to the member now, and no address was given.
    #[error("no connection leads to member {member:?}, and no address of it is known")]
    SendUnreachable {
        /// The identity, where one was given.
        member: Option<Arc<str>>,
    },
    /// Retryable: unused destinations are forgotten after a while.
    #[error("already sending to {limit} addresses; remove members that are gone")]
    SendTooManyAddresses {
        /// How many there may be.
        limit: usize,
    },
    /// Final: the transport was shut down.
    #[error("the transport was shut down")]
    ShutDown,
    /// Final: some peers did not take what was queued for them in time.
    #[error("{connections} connections were cut before they had taken everything that was sent")]
    ShutdownCut {
        /// How many.
        connections: usize,
    },
}
