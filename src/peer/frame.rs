//! What travels on a connection: frames, and their codec.
//!
//! A frame is a length (4 bytes, big-endian, the length of what follows) and a JSON object whose `type` says what it
//! is. Fields that a version does not know are ignored; a type that it does not know is [`Frame::Unknown`], so that
//! the connection can answer and live on. Anything else that does not parse is an error and ends the connection.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
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

/// The longest frame before the other side has proven a callsign: the numbers of [`SEATS_MAX`] seats take 20 kB, a chain
/// of four certificates as much. Nobody unknown gets more of our memory than this.
pub(super) const STRANGER_MAX_BYTES: usize = 32 * 1024;

/// Seats that one [`Found`] names at most: a controller with as many objects on one port.
pub(super) const SEATS_MAX: usize = 1_024;

/// The longest identity of a member. An object's UID has 36 characters; a DNS name has at most 253.
pub const MEMBER_MAX_BYTES: usize = 253;

/// The longest cause in an error frame, so that it stays far below [`STRANGER_MAX_BYTES`].
const DETAIL_MAX_BYTES: usize = 512;

const LENGTH_BYTES: usize = 4;

/// How far ahead of what has arrived the read buffer grows: a length that is announced costs nothing, only bytes do.
const READ_AHEAD_BYTES: usize = 8 * 1024;

/// The protocol versions that a process speaks, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The oldest version.
    pub min: u16,
    /// The newest version.
    pub max: u16,
}

impl Versions {
    /// What this release speaks. Version 1 named groups by digests of their callsigns, and was never released.
    pub const SPOKEN: Self = Self { min: 2, max: 2 };

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

/// Tells one run of a process from every other: a digest of the certificate whose key it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Instance(pub(super) [u8; 32]);

impl Instance {
    pub(super) fn of_certificate(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
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
    /// The port that accepted this connection; a dialling side has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) endpoint: Option<Endpoint>,
}

/// Asks which members may be asked for a proof on a port: whoever knows an address only knows none by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Find {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) endpoint: Option<Endpoint>,
    /// Seats up to this one were tried in vain.
    #[serde(default)]
    pub(super) after: SeatNumber,
}

/// The answer to [`Find`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Found {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) endpoint: Option<Endpoint>,
    #[serde(deserialize_with = "seats")]
    pub(super) seats: Vec<SeatNumber>,
}

/// A member's place at a port, in a number that says nothing about it: drawn anew whenever its callsign changes, and
/// larger than all before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct SeatNumber(pub(super) u64);

/// Names one channel between two processes: the number is the opener's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ChannelKey {
    pub(super) number: u32,
    /// True where this process opened it.
    pub(super) is_ours: bool,
}

/// Whom a proof is asked of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Target {
    /// The member of this identity.
    Member(#[serde(deserialize_with = "member")] Arc<str>),
    /// The member at this place.
    Seat(SeatNumber),
}

/// Begins a channel, and the proof that both know a callsign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Open {
    pub(super) channel: u32,
    pub(super) target: Target,
    /// Asks for the callsign that the other side had before its present one.
    #[serde(default)]
    pub(super) former: bool,
    pub(super) share: Share,
}

/// The answer to [`Open`], with the answering side's confirmation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Offer {
    pub(super) channel: u32,
    pub(super) share: Share,
    pub(super) tag: Tag,
    /// Whether the member has a former callsign to try.
    #[serde(default)]
    pub(super) has_former: bool,
}

/// The opener's confirmation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Confirm {
    pub(super) channel: u32,
    pub(super) tag: Tag,
    /// Who the opener is.
    #[serde(deserialize_with = "member")]
    pub(super) member: Arc<str>,
    /// The opener's own port, and its place there.
    pub(super) endpoint: Endpoint,
    pub(super) seat: SeatNumber,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) certificate: Option<Signed>,
}

/// The channel is open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Accept {
    pub(super) channel: u32,
    /// Who has accepted.
    #[serde(deserialize_with = "member")]
    pub(super) member: Arc<str>,
    pub(super) endpoint: Endpoint,
    pub(super) seat: SeatNumber,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) certificate: Option<Signed>,
}

/// A chain of certificates, and a signature by the first one's key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Signed {
    pub(super) chain: Vec<Bytes>,
    /// The signature's algorithm, as TLS 1.3 numbers them.
    pub(super) scheme: u16,
    pub(super) signature: Bytes,
}

/// Bytes that travel as hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (pairs, rest) = text.as_bytes().as_chunks();
        let bytes: Option<_> = pairs.iter().copied().map(byte).collect();
        let bytes = bytes.filter(|_| rest.is_empty());
        bytes
            .map(Self)
            .ok_or_else(|| de::Error::custom("not hexadecimal digits"))
    }
}

/// One side's message of the key exchange: a point of the curve, behind a letter for the side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share(pub(super) [u8; 33]);

/// A confirmation that its sender has the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(pub(super) [u8; 32]);

macro_rules! hexadecimal {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&hex(&self.0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                from_hex(&String::deserialize(deserializer)?)
                    .map(Self)
                    .ok_or_else(|| {
                        de::Error::custom(format_args!(
                            "{} has hexadecimal digits of a fixed number",
                            stringify!($name)
                        ))
                    })
            }
        }
    };
}

hexadecimal!(Share);
hexadecimal!(Tag);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (to, digits) in bytes.iter_mut().zip(text.as_bytes().as_chunks().0) {
        *to = byte(*digits)?;
    }
    Some(bytes)
}

fn byte(digits: [u8; 2]) -> Option<u8> {
    let digit = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    Some(digit(digits[0])? << 4 | digit(digits[1])?)
}

/// A member's message to another, on a channel that names both.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Data {
    pub(super) channel: u32,
    /// Whether the sender of this message opened the channel.
    pub(super) opener: bool,
    pub(super) incarnation: u64,
    pub(super) body: Arc<RawValue>,
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        let fields = |data: &Self| (data.channel, data.opener, data.incarnation);
        fields(self) == fields(other) && self.body.get() == other.body.get()
    }
}

/// An upper bound of what a data frame takes beside its body.
pub(super) const DATA_OVERHEAD_BYTES: usize = 128;

fn seats<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SeatNumber>, D::Error> {
    let seats = Vec::deserialize(deserializer)?;
    if seats.len() > SEATS_MAX {
        return Err(de::Error::custom(format_args!("more than {SEATS_MAX} seats")));
    }
    Ok(seats)
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
    /// The port is closed; its address may lead to another by now.
    ClosedPort,
    /// The member that a channel was to be opened to is not there.
    UnknownMember,
    /// No such channel is open.
    UnknownChannel,
    /// The proof failed: the two sides have different callsigns.
    WrongCallsign,
    /// The callsign is right, but not the certificate, or there is none.
    Certificate,
    /// Too many proofs have failed; ask again later.
    Busy,
    /// A code of a later version.
    #[serde(other)]
    Other,
}

/// Says that something was refused, and why. It is never answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) detail: String,
    /// The channel that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) channel: Option<u32>,
    /// Whether the sender of this refusal opened that channel.
    #[serde(default)]
    pub(super) opener: bool,
    /// The port that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) endpoint: Option<Endpoint>,
}

impl Refusal {
    /// A refusal that is about the connection rather than about one channel.
    pub(super) fn new(code: Code, detail: impl fmt::Display) -> Self {
        let mut detail = detail.to_string();
        detail.truncate(detail.floor_char_boundary(DETAIL_MAX_BYTES));
        Self {
            code,
            detail,
            channel: None,
            opener: false,
            endpoint: None,
        }
    }

    /// A refusal that is about a channel, in words that go by its code.
    pub(super) fn of_channel(code: Code, channel: ChannelKey) -> Self {
        let detail = match code {
            Code::UnknownMember => "this member is not here",
            Code::UnknownChannel => "no such channel is open",
            Code::WrongCallsign => "the callsigns differ",
            Code::Busy => "too many proofs have failed",
            _ => "refused",
        };
        Self {
            channel: Some(channel.number),
            opener: channel.is_ours,
            ..Self::new(code, detail)
        }
    }
}

/// Everything that a connection carries.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Frame {
    Hello(Hello),
    Find(Find),
    Found(Found),
    Open(Open),
    Offer(Offer),
    Confirm(Confirm),
    Accept(Accept),
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
        "find" => Frame::Find(fields("find", body)?),
        "found" => Frame::Found(fields("found", body)?),
        "open" => Frame::Open(fields("open", body)?),
        "offer" => Frame::Offer(fields("offer", body)?),
        "confirm" => Frame::Confirm(fields("confirm", body)?),
        "accept" => Frame::Accept(fields("accept", body)?),
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
