//! How often a group changes its leader where nothing is wrong but the network: no process dies and no link is cut.

use crate::election::Settings;
use crate::world::{Network, Violation, Weather, World};

const HOUR_MS: i64 = 3_600_000;

/// A profile and the links that it is meant for.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// As users call it.
    pub name: &'static str,
    /// Its timing.
    pub settings: Settings,
    /// Connections over its links, with nothing lost.
    pub usual: Weather,
}

/// The three profiles: within a site, a region, and between continents.
#[must_use]
pub fn profiles() -> [Profile; 3] {
    let profile = |name, settings, delay_ms| Profile {
        name,
        settings,
        usual: Weather {
            network: Network::Connections,
            delay_ms,
            ..Weather::default()
        },
    };
    [
        profile("Fast", Settings::FAST, (1, 2)),
        profile("Balanced", Settings::BALANCED, (1, 10)),
        profile("Wide", Settings::WIDE, (50, 120)),
    ]
}

/// What was seen of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calm {
    /// Simulated time, once a leader was there.
    pub lived_ms: i64,
    /// How often a leader lost the lead without giving it away.
    pub falls: u64,
    /// Promises that were broken.
    pub violations: Vec<Violation>,
}

/// What stands still for a while, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// The leader's process, for so many milliseconds.
    Leader(i64),
    /// Those of all others at once.
    Followers(i64),
}

/// Lets three members that have a leader live for `hours` in a weather, and mends it at the end.
#[must_use]
pub fn calm(seed: u64, hours: i64, profile: &Profile, weather: Weather, stall: Option<Stall>) -> Calm {
    let Profile { settings, usual, .. } = *profile;
    let mut world = World::new(seed, usual);
    for (site, rank) in [5, 10, 3].into_iter().enumerate() {
        let fleet: Vec<usize> = (0..site).collect();
        world.site(rank, site == 0, &fleet, settings);
        // The bound on drift is kept: the leader's clock is the fastest.
        world.set_clock_rate(site, if rank == 10 { 1_010 } else { 992 });
        world.start(site);
    }
    let settled = world.run_until(40 * settings.lease_ms + 60_000, |world| world.is_settled_on(1));
    assert!(settled.is_some(), "seed {seed}: no leader to begin with");
    let (begun_ms, falls) = (world.now_ms(), world.falls);
    world.set_weather(|now| *now = weather);
    match stall {
        None => world.run(hours * HOUR_MS),
        Some(stall) => {
            while world.now_ms() < begun_ms + hours * HOUR_MS {
                stand_still(&mut world, stall, settings.lease_ms);
            }
        }
    }
    let (lived_ms, falls) = (world.now_ms() - begun_ms, world.falls - falls);
    world.set_weather(|now| *now = usual);
    world.heal_and_demand_a_leader(40 * settings.lease_ms + 60_000);
    Calm {
        lived_ms,
        falls,
        violations: world.violations,
    }
}

fn stand_still(world: &mut World, stall: Stall, lease_ms: i64) {
    let stalls = |world: &World, site: usize| match stall {
        Stall::Leader(_) => world.leads(site),
        Stall::Followers(_) => !world.leads(site),
    };
    let (Stall::Leader(ms) | Stall::Followers(ms)) = stall;
    let still: Vec<usize> = (0..world.sites()).filter(|site| stalls(world, *site)).collect();
    for site in &still {
        world.freeze(*site);
    }
    world.run(ms);
    for site in &still {
        world.thaw(*site);
    }
    // One stall has to be over before the next.
    let pause_ms = world.between((lease_ms, 3 * lease_ms));
    world.run(pause_ms);
}
