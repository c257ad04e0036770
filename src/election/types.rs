//! Identities and time, as the election counts them.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A point on one member's own clock, in milliseconds since an arbitrary origin.
///
/// The controller counts CLOCK_BOOTTIME, so that time spent suspended counts. Ticks of two members are never compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub i64);

impl Tick {
    /// Milliseconds from `earlier` to this tick, negative when `earlier` lies ahead.
    #[must_use]
    pub fn since(self, earlier: Tick) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<i64> for Tick {
    type Output = Tick;
    fn add(self, ms: i64) -> Tick {
        Tick(self.0.saturating_add(ms))
    }
}

impl Sub<i64> for Tick {
    type Output = Tick;
    fn sub(self, ms: i64) -> Tick {
        Tick(self.0.saturating_sub(ms))
    }
}

/// The number of an election; at most one member leads in each (promise G1).
pub type Term = u64;

/// A term that is further ahead than this was never reached by elections, of which there are a few a second at most: it
/// was forged, and whoever believed it could be elected no more.
pub(super) const TERMS_AHEAD_MAX: Term = 1 << 40;

macro_rules! identity {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let hex = format!("{:032x}", self.0);
                write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnIdentity;
            fn from_str(text: &str) -> Result<Self, NotAnIdentity> {
                let hex: String = text.chars().filter(|c| *c != '-').collect();
                if hex.len() != 32 {
                    return Err(NotAnIdentity(text.to_owned()));
                }
                u128::from_str_radix(&hex, 16).map(Self).map_err(|_| NotAnIdentity(text.to_owned()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

identity! {
    /// One member: the UID of its `MultiCluster` object.
    MemberId
}
identity! {
    /// One group, drawn at random when it is founded, so that two groups with one callsign are told apart.
    GroupId
}
identity! {
    /// Something that a person asked for.
    RequestId
}
identity! {
    /// One memory of votes. A member whose memory is lost or altered starts a new one, and is then not the voter that it was.
    MemoryId
}

/// The text is not a UUID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a UUID")]
pub struct NotAnIdentity(String);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn an_identity_reads_back_what_it_writes() {
        let text = "0a1b2c3d-0000-4fff-8000-00000000002a";
        let id: MemberId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{text}\""));
        assert_eq!(
            serde_json::from_str::<MemberId>(&format!("\"{text}\"")).unwrap(),
            id
        );
        assert!("0a1b2c3d".parse::<MemberId>().is_err());
        assert!(
            "zz1b2c3d-0000-4fff-8000-00000000002a"
                .parse::<MemberId>()
                .is_err()
        );
    }
}
