//! What a group bears, derived and tried.

use flagship_simulation::rates::{Profile, Stall, calm, profiles};
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
    let derived = profiles().map(|profile| (profile, tolerance(&profile.settings, &profile.usual)));
    let trials: Vec<_> = derived
        .iter()
        .flat_map(|(profile, tolerance)| {
            trials(profile.usual, *tolerance).map(|(name, weather, stall)| (*profile, name, weather, stall))
        })
        .collect();
    let changes = on_all_cores(
        &trials,
        |(profile, _, weather, stall)| calm(7, HOURS, profile, *weather, *stall).falls,
        |number, changes| {
            let (profile, name, ..) = trials[number];
            eprintln!(
                "{} at its bound of {name}: {changes} leader changes in {HOURS} hours",
                profile.name
            );
        },
    );
    derived
        .into_iter()
        .map(|(Profile { name, .. }, tolerance)| {
            let of_profile = trials
                .iter()
                .zip(&changes)
                .filter(|((profile, ..), _)| profile.name == name);
            Borne {
                profile: name,
                tolerance,
                changes: of_profile
                    .map(|((_, what, ..), changes)| (*what, *changes))
                    .collect(),
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
