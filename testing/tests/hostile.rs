//! Hostile traffic against the ports of real controllers: the leader neither moves nor grows, and fails over afterwards as
//! ever.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and shows what it measured"
)]

#[path = "hostile/path.rs"]
mod path;
#[path = "hostile/tls.rs"]
mod tls;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use flagship::peer::{self, Callsign, Credentials, Limits, To, Transport, Versions};
use flagship_testing::{CONTENT, PATIENCE, Site, TestResult, sites};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rand::{RngExt, SeedableRng};
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use path::Path;
use tls::{Tls, connect_from};

const NAMESPACE: &str = "default";
const CALLSIGN: &str = "correct horse battery staple";
/// Longer than the transport waits for a hello and a proof of a stranger, with room for a busy machine.
const ALL_CLOSED_WITHIN: Duration = Duration::from_secs(60);
/// What a stranger is answered in, or closed; the transport's own limit is 3 s.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);
/// Connections to its API server that a controller may have opened meanwhile: 8 requests at once and a few watches.
const OWN_DESCRIPTORS: usize = 16;
/// What a stranger may cost at once: a frame of 32 kB with as much read ahead, TLS's buffers of 16 kB for each direction,
/// keys, and a task.
const STRANGER_BYTES: usize = 128 * 1024;
/// Guessers that are remembered, at about 100 bytes each.
const GUESSERS_BYTES: usize = 65_536 * 100;
/// The allocator keeps pages that it has used once: what other work of a minute may leave of them.
const ALLOCATOR_BYTES: usize = 16 * 1024 * 1024;

/// An address that only strangers come from.
fn stranger(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 66, 6, number.max(1)).into()
}

/// What a process has.
#[derive(Clone, Copy, Debug)]
struct Size {
    resident_bytes: usize,
    descriptors: usize,
}

fn size_of(site: &Site) -> Size {
    let pid = site.controller.pid().unwrap().expect("the controller runs");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kibibytes: usize = resident.split_whitespace().nth(1).unwrap().parse().unwrap();
    Size {
        resident_bytes: kibibytes * 1024,
        descriptors: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(),
    }
}

/// Three members that reach one another through recording paths, the first leading.
struct Fleet {
    sites: [Site; 3],
    paths: [Path; 3],
    term: Option<i64>,
    leaders_pid: Option<i32>,
    before: Size,
}

impl Fleet {
    async fn start() -> Result<Fleet, flagship_testing::Failure> {
        let sites = sites(["newyork", "sheffield", "gotham"]).await?;
        let port = |site: &Site| SocketAddr::new(site.address(), 9990);
        let path = async |number: u8, site: &Site| {
            Path::recording(Ipv4Addr::new(127, 77, 7, number).into(), port(site)).await
        };
        let paths = [
            path(1, &sites[0]).await,
            path(2, &sites[1]).await,
            path(3, &sites[2]).await,
        ];
        let mut fleet = Fleet {
            sites,
            paths,
            term: None,
            leaders_pid: None,
            before: Size {
                resident_bytes: 0,
                descriptors: 0,
            },
        };
        for place in 0..3 {
            fleet.apply(place, &fleet.paths[0].address.to_string()).await?;
            if place == 0 {
                fleet.sites[0].wait_until_leading(NAMESPACE).await?;
            }
        }
        let [newyork, sheffield, gotham] = &fleet.sites;
        for site in [sheffield, gotham] {
            site.wait_until_following(NAMESPACE, newyork).await?;
        }
        fleet.term = newyork.status(NAMESPACE).await?.term;
        fleet.leaders_pid = newyork.controller.pid()?;
        fleet.before = size_of(newyork);
        Ok(fleet)
    }

    /// Applies a member that joins through this address.
    async fn apply(&self, place: usize, through: &str) -> TestResult {
        let site = &self.sites[place];
        let own = format!("{}:9990", site.address());
        let mut manifest = site.manifest("CALLSIGN", [10, 5, 3][place]).payload(CONTENT);
        if place == 0 {
            manifest = manifest.ready();
        }
        let yaml = manifest
            .yaml()
            .replace("callsign: CALLSIGN", &format!("callsign: {CALLSIGN}"))
            .replace(&own, &self.paths[place].address.to_string())
            .replace("fleet: []", &format!("fleet: [{through:?}]"));
        site.apply_in(NAMESPACE, &yaml).await?;
        Ok(())
    }

    /// Where newyork's controller listens, without anybody in the path.
    fn target(&self) -> SocketAddr {
        SocketAddr::new(self.sites[0].address(), 9990)
    }

    /// The leader leads on, in its term and by its process.
    async fn assert_unmoved(&self, after: &str) -> TestResult {
        let newyork = &self.sites[0];
        let status = newyork.status(NAMESPACE).await?;
        assert!(status.leading, "after {after}: {status:#?}");
        assert_eq!(status.term, self.term, "after {after}");
        assert_eq!(newyork.controller.pid()?, self.leaders_pid, "after {after}");
        let size = size_of(newyork);
        println!(
            "after {after}: {} kB resident, {} descriptors",
            size.resident_bytes / 1024,
            size.descriptors
        );
        Ok(())
    }
}

/// Writes what it can, and waits for the other side to close.
async fn write_and_watch_the_end(mut stream: impl AsyncReadExt + AsyncWrite + Unpin, bytes: &[u8]) {
    let exchange = async {
        // It may be closed in the middle.
        if stream.write_all(bytes).await.is_ok() {
            stream.flush().await.ok();
        }
        let mut rest = [0; 4096];
        while let Ok(1..) = stream.read(&mut rest).await {}
    };
    timeout(ANSWERED_WITHIN, exchange)
        .await
        .expect("it closes what says nothing sensible");
}

async fn garbage(target: SocketAddr, rng: &mut rand::rngs::StdRng) {
    let mut texts: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"\0\0\0\x0f{\"type\":\"ping\"}".to_vec(),
        vec![0xff; 70_000],
        // A TLS record that promises more than there may be in one, and handshakes of no such version.
        [&[22, 3, 1, 0xff, 0xff][..], &[1; 20_000]].concat(),
        [&[22, 3, 3, 0, 200, 1, 0, 0, 196, 3, 3][..], &[7; 189]].concat(),
        Vec::new(),
    ];
    for length in [1, 5, 100, 10_000, 1_000_000] {
        let mut noise = vec![0; length];
        rng.fill(&mut noise[..]);
        texts.push(noise.clone());
        // What begins like TLS is read further.
        noise[0] = 22;
        texts.push(noise);
    }
    let mut all = FuturesUnordered::new();
    for round in 0..20 {
        for text in &texts {
            all.push(async move {
                // Above its limits it refuses, which is as good.
                if let Ok(stream) = connect_from(stranger(round + 1), target).await {
                    write_and_watch_the_end(stream, text).await;
                }
            });
        }
    }
    while all.next().await.is_some() {}
}

fn frame(json: &[u8]) -> Vec<u8> {
    let length = u32::try_from(json.len()).unwrap();
    [&length.to_be_bytes()[..], json].concat()
}

/// What a stranger says behind TLS, after a hello or instead of it.
async fn huge_lengths(target: SocketAddr) {
    let tls = Tls::new();
    let hello = serde_json::json!({"type": "hello", "protocol": Versions::SPOKEN}).to_string();
    let hello = frame(hello.as_bytes());
    let bodies: [Vec<u8>; 7] = [
        u32::MAX.to_be_bytes().to_vec(),
        [&u32::MAX.to_be_bytes()[..], &[b' '; 200_000]].concat(),
        [&1_000_000_u32.to_be_bytes()[..], &[b'['; 200_000]].concat(),
        frame(&[b'['; 30_000]),
        frame(br#"{"type":"data"}"#),
        frame(&[0xff; 30_000]),
        // Without an end: it is cut off for taking too long.
        vec![0, 0, 0x70, 0],
    ];
    let mut all = FuturesUnordered::new();
    for (number, body) in bodies.iter().enumerate() {
        for greets in [true, false] {
            for _ in 0..4 {
                let (tls, hello) = (&tls, &hello);
                let source = stranger(100 + u8::try_from(number).unwrap());
                all.push(async move {
                    let stream = connect_from(source, target).await.unwrap();
                    let stream = tls.connect(stream).await.unwrap();
                    let said = if greets {
                        [&hello[..], body].concat()
                    } else {
                        body.clone()
                    };
                    write_and_watch_the_end(stream, &said).await;
                });
            }
        }
    }
    while all.next().await.is_some() {}
}

/// Says again what members said, as they said it and as they were answered.
async fn replay(fleet: &Fleet) {
    let mut replayed = 0;
    for path in &fleet.paths {
        for session in path.sessions() {
            for said in [session.asked, session.answered] {
                if said.is_empty() {
                    continue;
                }
                for _ in 0..10 {
                    let stream = connect_from(stranger(120), fleet.target()).await.unwrap();
                    write_and_watch_the_end(stream, &said).await;
                    replayed += 1;
                }
            }
        }
    }
    assert!(replayed >= 40, "there was something to replay: {replayed}");
}

/// Tries another callsign with each of many members, through one process and again and again.
async fn guess(target: SocketAddr) {
    const MEMBERS: usize = 200;
    let transport = Transport::start(peer::Config::default()).unwrap();
    let listener = transport.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let inboxes: Vec<_> = (0..MEMBERS)
        .map(|number| {
            let credentials = Credentials::new(Callsign::new(&format!("guess {number}")));
            transport
                .register(&listener, credentials, &format!("guesser-{number}"))
                .unwrap()
        })
        .collect();
    let to = To {
        address: Some(target.to_string().into()),
        ..To::default()
    };
    let body: Arc<RawValue> = RawValue::from_string("0".to_owned()).unwrap().into();
    let ends = Instant::now() + Duration::from_secs(15);
    while Instant::now() < ends {
        for inbox in &inboxes {
            inbox.send(&to, 1, Arc::clone(&body)).unwrap();
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Connects and says nothing, from many addresses; returns what is still open.
async fn half_open(target: SocketAddr, count: usize) -> Vec<TcpStream> {
    const AT_ONCE: usize = 200;
    let connects = futures::stream::iter(0..count).map(|number| async move {
        let source = stranger(u8::try_from(130 + number % 40).unwrap());
        timeout(ANSWERED_WITHIN, connect_from(source, target)).await
    });
    let opened = connects.buffer_unordered(AT_ONCE);
    opened
        .filter_map(async |connected| connected.ok().and_then(Result::ok))
        .collect()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_attacked_neither_moves_nor_grows_and_fails_over_afterwards() -> TestResult {
    let mut fleet = Fleet::start().await?;
    let seed = rand::random::<u64>();
    println!("seed {seed}; before: {:?}", fleet.before);
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    let target = fleet.target();

    garbage(target, &mut rng).await;
    fleet.assert_unmoved("garbage").await?;
    huge_lengths(target).await;
    fleet.assert_unmoved("huge lengths").await?;
    replay(&fleet).await;
    fleet.assert_unmoved("recorded sessions").await?;
    guess(target).await;
    fleet.sites[0]
        .wait_for_event(NAMESPACE, "WrongCallsign", "")
        .await?;
    fleet.assert_unmoved("wrong callsigns").await?;

    let mut flood = half_open(target, 10_000).await;
    println!("{} of 10,000 half-open connections were taken", flood.len());
    let under_flood = size_of(&fleet.sites[0]);
    let limits = Limits::default();
    assert!(
        under_flood.descriptors <= fleet.before.descriptors + limits.handshakes + OWN_DESCRIPTORS,
        "{under_flood:?} after {:?}",
        fleet.before
    );
    fleet.assert_unmoved("half-open connections").await?;
    sleep(Duration::from_secs(4)).await;
    fleet.assert_unmoved("half-open connections that stay").await?;
    flood.clear();

    // Gotham joins anew, through somebody who reads all that it says.
    let middle = Path::decrypting(stranger(180), target).await;
    fleet.sites[2]
        .kubectl(&["delete", "multicluster", "gotham", "--timeout=60s"])
        .await?;
    fleet.term = fleet.sites[0].status(NAMESPACE).await?.term;
    fleet.apply(2, &middle.address.to_string()).await?;
    sleep(Duration::from_secs(8)).await;
    let status = fleet.sites[2].status(NAMESPACE).await?;
    assert!(
        !status.ready && status.members.is_empty(),
        "it joined: {status:#?}"
    );
    let read = |said: &[u8], frame: &[u8]| said.windows(frame.len()).any(|bytes| bytes == frame);
    let heard = |session: &path::Session| {
        read(&session.asked, br#""type":"open""#) && read(&session.answered, br#""type":"offer""#)
    };
    assert!(middle.sessions().iter().any(heard), "he reads what both say");
    fleet.assert_unmoved("a man in the middle").await?;
    fleet.apply(2, &fleet.paths[0].address.to_string()).await?;
    let [newyork, sheffield, gotham] = &fleet.sites;
    gotham.wait_until_following(NAMESPACE, newyork).await?;
    fleet.assert_unmoved("gotham's way round him").await?;

    // Whoever was let in is gone, with what he cost.
    let deadline = Instant::now() + ALL_CLOSED_WITHIN;
    while size_of(newyork).descriptors > fleet.before.descriptors + OWN_DESCRIPTORS {
        assert!(Instant::now() < deadline, "{:?} stays", size_of(newyork));
        sleep(Duration::from_millis(200)).await;
    }
    let grown = size_of(newyork)
        .resident_bytes
        .saturating_sub(fleet.before.resident_bytes);
    let bound = limits.handshakes * STRANGER_BYTES + GUESSERS_BYTES + ALLOCATOR_BYTES;
    println!("grown by {} kB of {} kB", grown / 1024, bound / 1024);
    assert!(grown <= bound, "grown by {grown} bytes of {bound}");

    newyork.controller.kill().await?;
    sheffield.wait_until_leading(NAMESPACE).await?;
    gotham
        .wait_until("gotham follows sheffield", PATIENCE, async |_| {
            let leader = gotham.status(NAMESPACE).await?.leader;
            Ok::<_, kube::Error>(leader.is_some_and(|leader| leader.name == "sheffield"))
        })
        .await?;
    newyork.controller.start()?;
    newyork.wait_until_leading(NAMESPACE).await?;
    for site in [sheffield, gotham] {
        site.wait_until_following(NAMESPACE, newyork).await?;
    }
    Ok(())
}
