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
    let outdated = Message::Outdated { incarnation: 5 };
    let late = ack(1, 2, sequence, stamp(2, 4));
    assert_eq!(three_.receive(1, 4, Some(GROUP), late), [send(1, outdated)]);
    assert_eq!(three_.member.claim(three_.now), until);
}

#[test]
fn a_member_whose_memory_went_back_begins_a_new_one_and_asks_to_be_admitted() {
    let mut two = Actor::voter(2);
    two.heartbeat(3, 1, 1);
    let outdated = Message::Outdated { incarnation: 5 };
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
    assert_eq!(two.hear(3, Message::Outdated { incarnation: 2 }), []);
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
