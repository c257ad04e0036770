//! Founding and joining, move by move.
#![allow(clippy::panic, reason = "a test fails by panicking")]

use super::super::trying::*;
use super::super::*;

fn founder(id: u128, ready: bool, alone: bool) -> Founder {
    Founder {
        profile: profile(id),
        memory: MemoryId(id),
        ready,
        alone,
    }
}

fn probe(from: u128, ready: bool, to: &str) -> Message {
    Message::Probe {
        founder: founder(from, ready, false),
        asked: to.to_owned(),
    }
}

fn at(address: &str) -> Destination {
    Destination::Address(address.to_owned())
}

fn to(id: u128) -> Destination {
    Destination::Member(MemberId(id), Some(format!("m{id}").into()))
}

fn wants(id: u128, ready: bool, fleet: &[&str]) -> Config {
    Config {
        ready,
        fleet: fleet.iter().map(ToString::to_string).collect(),
        ..config(id)
    }
}

fn no_group(from: u128, ready: bool, asked: &str, yields: bool) -> Message {
    Message::NoGroup {
        founder: founder(from, ready, false),
        asked: asked.to_owned(),
        yields,
    }
}

/// What member `id` writes when it founds a group; without chance its identity is zero.
fn founded(id: u128) -> Command {
    let roster = Roster::founded(voter(id), SETTINGS);
    let id_of_group = GroupId(0);
    persist(
        2,
        Durable {
            group: Some(Membership {
                id: id_of_group,
                roster: Arc::new(roster),
            }),
            ..durable(id, 0, None, None)
        },
    )
}

#[test]
fn a_member_that_knows_nobody_listens_for_two_leases_and_founds() {
    let (mut one, commands) = Actor::newcomer(wants(1, true, &[]), 1);
    assert_eq!(commands, [payload(1, Order::Stop)]);
    while one.now < Tick(2 * LEASE - ROUND) {
        assert_eq!(one.wait(), []);
    }
    assert_eq!(one.wait(), [founded(1)]);
    assert_eq!(one.now, Tick(2 * LEASE));
    let commands = one.persisted();
    assert_eq!(commands[0], notify(Notice::Founded));
}

#[test]
fn a_member_that_is_not_meant_to_founds_nothing() {
    let (mut one, _) = Actor::newcomer(wants(1, false, &[]), 1);
    while one.now < Tick(10 * LEASE) {
        assert_eq!(one.wait(), []);
    }
}

#[test]
fn every_address_of_the_fleet_must_let_it_go_first() {
    let (mut one, commands) = Actor::newcomer(wants(1, true, &["m2", "m3", "m1"]), 1);
    let probe = |address: &str| ask(at(address), probe(1, true, address));
    // Its own address is asked too, so that a clash of addresses shows, and is not waited for.
    assert_eq!(
        commands,
        [probe("m2"), probe("m3"), probe("m1"), payload(1, Order::Stop)]
    );
    assert_eq!(one.hear_stranger(2, no_group(2, false, "m2", true)), []);
    assert_eq!(one.member.waits_for(one.now), ["m3"]);
    let mut refused = one.clone();
    assert_eq!(refused.hear_stranger(3, no_group(3, true, "m3", false)), []);
    assert_eq!(one.hear_stranger(3, no_group(3, false, "m3", true)), [founded(1)]);
}

#[test]
fn an_address_that_a_person_named_need_not_answer() {
    let wish = Config {
        found_without: vec!["m2".to_owned()],
        ..wants(1, true, &["m2"])
    };
    let (mut one, _) = Actor::newcomer(wish, 1);
    one.now = Tick(2 * LEASE);
    assert_eq!(one.tick(), [founded(1)]);
}

#[test]
fn an_answer_lasts_for_a_lease() {
    let (mut one, _) = Actor::newcomer(wants(1, true, &["m2", "m3"]), 1);
    one.hear_stranger(2, no_group(2, false, "m2", true));
    one.now = Tick(LEASE);
    let commands = one.hear_stranger(3, no_group(3, false, "m3", true));
    assert!(
        !commands.contains(&founded(1)),
        "the other may have let somebody else go first since"
    );
}

#[test]
fn a_member_that_leaves_while_it_may_be_admitted_waits_for_that_and_leaves_properly() {
    let (mut three_, _) = Actor::newcomer(wants(3, false, &["m1"]), 3);
    assert_eq!(three_.step(Event::Leave), []);
    assert!(!three_.member.has_left());
    let mut ignored = three_.clone();
    assert_eq!(ignored.wait(), []);
    assert_eq!((ignored.now, ignored.member.has_left()), (Tick(LEASE), true));
    let admitted = roster(3, QuorumMode::Auto, stamp(4, 9));
    three_.hear(
        1,
        Message::Heartbeat {
            term: 4,
            sequence: 7,
            stamp: admitted.stamp,
            roster: Some(Arc::new(admitted)),
        },
    );
    three_.persisted();
    assert!(!three_.member.has_left(), "the others count on it");
    assert_eq!(three_.wait(), [send(1, Message::Leave)]);
    let (mut nobody, _) = Actor::newcomer(wants(3, false, &[]), 3);
    nobody.step(Event::Leave);
    assert!(nobody.member.has_left(), "nobody was asked");
    let (mut restarted, _) = Actor::start(3, durable(3, 0, None, None), wants(3, false, &["m1"]));
    restarted.stopped();
    restarted.step(Event::Leave);
    assert!(!restarted.member.has_left(), "its earlier start may have asked");
}

#[test]
fn a_member_lets_one_founder_go_first_and_no_other_for_two_leases() {
    let (mut one, _) = Actor::newcomer(wants(1, false, &[]), 1);
    let answer = |actor: &mut Actor, from| match &actor.hear_stranger(from, probe(from, true, "m1"))[..] {
        [
            Command::Send {
                message: Message::NoGroup { yields, .. },
                ..
            },
        ] => *yields,
        other => panic!("{other:?}"),
    };
    assert!(answer(&mut one, 2));
    assert!(!answer(&mut one, 3), "though it is preferred");
    assert!(
        answer(&mut one.clone(), 2) || !answer(&mut one, 2),
        "and now the preferred one is waited for"
    );
    one.now = Tick(2 * LEASE);
    assert!(answer(&mut one, 3));
    assert!(!answer(&mut one, 2));
}

#[test]
fn a_member_that_is_founding_lets_nobody_go_first() {
    let (mut one, _) = Actor::newcomer(wants(1, true, &[]), 1);
    one.now = Tick(2 * LEASE);
    assert_eq!(one.tick(), [founded(1)]);
    let answer = Message::NoGroup {
        founder: founder(1, true, true),
        asked: "m1".to_owned(),
        yields: false,
    };
    assert_eq!(one.hear_stranger(3, probe(3, true, "m1")), [ask(to(3), answer)]);
}

#[test]
fn a_member_that_was_started_anew_lets_nobody_go_first_for_two_leases() {
    let (mut one, _) = Actor::start(1, durable(1, 0, None, None), wants(1, false, &[]));
    let answer = |yields| {
        let message = Message::NoGroup {
            founder: founder(1, false, true),
            asked: "m1".to_owned(),
            yields,
        };
        [ask(to(2), message)]
    };
    assert_eq!(one.hear_stranger(2, probe(2, true, "m1")), answer(false));
    one.now = Tick(2 * LEASE);
    assert_eq!(one.hear_stranger(2, probe(2, true, "m1")), answer(true));
}

#[test]
fn where_there_is_a_group_none_is_founded() {
    let refused = Message::Refused {
        refusal: Refusal::Busy,
    };
    let in_group = Message::InGroup {
        leader_address: None,
        peak: 3,
        rank: 1,
    };
    for message in [probe(2, false, "m1"), in_group, refused] {
        let (mut one, _) = Actor::newcomer(wants(1, true, &[]), 1);
        one.now = Tick(2 * LEASE - 1);
        one.hear(2, message);
        while one.now < Tick(4 * LEASE - ROUND - 1) {
            let commands = one.wait();
            assert!(!commands.contains(&founded(1)), "{commands:?}");
        }
    }
}

#[test]
fn a_newcomer_is_in_the_group_when_its_roster_is_durable() {
    let (mut three_, _) = Actor::newcomer(wants(3, false, &["m1"]), 3);
    let admitted = roster(3, QuorumMode::Auto, stamp(4, 9));
    let heartbeat = Message::Heartbeat {
        term: 4,
        sequence: 7,
        stamp: admitted.stamp,
        roster: Some(Arc::new(admitted.clone())),
    };
    let joined = durable(3, 4, None, Some(admitted));
    assert_eq!(three_.hear(1, heartbeat), [persist(2, joined)]);
    let mut failed = three_.clone();
    assert_eq!(failed.persist_failed(), []);
    assert_eq!(failed.member.group(), None);
    assert_eq!(
        three_.persisted(),
        [
            notify(Notice::Joined),
            notify(Notice::Following {
                leader: MemberId(1),
                term: 4
            }),
            send(1, ack(3, 4, 7, stamp(4, 9)))
        ]
    );
}

#[test]
fn a_newborn_group_yields_to_an_older_one_and_an_older_one_says_what_it_is() {
    let newborn = roster(1, QuorumMode::Auto, stamp(1, 1));
    let mut one = Actor::voter_of(1, newborn);
    for _ in 0..2 {
        one.wait();
        one.persisted();
    }
    let older = Message::InGroup {
        leader_address: Some("m8".to_owned()),
        peak: 2,
        rank: 1,
    };
    let other = Some(GroupId(8));
    let commands = one.receive(8, 1, other, older.clone());
    assert_eq!(
        commands,
        [
            notify(Notice::Yielded),
            notify(Notice::SteppedDown {
                term: 2,
                reason: StepDown::Yielded
            }),
            payload(2, Order::Stop),
        ]
    );
    let given_up = one.stopped();
    assert!(matches!(&given_up[..], [Command::Persist { durable, .. }] if durable.group.is_none()));
    let mut two = Actor::voter(2);
    assert_eq!(
        two.receive(8, 1, other, older),
        [],
        "neither yields, and both say so"
    );
    let young = Message::InGroup {
        leader_address: None,
        peak: 1,
        rank: 99,
    };
    let told = two.receive(8, 1, other, young);
    assert!(matches!(
        &told[..],
        [Command::Send {
            message: Message::InGroup { peak: 3, .. },
            ..
        }]
    ));
}
