//! Who may take part, and what a wrong callsign comes to.

use tokio::time::Instant;

use super::super::certificate::tests::Authority;
use super::super::frame::{Code, Frame, Refusal, Target};
use super::proxy::Proxy;
use super::stranger::Stranger;
use super::*;
use crate::system;

fn rotated(callsign: &str, former: &str) -> Credentials {
    Credentials {
        callsign: Callsign::new(callsign),
        former: Some(Callsign::new(former)),
        identity: None,
    }
}

fn is_refused(frame: Option<Frame>, code: Code) -> bool {
    matches!(frame, Some(Frame::Error(Refusal { code: named, .. })) if named == code)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_knows_the_callsign_is_heard_and_nobody_else() {
    let mut newyork = Member::start("newyork", Config::default());
    let (mut stranger, _) = Stranger::greet(newyork.address()).await;
    let target = || Target::Member("newyork".into());
    let opener = stranger.open(1, "federatiom", target()).await;
    let Some(Frame::Offer(offer)) = stranger.answer().await else {
        panic!("no offer");
    };
    assert!(opener.judge(offer.share, offer.tag).is_none());
    stranger.withdraw(1).await;
    let notice = newyork.notice(|_| true).await;
    assert_eq!(
        notice.to_string(),
        "somebody at 127.0.0.1 tried to take part with a wrong callsign"
    );
    // The same connection gets no second guess, not even the right one.
    stranger.open(2, "federation", target()).await;
    assert!(is_refused(stranger.answer().await, Code::Busy));
    newyork.hears_nothing().await;
    Stranger::member(newyork.address(), "newyork").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_callsigns_in_bulk_are_answered_a_few_times_and_disturb_nobody() {
    let mut newyork = Member::start("newyork", brisk());
    let mut sheffield = Member::start("sheffield", brisk());
    sheffield.reaches(&at(newyork.address()), &mut newyork).await;
    let mut answered = 0;
    for word in 0..100 {
        let (mut stranger, _) = Stranger::greet(newyork.address()).await;
        let target = Target::Member("newyork".into());
        stranger.open(1, &word.to_string(), target).await;
        match stranger.answer().await {
            Some(Frame::Offer(_)) => answered += 1,
            other => assert!(is_refused(other, Code::Busy)),
        }
    }
    // One may have come back meanwhile.
    assert!((16..=20).contains(&answered), "{answered}");
    // They break off instead of showing that they were wrong, which is no accident after three times.
    until("all but three are counted", || {
        newyork.transport.failed_proofs() == answered - 3
    })
    .await;
    let told = newyork.notice(|notice| matches!(notice, Notice::WrongCallsign { .. }));
    told.await;
    // Those who had proven themselves come back as they like.
    for _ in 0..5 {
        sheffield.reaches(&to_member("newyork"), &mut newyork).await;
        newyork.reaches(&to_member("sheffield"), &mut sheffield).await;
    }
}

/// Guesses wrong on so many connections, and takes its leave with these frames.
async fn guess_and_leave(newyork: &Member, count: usize, leave: &[Frame]) {
    for word in 0..count {
        let (mut stranger, _) = Stranger::greet(newyork.address()).await;
        let target = Target::Member("newyork".into());
        stranger.open(1, &word.to_string(), target).await;
        assert!(matches!(stranger.answer().await, Some(Frame::Offer(_))));
        stranger.send_at_once(leave).await;
        stranger.watch_the_end().await;
    }
}

#[tokio::test]
async fn whoever_guesses_wrong_and_leaves_at_once_is_told_of() {
    let mut newyork = Member::start("newyork", Config::default());
    guess_and_leave(&newyork, 10, &[Stranger::withdrawal(1), Frame::Goodbye]).await;
    until("all are counted", || newyork.transport.failed_proofs() == 10).await;
    let told = newyork.notice(|notice| matches!(notice, Notice::WrongCallsign { .. }));
    told.await;
}

#[tokio::test]
async fn whoever_leaves_without_saying_that_he_guessed_wrong_is_told_of() {
    let mut newyork = Member::start("newyork", Config::default());
    guess_and_leave(&newyork, 10, &[Frame::Goodbye]).await;
    until("all but three are counted", || {
        newyork.transport.failed_proofs() == 7
    })
    .await;
    let told = newyork.notice(|notice| matches!(notice, Notice::WrongCallsign { .. }));
    told.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_proves_nothing_is_closed_in_time() {
    let newyork = Member::start("newyork", brisk());
    let (mut stranger, _) = Stranger::greet(newyork.address()).await;
    let started = Instant::now();
    loop {
        match stranger.read().await {
            Some(Frame::Ping) => stranger.send(&Frame::Pong).await,
            other => break assert_eq!(other, Some(Frame::Goodbye)),
        }
    }
    assert!(started.elapsed() >= brisk().timing.prove_max - QUIET);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_man_in_the_middle_can_pass_everything_on_and_convinces_nobody() {
    let mut newyork = Member::start("newyork", Config::default());
    let mut sheffield = Member::start("sheffield", Config::default());
    let listener = system::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    sheffield.send(&at(listener.local_addr().unwrap()), "0").unwrap();
    let (mut outside, hello) = Stranger::greet(newyork.address()).await;
    let mut inside = Stranger::accept(&listener, &hello).await;
    assert!(matches!(inside.answer().await, Some(Frame::Hello(_))));
    let passing = async {
        loop {
            let (frame, to) = tokio::select! {
                frame = inside.answer() => (frame, &mut outside),
                frame = outside.answer() => (frame, &mut inside),
            };
            let frame = frame.unwrap_or(Frame::Goodbye);
            to.send(&frame).await;
            if frame == Frame::Goodbye {
                return std::future::pending().await;
            }
        }
    };
    let told = async {
        let notice = sheffield
            .notice(|notice| !matches!(notice, Notice::Connected { .. }))
            .await;
        assert!(matches!(notice, Notice::UnknownGroup { .. }), "{notice:?}");
        match newyork.event().await {
            Event::Notice(Notice::WrongCallsign { .. }) => {}
            other => panic!("{other:?}"),
        }
    };
    tokio::select! {
        () = passing => {}
        () = told => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn controllers_that_share_no_group_do_not_dial_each_other_in_a_loop() {
    let newyork = Member::start("newyork", brisk());
    let link = Proxy::to(newyork.address()).await;
    let transport = Transport::start(brisk()).unwrap();
    let mut stray = Member::join(&transport, "stray", "another", "127.0.0.1:0");
    let to = at(link.address);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(4) {
        stray.send(&to, "0").unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // At once, after one second and after two more.
    assert!((2..=4).contains(&link.count()), "{}", link.count());
    let notice = stray.notice(|notice| notice.is_refusal()).await;
    assert!(notice.to_string().contains("callsign"), "{notice}");
    // A member that comes up later is found all the same.
    let mut late = Member::join(
        &newyork.transport,
        "late",
        "another",
        &newyork.address().to_string(),
    );
    stray.reaches(&to, &mut late).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_are_shared_work_beside_one_that_is_not() {
    let (west, east) = (
        Transport::start(brisk()).unwrap(),
        Transport::start(brisk()).unwrap(),
    );
    let mut red = Member::join(&west, "red", "red", "127.0.0.1:0");
    let address = red.address().to_string();
    let stray = Member::join(&east, "stray", "blue", "127.0.0.1:0");
    let joiner = Member::join(&east, "joiner", "red", "127.0.0.1:0");
    // The stray one comes first, and so spends the first connection.
    stray.send(&at(&address), "0").unwrap();
    joiner.reaches(&at(&address), &mut red).await;
    for _ in 0..20 {
        stray.send(&at(&address), "0").unwrap();
        joiner.reaches(&at(&address), &mut red).await;
    }
    until("one connection", || {
        (west.connections(), east.connections()) == (1, 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callsign_is_replaced_without_losing_touch_and_each_side_may_be_first() {
    let mut newyork = Member::start("newyork", brisk());
    let mut sheffield = Member::start("sheffield", brisk());
    sheffield.reaches(&at(newyork.address()), &mut newyork).await;
    newyork
        .inbox
        .set_credentials(rotated("alliance", "federation"))
        .unwrap();
    sheffield.reaches(&to_member("newyork"), &mut newyork).await;
    newyork.reaches(&to_member("sheffield"), &mut sheffield).await;
    // A restarted one that has the old callsign only joins the one that has both, whoever dials.
    let gotham = Member::start("gotham", brisk());
    gotham.reaches(&at(newyork.address()), &mut newyork).await;
    let mut smallville = Member::start("smallville", brisk());
    newyork.reaches(&at(smallville.address()), &mut smallville).await;
    // And one that has the new one only.
    let transport = Transport::start(brisk()).unwrap();
    let anew = Member::join(&transport, "anew", "alliance", "127.0.0.1:0");
    anew.reaches(&at(newyork.address()), &mut newyork).await;
    // When the old one is given up, it opens no door any more.
    newyork.inbox.set_credentials(callsign("alliance")).unwrap();
    let (mut stranger, _) = Stranger::greet(newyork.address()).await;
    let opener = stranger
        .open(1, "federation", Target::Member("newyork".into()))
        .await;
    let Some(Frame::Offer(offer)) = stranger.answer().await else {
        panic!("no offer");
    };
    assert!(!offer.has_former && opener.judge(offer.share, offer.tag).is_none());
    gotham.reaches(&to_member("newyork"), &mut newyork).await;
    anew.inbox.set_credentials(callsign("alliance")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_was_cut_needs_no_new_proof() {
    let mut newyork = Member::start("newyork", brisk());
    let mut sheffield = Member::start("sheffield", brisk());
    let link = Proxy::to(newyork.address()).await;
    sheffield.reaches(&at(link.address), &mut newyork).await;
    // A proof would be refused from now on.
    sheffield.inbox.set_credentials(callsign("another")).unwrap();
    link.cut();
    until("the connection is gone", || {
        newyork.connections() == 0 && sheffield.connections() == 0
    })
    .await;
    link.heal();
    sheffield.reaches(&at(link.address), &mut newyork).await;
    let to = To {
        address: at(sheffield.address()).address,
        ..to_member("sheffield")
    };
    newyork.reaches(&to, &mut sheffield).await;
}

fn certified(identity: &Arc<Identity>) -> Credentials {
    Credentials {
        identity: Some(Arc::clone(identity)),
        ..callsign("federation")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_certificate_talks_to_those_only_whose_is_of_the_same_authority() {
    let (authority, other) = (Authority::new(), Authority::new());
    let mut newyork = Member::start("newyork", brisk());
    newyork
        .inbox
        .set_credentials(certified(&authority.identity()))
        .unwrap();
    let mut sheffield = Member::start("sheffield", brisk());
    sheffield
        .inbox
        .set_credentials(certified(&authority.identity()))
        .unwrap();
    sheffield.reaches(&at(newyork.address()), &mut newyork).await;
    newyork.reaches(&to_member("sheffield"), &mut sheffield).await;

    let mut gotham = Member::start("gotham", brisk());
    let refused = |notice: &Notice| {
        matches!(
            notice,
            Notice::CertificateRefused { .. } | Notice::NewcomerRefused { .. }
        )
    };
    // Whoever dials, both are told.
    gotham.send(&at(newyork.address()), "0").unwrap();
    let told = gotham.notice(refused).await.to_string();
    assert!(
        told.ends_with("does not accept this member's certificate: no certificate was shown"),
        "{told}"
    );
    let told = newyork.notice(refused).await.to_string();
    assert!(
        told.ends_with("is not accepted: no certificate was shown"),
        "{told}"
    );
    gotham
        .inbox
        .set_credentials(certified(&other.identity()))
        .unwrap();
    newyork.send(&at(gotham.address()), "0").unwrap();
    let told = gotham.notice(refused).await.to_string();
    assert!(told.contains("issued by none of the authorities"), "{told}");
    newyork.notice(refused).await;
    // A certificate of the right authority mends it, and the others have noticed nothing.
    gotham
        .inbox
        .set_credentials(certified(&authority.identity()))
        .unwrap();
    gotham.reaches(&at(newyork.address()), &mut newyork).await;
    sheffield.reaches(&to_member("newyork"), &mut newyork).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_without_losing_touch_and_may_expire_under_load() {
    let authority = Authority::new();
    let mut newyork = Member::start("newyork", brisk());
    let mut sheffield = Member::start("sheffield", brisk());
    for member in [&newyork, &sheffield] {
        member
            .inbox
            .set_credentials(certified(&authority.identity()))
            .unwrap();
    }
    sheffield.reaches(&at(newyork.address()), &mut newyork).await;
    let [certificate, key, ca] =
        authority.issue(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let expired = Identity::from_pem(certificate.as_bytes(), key.as_bytes(), ca.as_bytes());
    let expired = Arc::new(expired.unwrap());
    for identity in [authority.identity(), expired] {
        sheffield.inbox.set_credentials(certified(&identity)).unwrap();
        sheffield.reaches(&to_member("newyork"), &mut newyork).await;
        newyork.reaches(&to_member("sheffield"), &mut sheffield).await;
    }
    // With the expired one no new channel opens.
    let gotham = Member::start("gotham", brisk());
    gotham
        .inbox
        .set_credentials(certified(&authority.identity()))
        .unwrap();
    gotham.send(&at(sheffield.address()), "0").unwrap();
    let refused = |notice: &Notice| {
        matches!(
            notice,
            Notice::CertificateRefused { .. } | Notice::NewcomerRefused { .. }
        )
    };
    let mut gotham = gotham;
    let told = gotham.notice(refused).await.to_string();
    assert!(told.ends_with("the certificate has expired"), "{told}");
}

/// Two hundred groups that two controllers share, until the first message of each has arrived.
async fn prove_many(names: impl Fn(usize) -> String) {
    const GROUPS: usize = 200;
    let config = Config::default();
    let (west, east) = (
        Transport::start(config).unwrap(),
        Transport::start(config).unwrap(),
    );
    let port = west.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let other = east.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut here = Vec::new();
    let mut there = Vec::new();
    for group in 0..GROUPS {
        let credentials = callsign(&format!("group {group}"));
        here.push(
            west.register(&port, credentials.clone(), &format!("here {group}"))
                .unwrap(),
        );
        there.push(
            east.register(&other, credentials, &format!("there {group}"))
                .unwrap(),
        );
    }
    let repeat = async {
        // As the election would: what has waited too long is dropped.
        loop {
            for (group, inbox) in there.iter().enumerate() {
                let to = To {
                    member: Some(names(group)).filter(|name| !name.is_empty()).map(Arc::from),
                    ..at(port.local_address())
                };
                inbox.send(&to, 1, raw("1")).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let arrive = async {
        for inbox in &mut here {
            while !matches!(inbox.receive().await.unwrap(), Event::Message(_)) {}
        }
    };
    tokio::select! {
        () = repeat => unreachable!(),
        arrived = timeout(2 * SOON, arrive) => arrived.expect("all are heard"),
    }
    assert_eq!((west.connections(), east.connections()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_groups_are_proven_on_one_connection_whether_members_know_each_other_or_not() {
    prove_many(|group| format!("here {group}")).await;
    prove_many(|_| String::new()).await;
}
