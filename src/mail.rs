//! What members say to one another, packed for the wire and unpacked from it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::election::{Destination, GroupId, Member, MemberId, MemoryId, Message, Received};
use crate::peer::{Incoming, To};

/// Why something that arrived says nothing.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// Members are named by their identities.
    #[error("{from:?} is no member")]
    Sender {
        /// Who it says it is.
        from: String,
    },
    /// A newer release may say what this one does not know.
    #[error("{from} says what this release does not know: {source}")]
    Unknown {
        /// Who says it.
        from: MemberId,
        /// What is not known.
        source: serde_json::Error,
    },
}

/// The body of a message that `member` sends on behalf of `group`.
///
/// # Errors
/// When it cannot be encoded.
pub fn pack(
    member: &Member,
    group: Option<GroupId>,
    message: &Message,
) -> Result<Arc<RawValue>, serde_json::Error> {
    to_raw_value(&Parcel {
        memory: member.memory(),
        recalled: member.recalled(),
        version: member.version(),
        group,
        message,
    })
    .map(Arc::from)
}

/// Where a message goes on the wire.
#[must_use]
pub fn to(destination: &Destination) -> To {
    match destination {
        Destination::Address(address) => To {
            via: None,
            member: None,
            address: Some(Arc::from(address.as_str())),
        },
        Destination::Member(id, address) => To {
            via: None,
            member: Some(Arc::from(id.to_string())),
            address: address.clone(),
        },
    }
}

/// What arrived, as the election takes it.
///
/// # Errors
/// When it says nothing that this release understands.
pub fn unpack(incoming: &Incoming) -> Result<Received, MailError> {
    let from: MemberId = incoming.from.parse().map_err(|_| MailError::Sender {
        from: incoming.from.to_string(),
    })?;
    let parcel: OwnedParcel =
        serde_json::from_str(incoming.body.get()).map_err(|source| MailError::Unknown { from, source })?;
    Ok(Received {
        from,
        incarnation: incoming.incarnation,
        memory: parcel.memory,
        recalled: parcel.recalled,
        version: parcel.version,
        group: parcel.group,
        message: parcel.message,
    })
}

/// What travels inside a frame.
#[derive(Serialize)]
struct Parcel<'a> {
    memory: MemoryId,
    recalled: u64,
    version: u64,
    group: Option<GroupId>,
    message: &'a Message,
}

#[derive(Deserialize)]
struct OwnedParcel {
    memory: MemoryId,
    #[serde(default)]
    recalled: u64,
    #[serde(default)]
    version: u64,
    #[serde(default)]
    group: Option<GroupId>,
    message: Message,
}
