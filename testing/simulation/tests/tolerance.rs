//! What a group bears, as derived, against what it bears in simulation (promise L2).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use flagship_simulation::rates::{Calm, Profile, Stall, calm, profiles};
use flagship_simulation::tolerance::tolerance;
use flagship_simulation::world::Weather;

/// Simulated hours of each trial.
const HOURS: i64 = 20;

fn falls(profile: &Profile, weather: Weather, stall: Option<Stall>) -> u64 {
    let Calm {
        falls, violations, ..
    } = calm(3, HOURS, profile, weather, stall);
    assert_eq!(violations, []);
    falls
}

#[test]
fn no_leader_changes_up_to_the_bounds_of_its_profile() {
    for profile in profiles() {
        let usual = profile.usual;
        let bound = tolerance(&profile.settings, &usual);
        let lossy = Weather {
            loss_permille: 300,
            losses_in_a_row_max: bound.losses_in_a_row,
            ..usual
        };
        let jittery = Weather {
            delay_ms: (usual.delay_ms.0, bound.delay_ms),
            ..usual
        };
        for (weather, stall) in [
            (lossy, None),
            (jittery, None),
            (usual, Some(Stall::Leader(bound.stall_ms))),
            (usual, Some(Stall::Followers(bound.stall_ms))),
        ] {
            let falls = falls(&profile, weather, stall);
            assert_eq!(falls, 0, "{}: {bound:?}, {weather:?}, {stall:?}", profile.name);
        }
    }
}

#[test]
fn leaders_change_beyond_the_bounds() {
    for profile in profiles() {
        let bound = tolerance(&profile.settings, &profile.usual);
        let beyond = bound.stall_ms + 2 * profile.settings.heartbeat_ms;
        let falls = falls(&profile, profile.usual, Some(Stall::Leader(beyond)));
        assert!(falls > 0, "{}: {bound:?}", profile.name);
    }
}

/// Beyond the bounds leaders come and go, but never two at once, and one is there when the loss is over.
#[test]
fn at_thirty_percent_loss_no_promise_is_broken() {
    for profile in profiles() {
        let lossy = Weather {
            loss_permille: 300,
            ..profile.usual
        };
        for seed in 0..3 {
            let Calm { violations, .. } = calm(seed, HOURS, &profile, lossy, None);
            assert_eq!(violations, [], "{}, seed {seed}", profile.name);
        }
    }
}
