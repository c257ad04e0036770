//! Single faults of whole processes, one after the other.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use flagship_turmoil::election::{Duty, Settings};
use flagship_turmoil::log;
use flagship_turmoil::world::{Weather, World};

const SOON: Duration = Duration::from_secs(60);
const MINUTE: Duration = Duration::from_secs(60);

const WEATHER: Weather = Weather {
    tick: Duration::from_millis(5),
    latency_max: Duration::from_millis(20),
    stop_ms: (5, 1_000),
};

const THREE: [(i64, Duty); 3] = [(5, Duty::Candidate), (10, Duty::Candidate), (3, Duty::Candidate)];
const TWO_AND_A_WITNESS: [(i64, Duty); 3] = [(5, Duty::Candidate), (10, Duty::Candidate), (0, Duty::Witness)];

fn settled(seed: u64, members: &[(i64, Duty)]) -> World {
    log::init();
    let mut world = World::new(seed, WEATHER, members, Settings::BALANCED);
    world.heal_and_demand_a_leader(SOON);
    wait_for(&mut world, "the preferred member leads", |world| {
        world.leader() == Some(1) && world.is_settled()
    });
    world
}

fn wait_for(world: &mut World, what: &str, done: impl Fn(&World) -> bool) -> Duration {
    let took = world.run_until(SOON, done);
    assert_eq!(world.watch().violations, []);
    took.unwrap_or_else(|| {
        let seen: Vec<_> = (0..world.sites()).map(|site| world.seen(site)).collect();
        panic!("not within {SOON:?}: {what}: {seen:#?}")
    })
}

/// Lets time pass without anybody being started.
fn pass_until(world: &mut World, what: &str, done: impl Fn(&World) -> bool) -> Duration {
    let begun = world.elapsed();
    while !done(world) {
        assert!(world.elapsed() - begun < SOON, "not within {SOON:?}: {what}");
        world.run(WEATHER.tick);
        assert_eq!(world.watch().violations, []);
    }
    world.elapsed() - begun
}

/// The lease, the stop budget, and both stretched by the drift bound; two rounds of an election; and a second in which the
/// payload is applied.
fn failover_max() -> Duration {
    let settings = Settings::BALANCED;
    let wait_ms = settings.stretched_ms(settings.lease_ms + settings.stop_budget_ms);
    Duration::from_millis((wait_ms + 2 * settings.round_ms() + 1_000).unsigned_abs())
}

#[test]
fn the_payload_runs_elsewhere_when_its_cluster_is_lost() {
    let mut world = settled(1, &THREE);
    world.lose(1);
    let took = pass_until(&mut world, "another runs the payload", |world| {
        world.watch().running() == [0]
    });
    assert!(took <= failover_max(), "{took:?}");
}

#[test]
fn a_witness_makes_the_majority_for_the_one_that_is_left() {
    let mut world = settled(2, &TWO_AND_A_WITNESS);
    world.lose(1);
    let took = pass_until(&mut world, "the other runs the payload", |world| {
        world.watch().running() == [0]
    });
    assert!(took <= failover_max(), "{took:?}");
    // Without the witness it does not go on.
    world.crash(2);
    pass_until(&mut world, "the payload is stopped", |world| {
        world.watch().running().is_empty()
    });
    world.mend();
    wait_for(&mut world, "all are back", World::is_settled);
}

#[test]
fn a_leader_that_hears_nobody_or_is_heard_by_nobody_stops_before_another_starts() {
    for is_mute in [false, true] {
        let mut world = settled(3, &THREE);
        for other in [0, 2] {
            if is_mute {
                world.cut_one_way(1, other);
            } else {
                world.cut_one_way(other, 1);
            }
        }
        pass_until(&mut world, "another runs the payload", |world| {
            world.watch().running() == [0]
        });
        world.run(MINUTE);
        assert_eq!(world.watch().running(), [0]);
        world.mend_links();
        wait_for(&mut world, "the preferred member leads again", |world| {
            world.leader() == Some(1) && world.is_settled()
        });
    }
}

#[test]
fn a_process_that_is_told_to_end_hands_over_without_waiting_for_a_lease() {
    let mut world = settled(4, &THREE);
    world.end(1);
    let took = pass_until(&mut world, "another runs the payload", |world| {
        world.watch().running() == [0]
    });
    // The payload's own second, and a few exchanges.
    assert!(took < Duration::from_secs(2), "{took:?}");
    wait_for(&mut world, "the preferred member leads again", |world| {
        world.leader() == Some(1) && world.is_settled()
    });
}

#[test]
fn a_member_that_cannot_write_leads_on_and_is_no_successor() {
    let mut world = settled(5, &THREE);
    world.refuse_writes(0);
    world.refuse_writes(1);
    world.run(MINUTE);
    assert_eq!(world.leader(), Some(1));
    // Of the other two one cannot vote, which leaves no majority.
    world.lose(1);
    world.run(MINUTE);
    assert!(world.watch().running().is_empty());
    assert_eq!(world.watch().violations, []);
    world.mend_disk(0);
    pass_until(&mut world, "one that can write runs the payload", |world| {
        world.watch().running() == [0]
    });
}

#[test]
fn a_memory_that_went_back_has_no_vote_until_it_is_admitted_anew() {
    let mut world = settled(6, &THREE);
    let memory = world.backup(2).unwrap();
    let admitted_as = |world: &World| {
        let roster = world.seen(1)?.roster?;
        let id = world.seen(2)?.id;
        Some(roster.voter(id)?.memory)
    };
    let before = admitted_as(&world).unwrap();
    // It votes, and forgets that.
    world.crash(1);
    pass_until(&mut world, "another leads", |world| world.leader() == Some(0));
    world.restore(2, &memory);
    wait_for(&mut world, "all are one group", |world| {
        world.is_settled() && world.leader() == Some(1)
    });
    assert_ne!(admitted_as(&world).unwrap(), before);
}

#[test]
fn a_witness_without_its_file_takes_its_own_place() {
    let mut world = settled(7, &TWO_AND_A_WITNESS);
    let witness = |world: &World| {
        let roster = world.seen(1).unwrap().roster.unwrap();
        let found = roster
            .voters
            .iter()
            .find(|voter| voter.profile.duty == Duty::Witness);
        found.map(|voter| voter.id)
    };
    let before = witness(&world);
    world.recreate(2);
    wait_for(&mut world, "the new witness votes", |world| {
        world.is_settled() && witness(world) != before
    });
}

#[test]
fn what_was_held_back_for_minutes_does_no_harm_when_it_arrives() {
    let mut world = settled(8, &THREE);
    world.hold(1, 0);
    world.hold(1, 2);
    world.run(5 * MINUTE);
    assert_eq!(world.watch().running(), [0]);
    world.mend_links();
    wait_for(&mut world, "the preferred member leads again", |world| {
        world.leader() == Some(1) && world.is_settled()
    });
    world.run(5 * MINUTE);
    world.demand_that_nothing_leaked();
    assert_eq!(world.watch().violations, []);
}

/// The watch sees what it is there for: with a clock that runs slower than the drift bound allows, a leader that is cut off
/// holds its claim for too long.
#[test]
fn two_claims_at_once_are_seen() {
    let mut world = settled(9, &THREE);
    world.set_clock_rate(1, 250);
    world.isolate(1);
    world.run(MINUTE);
    let violations = world.watch().violations.clone();
    let first = violations.first().expect("two claims at once are a violation");
    assert!(first.what.starts_with("G2: "), "{first:?}");
}
