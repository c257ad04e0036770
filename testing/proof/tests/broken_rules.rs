//! The test of the model check: a copy of the election with one rule broken must be found out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::Write;
use std::thread::available_parallelism;

use flagship_proof::broken::break_rule;
use flagship_proof::broken::model::{Walk, check, situations};
use flagship_proof::mutations::MUTATIONS;

#[test]
fn every_broken_rule_is_found_out() {
    let only = std::env::var("MODEL_ONLY").unwrap_or_default();
    let threads = available_parallelism().map_or(1, usize::from);
    // Who looks at one wants to see how little it takes.
    let walk = if only.is_empty() {
        Walk::Whole
    } else {
        Walk::Shortest
    };
    let mut missed = Vec::new();
    for (number, mutation) in MUTATIONS.iter().enumerate() {
        if !mutation.name.contains(&only) {
            continue;
        }
        break_rule(number);
        let situations = situations();
        let fitting: Vec<_> = situations
            .iter()
            .filter(|situation| situation.name.contains(mutation.situation))
            .collect();
        assert!(!fitting.is_empty(), "no situation {:?}", mutation.situation);
        let mut caught = false;
        for situation in fitting {
            if caught {
                break;
            }
            let findings = check((situation.build)(situation.name, 0), walk, threads);
            let broken = findings.broken.iter().next();
            // Past the test harness, which would show it only of a test that fails.
            writeln!(
                std::io::stderr(),
                "{}, in {}: {} after {} states, {:.1} s{}",
                mutation.name,
                situation.name,
                broken.map_or("not found out", |(invariant, _)| *invariant),
                findings.states,
                findings.took.as_secs_f64(),
                broken
                    .filter(|_| !only.is_empty())
                    .map_or(String::new(), |(_, story)| format!("\n{story}")),
            )
            .unwrap();
            caught |= broken.is_some();
        }
        if !caught {
            missed.push(mutation.name);
        }
    }
    assert_eq!(missed, [] as [&str; 0], "not found out");
}
