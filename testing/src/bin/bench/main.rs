//! Measures Flagship on real control planes: failover, planned handover, the loss of a replica, and what a controller at rest
//! costs.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command prints")]

mod failover;
mod figures;
mod group;
mod handover;
mod idle;
mod machine;
mod progress;
mod replica;
mod report;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use flagship_testing::{Result, keep_logs, unless_interrupted};

use crate::figures::{Figures, Limit};
use crate::group::Group;
use crate::idle::Scene;
use crate::machine::Load;
use crate::report::Report;

const NOTES: &str = "\
Failover: every process of the leader's cluster, its controller too, gets SIGKILL; the times run from there to the \
watch events of the survivors. The cluster is then brought back, which is not measured. Replica: the active one of the \
leader's two controllers gets SIGKILL; where the other is elected in time, the payload is never gone. Handover: the rank is changed \
to and fro, and the times run from the watch events of the one cluster to those of the other.

Each kind is also written to target/bench as JSON. A goal that is missed is told and is no failure; a move that \
does not happen, or a second copy in a planned one, is.";

/// Measure failover, planned handover, the loss of a replica, and the controller at rest with ten groups and with two hundred,
/// on real control planes.
#[derive(Debug, Parser)]
#[command(name = "bench", after_help = NOTES)]
struct Arguments {
    /// How many times the leader's cluster is lost
    #[arg(long, value_name = "N", default_value_t = 100)]
    failovers: usize,

    /// How many planned handovers are made
    #[arg(long, value_name = "N", default_value_t = 100)]
    handovers: usize,

    /// How many times one of the leader's two controllers is killed, at each of two timing profiles
    #[arg(long, value_name = "N", default_value_t = 100)]
    replicas: usize,

    /// How long the idle controllers are watched
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    idle_seconds: u64,

    /// Measure this only; may be given more than once
    #[arg(long, value_enum)]
    only: Vec<Kind>,

    /// What is printed on standard output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Failover,
    Handover,
    Replica,
    Idle,
    Crowded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

const FAILOVER: &[Limit] = &[
    Limit {
        figure: "first object",
        percentile: 50,
        at_most_ms: 1000.0,
    },
    Limit {
        figure: "first object",
        percentile: 99,
        at_most_ms: 1500.0,
    },
];
const HANDOVER: &[Limit] = &[Limit {
    figure: "last gone to first there",
    percentile: 99,
    at_most_ms: 100.0,
}];

/// No failover in 99 of 100.
const REPLICA: &[Limit] = &[Limit {
    figure: "payload gone",
    percentile: 99,
    at_most_ms: 0.0,
}];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: start the async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(unless_interrupted(run(&arguments)));
    runtime.shutdown_background();
    match result {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
        // As shells report a command that Ctrl-C ended.
        None => ExitCode::from(130),
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    let chosen = |kind| arguments.only.is_empty() || arguments.only.contains(&kind);
    let mut reports = Vec::new();
    if (chosen(Kind::Failover) && arguments.failovers > 0)
        || (chosen(Kind::Handover) && arguments.handovers > 0)
    {
        progress::say("starting three control planes\n");
        let group = kept(Group::start().await)?;
        if chosen(Kind::Failover) && arguments.failovers > 0 {
            let load = Load::begin()?;
            let mut figures = Figures::new("failover", arguments.failovers);
            kept(failover::measure(&group, &mut figures).await)?;
            reports.push(Report::of_moves(
                "failover",
                "the leader's cluster lost; three members at profile Fast, 10 objects",
                &figures,
                FAILOVER,
                load.end()?,
            ));
        }
        if chosen(Kind::Handover) && arguments.handovers > 0 {
            let load = Load::begin()?;
            let mut figures = Figures::new("handover", arguments.handovers);
            kept(handover::measure(&group, &mut figures).await)?;
            reports.push(Report::of_moves(
                "handover",
                "a member of higher rank; three members at profile Fast, 10 objects",
                &figures,
                HANDOVER,
                load.end()?,
            ));
        }
    }
    for (kind, profile, limits) in [("replica", "Balanced", REPLICA), ("replica-fast", "Fast", &[])] {
        if chosen(Kind::Replica) && arguments.replicas > 0 {
            progress::say("starting three control planes\n");
            let load = Load::begin()?;
            let mut figures = Figures::new(kind, arguments.replicas);
            kept(replica::measure(profile, &mut figures).await)?;
            let cause =
                format!("one of the leader's two controllers killed; three members at profile {profile}");
            reports.push(Report::of_moves(kind, &cause, &figures, limits, load.end()?));
        }
    }
    if chosen(Kind::Idle) {
        reports.push(at_rest("idle", idle::IDLE, arguments).await?);
    }
    if chosen(Kind::Crowded) {
        reports.push(at_rest("crowded", idle::CROWDED, arguments).await?);
    }
    for report in &reports {
        let path = report.write()?;
        progress::say(&format!("wrote {}\n", path.display()));
    }
    match arguments.output {
        Output::Table => reports.iter().for_each(|report| print!("{report}")),
        Output::Json => println!("{}", report::json(&reports)?),
    }
    Ok(())
}

async fn at_rest<const N: usize>(
    kind: &'static str,
    scene: Scene<N>,
    arguments: &Arguments,
) -> Result<Report> {
    progress::say(&format!("starting {N} control planes\n"));
    let load = Load::begin()?;
    let costs = kept(scene.measure(Duration::from_secs(arguments.idle_seconds)).await)?;
    Ok(Report::of_idle(kind, &scene, costs, load.end()?))
}

/// Keeps the logs of what went wrong: the clusters that an error comes from are dropped with it.
fn kept<T>(result: Result<T>) -> Result<T> {
    result.inspect_err(|_| keep_logs())
}
