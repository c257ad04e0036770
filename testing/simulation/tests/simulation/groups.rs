//! How groups come about, grow, shrink and meet.

use flagship_simulation::election::{Event, Notice, QuorumMode, RequestId, Settings, Wish};
use flagship_simulation::world::{Weather, World};

use super::{BALANCED, settled, three_settled};

/// Runs until this site alone leads and runs the payload, whatever the others hold.
fn settled_in(world: &mut World, leader: usize) {
    world
        .run_until(30_000, |world| {
            world.leaders() == [leader] && world.running() == [leader]
        })
        .expect("it leads");
}

#[test]
fn a_member_that_started_often_and_lost_its_memory_is_admitted_anew() {
    for seed in 0..20 {
        let mut world = three_settled(seed);
        for site in [0, 2] {
            for _ in 0..5 {
                world.crash(site);
                world.start(site);
                settled(&mut world, 1, 20_000);
            }
            world.crash(site);
            world.forget(site);
            world.start(site);
            settled(&mut world, 1, 20_000);
        }
        // Its followers obey it too when it comes to lead.
        world.lose(1);
        settled(&mut world, 0, 20_000);
    }
}

#[test]
fn a_member_whose_memory_went_back_is_admitted_anew() {
    for seed in 0..20 {
        let mut world = three_settled(seed);
        let old = world.backup(0);
        for _ in 0..3 {
            world.crash(0);
            world.start(0);
            settled(&mut world, 1, 20_000);
        }
        world.crash(0);
        world.restore(0, old);
        let memory = world.roster(1).unwrap().voters[0].memory;
        world.start(0);
        world.run(3_000);
        settled(&mut world, 1, 20_000);
        assert_ne!(world.roster(1).unwrap().voters[0].memory, memory, "seed {seed}");
        world.lose(1);
        settled(&mut world, 0, 20_000);
    }
}

#[test]
fn a_member_whose_memory_went_back_within_one_start_is_admitted_anew() {
    for seed in 0..20 {
        let mut world = three_settled(seed);
        let old = world.backup(2);
        // It votes, and is not started anew for that.
        world.lose(1);
        settled(&mut world, 0, 20_000);
        world.start(1);
        settled(&mut world, 1, 20_000);
        world.run(1_000);
        world.crash(2);
        world.restore(2, old);
        let memory = world.roster(1).unwrap().voters[2].memory;
        world.start(2);
        world.run(3_000);
        settled(&mut world, 1, 20_000);
        assert_ne!(world.roster(1).unwrap().voters[2].memory, memory, "seed {seed}");
    }
}

#[test]
fn a_newborn_group_yields_to_the_older_one_when_they_meet() {
    for seed in 0..20 {
        let mut world = three_settled(seed);
        let group = world.member(1).unwrap().group();
        // Its object is deleted and created anew while it is cut off: it hears nobody, and founds a second group.
        world.recreate(0);
        world.isolate(0);
        world.start(0);
        world
            .run_until(20_000, |world| world.running() == [0, 1])
            .expect("nobody told it otherwise");
        world.heal();
        world
            .run_until(20_000, |world| world.running() == [1])
            .unwrap_or_else(|| panic!("seed {seed}: the newborn group must yield"));
        // Until they met there were two copies, as there must be where nobody can know better.
        world.violations.clear();
        settled(&mut world, 1, 20_000);
        assert_eq!(world.member(0).unwrap().group(), group);
    }
}

#[test]
fn a_recreated_first_member_finds_the_group_before_it_founds_another() {
    for seed in 0..50 {
        let mut world = three_settled(seed);
        world.recreate(0);
        world.start(0);
        settled(&mut world, 1, 30_000);
        let founded = |site| {
            world
                .notices(site)
                .iter()
                .filter(|(_, notice)| *notice == Notice::Founded)
                .count()
        };
        assert_eq!(founded(0), 1, "seed {seed}: only when it was born first");
    }
}

#[test]
fn founders_that_know_one_another_only_through_a_third_make_one_group() {
    for seed in 0..100 {
        let mut world = World::new(seed, Weather::default());
        world.site(5, true, &[2], BALANCED);
        world.site(10, true, &[2], BALANCED);
        world.site(3, false, &[0, 1], BALANCED);
        (0..3).for_each(|site| world.start(site));
        settled(&mut world, 1, 60_000);
    }
}

#[test]
fn founders_that_ask_two_others_in_opposite_orders_do_not_wait_for_ever() {
    for seed in 0..100 {
        let mut world = World::new(seed, Weather::default());
        world.site(5, true, &[2, 3], BALANCED);
        world.site(10, true, &[2, 3], BALANCED);
        world.site(3, false, &[0, 1], BALANCED);
        world.site(1, false, &[0, 1], BALANCED);
        (0..4).for_each(|site| world.start(site));
        settled(&mut world, 1, 60_000);
    }
}

#[test]
fn a_founder_that_lists_itself_under_another_name_founds() {
    let mut world = World::new(1, Weather::default());
    world.site(5, true, &[], BALANCED);
    world.alias("newyork.example:1234", 0);
    world.configure(0, |config| config.fleet = vec!["newyork.example:1234".to_owned()]);
    world.start(0);
    settled(&mut world, 0, 20_000);
}

#[test]
fn a_member_that_leaves_while_the_leader_changes_is_let_go() {
    for seed in 0..50 {
        let mut world = three_settled(seed);
        // It is taken out, but the answer does not reach it before the leader is gone.
        world.cut(1, 2);
        world.tell(2, Event::Leave);
        world.run(500);
        world.lose(1);
        world.heal();
        // The one whom it asked leads no more when it returns.
        world.configure(0, |config| config.profile.rank = 20);
        world.run(10_000);
        world.start(1);
        world
            .run_until(20_000, |world| world.member(2).unwrap().has_left())
            .unwrap_or_else(|| panic!("seed {seed}: nobody let it go"));
        world.crash(2);
        settled(&mut world, 0, 30_000);
        assert_eq!(world.roster(0).unwrap().voters.len(), 2);
    }
}

#[test]
fn a_member_that_leaves_is_let_go_only_when_nobody_needs_its_vote() {
    for seed in 0..50 {
        let mut world = three_settled(seed);
        // The leader takes it out, and is lost before the third hears of that: the third and the leaver have to elect.
        world.cut(1, 0);
        world.tell(2, Event::Leave);
        world.run(500);
        assert!(
            !world.member(2).unwrap().has_left(),
            "seed {seed}: that is not agreed"
        );
        world.lose(1);
        world.heal();
        settled_in(&mut world, 0);
        world.run(20_000);
        assert_eq!(
            world.running(),
            [0],
            "seed {seed}: it leads as long as the leaver votes"
        );
        assert!(!world.member(2).unwrap().has_left(), "seed {seed}: it is needed");
        world.start(1);
        world
            .run_until(20_000, |world| world.member(2).unwrap().has_left())
            .unwrap_or_else(|| panic!("seed {seed}: nobody let it go"));
        world.crash(2);
        settled(&mut world, 1, 20_000);
        assert_eq!(world.roster(1).unwrap().voters.len(), 2);
    }
}

#[test]
fn a_third_member_joins_while_one_of_an_unguarded_pair_is_cut_off_and_all_meet_again() {
    for seed in 0..50 {
        let mut world = World::new(seed, Weather::default()).unguarded();
        world.site(5, true, &[], BALANCED);
        world.site(10, false, &[0], BALANCED);
        world.site(3, false, &[0, 1], BALANCED);
        world.start(0);
        world.start(1);
        settled(&mut world, 1, 30_000);
        world.isolate(1);
        world.run(10_000);
        world.start(2);
        world.run(20_000);
        world.heal();
        settled(&mut world, 1, 60_000);
        assert_eq!(world.roster(1).unwrap().voters.len(), 3, "seed {seed}");
    }
}

#[test]
fn an_unguarded_pair_that_restarted_on_both_sides_of_a_partition_has_one_leader_again() {
    for seed in 0..50 {
        let mut world = World::new(seed, Weather::default()).unguarded();
        world.site(5, true, &[], BALANCED);
        world.site(10, false, &[0], BALANCED);
        world.start(0);
        world.start(1);
        settled(&mut world, 1, 30_000);
        world.isolate(0);
        for site in [0, 1] {
            world.crash(site);
            world.start(site);
        }
        world.run(30_000);
        assert_eq!(world.leaders(), [0, 1], "seed {seed}: each may lead alone");
        world.heal();
        settled(&mut world, 1, 5_000);
    }
}

#[test]
fn a_candidate_of_an_unguarded_pair_that_was_frozen_does_not_take_silence_for_consent() {
    for seed in 0..100 {
        let mut world = World::new(seed, Weather::default());
        let settings = Settings {
            quorum: QuorumMode::None,
            ..BALANCED
        };
        world.site(5, true, &[], settings);
        world.site(10, false, &[0], settings);
        world.start(0);
        world.start(1);
        settled(&mut world, 1, 30_000);
        // The other restarts and leads again by its own; this one is frozen in the middle of asking it.
        world.crash(1);
        world
            .run_until(20_000, |world| {
                world.part(0) == Some(flagship_simulation::election::Part::Candidate)
            })
            .expect("it stands");
        world.freeze(0);
        world.start(1);
        world
            .run_until(20_000, |world| world.running() == [1])
            .expect("leads again");
        world.run(5_000);
        world.thaw(0);
        world.run(500);
        assert_eq!(world.leaders(), [1], "seed {seed}");
        settled(&mut world, 1, 20_000);
    }
}

/// The founder is made anew, and only a follower's fleet names its address.
#[test]
fn a_founder_that_left_and_is_made_anew_founds_no_second_group() {
    for seed in 0..20 {
        let mut world = World::new(seed, Weather::default());
        world.site(1, true, &[], BALANCED);
        world.site(5, false, &[0], BALANCED);
        world.site(10, false, &[1], BALANCED);
        (0..3).for_each(|site| world.start(site));
        settled(&mut world, 2, 40_000);
        let group = world.member(2).unwrap().group();
        world.tell(0, Event::Leave);
        let has_left = |world: &World| world.member(0).is_some_and(|member| member.has_left());
        world.run_until(10_000, has_left).expect("it leaves");
        world.recreate(0);
        world.start(0);
        settled(&mut world, 2, 30_000);
        world.run(60_000);
        settled(&mut world, 2, 10);
        for site in 0..3 {
            assert_eq!(world.member(site).unwrap().group(), group, "seed {seed}");
            assert_eq!(world.roster(site).unwrap().voters.len(), 3, "seed {seed}");
        }
    }
}

#[test]
fn a_pair_of_which_one_took_out_the_other_behind_a_partition_has_one_leader_again() {
    for (seed, removals) in (0..60).map(|seed| (seed, [&[0][..], &[1], &[0, 1]][(seed % 3) as usize])) {
        let mut world = World::new(seed, Weather::default()).unguarded();
        world.site(5, true, &[], BALANCED);
        world.site(10, false, &[0], BALANCED);
        world.start(0);
        world.start(1);
        settled(&mut world, 1, 30_000);
        world.isolate(0);
        world.run(20_000);
        for site in removals {
            let member = world.member(1 - site).unwrap().id();
            world.tell(*site, Event::Asked(RequestId(1), Wish::Remove { member }));
        }
        world.run(10_000);
        assert_eq!(world.leaders(), [0, 1], "seed {seed}: neither hears the other");
        for site in removals {
            assert_eq!(world.roster(*site).unwrap().voters.len(), 1, "seed {seed}");
        }
        world.heal();
        // Who was taken out joins anew, and the higher rank leads.
        settled(&mut world, 1, 30_000);
        assert_eq!(world.roster(1).unwrap().voters.len(), 2, "seed {seed}");
    }
}

#[test]
fn ranks_that_changed_while_a_pair_was_cut_apart_count_when_it_meets() {
    for seed in 0..50 {
        let mut world = World::new(seed, Weather::default()).unguarded();
        world.site(5, true, &[], BALANCED);
        world.site(10, false, &[0], BALANCED);
        world.start(0);
        world.start(1);
        settled(&mut world, 1, 30_000);
        world.isolate(0);
        world.run(10_000);
        // The other goes on taking it for lower than itself.
        world.configure(0, |config| config.profile.rank = 12);
        world.run(10_000);
        world.heal();
        settled(&mut world, 0, 5_000);
    }
}
