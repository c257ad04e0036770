//! Links that die, and pairs that have one connection too many.

use tokio::time::Instant;

use super::super::frame::{Data, Frame};
use super::proxy::Proxy;
use super::stranger::Stranger;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_black_holed_connection_is_given_up_and_replaced_once_the_link_heals() {
    let newyork = Member::start("newyork", brisk());
    let mut sheffield = Member::start("sheffield", brisk());
    let link = Proxy::to(sheffield.address()).await;
    newyork.reaches(&at(link.address), &mut sheffield).await;

    link.cut();
    let cut_at = Instant::now();
    until("the dead connection is gone at both ends", || {
        newyork.send(&at(link.address), "0").unwrap();
        newyork.connections() == 0 && sheffield.connections() == 0
    })
    .await;
    assert!(
        cut_at.elapsed() < Duration::from_secs(2),
        "{:?}",
        cut_at.elapsed()
    );

    tokio::time::sleep(Duration::from_secs(2)).await;
    while timeout(QUIET, sheffield.inbox.receive()).await.is_ok() {}
    link.heal();
    let healed_at = Instant::now();
    newyork.reaches(&at(link.address), &mut sheffield).await;
    // An attempt that began just before takes handshake_max, the next one a back-off of a second at most.
    assert!(
        healed_at.elapsed() < Duration::from_millis(2_500),
        "{:?}",
        healed_at.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_takes_longer_than_the_silence_allowed_still_arrives() {
    let mut newyork = Member::start("newyork", brisk());
    let mut stranger = Stranger::member(newyork.address(), "newyork").await;
    let json = r#"{"type":"data","channel":1,"opener":true,"incarnation":1,"body":7}"#;
    let mut bytes = u32::try_from(json.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    let started = Instant::now();
    for piece in bytes.chunks(bytes.len() / 10) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stranger.send_bytes(piece).await;
    }
    assert!(started.elapsed() > 2 * brisk().timing.silence_max);
    assert_eq!(newyork.message().await.body.get(), "7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_that_resets_connections_costs_no_more_than_a_message() {
    let mut newyork = Member::start("newyork", brisk());
    let mut sheffield = Member::start("sheffield", brisk());
    let link = Proxy::to(newyork.address()).await;
    let to = at(link.address);
    sheffield.reaches(&to, &mut newyork).await;
    for _ in 0..5 {
        link.reset();
        until("both have noticed", || {
            newyork.connections() == 0 && sheffield.connections() == 0
        })
        .await;
        until("they are connected again", || {
            sheffield.send(&to, "0").unwrap();
            newyork.connections() == 1 && sheffield.connections() == 1
        })
        .await;
        newyork.reaches(&to_member("sheffield"), &mut sheffield).await;
    }
    // Without messages, pings keep a connection from being idle.
    let before = link.count();
    tokio::time::sleep(3 * brisk().timing.silence_max).await;
    assert_eq!((link.count(), sheffield.connections()), (before, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_long_outage_only_news_arrive() {
    let newyork = Member::start("newyork", brisk());
    let mut sheffield = Member::start("sheffield", brisk());
    let link = Proxy::to(sheffield.address()).await;
    newyork.reaches(&at(link.address), &mut sheffield).await;
    link.cut();
    until("the connection is gone", || {
        newyork.connections() == 0 && sheffield.connections() == 0
    })
    .await;
    while timeout(QUIET, sheffield.inbox.receive()).await.is_ok() {}
    for round in 0..300 {
        newyork.send(&at(link.address), &format!("{round}")).unwrap();
    }
    link.heal();
    let mut arrived = vec![sheffield.message().await.body.get().to_owned()];
    while let Ok(event) = timeout(QUIET, sheffield.inbox.receive()).await {
        if let Event::Message(message) = event.unwrap() {
            arrived.push(message.body.get().to_owned());
        }
    }
    let newest: Vec<_> = (284..300).map(|round| round.to_string()).collect();
    assert_eq!(arrived, newest);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_dial_each_other_at_once_end_with_one_connection_and_lose_nothing() {
    for _ in 0..10 {
        let mut newyork = Member::start("newyork", brisk());
        let mut sheffield = Member::start("sheffield", brisk());
        let (to_newyork, to_sheffield) = (at(newyork.address()), at(sheffield.address()));
        for round in 0..200 {
            newyork.send(&to_sheffield, &format!("{round}")).unwrap();
            sheffield.send(&to_newyork, &format!("{round}")).unwrap();
            if round % 10 == 9 {
                // Both go over one connection or the other, so their order may differ; none is missing.
                for member in [&mut newyork, &mut sheffield] {
                    let mut got = Vec::new();
                    while got.len() < 10 {
                        got.push(member.message().await.body.get().parse::<u32>().unwrap());
                    }
                    got.sort_unstable();
                    assert_eq!(got, (round - 9..=round).collect::<Vec<_>>());
                }
            }
        }
        until("one connection", || {
            newyork.connections() == 1 && sheffield.connections() == 1
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_other_side_has_forgotten_gives_way_to_its_new_one() {
    // Slow to notice silence, so that only the rule about two connections can help in time.
    let slow = Timing {
        ping_interval: Duration::from_secs(20),
        silence_max: Duration::from_secs(60),
        ..brisk().timing
    };
    let patient = Config {
        timing: slow,
        ..brisk()
    };
    for _ in 0..4 {
        let mut newyork = Member::start("newyork", patient);
        let mut sheffield = Member::start("sheffield", patient);
        let link = Proxy::to(sheffield.address()).await;
        newyork.reaches(&at(link.address), &mut sheffield).await;
        link.cut();
        // Over another path sheffield reaches newyork, which still believes in the dead connection.
        let other_path = Proxy::to(newyork.address()).await;
        sheffield.reaches(&at(other_path.address), &mut newyork).await;
        newyork.reaches(&to_member("sheffield"), &mut sheffield).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_process_is_reached_again_at_its_address() {
    let mut newyork = Member::start("newyork", brisk());
    let mut sheffield = Member::start("sheffield", brisk());
    let address = sheffield.address();
    newyork.reaches(&at(address), &mut sheffield).await;
    sheffield.transport.shut_down(SOON).await.unwrap();
    drop(sheffield);
    newyork.send(&at(address), "0").unwrap();
    newyork
        .notice(|notice| notice.to_string() == format!("{address}: connection refused"))
        .await;
    let mut anew = Member::start_at("sheffield", brisk(), &address.to_string());
    newyork.reaches(&at(address), &mut anew).await;
    anew.reaches(&to_member("newyork"), &mut newyork).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_goodbye_still_gets_what_was_on_its_way() {
    let mut newyork = Member::start("newyork", Config::default());
    let mut stranger = Stranger::member(newyork.address(), "newyork").await;
    let data = Data {
        channel: 1,
        opener: true,
        incarnation: 1,
        body: raw("0"),
    };
    stranger.send(&Frame::Data(data)).await;
    let via = newyork.message().await.via;
    let to = To {
        via: Some(via),
        ..To::default()
    };
    for _ in 0..4 {
        newyork
            .send(&to, &format!("\"{}\"", "x".repeat(400_000)))
            .unwrap();
    }
    stranger.send(&Frame::Goodbye).await;
    let mut messages = 0;
    let last = loop {
        match stranger.answer().await {
            Some(Frame::Data(_)) => messages += 1,
            other => break other,
        }
    };
    assert_eq!((messages, last), (4, Some(Frame::Goodbye)));
    assert_eq!(stranger.answer().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_is_bounded_when_a_peer_does_not_answer() {
    let newyork = Member::start("newyork", Config::default());
    let listener = crate::system::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    newyork.send(&at(listener.local_addr().unwrap()), "0").unwrap();
    let mut stranger = Stranger::accept(&listener, &Stranger::hello(Versions::SPOKEN)).await;
    assert!(matches!(stranger.read().await, Some(Frame::Hello(_))));
    stranger.serve_proof("federation", "sheffield").await;
    assert!(matches!(stranger.answer().await, Some(Frame::Data(_))));
    let started = Instant::now();
    let outcome = newyork.transport.shut_down(Duration::from_millis(300)).await;
    assert!(
        matches!(outcome, Err(Error::ShutdownCut { connections: 1 })),
        "{outcome:?}"
    );
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(newyork.connections(), 0);
    // It was told, all the same.
    assert!(stranger.drain().await.contains(&Frame::Goodbye));
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_last_handle_ends_everything() {
    let newyork = Member::start("newyork", brisk());
    let mut sheffield = Member::start("sheffield", brisk());
    newyork.reaches(&at(sheffield.address()), &mut sheffield).await;
    let address = newyork.address();
    drop(newyork);
    until("the connection ends", || sheffield.connections() == 0).await;
    drop(std::net::TcpListener::bind(address).unwrap());
}
