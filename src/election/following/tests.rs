//! A follower, move by move.

use super::super::trying::*;
use super::super::*;

fn three() -> Roster {
    roster(3, QuorumMode::Auto, stamp(1, 3))
}

fn written(id: u128, term: Term, roster: Roster) -> Durable {
    let incarnation = 2;
    Durable {
        incarnation,
        ..durable(id, term, None, Some(roster))
    }
}

fn heartbeat(term: Term, sequence: u64, roster: &Roster) -> Message {
    Message::Heartbeat {
        term,
        sequence,
        stamp: roster.stamp,
        roster: Some(Arc::new(roster.clone())),
    }
}

fn handed_over(term: Term) -> Message {
    Message::Handover {
        term,
        vote: None,
        chosen: false,
    }
}

#[test]
fn a_lone_voter_starts_leads_at_once_and_leaves_its_payload_in_peace() {
    let alone = roster(1, QuorumMode::Auto, stamp(1, 1));
    let (mut one, commands) = Actor::start(1, durable(1, 4, Some(1), Some(alone.clone())), config(1));
    assert_eq!(commands, [], "nobody else can have started it: it is not stopped");
    let vote = Durable {
        incarnation: 2,
        ..durable(1, 5, Some(1), Some(alone.clone()))
    };
    assert_eq!(one.wait(), [persist(2, vote.clone())]);
    let restamped = Roster {
        stamp: stamp(5, 2),
        ..alone
    };
    let group = Some(Membership {
        id: GROUP,
        roster: Arc::new(restamped),
    });
    assert_eq!(
        one.persisted(),
        [
            notify(Notice::Elected { term: 5, from: None }),
            payload(1, Order::Run { term: 5 }),
        ]
    );
    one.now = one.now + HEARTBEAT;
    assert_eq!(
        one.tick(),
        [persist(3, Durable { group, ..vote })],
        "and then its roster"
    );
}

#[test]
fn a_heartbeat_of_a_new_term_is_acknowledged_when_the_term_is_durable() {
    let mut two = Actor::voter(2);
    let following = Notice::Following {
        leader: MemberId(3),
        term: 2,
    };
    assert_eq!(
        two.heartbeat(3, 2, 5),
        [notify(following), persist(2, written(2, 2, three()))]
    );
    assert_eq!(two.persisted(), [send(3, ack(2, 2, 5, stamp(1, 3)))]);
}

#[test]
fn a_roster_is_acknowledged_when_it_is_durable_and_the_heartbeat_before_that() {
    let mut two = Actor::voter(2);
    two.heartbeat(3, 1, 1);
    let newer = Roster {
        stamp: stamp(1, 4),
        ..three()
    };
    assert_eq!(
        two.hear(3, heartbeat(1, 2, &newer)),
        [
            persist(2, written(2, 1, newer)),
            send(3, ack(2, 1, 2, stamp(1, 3))),
        ]
    );
    assert_eq!(two.persisted(), [send(3, ack(2, 1, 2, stamp(1, 4)))]);
}

#[test]
fn a_follower_that_cannot_write_goes_on_acknowledging_what_it_holds_and_does_not_stand() {
    let mut two = Actor::voter(2);
    two.heartbeat(3, 1, 1);
    let newer = Roster {
        stamp: stamp(1, 4),
        ..three()
    };
    two.hear(3, heartbeat(1, 2, &newer));
    assert_eq!(two.persist_failed(), []);
    let not_eligible = |sequence| {
        let obstacle = Some(Obstacle::CannotPersist);
        hindered_ack(2, (1, sequence), stamp(1, 3), obstacle)
    };
    assert_eq!(two.heartbeat(3, 1, 3), [send(3, not_eligible(3))]);
    assert_eq!(
        two.wait(),
        [persist(3, written(2, 1, three()))],
        "it tries whether it can write"
    );
    assert_eq!(two.persist_failed(), []);
    two.now = two.now + LEASE;
    assert_eq!(
        two.tick(),
        [persist(4, written(2, 1, three()))],
        "and no more, though nobody leads"
    );
}

#[test]
fn a_leader_of_an_older_term_is_told_of_the_newer_one() {
    let mut two = Actor::voter(2);
    two.heartbeat(3, 2, 1);
    two.persisted();
    assert_eq!(two.heartbeat(1, 1, 9), [send(1, ack(2, 2, 0, stamp(1, 3)))]);
}

#[test]
fn the_successor_of_a_handover_stands_at_once_and_without_asking_first() {
    let mut two = Actor::voter(2);
    two.heartbeat(3, 1, 1);
    let vote = Durable {
        vote: Some(MemberId(2)),
        ..written(2, 2, three())
    };
    assert_eq!(two.hear(3, handed_over(1)), [persist(2, vote)]);
    let handover = Handover {
        from: MemberId(3),
        term: 1,
    };
    let asked = Message::Vote {
        term: 2,
        stamp: stamp(1, 3),
        handover: Some(handover),
    };
    assert_eq!(two.persisted(), [send(1, asked.clone()), send(3, asked)]);
    two.hear(1, voted(2, None));
    assert_eq!(
        two.ack(1, 1, None),
        [payload(2, Order::Run { term: 2 })],
        "nothing is waited for: the payload is gone"
    );
}

#[test]
fn a_successor_that_has_a_majority_with_the_vote_of_the_one_that_stopped_asks_nobody() {
    let mut two = Actor::voter(2);
    two.heartbeat(3, 1, 1);
    let vote = Durable {
        vote: Some(MemberId(2)),
        ..written(2, 5, three())
    };
    let given = Message::Handover {
        term: 1,
        vote: Some(5),
        chosen: false,
    };
    assert_eq!(two.hear(3, given), [persist(2, vote)], "in the term of that vote");
    let commands = two.persisted();
    let elected = Notice::Elected {
        term: 5,
        from: Some(MemberId(3)),
    };
    assert!(commands.contains(&notify(elected)), "{commands:?}");
    assert_eq!(two.member.claim(two.now), None, "a vote is no claim");
}

#[test]
fn a_handover_frees_its_voters_from_their_promise_to_the_one_that_handed_over_only() {
    let mut one = Actor::voter(1);
    one.heartbeat(3, 1, 1);
    let asked = |term| Message::Vote {
        term: 2,
        stamp: stamp(1, 3),
        handover: Some(Handover {
            from: MemberId(3),
            term,
        }),
    };
    assert!(matches!(&one.hear(2, asked(0))[..], [Command::Send { .. }]));
    assert!(matches!(&one.hear(2, asked(1))[..], [Command::Persist { .. }]));
}

#[test]
fn a_handover_of_a_leader_that_is_not_followed_is_nothing() {
    let mut two = Actor::voter(2);
    two.heartbeat(3, 1, 1);
    assert_eq!(two.hear(1, handed_over(1)), []);
    assert_eq!(two.hear(3, handed_over(0)), []);
}

#[test]
fn a_leader_that_stopped_is_not_waited_for_and_its_late_heartbeat_is_nothing() {
    let mut two = Actor::voter(2);
    two.heartbeat(3, 1, 1);
    assert_eq!(two.hear(3, Message::Stopped { term: 1 }), []);
    assert_eq!(two.heartbeat(3, 1, 2), [], "sent before it stopped");
    let began = two.now;
    assert_eq!(two.wait().len(), 2);
    let waited = two.now.since(began);
    assert!(
        (ROUND..ROUND + 2 * HEARTBEAT).contains(&waited),
        "no lease, {waited} ms"
    );
}

#[test]
fn a_follower_whose_timers_ran_late_doubts_itself_first() {
    let mut three_ = Actor::voter(3);
    three_.now = Tick(LEASE + 1 + HEARTBEAT + 1);
    assert_eq!(three_.tick(), []);
    assert_eq!(three_.member.deadline(), Some(three_.now + ROUND + 1));
    assert_eq!(three_.wait().len(), 2);
}

#[test]
fn a_voter_that_is_to_leave_asks_the_leader_and_everybody_when_it_knows_none() {
    let mut two = Actor::voter(2);
    two.heartbeat(3, 1, 1);
    assert_eq!(two.step(Event::Leave), [send(3, Message::Leave)]);
    assert_eq!(two.now + ROUND, two.member.deadline().unwrap_or_default());
    two.now = two.now + LEASE;
    assert_eq!(two.tick(), [send(1, Message::Leave), send(3, Message::Leave)]);
    assert_eq!(two.hear(1, Message::Left), []);
    assert!(two.member.has_left());
}

#[test]
fn a_leaver_asks_the_leader_that_it_is_told_of() {
    let mut two = Actor::voter(2);
    two.step(Event::Leave);
    let told = Message::InGroup {
        leader_address: Some("m9".to_owned()),
        peak: 3,
        rank: 10,
    };
    let asked = Command::Send {
        to: Destination::Address("m9".to_owned()),
        group: Some(GROUP),
        message: Message::Leave,
    };
    assert_eq!(two.hear(1, told), [asked]);
}

#[test]
fn a_follower_whose_process_ends_may_end_at_once() {
    let mut two = Actor::voter(2);
    two.heartbeat(3, 1, 1);
    assert_eq!(two.step(Event::Resign), []);
    assert!(two.member.may_exit(two.now));
    two.now = two.now + 10 * LEASE;
    assert_eq!(two.tick(), [], "and stands no more");
}

#[test]
fn the_refusal_of_an_earlier_term_acknowledges_no_heartbeat_of_a_later_one() {
    let mut one = Actor::voter(1);
    one.heartbeat(3, 2, 1);
    one.persisted();
    // The same leader was elected once more, and what it said in its former term comes late.
    one.heartbeat(3, 3, 1);
    one.persisted();
    let late = one.heartbeat(3, 2, 7);
    assert_eq!(late, [send(3, ack(1, 3, 0, stamp(1, 3)))]);
}
