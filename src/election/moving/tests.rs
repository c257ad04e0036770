//! Planned moves, move by move.

use super::super::trying::*;
use super::super::*;

/// Member 2 of three leads in term 2, and member 3, which is preferred, is heard for the first time.
fn preempted() -> (Actor, Vec<Command>) {
    let mut two = Actor::leader(2);
    let own = two.member.roster().map(|roster| roster.stamp);
    let sequence = two.sequence();
    let commands = two.ack(3, sequence, own);
    (two, commands)
}

fn started(to: u128, reason: MoveReason) -> Command {
    let to = MemberId(to);
    notify(Notice::MoveStarted { to, reason })
}

fn stepped_down() -> Command {
    notify(Notice::SteppedDown {
        term: 2,
        reason: StepDown::HandedOver,
    })
}

#[test]
fn the_payload_stops_first_and_then_the_successor_is_named() {
    let (mut two, commands) = preempted();
    assert_eq!(
        commands,
        [started(3, MoveReason::Preemption), payload(3, Order::Stop)]
    );
    assert_eq!(
        two.stopped(),
        [
            send(1, Message::Stopped { term: 2 }),
            send(3, Message::Handover { term: 2 }),
            stepped_down(),
        ]
    );
    assert_eq!(two.member.claim(two.now), None);
}

#[test]
fn a_handover_cannot_be_taken_back() {
    let (mut two, _) = preempted();
    let sequence = two.sequence();
    two.stopped();
    assert_eq!(two.ack(1, sequence, Some(stamp(2, 4))), []);
    assert_eq!(two.member.claim(two.now), None);
    let handed_over = two.now;
    assert_eq!(two.wait().len(), 2, "it stands again only if nobody else leads");
    assert!(two.now.since(handed_over) >= LEASE);
}

#[test]
fn the_claim_is_renewed_while_the_payload_stops() {
    let (mut two, _) = preempted();
    two.now = two.now + 2 * HEARTBEAT;
    two.tick();
    let sent = two.now;
    let sequence = two.sequence();
    assert_eq!(two.ack(1, sequence, Some(stamp(2, 4))), []);
    let until = sent + CLAIM;
    assert_eq!(two.member.claim(two.now), Some(Claim { term: 2, until }));
}

#[test]
fn a_payload_that_does_not_stop_in_time_runs_again_and_the_move_waits_a_minute() {
    let (mut two, _) = preempted();
    let began = two.now;
    let mut aborted = Vec::new();
    while two.now.since(began) < 31_000 && aborted.is_empty() {
        let commands = two.wait();
        for from in [1, 3] {
            two.ack(from, two.sequence(), Some(stamp(2, 4)));
        }
        if commands.contains(&payload(4, Order::Run { term: 2 })) {
            aborted = commands;
        }
    }
    let reason = MoveAbort::PayloadStuck;
    let to = MemberId(3);
    assert!(aborted.contains(&notify(Notice::MoveAborted { to, reason })));
    assert!((30_000..30_000 + HEARTBEAT).contains(&two.now.since(began)));
    let stuck = two.now;
    let mut again = Vec::new();
    while two.now.since(stuck) < 61_000 && !again.contains(&payload(5, Order::Stop)) {
        again = two.wait();
        let sequence = two.sequence();
        again.extend(two.ack(1, sequence, Some(stamp(2, 4))));
        again.extend(two.ack(3, sequence, Some(stamp(2, 4))));
    }
    assert!(again.contains(&started(3, MoveReason::Preemption)), "{again:?}");
    assert!((60_000..60_000 + 2 * HEARTBEAT).contains(&two.now.since(stuck)));
}

#[test]
fn a_successor_that_falls_silent_while_the_payload_stops_gets_nothing() {
    let (mut two, _) = preempted();
    let silent_since = two.now;
    while two.now.since(silent_since) <= ROUND {
        two.wait();
        two.ack(1, two.sequence(), Some(stamp(2, 4)));
    }
    let to = MemberId(3);
    let reason = MoveAbort::SuccessorLost;
    assert_eq!(
        two.stopped(),
        [
            notify(Notice::MoveAborted { to, reason }),
            payload(4, Order::Run { term: 2 })
        ]
    );
}

#[test]
fn a_stop_that_was_countermanded_hands_nothing_over() {
    let (mut two, _) = preempted();
    let silent_since = two.now;
    let late = two.member.orders;
    while two.now.since(silent_since) <= ROUND {
        two.wait();
        two.ack(1, two.sequence(), Some(stamp(2, 4)));
    }
    two.stopped();
    assert_eq!(
        two.step(Event::PayloadStopped(late)),
        [],
        "the payload runs again since"
    );
}

#[test]
fn a_leader_that_is_to_leave_hands_over_and_then_asks_to_be_taken_out() {
    let mut three_ = Actor::leader(3);
    assert_eq!(
        three_.step(Event::Leave),
        [started(1, MoveReason::Leaving), payload(3, Order::Stop)]
    );
    assert_eq!(
        three_.stopped(),
        [
            send(1, Message::Handover { term: 2 }),
            send(2, Message::Stopped { term: 2 }),
            stepped_down(),
        ]
    );
    assert_eq!(three_.wait(), [send(1, Message::Leave), send(2, Message::Leave)]);
    three_.hear(1, Message::Left);
    assert!(three_.member.has_left());
}

#[test]
fn a_leader_whose_process_ends_may_exit_when_a_successor_leads_or_a_lease_is_over() {
    let mut three_ = Actor::leader(3);
    assert!(!three_.member.may_exit(three_.now));
    assert_eq!(
        three_.step(Event::Resign),
        [started(1, MoveReason::Exiting), payload(3, Order::Stop)]
    );
    assert!(!three_.member.may_exit(three_.now));
    three_.stopped();
    assert!(!three_.member.may_exit(three_.now));
    let mut unheard = three_.clone();
    unheard.now = unheard.now + LEASE;
    assert!(unheard.member.may_exit(unheard.now));
    three_.heartbeat(1, 3, 1);
    assert!(three_.member.may_exit(three_.now));
}

#[test]
fn the_last_voter_leaves_when_its_payload_is_gone_and_keeps_it_when_only_its_process_ends() {
    let alone = roster(1, QuorumMode::Auto, stamp(1, 1));
    let mut one = Actor::voter_of(1, alone);
    for _ in 0..2 {
        one.wait();
        one.persisted();
    }
    let mut exiting = one.clone();
    assert_eq!(exiting.step(Event::Resign), []);
    assert!(exiting.member.may_exit(exiting.now));
    let mut commands = one.step(Event::Leave);
    while !commands.contains(&payload(2, Order::Stop)) {
        commands = one.wait();
    }
    assert!(!one.member.has_left());
    one.stopped();
    assert!(one.member.has_left());
}
