//! Addresses: when they are dialled, and looked up anew.

use super::*;

#[test]
fn an_address_is_looked_up_anew_once_its_controller_has_gone() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, LARGER, "a:1");
    desk.join(FIRST, "them");
    desk.bodies(FIRST);
    desk.later(5_000);
    desk.switchboard.closed(desk.now, FIRST);
    // The controller is back, but not necessarily at that address.
    desk.accept(SECOND, LARGER);
    assert_eq!(desk.send(&at("a:1"), 2), dial("a:1", 0));
}

#[test]
fn waits_between_attempts_double_up_to_a_second_and_end_when_nobody_sends() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    let mut waits = Vec::new();
    let failure = || DialFailure::Failed("connection refused".to_owned());
    for _ in 0..8 {
        waits.push(
            desk.switchboard
                .dial_failed(desk.now, &"a:1".into(), failure())
                .unwrap()
                .as_millis(),
        );
    }
    assert_eq!(waits, [50, 100, 200, 400, 800, 1_000, 1_000, 1_000]);
    let cause = "connection refused".to_owned();
    assert_eq!(
        desk.notices(),
        [Notice::DialFailed {
            address: "a:1".into(),
            cause
        }]
    );
    desk.later(10_001);
    assert_eq!(
        desk.switchboard.dial_failed(desk.now, &"a:1".into(), failure()),
        None
    );
    // Whoever sends again starts it again, and what is stale by then is gone.
    assert_eq!(desk.send(&at("a:1"), 2), dial("a:1", 1_000));
    desk.dialled(FIRST, LARGER, "a:1");
    desk.join(FIRST, "them");
    assert_eq!(desk.bodies(FIRST), ["2"]);
}

#[test]
fn a_connection_that_ends_at_once_is_not_dialled_in_a_loop() {
    let mut desk = Desk::new();
    assert_eq!(desk.send(&at("a:1"), 1), dial("a:1", 0));
    for wait_ms in [50, 100, 200] {
        desk.dialled(FIRST, LARGER, "a:1");
        assert_eq!(
            desk.switchboard.closed(desk.now, FIRST),
            [dial("a:1", wait_ms).unwrap()]
        );
    }
    desk.dialled(FIRST, LARGER, "a:1");
    desk.join(FIRST, "them");
    desk.bodies(FIRST);
    desk.later(5_000);
    desk.switchboard.closed(desk.now, FIRST);
    assert_eq!(desk.send(&at("a:1"), 1), dial("a:1", 0));
}

#[test]
fn where_nobody_has_the_callsign_is_not_dialled_in_a_loop() {
    let mut desk = Desk::new();
    let mut dials = Vec::new();
    let mut searched = 0;
    for tenth in 0..400_u64 {
        if desk.send(&at("a:1"), 1).is_some() {
            dials.push(tenth * 100);
            desk.dialled(FIRST, LARGER, "a:1");
            if let Some(job) = desk.job(FIRST) {
                searched += 1;
                desk.switchboard.unfit(desk.now, FIRST, job.channel, false);
            }
            let _ = desk.switchboard.closed(desk.now, FIRST);
        }
        desk.later(100);
    }
    assert_eq!(
        dials,
        [
            0, 1_000, 3_000, 7_000, 12_000, 17_000, 22_000, 27_000, 32_000, 37_000
        ]
    );
    assert_eq!(searched, 1, "the same seat is not tried twice");
}

#[test]
fn an_address_where_nobody_knows_the_callsign_is_dialled_anew_now_and_then() {
    let mut desk = Desk::new();
    desk.accept(SECOND, LARGER);
    let registered = desk
        .switchboard
        .register(HERE, &"other".into(), credentials("other"));
    let other = registered.unwrap().0;
    let asked = desk
        .switchboard
        .asked(desk.now, SECOND, &open(1, "other"))
        .unwrap();
    assert_eq!(asked.seat, other);
    desk.switchboard.proven(SECOND, &asked, &confirm(1, "them"), None);
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, LARGER, "a:1");
    let mut dials = Vec::new();
    for second in 0..=65 {
        if let Some(job) = desk.job(FIRST) {
            desk.switchboard.unfit(desk.now, FIRST, job.channel, false);
        }
        if desk.send(&at("a:1"), 1).is_some() {
            dials.push(second);
            desk.dialled(FIRST, LARGER, "a:1");
        }
        desk.later(1_000);
    }
    assert_eq!(dials, [39]);
    // None of these changed anything for the user.
    assert_eq!(desk.notices(), [unknown_group("a:1")]);
}

#[test]
fn an_address_that_led_to_a_port_which_has_closed_is_dialled_anew_at_once() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, SMALLER, "a:1");
    assert_eq!(desk.notices(), [connected("a:1")]);
    assert_eq!(desk.switchboard.take_job(desk.now, FIRST), None);
    let closed = |endpoint| Refusal {
        endpoint: Some(endpoint),
        ..Refusal::new(Code::ClosedPort, "closed")
    };
    desk.switchboard.refused(desk.now, FIRST, &closed(THERE));
    assert_eq!(desk.send(&at("a:1"), 2), dial("a:1", 0));
    desk.opened(SECOND, SMALLER, Some(("a:1".into(), Some(Endpoint(8)))));
    // What was said of the closed port says nothing about the open one.
    desk.switchboard.refused(desk.now, FIRST, &closed(THERE));
    assert_eq!(desk.send(&at("a:1"), 3), None);
    desk.switchboard.take_job(desk.now, SECOND);
    desk.found(SECOND, Some(Endpoint(8)));
    desk.join(SECOND, "them");
    assert_eq!(desk.bodies(SECOND), ["2", "3"]);
    assert_eq!(desk.notices(), []);
}

#[test]
fn a_member_that_was_refused_or_has_lost_its_channel_is_looked_for_at_its_address_again() {
    let mut desk = Desk::new();
    let to = To {
        address: Some("a:1".into()),
        ..to_them()
    };
    desk.send(&to, 1);
    desk.dialled(FIRST, LARGER, "a:1");
    desk.notices();
    let job = desk.job(FIRST).unwrap();
    assert_eq!(job.target, Target::Member("them".into()));
    desk.refuse(FIRST, Code::UnknownMember, job.channel);
    let notice = Notice::UnknownMember {
        address: "a:1".into(),
        member: "them".into(),
    };
    assert_eq!(desk.notices(), [notice]);
    desk.send(&to, 2);
    desk.join(FIRST, "them");
    assert_eq!(desk.bodies(FIRST), ["2"]);
    desk.refuse(FIRST, Code::UnknownChannel, 2);
    desk.send(&to, 3);
    assert_eq!(desk.bodies(FIRST), Vec::<String>::new());
    desk.join(FIRST, "them");
    assert_eq!(desk.bodies(FIRST), ["3"]);
}

#[test]
fn addresses_are_bounded_and_unused_ones_forgotten() {
    let mut desk = Desk::new();
    for port in 1..=2_048 {
        desk.send(&at(&format!("a:{port}")), 1);
    }
    let error = desk
        .switchboard
        .send(desk.now, desk.us, &at("b:1"), 1, body(1))
        .unwrap_err();
    assert!(
        matches!(error, Error::SendTooManyAddresses { limit: 2_048 }),
        "{error}"
    );
    for port in 1..=2_048 {
        desk.switchboard.dial_abandoned(&format!("a:{port}").into());
    }
    desk.later(60_001);
    desk.switchboard.sweep(desk.now);
    assert_eq!(desk.send(&at("b:1"), 1), dial("b:1", 0));
}

#[test]
fn a_member_that_moves_to_another_port_is_found_there() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    desk.joined(FIRST, 1, "them");
    let registered = desk
        .switchboard
        .register(THERE, &"us".into(), credentials("federation"));
    let anew = registered.unwrap().0;
    desk.switchboard.unregister(desk.us);
    desk.receive(FIRST, theirs(1));
    let refusal = Refusal::of_channel(Code::UnknownChannel, theirs(1));
    assert_eq!(desk.work(FIRST), Work::Frames(vec![Frame::Error(refusal)]));
    desk.joined(FIRST, 2, "them");
    desk.receive(FIRST, theirs(2));
    assert!(matches!(
        desk.switchboard.take_event(anew),
        Ok(Some(Event::Message(_)))
    ));
}
