//! What a group bears, as derived, against what it bears in simulation (promise L2).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use flagship_simulation::rates::{Calm, PROFILES, Stall, calm, clear};
use flagship_simulation::tolerance::tolerance;
use flagship_simulation::world::Weather;

/// Simulated hours of each trial.
const HOURS: i64 = 20;

fn lives(profile: usize, change: impl FnOnce(Weather) -> Weather, stall: Option<Stall>) -> Calm {
    let (_, settings, delay_ms) = PROFILES[profile];
    let calm = calm(3, HOURS, settings, change(clear(delay_ms)), stall);
    assert_eq!(calm.violations, []);
    calm
}

#[test]
fn no_leader_changes_up_to_the_bounds_of_its_profile() {
    for (number, (profile, settings, delay_ms)) in PROFILES.iter().enumerate() {
        let bound = tolerance(settings, &clear(*delay_ms));
        let lossy = |usual| Weather {
            loss_permille: 300,
            losses_in_a_row_max: bound.losses_in_a_row,
            ..usual
        };
        assert_eq!(lives(number, lossy, None).falls, 0, "{profile}: {bound:?}");
        let jittery = |usual: Weather| Weather {
            delay_ms: (usual.delay_ms.0, bound.delay_ms),
            ..usual
        };
        assert_eq!(lives(number, jittery, None).falls, 0, "{profile}: {bound:?}");
        for stall in [Stall::Leader(bound.stall_ms), Stall::Followers(bound.stall_ms)] {
            let falls = lives(number, |usual| usual, Some(stall)).falls;
            assert_eq!(falls, 0, "{profile}, {stall:?}: {bound:?}");
        }
    }
}

#[test]
fn leaders_change_beyond_the_bounds() {
    for (number, (profile, settings, delay_ms)) in PROFILES.iter().enumerate() {
        let bound = tolerance(settings, &clear(*delay_ms));
        let stall = Stall::Leader(bound.stall_ms + 2 * settings.heartbeat_ms);
        assert!(
            lives(number, |usual| usual, Some(stall)).falls > 0,
            "{profile}: {bound:?}"
        );
    }
}
