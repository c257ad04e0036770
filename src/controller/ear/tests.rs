#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::net::Ipv4Addr;

use serde_json::json;

use super::*;
use crate::api::MultiClusterSpec;
use crate::peer::{Callsign, Config};

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn spec(port: u16) -> ValidSpec {
    let spec = json!({"callsign": "unused", "rank": 5, "port": port});
    let spec: MultiClusterSpec = serde_json::from_value(spec).unwrap();
    spec.validate().unwrap()
}

fn credentials(word: &str) -> Credentials {
    Credentials::new(Callsign::new(word))
}

/// A member on a transport and a port of its own.
struct Place {
    ear: Ear,
    transport: Transport,
    port: u16,
}

impl Place {
    fn new(name: &str) -> Place {
        Place {
            ear: Ear::new(name.into()),
            transport: Transport::start(Config::default()).unwrap(),
            port: free_port(),
        }
    }

    fn listen(&mut self, word: &str) -> bool {
        self.ear.listen(
            &self.transport,
            &spec(self.port),
            Some(Ipv4Addr::LOCALHOST.into()),
            credentials(word),
            0,
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_another_member_has_are_told_until_they_are_given_up() {
    let mut first = Place::new("first");
    assert!(first.listen("red"));
    let mut second = Place {
        ear: Ear::new("second".into()),
        transport: first.transport.clone(),
        port: first.port,
    };
    assert!(second.listen("blue"));
    assert_eq!((second.ear.is_open(), second.ear.error()), (true));
    assert!(second.listen("red"));
    let error = second.ear.error().unwrap();
    assert!(error.contains("first"), "{error}");
    assert!(second.ear.is_open(), "it goes on by the former ones");
    assert!(second.listen("blue"), "the error is news that is over");
    assert_eq!((second.ear.is_open(), second.ear.error()), (true));
    assert!(!second.listen("blue"));
}
