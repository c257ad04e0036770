#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
use std::net::IpAddr;

use super::super::certificate::CertificateError;
use super::super::certificate::tests::Authority;
use super::super::frame::{Accept, Confirm, Find, Found, Open, SeatNumber, Share, Tag, Target};
use super::super::pair::Job;
use super::super::proof::{Callsign, Judged};
use super::*;

const OURS: Instance = Instance([100; 32]);
const SMALLER: Instance = Instance([50; 32]);
const LARGER: Instance = Instance([200; 32]);
const OTHER: Instance = Instance([201; 32]);
const HERE: Endpoint = Endpoint(0);
const THERE: Endpoint = Endpoint(9);
const FIRST: ConnectionId = ConnectionId(1);
const SECOND: ConnectionId = ConnectionId(2);
const TAG: Tag = Tag([7; 32]);
const NOTHING: [&str; 0] = [];
const REMOTE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7));

fn credentials(word: &str) -> Credentials {
    Credentials::new(Callsign::new(word))
}

fn body(body: u32) -> Arc<RawValue> {
    RawValue::from_string(body.to_string()).unwrap().into()
}

fn at(address: &str) -> To {
    To {
        address: Some(address.into()),
        ..To::default()
    }
}

fn to_them() -> To {
    To {
        member: Some("them".into()),
        ..To::default()
    }
}

/// A channel that the other side opened.
fn theirs(number: u32) -> ChannelKey {
    ChannelKey {
        number,
        is_ours: false,
    }
}

fn open(channel: u32, member: &str) -> Open {
    Open {
        channel,
        target: Target::Member(member.into()),
        former: false,
        share: Share([0x41; 33]),
    }
}

fn confirm(channel: u32, member: &str) -> Confirm {
    Confirm {
        channel,
        tag: TAG,
        member: member.into(),
        endpoint: THERE,
        seat: SeatNumber(1),
        certificate: None,
    }
}

fn accept(channel: u32, member: &str) -> Accept {
    Accept {
        channel,
        member: member.into(),
        endpoint: THERE,
        seat: SeatNumber(1),
        certificate: None,
    }
}

fn judged() -> Judged {
    Judged {
        tag: TAG,
        message: Vec::new(),
        theirs: Vec::new(),
    }
}

/// A switchboard with member `us`, and a clock that goes when told.
struct Desk {
    switchboard: Switchboard,
    us: SeatId,
    now: Instant,
}

impl Desk {
    fn new() -> Self {
        let mut switchboard = Switchboard::new(OURS);
        let registered = switchboard.register(HERE, &"us".into(), credentials("federation"));
        Self {
            switchboard,
            us: registered.unwrap().0,
            now: Instant::now(),
        }
    }

    fn later(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    fn opened(
        &mut self,
        id: ConnectionId,
        instance: Instance,
        dialled: Option<(Arc<str>, Option<Endpoint>)>,
    ) {
        let opened = Opened {
            instance,
            remote: REMOTE,
            dialled,
        };
        let (_, dials) = self.switchboard.opened(self.now, id, opened);
        assert_eq!(dials, []);
    }

    fn accept(&mut self, id: ConnectionId, instance: Instance) {
        self.opened(id, instance, None);
    }

    fn dialled(&mut self, id: ConnectionId, instance: Instance, address: &str) {
        self.opened(id, instance, Some((address.into(), Some(THERE))));
    }

    /// The other side proves the callsign of `us` and opens a channel.
    fn joined(&mut self, id: ConnectionId, channel: u32, member: &str) {
        let asked = self
            .switchboard
            .asked(self.now, id, &open(channel, "us"))
            .unwrap();
        self.switchboard
            .proven(id, &asked, &confirm(channel, member), None);
        assert!(
            matches!(self.work(id), Work::Frames(frames) if matches!(frames.last(), Some(Frame::Accept(_))))
        );
    }

    /// What `us` asks for over a connection is found and accepted by `member`.
    fn join(&mut self, id: ConnectionId, member: &str) {
        let job = self.job(id).unwrap();
        assert_eq!(self.confirmed(id, job.channel).as_deref(), Some("us"));
        assert!(
            self.switchboard
                .accepted(self.now, id, accept(job.channel, member), false)
        );
    }

    /// The other side knows the callsign that was asked for: who is to confirm it?
    fn confirmed(&mut self, id: ConnectionId, channel: u32) -> Option<Arc<str>> {
        Some(self.switchboard.confirmed(id, channel, &judged())?.0.member)
    }

    /// The next proof to begin; whoever is asked for is at one seat.
    fn job(&mut self, id: ConnectionId) -> Option<Job> {
        if let Some(job) = self.switchboard.take_job(self.now, id) {
            return Some(job);
        }
        let Work::Frames(frames) = self.work(id) else {
            return None;
        };
        let find = frames.into_iter().find_map(|frame| match frame {
            Frame::Find(find) => Some(find),
            _ => None,
        })?;
        self.found(id, find.endpoint);
        self.switchboard.take_job(self.now, id)
    }

    fn found(&mut self, id: ConnectionId, endpoint: Option<Endpoint>) {
        let seats = vec![SeatNumber(1)];
        self.switchboard.found(self.now, id, &Found { endpoint, seats });
    }

    fn send(&mut self, to: &To, content: u32) -> Option<Dial> {
        self.try_send(to, content).unwrap()
    }

    fn try_send(&mut self, to: &To, content: u32) -> Result<Option<Dial>, Error> {
        self.switchboard.send(self.now, self.us, to, 1, body(content))
    }

    fn receive(&mut self, id: ConnectionId, key: ChannelKey) {
        let data = Data {
            channel: key.number,
            opener: !key.is_ours,
            incarnation: 1,
            body: body(0),
        };
        self.switchboard.received(self.now, id, data, Duration::ZERO);
    }

    /// The other side refuses what `us` asked for.
    fn refuse(&mut self, id: ConnectionId, code: Code, channel: u32) {
        self.switchboard
            .refused(self.now, id, &Refusal::of_channel(code, theirs(channel)));
    }

    fn work(&mut self, id: ConnectionId) -> Work {
        self.switchboard.take_work(self.now, id)
    }

    /// The bodies of the messages that a connection should write.
    fn bodies(&mut self, id: ConnectionId) -> Vec<String> {
        let Work::Frames(frames) = self.work(id) else {
            return Vec::new();
        };
        let bodies = frames.into_iter().filter_map(|frame| match frame {
            Frame::Data(data) => Some(data.body.get().to_owned()),
            _ => None,
        });
        bodies.collect()
    }

    fn notices(&mut self) -> Vec<Notice> {
        let mut notices = Vec::new();
        while let Ok(Some(event)) = self.switchboard.take_event(self.us) {
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

fn unknown_group(address: &str) -> Notice {
    Notice::UnknownGroup {
        address: address.into(),
    }
}

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
fn the_smaller_instance_retires_the_older_connection_once_the_newer_has_answered() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    desk.joined(FIRST, 1, "them");
    desk.dialled(SECOND, LARGER, "a:1");
    assert_eq!(desk.work(SECOND), Work::Frames(vec![Frame::Ping]));
    assert_eq!(desk.work(FIRST), Work::Wait(None));
    desk.switchboard.heard(desk.now, SECOND);
    assert_eq!(desk.work(FIRST), Work::Goodbye);
    assert_eq!(desk.work(SECOND), Work::Wait(None));
    // Whoever was heard on the old one is reached through the new one.
    desk.send(&to_them(), 1);
    assert_eq!(desk.bodies(SECOND), ["1"]);
}

#[test]
fn the_larger_instance_leaves_the_choice_to_the_other() {
    let mut desk = Desk::new();
    desk.accept(FIRST, SMALLER);
    desk.accept(SECOND, SMALLER);
    desk.switchboard.heard(desk.now, FIRST);
    desk.switchboard.heard(desk.now, SECOND);
    assert_eq!(
        (desk.work(FIRST), desk.work(SECOND)),
        (Work::Wait(None), Work::Wait(None))
    );
}

#[test]
fn the_two_ends_of_a_connection_to_ourselves_both_stay() {
    let mut desk = Desk::new();
    desk.accept(FIRST, OURS);
    desk.accept(SECOND, OURS);
    desk.switchboard.heard(desk.now, FIRST);
    desk.switchboard.heard(desk.now, SECOND);
    assert_eq!(
        (desk.work(FIRST), desk.work(SECOND)),
        (Work::Wait(None), Work::Wait(None))
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

#[tokio::test]
async fn what_was_not_begun_on_a_retired_connection_is_begun_on_the_one_that_stays() {
    let mut desk = Desk::new();
    let opened = Opened {
        instance: SMALLER,
        remote: REMOTE,
        dialled: None,
    };
    let (staying, _) = desk.switchboard.opened(desk.now, FIRST, opened);
    desk.send(&at("a:1"), 1);
    desk.dialled(SECOND, SMALLER, "a:1");
    assert_eq!(
        desk.switchboard.take_job(desk.now, FIRST),
        None,
        "it belongs to the newest"
    );
    desk.switchboard.heard_goodbye(desk.now, SECOND);
    staying.proofs.notified().await;
    desk.join(FIRST, "them");
    assert_eq!(desk.bodies(FIRST), ["1"]);
}

#[test]
fn a_retired_connection_finishes_the_proofs_that_are_under_way() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, LARGER, "a:1");
    let job = desk.job(FIRST).unwrap();
    let asked = desk.switchboard.asked(desk.now, FIRST, &open(1, "us")).unwrap();
    desk.switchboard.retire(desk.now, FIRST);
    let until = Some(desk.now + Duration::from_secs(1));
    assert_eq!(desk.work(FIRST), Work::Wait(until));
    desk.confirmed(FIRST, job.channel);
    assert!(
        desk.switchboard
            .accepted(desk.now, FIRST, accept(job.channel, "them"), false)
    );
    assert_eq!(desk.bodies(FIRST), ["1"]);
    assert_eq!(desk.work(FIRST), Work::Wait(until));
    desk.switchboard.unproven(desk.now, FIRST, &asked);
    assert_eq!(desk.work(FIRST), Work::Goodbye);
    // It does not wait for ever, nor for what cannot come any more.
    for gone in [false, true] {
        desk.accept(SECOND, OTHER);
        desk.switchboard.asked(desk.now, SECOND, &open(1, "us")).unwrap();
        desk.switchboard.retire(desk.now, SECOND);
        assert!(matches!(desk.work(SECOND), Work::Wait(Some(_))));
        match gone {
            true => desk.switchboard.heard_goodbye(desk.now, SECOND),
            false => desk.later(1_000),
        }
        assert_eq!(desk.work(SECOND), Work::Goodbye);
        desk.switchboard.closed(desk.now, SECOND);
    }
}

#[test]
fn a_frame_on_a_retired_connection_retires_nothing() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    desk.switchboard.retire(desk.now, FIRST);
    desk.accept(SECOND, LARGER);
    desk.switchboard.heard(desk.now, FIRST);
    assert_eq!(desk.work(SECOND), Work::Wait(None));
}

#[test]
fn a_retired_connection_writes_what_it_has_before_it_says_goodbye() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    desk.joined(FIRST, 1, "them");
    desk.send(&to_them(), 1);
    desk.switchboard.retire(desk.now, FIRST);
    assert_eq!(desk.bodies(FIRST), ["1"]);
    assert_eq!(desk.work(FIRST), Work::Goodbye);
}

#[test]
fn what_a_dead_connection_had_not_begun_to_write_finds_another_way_or_is_dialled_for() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, SMALLER, "a:1");
    desk.join(FIRST, "them");
    desk.later(6_000);
    desk.send(&at("a:1"), 2);
    // No address is known for this one, so it is lost with the last connection.
    desk.send(&to_them(), 3);
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
fn what_waits_for_a_proof_on_a_connection_that_ends_is_dialled_for() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, LARGER, "a:1");
    let job = desk.job(FIRST).unwrap();
    assert_eq!(
        desk.switchboard.closed(desk.now, FIRST),
        [dial("a:1", 50).unwrap()]
    );
    desk.dialled(SECOND, LARGER, "a:1");
    // The old proof counts no more.
    assert_eq!(desk.confirmed(SECOND, job.channel), None);
    desk.join(SECOND, "them");
    assert_eq!(desk.bodies(SECOND), ["1"]);
}

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
fn a_connection_without_messages_is_retired_and_pings_do_not_save_it() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    desk.accept(SECOND, OTHER);
    desk.joined(SECOND, 1, "them");
    desk.later(59_000);
    desk.receive(SECOND, theirs(1));
    desk.switchboard.heard(desk.now, FIRST);
    desk.later(2_000);
    desk.switchboard.sweep(desk.now);
    assert_eq!(
        (desk.work(FIRST), desk.work(SECOND)),
        (Work::Goodbye, Work::Wait(None))
    );
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
    desk.joined(FIRST, 1, "them");
    desk.send(&to_them(), 1);
    desk.switchboard.shut_down(desk.now);
    assert_eq!(desk.bodies(FIRST), ["1"]);
    assert_eq!(desk.work(FIRST), Work::Goodbye);
    desk.accept(SECOND, LARGER);
    assert_eq!(desk.work(SECOND), Work::Goodbye);
    let refused = desk.try_send(&at("a:1"), 1);
    assert!(matches!(refused, Err(Error::ShutDown)));
    assert!(matches!(
        desk.switchboard.take_event(desk.us),
        Err(Error::ShutDown)
    ));
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
