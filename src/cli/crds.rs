//! `flagship crds`.

use super::Error;
use super::output::{Format, print, render};
use crate::api;

/// Says how the checked-in file came to be.
const PREFACE: &str = "# Printed by `flagship crds`: edit src/api, then run `make fix`.\n";

/// Print the CustomResourceDefinitions that Flagship serves
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flagship crds | kubectl apply --server-side -f -     install or update them
  flagship crds -o json | jq '.items[].metadata.name'  list them")]
pub(super) struct Args {
    /// Format of the output
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    output: Format,
}

impl Args {
    pub(super) fn run(&self) -> Result<(), Error> {
        print(&text(self.output)?)
    }
}

fn text(format: Format) -> Result<String, Error> {
    render("the CustomResourceDefinitions", &api::crds(), PREFACE, format)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn the_checked_in_file_is_current() {
        let checked_in = include_str!("../../crds/multiclusters.kube-vip.io.yaml");
        assert!(
            text(Format::Yaml).unwrap() == checked_in,
            "crds/ is out of date: run `make fix`"
        );
    }
}
