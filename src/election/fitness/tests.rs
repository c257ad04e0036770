//! What keeps a member from leading, and what a payload that fails under it costs it.

use super::super::trying::*;
use super::super::*;
use super::{PENALTY_MAX_MS, PENALTY_MS};

fn obstacles(commands: &[Command]) -> Vec<Option<Obstacle>> {
    let obstacle = |command: &Command| match command {
        Command::Send {
            message: Message::Ack { obstacle, .. },
            ..
        } => Some(*obstacle),
        _ => None,
    };
    commands.iter().filter_map(obstacle).collect()
}

/// Member 3 leads, preferred, and has heard both others just now.
fn leader_heard_by_all() -> Actor {
    let mut three = Actor::leader(3);
    beat(&mut three);
    three
}

fn beat(leader: &mut Actor) -> Vec<Command> {
    let mut commands = leader.wait();
    let own = leader.member.roster().map(|roster| roster.stamp);
    let id = leader.member.id().0;
    for other in [1, 2, 3].into_iter().filter(|other| *other != id) {
        commands.extend(leader.ack(other, leader.sequence(), own));
    }
    commands
}

fn moves(commands: &[Command]) -> Vec<(u128, MoveReason)> {
    let started = |command: &Command| match command {
        Command::Notify(Notice::MoveStarted { to, reason }) => Some((to.0, *reason)),
        _ => None,
    };
    commands.iter().filter_map(started).collect()
}

#[test]
fn a_follower_tells_what_keeps_it_from_leading() {
    let mut two = Actor::voter(2);
    assert_eq!(obstacles(&two.heartbeat(3, 1, 1)), [None]);
    two.step(Event::Fitness(Fitness::Unfit));
    assert_eq!(obstacles(&two.heartbeat(3, 1, 2)), [Some(Obstacle::Unfit)]);
    two.step(Event::Fitness(Fitness::Fit));
    let paused = Config {
        paused: true,
        ..config(2)
    };
    two.step(Event::Configured(paused));
    assert_eq!(obstacles(&two.heartbeat(3, 1, 3)), [Some(Obstacle::Paused)]);
    two.step(Event::Configured(config(2)));
    assert_eq!(obstacles(&two.heartbeat(3, 1, 4)), [None]);
}

#[test]
fn who_is_unfit_paused_or_a_witness_does_not_stand() {
    let stands = |actor: &Actor| {
        let mut actor = actor.clone();
        let is_candidate = |actor: &Actor| actor.member.view(actor.now).part == Part::Candidate;
        for _ in 0..10 {
            if is_candidate(&actor) || actor.member.deadline().is_none() {
                break;
            }
            actor.wait();
        }
        is_candidate(&actor)
    };
    let mut two = Actor::voter(2);
    assert!(stands(&two));
    two.step(Event::Fitness(Fitness::Unfit));
    assert!(!stands(&two));
    let mut paused = Actor::voter(2);
    paused.step(Event::Configured(Config {
        paused: true,
        ..config(2)
    }));
    assert!(!stands(&paused));
    let mut witness = Actor::voter(2);
    let duty = Duty::Witness;
    witness.step(Event::Configured(Config {
        profile: Profile { duty, ..profile(2) },
        ..config(2)
    }));
    assert!(!stands(&witness));
    assert_eq!(obstacles(&witness.heartbeat(3, 1, 1)), [Some(Obstacle::Witness)]);
    let mut alone = Actor::voter_of(1, roster(1, QuorumMode::Auto, stamp(1, 1)));
    alone.step(Event::Fitness(Fitness::Unfit));
    assert!(stands(&alone), "there is nobody else");
}

#[test]
fn an_unhealthy_payload_moves_to_the_next_in_rank_and_the_leader_pays_for_it() {
    let mut three = leader_heard_by_all();
    let commands = three.step(Event::Fitness(Fitness::Unfit));
    assert_eq!(moves(&commands), [(2, MoveReason::Unfit)]);
    three.persisted();
    assert!(three.stopped().iter().any(|command| matches!(
        command,
        Command::Send {
            message: Message::Handover { .. },
            ..
        }
    )));
    let until = three.member.penalty.map(|penalty| penalty.until.since(three.now));
    assert_eq!(until, Some(PENALTY_MS));
    three.step(Event::Fitness(Fitness::Fit));
    three.hear(
        2,
        Message::Heartbeat {
            term: 3,
            sequence: 1,
            stamp: stamp(2, 4),
            roster: None,
        },
    );
    let commands = three.heartbeat(2, 3, 2);
    assert_eq!(
        obstacles(&commands),
        [Some(Obstacle::Failed)],
        "it is fit, and yet not chosen"
    );
    three.now = three.now + PENALTY_MS;
    assert_eq!(obstacles(&three.heartbeat(2, 3, 3)), [None]);
}

#[test]
fn an_unhealthy_payload_stays_where_nobody_else_could_run_it() {
    let mut three = leader_heard_by_all();
    for other in [1, 2] {
        let own = three.member.roster().map_or(stamp(0, 0), |roster| roster.stamp);
        let failed = Some(Obstacle::Failed);
        let message = hindered_ack(other, (2, three.sequence()), own, failed);
        three.hear(other, message);
    }
    assert_eq!(moves(&three.step(Event::Fitness(Fitness::Unfit))), []);
}

#[test]
fn a_penalty_doubles_until_the_payload_has_run_well_for_as_long() {
    let mut three = Actor::leader(3);
    let lengths = |three: &mut Actor, led_for: i64| {
        let began = three.now;
        three.now = three.now + led_for;
        three.member.penalize(began, three.now);
        three.member.penalty.map(|penalty| penalty.length_ms)
    };
    assert_eq!(lengths(&mut three, 1_000), Some(PENALTY_MS));
    assert_eq!(lengths(&mut three, 1_000), Some(2 * PENALTY_MS));
    assert_eq!(
        lengths(&mut three, 2 * PENALTY_MS),
        Some(PENALTY_MS),
        "a fresh start"
    );
    for _ in 0..10 {
        lengths(&mut three, 1_000);
    }
    assert_eq!(lengths(&mut three, 1_000), Some(PENALTY_MAX_MS));
}

#[test]
fn preference_waits_for_stability_and_may_be_switched_off() {
    let with = |preemption| {
        let roster = roster(3, QuorumMode::Auto, stamp(1, 3));
        let settings = Settings {
            preemption,
            ..SETTINGS
        };
        let mut two = Actor::leader_of(2, Roster { settings, ..roster });
        let began = two.now;
        let mut started = Vec::new();
        while started.is_empty() && two.now.since(began) < 60_000 {
            started = moves(&beat(&mut two));
        }
        (started, two.now.since(began))
    };
    let (started, _) = with(Preemption::Always { after_ms: 0 });
    assert_eq!(started, [(3, MoveReason::Preemption)]);
    let (started, after) = with(Preemption::Always { after_ms: 20_000 });
    assert_eq!(started, [(3, MoveReason::Preemption)]);
    assert!((20_000..20_000 + 2 * HEARTBEAT).contains(&after), "{after}");
    assert_eq!(with(Preemption::Never).0, []);
}

#[test]
fn a_paused_leader_leaves_the_lead_to_nobody() {
    let mut two = Actor::leader(2);
    let wish = Config {
        paused: true,
        ..config(2)
    };
    two.step(Event::Configured(wish));
    for _ in 0..10 {
        assert_eq!(moves(&beat(&mut two)), []);
    }
    two.step(Event::Fitness(Fitness::Unfit));
    assert_eq!(moves(&beat(&mut two)), []);
    let commands = two.step(Event::Configured(config(2)));
    assert_eq!(moves(&commands), [(3, MoveReason::Unfit)]);
}

#[test]
fn a_leader_without_its_api_server_ends_its_claim_if_its_user_wants_that() {
    let mut three = leader_heard_by_all();
    let commands = three.step(Event::Fitness(Fitness::CutOff));
    let reason = StepDown::ApiServerLost;
    assert_eq!(
        commands,
        [
            notify(Notice::SteppedDown { term: 2, reason }),
            payload(3, Order::Stop)
        ]
    );
    assert_eq!(three.member.claim(three.now), None);
    let mut alone = Actor::voter_of(1, roster(1, QuorumMode::Auto, stamp(1, 1)));
    alone.wait();
    alone.persisted();
    let claim = alone.member.claim(alone.now);
    assert!(claim.is_some());
    alone.step(Event::Fitness(Fitness::CutOff));
    assert_eq!(alone.member.claim(alone.now), claim, "nobody else could lead");
}

#[test]
fn a_leader_that_becomes_a_witness_hands_over_to_any_rank_and_goes_on_where_nobody_can() {
    let demote = |three: &mut Actor| {
        let duty = Duty::Witness;
        three.step(Event::Configured(Config {
            profile: Profile { duty, ..profile(3) },
            ..config(3)
        }));
        three.persisted();
    };
    let mut three = leader_heard_by_all();
    demote(&mut three);
    let mut commands = Vec::new();
    for _ in 0..3 {
        commands.extend(beat(&mut three));
    }
    assert_eq!(moves(&commands), [(2, MoveReason::Witness)]);
    three.persisted();
    three.stopped();
    assert_eq!(three.member.penalty, None, "its payload is none the worse");

    let mut alone = Actor::voter_of(
        3,
        roster(1, QuorumMode::Auto, stamp(1, 1))
            .with(voter(3), 1)
            .without(MemberId(1), 1),
    );
    demote(&mut alone);
    alone.wait();
    alone.persisted();
    assert_eq!(alone.member.view(alone.now).part, Part::Leader, "nobody else can");
}
