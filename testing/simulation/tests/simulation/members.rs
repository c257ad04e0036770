//! What members of a group live through.

use flagship_simulation::election::{Event, Notice, Problem, QuorumMode, Settings};
use flagship_simulation::world::{Storage, Weather, World};

use super::{BALANCED, settled, three, three_settled};

#[test]
fn a_lone_member_founds_a_group_and_leads() {
    let mut world = World::new(1, Weather::default());
    world.site(5, true, &[], BALANCED);
    world.start(0);
    let took = settled(&mut world, 0, 10_000);
    assert!(
        (6_000..7_000).contains(&took),
        "it listens for two leases first, and took {took} ms"
    );
}

#[test]
fn the_higher_rank_joins_and_takes_over_by_a_planned_handover() {
    let mut world = World::new(2, Weather::default());
    world.site(5, true, &[], BALANCED);
    world.site(10, false, &[0], BALANCED);
    world.start(0);
    settled(&mut world, 0, 10_000);
    world.start(1);
    let mut both = 0;
    world.run_until(5_000, |world| {
        both += i32::from(world.running().len() > 1);
        world.is_settled_on(1)
    });
    settled(&mut world, 1, 1_000);
    assert_eq!(both, 0, "never two copies in a planned move");
}

#[test]
fn members_that_start_at_once_make_one_group() {
    for seed in 0..200 {
        let mut world = World::new(seed, Weather::default());
        for (rank, others) in [(5, [1, 2]), (10, [0, 2]), (3, [0, 1])] {
            world.site(rank, true, &others, BALANCED);
        }
        (0..3).for_each(|site| world.start(site));
        let mut both = 0;
        world.run_until(30_000, |world| {
            both += i32::from(world.running().len() > 1);
            world.is_settled_on(1)
        });
        settled(&mut world, 1, 1_000);
        assert_eq!(both, 0, "seed {seed}: never two copies");
    }
}

#[test]
fn a_lost_cluster_is_replaced_by_the_next_rank_within_lease_and_stop_budget() {
    for seed in 0..100 {
        let mut world = three_settled(seed);
        world.lose(1);
        let took = settled(&mut world, 0, 20_000);
        assert!(took < 3_000 + 2_000 + 600, "seed {seed}: took {took} ms");
        world.start(1);
        settled(&mut world, 1, 20_000);
    }
}

#[test]
fn a_frozen_leader_is_replaced_and_stops_when_it_thaws() {
    for seed in 0..100 {
        let mut world = three_settled(seed);
        world.freeze(1);
        world
            .run_until(20_000, |world| world.leaders() == [0])
            .expect("the next rank leads");
        world.thaw(1);
        settled(&mut world, 1, 20_000);
    }
}

#[test]
fn a_leader_that_is_cut_off_stops_before_the_other_starts() {
    for seed in 0..100 {
        let mut world = three_settled(seed);
        world.isolate(1);
        let mut both = 0;
        world.run_until(20_000, |world| {
            both += i32::from(world.running().len() > 1);
            world.running() == [0]
        });
        assert_eq!((world.running(), both), (vec![0], 0), "seed {seed}");
        world.run(60_000);
        world.heal();
        settled(&mut world, 1, 20_000);
    }
}

#[test]
fn a_member_that_was_cut_off_unseats_nobody_by_coming_back() {
    let mut world = three_settled(7);
    world.isolate(2);
    world.run(120_000);
    let notices = world.notices(1).len();
    world.heal();
    settled(&mut world, 1, 10_000);
    world.run(10_000);
    assert_eq!(
        world.notices(1).len(),
        notices,
        "the leader saw nothing that it would report"
    );
}

#[test]
fn a_member_that_comes_back_is_preferred_only_when_its_old_copy_is_gone() {
    for seed in 0..20 {
        let slow = Weather {
            stop_ms: (20_000, 20_000),
            ..Weather::default()
        };
        let mut world = three(seed, slow);
        (0..3).for_each(|site| world.start(site));
        settled(&mut world, 1, 60_000);
        world.crash(1);
        world
            .run_until(20_000, |world| world.leaders() == [0])
            .expect("the next rank leads");
        world.start(1);
        world.run(15_000);
        assert_eq!(
            (world.leaders(), world.running()),
            (vec![0], vec![0, 1]),
            "seed {seed}: a member that cannot start yet is not worth stopping for"
        );
        settled(&mut world, 1, 40_000);
    }
}

#[test]
fn a_restarted_leader_with_ready_in_its_manifest_rejoins() {
    for seed in 0..100 {
        let mut world = three_settled(seed);
        let group = world.member(1).unwrap().group();
        world.crash(0);
        world.crash(1);
        world.run(500);
        world.start(0);
        world.start(1);
        settled(&mut world, 1, 30_000);
        assert_eq!(world.member(0).unwrap().group(), group, "seed {seed}");
    }
}

#[test]
fn a_restarted_lone_leader_leads_again_and_its_payload_runs_on() {
    let mut world = World::new(3, Weather::default());
    world.site(5, true, &[], BALANCED);
    world.start(0);
    settled(&mut world, 0, 10_000);
    world.crash(0);
    world.start(0);
    let mut stopped = false;
    world.run_until(2_000, |world| {
        stopped |= world.running().is_empty();
        world.is_settled_on(0)
    });
    settled(&mut world, 0, 100);
    assert!(
        !stopped,
        "nobody else can run it, so there is no reason to stop it"
    );
}

#[test]
fn two_voters_cut_apart_both_lead_and_the_lower_rank_yields_when_they_meet() {
    for seed in 0..100 {
        let mut world = World::new(seed, Weather::default()).unguarded();
        world.site(5, true, &[], BALANCED);
        world.site(10, false, &[0], BALANCED);
        world.start(0);
        world.start(1);
        settled(&mut world, 1, 30_000);
        world.isolate(0);
        world.run(20_000);
        assert_eq!(world.leaders(), [0, 1], "seed {seed}: each may lead alone");
        world.heal();
        settled(&mut world, 1, 5_000);
    }
}

#[test]
fn majority_of_two_stops_rather_than_splits() {
    let mut world = World::new(5, Weather::default());
    let majority = Settings {
        quorum: QuorumMode::Majority,
        ..BALANCED
    };
    world.site(5, true, &[], majority);
    world.site(10, false, &[0], majority);
    world.start(0);
    world.start(1);
    settled(&mut world, 1, 30_000);
    world.isolate(0);
    world.run(20_000);
    assert_eq!((world.leaders(), world.running()), (vec![], vec![]));
    world.heal();
    settled(&mut world, 1, 10_000);
}

#[test]
fn deleting_the_leaders_object_moves_the_payload_at_once_and_shrinks_the_roster() {
    for seed in 0..50 {
        let mut world = three_settled(seed);
        world.tell(1, Event::Leave);
        let took = world
            .run_until(5_000, |world| world.running() == [0])
            .expect("moved");
        assert!(took < 500, "seed {seed}: no waiting for a lease, took {took} ms");
        world
            .run_until(10_000, |world| world.member(1).unwrap().has_left())
            .expect("left");
        world.crash(1);
        settled(&mut world, 0, 5_000);
        assert_eq!(world.roster(0).unwrap().voters.len(), 2);
    }
}

#[test]
fn a_leader_whose_process_ends_hands_over() {
    let mut world = three_settled(9);
    world.tell(1, Event::Resign);
    let took = world
        .run_until(5_000, |world| world.running() == [0])
        .expect("moved");
    assert!(took < 500, "took {took} ms");
    world.crash(1);
    settled(&mut world, 0, 5_000);
    assert_eq!(world.roster(0).unwrap().voters.len(), 3, "it is still a voter");
}

/// Ranks at site 1, which leads, and at site 0, which follows: a change of either, or of both at once.
#[test]
fn a_change_of_ranks_moves_the_payload_once() {
    for seed in 0..50 {
        for (own, others) in [(4, 5), (10, 11), (3, 12)] {
            let mut world = three_settled(seed);
            world.configure(1, |config| config.profile.rank = own);
            world.configure(0, |config| config.profile.rank = others);
            settled(&mut world, 0, 5_000);
            world.run(120_000);
            settled(&mut world, 0, 10);
            let started = |(_, notice): &&(i64, Notice)| matches!(notice, Notice::MoveStarted { .. });
            let moves: Vec<_> = (0..3)
                .map(|site| world.notices(site).iter().filter(started).count())
                .collect();
            assert_eq!(
                moves,
                [1, 1, 0],
                "seed {seed}: one at the start, and one for the ranks"
            );
        }
    }
}

#[test]
fn equal_ranks_settle_and_stay_at_the_ends_of_their_range_too() {
    for rank in [i64::MAX, i64::MIN] {
        let mut world = World::new(7, Weather::default());
        world.site(rank, true, &[], BALANCED);
        world.site(rank, false, &[0], BALANCED);
        (0..2).for_each(|site| world.start(site));
        settled(&mut world, 0, 30_000);
        let term = world.member(0).unwrap().term();
        world.run(60_000);
        settled(&mut world, 0, 10);
        assert_eq!(world.member(0).unwrap().term(), term, "rank {rank}");
    }
}

#[test]
fn equal_ranks_settle_and_stay() {
    for seed in 0..50 {
        let mut world = World::new(seed, Weather::default());
        world.site(5, true, &[], BALANCED);
        world.site(5, false, &[0], BALANCED);
        world.site(5, false, &[0], BALANCED);
        (0..3).for_each(|site| world.start(site));
        settled(&mut world, 0, 30_000);
        world.run(60_000);
        settled(&mut world, 0, 10);
        world.lose(0);
        let took = world
            .run_until(10_000, |world| world.running().len() == 1)
            .expect("one takes over");
        assert!(took < 5_700, "seed {seed}: took {took} ms");
    }
}

#[test]
fn a_member_that_lost_its_memory_is_admitted_anew() {
    for seed in 0..50 {
        let mut world = three_settled(seed);
        for site in [0, 1] {
            world.crash(site);
            world.forget(site);
            world.start(site);
            settled(&mut world, 1, 60_000);
            assert_eq!(world.roster(1).unwrap().voters.len(), 3, "seed {seed}");
        }
    }
}

#[test]
fn a_third_member_ends_quorum_none_for_good() {
    let mut world = three_settled(11);
    assert!(!world.roster(1).unwrap().is_unguarded());
    world.tell(2, Event::Leave);
    world
        .run_until(10_000, |world| world.member(2).unwrap().has_left())
        .expect("left");
    world.crash(2);
    settled(&mut world, 1, 5_000);
    assert_eq!(
        (
            world.roster(1).unwrap().voters.len(),
            world.roster(1).unwrap().need()
        ),
        (2, 2)
    );
    world.isolate(0);
    world.run(20_000);
    assert_eq!(
        world.leaders(),
        Vec::<usize>::new(),
        "a group of three never falls back to None"
    );
}

#[test]
fn slow_api_servers_delay_an_election_and_do_not_prevent_it() {
    for seed in 0..20 {
        let weather = Weather {
            write_ms: (1_100, 4_500),
            ..Weather::default()
        };
        let mut world = three(seed, weather);
        (0..3).for_each(|site| world.start(site));
        settled(&mut world, 1, 120_000);
        world.lose(1);
        settled(&mut world, 0, 60_000);
    }
}

#[test]
fn a_leader_keeps_its_claim_while_the_others_cannot_persist() {
    for storage in [Storage::Refuses, Storage::Silent] {
        for seed in 0..20 {
            let mut world = three_settled(seed);
            world.set_storage(0, storage);
            world.set_storage(2, storage);
            world.set_write_time((5_000, 5_000));
            // A change of the roster is what they cannot write down.
            world.configure(1, |config| config.profile.rank += 1);
            let before = world.notices(1).len();
            world.run(120_000);
            assert_eq!(
                world.notices(1).len(),
                before,
                "seed {seed}: nothing happened to it"
            );
            world.set_storage(0, Storage::Works);
            world.set_storage(2, Storage::Works);
            world.set_write_time((3, 12));
            settled(&mut world, 1, 20_000);
        }
    }
}

#[test]
fn a_leader_that_cannot_persist_goes_on_and_says_so_until_it_can() {
    for seed in 0..20 {
        let mut world = three_settled(seed);
        world.set_storage(1, Storage::Refuses);
        world.configure(1, |config| config.profile.rank += 1);
        world.run(60_000);
        assert_eq!((world.leaders(), world.running()), (vec![1], vec![1]));
        assert_eq!(world.problem(1), Some(Problem::CannotPersist));
        assert!(
            world.writes(1) < 200,
            "seed {seed}: {} writes in a minute",
            world.writes(1)
        );
        world.configure(1, |config| config.profile.rank -= 1);
        world.run(10_000);
        world.set_storage(1, Storage::Works);
        settled(&mut world, 1, 5_000);
        world.run(2_000);
        assert_eq!(world.problem(1), None, "seed {seed}");
    }
}
