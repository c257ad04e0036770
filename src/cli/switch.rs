//! `flagship switch`.

use std::time::Duration;

use serde_json::json;

use super::Error;
use super::output::{self, say};
use super::request::ThroughArgs;
use crate::api::Wish;

/// Move the payload to another member
///
/// The leader stops the payload, confirms that nothing of it is left, and hands over: at no time do two copies run. The
/// group is asked through the MultiCluster NAME, which may be that of any of its members. The member that was asked for
/// leads until it fails, leaves, or another is asked for, whatever the others' ranks are.
///
/// If the payload does not stop in time, or the member is not able to lead, the payload stays where it is and the command
/// says why.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flagship switch newyork --to sheffield --context newyork    through newyork's cluster
  flagship switch sheffield --to sheffield --context sheffield
  flagship switch newyork --to gotham --force    even though gotham's checks say that it is not fit to lead")]
pub(super) struct Args {
    /// The MultiCluster to ask through
    #[arg(value_name = "NAME")]
    name: String,
    /// The member that is to lead: the name of its MultiCluster, or its identity
    #[arg(long, value_name = "MEMBER")]
    to: String,
    #[command(flatten)]
    through: ThroughArgs,
    /// Move even if the member's checks say that it is not fit to lead, and wait for as long as the payload takes to stop
    #[arg(long)]
    force: bool,
    /// How long to wait, in seconds; what was asked for goes on after that
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
    /// What is printed on standard output
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Output {
    /// A sentence or a table for people.
    Text,
    /// An object in JSON for programs.
    Json,
}

impl Args {
    pub(super) async fn run(self) -> Result<(), Error> {
        let through = self.through.open(&self.name).await?;
        let from = through.leader().await?;
        if let Some(leader) = &from {
            say(&format!("{leader} leads"));
        }
        let wish = Wish::Switch {
            to: self.to.clone(),
            force: self.force,
        };
        let done = through.ask(wish, Duration::from_secs(self.timeout)).await?;
        let leader = through.leader().await?;
        match self.output {
            Output::Text => output::print(&format!("{} leads\n", leader.as_deref().unwrap_or(&self.to))),
            Output::Json => output::print(&format!(
                "{}\n",
                json!({"from": from, "leader": leader, "request": done.id, "what": done.what})
            )),
        }
    }
}
