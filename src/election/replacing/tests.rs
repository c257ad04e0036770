use super::super::trying::*;
use super::super::*;

/// The former replica's claim.
const FORMER: Claim = Claim {
    term: 2,
    until: Tick(900),
};

/// The memory of member 1, which led in term 2 and has heard of none after it.
fn led() -> Durable {
    durable(1, 2, Some(1), Some(roster(3, QuorumMode::Auto, stamp(2, 4))))
}

fn successor(remembered: Durable) -> (Actor, Vec<Command>) {
    Actor::start_after(1, remembered, config(1), Some(FORMER))
}

fn pre_vote(term: Term) -> Message {
    Message::PreVote {
        term,
        stamp: stamp(2, 4),
    }
}

/// What the others promised the leader that this member was.
fn promised_to_it() -> Promised {
    Promised {
        leader: Some(MemberId(1)),
        term: 2,
        ended_ago_ms: -1_000,
    }
}

#[test]
fn the_replica_of_a_leader_is_elected_again_at_once_and_what_runs_runs_on() {
    let (mut one, commands) = successor(led());
    assert_eq!(commands, [], "the payload is spared");
    assert_eq!(one.wait(), [send(2, pre_vote(3)), send(3, pre_vote(3))]);
    assert_eq!(one.now, Tick(0));
    let vote = Durable {
        incarnation: 2,
        term: 3,
        ..led()
    };
    assert_eq!(one.hear(2, pre_voted(3, true)), [persist(2, vote)]);
    let asked = Message::Vote {
        term: 3,
        stamp: stamp(2, 4),
        handover: None,
    };
    assert_eq!(one.persisted(), [send(2, asked.clone()), send(3, asked)]);
    let elected = one.hear(2, voted(3, Some(promised_to_it())));
    assert!(
        elected.contains(&notify(Notice::Elected { term: 3, from: None })),
        "{elected:?}"
    );
    let run = Order::Run { term: 3 };
    assert_eq!(one.ack(2, 1, Some(stamp(2, 4))), [payload(1, run)]);
}

#[test]
fn a_voter_votes_for_a_new_replica_of_the_leader_that_it_promised_itself_to() {
    let mut two = Actor::voter(2);
    two.heartbeat(3, 1, 1);
    let ask = Message::PreVote {
        term: 2,
        stamp: stamp(1, 3),
    };
    let granted = |term| send(3, pre_voted(term, true));
    assert_eq!(two.receive(3, 2, Some(GROUP), ask.clone()), [granted(2)]);
    let refused = two.receive(1, 2, Some(GROUP), ask);
    assert!(matches!(
        &refused[..],
        [Command::Send { message: Message::PreVoted { granted: false, wait_ms, .. }, .. }] if *wait_ms == LEASE
    ));
}

#[test]
fn what_the_former_replica_ran_stops_when_its_claim_is_over_and_nobody_voted() {
    let (mut one, _) = successor(led());
    one.wait();
    let commands = loop {
        let commands = one.wait();
        if commands
            .iter()
            .any(|command| matches!(command, Command::Payload { .. }))
        {
            break commands;
        }
        assert!(one.now < FORMER.until);
    };
    assert!(commands.contains(&payload(1, Order::Stop)), "{commands:?}");
    assert_eq!(one.now, FORMER.until);
    let stopped = Message::Stopped { term: 2 };
    assert_eq!(one.stopped(), [send(2, stopped.clone()), send(3, stopped)]);
}

#[test]
fn it_refuses_others_for_a_lease_since_the_former_replica_may_hold_its_claim_so_long() {
    let (mut one, _) = successor(led());
    one.now = Tick(LEASE - 1);
    let ask = Message::PreVote {
        term: 3,
        stamp: stamp(2, 4),
    };
    let answer = |granted, wait_ms| {
        let message = Message::PreVoted {
            term: 3,
            granted,
            voter_term: 2,
            wait_ms,
            roster: None,
        };
        send(2, message)
    };
    assert!(one.hear(2, ask.clone()).contains(&answer(false, 1)));
    one.now = Tick(LEASE);
    assert!(one.hear(2, ask).contains(&answer(true, 0)));
}

#[test]
fn it_stops_at_once_where_the_former_replica_did_not_lead_to_the_end_or_its_claim_is_over() {
    let stop = [payload(1, Order::Stop)];
    // The former one voted for a successor, or followed one, after it was last seen to lead.
    let mut moved = led();
    (moved.term, moved.vote) = (3, Some(MemberId(2)));
    assert_eq!(successor(moved).1, stop);
    let over = Claim {
        until: Tick(0),
        ..FORMER
    };
    assert_eq!(Actor::start_after(1, led(), config(1), Some(over)).1, stop);
    assert_eq!(Actor::start_after(1, led(), config(1), None).1, stop);
}

#[test]
fn it_stops_at_once_when_it_hears_another_leader() {
    let (mut one, _) = successor(led());
    let commands = one.heartbeat(2, 3, 1);
    assert!(commands.contains(&payload(1, Order::Stop)), "{commands:?}");
}

#[test]
fn a_paused_leader_is_replaced_as_well() {
    let paused = Config {
        paused: true,
        ..config(1)
    };
    let (mut one, commands) = Actor::start_after(1, led(), paused, Some(FORMER));
    assert_eq!(commands, []);
    assert_eq!(one.wait(), [send(2, pre_vote(3)), send(3, pre_vote(3))]);
}
