//! What travels on a connection: frames, and their codec.
//!
//! A frame is a length (4 bytes, big-endian, the length of what follows) and a JSON object whose `type` says what it
//! is. Fields that a version does not know are ignored; a type that it does not know is [`Frame::Unknown`], so that
//! the connection can answer and live on. Anything else that does not parse is an error and ends the connection.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio_util::bytes::{Buf, BufMut, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// The longest frame: the largest message is a roster of 1,000 voters at up to 300 bytes each (name, identity, host
/// name, rank, state), 300 kB; three times that leaves room for its envelope, its settings and fields of later
/// versions.
pub const FRAME_MAX_BYTES: usize = 1024 * 1024;

/// The longest frame before the other side is authenticated. A hello is about 150 bytes, and later versions may add
/// the messages of a proof; nobody unknown gets more of our memory than this.
pub(super) const HELLO_MAX_BYTES: usize = 4 * 1024;

/// The longest identity of a member. An object's UID has 36 characters; a DNS name has at most 253.
pub const MEMBER_MAX_BYTES: usize = 253;

/// The longest cause in an error frame, so that it stays far below [`HELLO_MAX_BYTES`].
const DETAIL_MAX_BYTES: usize = 512;

const LENGTH_BYTES: usize = 4;

/// How far ahead of what has arrived the read buffer grows: a length that is announced costs nothing, only bytes do.
const READ_AHEAD_BYTES: usize = 8 * 1024;

/// Names a group on the wire: a digest of its callsign, never the callsign itself.
///
/// The digest tells groups apart; it is no secret and proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey([u8; 32]);

impl GroupKey {
    /// The key of the group that `callsign` names.
    pub fn of_callsign(callsign: &str) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"flagship group of callsign, version 1\0");
        digest.update(callsign.as_bytes());
        Self(digest.finalize().into())
    }
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupKey({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

impl Serialize for GroupKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GroupKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || de::Error::custom("a group is 64 hexadecimal digits");
        if text.len() != 64 {
            return Err(wrong());
        }
        let mut key = [0; 32];
        for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |at: usize| {
                char::from(digits[at])
                    .to_digit(16)
                    .and_then(|d| u8::try_from(d).ok())
            };
            *byte = digit(0).ok_or_else(wrong)? << 4 | digit(1).ok_or_else(wrong)?;
        }
        Ok(Self(key))
    }
}

/// The protocol versions that a process speaks, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The oldest version.
    pub min: u16,
    /// The newest version.
    pub max: u16,
}

impl Versions {
    /// What this release speaks.
    pub const SPOKEN: Self = Self { min: 1, max: 1 };

    /// The newest version that both speak.
    pub(super) fn common(self, theirs: Self) -> Option<u16> {
        let version = self.max.min(theirs.max);
        (version >= self.min && version >= theirs.min).then_some(version)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            write!(f, "{}", self.min)
        } else {
            write!(f, "{} to {}", self.min, self.max)
        }
    }
}

/// Tells one run of a process from every other: random, 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Instance(pub(super) u128);

impl Serialize for Instance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Instance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(de::Error::custom("an instance is 32 hexadecimal digits"));
        }
        u128::from_str_radix(&text, 16)
            .map(Self)
            .map_err(de::Error::custom)
    }
}

/// One open port of a process, in a number that only that process understands. An accepting side names its own in
/// its hello, and a dialling side repeats it in what it sends to that address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Endpoint(pub(super) u32);

/// The first frame each way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) protocol: Versions,
    pub(super) instance: Instance,
    /// The port that accepted this connection; a dialling side has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) endpoint: Option<Endpoint>,
}

/// A member's message to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Data {
    pub(super) group: GroupKey,
    #[serde(deserialize_with = "member")]
    pub(super) from: Arc<str>,
    #[serde(
        default,
        deserialize_with = "optional_member",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) to: Option<Arc<str>>,
    /// Which port of the receiver this is for; set when `to` is not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) endpoint: Option<Endpoint>,
    pub(super) incarnation: u64,
    pub(super) body: Arc<RawValue>,
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        (
            self.group,
            &self.from,
            &self.to,
            self.endpoint,
            self.incarnation,
            self.body.get(),
        ) == (
            other.group,
            &other.from,
            &other.to,
            other.endpoint,
            other.incarnation,
            other.body.get(),
        )
    }
}

impl Data {
    /// An upper bound of the encoded length.
    pub(super) fn weight_bytes(&self) -> usize {
        // Type, group, numbers and field names take less than 256 bytes; JSON may escape a byte of a name to six.
        256 + 6 * (self.from.len() + self.to.as_ref().map_or(0, |to| to.len())) + self.body.get().len()
    }
}

fn member<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    let name = String::deserialize(deserializer)?;
    if name.is_empty() || name.len() > MEMBER_MAX_BYTES {
        return Err(de::Error::custom(format_args!(
            "a member's identity has 1 to {MEMBER_MAX_BYTES} bytes"
        )));
    }
    Ok(name.into())
}

fn optional_member<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<str>>, D::Error> {
    #[derive(Deserialize)]
    struct Member(#[serde(deserialize_with = "member")] Arc<str>);
    Ok(Option::<Member>::deserialize(deserializer)?.map(|member| member.0))
}

/// What an error frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Code {
    /// The two sides have no protocol version in common; the connection ends.
    Version,
    /// A frame did not parse, or was too long; the connection ends.
    Malformed,
    /// A frame's type is not known to the receiver, which ignored it.
    UnknownType,
    /// The port that the message is for is closed; its address may lead to another by now.
    ClosedPort,
    /// Nobody here serves that group.
    UnknownGroup,
    /// That group is served here, but not by the member that the message was for.
    UnknownMember,
    /// A code of a later version.
    #[serde(other)]
    Other,
}

/// Says that something was refused, and why. It is never answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) detail: String,
    /// The group, sender, receiver and port of the refused message, as it named them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<GroupKey>,
    #[serde(
        default,
        deserialize_with = "optional_member",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) from: Option<Arc<str>>,
    #[serde(
        default,
        deserialize_with = "optional_member",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) to: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) endpoint: Option<Endpoint>,
}

impl Refusal {
    /// A refusal that is about the connection rather than about one message.
    pub(super) fn new(code: Code, detail: impl fmt::Display) -> Self {
        let mut detail = detail.to_string();
        detail.truncate(detail.floor_char_boundary(DETAIL_MAX_BYTES));
        Self {
            code,
            detail,
            group: None,
            from: None,
            to: None,
            endpoint: None,
        }
    }

    /// A refusal of one message.
    pub(super) fn of(data: &Data, code: Code, detail: &str) -> Self {
        Self {
            code,
            detail: detail.to_owned(),
            group: Some(data.group),
            from: Some(Arc::clone(&data.from)),
            to: data.to.clone(),
            endpoint: data.endpoint,
        }
    }
}

/// Everything that a connection carries.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Frame {
    Hello(Hello),
    Data(Data),
    Error(Refusal),
    /// Asks for a pong, which shows that the other side still works.
    Ping,
    Pong,
    /// The sender writes nothing after this and reads until the other side closes.
    Goodbye,
    /// A type that this version does not know, and so never sends.
    #[serde(skip)]
    Unknown(String),
}

/// Why bytes are not a frame.
#[derive(Debug, Error)]
pub(super) enum CodecError {
    #[error("reading or writing a frame: {0}")]
    Io(#[from] std::io::Error),
    #[error("a frame of {bytes} bytes, more than the {limit_bytes} allowed")]
    TooLong { bytes: usize, limit_bytes: usize },
    #[error("a frame that is not a JSON object with a type: {0}")]
    Type(#[source] serde_json::Error),
    #[error("a malformed {kind} frame: {cause}")]
    Body {
        kind: &'static str,
        cause: serde_json::Error,
    },
    #[error("encoding a frame: {0}")]
    Encode(#[source] serde_json::Error),
}

/// Reads and writes frames of at most `limit_bytes`.
#[derive(Debug)]
pub(super) struct Codec {
    pub(super) limit_bytes: usize,
}

impl Decoder for Codec {
    type Item = Frame;
    type Error = CodecError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, CodecError> {
        let Some(length) = buffer.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let bytes = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if bytes > self.limit_bytes {
            return Err(CodecError::TooLong {
                bytes,
                limit_bytes: self.limit_bytes,
            });
        }
        let Some(body) = buffer.get(LENGTH_BYTES..LENGTH_BYTES + bytes) else {
            buffer.reserve(READ_AHEAD_BYTES.min(LENGTH_BYTES + bytes - buffer.len()));
            return Ok(None);
        };
        let frame = parse(body)?;
        buffer.advance(LENGTH_BYTES + bytes);
        if buffer.is_empty() && bytes > READ_AHEAD_BYTES {
            // Otherwise one large frame would leave its buffer with the connection for as long as that lives.
            *buffer = BytesMut::new();
        }
        Ok(Some(frame))
    }
}

fn parse(body: &[u8]) -> Result<Frame, CodecError> {
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(rename = "type")]
        kind: String,
    }
    fn fields<'de, T: Deserialize<'de>>(kind: &'static str, body: &'de [u8]) -> Result<T, CodecError> {
        serde_json::from_slice(body).map_err(|cause| CodecError::Body { kind, cause })
    }
    let Envelope { kind } = serde_json::from_slice(body).map_err(CodecError::Type)?;
    Ok(match kind.as_str() {
        "hello" => Frame::Hello(fields("hello", body)?),
        "data" => Frame::Data(fields("data", body)?),
        "error" => Frame::Error(fields("error", body)?),
        "ping" => Frame::Ping,
        "pong" => Frame::Pong,
        "goodbye" => Frame::Goodbye,
        _ => Frame::Unknown(kind),
    })
}

impl Encoder<&Frame> for Codec {
    type Error = CodecError;

    fn encode(&mut self, frame: &Frame, buffer: &mut BytesMut) -> Result<(), CodecError> {
        let start = buffer.len();
        buffer.put_u32(0);
        let written = serde_json::to_writer(buffer.writer(), frame).map_err(CodecError::Encode);
        let bytes = buffer.len() - start - LENGTH_BYTES;
        let length = match (written, u32::try_from(bytes)) {
            (Err(error), _) => {
                buffer.truncate(start);
                return Err(error);
            }
            (Ok(()), Ok(length)) if bytes <= self.limit_bytes => length,
            _ => {
                buffer.truncate(start);
                return Err(CodecError::TooLong {
                    bytes,
                    limit_bytes: self.limit_bytes,
                });
            }
        };
        buffer[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
