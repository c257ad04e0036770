//! How many connections may come in: whoever is above a limit is the one who is closed, never one who is established.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Bounds on what comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all, handshakes included. A leader of 1,000 voters has as many; twice that leaves room for those
    /// that reconnect before their old connection is known to be dead.
    pub connections: usize,
    /// Connections from one source. A whole site may stand behind one address of a load balancer; more than 256
    /// controllers in one site are not expected.
    pub connections_per_source: usize,
    /// Handshakes at once, proofs of a callsign included. One costs some milliseconds of work and lasts a few round
    /// trips, so 256 admit some hundred a second from far away.
    pub handshakes: usize,
    /// Handshakes at once from one source: a quarter, so that it takes several sources to keep others out.
    pub handshakes_per_source: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2_048,
            connections_per_source: 256,
            handshakes: 256,
            handshakes_per_source: 64,
        }
    }
}

/// Which limit a newcomer is above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overflow {
    Connections,
    ConnectionsPerSource,
    Handshakes,
    HandshakesPerSource,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    connections: usize,
    handshakes: usize,
}

#[derive(Debug)]
struct Counts {
    limits: Limits,
    total: Count,
    sources: HashMap<IpAddr, Count>,
}

impl Counts {
    fn admit(&mut self, source: IpAddr) -> Result<(), Overflow> {
        let one = self.sources.get(&source).copied().unwrap_or_default();
        if one.connections >= self.limits.connections_per_source {
            return Err(Overflow::ConnectionsPerSource);
        }
        if one.handshakes >= self.limits.handshakes_per_source {
            return Err(Overflow::HandshakesPerSource);
        }
        if self.total.connections >= self.limits.connections {
            return Err(Overflow::Connections);
        }
        if self.total.handshakes >= self.limits.handshakes {
            return Err(Overflow::Handshakes);
        }
        for count in [&mut self.total, self.sources.entry(source).or_default()] {
            count.connections += 1;
            count.handshakes += 1;
        }
        Ok(())
    }

    fn shaken(&mut self, source: IpAddr) {
        for count in [&mut self.total, self.sources.entry(source).or_default()] {
            count.handshakes = count.handshakes.saturating_sub(1);
        }
    }

    fn closed(&mut self, source: IpAddr) {
        self.total.connections = self.total.connections.saturating_sub(1);
        if let Some(count) = self.sources.get_mut(&source) {
            count.connections = count.connections.saturating_sub(1);
            if count.connections == 0 {
                self.sources.remove(&source);
            }
        }
    }
}

/// Counts what has come in.
#[derive(Clone, Debug)]
pub(super) struct Admission(Arc<Mutex<Counts>>);

impl Admission {
    pub(super) fn new(limits: Limits) -> Self {
        Self(Arc::new(Mutex::new(Counts {
            limits,
            total: Count::default(),
            sources: HashMap::new(),
        })))
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        // Each method leaves the counts whole at every point where it could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a connection whose handshake begins.
    pub(super) fn admit(&self, from: IpAddr) -> Result<Permit, Overflow> {
        let source = source_of(from);
        self.counts().admit(source)?;
        Ok(Permit {
            admission: self.clone(),
            source,
            shaking: true,
        })
    }
}

/// A place among the connections, given back on drop.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Admission,
    source: IpAddr,
    shaking: bool,
}

impl Permit {
    /// Gives back the place among the handshakes.
    pub(super) fn shaken(&mut self) {
        if std::mem::replace(&mut self.shaking, false) {
            self.admission.counts().shaken(self.source);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shaken();
        self.admission.counts().closed(self.source);
    }
}

/// Whom an address is counted as: an IPv6 host commands at least the 64 lower bits of its address.
pub(super) fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
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

    const LIMITS: Limits = Limits {
        connections: 4,
        connections_per_source: 3,
        handshakes: 3,
        handshakes_per_source: 2,
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_limit_closes_the_newcomer_and_is_named() {
        let admission = Admission::new(LIMITS);
        let mut a1 = admission.admit(ip("10.0.0.1")).unwrap();
        let mut a2 = admission.admit(ip("10.0.0.1")).unwrap();
        assert_eq!(
            admission.admit(ip("10.0.0.1")).unwrap_err(),
            Overflow::HandshakesPerSource
        );
        let b1 = admission.admit(ip("10.0.0.2")).unwrap();
        assert_eq!(admission.admit(ip("10.0.0.3")).unwrap_err(), Overflow::Handshakes);
        a1.shaken();
        a2.shaken();
        let _a3 = admission.admit(ip("10.0.0.1")).unwrap();
        assert_eq!(
            admission.admit(ip("10.0.0.1")).unwrap_err(),
            Overflow::ConnectionsPerSource
        );
        assert_eq!(
            admission.admit(ip("10.0.0.3")).unwrap_err(),
            Overflow::Connections
        );
        drop(b1);
        assert!(admission.admit(ip("10.0.0.3")).is_ok());
    }

    #[test]
    fn nothing_is_remembered_of_sources_that_have_gone() {
        let admission = Admission::new(LIMITS);
        let mut permit = admission.admit(ip("10.0.0.1")).unwrap();
        permit.shaken();
        drop(permit);
        drop(admission.admit(ip("10.0.0.2")).unwrap());
        let counts = admission.counts();
        assert_eq!((counts.total, counts.sources.len()), (Count::default(), 0));
    }

    #[test]
    fn addresses_of_one_host_count_as_one_source() {
        assert_eq!(source_of(ip("::ffff:10.0.0.1")), ip("10.0.0.1"));
        assert_eq!(
            source_of(ip("2001:db8:1:2::7")),
            source_of(ip("2001:db8:1:2:3:4:5:6"))
        );
        assert_ne!(source_of(ip("2001:db8:1:2::7")), source_of(ip("2001:db8:1:3::7")));
    }
}
