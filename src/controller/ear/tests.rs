#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::net::Ipv4Addr;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tokio::time::timeout;

use super::*;
use crate::api::MultiClusterSpec;
use crate::peer::{Callsign, Config, Event, Identity};

/// Generous: nothing that should happen takes nearly as long.
const SOON: Duration = Duration::from_secs(15);

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn spec(port: u16) -> ValidSpec {
    let spec = json!({"callsign": "unused", "rank": 5, "port": port});
    let spec: MultiClusterSpec = serde_json::from_value(spec).unwrap();
    spec.validate().unwrap()
}

fn credentials(word: &str, identity: Option<Identity>) -> Credentials {
    Credentials {
        identity: identity.map(Arc::new),
        ..Credentials::new(Callsign::new(word))
    }
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

    fn listen(&mut self, word: &str, identity: Option<Identity>) -> bool {
        self.ear.listen(
            &self.transport,
            &spec(self.port),
            Some(Ipv4Addr::LOCALHOST.into()),
            credentials(word, identity),
            0,
        )
    }

    fn send(&self, port: u16) {
        let to = To {
            address: Some(format!("127.0.0.1:{port}").into()),
            ..To::default()
        };
        let body = RawValue::from_string("0".to_owned()).unwrap();
        self.ear.send(&to, 1, body.into()).unwrap();
    }

    fn has_channel_to(&self, member: &str) -> bool {
        let to = To {
            member: Some(member.into()),
            ..To::default()
        };
        let body = RawValue::from_string("0".to_owned()).unwrap();
        self.ear.send(&to, 1, body.into()).is_ok()
    }

    /// Sends until something arrives, or for so long.
    async fn reaches(&self, other: &mut Place, within: Duration) -> bool {
        let to = other.port;
        let receiving = async {
            loop {
                if let Event::Message(_) = other.ear.receive().await {
                    return;
                }
            }
        };
        let sending = async {
            loop {
                self.send(to);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(within, async {
            tokio::select! {
                () = receiving => {}
                () = sending => {}
            }
        })
        .await
        .is_ok()
    }
}

/// An authority that issues certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A fresh certificate, with these authorities beside its own.
    fn identity(&self, others: &[&Authority]) -> Option<Identity> {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().signed_by(&key, &self.0).unwrap();
        let authorities: String = [&self].into_iter().chain(others).map(|one| one.0.pem()).collect();
        let identity = Identity::from_pem(
            certificate.pem().as_bytes(),
            key.serialize_pem().as_bytes(),
            authorities.as_bytes(),
        );
        Some(identity.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_another_member_has_are_told_until_they_are_given_up() {
    let mut first = Place::new("first");
    assert!(first.listen("red", None));
    let mut second = Place {
        ear: Ear::new("second".into()),
        transport: first.transport.clone(),
        port: first.port,
    };
    assert!(second.listen("blue", None));
    assert_eq!((second.ear.is_open(), second.ear.error()), (true, None));
    assert!(second.listen("red", None));
    let error = second.ear.error().unwrap();
    assert!(error.contains("first"), "{error}");
    assert!(second.ear.is_open(), "it goes on by the former ones");
    assert!(second.listen("blue", None), "the error is news that is over");
    assert_eq!((second.ear.is_open(), second.ear.error()), (true, None));
    assert!(!second.listen("blue", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_end_that_were_opened_without_what_is_asked_for_now_and_others_do_not() {
    let (old, new) = (Authority::new(), Authority::new());
    let (mut newyork, mut sheffield) = (Place::new("newyork"), Place::new("sheffield"));
    newyork.listen("federation", None);
    sheffield.listen("federation", None);
    assert!(newyork.reaches(&mut sheffield, SOON).await);
    assert!(newyork.has_channel_to("sheffield"));
    // One asks for certificates, and the other has none.
    newyork.listen("federation", old.identity(&[]));
    assert!(!newyork.has_channel_to("sheffield"));
    assert!(!sheffield.reaches(&mut newyork, Duration::from_secs(1)).await);
    sheffield.listen("federation", old.identity(&[]));
    assert!(newyork.reaches(&mut sheffield, SOON).await);
    assert!(sheffield.reaches(&mut newyork, SOON).await);
    // A renewed certificate ends nothing, nor does one authority more; one that is given up does.
    for (identity, ends) in [
        (old.identity(&[]), false),
        (old.identity(&[&new]), false),
        (new.identity(&[&old]), false),
        (new.identity(&[]), true),
    ] {
        newyork.listen("federation", identity);
        assert_eq!(newyork.has_channel_to("sheffield"), !ends);
    }
    sheffield.listen("federation", new.identity(&[]));
    assert!(sheffield.reaches(&mut newyork, SOON).await);
}
