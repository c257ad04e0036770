#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::*;

/// Nothing that arrives on one machine takes longer, unless the machine is drowned in work.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);
/// How long a packet that was dropped is waited for.
const SILENCE: Duration = Duration::from_secs(2);

/// A network without clusters.
async fn network<const N: usize>() -> (Network, [Namespace; N]) {
    let router = Namespace::create().await.unwrap();
    router.forward().await.unwrap();
    let mut namespaces = Vec::new();
    for number in (1..=u8::MAX).take(N) {
        let namespace = Namespace::create().await.unwrap();
        connect(number, &router, &namespace).await.unwrap();
        namespaces.push(namespace);
    }
    let network = Network {
        router,
        addresses: (1..=u8::MAX).take(N).map(address_of).collect(),
        cuts: Mutex::default(),
        _relays: vec![],
        _namespaces: vec![],
    };
    (network, namespaces.try_into().unwrap())
}

/// Runs something on a thread in a namespace.
fn inside<T: Send>(namespace: &Namespace, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            namespace.enter().unwrap();
            work()
        });
        worker.join().unwrap()
    })
}

fn sockets<const N: usize>(network: &Network, namespaces: &[Namespace; N]) -> [UdpSocket; N] {
    std::array::from_fn(|site| {
        let address = SocketAddr::new(network.addresses[site], 9990);
        inside(&namespaces[site], || UdpSocket::bind(address).unwrap())
    })
}

/// Which links carry packets. A packet that comes late, on a busy machine, is told from the others by what it says.
fn carrying<const N: usize>(sockets: &[UdpSocket; N]) -> BTreeSet<Link> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let mut carrying = BTreeSet::new();
    for (from, sender) in sockets.iter().enumerate() {
        for (to, receiver) in sockets.iter().enumerate().filter(|(to, _)| *to != from) {
            let packet = NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            sender.send_to(&packet, receiver.local_addr().unwrap()).unwrap();
            receiver.set_read_timeout(Some(SILENCE)).unwrap();
            let mut received = [0; 8];
            loop {
                match receiver.recv_from(&mut received) {
                    Ok((_, source)) if received == packet => {
                        assert_eq!(source, sender.local_addr().unwrap());
                        carrying.insert(Link { from, to });
                        break;
                    }
                    Ok(_) => {}
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        break;
                    }
                }
            }
        }
    }
    carrying
}

fn all_but(cuts: &[(usize, usize)]) -> BTreeSet<Link> {
    let links = (0..3).flat_map(|from| (0..3).map(move |to| (from, to)));
    let whole = links.filter(|(from, to)| from != to && !cuts.contains(&(*from, *to)));
    whole.map(|(from, to)| Link { from, to }).collect()
}

#[tokio::test]
async fn cuts_are_one_way_add_up_and_heal() {
    if !can_build_networks() {
        return;
    }
    let (network, namespaces) = network::<3>().await;
    let sockets = sockets(&network, &namespaces);
    assert_eq!(carrying(&sockets), all_but(&[]));
    network.cut([Link { from: 0, to: 1 }]).await.unwrap();
    assert_eq!(carrying(&sockets), all_but(&[(0, 1)]));
    let again = [Link { from: 0, to: 1 }, Link { from: 2, to: 0 }];
    network.cut(again).await.unwrap();
    assert_eq!(carrying(&sockets), all_but(&[(0, 1), (2, 0)]));
    network.heal().await.unwrap();
    assert_eq!(carrying(&sockets), all_but(&[]));
    network.heal().await.unwrap();
}

#[tokio::test]
async fn an_open_connection_is_not_told_of_a_cut_and_goes_on_when_it_is_healed() {
    if !can_build_networks() {
        return;
    }
    let (network, [newyork, sheffield]) = network::<2>().await;
    let address = SocketAddr::new(network.addresses[1], 9990);
    let listener = inside(&sheffield, || TcpListener::bind(address).unwrap());
    let mut sender = inside(&newyork, || TcpStream::connect(address).unwrap());
    let (mut receiver, _) = listener.accept().unwrap();
    network
        .cut([Link { from: 0, to: 1 }, Link { from: 1, to: 0 }])
        .await
        .unwrap();
    sender.write_all(b"news").unwrap();
    receiver.set_read_timeout(Some(SILENCE)).unwrap();
    let nothing = receiver.read(&mut [0; 4]).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    let unanswered = inside(&newyork, || TcpStream::connect_timeout(&address, SILENCE)).unwrap_err();
    assert_eq!(unanswered.kind(), ErrorKind::TimedOut);
    assert!(sender.take_error().unwrap().is_none());
    network.heal().await.unwrap();
    receiver.set_read_timeout(Some(ARRIVES_WITHIN)).unwrap();
    let mut news = [0; 4];
    receiver.read_exact(&mut news).unwrap();
    assert_eq!(&news, b"news");
}

#[tokio::test]
async fn a_relay_leads_out_of_a_namespace_until_it_is_dropped() {
    if !can_build_networks() {
        return;
    }
    let machine = Arc::new(Namespace::current().unwrap());
    let inner = Arc::new(Namespace::create().await.unwrap());
    inner.ip("link set lo up").await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let refused = inside(&inner, || TcpStream::connect(address)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    let relay = Relay::start(address, &inner, &machine).unwrap();
    let mut caller = inside(&inner, || TcpStream::connect(address)).unwrap();
    let (mut called, _) = listener.accept().unwrap();
    caller.write_all(b"hello").unwrap();
    let mut heard = [0; 5];
    called.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    called.write_all(b"there").unwrap();
    drop(called);
    let mut answer = String::new();
    caller.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "there");

    drop(relay);
    let deadline = tokio::time::Instant::now() + ARRIVES_WITHIN;
    while inside(&inner, || TcpStream::connect(address)).is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "it still listens");
    }
}
