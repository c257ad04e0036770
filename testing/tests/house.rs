//! The house keeps its shape: no arrow between the rooms of `src/` runs back up or sideways, and the election knows
//! neither a clock, nor the network, nor chance.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "house/arrows.rs"]
mod arrows;
#[path = "house/paths.rs"]
mod paths;

use std::fs;
use std::path::{Path, PathBuf};

use arrows::{Rooms, violations};

/// The rooms, from the top down. A room may use those below it; rooms side by side do not know one another.
const LAYERS: &[&[&str]] = &[
    &["cli"],
    &["controller", "witness"],
    &["mail"],
    &["election", "peer", "payload", "mirror", "fleet", "observe"],
    &["api", "cluster"],
    &["clock", "system"],
];

/// What the election must be given rather than fetch, so that the simulator and the model checker step the same code.
const BANNED_IN_ELECTION: &[(&str, &str)] = &[
    ("crate::clock", "time is passed in"),
    ("std::time::Instant", "time is passed in"),
    ("std::time::SystemTime", "time is passed in"),
    ("jiff", "time is passed in"),
    ("rustix", "time is passed in"),
    ("rand::rng", "the random source is passed in"),
    ("rand::random", "the random source is passed in"),
    ("rand::thread_rng", "the random source is passed in"),
    (
        "std::collections::HashMap",
        "its order differs from run to run: use BTreeMap",
    ),
    (
        "std::collections::HashSet",
        "its order differs from run to run: use BTreeSet",
    ),
    ("std::thread", "it is a synchronous state machine"),
    ("std::net", "only peer touches sockets"),
    ("tokio", "it is a synchronous state machine"),
    ("kube", "only controller talks to the API server"),
    ("k8s_openapi", "only controller talks to the API server"),
];

fn rooms() -> Rooms {
    Rooms {
        layers: LAYERS,
        banned: &[("election", BANNED_IN_ELECTION)],
    }
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../src")
}

/// Every Rust file below a folder.
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_arrow_runs_back_up_or_sideways() {
    let source = source_folder();
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    assert!(files.len() > 10, "src/ was not found");
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let name = file.strip_prefix(&source).unwrap().to_str().unwrap().to_owned();
        all.extend(violations(&rooms(), &name, &fs::read_to_string(&file).unwrap()));
    }
    assert!(all.is_empty(), "\n{}\n", all.join("\n"));
}

/// What the scanner says of a made-up file.
fn told(file: &str, text: &str) -> Vec<String> {
    violations(&rooms(), file, text)
}

#[test]
fn arrows_that_run_down_are_fine() {
    assert!(told("cli/controller.rs", "use crate::controller::{run, Options};").is_empty());
    assert!(
        told(
            "controller/mod.rs",
            "use crate::{api::MultiCluster, election, peer::Transport};"
        )
        .is_empty()
    );
    assert!(
        told(
            "peer/dial.rs",
            "use super::Error; use crate::clock::boottime; fn f() { crate::api::x() }"
        )
        .is_empty()
    );
    assert!(
        told(
            "payload/apply/tests.rs",
            "use super::super::inventory; use super::*;"
        )
        .is_empty()
    );
    assert!(told("main.rs", "fn main() { flagship::cli::run() }").is_empty());
    assert!(told("lib.rs", "pub mod api; mod election; pub use api::MultiCluster;").is_empty());
    assert!(
        told(
            "election/mod.rs",
            "use std::time::Duration; use rand::Rng; mod member;"
        )
        .is_empty()
    );
}

#[test]
fn an_arrow_back_up_is_caught_in_every_spelling() {
    for text in [
        "use crate::controller::run;",
        "use flagship::controller;",
        "use ::flagship::controller::run;",
        "use crate::{clock, controller::{self, run}};",
        "use crate::{self as house, controller as boss};",
        "fn f() { crate :: controller :: run() }",
        "fn f() { info!(\"{}\", crate::controller::NAME) }",
        "use super::super::controller::Options;",
        "mod inner { use super::super::super::controller::Options; }",
        "#[cfg(test)] mod tests { use crate::controller; }",
        "pub(in crate::controller) fn f() {}",
        "/* a comment */ use /* another */ crate::r#controller::run; // trailing",
        "const QUOTE: char = '\"'; use crate::controller; const S: &str = \"\";",
        "fn f<'a>(x: &'a str) { crate::controller::run(x) }",
    ] {
        assert_eq!(
            told("api/status.rs", text),
            ["src/api/status.rs:1: api may not use controller, which is above it"],
            "{text}"
        );
    }
}

#[test]
fn an_arrow_sideways_is_caught_where_it_stands() {
    assert_eq!(
        told("payload/mod.rs", "//! Text.\n\nuse super::peer::Frame;\n"),
        ["src/payload/mod.rs:3: payload may not use peer, which is beside it"]
    );
    assert_eq!(
        told("observe.rs", "use crate::election::Member;"),
        ["src/observe.rs:1: observe may not use election, which is beside it"]
    );
}

#[test]
fn words_that_are_no_code_are_no_arrows() {
    for text in [
        "// use crate::controller::run;",
        "/* outer /* use crate::controller; */ use crate::cli; */",
        "//! [`crate::controller`] is above.",
        "const A: &str = \"use crate::controller\"; const B: &str = r#\"crate::cli \" crate::cli\"#; const C: &[u8] = b\"crate::cli\";",
        "use std::io; use other::controller::x; fn f(controller: u8) {}",
    ] {
        assert_eq!(told("api/mod.rs", text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_room_without_a_place_is_told() {
    assert_eq!(
        told("kitchen/mod.rs", "fn cook() {}"),
        [
            "src/kitchen/mod.rs:1: kitchen is not among the layers of testing/tests/house.rs: give it its place"
        ]
    );
    assert_eq!(
        told("cli/mod.rs", "use crate::kitchen::cook;"),
        ["src/cli/mod.rs:1: kitchen is not among the layers of testing/tests/house.rs: give it its place"]
    );
}

#[test]
fn the_election_fetches_neither_time_nor_chance_nor_input() {
    for (text, path, reason) in [
        (
            "use std::time::{Duration, Instant};",
            "std::time::Instant",
            "time is passed in",
        ),
        (
            "fn f() { ::std::time::SystemTime::now(); }",
            "std::time::SystemTime",
            "time is passed in",
        ),
        (
            "use tokio::time::Instant;",
            "tokio",
            "it is a synchronous state machine",
        ),
        ("use crate::clock::boottime;", "crate::clock", "time is passed in"),
        ("use super::clock;", "crate::clock", "time is passed in"),
        (
            "fn f() { let mut r = rand::rng(); }",
            "rand::rng",
            "the random source is passed in",
        ),
        (
            "use rand::{Rng, rng};",
            "rand::rng",
            "the random source is passed in",
        ),
        (
            "use kube::Client;",
            "kube",
            "only controller talks to the API server",
        ),
        (
            "use std::collections::*;",
            "std::collections::HashMap",
            "its order differs from run to run: use BTreeMap",
        ),
    ] {
        let told = told("election.rs", text);
        assert_eq!(
            told.first(),
            Some(&format!(
                "src/election.rs:1: election may not use {path}: {reason}"
            )),
            "{text}"
        );
    }
    assert!(
        told(
            "election/mod.rs",
            "use std::time::Duration; use rand::RngCore; fn f(tokio: u8) {}"
        )
        .is_empty()
    );
}
