//! Proofs: who may try what, how often, and what comes of it.

use super::*;

#[test]
fn a_wrong_callsign_is_told_to_its_sender_stands_while_connected_and_ends_when_joined() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, LARGER, "a:1");
    assert_eq!(desk.notices(), [connected("a:1")]);
    let job = desk.job(FIRST).unwrap();
    desk.switchboard.unfit(desk.now, FIRST, job.channel, false);
    assert_eq!(desk.notices(), [unknown_group("a:1")]);
    // The member is asked for a while later only, and not at seats where it was refused.
    assert_eq!(desk.send(&at("a:1"), 2), None);
    assert_eq!(desk.job(FIRST), None);
    desk.later(1_000);
    desk.send(&at("a:1"), 3);
    assert_eq!(desk.job(FIRST), None);
    assert_eq!(desk.notices(), []);
    // The other side is more successful.
    desk.joined(FIRST, 1, "them");
    assert_eq!(desk.notices(), [connected("a:1")]);
    desk.send(&at("a:1"), 4);
    assert_eq!(desk.bodies(FIRST), ["4"]);
}

#[test]
fn a_member_that_has_just_changed_its_callsign_tries_again_at_once_and_both_of_them() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, LARGER, "a:1");
    let job = desk.job(FIRST).unwrap();
    desk.switchboard.unfit(desk.now, FIRST, job.channel, false);
    let changed = Credentials {
        callsign: Callsign::new("alliance"),
        former: Some(Callsign::new("federation")),
        identity: None,
    };
    desk.switchboard.set_credentials(desk.us, changed).unwrap();
    let mut tried = Vec::new();
    for _ in 0..2 {
        desk.send(&at("a:1"), 2);
        let job = desk.job(FIRST).unwrap();
        tried.push(job.callsign);
        desk.switchboard.unfit(desk.now, FIRST, job.channel, false);
    }
    assert_eq!(tried, [Callsign::new("alliance"), Callsign::new("federation")]);
    desk.send(&at("a:1"), 3);
    assert_eq!(desk.job(FIRST), None);
    // The other side may ask for either.
    for (former, word) in [(false, "alliance"), (true, "federation")] {
        let asked = desk.switchboard.asked(
            desk.now,
            FIRST,
            &Open {
                former,
                ..open(1, "us")
            },
        );
        assert_eq!(asked.unwrap().callsign, Callsign::new(word));
    }
}

#[test]
fn what_the_other_side_says_of_its_own_channel_is_not_taken_for_ours() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, LARGER, "a:1");
    let job = desk.job(FIRST).unwrap();
    for code in [Code::WrongCallsign, Code::Certificate, Code::Busy] {
        let withdrawn = ChannelKey {
            number: job.channel,
            is_ours: true,
        };
        let refusal = Refusal::of_channel(code, withdrawn);
        desk.switchboard.refused(desk.now, FIRST, &refusal);
    }
    desk.confirmed(FIRST, job.channel);
    assert!(
        desk.switchboard
            .accepted(desk.now, FIRST, accept(job.channel, "them"), false)
    );
}

#[test]
fn a_certificate_that_is_not_accepted_is_told_on_both_sides_and_closes_the_channel() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, LARGER, "a:1");
    desk.notices();
    let job = desk.job(FIRST).unwrap();
    desk.confirmed(FIRST, job.channel);
    desk.switchboard
        .rejected(desk.now, FIRST, job.channel, &CertificateError::None);
    let cause = "the certificate of the member there is not accepted: no certificate was shown";
    let notice = Notice::CertificateRefused {
        address: "a:1".into(),
        cause: cause.to_owned(),
    };
    assert_eq!(desk.notices(), [notice]);
    // It is tried again after a while, at the same seat.
    desk.later(1_000);
    desk.send(&at("a:1"), 2);
    assert!(desk.job(FIRST).is_some());
    // The other way round.
    desk.accept(SECOND, OTHER);
    desk.joined(SECOND, 1, "them");
    desk.notices();
    let detail = "the other side does not accept this member's certificate: the certificate has expired";
    let refusal = Refusal {
        detail: detail.to_owned(),
        ..Refusal::of_channel(
            Code::Certificate,
            ChannelKey {
                number: 1,
                is_ours: true,
            },
        )
    };
    desk.switchboard.refused(desk.now, SECOND, &refusal);
    let notice = Notice::NewcomerRefused {
        address: "10.0.0.7".into(),
        cause: detail.to_owned(),
    };
    assert_eq!(desk.notices(), [notice]);
    assert!(matches!(
        desk.try_send(&to_them(), 3),
        Err(Error::SendUnreachable { .. })
    ));
}

/// It gets a certificate, or this side does without one, at any moment, and must not wait for a new connection then.
#[test]
fn a_stranger_that_knew_the_callsign_but_showed_no_certificate_asks_again_on_its_connection() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    let asked = desk.switchboard.asked(desk.now, FIRST, &open(1, "us")).unwrap();
    desk.switchboard
        .uncertified(FIRST, &asked, 1, &CertificateError::None);
    // This time it does not accept what it is shown.
    desk.joined(FIRST, 2, "them");
    let refusal = Refusal::of_channel(
        Code::Certificate,
        ChannelKey {
            number: 2,
            is_ours: true,
        },
    );
    desk.switchboard.refused(desk.now, FIRST, &refusal);
    desk.joined(FIRST, 3, "them");
}

/// Its connections' readers and provers run side by side, so an acceptance may come in on one connection before the proof
/// on another has found out that a certificate is asked for.
#[test]
fn where_a_certificate_is_asked_for_no_acceptance_opens_a_channel_that_was_not_checked_for_one() {
    let mut desk = Desk::new();
    let with_certificate = Credentials {
        identity: Some(Authority::new().identity()),
        ..credentials("federation")
    };
    desk.switchboard
        .set_credentials(desk.us, with_certificate)
        .unwrap();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, LARGER, "a:1");
    let channel = desk.job(FIRST).unwrap().channel;
    desk.accept(SECOND, LARGER);
    assert!(
        desk.switchboard.check(SECOND, channel).is_none(),
        "not confirmed yet"
    );
    desk.confirmed(FIRST, channel).unwrap();
    let accept = || accept(channel, "them");
    assert!(!desk.switchboard.accepted(desk.now, SECOND, accept(), false));
    assert!(!desk.switchboard.accepted(desk.now, FIRST, accept(), false));
    // Nor does one on another connection than the proof's.
    assert!(!desk.switchboard.accepted(desk.now, SECOND, accept(), true));
    assert_eq!(desk.bodies(FIRST), NOTHING);
    assert_eq!(desk.bodies(SECOND), NOTHING);
    assert!(desk.switchboard.check(FIRST, channel).is_some());
    assert!(desk.switchboard.accepted(desk.now, FIRST, accept(), true));
    assert_eq!(desk.bodies(FIRST), ["1"]);
}

#[test]
fn the_former_callsign_of_the_other_side_is_tried_where_it_has_one() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, LARGER, "a:1");
    let job = desk.job(FIRST).unwrap();
    desk.switchboard.unfit(desk.now, FIRST, job.channel, true);
    let job = desk.switchboard.take_job(desk.now, FIRST).unwrap();
    assert_eq!((job.target, job.former), (Target::Seat(SeatNumber(1)), true));
    desk.switchboard.unfit(desk.now, FIRST, job.channel, true);
    assert_eq!(desk.switchboard.take_job(desk.now, FIRST), None);
    assert_eq!(desk.notices(), [unknown_group("a:1")]);
}

#[test]
fn a_stranger_tries_each_callsign_once_on_a_connection_and_the_member_is_told() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    let asked = desk.switchboard.asked(desk.now, FIRST, &open(1, "us")).unwrap();
    let again = desk.switchboard.asked(desk.now, FIRST, &open(2, "us"));
    assert_eq!(again.unwrap_err(), Code::Busy);
    desk.switchboard.unproven(desk.now, FIRST, &asked);
    let told = |attempts, seconds| Notice::WrongCallsign {
        address: "10.0.0.7".into(),
        attempts,
        within: Duration::from_secs(seconds),
    };
    assert_eq!(desk.notices(), [told(1, 0)]);
    // It comes back, until its guesses are used up.
    let mut guesses = 1;
    loop {
        desk.switchboard.closed(desk.now, FIRST);
        desk.accept(FIRST, OTHER);
        match desk.switchboard.asked(desk.now, FIRST, &open(1, "us")) {
            Ok(asked) => desk.switchboard.unproven(desk.now, FIRST, &asked),
            Err(code) => break assert_eq!(code, Code::Busy),
        }
        guesses += 1;
    }
    assert_eq!((guesses, desk.switchboard.failed_proofs()), (16, 16));
    assert_eq!(desk.notices(), []);
    // Whoever has proven the callsign before is no stranger.
    desk.accept(SECOND, SMALLER);
    desk.later(10_000);
    desk.joined(SECOND, 1, "them");
    desk.switchboard.asked(desk.now, SECOND, &open(2, "us")).unwrap();
    desk.switchboard.asked(desk.now, SECOND, &open(3, "us")).unwrap();
}

#[test]
fn who_looks_for_its_like_as_a_stranger_is_told_of_if_it_finds_none_only() {
    let mut desk = Desk::new();
    let registered = desk
        .switchboard
        .register(HERE, &"other".into(), credentials("other"));
    let other = registered.unwrap().0;
    let seat = |channel, number| Open {
        target: Target::Seat(SeatNumber(number)),
        ..open(channel, "")
    };
    desk.accept(FIRST, LARGER);
    for (channel, number) in [(1, 2), (2, 4)] {
        let asked = desk
            .switchboard
            .asked(desk.now, FIRST, &seat(channel, number))
            .unwrap();
        match asked.seat == other {
            true => desk
                .switchboard
                .proven(FIRST, &asked, &confirm(channel, "them"), None),
            false => desk.switchboard.unproven(desk.now, FIRST, &asked),
        }
    }
    desk.switchboard.closed(desk.now, FIRST);
    assert_eq!(desk.notices(), []);
    desk.accept(SECOND, OTHER);
    let asked = desk.switchboard.asked(desk.now, SECOND, &seat(1, 2)).unwrap();
    desk.switchboard.unproven(desk.now, SECOND, &asked);
    assert_eq!(desk.notices(), []);
    desk.switchboard.closed(desk.now, SECOND);
    assert!(matches!(
        desk.notices()[..],
        [Notice::WrongCallsign { attempts: 1, .. }]
    ));
}

#[test]
fn as_a_stranger_one_member_looks_for_its_like_and_the_next_on_another_connection() {
    let mut desk = Desk::new();
    let registered = desk
        .switchboard
        .register(HERE, &"other".into(), credentials("other"));
    let other = registered.unwrap().0;
    desk.send(&at("a:1"), 1);
    let sent = desk.switchboard.send(desk.now, other, &at("a:1"), 1, body(2));
    assert_eq!(sent.unwrap(), None);
    desk.dialled(FIRST, LARGER, "a:1");
    let job = desk.job(FIRST).unwrap();
    assert_eq!(desk.job(FIRST), None, "each seat answers a stranger once");
    desk.switchboard.unfit(desk.now, FIRST, job.channel, false);
    assert_eq!(desk.work(FIRST), Work::Goodbye);
    assert_eq!(
        desk.switchboard.closed(desk.now, FIRST),
        [dial("a:1", 50).unwrap()]
    );
    desk.dialled(SECOND, LARGER, "a:1");
    let job = desk.job(SECOND).unwrap();
    assert_eq!(job.callsign, Callsign::new("other"));
}

#[test]
fn among_friends_members_are_looked_for_side_by_side_and_few_at_a_time() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    desk.joined(FIRST, 1, "them");
    desk.send(&at("a:1"), 1);
    let registered = desk
        .switchboard
        .register(HERE, &"other".into(), credentials("other"));
    let other = registered.unwrap().0;
    desk.switchboard
        .send(desk.now, other, &at("a:1"), 1, body(2))
        .unwrap();
    desk.dialled(SECOND, LARGER, "a:1");
    assert_eq!(desk.switchboard.take_job(desk.now, SECOND), None);
    let seats = (1..=10).map(SeatNumber).collect();
    let endpoint = Some(THERE);
    desk.switchboard
        .found(desk.now, SECOND, &Found { endpoint, seats });
    let jobs: Vec<_> = std::iter::from_fn(|| desk.switchboard.take_job(desk.now, SECOND)).collect();
    // `us` has a channel to that port already; the other one has four tries.
    assert_eq!(jobs.len(), 4, "{jobs:?}");
    assert!(jobs.iter().all(|job| job.callsign == Callsign::new("other")));
    desk.switchboard.unfit(desk.now, SECOND, jobs[0].channel, false);
    let next = desk.switchboard.take_job(desk.now, SECOND).unwrap();
    assert_eq!(next.target, Target::Seat(SeatNumber(6)), "the first is taken");
    // Once it is found, the other tries come to nothing and to no notice.
    assert_eq!(desk.confirmed(SECOND, jobs[1].channel).as_deref(), Some("other"));
    assert!(
        desk.switchboard
            .accepted(desk.now, SECOND, accept(jobs[1].channel, "it"), false)
    );
    assert_eq!(desk.confirmed(SECOND, jobs[2].channel), None);
    desk.switchboard.unfit(desk.now, SECOND, jobs[3].channel, false);
    assert_eq!(desk.switchboard.take_job(desk.now, SECOND), None);
}

#[test]
fn whoever_answers_a_search_with_ever_new_members_is_asked_no_further() {
    let mut desk = Desk::new();
    let mut tried = 0;
    for round in 1..=20 {
        desk.send(&at("a:1"), 1);
        desk.dialled(FIRST, Instance([round; 32]), "a:1");
        desk.switchboard.take_job(desk.now, FIRST);
        let seats = (1..=1_024).map(SeatNumber).collect();
        let endpoint = Some(THERE);
        desk.switchboard
            .found(desk.now, FIRST, &Found { endpoint, seats });
        while let Some(job) = desk.switchboard.take_job(desk.now, FIRST) {
            tried += 1;
            desk.switchboard.unfit(desk.now, FIRST, job.channel, false);
        }
        desk.switchboard.closed(desk.now, FIRST);
        desk.later(5_000);
    }
    assert_eq!(tried, 1_024 + 19 * 5);
}
