//! What a group bears, derived and tried.

use flagship_simulation::rates::{PROFILES, Stall, calm, clear};
use flagship_simulation::tolerance::{Tolerance, tolerance};
use flagship_simulation::workers::on_all_cores;
use flagship_simulation::world::Weather;
use serde::Serialize;

/// Simulated hours of each trial.
const HOURS: i64 = 200;

/// What one profile bears.
#[derive(Debug, Serialize)]
pub(crate) struct Borne {
    pub(crate) profile: &'static str,
    #[serde(flatten)]
    pub(crate) tolerance: Tolerance,
    /// Leader changes with each of them up to its bound, one after the other.
    pub(crate) changes: Vec<(&'static str, u64)>,
}

pub(crate) fn check() -> Vec<Borne> {
    let derived = PROFILES.map(|(profile, settings, delay_ms)| {
        let weather = clear(delay_ms);
        (profile, settings, weather, tolerance(&settings, &weather))
    });
    let trials: Vec<_> = derived
        .iter()
        .flat_map(|(profile, settings, weather, tolerance)| {
            trials(*weather, *tolerance)
                .map(|(name, weather, stall)| (*profile, *settings, name, weather, stall))
        })
        .collect();
    let changes = on_all_cores(
        &trials,
        |(.., settings, _, weather, stall)| calm(7, HOURS, *settings, *weather, *stall).falls,
        |number, changes| {
            let (profile, _, name, ..) = trials[number];
            eprintln!("{profile} bears {name}: {changes} leader changes in {HOURS} hours");
        },
    );
    derived
        .into_iter()
        .map(|(profile, _, _, tolerance)| {
            let of_profile = trials
                .iter()
                .zip(&changes)
                .filter(|((name, ..), _)| *name == profile);
            let changes = of_profile
                .map(|((_, _, name, ..), changes)| (*name, *changes))
                .collect();
            Borne {
                profile,
                tolerance,
                changes,
            }
        })
        .collect()
}

fn trials(usual: Weather, tolerance: Tolerance) -> [(&'static str, Weather, Option<Stall>); 4] {
    let lossy = Weather {
        loss_permille: 300,
        losses_in_a_row_max: tolerance.losses_in_a_row,
        ..usual
    };
    let jittery = Weather {
        delay_ms: (usual.delay_ms.0, tolerance.delay_ms),
        ..usual
    };
    [
        ("losses in a row", lossy, None),
        ("delay", jittery, None),
        (
            "a leader's stalls",
            usual,
            Some(Stall::Leader(tolerance.stall_ms)),
        ),
        (
            "the others' stalls",
            usual,
            Some(Stall::Followers(tolerance.stall_ms)),
        ),
    ]
}
