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

/// The successor, member 3, falls silent.
fn hear_only_one_for_a_round(two: &mut Actor) {
    let silent_since = two.now;
    while two.now.since(silent_since) <= ROUND {
        two.wait();
        two.ack(1, two.sequence(), Some(stamp(2, 4)));
    }
}

fn started(to: u128, reason: MoveReason) -> Command {
    let to = MemberId(to);
    notify(Notice::MoveStarted { to, reason })
}

/// What member 2 remembers once it has voted for member 3 in this term.
fn vote_for_three(term: Term) -> Durable {
    Durable {
        incarnation: 2,
        ..durable(2, term, Some(3), Some(roster(3, QuorumMode::Auto, stamp(2, 4))))
    }
}

fn vote_of_three_for_one() -> Durable {
    Durable {
        incarnation: 2,
        ..durable(3, 3, Some(1), Some(roster(3, QuorumMode::Auto, stamp(2, 4))))
    }
}

fn handover(vote: Option<Term>) -> Message {
    Message::Handover {
        term: 2,
        vote,
        chosen: false,
    }
}

fn asked_by_three() -> Message {
    Message::Vote {
        term: 3,
        stamp: stamp(2, 4),
        handover: Some(Handover {
            from: MemberId(2),
            term: 2,
        }),
    }
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
        [
            started(3, MoveReason::Preemption),
            persist(4, vote_for_three(3)),
            payload(3, Order::Stop)
        ]
    );
    let mut hasty = two.clone();
    assert_eq!(two.persisted(), []);
    assert_eq!(
        two.stopped(),
        [
            send(1, Message::Stopped { term: 2 }),
            send(3, handover(Some(3))),
            stepped_down(),
        ]
    );
    assert_eq!(two.member.claim(two.now), None);

    // A payload that is gone sooner than the vote is durable is handed over without it; it is given when it is durable.
    assert!(hasty.stopped().contains(&send(3, handover(None))));
    let given = Message::Voted {
        term: 3,
        granted: true,
        voter_term: 3,
        promised: None,
        receipt: 2,
    };
    let mut late = hasty.clone();
    assert_eq!(late.persisted(), []);
    assert_eq!(late.hear(3, asked_by_three()), [send(3, given.clone())]);
    assert_eq!(hasty.hear(3, asked_by_three()), []);
    assert_eq!(hasty.persisted(), [send(3, given)]);
}

#[test]
fn a_vote_for_the_successor_is_nobodys_while_the_payload_stops() {
    let (mut two, _) = preempted();
    two.persisted();
    assert_eq!(two.member.term(), 2, "it leads in this term still");
    let refused = Message::Voted {
        term: 3,
        granted: false,
        voter_term: 2,
        promised: None,
        receipt: 0,
    };
    assert_eq!(two.hear(3, asked_by_three()), [send(3, refused.clone())]);
    assert_eq!(two.hear(1, asked_by_three()), [send(1, refused)]);
    let pre_vote = Message::PreVote {
        term: 3,
        stamp: stamp(2, 4),
    };
    let told = |command: &Command| {
        matches!(
            command,
            Command::Send {
                message: Message::PreVoted {
                    granted: false,
                    voter_term: 2,
                    ..
                },
                ..
            }
        )
    };
    assert!(two.hear(1, pre_vote).iter().all(told));
    two.now = two.now + HEARTBEAT;
    let beats = two.tick();
    let leads_on = |command: &&Command| {
        matches!(
            command,
            Command::Send {
                message: Message::Heartbeat { term: 2, .. },
                ..
            }
        )
    };
    assert_eq!(beats.iter().filter(leads_on).count(), 2, "{beats:?}");
}

#[test]
fn a_handover_cannot_be_taken_back() {
    let (mut two, _) = preempted();
    two.persisted();
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
    two.persisted();
    two.now = two.now + 2 * HEARTBEAT;
    two.tick();
    let sent = two.now;
    let sequence = two.sequence();
    assert_eq!(two.ack(1, sequence, Some(stamp(2, 4))), []);
    let until = sent + CLAIM;
    assert_eq!(two.member.claim(two.now), Some(Claim { term: 2, until }));
}

#[test]
fn a_change_of_the_roster_waits_until_the_successor_leads() {
    let (mut two, _) = preempted();
    two.persisted();
    let mut config = config(2);
    config.profile.rank = 25;
    assert_eq!(two.step(Event::Configured(config)), []);
    let vote = two.stopped().into_iter().find_map(|command| match command {
        Command::Send {
            message: Message::Handover { vote, .. },
            ..
        } => vote,
        _ => None,
    });
    assert_eq!(vote, Some(3));
}

#[test]
fn a_payload_that_does_not_stop_in_time_runs_again_and_the_move_waits_a_minute() {
    let (mut two, _) = preempted();
    two.persisted();
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

    // The second time it waits for twice as long.
    two.persisted();
    let mut orders = Vec::new();
    while two.now.since(stuck) < 60_000 + 30_000 + 120_000 + 2 * HEARTBEAT {
        let mut commands = two.wait();
        for from in [1, 3] {
            commands.extend(two.ack(from, two.sequence(), Some(stamp(2, 4))));
        }
        let order = |command: &Command| matches!(command, Command::Payload { .. });
        orders.extend(commands.into_iter().filter(order).map(|_| two.now.since(stuck)));
    }
    assert_eq!(orders.len(), 2, "given up, and tried again: {orders:?}");
    let pause = orders[1] - orders[0];
    assert!((120_000..120_000 + 2 * HEARTBEAT).contains(&pause), "{orders:?}");
}

#[test]
fn a_successor_that_falls_silent_while_the_payload_stops_gets_nothing() {
    let (mut two, _) = preempted();
    two.persisted();
    hear_only_one_for_a_round(&mut two);
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
fn a_leader_that_raises_its_term_goes_above_all_that_it_voted_in() {
    let (mut two, _) = preempted();
    two.persisted();
    hear_only_one_for_a_round(&mut two);
    two.stopped();
    two.step(Event::Resign);
    two.persisted();
    assert_eq!(
        (two.member.durable.term, two.member.durable.vote),
        (4, Some(MemberId(1)))
    );
    let refusal = Message::Ack {
        term: 3,
        sequence: two.sequence(),
        stamp: stamp(2, 4),
        lease_ms: LEASE,
        obstacle: None,
        profile: profile(1),
        receipt: 0,
    };
    let terms: Vec<Term> = two
        .hear(1, refusal)
        .iter()
        .filter_map(|command| match command {
            Command::Persist { durable, .. } => Some(durable.term),
            _ => None,
        })
        .collect();
    assert_eq!(terms, [5]);
}

#[test]
fn a_stop_that_was_countermanded_hands_nothing_over() {
    let (mut two, _) = preempted();
    two.persisted();
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
        [
            started(1, MoveReason::Leaving),
            persist(4, vote_of_three_for_one()),
            payload(3, Order::Stop)
        ]
    );
    three_.persisted();
    assert_eq!(
        three_.stopped(),
        [
            send(1, handover(Some(3))),
            send(2, Message::Stopped { term: 2 }),
            stepped_down(),
        ]
    );
    assert_eq!(three_.wait(), [send(1, Message::Leave), send(2, Message::Leave)]);
    three_.hear(1, Message::Left);
    assert!(three_.member.has_left());
}

#[test]
fn a_leader_that_is_to_leave_answers_for_no_payload_that_it_waits_for_itself() {
    let mut three_ = Actor::voter(3);
    three_.stand();
    three_.step(Event::Leave);
    // Member 2 led in term 1, and its payload may be stopping yet.
    let promised = Promised {
        leader: Some(MemberId(2)),
        term: 1,
        ended_ago_ms: 100,
    };
    let mut told = three_.hear(1, voted(2, Some(promised)));
    let own = three_.member.roster().map(|roster| roster.stamp);
    told.extend(three_.ack(1, 1, own));
    for _ in 0..4 {
        told.extend(three_.wait());
    }
    let answers_for_all = |command: &&Command| {
        let Command::Send { message, .. } = command else {
            return false;
        };
        matches!(message, Message::Handover { .. } | Message::Stopped { .. })
    };
    assert_eq!(told.iter().find(answers_for_all), None);
    assert!(
        told.contains(&stepped_down()),
        "the others elect one of them: {told:?}"
    );
}

#[test]
fn a_leader_whose_process_ends_may_exit_when_a_successor_leads_or_a_lease_is_over() {
    let mut three_ = Actor::leader(3);
    assert!(!three_.member.may_exit(three_.now));
    assert_eq!(
        three_.step(Event::Resign),
        [
            started(1, MoveReason::Exiting),
            persist(4, vote_of_three_for_one()),
            payload(3, Order::Stop)
        ]
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

#[test]
fn the_last_candidate_to_leave_lets_the_witness_go_first() {
    let pair = roster(2, QuorumMode::Majority, stamp(1, 2));
    let duty = Duty::Witness;
    let mut voters = pair.voters.clone();
    voters[1].profile.duty = duty;
    let mut one = Actor::leader_of(1, Roster { voters, ..pair });
    let acknowledge = |one: &mut Actor| {
        let own = one.member.roster().map_or(stamp(0, 0), |roster| roster.stamp);
        let message = match ack(2, 2, one.sequence(), own) {
            Message::Ack {
                term,
                sequence,
                stamp,
                lease_ms,
                receipt,
                ..
            } => Message::Ack {
                term,
                sequence,
                stamp,
                lease_ms,
                receipt,
                obstacle: Some(Obstacle::Witness),
                profile: Profile { duty, ..profile(2) },
            },
            other => other,
        };
        one.hear(2, message)
    };
    // The roster follows what the witness says of itself.
    for _ in 0..3 {
        acknowledge(&mut one);
        one.persisted();
    }
    acknowledge(&mut one);
    let commands = one.step(Event::Leave);
    let voters = commands.iter().find_map(|command| match command {
        Command::Persist { durable, .. } => durable.group.as_ref().map(|group| group.roster.voters.len()),
        _ => None,
    });
    assert_eq!(voters, Some(1), "{commands:?}");
    let mut told = one.persisted();
    told.extend(one.wait());
    let gone = Destination::Member(MemberId(2), Some("m2".into()));
    assert!(
        told.iter().any(
            |command| matches!(command, Command::Send { to, message: Message::Left, .. } if *to == gone)
        ),
        "{told:?}"
    );
    one.stopped();
    assert!(one.member.has_left());
}

#[test]
fn the_witness_is_dismissed_without_which_the_others_can_agree() {
    let witness = |id| {
        let duty = Duty::Witness;
        Voter {
            profile: Profile { duty, ..profile(id) },
            ..voter(id)
        }
    };
    let mut all = Roster::founded(voter(3), SETTINGS)
        .with(witness(1), 1)
        .with(witness(2), 1);
    all.stamp = stamp(1, 3);
    let profile = all.voters[0].profile.clone();
    let mut three_ = Actor::voter_of(3, all);
    three_.stand();
    three_.hear(1, voted(2, None));
    // The first is there and the second is gone: without the first nobody would be left to agree.
    let began = three_.now;
    while three_.now.since(began) <= LEASE {
        let held = three_.member.roster().map(|roster| roster.stamp);
        let acknowledgement = Message::Ack {
            term: 2,
            sequence: three_.sequence(),
            stamp: held.unwrap_or_default(),
            lease_ms: LEASE,
            obstacle: Some(Obstacle::Witness),
            profile: profile.clone(),
            receipt: 0,
        };
        three_.hear(1, acknowledgement);
        three_.wait();
        three_.persisted();
    }
    let commands = three_.step(Event::Leave);
    let left = commands.iter().find_map(|command| match command {
        Command::Persist { durable, .. } => durable.group.as_ref().map(|group| {
            let voters = group.roster.voters.iter();
            voters.map(|voter| voter.id.0).collect::<Vec<_>>()
        }),
        _ => None,
    });
    assert_eq!(left, Some(vec![1, 3]), "{commands:?}");
}
