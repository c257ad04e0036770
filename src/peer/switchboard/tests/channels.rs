//! Channels: how they are opened, which one a message takes, and who hears of what.

use super::*;

#[test]
fn an_address_is_dialled_once_and_what_waited_goes_first_once_both_have_the_callsign() {
    let mut desk = Desk::new();
    assert_eq!(desk.send(&at("a:1"), 1), dial("a:1", 0));
    assert_eq!(desk.send(&at("a:1"), 2), None);
    desk.dialled(FIRST, LARGER, "a:1");
    assert_eq!(desk.send(&at("a:1"), 3), None);
    let job = desk.job(FIRST).unwrap();
    assert_eq!(
        job,
        Job {
            seat: desk.us,
            channel: 1,
            target: Target::Seat(SeatNumber(1)),
            former: false,
            callsign: Callsign::new("federation"),
        }
    );
    assert_eq!(desk.work(FIRST), Work::Wait(None));
    let confirm = desk.switchboard.confirmed(FIRST, 1, &judged()).unwrap().0;
    assert_eq!(
        (&*confirm.member, confirm.endpoint, confirm.seat),
        ("us", HERE, SeatNumber(2))
    );
    assert!(
        desk.switchboard
            .accepted(desk.now, FIRST, accept(1, "them"), false)
    );
    let frame = |content| {
        Frame::Data(Data {
            channel: 1,
            opener: true,
            incarnation: 1,
            body: body(content),
        })
    };
    assert_eq!(desk.work(FIRST), Work::Frames(vec![frame(1), frame(2), frame(3)]));
    assert_eq!(desk.work(FIRST), Work::Wait(None));
    assert_eq!(desk.notices(), [connected("a:1")]);
    // By the address and by the name, the channel is found again.
    assert_eq!((desk.send(&at("a:1"), 4), desk.send(&to_them(), 5)), (None, None));
    assert_eq!(desk.bodies(FIRST), ["4", "5"]);
    assert_eq!(desk.job(FIRST), None);
}

#[test]
fn a_channel_is_not_open_before_both_sides_have_confirmed() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, LARGER, "a:1");
    desk.job(FIRST).unwrap();
    assert!(
        !desk
            .switchboard
            .accepted(desk.now, FIRST, accept(1, "them"), false),
        "not confirmed"
    );
    assert!(
        !desk
            .switchboard
            .accepted(desk.now, FIRST, accept(2, "them"), false),
        "not asked for"
    );
    assert_eq!(desk.bodies(FIRST), Vec::<String>::new());
    // Nor is one of the other side before its confirmation was seen.
    desk.accept(SECOND, OTHER);
    desk.switchboard.asked(desk.now, SECOND, &open(1, "us")).unwrap();
    desk.receive(SECOND, theirs(1));
    let refusal = Refusal::of_channel(Code::UnknownChannel, theirs(1));
    assert_eq!(desk.work(SECOND), Work::Frames(vec![Frame::Error(refusal)]));
    assert!(matches!(
        desk.switchboard.take_event(desk.us),
        Ok(Some(Event::Notice(_)))
    ));
    assert!(matches!(desk.switchboard.take_event(desk.us), Ok(None)));
}

#[test]
fn an_answer_prefers_its_connection_then_the_channel_last_heard_then_the_address() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    desk.accept(SECOND, OTHER);
    desk.joined(FIRST, 1, "them");
    desk.joined(SECOND, 1, "them");
    desk.receive(FIRST, theirs(1));
    desk.receive(SECOND, theirs(1));
    let everything = To {
        via: Some(ReplyRoute(FIRST, theirs(1))),
        address: Some("a:1".into()),
        ..to_them()
    };
    assert_eq!(desk.send(&everything, 1), None);
    assert_eq!(desk.bodies(FIRST), ["1"]);
    assert_eq!(desk.switchboard.closed(desk.now, FIRST), []);
    assert_eq!(desk.send(&everything, 2), None);
    assert_eq!(desk.bodies(SECOND), ["2"]);
    assert_eq!(desk.switchboard.closed(desk.now, SECOND), []);
    assert_eq!(desk.send(&everything, 3), dial("a:1", 0));
}

#[test]
fn addresses_that_lead_to_one_controller_share_its_connection_and_channel() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, LARGER, "a:1");
    desk.join(FIRST, "them");
    assert_eq!(desk.bodies(FIRST), ["1"]);
    desk.send(&at("b:1"), 2);
    desk.dialled(SECOND, LARGER, "b:1");
    assert_eq!(desk.bodies(SECOND), ["2"]);
    desk.send(&at("a:1"), 3);
    assert_eq!(
        (desk.bodies(FIRST), desk.bodies(SECOND)),
        (vec![], vec!["3".to_owned()])
    );
}

#[test]
fn what_was_proven_holds_on_the_next_connection_and_is_forgotten_when_there_is_none_for_long() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    desk.joined(FIRST, 1, "them");
    assert_eq!(desk.switchboard.closed(desk.now, FIRST), []);
    desk.later(59_000);
    desk.switchboard.sweep(desk.now);
    desk.accept(SECOND, LARGER);
    assert_eq!(desk.send(&to_them(), 1), None);
    assert_eq!(desk.bodies(SECOND), ["1"]);
    desk.switchboard.closed(desk.now, SECOND);
    desk.later(61_000);
    desk.switchboard.sweep(desk.now);
    desk.accept(FIRST, LARGER);
    assert!(matches!(
        desk.try_send(&to_them(), 1),
        Err(Error::SendUnreachable { .. })
    ));
    assert_eq!(
        (desk.switchboard.pairs.len(), desk.switchboard.routes.len()),
        (1, 0)
    );
}

#[test]
fn what_overtakes_the_acceptance_of_its_channel_is_kept() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, LARGER, "a:1");
    let job = desk.job(FIRST).unwrap();
    desk.accept(SECOND, LARGER);
    let key = ChannelKey {
        number: job.channel,
        is_ours: true,
    };
    desk.confirmed(FIRST, job.channel);
    desk.notices();
    desk.receive(SECOND, key);
    assert!(matches!(desk.switchboard.take_event(desk.us), Ok(None)));
    assert!(
        desk.switchboard
            .accepted(desk.now, FIRST, accept(job.channel, "them"), false)
    );
    match desk.switchboard.take_event(desk.us) {
        Ok(Some(Event::Message(message))) => {
            assert_eq!((&*message.from, message.via), ("them", ReplyRoute(SECOND, key)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_member_hears_each_change_once_and_a_late_one_hears_what_is() {
    let mut desk = Desk::new();
    let registered = desk
        .switchboard
        .register(THERE, &"other".into(), credentials("other"));
    let other = registered.unwrap().0;
    desk.send(&at("a:1"), 1);
    let failed = |cause: &str| DialFailure::Failed(cause.to_owned());
    for cause in ["refused", "refused", "silence", "silence"] {
        desk.switchboard
            .dial_failed(desk.now, &"a:1".into(), failed(cause));
    }
    let notice = Notice::DialFailed {
        address: "a:1".into(),
        cause: "silence".to_owned(),
    };
    // Of several changes that nobody has taken yet, the newest is left.
    assert_eq!(desk.notices(), std::slice::from_ref(&notice));
    desk.switchboard
        .dial_failed(desk.now, &"a:1".into(), failed("silence"));
    assert_eq!(desk.notices(), []);
    desk.switchboard
        .send(desk.now, other, &at("a:1"), 1, body(1))
        .unwrap();
    match desk.switchboard.take_event(other) {
        Ok(Some(Event::Notice(heard))) => assert_eq!(heard, notice),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_asked_for_in_vain_is_refused_with_the_reason() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    let asked = |desk: &mut Desk, open: &Open| desk.switchboard.asked(desk.now, FIRST, open).unwrap_err();
    assert_eq!(asked(&mut desk, &open(1, "former")), Code::UnknownMember);
    let former = Open {
        former: true,
        ..open(2, "us")
    };
    assert_eq!(asked(&mut desk, &former), Code::WrongCallsign);
    for (endpoint, after, answer) in [
        (Some(HERE), 0, Ok(vec![SeatNumber(2)])),
        (Some(HERE), 2, Ok(vec![])),
        (Some(THERE), 0, Err("this port is closed")),
        (None, 0, Err("this port is closed")),
    ] {
        let find = Find {
            endpoint,
            after: SeatNumber(after),
        };
        desk.switchboard.asked_for_seats(desk.now, FIRST, &find);
        let frame = match answer {
            Ok(seats) => Frame::Found(Found { endpoint, seats }),
            Err(detail) => Frame::Error(Refusal {
                endpoint,
                ..Refusal::new(Code::ClosedPort, detail)
            }),
        };
        assert_eq!(desk.work(FIRST), Work::Frames(vec![frame]));
    }
}

#[test]
fn channels_between_two_controllers_are_bounded() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    for channel in 0..1_024 {
        desk.joined(FIRST, channel, &format!("member-{channel}"));
    }
    let refused = desk.switchboard.asked(desk.now, FIRST, &open(2_000, "us"));
    assert_eq!(refused.unwrap_err(), Code::Busy);
    // Another controller has room.
    desk.accept(SECOND, OTHER);
    desk.joined(SECOND, 1, "them");
}
