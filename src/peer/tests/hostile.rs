//! Strangers, broken peers, and too many of them.

use tokio::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::frame::{Code, Data, Frame, Refusal};
use super::stranger::Stranger;
use super::*;

/// A message on the channel that a stranger opened.
fn message(body: &str) -> Frame {
    Frame::Data(Data {
        channel: 1,
        opener: true,
        incarnation: 1,
        body: raw(body),
    })
}

/// A member, and another that is connected to it and must notice nothing.
async fn pair(config: Config) -> (Member, Member) {
    let mut newyork = Member::start("newyork", config);
    let sheffield = Member::start("sheffield", config);
    sheffield.reaches(&at(newyork.address()), &mut newyork).await;
    (newyork, sheffield)
}

async fn assert_undisturbed(newyork: &mut Member, sheffield: &Member) {
    sheffield
        .send(&to_member("newyork"), r#""still here""#)
        .unwrap_or_else(|_| {
            sheffield.send(&at(newyork.address()), r#""still here""#).unwrap();
        });
    while newyork.message().await.body.get() != r#""still here""# {}
    assert_eq!(sheffield.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_type_is_answered_and_the_connection_lives() {
    let mut newyork = Member::start("newyork", Config::default());
    let (mut stranger, _) = Stranger::greet(newyork.address()).await;
    stranger.send_text(r#"{"type":"teleport","to":"mars"}"#).await;
    let answer = stranger.answer().await;
    assert_eq!(
        answer,
        Some(Frame::Error(Refusal::new(
            Code::UnknownType,
            "\"teleport\" is not known"
        )))
    );
    stranger.prove(1, "federation", "newyork", "stranger").await;
    stranger.send(&message("1")).await;
    assert_eq!(newyork.message().await.body.get(), "1");
    // An error is never answered: two versions must not answer each other for ever.
    stranger
        .send_text(r#"{"type":"error","code":"later","detail":""}"#)
        .await;
    stranger.send(&Frame::Ping).await;
    assert_eq!(stranger.answer().await, Some(Frame::Pong));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_frame_ends_its_connection_and_no_other() {
    let (mut newyork, sheffield) = pair(Config::default()).await;
    for json in [
        "nonsense",
        "{}",
        r#"{"type":"data"}"#,
        r#"{"type":"hello"}"#,
        "[[[",
    ] {
        let (mut stranger, _) = Stranger::greet(newyork.address()).await;
        stranger.send_text(json).await;
        let answer = stranger.answer().await;
        assert!(
            matches!(&answer, Some(Frame::Error(refusal)) if refusal.code == Code::Malformed),
            "{answer:?}"
        );
        stranger.watch_the_end().await;
    }
    assert_undisturbed(&mut newyork, &sheffield).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_frame_ends_its_connection_and_no_other() {
    let (mut newyork, sheffield) = pair(Config::default()).await;
    let (mut stranger, _) = Stranger::greet(newyork.address()).await;
    stranger.send_bytes(&u32::MAX.to_be_bytes()).await;
    let answer = stranger.answer().await;
    assert!(
        matches!(&answer, Some(Frame::Error(refusal)) if refusal.code == Code::Malformed),
        "{answer:?}"
    );
    stranger.watch_the_end().await;
    // Before its hello a stranger has a few kilobytes, not a whole frame.
    let mut stranger = Stranger::connect(newyork.address()).await;
    stranger.send_bytes(&100_000_u32.to_be_bytes()).await;
    stranger.watch_the_end().await;
    assert_undisturbed(&mut newyork, &sheffield).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_is_refused() {
    let (mut newyork, sheffield) = pair(Config::default()).await;
    for text in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "\0\0\0\x0f{\"type\":\"ping\"}",
    ] {
        let mut stream = TcpStream::connect(newyork.address()).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // It ends by a TLS alert or a reset; nothing of ours is in the clear.
        let ended = timeout(Duration::from_secs(2), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "refused at once, not by the deadline");
        assert!(!answer.windows(5).any(|bytes| bytes == b"hello"), "{answer:?}");
    }
    assert_undisturbed(&mut newyork, &sheffield).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_tls_is_refused() {
    let newyork = Member::start("newyork", Config::default());
    // The TLS library may be built without 1.2, so a client hello that offers 1.2 alone is written by hand.
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0, 2, 0xc0, 0x2b, 1, 0, 0, 0]);
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend_from_slice(&body);
    let mut stream = TcpStream::connect(newyork.address()).await.unwrap();
    stream.write_all(&record).await.unwrap();
    let mut answer = Vec::new();
    timeout(SOON, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    // A fatal alert, about the version or the ciphers by how the library was built, and nothing else.
    assert_eq!((answer.len(), answer[0], answer[5]), (7, 21, 2), "{answer:?}");
    assert!([40, 70].contains(&answer[6]), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_say_hello_in_time_is_closed() {
    let (mut newyork, sheffield) = pair(brisk()).await;
    let started = Instant::now();
    // One that connects only, one that trickles a TLS hello, one that stops after TLS, one that trickles its hello.
    let mut mute = TcpStream::connect(newyork.address()).await.unwrap();
    let mut slow = TcpStream::connect(newyork.address()).await.unwrap();
    let shaken = Stranger::connect(newyork.address()).await;
    let mut trickling = Stranger::connect(newyork.address()).await;
    let trickle = async {
        for byte in [22, 3, 1, 0, 200].into_iter().chain(std::iter::repeat(0)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if slow.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    };
    timeout(SOON, trickle).await.expect("the slow one is closed");
    trickling.send_bytes(&[0]).await;
    assert_eq!(mute.read(&mut [0]).await.unwrap_or(0), 0);
    shaken.watch_the_end().await;
    trickling.watch_the_end().await;
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    assert_undisturbed(&mut newyork, &sheffield).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_goes_silent_is_closed_and_one_that_only_answers_pings_is_not() {
    let mut config = brisk();
    // Long enough for the polite one to be heard on a machine that has much else to do.
    config.timing.silence_max = Duration::from_secs(2);
    let newyork = Member::start("newyork", config);
    let silent = Stranger::member(newyork.address(), "newyork").await;
    let mut polite = Stranger::member(newyork.address(), "newyork").await;
    let started = Instant::now();
    let silence = timeout(SOON, silent.watch_the_end());
    tokio::pin!(silence);
    let mut closed_after = None;
    while closed_after.is_none() || started.elapsed() < 2 * config.timing.silence_max {
        tokio::select! {
            closed = &mut silence, if closed_after.is_none() => {
                closed.expect("the silent one is closed");
                closed_after = Some(started.elapsed());
            }
            frame = polite.read() => {
                assert_eq!(frame, Some(Frame::Ping));
                polite.send(&Frame::Pong).await;
            }
        }
    }
    assert!(
        closed_after >= Some(config.timing.silence_max / 2),
        "{closed_after:?}"
    );
    assert_eq!(newyork.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_apart_are_told_to_both_sides() {
    let config = |min, max| Config {
        protocol: Versions { min, max },
        ..Config::default()
    };
    let newyork = Member::start("newyork", config(1, 2));
    let mut later = Member::start("later", config(3, 4));
    later.send(&at(newyork.address()), "0").unwrap();
    let notice = later.notice(|_| true).await;
    let address = newyork.address().to_string();
    let (ours, theirs) = (Versions { min: 3, max: 4 }, Versions { min: 1, max: 2 });
    assert_eq!(
        notice,
        Notice::VersionMismatch {
            address: address.as_str().into(),
            ours,
            theirs
        }
    );
    assert_eq!(
        notice.to_string(),
        format!("{address}: speaks protocol version 1 to 2, this controller 3 to 4; upgrade the older one")
    );

    let mut stranger = Stranger::connect(newyork.address()).await;
    stranger
        .send(&Frame::Hello(Stranger::hello(Versions { min: 9, max: 9 })))
        .await;
    assert!(matches!(stranger.read().await, Some(Frame::Hello(_))));
    let refusal = Refusal::new(Code::Version, "this controller speaks protocol version 1 to 2");
    assert_eq!(stranger.read().await, Some(Frame::Error(refusal)));
    assert_eq!(stranger.read().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn adjacent_versions_work_together() {
    let config = |min, max| Config {
        protocol: Versions { min, max },
        ..Config::default()
    };
    let mut older = Member::start("older", config(1, 2));
    let mut newer = Member::start("newer", config(2, 3));
    newer.reaches(&at(older.address()), &mut older).await;
    older.reaches(&to_member("newer"), &mut newer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn above_a_limit_the_newcomer_is_closed_and_the_established_stay() {
    let limits = Limits {
        connections_per_source: 4,
        handshakes_per_source: 3,
        ..Limits::default()
    };
    let (mut newyork, sheffield) = pair(Config {
        limits,
        ..Config::default()
    })
    .await;
    // Three places are left, and three half-open connections take them.
    let mut half_open = Vec::new();
    for _ in 0..3 {
        half_open.push(TcpStream::connect(newyork.address()).await.unwrap());
    }
    tokio::time::sleep(QUIET).await;
    for _ in 0..20 {
        let mut newcomer = TcpStream::connect(newyork.address()).await.unwrap();
        let ended = timeout(Duration::from_secs(2), newcomer.read(&mut [0])).await;
        assert_eq!(ended.expect("closed at once").unwrap_or(0), 0);
    }
    assert_undisturbed(&mut newyork, &sheffield).await;
    // Once they have gone there is room again.
    drop(half_open);
    let mut third = Member::start("third", Config::default());
    third.reaches(&at(newyork.address()), &mut newyork).await;
    newyork.reaches(&to_member("third"), &mut third).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn established_connections_count_until_they_end() {
    let limits = Limits {
        connections_per_source: 2,
        ..Limits::default()
    };
    let newyork = Member::start(
        "newyork",
        Config {
            limits,
            ..Config::default()
        },
    );
    let (first, _) = Stranger::greet(newyork.address()).await;
    let (_second, _) = Stranger::greet(newyork.address()).await;
    let mut newcomer = TcpStream::connect(newyork.address()).await.unwrap();
    let ended = timeout(Duration::from_secs(2), newcomer.read(&mut [0])).await;
    assert_eq!(ended.expect("closed at once").unwrap_or(0), 0);
    drop(first);
    until("the first has gone", || newyork.connections() == 1).await;
    Stranger::greet(newyork.address()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_half_open_connections_ends_and_a_newcomer_gets_in_afterwards() {
    let (mut newyork, sheffield) = pair(brisk()).await;
    let mut flood = Vec::new();
    for _ in 0..500 {
        flood.push(TcpStream::connect(newyork.address()).await.unwrap());
    }
    assert_undisturbed(&mut newyork, &sheffield).await;
    // The flood is still there, and the handshakes it holds have run out.
    let third = Member::start("third", brisk());
    third.reaches(&at(newyork.address()), &mut newyork).await;
    assert_undisturbed(&mut newyork, &sheffield).await;
    drop(flood);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_floods_without_reading_is_cut_off() {
    let (mut newyork, sheffield) = pair(brisk()).await;
    let (mut stranger, _) = Stranger::greet(newyork.address()).await;
    // It provokes an answer with each frame and reads none.
    timeout(SOON, stranger.flood(&message("1")))
        .await
        .expect("it is cut off");
    assert_undisturbed(&mut newyork, &sheffield).await;
}
