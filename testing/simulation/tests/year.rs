//! A year of faults at profile Balanced, all seeds together.
//!
//! `SIMULATION_DAYS=3650 cargo test -p flagship-simulation --test year` lives through more. A seed that fails is printed;
//! `cargo run -p flagship-simulation --bin simulate -- life SEED` tells it step by step.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::Write;
use std::time::Instant;

use flagship_simulation::election::Settings;
use flagship_simulation::life::{Outcome, live};
use flagship_simulation::workers::on_all_cores;

/// Each seed lives for a day.
const HOURS: i64 = 24;
const DAYS: u64 = 365;

#[test]
fn a_year_of_faults_breaks_no_promise() {
    let days = std::env::var("SIMULATION_DAYS")
        .map_or(DAYS, |text| text.parse().expect("SIMULATION_DAYS is a number"));
    let seeds: Vec<u64> = (0..days).collect();
    let began = Instant::now();
    let outcomes = on_all_cores(
        &seeds,
        |seed| live(*seed, HOURS, Settings::BALANCED, false),
        |_, _| {},
    );
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    // Past the test harness, which would show it only of a test that fails.
    writeln!(
        std::io::stderr(),
        "{days} simulated days: {} faults, {} times mended, {} messages, {:.0} s",
        sum(|outcome| outcome.faults),
        sum(|outcome| u64::try_from(outcome.leader_after_ms.len()).unwrap()),
        sum(|outcome| outcome.delivered),
        began.elapsed().as_secs_f64()
    )
    .unwrap();
    let broken: Vec<_> = outcomes
        .iter()
        .filter(|outcome| !outcome.violations.is_empty())
        .map(|outcome| (outcome.seed, &outcome.violations))
        .collect();
    assert!(broken.is_empty(), "seeds and what they broke: {broken:#?}");
    assert!(outcomes.iter().all(|outcome| outcome.leader_after_ms.len() > 10));
}

#[test]
fn a_seed_replays_exactly_and_others_go_other_ways() {
    let lives = [5, 5, 45, 6].map(|seed| live(seed, 3, Settings::BALANCED, false));
    assert_eq!(lives[0], lives[1]);
    for (one, other) in [(0, 2), (0, 3), (2, 3)] {
        assert_ne!(lives[one].digest, lives[other].digest);
    }
}
