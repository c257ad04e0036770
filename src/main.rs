//! The `flagship` binary: exit codes, nothing else. 0 is success, 1 a failure, 2 a wrong command line.

use std::process::ExitCode;

use clap::Parser;
use flagship::cli::{Cli, report};

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}
