//! The shipped state machine in every situation that the bounds allow.
//!
//! `MODEL_DEPTH=2 cargo test -p flagship-proof --test exhaustive` goes two units of time further, and
//! `MODEL_ONLY=clocks` looks at the situations with that in their names.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::Write;
use std::thread::available_parallelism;

use flagship_proof::model::{Walk, check, situations};

#[test]
fn every_promise_holds_in_every_situation() {
    let more = std::env::var("MODEL_DEPTH").map_or(0, |text| text.parse().expect("MODEL_DEPTH is a number"));
    let only = std::env::var("MODEL_ONLY").unwrap_or_default();
    let threads = available_parallelism().map_or(1, usize::from);
    for situation in situations() {
        if !situation.name.contains(&only) {
            continue;
        }
        let findings = check((situation.build)(situation.name, more), Walk::Whole, threads);
        // Past the test harness, which would show it only of a test that fails.
        writeln!(
            std::io::stderr(),
            "{}\n    {} states, {} different, {} steps deep, {:.1} s",
            findings.title,
            findings.states,
            findings.unique_states,
            findings.depth,
            findings.took.as_secs_f64()
        )
        .unwrap();
        if let Some((invariant, story)) = findings.broken.first_key_value() {
            panic!("{invariant}: broken\n{story}");
        }
        assert_eq!(
            findings.impossible,
            [] as [&str; 0],
            "the bounds leave no room for it"
        );
    }
}
