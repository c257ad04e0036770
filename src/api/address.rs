//! `host` or `host:port`, as users write the addresses of members.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Longest host name that DNS can carry, in bytes (RFC 1035, without the trailing dot).
const HOST_NAME_MAX_BYTES: usize = 253;
/// Longest label of a host name, in bytes (RFC 1035).
const LABEL_MAX_BYTES: usize = 63;

/// Where a member is reached: a host and a TCP port.
///
/// Two addresses that a resolver would treat alike compare equal: host names are kept in lower case, IP addresses
/// in their binary form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The host, to be resolved at each dial when it is a name.
    pub host: Host,
    /// The TCP port, never 0.
    pub port: u16,
}

/// The host part of an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
    /// A DNS name in lower case; a trailing dot is kept, since it stops the resolver's search list.
    Name(String),
}

/// Why a text is no [`Address`]. The messages say what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing but a port, or nothing at all.
    #[error("the host is missing: write host or host:port")]
    HostMissing,
    /// Several colons and no brackets: where the port would begin cannot be told.
    #[error("write an IPv6 address in brackets, as in [{0}] or [{0}]:9990")]
    Ipv6WithoutBrackets(String),
    /// The brackets hold something else than an IPv6 address, or are not closed.
    #[error("{0:?} is not an IPv6 address: write [2001:db8::1] or [2001:db8::1]:9990")]
    BadIpv6(String),
    /// The port is not a number from 1 to 65535.
    #[error("{0:?} is not a port: write a number from 1 to 65535 after the last colon")]
    BadPort(String),
    /// Neither an IPv4 address nor a DNS name.
    #[error(
        "{0:?} is neither an IP address nor a DNS name: write host or host:port, without a scheme, a path or spaces"
    )]
    BadHost(String),
}

impl Address {
    /// Reads `host` or `host:port`; without a port, `default_port` counts.
    ///
    /// # Errors
    /// [`AddressError`] names the part that is wrong and what to write instead.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, AddressError> {
        let (host, port) = split(text)?;
        let port = match port {
            None => default_port,
            Some(digits) => parse_port(digits)?,
        };
        Ok(Self { host, port })
    }
}

/// Splits off the port and reads the host.
fn split(text: &str) -> Result<(Host, Option<&str>), AddressError> {
    if let Some(rest) = text.strip_prefix('[') {
        let bad = || AddressError::BadIpv6(text.to_owned());
        let (inside, after) = rest.split_once(']').ok_or_else(bad)?;
        let ip = Ipv6Addr::from_str(inside).map_err(|_| bad())?;
        let port = match after.strip_prefix(':') {
            Some(port) => Some(port),
            None if after.is_empty() => None,
            None => return Err(bad()),
        };
        return Ok((Host::Ip(ip.into()), port));
    }
    if Ipv6Addr::from_str(text).is_ok() {
        return Err(AddressError::Ipv6WithoutBrackets(text.to_owned()));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    Ok((parse_host(host)?, port))
}

fn parse_port(digits: &str) -> Result<u16, AddressError> {
    let bad = || AddressError::BadPort(digits.to_owned());
    // `u16::from_str` takes a leading plus, which no URL or manifest means.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    digits.parse().ok().filter(|port| *port != 0).ok_or_else(bad)
}

fn parse_host(text: &str) -> Result<Host, AddressError> {
    if text.is_empty() {
        return Err(AddressError::HostMissing);
    }
    if let Ok(ip) = Ipv4Addr::from_str(text) {
        return Ok(Host::Ip(ip.into()));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let label_is_valid = |label: &str| {
        !label.is_empty()
            && label.len() <= LABEL_MAX_BYTES
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A name whose last label is a number is a mistyped IPv4 address: no top-level domain is one.
    let looks_like_ipv4 = name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if name.len() > HOST_NAME_MAX_BYTES || looks_like_ipv4 || !name.split('.').all(label_is_valid) {
        return Err(AddressError::BadHost(text.to_owned()));
    }
    Ok(Host::Name(text.to_ascii_lowercase()))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn shown(text: &str) -> String {
        Address::parse(text, 9990).unwrap().to_string()
    }

    #[test]
    fn reads_every_form_that_users_write() {
        assert_eq!(shown("172.18.100.100"), "172.18.100.100:9990");
        assert_eq!(shown("172.18.100.100:1"), "172.18.100.100:1");
        assert_eq!(shown("[2001:DB8::1]"), "[2001:db8::1]:9990");
        assert_eq!(shown("[::1]:65535"), "[::1]:65535");
        assert_eq!(shown("NewYork.example.com:80"), "newyork.example.com:80");
        assert_eq!(shown("newyork"), "newyork:9990");
        assert_eq!(shown("newyork.example.com."), "newyork.example.com.:9990");
        assert_eq!(shown("4u.example"), "4u.example:9990");
    }

    #[test]
    fn one_place_written_twice_is_one_address() {
        assert_eq!(
            Address::parse("[2001:db8:0::1]:9990", 1),
            Address::parse("[2001:db8::1]", 9990)
        );
        assert_eq!(Address::parse("A.example", 1), Address::parse("a.Example:1", 2));
    }

    #[test]
    fn says_what_is_wrong() {
        let error = |text: &str| Address::parse(text, 9990).unwrap_err();
        let owned = str::to_owned;
        assert_eq!(error(""), AddressError::HostMissing);
        assert_eq!(error(":9990"), AddressError::HostMissing);
        assert_eq!(
            error("2001:db8::1"),
            AddressError::Ipv6WithoutBrackets(owned("2001:db8::1"))
        );
        for text in [
            "[::1",
            "[newyork]",
            "[172.18.0.1]",
            "[::1]9990",
            "[fe80::1%eth0]:9990",
        ] {
            assert_eq!(error(text), AddressError::BadIpv6(owned(text)));
        }
        for port in ["", "0", "65536", "+80", "http", "99 90", "9990/", "99:90"] {
            assert_eq!(
                error(&format!("newyork:{port}")),
                AddressError::BadPort(owned(port))
            );
        }
        let long_label = "a".repeat(64);
        let long_name = format!("{}example", "abc.".repeat(62));
        for host in [
            "300.1.1.1",
            "172.18.100",
            "1",
            "a b",
            " a",
            "-a",
            "a-",
            "a..b",
            ".",
            "a_b",
            "é",
            &long_label,
            &long_name,
        ] {
            assert_eq!(error(host), AddressError::BadHost(owned(host)));
        }
        assert_eq!(
            error("https://newyork"),
            AddressError::BadPort(owned("//newyork"))
        );
    }
}
