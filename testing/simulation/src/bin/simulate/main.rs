//! Simulates years of faults and losses, and groups of many members, and tells what came of it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command prints")]

mod crowds;
mod lives;
mod report;
mod tolerances;
mod unrest;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use flagship_simulation::life::live;
use flagship_simulation::rates::{Profile, profiles};

use crate::report::Report;

#[derive(Parser)]
#[command(name = "simulate", about = "Simulates groups of Flagship's election")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// How to tell what came of it
    #[arg(short, long, value_enum, default_value_t = Output::Table, global = true)]
    output: Output,
}

#[derive(Subcommand)]
enum Command {
    /// Years of faults, years of losses and what a group bears, for each profile, and groups of many members
    Years {
        /// Simulated years: half of them full of faults, half with nothing wrong but the network
        #[arg(long, default_value_t = 1.0)]
        years: f64,
        /// The first seed of the years of faults
        #[arg(long, default_value_t = 1_000_000)]
        seed: u64,
    },
    /// Groups of 10, 100, 300 and 1,000 members: what they cost their leader
    Crowd,
    /// One group of the years of faults once more, step by step on standard error
    Life {
        /// Its seed
        seed: u64,
        /// Simulated hours
        #[arg(long, default_value_t = lives::HOURS)]
        hours: i64,
        /// Its profile
        #[arg(long, default_value = "Balanced", value_parser = profile)]
        profile: Profile,
        /// Tell nothing but the end
        #[arg(long)]
        quiet: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// The profile of this name.
fn profile(name: &str) -> Result<Profile, String> {
    let named = |profile: &Profile| profile.name.eq_ignore_ascii_case(name);
    profiles()
        .into_iter()
        .find(named)
        .ok_or_else(|| "Fast, Balanced or Wide".to_owned())
}

fn main() -> ExitCode {
    let Arguments { command, output } = Arguments::parse();
    let report = match command {
        Command::Years { years, seed } => Report {
            tolerances: tolerances::check(),
            lives: lives::live_through(years / 2.0, seed),
            unrest: unrest::measure(years / 2.0),
            crowds: crowds::measure(),
        },
        Command::Crowd => Report {
            crowds: crowds::measure(),
            ..Report::default()
        },
        Command::Life {
            seed,
            hours,
            profile,
            quiet,
        } => {
            let outcome = live(seed, hours, profile.settings, !quiet);
            println!("{outcome:#?}");
            return ExitCode::from(u8::from(!outcome.violations.is_empty()));
        }
    };
    match output {
        Output::Table => println!("{report}"),
        Output::Json => match serde_json::to_string_pretty(&report) {
            Ok(text) => println!("{text}"),
            Err(error) => {
                eprintln!("the report cannot be told as JSON: {error}");
                return ExitCode::FAILURE;
            }
        },
    }
    if report.is_well() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
