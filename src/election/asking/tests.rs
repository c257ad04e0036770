//! What people ask for, from the asking to the answer.
#![allow(clippy::panic, reason = "a test fails by panicking")]

use super::super::trying::*;
use super::super::*;

const REQUEST: RequestId = RequestId(77);

fn switch(to: u128) -> Wish {
    Wish::Move {
        to: MemberId(to),
        force: false,
    }
}

fn ended(outcome: Result<(), Hindrance>) -> Command {
    notify(Notice::AskedEnded {
        request: REQUEST,
        outcome,
    })
}

fn answered(to: u128, answer: Answer) -> Command {
    send(
        to,
        Message::Answer {
            request: REQUEST,
            answer,
        },
    )
}

fn refused(hindrance: Hindrance) -> Answer {
    Answer::Refused { hindrance }
}

fn asked(wish: Wish) -> Message {
    Message::Request {
        request: REQUEST,
        wish,
    }
}

/// Member 3 leads, which is preferred, and has heard both others just now.
fn leader() -> Actor {
    let mut three = Actor::leader(3);
    three.wait();
    for other in [1, 2] {
        let own = three.member.roster().map(|roster| roster.stamp);
        three.ack(other, three.sequence(), own);
    }
    three
}

#[test]
fn a_follower_asks_the_leader_until_it_answers() {
    let mut one = Actor::voter(1);
    one.heartbeat(3, 1, 1);
    let asks = || send(3, asked(switch(2)));
    assert_eq!(one.step(Event::Asked(REQUEST, switch(2))), [asks()]);
    one.now = one.now + ROUND;
    assert!(one.heartbeat(3, 1, 2).contains(&asks()));
    let taken_up = Message::Answer {
        request: REQUEST,
        answer: Answer::UnderWay,
    };
    assert_eq!(
        one.hear(3, taken_up.clone()),
        [notify(Notice::AskedUnderWay { request: REQUEST })]
    );
    assert_eq!(one.hear(3, taken_up), []);
    let no = Message::Answer {
        request: REQUEST,
        answer: refused(Hindrance::Silent),
    };
    assert_eq!(one.hear(3, no.clone()), [ended(Err(Hindrance::Silent))]);
    assert_eq!(one.hear(3, no), [], "it is over");
}

#[test]
fn a_request_without_a_leader_is_given_up() {
    let mut one = Actor::voter(1);
    let paused = Config {
        paused: true,
        ..config(1)
    };
    one.step(Event::Configured(paused));
    assert_eq!(one.step(Event::Asked(REQUEST, switch(2))), []);
    let began = one.now;
    let mut commands = Vec::new();
    while commands.is_empty() && one.now.since(began) < 10 * LEASE {
        commands = one.wait();
    }
    assert_eq!(commands, [ended(Err(Hindrance::NoLeader))]);
    assert!((4 * LEASE..4 * LEASE + ROUND).contains(&one.now.since(began)));
}

#[test]
fn a_switch_moves_the_payload_to_a_lower_rank_and_keeps_it_there() {
    let mut three = leader();
    let commands = three.hear(1, asked(switch(2)));
    let started = Notice::MoveStarted {
        to: MemberId(2),
        reason: MoveReason::Asked,
    };
    assert_eq!(commands[0], notify(started));
    assert!(commands.contains(&answered(1, Answer::UnderWay)));
    assert_eq!(commands.last(), Some(&payload(3, Order::Stop)));
    three.persisted();
    let handover = Message::Handover {
        term: 2,
        vote: Some(3),
        chosen: true,
    };
    assert!(three.stopped().contains(&send(2, handover)));

    // The successor writes down that it was asked for, and takes that as its preference over all ranks.
    let mut two = Actor::voter(2);
    two.heartbeat(3, 1, 1);
    two.hear(
        3,
        Message::Handover {
            term: 1,
            vote: Some(2),
            chosen: true,
        },
    );
    two.persisted();
    two.ack(3, 1, Some(stamp(1, 3)));
    two.now = two.now + HEARTBEAT;
    let commands = two.tick();
    let chosen = commands.iter().find_map(|command| match command {
        Command::Persist { durable, .. } => durable.group.as_ref().map(|group| group.roster.chosen),
        _ => None,
    });
    assert_eq!(chosen, Some(Some(MemberId(2))));
    two.persisted();
    for _ in 0..10 {
        two.wait();
        for other in [1, 3] {
            let own = two.member.roster().map(|roster| roster.stamp);
            assert_eq!(two.ack(other, two.sequence(), own), [], "nobody takes the lead");
        }
    }
    let roster = two.member.roster().cloned();
    let preferred = roster
        .iter()
        .flat_map(|roster| roster.voters.iter().max_by_key(|voter| roster.preference(voter)));
    assert_eq!(preferred.map(|voter| voter.id.0).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_leader_that_was_not_asked_for_forgets_the_one_that_was() {
    let roster = Roster {
        chosen: Some(MemberId(1)),
        ..roster(3, QuorumMode::Auto, stamp(1, 3))
    };
    let three = Actor::leader_of(3, roster.clone());
    assert_eq!(three.member.roster().and_then(|roster| roster.chosen), None);
    let one = Actor::leader_of(1, roster);
    assert_eq!(
        one.member.roster().and_then(|roster| roster.chosen),
        Some(MemberId(1)),
        "also over its own restart"
    );
}

#[test]
fn a_switch_is_refused_for_a_reason() {
    let case = |prepare: &dyn Fn(&mut Actor), to: u128| {
        let mut three = leader();
        prepare(&mut three);
        let commands = three.hear(1, asked(switch(to)));
        commands.into_iter().find(|command| {
            matches!(
                command,
                Command::Send {
                    message: Message::Answer { .. },
                    ..
                }
            )
        })
    };
    let nothing = |_: &mut Actor| {};
    assert_eq!(
        case(&nothing, 9),
        Some(answered(1, refused(Hindrance::NotAVoter)))
    );
    let pause = |three: &mut Actor| {
        let paused = Config {
            paused: true,
            ..config(3)
        };
        three.step(Event::Configured(paused));
    };
    assert_eq!(
        case(&pause, 2),
        Some(answered(1, refused(Hindrance::LeaderPaused)))
    );
    let wait = |three: &mut Actor| {
        for _ in 0..3 {
            three.wait();
            three.ack(1, three.sequence(), Some(stamp(2, 4)));
        }
    };
    assert_eq!(case(&wait, 2), Some(answered(1, refused(Hindrance::Silent))));
}

#[test]
fn a_move_that_was_asked_for_and_given_up_is_not_begun_again_by_the_same_request() {
    let mut three = leader();
    three.hear(1, asked(switch(2)));
    three.persisted();
    let began = three.now;
    let mut commands = Vec::new();
    while three.now.since(began) <= STOP_TIMEOUT {
        commands.extend(three.wait());
        for other in [1, 2] {
            commands.extend(three.ack(other, three.sequence(), Some(stamp(2, 4))));
        }
    }
    let stuck = answered(1, refused(Hindrance::PayloadStuck));
    assert!(commands.contains(&stuck), "{commands:?}");
    assert_eq!(three.hear(1, asked(switch(2))), [stuck]);

    // By force it waits for as long as the payload takes to stop.
    let mut three = leader();
    let wish = Wish::Move {
        to: MemberId(2),
        force: true,
    };
    three.hear(1, asked(wish));
    three.persisted();
    let began = three.now;
    while three.now.since(began) <= 3 * STOP_TIMEOUT {
        three.wait();
        for other in [1, 2] {
            three.ack(other, three.sequence(), Some(stamp(2, 4)));
        }
    }
    assert_eq!(three.member.view(three.now).part, Part::HandingOver);
}

#[test]
fn a_lost_member_is_removed_and_a_live_one_is_not() {
    let mut three = leader();
    let wish = Wish::Remove { member: MemberId(1) };
    assert_eq!(
        three.hear(2, asked(wish)),
        [answered(2, refused(Hindrance::Alive))]
    );
    let silent_since = three.now;
    while three.now.since(silent_since) < LEASE {
        three.wait();
        three.ack(2, three.sequence(), Some(stamp(2, 4)));
    }
    let commands = three.hear(2, asked(wish));
    assert!(commands.contains(&answered(2, Answer::UnderWay)));
    let voters = commands.iter().find_map(|command| match command {
        Command::Persist { durable, .. } => durable.group.as_ref().map(|group| group.roster.voters.len()),
        _ => None,
    });
    assert_eq!(voters, Some(2));
    three.persisted();
    let own = three.member.roster().map(|roster| roster.stamp);
    three.ack(2, three.sequence(), own);
    assert_eq!(three.hear(2, asked(wish)), [answered(2, Answer::Done)]);
}

#[test]
fn what_is_left_of_a_group_goes_on_alone_as_another_group() {
    let mut one = Actor::voter(1);
    one.heartbeat(3, 1, 1);
    assert_eq!(
        one.step(Event::Asked(REQUEST, Wish::Recover)),
        [ended(Err(Hindrance::Leads))],
        "there is a leader"
    );
    one.now = one.now + LEASE + ROUND;
    let commands = one.step(Event::Asked(REQUEST, Wish::Recover));
    let written = commands.iter().find_map(|command| match command {
        Command::Persist { durable, .. } => durable.group.clone(),
        _ => None,
    });
    let Some(group) = written else {
        panic!("nothing was written: {commands:?}");
    };
    assert_ne!(group.id, GROUP, "who comes back is in another group");
    let voters: Vec<u128> = group.roster.voters.iter().map(|voter| voter.id.0).collect();
    assert_eq!((voters, group.roster.peak), (vec![1], 3));
    let commands = one.persisted();
    assert!(commands.contains(&ended(Ok(()))), "{commands:?}");
    let mut run = Vec::new();
    let began = one.now;
    while !matches!(
        run.last(),
        Some(Command::Payload {
            order: Order::Run { .. },
            ..
        })
    ) && one.now.since(began) < 3 * LEASE
    {
        run = one.wait();
        run.extend(one.persisted());
    }
    assert!(
        matches!(
            run.last(),
            Some(Command::Payload {
                order: Order::Run { .. },
                ..
            })
        ),
        "{run:?}"
    );
}

#[test]
fn what_is_left_goes_on_alone_only_when_nobody_was_heard_for_a_lease_and_a_round() {
    // A start has heard nobody yet, and a leader may be alive.
    let mut one = Actor::voter(1);
    let paused = Config {
        paused: true,
        ..config(1)
    };
    one.step(Event::Configured(paused));
    one.now = Tick(0);
    assert_eq!(one.step(Event::Asked(REQUEST, Wish::Recover)), []);
    let mut commands = Vec::new();
    while commands.is_empty() && one.now < Tick(10 * LEASE) {
        commands = one.wait();
    }
    assert!(matches!(&commands[..], [Command::Persist { .. }]), "{commands:?}");
    assert!(
        (LEASE + ROUND..LEASE + 2 * ROUND).contains(&one.now.0),
        "{:?}",
        one.now
    );

    // Nor does it while others stand, who would lead soon.
    let mut one = Actor::voter(1);
    let began = one.now;
    let mut commands = one.step(Event::Asked(REQUEST, Wish::Recover));
    while one.now.since(began) <= 4 * LEASE {
        one.now = one.now + ROUND;
        let stands = Message::PreVote {
            term: 2,
            stamp: stamp(1, 3),
        };
        commands.extend(one.hear(2, stands));
    }
    assert!(commands.contains(&ended(Err(Hindrance::Alive))), "{commands:?}");
    assert_eq!(one.member.group(), Some(GROUP));
}

#[test]
fn a_leader_that_is_heard_while_another_group_is_being_written_is_promised_nothing() {
    let mut one = Actor::voter(1);
    one.now = one.now + LEASE + ROUND;
    let commands = one.step(Event::Asked(REQUEST, Wish::Recover));
    assert!(matches!(&commands[..], [Command::Persist { .. }]), "{commands:?}");
    assert_eq!(one.heartbeat(3, 2, 1), []);
    let refused = Message::Voted {
        term: 5,
        granted: false,
        voter_term: 1,
        promised: None,
        receipt: 0,
    };
    let vote = Message::Vote {
        term: 5,
        stamp: stamp(1, 3),
        handover: None,
    };
    assert_eq!(one.hear(3, vote), [send(3, refused)]);
    let commands = one.persisted();
    assert_eq!(commands[0], ended(Ok(())), "{commands:?}");
}

#[test]
fn a_member_that_is_starting_does_not_go_on_alone_before_its_start_is_durable() {
    let remembered = durable(1, 1, None, Some(roster(3, QuorumMode::Auto, stamp(1, 3))));
    let (member, _) = Member::start(MemberId(1), remembered, config(1), None, Tick(0));
    let mut one = Actor { member, now: Tick(0) };
    assert_eq!(one.persist_failed(), []);
    one.now = Tick(2 * LEASE);
    assert_eq!(one.step(Event::Asked(REQUEST, Wish::Recover)), []);
}

#[test]
fn a_member_of_a_pair_that_is_gone_is_removed_although_a_third_was_admitted_since() {
    let pair = roster(2, QuorumMode::Auto, stamp(1, 2));
    let mut one = Actor::voter_of(1, pair);
    while one.member.view(one.now).part != Part::Leader {
        one.wait();
        one.persisted();
    }
    let founder = Founder {
        profile: profile(4),
        memory: MemoryId(4),
        ready: false,
        alone: false,
    };
    while one.member.roster().map(|roster| roster.voters.len()) == Some(2) {
        one.wait();
        one.persisted();
        let founder = founder.clone();
        let asked = "m1".to_owned();
        one.hear_stranger(4, Message::Probe { founder, asked });
        one.persisted();
    }
    let began = one.now;
    while one.now.since(began) <= LEASE {
        one.wait();
        let own = one.member.roster().map(|roster| roster.stamp);
        one.ack(4, one.sequence(), own);
        one.persisted();
    }
    assert!(!one.member.is_roster_agreed(), "the second may lead alone");
    let commands = one.step(Event::Asked(REQUEST, Wish::Remove { member: MemberId(2) }));
    let voters = commands.iter().find_map(|command| match command {
        Command::Persist { durable, .. } => durable.group.as_ref().map(|group| group.roster.clone()),
        _ => None,
    });
    let ids = |roster: &Roster| roster.voters.iter().map(|voter| voter.id.0).collect::<Vec<_>>();
    assert_eq!(
        voters.map(|roster| (ids(&roster), roster.need())),
        Some((vec![1, 4], 2))
    );
    one.persisted();
    let own = one.member.roster().map(|roster| roster.stamp);
    assert!(one.ack(4, one.sequence(), own).contains(&ended(Ok(()))));
}

#[test]
fn what_stays_under_way_is_not_waited_for_without_end() {
    let mut one = Actor::voter(1);
    let wish = Wish::Remove { member: MemberId(2) };
    one.heartbeat(3, 1, 1);
    one.step(Event::Asked(REQUEST, wish));
    let began = one.now;
    let mut commands = Vec::new();
    let mut sequence = 1;
    while !commands.contains(&ended(Err(Hindrance::Overdue))) && one.now.since(began) < 700_000 {
        one.now = one.now + HEARTBEAT;
        sequence += 1;
        commands = one.heartbeat(3, 1, sequence);
        let request = REQUEST;
        let answer = Answer::UnderWay;
        one.hear(3, Message::Answer { request, answer });
    }
    let waited_ms = one.now.since(began);
    assert!(
        (600_000..600_000 + 2 * ROUND).contains(&waited_ms),
        "{waited_ms} ms"
    );
}

#[test]
fn a_followers_older_roster_does_not_tell_that_a_member_is_removed() {
    let mut one = Actor::voter(1);
    one.heartbeat(3, 1, 1);
    let wish = Wish::Remove { member: MemberId(9) };
    assert_eq!(
        one.step(Event::Asked(REQUEST, wish)),
        [send(3, asked(wish))],
        "the leader may have admitted it"
    );
}

#[test]
fn a_member_that_takes_no_part_refuses_what_it_is_asked() {
    let mut three = leader();
    three.hear(1, asked(switch(2)));
    three.step(Event::Asked(REQUEST, Wish::Remove { member: MemberId(1) }));
    let commands = three.heartbeat(1, 2, 1);
    assert!(commands.contains(&ended(Err(Hindrance::Faulty))), "{commands:?}");
    let commands = three.step(Event::Asked(REQUEST, switch(2)));
    assert_eq!(commands, [ended(Err(Hindrance::Faulty))]);
}

#[test]
fn a_move_by_force_to_one_that_dies_is_given_up() {
    let mut three = leader();
    let wish = Wish::Move {
        to: MemberId(2),
        force: true,
    };
    three.hear(1, asked(wish));
    three.persisted();
    let (began, heard_at) = (three.now, three.now);
    let mut commands = Vec::new();
    while three.now.since(began) < 2 * LEASE && three.member.view(three.now).part == Part::HandingOver {
        commands = three.wait();
        commands.extend(three.ack(1, three.sequence(), Some(stamp(2, 4))));
    }
    assert!((LEASE..LEASE + 2 * HEARTBEAT).contains(&three.now.since(heard_at)));
    let lost = answered(1, refused(Hindrance::SuccessorLost));
    assert!(commands.contains(&lost), "{commands:?}");
    let runs = Order::Run { term: 2 };
    assert_eq!(
        commands.last(),
        Some(&payload(4, runs)),
        "the payload runs here again"
    );
}

#[test]
fn one_without_its_api_server_is_not_moved_to_by_force() {
    let mut two = Actor::voter(2);
    two.step(Event::Fitness(Fitness::CutOff));
    let obstacle = two.member.obstacle(two.now);
    let mut three = leader();
    let sequence = three.sequence();
    three.hear(2, hindered_ack(2, (2, sequence), stamp(2, 4), obstacle));
    let wish = Wish::Move {
        to: MemberId(2),
        force: true,
    };
    let no = Hindrance::Obstacle {
        obstacle: Obstacle::CannotPersist,
    };
    assert_eq!(three.hear(1, asked(wish)), [answered(1, refused(no))]);
}
