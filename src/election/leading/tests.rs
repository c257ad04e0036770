//! A leader and its claim, move by move.

use super::super::trying::*;
use super::super::*;

/// Member 3 of five, elected in term 2 by members 1 and 2, before any acknowledgement.
fn elected_of_five() -> Actor {
    let mut actor = Actor::voter_of(5, roster(5, QuorumMode::Auto, stamp(1, 5)));
    actor.wait();
    actor.hear(1, pre_voted(2, true));
    actor.hear(2, pre_voted(2, true));
    actor.persisted();
    actor.hear(1, voted(2, None));
    actor.hear(2, voted(2, None));
    actor.persisted();
    actor
}

fn claim(actor: &Actor) -> Option<Claim> {
    actor.member.claim(actor.now)
}

#[test]
fn the_claim_runs_from_the_sending_of_what_a_majority_acknowledged() {
    let mut actor = elected_of_five();
    let sent = actor.now;
    let sequence = actor.sequence();
    let own = actor.member.roster().map(|roster| roster.stamp);
    actor.now = actor.now + 100;
    actor.ack(1, sequence, own);
    assert_eq!(claim(&actor), None, "two of five are no majority");
    actor.now = actor.now + 100;
    actor.ack(2, sequence, own);
    let first = Claim {
        term: 2,
        until: sent + CLAIM,
    };
    assert_eq!(claim(&actor), Some(first));
    // One more of a later heartbeat changes nothing; the third-newest counts.
    actor.now = sent + HEARTBEAT;
    actor.tick();
    let later = actor.now;
    actor.ack(1, actor.sequence(), own);
    assert_eq!(claim(&actor), Some(first));
    actor.ack(3, actor.sequence(), own);
    let second = Claim {
        term: 2,
        until: later + CLAIM,
    };
    assert_eq!(claim(&actor), Some(second));
}

#[test]
fn an_acknowledgement_that_was_overtaken_takes_nothing_back() {
    let mut three_ = Actor::leader(3);
    let own = three_.member.roster().map(|roster| roster.stamp);
    let before = three_.clone();
    let overtaken = three_.sequence();
    three_.ack(1, overtaken, Some(stamp(1, 3)));
    assert!(three_.member.is_roster_agreed());
    assert_eq!(claim(&three_), claim(&before));
    assert_eq!(own, Some(stamp(2, 4)));
}

#[test]
fn a_promise_for_a_shorter_lease_gives_a_shorter_claim() {
    let mut actor = elected_of_five();
    let sent = actor.now;
    let sequence = actor.sequence();
    for from in [1, 2] {
        actor.hear(
            from,
            Message::Ack {
                term: 2,
                sequence,
                stamp: stamp(1, 5),
                lease_ms: 600,
                obstacle: None,
                profile: profile(from),
                receipt: 0,
            },
        );
    }
    let until = sent + SETTINGS.claim_ms(600);
    assert_eq!(claim(&actor), Some(Claim { term: 2, until }));
}

#[test]
fn a_claim_that_ends_stops_the_payload_and_its_end_is_told() {
    let mut three_ = Actor::leader(3);
    let until = claim(&three_).map(|claim| claim.until).unwrap_or_default();
    while three_.member.deadline().is_some_and(|at| at < until) {
        three_.wait();
    }
    let stepped_down = Notice::SteppedDown {
        term: 2,
        reason: StepDown::QuorumLost,
    };
    let commands = three_.wait();
    assert_eq!(three_.now, until);
    assert_eq!(commands, [notify(stepped_down), payload(3, Order::Stop)]);
    assert_eq!(
        three_.stopped(),
        [
            send(1, Message::Stopped { term: 2 }),
            send(2, Message::Stopped { term: 2 })
        ]
    );
}

#[test]
fn a_leader_that_nobody_acknowledges_gives_up_after_a_lease() {
    let mut actor = elected_of_five();
    let since = actor.now;
    while actor.member.view(actor.now).part == Part::Waiting {
        actor.wait();
    }
    assert_eq!(actor.now, since + LEASE);
}

#[test]
fn a_voter_with_a_higher_term_makes_the_leader_stand_above_it_and_its_payload_runs_on() {
    let mut three_ = Actor::leader(3);
    let held = three_.member.roster().cloned();
    let vote = Durable {
        incarnation: 2,
        ..durable(3, 9, Some(3), held)
    };
    let number = three_.member.writes + 1;
    assert_eq!(
        three_.hear(1, ack(1, 8, three_.sequence(), stamp(2, 4))),
        [persist(number, vote)]
    );
    let asked = Message::Vote {
        term: 9,
        stamp: stamp(2, 4),
        handover: None,
    };
    assert_eq!(three_.persisted(), [send(1, asked.clone()), send(2, asked)]);
    assert!(claim(&three_).is_some());
    let elected = three_.hear(1, voted(9, None));
    assert!(
        !elected
            .iter()
            .any(|command| matches!(command, Command::Payload { .. }))
    );
    assert_eq!(
        three_.ack(1, 1, Some(stamp(2, 4))),
        [payload(3, Order::Run { term: 9 })],
        "the new term is stamped"
    );
}

#[test]
fn a_new_term_that_cannot_be_written_leaves_the_claim_to_its_end() {
    let mut three_ = Actor::leader(3);
    let until = claim(&three_);
    three_.hear(1, ack(1, 8, three_.sequence(), stamp(2, 4)));
    assert_eq!(three_.persist_failed(), []);
    assert_eq!(
        (claim(&three_), three_.member.order),
        (until, Order::Run { term: 2 })
    );
    three_.now = until.map(|claim| claim.until).unwrap_or_default();
    let commands = three_.tick();
    assert_eq!(commands.last(), Some(&payload(3, Order::Stop)));
}

#[test]
fn a_leader_that_cannot_write_goes_on_and_tries_again() {
    let mut three_ = Actor::leader(3);
    let wish = Config {
        profile: Profile {
            rank: 40,
            ..profile(3)
        },
        ..config(3)
    };
    let number = three_.member.writes + 1;
    let commands = three_.step(Event::Configured(wish));
    assert!(matches!(&commands[..], [.., Command::Persist { number: n, .. }] if *n == number));
    three_.persist_failed();
    let sequence = three_.sequence();
    let again = three_.ack(1, sequence, Some(stamp(2, 4)));
    assert_eq!(again, [], "not at once");
    three_.now = three_.now + HEARTBEAT;
    let commands = three_.tick();
    assert!(
        commands
            .iter()
            .any(|command| matches!(command, Command::Persist { .. }))
    );
    assert_eq!(three_.member.view(three_.now).part, Part::Leader);
}

#[test]
fn a_leader_alone_with_a_frozen_clock_keeps_its_claim_and_one_of_a_pair_does_not() {
    let lapse = |voters| {
        let mut actor = Actor::voter_of(voters, roster(voters, QuorumMode::None, stamp(1, 2)));
        while !matches!(actor.member.view(actor.now).part, Part::Leader | Part::Waiting) {
            actor.wait();
            actor.persisted();
        }
        actor.now = actor.now + 10 * LEASE;
        actor.tick();
        claim(&actor).is_some()
    };
    assert!(lapse(1), "there is nobody who could have replaced it");
    assert!(!lapse(2), "the other may lead by now");
}

#[test]
fn another_leader_in_the_same_term_is_a_fault_that_stops_the_payload() {
    let mut three_ = Actor::leader(3);
    let commands = three_.heartbeat(1, 2, 1);
    let fault = Fault::TwoLeadersInOneTerm {
        other: MemberId(1),
        term: 2,
    };
    assert_eq!(commands, [payload(3, Order::Stop)]);
    let view = three_.member.view(three_.now);
    assert_eq!(
        (view.part, view.problem),
        (Part::Faulty, Some(Problem::Faulty(fault)))
    );
    assert_eq!(
        (three_.member.deadline(), three_.heartbeat(1, 3, 1)),
        (None, vec![])
    );
}

/// Member `id` of an unguarded pair that leads alone in its first term above 1.
fn alone(id: u128) -> Actor {
    let mut actor = Actor::voter_of(id, roster(2, QuorumMode::None, stamp(1, 2)));
    while actor.member.view(actor.now).part != Part::Leader {
        actor.wait();
        actor.persisted();
    }
    actor
}

#[test]
fn of_two_that_lead_alone_the_lower_rank_yields_and_the_higher_makes_itself_heard() {
    let mut one = alone(1);
    assert_eq!(one.member.term(), 3);
    let commands = one.heartbeat(2, 4, 1);
    assert!(commands.contains(&notify(Notice::SteppedDown {
        term: 3,
        reason: StepDown::Superseded
    })));
    assert!(commands.contains(&payload(3, Order::Stop)));
    let mut two = alone(2);
    assert_eq!(two.member.term(), 2);
    let commands = two.heartbeat(1, 3, 1);
    assert!(
        matches!(&commands[..], [Command::Persist { durable, .. }] if durable.term == 4),
        "it stands above the other's term"
    );
    assert_eq!(two.heartbeat(1, 3, 2), [], "and is not led meanwhile");
    assert!(claim(&two).is_some());
}

#[test]
fn one_that_leads_alone_yields_to_a_majority_whatever_its_rank() {
    let mut two = alone(2);
    let grown = roster(3, QuorumMode::Auto, stamp(3, 9));
    let commands = two.hear(
        1,
        Message::Heartbeat {
            term: 3,
            sequence: 1,
            stamp: grown.stamp,
            roster: Some(Arc::new(grown)),
        },
    );
    assert!(commands.contains(&payload(3, Order::Stop)), "{commands:?}");
    let mut three_ = Actor::leader(3);
    let pair = roster(2, QuorumMode::None, stamp(2, 3));
    let commands = three_.hear(
        2,
        Message::Heartbeat {
            term: 2,
            sequence: 1,
            stamp: pair.stamp,
            roster: Some(Arc::new(pair)),
        },
    );
    assert!(
        matches!(&commands[..], [Command::Persist { durable, .. }] if durable.term == 3),
        "which is no fault, and the majority stays"
    );
}

#[test]
fn a_leader_that_was_asked_for_stays_so_when_it_raises_its_term_before_it_is_written() {
    let mut one = Actor::voter(1);
    one.heartbeat(3, 1, 1);
    let handover = Message::Handover {
        term: 1,
        vote: Some(2),
        chosen: true,
    };
    one.hear(3, handover);
    one.persisted();
    assert_eq!(one.member.term(), 2);
    one.hear(2, ack(2, 5, one.sequence(), stamp(1, 3)));
    one.persisted();
    one.hear(2, voted(6, None));
    assert_eq!(one.member.term(), 6);
    one.now = one.now + HEARTBEAT;
    let commands = one.tick();
    let chosen = commands.iter().find_map(|command| match command {
        Command::Persist { durable, .. } => durable.group.as_ref().map(|group| group.roster.chosen),
        _ => None,
    });
    assert_eq!(chosen, Some(Some(MemberId(1))), "{commands:?}");
}

#[test]
fn of_two_that_lead_alone_each_knows_its_own_rank_best() {
    let mut two = alone(2);
    // The other's rank was changed while they were apart.
    let mut pair = roster(2, QuorumMode::None, stamp(3, 3));
    pair.voters[0].profile.rank = 21;
    let commands = two.hear(
        1,
        Message::Heartbeat {
            term: 3,
            sequence: 1,
            stamp: pair.stamp,
            roster: Some(Arc::new(pair)),
        },
    );
    assert!(commands.contains(&payload(3, Order::Stop)), "{commands:?}");
    assert_eq!(claim(&two), None);
}
