//! Faults that last or come again and again: of API servers, of links, of certificates, of controllers. Two sets of three
//! clusters are shared, one behind proxies and one on a network of its own, and their tests run side by side.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and shows its seed"
)]

mod certificates;
mod controllers;
mod flapping;
#[path = "../partition/group.rs"]
mod group;
mod stage;
mod strikes;

use flagship_testing::SharedNetwork;

static NETWORK: SharedNetwork<3> = SharedNetwork::new(["newyork", "sheffield", "gotham"]);
