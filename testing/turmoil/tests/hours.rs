//! Hours of faults for whole processes on a simulated network, all seeds together.
//!
//! `TURMOIL_HOURS=1000 cargo test -p flagship-turmoil --test hours` lives through more. A seed that fails is printed;
//! `TURMOIL_SEED=17 TURMOIL_LOG=debug` lives it alone and shows what the processes log.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::io::Write;
use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use flagship_simulation::workers::on_all_cores;
use flagship_turmoil::life::{Outcome, live};
use flagship_turmoil::log;
use flagship_turmoil::watch::Violation;

/// How many seeds live for an hour each.
const HOURS: u64 = 20;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")),
    )
}

#[test]
fn hours_of_faults_break_no_promise() {
    log::init();
    let seeds: Vec<u64> = match number("TURMOIL_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("TURMOIL_HOURS").unwrap_or(HOURS)).collect(),
    };
    let began = Instant::now();
    let outcomes = on_all_cores(&seeds, |seed| survive(*seed), tell);
    let faults: u64 = outcomes.iter().map(|outcome| outcome.faults).sum();
    let mut leader_after: Vec<_> = outcomes
        .iter()
        .flat_map(|outcome| &outcome.leader_after)
        .collect();
    leader_after.sort();
    let lived: Duration = outcomes.iter().map(|outcome| outcome.lived).sum();
    // Past the test harness, which would show it only of a test that fails.
    writeln!(
        std::io::stderr(),
        "{:.1} simulated hours: {faults} faults, {} times mended, a leader of all at most {:?} later, {:.0} s",
        lived.as_secs_f64() / 3_600.0,
        leader_after.len(),
        leader_after.last(),
        began.elapsed().as_secs_f64()
    )
    .unwrap();
    let broken: Vec<_> = outcomes
        .iter()
        .filter(|outcome| !outcome.violations.is_empty())
        .map(|outcome| (outcome.seed, &outcome.violations))
        .collect();
    assert!(broken.is_empty(), "seeds and what they broke: {broken:#?}");
    assert!(outcomes.iter().all(|outcome| outcome.leader_after.len() > 1));
}

/// A panic of the simulation itself names its seed, too.
fn survive(seed: u64) -> Outcome {
    let hour = Duration::from_secs(3_600);
    catch_unwind(|| live(seed, hour)).unwrap_or_else(|_| Outcome {
        seed,
        violations: vec![Violation {
            at: Duration::ZERO,
            what: "the simulation panicked; it is told above".to_owned(),
        }],
        ..Outcome::default()
    })
}

fn tell(_: usize, outcome: &Outcome) {
    if !outcome.violations.is_empty() {
        drop(writeln!(
            std::io::stderr(),
            "seed {}: {:#?}",
            outcome.seed,
            outcome.violations
        ));
    }
}
