//! Years of faults.

use std::sync::atomic::{AtomicU64, Ordering};

use flagship_simulation::life::{Outcome, live};
use flagship_simulation::rates::profiles;
use flagship_simulation::workers::on_all_cores;
use serde::Serialize;

/// Simulated hours of each seed.
pub(crate) const HOURS: i64 = 24;
const HOURS_IN_A_YEAR: f64 = 8_766.0;
const HOUR_MS: f64 = 3_600_000.0;

/// What became of the groups of one profile.
#[derive(Debug, Serialize)]
pub(crate) struct Lives {
    pub(crate) profile: &'static str,
    pub(crate) years: f64,
    pub(crate) groups: usize,
    pub(crate) faults: u64,
    /// How often everything was mended.
    pub(crate) mendings: usize,
    /// From the mending of the last fault to one leader with the only payload, in milliseconds, where it was not so
    /// already.
    pub(crate) leader_after_ms: Quantiles,
    /// Seeds with which promises were broken, and what was seen first.
    pub(crate) broken: Vec<(u64, String)>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) count: usize,
    pub(crate) p50: i64,
    pub(crate) p99: i64,
    pub(crate) max: i64,
}

impl Quantiles {
    fn of(mut values: Vec<i64>) -> Quantiles {
        values.sort_unstable();
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).copied().unwrap_or(0)
        };
        Quantiles {
            count: values.len(),
            p50: at(50),
            p99: at(99),
            max: at(100),
        }
    }
}

/// The same number of years with each profile.
pub(crate) fn live_through(years: f64, first_seed: u64) -> Vec<Lives> {
    let profiles = profiles().into_iter().zip([0_u64, 1, 2]);
    profiles
        .map(|(profile, nth)| {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                clippy::cast_sign_loss,
                reason = "a count of days"
            )]
            let groups = (years / 3.0 * HOURS_IN_A_YEAR / HOURS as f64).ceil().max(1.0) as u64;
            let first = first_seed + nth * 10_000_000;
            let seeds: Vec<u64> = (first..first + groups).collect();
            let through = AtomicU64::new(0);
            let outcomes = on_all_cores(
                &seeds,
                |seed| live(*seed, HOURS, profile.settings, false),
                |_, outcome| {
                    let through = through.fetch_add(1, Ordering::Relaxed) + 1;
                    if !outcome.violations.is_empty() {
                        eprintln!("seed {}: {:?}", outcome.seed, outcome.violations);
                    }
                    if through.is_multiple_of(100) || through == groups {
                        eprintln!("faults at {}: {through} of {groups} groups", profile.name);
                    }
                },
            );
            lives(profile.name, &outcomes)
        })
        .collect()
}

fn lives(profile: &'static str, outcomes: &[Outcome]) -> Lives {
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of some years")]
    let lived_ms = outcomes.iter().map(|outcome| outcome.lived_ms).sum::<i64>() as f64;
    let broken = outcomes.iter().filter_map(|outcome| {
        let first = outcome.violations.first()?;
        Some((outcome.seed, format!("after {} ms: {}", first.at_ms, first.what)))
    });
    let after_ms = outcomes
        .iter()
        .flat_map(|outcome| outcome.leader_after_ms.iter().copied());
    let (unled, led): (Vec<i64>, Vec<i64>) = after_ms.partition(|ms| *ms > 0);
    Lives {
        profile,
        years: lived_ms / HOUR_MS / HOURS_IN_A_YEAR,
        groups: outcomes.len(),
        faults: outcomes.iter().map(|outcome| outcome.faults).sum(),
        mendings: unled.len() + led.len(),
        leader_after_ms: Quantiles::of(unled),
        broken: broken.collect(),
    }
}
