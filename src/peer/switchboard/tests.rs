#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
use serde_json::value::RawValue;

use super::*;

const OURS: Instance = Instance(100);
const SMALLER: Instance = Instance(50);
const LARGER: Instance = Instance(200);
const HERE: Endpoint = Endpoint(0);
const THERE: Endpoint = Endpoint(9);
const FIRST: ConnectionId = ConnectionId(1);
const SECOND: ConnectionId = ConnectionId(2);

fn group() -> GroupKey {
    GroupKey::of_callsign("federation")
}

fn data(from: &str, to: Option<&str>, body: u32) -> Data {
    Data {
        group: group(),
        from: from.into(),
        to: to.map(Arc::from),
        endpoint: None,
        incarnation: 1,
        body: RawValue::from_string(body.to_string()).unwrap().into(),
    }
}

fn at(address: &str) -> To {
    To {
        address: Some(address.into()),
        ..To::default()
    }
}

/// A switchboard with member `us`, and a clock that goes when told.
struct Desk {
    switchboard: Switchboard,
    now: Instant,
}

impl Desk {
    fn new() -> Self {
        let mut switchboard = Switchboard::new(OURS);
        switchboard.register(group(), HERE, &"us".into()).unwrap();
        Self {
            switchboard,
            now: Instant::now(),
        }
    }

    fn later(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    fn accept(&mut self, id: ConnectionId, instance: Instance) {
        self.switchboard.opened(
            self.now,
            id,
            Opened {
                instance,
                dialled: None,
            },
        );
    }

    fn dialled(&mut self, id: ConnectionId, instance: Instance, address: &str) {
        let dialled = Some((address.into(), Some(THERE)));
        self.switchboard
            .opened(self.now, id, Opened { instance, dialled });
    }

    fn send(&mut self, to: &To, body: u32) -> Option<Dial> {
        let message = data("us", to.member.as_deref(), body);
        self.switchboard.send(self.now, to, message).unwrap()
    }

    fn receive(&mut self, id: ConnectionId, from: &str) {
        self.switchboard
            .received(self.now, id, data(from, Some("us"), 0), Duration::ZERO);
    }

    fn refuse(&mut self, id: ConnectionId, code: Code, refused: &Data) {
        self.switchboard
            .refused(self.now, id, &Refusal::of(refused, code, ""));
    }

    fn work(&mut self, id: ConnectionId) -> Work {
        self.switchboard.take_work(self.now, id)
    }

    /// The bodies of the messages that a connection should write, as long as it has nothing else to write.
    fn bodies(&mut self, id: ConnectionId) -> Vec<String> {
        match self.work(id) {
            Work::Frames(frames) => frames
                .into_iter()
                .map(|frame| match frame {
                    Frame::Data(data) => data.body.get().to_owned(),
                    other => panic!("{other:?}"),
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    fn notices(&mut self) -> Vec<Notice> {
        let mut notices = Vec::new();
        while let Ok(Some(event)) = self.switchboard.take_event(group(), HERE) {
            match event {
                Event::Notice(notice) => notices.push(notice),
                Event::Message(_) => {}
            }
        }
        notices
    }
}

fn dial(address: &str, wait_ms: u64) -> Option<Dial> {
    Some(Dial {
        address: address.into(),
        wait: Duration::from_millis(wait_ms),
    })
}

fn connected(address: &str) -> Notice {
    Notice::Connected {
        address: address.into(),
    }
}

#[test]
fn an_address_is_dialled_once_and_what_waited_goes_first() {
    let mut desk = Desk::new();
    assert_eq!(desk.send(&at("a:1"), 1), dial("a:1", 0));
    assert_eq!(desk.send(&at("a:1"), 2), None);
    desk.dialled(FIRST, LARGER, "a:1");
    assert_eq!(desk.send(&at("a:1"), 3), None);
    let frame = |body| {
        Frame::Data(Data {
            endpoint: Some(THERE),
            ..data("us", None, body)
        })
    };
    assert_eq!(desk.work(FIRST), Work::Frames(vec![frame(1), frame(2), frame(3)]));
    assert_eq!(desk.work(FIRST), Work::Wait);
    assert_eq!(desk.notices(), [connected("a:1")]);
}

#[test]
fn an_answer_prefers_its_connection_then_the_one_last_heard_then_the_address() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    desk.accept(SECOND, Instance(300));
    desk.receive(FIRST, "them");
    desk.receive(SECOND, "them");
    let everything = To {
        via: Some(ReplyRoute(FIRST)),
        member: Some("them".into()),
        address: Some("a:1".into()),
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
fn addresses_that_lead_to_one_controller_share_its_connection() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, LARGER, "a:1");
    desk.send(&at("b:1"), 2);
    desk.dialled(SECOND, LARGER, "b:1");
    desk.bodies(FIRST);
    desk.work(SECOND);
    desk.send(&at("a:1"), 3);
    assert_eq!(
        (desk.bodies(FIRST), desk.bodies(SECOND)),
        (vec![], vec!["3".to_owned()])
    );
}

#[test]
fn the_smaller_instance_retires_the_older_connection_once_the_newer_has_answered() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    desk.receive(FIRST, "them");
    desk.dialled(SECOND, LARGER, "a:1");
    assert_eq!(desk.work(SECOND), Work::Frames(vec![Frame::Ping]));
    assert_eq!(desk.work(FIRST), Work::Wait);
    desk.switchboard.heard(SECOND);
    assert_eq!(desk.work(FIRST), Work::Goodbye);
    assert_eq!(desk.work(SECOND), Work::Wait);
    // Whoever was heard on the old one is reached through the new one.
    desk.send(
        &To {
            member: Some("them".into()),
            ..To::default()
        },
        1,
    );
    assert_eq!(desk.bodies(SECOND), ["1"]);
}

#[test]
fn the_larger_instance_leaves_the_choice_to_the_other() {
    let mut desk = Desk::new();
    desk.accept(FIRST, SMALLER);
    desk.accept(SECOND, SMALLER);
    desk.switchboard.heard(FIRST);
    desk.switchboard.heard(SECOND);
    assert_eq!((desk.work(FIRST), desk.work(SECOND)), (Work::Wait, Work::Wait));
}

#[test]
fn the_two_ends_of_a_connection_to_ourselves_both_stay() {
    let mut desk = Desk::new();
    desk.accept(FIRST, OURS);
    desk.accept(SECOND, OURS);
    desk.switchboard.heard(FIRST);
    desk.switchboard.heard(SECOND);
    assert_eq!((desk.work(FIRST), desk.work(SECOND)), (Work::Wait, Work::Wait));
}

#[test]
fn a_frame_on_a_retired_connection_retires_nothing() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    desk.switchboard.retire(FIRST);
    desk.accept(SECOND, LARGER);
    desk.switchboard.heard(FIRST);
    assert_eq!(desk.work(SECOND), Work::Wait);
}

#[test]
fn a_retired_connection_writes_what_it_has_before_it_says_goodbye() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    desk.send(
        &To {
            via: Some(ReplyRoute(FIRST)),
            ..To::default()
        },
        1,
    );
    desk.switchboard.retire(FIRST);
    assert_eq!(desk.bodies(FIRST), ["1"]);
    assert_eq!(desk.work(FIRST), Work::Goodbye);
}

#[test]
fn what_a_dead_connection_had_not_begun_to_write_finds_another_way_or_is_dialled_for() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, SMALLER, "a:1");
    desk.later(6_000);
    desk.send(&at("a:1"), 2);
    // No address is known for this one, so it is lost.
    desk.send(
        &To {
            via: Some(ReplyRoute(FIRST)),
            ..To::default()
        },
        3,
    );
    desk.accept(SECOND, SMALLER);
    assert_eq!(desk.switchboard.closed(desk.now, FIRST), []);
    assert_eq!(
        desk.switchboard.closed(desk.now, SECOND),
        [dial("a:1", 0).unwrap()]
    );
    desk.dialled(ConnectionId(3), SMALLER, "a:1");
    assert_eq!(desk.bodies(ConnectionId(3)), ["2"]);
}

#[test]
fn an_address_is_looked_up_anew_once_its_controller_has_gone() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, LARGER, "a:1");
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
    assert_eq!(desk.bodies(FIRST), ["2"]);
}

#[test]
fn a_connection_that_ends_at_once_is_not_dialled_in_a_loop() {
    let mut desk = Desk::new();
    for wait_ms in [0, 50, 100, 200] {
        assert_eq!(desk.send(&at("a:1"), 1), dial("a:1", wait_ms));
        desk.dialled(FIRST, LARGER, "a:1");
        desk.bodies(FIRST);
        assert_eq!(desk.switchboard.closed(desk.now, FIRST), []);
    }
    assert_eq!(desk.send(&at("a:1"), 1), dial("a:1", 400));
    desk.dialled(FIRST, LARGER, "a:1");
    desk.bodies(FIRST);
    desk.later(5_000);
    desk.switchboard.closed(desk.now, FIRST);
    assert_eq!(desk.send(&at("a:1"), 1), dial("a:1", 0));
}

#[test]
fn each_member_hears_each_change_once_and_a_late_one_hears_what_is() {
    let mut desk = Desk::new();
    desk.switchboard
        .register(group(), THERE, &"other".into())
        .unwrap();
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
        .send(desk.now, &at("a:1"), data("other", None, 1))
        .unwrap();
    match desk.switchboard.take_event(group(), THERE) {
        Ok(Some(Event::Notice(heard))) => assert_eq!(heard, notice),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_for_nobody_is_answered_and_teaches_no_route() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    let stray = Data {
        group: GroupKey::of_callsign("other"),
        endpoint: Some(HERE),
        ..data("them", None, 0)
    };
    desk.switchboard
        .received(desk.now, FIRST, stray.clone(), Duration::ZERO);
    let elsewhere = Data {
        endpoint: Some(THERE),
        ..data("them", None, 0)
    };
    desk.switchboard
        .received(desk.now, FIRST, elsewhere.clone(), Duration::ZERO);
    let former = data("them", Some("former"), 0);
    desk.switchboard
        .received(desk.now, FIRST, former.clone(), Duration::ZERO);
    let unknown = "nobody here has this callsign on this port";
    assert_eq!(
        desk.work(FIRST),
        Work::Frames(vec![
            Frame::Error(Refusal::of(&stray, Code::UnknownGroup, unknown)),
            Frame::Error(Refusal::of(&elsewhere, Code::ClosedPort, "this port is closed")),
            Frame::Error(Refusal::of(
                &former,
                Code::UnknownMember,
                "this member is not here"
            )),
        ])
    );
    let to_them = To {
        member: Some("them".into()),
        ..To::default()
    };
    let error = desk
        .switchboard
        .send(desk.now, &to_them, data("us", Some("them"), 1))
        .unwrap_err();
    assert!(matches!(error, Error::SendUnreachable { .. }), "{error}");
}

#[test]
fn a_refusal_is_told_to_its_sender_stands_while_connected_and_ends_when_heard() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, LARGER, "a:1");
    assert_eq!(desk.notices(), [connected("a:1")]);
    let sent = Data {
        endpoint: Some(THERE),
        ..data("us", None, 1)
    };
    for _ in 0..3 {
        desk.refuse(FIRST, Code::UnknownGroup, &sent);
    }
    assert_eq!(
        desk.notices(),
        [Notice::UnknownGroup {
            address: "a:1".into()
        }]
    );
    // Another port of the same controller is another matter.
    desk.send(&at("a:2"), 1);
    desk.switchboard.opened(
        desk.now,
        SECOND,
        Opened {
            instance: LARGER,
            dialled: Some(("a:2".into(), Some(Endpoint(8)))),
        },
    );
    assert_eq!(desk.notices(), [connected("a:2")]);
    desk.refuse(SECOND, Code::UnknownGroup, &sent);
    assert_eq!(desk.notices(), []);
    desk.receive(SECOND, "them");
    assert_eq!(desk.notices(), [connected("a:1")]);
}

#[test]
fn an_address_where_nobody_knows_the_group_is_dialled_anew_now_and_then() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, LARGER, "a:1");
    let sent = Data {
        endpoint: Some(THERE),
        ..data("us", None, 1)
    };
    let mut dials = Vec::new();
    for second in 0..=65 {
        desk.refuse(FIRST, Code::UnknownGroup, &sent);
        if desk.send(&at("a:1"), 1).is_some() {
            dials.push(second);
            desk.dialled(FIRST, LARGER, "a:1");
        }
        desk.later(1_000);
    }
    assert_eq!(dials, [30, 60]);
    // None of these changed anything for the user.
    assert_eq!(
        desk.notices(),
        [Notice::UnknownGroup {
            address: "a:1".into()
        }]
    );
}

#[test]
fn an_address_that_led_to_a_port_which_has_closed_is_dialled_anew_at_once() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, SMALLER, "a:1");
    assert_eq!(desk.notices(), [connected("a:1")]);
    let sent = Data {
        endpoint: Some(THERE),
        ..data("us", None, 1)
    };
    // Messages that were under way together are refused together.
    for _ in 0..3 {
        desk.refuse(FIRST, Code::ClosedPort, &sent);
    }
    assert_eq!(desk.send(&at("a:1"), 2), dial("a:1", 0));
    let reopened = Some(("a:1".into(), Some(Endpoint(8))));
    let opened = Opened {
        instance: SMALLER,
        dialled: reopened,
    };
    desk.switchboard.opened(desk.now, SECOND, opened);
    // What was sent to the closed port says nothing about the open one.
    desk.refuse(FIRST, Code::ClosedPort, &sent);
    assert_eq!(desk.send(&at("a:1"), 3), None);
    assert_eq!(desk.bodies(SECOND), ["2", "3"]);
    assert_eq!(desk.notices(), []);
}

#[test]
fn a_refused_member_is_looked_for_at_its_address_again() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    desk.receive(FIRST, "them");
    let to = To {
        via: None,
        member: Some("them".into()),
        address: Some("a:1".into()),
    };
    assert_eq!(desk.send(&to, 1), None);
    desk.refuse(FIRST, Code::UnknownMember, &data("us", Some("them"), 1));
    assert_eq!(desk.send(&to, 2), dial("a:1", 0));
}

#[test]
fn members_reached_through_one_connection_are_bounded() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    for member in 0..ROUTES_PER_CONNECTION + 10 {
        desk.receive(FIRST, &format!("member-{member}"));
    }
    assert_eq!(desk.switchboard.routes.len(), ROUTES_PER_CONNECTION);
    // Routes that move to another connection make room.
    desk.accept(SECOND, Instance(300));
    desk.receive(SECOND, "member-0");
    desk.receive(FIRST, "newcomer");
    assert_eq!(desk.switchboard.routes.len(), ROUTES_PER_CONNECTION + 1);
    desk.switchboard.closed(desk.now, FIRST);
    desk.switchboard.closed(desk.now, SECOND);
    assert_eq!(desk.switchboard.routes.len(), 0);
}

#[test]
fn addresses_are_bounded_and_unused_ones_forgotten() {
    let mut desk = Desk::new();
    for port in 1..=2_048 {
        desk.send(&at(&format!("a:{port}")), 1);
    }
    let error = desk
        .switchboard
        .send(desk.now, &at("b:1"), data("us", None, 1))
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
fn a_connection_without_messages_is_retired_and_pings_do_not_save_it() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    desk.accept(SECOND, Instance(300));
    desk.later(59_000);
    desk.receive(SECOND, "them");
    desk.switchboard.heard(FIRST);
    desk.later(2_000);
    desk.switchboard.sweep(desk.now);
    assert_eq!((desk.work(FIRST), desk.work(SECOND)), (Work::Goodbye, Work::Wait));
}

#[test]
fn a_connection_with_too_many_answers_waiting_is_not_read_until_they_are_written() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    for _ in 0..16 {
        assert!(!desk.switchboard.is_behind(FIRST));
        desk.switchboard.control(FIRST, Frame::Pong);
    }
    assert!(desk.switchboard.is_behind(FIRST));
    desk.work(FIRST);
    assert!(!desk.switchboard.is_behind(FIRST));
}

#[test]
fn after_shutdown_everything_says_goodbye_and_nothing_begins() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    desk.send(
        &To {
            via: Some(ReplyRoute(FIRST)),
            ..To::default()
        },
        1,
    );
    desk.switchboard.shut_down();
    assert_eq!(desk.bodies(FIRST), ["1"]);
    assert_eq!(desk.work(FIRST), Work::Goodbye);
    desk.accept(SECOND, LARGER);
    assert_eq!(desk.work(SECOND), Work::Goodbye);
    let refused = desk.switchboard.send(desk.now, &at("a:1"), data("us", None, 1));
    assert!(matches!(refused, Err(Error::ShutDown)));
    assert!(matches!(
        desk.switchboard.take_event(group(), HERE),
        Err(Error::ShutDown)
    ));
}

#[test]
fn a_member_that_moves_to_another_port_keeps_its_messages() {
    let mut desk = Desk::new();
    desk.switchboard.register(group(), THERE, &"us".into()).unwrap();
    desk.switchboard.unregister(group(), HERE);
    desk.accept(FIRST, LARGER);
    desk.receive(FIRST, "them");
    assert!(matches!(
        desk.switchboard.take_event(group(), THERE),
        Ok(Some(Event::Message(_)))
    ));
}
