//! Addresses and ports of the loopback network that nobody else uses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net;

use crate::error::{Error, Result};

/// An address in 127.0.0.0/8 that is the holder's own until this is dropped or the process dies.
///
/// The claim is a listening socket in the abstract Unix namespace: like the loopback network itself it belongs to
/// the network namespace, other users see it too, and the kernel takes it back when the process ends in any way.
#[derive(Debug)]
pub(crate) struct ReservedAddress {
    ip: Ipv4Addr,
    _claim: net::UnixListener,
}

impl ReservedAddress {
    /// Reserves a random free address.
    pub(crate) fn any() -> Result<Self> {
        // 16 million addresses and a few dozen holders: a second try is rare, a hundredth means something else is wrong.
        const ATTEMPTS: usize = 100;
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..ATTEMPTS {
            // The lowest second octets stay free for people, the ends of a subnet confuse some programs.
            let ip = Ipv4Addr::new(
                127,
                rand::random_range(64..=254),
                rand::random_range(1..=254),
                rand::random_range(1..=254),
            );
            match Self::claim(ip) {
                Ok(reserved) => return Ok(reserved),
                Err(error) => last = error,
            }
        }
        Err(Error::Reserve {
            on: "127.0.0.0/8".into(),
            source: last,
        })
    }

    /// Reserves a certain address.
    pub(crate) fn of(ip: Ipv4Addr) -> Result<Self> {
        Self::claim(ip).map_err(|source| Error::Reserve {
            on: ip.to_string(),
            source,
        })
    }

    fn claim(ip: Ipv4Addr) -> io::Result<Self> {
        let name = net::SocketAddr::from_abstract_name(format!("flagship-testing/{ip}"))?;
        Ok(Self {
            ip,
            _claim: net::UnixListener::bind_addr(&name)?,
        })
    }

    pub(crate) fn ip(&self) -> IpAddr {
        IpAddr::V4(self.ip)
    }
}

/// Finds ports of `ip` that are free now. They are not held: whoever binds one must be ready to find it taken.
pub(crate) fn free_ports<const N: usize>(ip: IpAddr) -> Result<[u16; N]> {
    let error = |source| Error::Reserve {
        on: ip.to_string(),
        source,
    };
    // All are bound before any is released, so that they differ.
    let mut listeners = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind(SocketAddr::new(ip, 0)).map_err(error)?;
        *port = listener.local_addr().map_err(error)?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a test fails by panicking"
    )]

    use super::*;

    #[test]
    fn a_reserved_address_is_refused_until_it_is_dropped() {
        let reserved = ReservedAddress::any().unwrap();
        let ip = reserved.ip;
        assert_eq!(
            ReservedAddress::claim(ip).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(reserved);
        ReservedAddress::claim(ip).unwrap();
    }

    #[test]
    fn free_ports_differ_and_can_be_bound() {
        let reserved = ReservedAddress::any().unwrap();
        let [a, b, c] = free_ports(reserved.ip()).unwrap();
        assert!(a != b && b != c && a != c, "{a} {b} {c}");
        TcpListener::bind((reserved.ip(), a)).unwrap();
    }
}
