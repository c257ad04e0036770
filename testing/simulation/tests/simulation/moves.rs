//! Moves that people ask for, moves away from a payload that fails, and members that only vote.

use flagship_simulation::election::{
    Duty, Event, Fitness, MemberId, MoveReason, Notice, Preemption, RequestId, Wish,
};
use flagship_simulation::world::{Weather, World};

use crate::{settled, three, three_settled};

const MINUTE_MS: i64 = 60_000;

fn identity(site: usize) -> MemberId {
    MemberId(u128::try_from(site).unwrap() + 1)
}

fn ask_to_lead(world: &mut World, through: usize, to: usize) {
    let wish = Wish::Move {
        to: identity(to),
        force: false,
    };
    let request = RequestId(u128::from(world.draw(u64::MAX)));
    world.tell(through, Event::Asked(request, wish));
}

fn answers(world: &World, site: usize) -> Vec<bool> {
    let ended = |(_, notice): &(i64, Notice)| match notice {
        Notice::AskedEnded { outcome, .. } => Some(outcome.is_ok()),
        _ => None,
    };
    world.notices(site).iter().filter_map(ended).collect()
}

fn moves(world: &World, reason: MoveReason) -> usize {
    let is_one = |notice: &&(i64, Notice)| matches!(&notice.1, Notice::MoveStarted { reason: why, .. } if *why == reason);
    (0..world.sites())
        .map(|site| world.notices(site).iter().filter(is_one).count())
        .sum()
}

#[test]
fn a_switch_goes_through_any_member_and_holds_until_its_leader_falls_out() {
    for seed in 0..30 {
        let mut world = three_settled(seed);
        let through = usize::try_from(seed).unwrap() % 3;
        ask_to_lead(&mut world, through, 2);
        world.run(3_000);
        assert_eq!(
            answers(&world, through),
            [true],
            "seed {seed}: {:?}",
            world.notices(through)
        );
        settled(&mut world, 2, 10_000);
        world.run(10 * MINUTE_MS);
        assert_eq!(world.leaders(), [2], "seed {seed}: rank does not take it back");
        assert_eq!(answers(&world, through), [true], "seed {seed}");
        world.lose(2);
        settled(&mut world, 1, 20_000);
        world.start(2);
        world.run(MINUTE_MS);
        settled(&mut world, 1, 20_000);
        ask_to_lead(&mut world, 0, 0);
        settled(&mut world, 0, 10_000);
        assert_eq!(world.violations, []);
    }
}

#[test]
fn a_payload_that_is_broken_everywhere_does_not_go_round_and_round() {
    let mut world = three_settled(4);
    // A payload counts as failed when it has been unhealthy for a minute.
    let mut leads_since: [Option<i64>; 3] = [None; 3];
    let end = world.now_ms() + 60 * MINUTE_MS;
    while world.now_ms() < end {
        world.run(1_000);
        for (site, since) in leads_since.iter_mut().enumerate() {
            let leads = world.running() == [site];
            match (leads, *since) {
                (true, None) => *since = Some(world.now_ms()),
                (true, Some(began)) if world.now_ms() - began == MINUTE_MS => {
                    world.tell(site, Event::Fitness(Fitness::Unfit));
                }
                (false, Some(_)) => {
                    *since = None;
                    world.tell(site, Event::Fitness(Fitness::Fit));
                }
                _ => {}
            }
        }
    }
    assert_eq!(world.violations, []);
    let count = moves(&world, MoveReason::Unfit);
    // Each member is left after 0, 5, 15 and 35 minutes at the most often.
    assert!((3..=12).contains(&count), "{count} moves in an hour");
}

#[test]
fn a_witness_votes_and_never_leads() {
    for seed in 0..30 {
        let mut world = World::new(seed, Weather::default());
        world.site(5, true, &[], crate::BALANCED);
        world.site(10, false, &[0], crate::BALANCED);
        world.site(99, false, &[0, 1], crate::BALANCED);
        world.configure(2, |config| config.profile.duty = Duty::Witness);
        (0..3).for_each(|site| world.start(site));
        settled(&mut world, 1, 30_000);
        world.lose(1);
        settled(&mut world, 0, 20_000);
        world.start(1);
        settled(&mut world, 1, 30_000);
        // With the witness and one candidate gone nobody leads, and nothing runs, until one of them is back.
        world.lose(0);
        world.crash(2);
        world.run(30_000);
        assert_eq!(
            (world.leaders(), world.running()),
            (vec![], vec![]),
            "seed {seed}"
        );
        world.start(2);
        settled(&mut world, 1, 30_000);
        assert_eq!(world.violations, []);
    }
}

#[test]
fn without_preemption_the_lead_stays_where_it_is() {
    let mut world = three_settled(1);
    for site in 0..3 {
        world.configure(site, |config| config.settings.preemption = Preemption::Never);
    }
    world.run(5_000);
    world.lose(1);
    settled(&mut world, 0, 20_000);
    world.start(1);
    world.run(10 * MINUTE_MS);
    settled(&mut world, 0, 1_000);
}

#[test]
fn a_group_that_lost_its_majority_is_rebuilt_from_what_is_left() {
    let mut world = three_settled(2);
    world.lose(0);
    world.lose(1);
    world.run(20_000);
    assert_eq!(world.running(), Vec::<usize>::new());
    world.tell(2, Event::Asked(RequestId(1), Wish::Recover));
    settled(&mut world, 2, 20_000);
    assert_eq!(world.roster(2).unwrap().voters.len(), 1);
    // One that was made anew joins it; one that remembers the old group does not, and nobody leads there.
    world.recreate(1);
    world.configure(1, |config| config.fleet = vec!["site-2".to_owned()]);
    world.start(1);
    settled(&mut world, 1, 30_000);
    world.start(0);
    world.run(MINUTE_MS);
    assert_eq!(world.leaders(), [1]);
    assert_eq!(world.running(), [1]);
}

#[test]
fn candidates_that_are_deleted_together_leave_no_group_behind_with_the_witness() {
    for seed in 0..100 {
        let mut world = three(seed, Weather::default());
        world.start(0);
        world.start(1);
        world.configure(2, |config| config.profile.duty = Duty::Witness);
        world.start(2);
        settled(&mut world, 1, 30_000);
        let apart_ms = world.draw(500).try_into().unwrap();
        let first = usize::try_from(world.draw(2)).unwrap();
        world.tell(first, Event::Leave);
        world.run(apart_ms);
        world.tell(1 - first, Event::Leave);
        let took = world.run_until(15_000, |world| {
            world.member(0).unwrap().has_left() && world.member(1).unwrap().has_left()
        });
        assert!(
            took.is_some(),
            "seed {seed}: both leave, {apart_ms} ms apart, {first} first"
        );
        world
            .run_until(5_000, |world| world.member(2).unwrap().group().is_none())
            .unwrap_or_else(|| {
                panic!("seed {seed}: the witness is left in a dead group, {apart_ms} ms apart, {first} first")
            });
        assert_eq!(world.violations, []);
    }
}
