//! Leader changes without cause, against loss.

use flagship_simulation::rates::{calm, profiles};
use flagship_simulation::tolerance::HOURS;
use flagship_simulation::workers::on_all_cores;
use flagship_simulation::world::Weather;
use serde::Serialize;

const LOSS_PERCENT: [u64; 6] = [0, 1, 5, 10, 20, 30];
/// Simulated hours of each seed.
const HOURS_EACH: i64 = 100;
const HOURS_IN_A_YEAR: f64 = 8_766.0;
const HOUR_MS: f64 = 3_600_000.0;

/// One profile at one loss.
#[derive(Debug, Serialize)]
pub(crate) struct Unrest {
    pub(crate) profile: &'static str,
    pub(crate) loss_percent: u64,
    pub(crate) hours: f64,
    pub(crate) changes: u64,
    /// Of ten thousand hours.
    pub(crate) changes_per_10000_hours: f64,
    pub(crate) broken: Vec<String>,
}

/// The same number of years with each profile and loss.
pub(crate) fn measure(years: f64) -> Vec<Unrest> {
    #[allow(clippy::cast_precision_loss, reason = "a count of a few")]
    let cells = (profiles().len() * LOSS_PERCENT.len()) as f64;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a count of runs"
    )]
    let runs = (years * HOURS_IN_A_YEAR / cells / HOURS_EACH as f64)
        .ceil()
        .max(1.0) as u64;
    let mut told = Vec::new();
    for profile in profiles() {
        for loss_percent in LOSS_PERCENT {
            let weather = Weather {
                loss_permille: loss_percent * 10,
                ..profile.usual
            };
            let seeds: Vec<u64> = (0..runs).collect();
            let lives = on_all_cores(
                &seeds,
                |seed| calm(*seed, HOURS_EACH, &profile, weather, None),
                |_, _| {},
            );
            #[allow(clippy::cast_precision_loss, reason = "milliseconds of some years")]
            let hours = lives.iter().map(|calm| calm.lived_ms).sum::<i64>() as f64 / HOUR_MS;
            let changes: u64 = lives.iter().map(|calm| calm.falls).sum();
            #[allow(clippy::cast_precision_loss, reason = "a count of some thousands")]
            let rate = changes as f64 / hours * HOURS;
            eprintln!(
                "{} at {loss_percent} % loss: {changes} leader changes in {hours:.0} hours",
                profile.name
            );
            told.push(Unrest {
                profile: profile.name,
                loss_percent,
                hours,
                changes,
                changes_per_10000_hours: rate,
                broken: lives
                    .into_iter()
                    .flat_map(|calm| calm.violations)
                    .map(|violation| violation.what)
                    .collect(),
            });
        }
    }
    told
}
