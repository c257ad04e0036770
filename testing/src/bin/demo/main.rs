//! Shows on three real control planes what Flagship does: a payload that is in one cluster, moves on a word, and comes
//! back after the loss of a cluster.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command prints")]

mod fleet;
mod screen;
mod story;
mod table;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Parser;
use flagship_testing::{Cluster, Result, keep_logs, unless_interrupted};

use crate::screen::Screen;
use crate::story::Stage;

const NOTES: &str = "\
What is real: the control planes (etcd, kube-apiserver, kube-controller-manager, kube-scheduler), Flagship's \
controllers, each under the ServiceAccount of manifests/install.yaml, and the election between them. What is played: \
the nodes, by kwok, so that pods become ready and nothing runs in them.";

/// Show a planned handover, a failover and a return between three real control planes.
///
/// Nothing is left behind, also after Ctrl-C, unless --keep is given. The exit code is 0 if everything happened that is
/// told.
#[derive(Debug, Parser)]
#[command(name = "demo", after_help = NOTES)]
struct Arguments {
    /// Leave the clusters running, and say how to try them
    #[arg(long)]
    keep: bool,

    /// Remove the clusters that an earlier demo left running, and do nothing else
    #[arg(long, conflicts_with = "keep")]
    remove: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: start the async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = match arguments.remove {
        true => fleet::remove().map(|removed| {
            match removed.is_empty() {
                true => println!("there are no clusters of a demo"),
                false => println!("removed {}", removed.join(", ")),
            }
            ExitCode::SUCCESS
        }),
        false => runtime.block_on(run(arguments.keep)),
    };
    // After an interruption a build may still run, which ends with this process.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

async fn run(keep: bool) -> Result<ExitCode> {
    fleet::check_free()?;
    match unless_interrupted(show(keep)).await {
        Some(result) => result.map(|()| ExitCode::SUCCESS),
        None => {
            if keep {
                fleet::remove()?;
            }
            eprintln!("\ninterrupted: nothing is left");
            // As shells report a command that Ctrl-C ended.
            Ok(ExitCode::from(130))
        }
    }
}

async fn show(keep: bool) -> Result<()> {
    let screen = Arc::new(Mutex::new(Screen::new()));
    let on_screen =
        |act: &dyn Fn(&mut Screen)| act(&mut screen.lock().unwrap_or_else(PoisonError::into_inner));
    on_screen(&|screen| {
        screen.say(
            "build flagship if it has changed, start the control planes newyork, sheffield and gotham, install \
             Flagship, start its controllers",
        );
    });
    let clusters = match fleet::start(keep).await {
        Ok(clusters) => clusters,
        Err(error) => {
            keep_logs();
            if keep {
                fleet::remove()?;
            }
            return Err(error);
        }
    };
    on_screen(&|screen| screen.say("all three are ready"));
    let told = async { Stage::set(&clusters, screen.clone()).await?.play().await }.await;
    on_screen(&Screen::leave_table);
    let summary = match told {
        Ok(summary) => summary,
        Err(error) => {
            match keep {
                true => eprintln!("the clusters go on running; `make demo REMOVE=1` removes them"),
                false => keep_logs(),
            }
            return Err(error);
        }
    };
    on_screen(&|screen| {
        screen.print(&format!("\nWhat was seen:\n\n{summary}"));
        if keep {
            screen.print(&what_to_try(&clusters));
        }
    });
    Ok(())
}

fn what_to_try(clusters: &[Cluster; 3]) -> String {
    let file = fleet::kubeconfig();
    let file = file.display();
    let [newyork, sheffield, _] = clusters.each_ref().map(Cluster::context);
    let own = clusters
        .each_ref()
        .map(|cluster| format!("  {}  {}", cluster.context(), cluster.kubeconfig().display()));
    format!(
        "\nThe clusters go on running. Their contexts, all of them in {file}, and each in a file of its own:\n{}\n\n\
         Try:\n  \
         export KUBECONFIG={file}\n  \
         kubectl --context {newyork} get multiclusters\n  \
         kubectl --context {newyork} describe multicluster newyork\n  \
         kubectl --context {newyork} delete deployment nginx    # it is back within a second\n  \
         kubectl --context {sheffield} patch multicluster sheffield --type merge -p '{{\"spec\":{{\"rank\":30}}}}'    # it moves\n  \
         kubectl --context {sheffield} delete multicluster sheffield    # the next in rank takes over\n\
         Remove them by:\n  make demo REMOVE=1",
        own.join("\n")
    )
}
