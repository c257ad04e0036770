//! Who may speak to a member, and for which memory.

use super::super::trying::*;
use super::super::*;

#[test]
fn nothing_is_answered_before_the_incarnation_is_durable() {
    let remembered = durable(2, 1, None, Some(roster(3, QuorumMode::Auto, stamp(1, 3))));
    let (member, _) = Member::start(MemberId(2), remembered, config(2), None, Tick(0));
    let mut two = Actor { member, now: Tick(0) };
    assert_eq!(two.heartbeat(3, 1, 1), []);
    assert_eq!(two.member.deadline(), None, "it waits for the write");
    assert_eq!(two.persist_failed(), []);
    let again = two.wait();
    assert!(matches!(&again[..], [Command::Persist { number: 2, durable }] if durable.incarnation == 2));
    assert_eq!(two.persisted(), [payload(1, Order::Stop)]);
}

#[test]
fn an_earlier_start_of_a_voter_is_told_so_and_not_heard() {
    let mut three_ = Actor::leader(3);
    let until = three_.member.claim(three_.now);
    three_.receive(1, 5, Some(GROUP), Message::Leave);
    three_.persist_failed();
    let sequence = three_.sequence();
    let outdated = Message::Outdated {
        incarnation: 5,
        version: 4,
    };
    let late = ack(1, 2, sequence, stamp(2, 4));
    assert_eq!(three_.receive(1, 4, Some(GROUP), late), [send(1, outdated)]);
    assert_eq!(three_.member.claim(three_.now), until);
}

#[test]
fn a_member_whose_memory_went_back_begins_a_new_one_and_asks_to_be_admitted() {
    let mut two = Actor::voter(2);
    two.heartbeat(3, 1, 1);
    let outdated = Message::Outdated {
        incarnation: 5,
        version: 0,
    };
    let forgotten = Durable {
        memory: MemoryId(0),
        incarnation: 2,
        ..durable(2, 1, None, None)
    };
    assert_eq!(two.hear(3, outdated), [persist(2, forgotten)]);
    // Until that is durable it keeps its promises.
    let asked = Message::PreVote {
        term: 2,
        stamp: stamp(1, 3),
    };
    let refused = Message::PreVoted {
        term: 2,
        granted: false,
        voter_term: 1,
        wait_ms: LEASE,
        roster: None,
    };
    assert_eq!(two.hear(1, asked), [send(1, refused)]);
    assert_eq!(two.persisted(), []);
    assert_eq!((two.member.group(), two.member.memory()), (None, MemoryId(0)));
    assert_eq!(two.member.view(two.now).part, Part::Joining);
}

#[test]
fn a_member_that_has_started_since_is_not_outdated() {
    let mut two = Actor::voter(2);
    let outdated = Message::Outdated {
        incarnation: 2,
        version: 0,
    };
    assert_eq!(two.hear(3, outdated), []);
}

/// What voter 1 says in a start that began with this version of its memory, having written this one.
fn spoken(incarnation: u64, recalled: u64, version: u64) -> Event {
    Event::Received(Received {
        from: MemberId(1),
        memory: MemoryId(1),
        incarnation,
        recalled,
        version,
        group: Some(GROUP),
        message: Message::Stopped { term: 0 },
    })
}

#[test]
fn a_start_that_remembers_less_than_was_heard_is_told_so() {
    let mut three_ = Actor::voter(3);
    let outdated = |incarnation, version| vec![send(1, Message::Outdated { incarnation, version })];
    let cases = [
        (spoken(4, 9, 10), vec![], "its first word"),
        (spoken(4, 9, 14), vec![], "it has voted since"),
        (spoken(4, 9, 12), vec![], "an earlier word was overtaken"),
        (
            spoken(5, 12, 13),
            outdated(4, 14),
            "a copy that was taken later in the same start",
        ),
        (
            spoken(5, 12, 40),
            outdated(4, 14),
            "also when it has written much since",
        ),
        (
            spoken(4, 7, 8),
            outdated(4, 9),
            "a copy that an earlier start made",
        ),
        (spoken(3, 5, 6), outdated(4, 9), "an earlier start"),
        (spoken(5, 0, 0), vec![], "a release that does not count"),
        (spoken(6, 14, 15), vec![], "it remembers all"),
    ];
    for (event, answer, why) in cases {
        assert_eq!(three_.step(event), answer, "{why}");
    }
}

#[test]
fn a_member_believes_that_it_has_forgotten_what_it_does_not_remember() {
    let heard = |incarnation, version| {
        let remembered = Durable {
            version: 12,
            ..durable(2, 1, None, Some(roster(3, QuorumMode::Auto, stamp(1, 3))))
        };
        let (member, _) = Member::start(MemberId(2), remembered, config(2), None, Tick(0));
        let mut two = Actor { member, now: Tick(0) };
        two.persisted();
        two.hear(3, Message::Outdated { incarnation, version })
    };
    assert_eq!(heard(2, 12), [], "what an earlier start of its own is told");
    assert_eq!(heard(1, 12), []);
    let forgotten = Durable {
        memory: MemoryId(0),
        incarnation: 2,
        version: 14,
        ..durable(2, 1, None, None)
    };
    let written = Command::Persist {
        number: 2,
        durable: Box::new(forgotten),
    };
    let once = std::slice::from_ref(&written);
    assert_eq!(heard(1, 13), once, "of the start before");
    assert_eq!(heard(2, 13), once, "of a start with the same number");
    assert_eq!(heard(3, 0), once, "of a later start");
}

#[test]
fn members_of_another_group_are_not_heard_and_their_group_is_told_of() {
    let mut two = Actor::voter(2);
    let other = GroupId(8);
    let heartbeat = Message::Heartbeat {
        term: 9,
        sequence: 1,
        stamp: stamp(9, 9),
        roster: None,
    };
    assert_eq!(two.receive(3, 1, Some(other), heartbeat), []);
    let problem = |actor: &Actor| actor.member.view(actor.now).problem;
    assert_eq!(problem(&two), Some(Problem::OtherGroup { group: other }));
    two.now = two.now + 4 * LEASE;
    assert_eq!(problem(&two), None, "it has not been met for long");
}

#[test]
fn a_voter_that_was_dropped_gives_up_its_group_when_its_payload_is_gone() {
    let mut two = Actor::voter(2);
    let dropped = Message::NotAVoter {
        stamp: stamp(2, 4),
        leader_address: Some("m3".to_owned()),
    };
    let alone = Durable {
        incarnation: 2,
        ..durable(2, 1, None, None)
    };
    assert_eq!(two.hear(1, dropped), [notify(Notice::Dropped), persist(2, alone)]);
    let founder = Founder {
        profile: profile(2),
        memory: MemoryId(2),
        ready: false,
        alone: true,
    };
    let asked = "m3".to_owned();
    let to = Destination::Address(asked.clone());
    assert_eq!(two.persisted(), [ask(to, Message::Probe { founder, asked })]);
}

#[test]
fn a_term_that_no_election_reached_is_not_believed() {
    let mut two = Actor::voter(2);
    let held = two.member.clone();
    let ask = |term| Message::PreVote {
        term,
        stamp: stamp(1, 3),
    };
    assert_eq!(two.hear(1, ask(1 + (1 << 40) + 1)), []);
    assert_eq!(two.heartbeat(1, u64::MAX, 1), []);
    assert_eq!(two.member, held);
    assert_ne!(two.hear(1, ask(1 + (1 << 40))), [], "that far it may be");
}

/// A heartbeat of member 2, which leads the pair that it and member 1 were.
fn heartbeat_of_the_pair(term: Term) -> Message {
    let pair = roster(2, QuorumMode::None, stamp(1, 2));
    Message::Heartbeat {
        term,
        sequence: 1,
        stamp: pair.stamp,
        roster: Some(Arc::new(pair)),
    }
}

#[test]
fn who_was_taken_out_of_a_pair_and_leads_alone_is_told_so() {
    let lone = roster(2, QuorumMode::None, stamp(1, 2)).without(MemberId(2), 3);
    let mut one = Actor::voter_of(1, lone);
    one.tick();
    one.persisted();
    assert_eq!(
        (one.member.view(one.now).part, one.member.term()),
        (Part::Leader, 2)
    );
    let commands = one.hear(2, heartbeat_of_the_pair(4));
    assert!(
        matches!(&commands[..], [Command::Persist { durable, .. }] if durable.term == 5),
        "first its own roster is to be the newer one: {commands:?}"
    );
    one.persisted();
    one.now = one.now + HEARTBEAT;
    one.tick();
    one.persisted();
    let own = one.member.roster().map(|roster| roster.stamp);
    assert_eq!(own, Some(stamp(5, 4)));
    assert_eq!(one.hear(2, heartbeat_of_the_pair(4)), [out(2, 1, stamp(5, 4))]);
}

/// What `leader` says to one that is no voter, and whose address it does not know any more.
fn out(to: u128, leader: u128, stamp: Stamp) -> Command {
    Command::Send {
        to: Destination::Member(MemberId(to), None),
        group: Some(GROUP),
        message: told(leader, stamp),
    }
}

fn told(leader: u128, stamp: Stamp) -> Message {
    Message::NotAVoter {
        stamp,
        leader_address: Some(format!("m{leader}")),
    }
}

/// Member `id` of an unguarded pair, which leads alone.
fn alone(id: u128) -> Actor {
    let mut actor = Actor::voter_of(id, roster(2, QuorumMode::None, stamp(1, 2)));
    while actor.member.view(actor.now).part != Part::Leader {
        actor.wait();
        actor.persisted();
    }
    actor
}

#[test]
fn who_was_taken_out_of_a_pair_and_leads_alone_gives_way() {
    let mut two = alone(2);
    assert_eq!(two.hear(1, told(1, stamp(1, 1))), [], "its own roster is newer");
    let term = two.member.term();
    let gives_way = [
        notify(Notice::Dropped),
        notify(Notice::SteppedDown {
            term,
            reason: StepDown::Superseded,
        }),
        payload(3, Order::Stop),
    ];
    assert_eq!(two.hear(1, told(1, stamp(9, 9))), gives_way);
    assert_eq!(two.hear(1, told(1, stamp(9, 9))), [], "once");
    let written = two.stopped();
    assert!(
        matches!(&written[..], [Command::Persist { durable, .. }] if durable.group.is_none()),
        "{written:?}"
    );
}

#[test]
fn a_leader_by_majority_is_not_dropped_by_a_word() {
    let mut three_ = Actor::leader(3);
    assert_eq!(three_.hear(1, told(1, stamp(9, 9))), []);
    assert_eq!(three_.member.view(three_.now).part, Part::Leader);
}

#[test]
fn of_two_that_took_each_other_out_the_newer_roster_stays() {
    let taken_out = |id: u128, other: u128, stamp: Stamp| {
        let lone = roster(2, QuorumMode::None, stamp).without(MemberId(other), stamp.term);
        let mut actor = Actor::voter_of(id, lone);
        actor.tick();
        actor.persisted();
        actor
    };
    let mut one = taken_out(1, 2, stamp(5, 6));
    let mut two = taken_out(2, 1, stamp(4, 9));
    let probe = Message::Probe {
        founder: Founder {
            profile: profile(2),
            memory: MemoryId(2),
            ready: false,
            alone: false,
        },
        asked: "m1".to_owned(),
    };
    assert_eq!(one.hear(2, probe), [out(2, 1, stamp(5, 7))]);
    assert_eq!(two.hear(1, told(1, stamp(5, 7)))[0], notify(Notice::Dropped));
    assert_eq!(one.hear(2, told(2, stamp(4, 10))), [out(2, 1, stamp(5, 7))]);
}
