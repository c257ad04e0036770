//! Whole groups of the shipped state machine in simulated time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod groups;
mod members;
mod moves;
mod random;

use flagship_simulation::election::Settings;
use flagship_simulation::world::{Weather, World};

const BALANCED: Settings = Settings::BALANCED;

fn settled(world: &mut World, leader: usize, limit_ms: i64) -> i64 {
    let took = world.run_until(limit_ms, |world| world.is_settled_on(leader));
    assert_eq!(world.violations, [], "no promise may be broken");
    took.unwrap_or_else(|| {
        let members: Vec<_> = (0..world.sites()).map(|site| world.member(site)).collect();
        panic!(
            "not settled on {leader} after {limit_ms} ms; running {:?}: {members:#?}",
            world.running()
        )
    })
}

/// newyork, sheffield and gotham, as the samples have them.
fn three(seed: u64, weather: Weather) -> World {
    let mut world = World::new(seed, weather);
    world.site(5, true, &[], BALANCED);
    world.site(10, false, &[0], BALANCED);
    world.site(3, false, &[0, 1], BALANCED);
    world
}

fn three_settled(seed: u64) -> World {
    let mut world = three(seed, Weather::default());
    (0..3).for_each(|site| world.start(site));
    settled(&mut world, 1, 30_000);
    world
}
