//! The transport over real TCP on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod hostile;
mod liveness;
mod proofs;
mod proxy;
mod routing;
mod stranger;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::timeout;

use super::*;

/// Generous: nothing that should happen takes nearly as long.
const SOON: Duration = Duration::from_secs(15);

/// Long enough for something that must not happen to have happened.
const QUIET: Duration = Duration::from_millis(400);

/// A config whose silences are short.
fn brisk() -> Config {
    let timing = Timing {
        handshake_max: Duration::from_millis(500),
        prove_max: Duration::from_secs(2),
        ping_interval: Duration::from_millis(100),
        silence_max: Duration::from_millis(400),
        write_max: Duration::from_secs(1),
    };
    Config {
        timing,
        ..Config::default()
    }
}

fn callsign(text: &str) -> Credentials {
    Credentials::new(Callsign::new(text))
}

fn raw(body: &str) -> Arc<RawValue> {
    RawValue::from_string(body.to_owned()).unwrap().into()
}

/// One member on a transport and port of its own.
struct Member {
    transport: Transport,
    listener: Listener,
    inbox: Inbox,
    name: &'static str,
}

impl Member {
    fn start(name: &'static str, config: Config) -> Self {
        Self::start_at(name, config, "127.0.0.1:0")
    }

    fn start_at(name: &'static str, config: Config, address: &str) -> Self {
        Self::join(&Transport::start(config).unwrap(), name, "federation", address)
    }

    fn join(transport: &Transport, name: &'static str, word: &str, address: &str) -> Self {
        let listener = transport.listen(address.parse().unwrap()).unwrap();
        let inbox = transport.register(&listener, callsign(word), name).unwrap();
        Self {
            transport: transport.clone(),
            listener,
            inbox,
            name,
        }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_address()
    }

    fn send(&self, to: &To, body: &str) -> Result<(), Error> {
        self.inbox.send(to, 1, raw(body))
    }

    async fn event(&mut self) -> Event {
        timeout(SOON, self.inbox.receive())
            .await
            .expect("an event soon")
            .unwrap()
    }

    async fn message(&mut self) -> Incoming {
        loop {
            if let Event::Message(message) = self.event().await {
                return message;
            }
        }
    }

    async fn notice(&mut self, matches: impl Fn(&Notice) -> bool) -> Notice {
        loop {
            match self.event().await {
                Event::Notice(notice) if matches(&notice) => return notice,
                _ => {}
            }
        }
    }

    /// Asserts that nothing arrives for a while.
    async fn hears_nothing(&mut self) {
        if let Ok(event) = timeout(QUIET, self.inbox.receive()).await {
            panic!("{} got {event:?}", self.name);
        }
    }

    /// Sends until something arrives at `other`, as the election would.
    async fn reaches(&self, to: &To, other: &mut Self) -> Incoming {
        let repeat = async {
            for round in 0.. {
                self.send(to, &format!("{round}")).unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            message = other.message() => message,
            () = repeat => unreachable!(),
        }
    }

    fn connections(&self) -> usize {
        self.transport.connections()
    }
}

fn at(address: impl ToString) -> To {
    To {
        address: Some(address.to_string().into()),
        ..To::default()
    }
}

fn to_member(name: &str) -> To {
    To {
        member: Some(name.into()),
        ..To::default()
    }
}

/// Waits until something holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, waiting)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {SOON:?}"));
}
