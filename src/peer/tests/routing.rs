//! Messages find their receivers.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_to_an_address_and_its_answer_comes_back() {
    let before = crate::clock::boottime();
    let mut newyork = Member::start("newyork", brisk());
    let mut sheffield = Member::start("sheffield", brisk());
    sheffield
        .send(&at(newyork.address()), r#"{"join":true}"#)
        .unwrap();
    let join = newyork.message().await;
    assert_eq!(
        (&*join.from, join.incarnation, join.body.get()),
        ("sheffield", 1, r#"{"join":true}"#)
    );
    assert!(join.received_at >= before && join.received_at <= crate::clock::boottime());

    let via = To {
        via: Some(join.via),
        member: Some("sheffield".into()),
        address: None,
    };
    newyork.send(&via, "1").unwrap();
    assert_eq!(sheffield.message().await.body.get(), "1");
    // The route was learnt: the identity alone leads there, too, and so does the way back.
    newyork.send(&to_member("sheffield"), "2").unwrap();
    assert_eq!(sheffield.message().await.body.get(), "2");
    sheffield.send(&to_member("newyork"), "3").unwrap();
    assert_eq!(newyork.message().await.body.get(), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joiner_whose_address_cannot_be_dialled_is_answered() {
    let mut newyork = Member::start("newyork", brisk());
    let mut joiner = Member::start("joiner", brisk());
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    joiner.send(&at(newyork.address()), "0").unwrap();
    newyork.message().await;
    let answer = To {
        via: None,
        member: Some("joiner".into()),
        address: Some(free.to_string().into()),
    };
    newyork.send(&answer, "1").unwrap();
    assert_eq!(joiner.message().await.body.get(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_keep_their_order() {
    let newyork = Member::start("newyork", brisk());
    let mut sheffield = Member::start("sheffield", brisk());
    newyork.reaches(&at(sheffield.address()), &mut sheffield).await;
    for round in 0..500 {
        newyork
            .send(&at(sheffield.address()), &format!("{}", 10_000 + round))
            .unwrap();
        if round % 10 == 9 {
            // Within the bound of what may wait.
            while sheffield.message().await.body.get() != format!("{}", 10_000 + round) {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_share_a_port_and_a_connection_and_stay_apart() {
    let west = Transport::start(brisk()).unwrap();
    let east = Transport::start(brisk()).unwrap();
    let mut red = Member::join(&west, "red", "red", "127.0.0.1:0");
    let address = red.address().to_string();
    let mut blue = Member::join(&west, "blue", "blue", &address);
    assert_eq!(red.address(), blue.address());
    let red_joiner = Member::join(&east, "red-joiner", "red", "127.0.0.1:0");
    let blue_joiner = Member::join(&east, "blue-joiner", "blue", "127.0.0.1:0");
    red_joiner.send(&at(&address), "1").unwrap();
    blue_joiner.send(&at(&address), "2").unwrap();
    assert_eq!(&*red.message().await.from, "red-joiner");
    assert_eq!(&*blue.message().await.from, "blue-joiner");
    assert_eq!((west.connections(), east.connections()), (1, 1));
    red.hears_nothing().await;
    blue.hears_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_callsign_on_two_ports_of_a_process_is_told_apart_by_the_address() {
    let transport = Transport::start(brisk()).unwrap();
    let mut first = Member::join(&transport, "first", "federation", "127.0.0.1:0");
    let mut second = Member::join(&transport, "second", "federation", "127.0.0.1:0");
    let joiner = Member::start("joiner", brisk());
    joiner.send(&at(second.address()), "2").unwrap();
    assert_eq!(second.message().await.body.get(), "2");
    joiner.send(&at(first.address()), "1").unwrap();
    assert_eq!(first.message().await.body.get(), "1");
    until("one connection", || {
        transport.connections() == 1 && joiner.connections() == 1
    })
    .await;
    second.hears_nothing().await;
    joiner.send(&at(second.address()), "3").unwrap();
    assert_eq!(second.message().await.body.get(), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_one_process_reach_each_other() {
    let transport = Transport::start(brisk()).unwrap();
    let mut first = Member::join(&transport, "first", "federation", "127.0.0.1:0");
    let mut second = Member::join(&transport, "second", "federation", "127.0.0.1:0");
    first.send(&at(second.address()), "1").unwrap();
    let message = second.message().await;
    assert_eq!((&*message.from, message.body.get()), ("first", "1"));
    second
        .send(
            &To {
                via: Some(message.via),
                ..to_member("first")
            },
            "2",
        )
        .unwrap();
    assert_eq!(first.message().await.body.get(), "2");
    second.send(&at(first.address()), "3").unwrap();
    assert_eq!(first.message().await.body.get(), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callsign_that_nobody_serves_is_reported_until_somebody_does() {
    let newyork = Member::start("newyork", brisk());
    let mut stray = Member::join(
        &Transport::start(brisk()).unwrap(),
        "stray",
        "another",
        "127.0.0.1:0",
    );
    let address = newyork.address().to_string();
    stray.send(&at(&address), "0").unwrap();
    let notice = stray
        .notice(|notice| !matches!(notice, Notice::Connected { .. }))
        .await;
    assert_eq!(
        notice,
        Notice::UnknownGroup {
            address: address.as_str().into()
        }
    );
    stray.send(&at(&address), "1").unwrap();
    // Once is enough.
    stray.hears_nothing().await;

    let mut late = Member::join(&newyork.transport, "late", "another", &address);
    stray.reaches(&at(&address), &mut late).await;
    late.send(&to_member("stray"), "2").unwrap();
    let notice = stray.notice(|_| true).await;
    assert_eq!(
        notice,
        Notice::Connected {
            address: address.as_str().into()
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_made_anew_gets_nothing_meant_for_the_old_one() {
    let mut anew = Member::start("anew", brisk());
    let mut sheffield = Member::start("sheffield", brisk());
    let address: Arc<str> = anew.address().to_string().into();
    let to = To {
        via: None,
        member: Some("old".into()),
        address: Some(Arc::clone(&address)),
    };
    sheffield.send(&to, "0").unwrap();
    let notice = sheffield
        .notice(|notice| !matches!(notice, Notice::Connected { .. }))
        .await;
    assert_eq!(
        notice,
        Notice::UnknownMember {
            address,
            member: "old".into()
        }
    );
    anew.hears_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_ipv6_addresses_are_dialled() {
    let mut newyork = Member::start_at("newyork", brisk(), "[::1]:0");
    let mut sheffield = Member::start("sheffield", brisk());
    sheffield.reaches(&at(newyork.address()), &mut newyork).await;
    newyork
        .reaches(
            &at(format!("localhost:{}", sheffield.address().port())),
            &mut sheffield,
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_an_address_from_being_reached_is_told_in_words() {
    let mut sheffield = Member::start("sheffield", brisk());
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    sheffield.send(&at(free), "0").unwrap();
    let notice = sheffield.notice(|_| true).await;
    assert_eq!(notice.to_string(), format!("{free}: connection refused"));
    // The same failure is not told twice, though dialling goes on.
    sheffield.hears_nothing().await;

    sheffield.send(&at("no-such-host.invalid:9990"), "0").unwrap();
    let notice = sheffield.notice(|_| true).await;
    assert!(matches!(notice, Notice::Unresolvable { .. }), "{notice:?}");

    // Dialling goes on: the port opens, and what was sent last arrives.
    let mut newyork = Member::start_at("newyork", brisk(), &free.to_string());
    sheffield.send(&at(free), "1").unwrap();
    let mut last = newyork.message().await;
    while last.body.get() != "1" {
        last = newyork.message().await;
    }
    let notice = sheffield
        .notice(|notice| **notice.address() == free.to_string())
        .await;
    assert!(matches!(notice, Notice::Connected { .. }), "{notice:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_sent_is_an_error() {
    let member = Member::start("member", brisk());
    for address in [
        "",
        "host",
        ":9990",
        "host:",
        "host:70000",
        "host:0",
        "::1:9990",
        "[::1:9990",
        "[x]:1",
        "a b:1",
    ] {
        assert!(
            matches!(member.send(&at(address), "0"), Err(Error::SendAddress { .. })),
            "{address:?}"
        );
    }
    let large = format!("\"{}\"", "x".repeat(FRAME_MAX_BYTES));
    assert!(matches!(
        member.send(&at("127.0.0.1:1"), &large),
        Err(Error::SendTooLong { .. })
    ));
    assert!(matches!(
        member.send(&to_member("nobody"), "0"),
        Err(Error::SendUnreachable { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_nearly_the_longest_size_arrives() {
    let newyork = Member::start("newyork", Config::default());
    let mut sheffield = Member::start("sheffield", Config::default());
    let body = format!("\"{}\"", "x".repeat(FRAME_MAX_BYTES - 1_000));
    newyork.send(&at(sheffield.address()), &body).unwrap();
    assert_eq!(sheffield.message().await.body.get(), body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_an_error_that_names_it_and_a_dropped_listener_frees_its_port() {
    let newyork = Member::start("newyork", brisk());
    let address = newyork.address();
    let other = Transport::start(brisk()).unwrap();
    let error = other.listen(address).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("listening on {address}: Address already in use")),
        "{error}"
    );
    // With an established connection, too.
    let mut sheffield = Member::start("sheffield", brisk());
    newyork.reaches(&at(sheffield.address()), &mut sheffield).await;
    let Member {
        transport,
        listener,
        inbox: _inbox,
        ..
    } = newyork;
    drop(listener);
    let reopened = other.listen(address).unwrap();
    drop(reopened);
    drop(transport.listen(address).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callsign_has_one_member_on_a_port() {
    let mut newyork = Member::start("newyork", brisk());
    let error = newyork
        .transport
        .register(&newyork.listener, callsign("federation"), "second")
        .err()
        .unwrap();
    assert!(
        matches!(&error, Error::RegisterTaken { member } if &**member == "newyork"),
        "{error}"
    );
    // The place is free again as soon as the inbox is gone.
    let Member {
        transport, listener, ..
    } = &newyork;
    let replaced = transport.register(listener, callsign("other"), "first").unwrap();
    drop(replaced);
    newyork.inbox = transport.register(listener, callsign("other"), "second").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_lets_the_last_message_leave() {
    for _ in 0..20 {
        let newyork = Member::start("newyork", brisk());
        let mut sheffield = Member::start("sheffield", brisk());
        newyork.reaches(&at(sheffield.address()), &mut sheffield).await;
        // Something that newyork has not read yet must not reset the connection.
        sheffield.send(&to_member("newyork"), "0").unwrap();
        let body = format!("\"{}\"", "handover".repeat(10_000));
        newyork.send(&at(sheffield.address()), &body).unwrap();
        newyork.transport.shut_down(SOON).await.unwrap();
        while sheffield.message().await.body.get() != body {}
        assert!(matches!(
            newyork.send(&at(sheffield.address()), "1"),
            Err(Error::ShutDown)
        ));
        assert!(matches!(
            newyork.transport.listen(newyork.address()),
            Err(Error::ShutDown)
        ));
        drop(std::net::TcpListener::bind(newyork.address()).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_was_closed_and_opened_again_is_found_over_a_connection_that_lasted() {
    let transport = Transport::start(brisk()).unwrap();
    let mut former = Member::join(&transport, "former", "federation", "127.0.0.1:0");
    let joiner = Member::start("joiner", brisk());
    let address = former.address().to_string();
    joiner.reaches(&at(&address), &mut former).await;
    drop(former);
    let mut latter = Member::join(&transport, "latter", "federation", &address);
    joiner.reaches(&at(&address), &mut latter).await;
}
