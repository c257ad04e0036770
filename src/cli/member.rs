//! `flagship member`.

use std::io::{self, BufRead, IsTerminal};
use std::time::Duration;

use serde_json::json;

use super::Error;
use super::output::{self, say};
use super::request::{ThroughArgs, full_name};
use super::switch::Output;
use crate::api::{MemberState, MemberStatus, MultiCluster, Wish};

/// What a person types who has made sure that the lost members run nothing.
const CONFIRMATION: &str = "the others are stopped";

/// List the members of a group, remove lost ones, or rebuild a group
///
/// The group is asked through the MultiCluster NAME, which may be that of any of its members.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flagship member list newyork --context newyork
  flagship member remove newyork gotham    gotham's cluster is gone and will not come back
  flagship member recover newyork    newyork alone is left of three")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    List(List),
    Remove(Remove),
    Recover(Recover),
}

/// List the members that have a vote, as one of them sees them
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flagship member list newyork --context newyork
  flagship member list newyork -o json")]
struct List {
    /// The MultiCluster to ask
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    through: ThroughArgs,
    /// What is printed on standard output
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Take the vote from a member that will not come back
///
/// A member that is alive leaves by itself when its MultiCluster is deleted. One whose cluster is lost keeps its vote and
/// counts among those of which a leader needs the majority, until it is removed. A member that comes back all the same
/// asks to be admitted again.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flagship member remove newyork gotham --context newyork")]
struct Remove {
    /// The MultiCluster to ask through
    #[arg(value_name = "NAME")]
    name: String,
    /// The member to remove: the name of its MultiCluster, or its identity where two have one name
    #[arg(value_name = "MEMBER")]
    member: String,
    #[command(flatten)]
    through: ThroughArgs,
    /// How long to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

/// Rebuild a group from one member when the majority is lost for good
///
/// The member goes on alone, in a new group, and starts the payload. DANGER: if another member still runs the payload,
/// two copies run from then on, since the other cannot be told. Make sure first that the other clusters are gone, or
/// delete the MultiClusters there. A member of the old group that comes back is not admitted: delete its MultiCluster and
/// create it again.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flagship member recover newyork --context newyork
  flagship member recover newyork --confirm 'the others are stopped'")]
struct Recover {
    /// The MultiCluster of the member that is left
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    through: ThroughArgs,
    /// The words `the others are stopped`, instead of being asked for them
    #[arg(long, value_name = "WORDS")]
    confirm: Option<String>,
    /// How long to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

impl Args {
    pub(super) async fn run(self) -> Result<(), Error> {
        match self.command {
            Command::List(list) => list.run().await,
            Command::Remove(remove) => remove.run().await,
            Command::Recover(recover) => recover.run().await,
        }
    }
}

impl List {
    async fn run(self) -> Result<(), Error> {
        let object = self.through.open(&self.name).await?.get().await?;
        let members = object
            .status
            .as_ref()
            .map_or_else(Vec::new, |status| status.members.clone());
        match self.output {
            Output::Text => output::print(&table(&object, &members)),
            Output::Json => output::print(&format!(
                "{}\n",
                json!({"seenBy": full_name(&object), "members": members})
            )),
        }
    }
}

impl Remove {
    async fn run(self) -> Result<(), Error> {
        let through = self.through.open(&self.name).await?;
        let wish = Wish::Remove {
            member: self.member.clone(),
        };
        through.ask(wish, Duration::from_secs(self.timeout)).await?;
        output::print(&format!("{} has no vote any more\n", self.member))
    }
}

impl Recover {
    async fn run(self) -> Result<(), Error> {
        let through = self.through.open(&self.name).await?;
        let object = through.get().await?;
        let members = object
            .status
            .as_ref()
            .map_or_else(Vec::new, |status| status.members.clone());
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let others: Vec<&str> = members
            .iter()
            .filter(|member| member.id != uid)
            .map(|member| member.name.as_str())
            .collect();
        let words = match self.confirm {
            Some(words) => words,
            None => ask_for_words(&object, &others)?,
        };
        if words.trim() != CONFIRMATION {
            return Err(Error::NotConfirmed { words: CONFIRMATION });
        }
        through
            .ask(Wish::Recover, Duration::from_secs(self.timeout))
            .await?;
        output::print(&format!("{} goes on alone\n", full_name(&object)))
    }
}

fn ask_for_words(object: &MultiCluster, others: &[&str]) -> Result<String, Error> {
    if !io::stdin().is_terminal() {
        return Err(Error::NotConfirmed { words: CONFIRMATION });
    }
    say(&format!(
        "{} will go on alone and start the payload. If one of {} still runs it, there will be two copies.\nType `{CONFIRMATION}` to go on:",
        full_name(object),
        others.join(", ")
    ));
    let mut words = String::new();
    io::stdin()
        .lock()
        .read_line(&mut words)
        .map_err(Error::ReadAnswer)?;
    Ok(words)
}

/// The members, a line each.
fn table(object: &MultiCluster, members: &[MemberStatus]) -> String {
    if members.is_empty() {
        return format!("{} is in no group yet: see its conditions\n", full_name(object));
    }
    let mut rows = vec![["NAME", "ADDRESS", "RANK", "ROLE", "STATE", "LAST SEEN"].map(str::to_owned)];
    rows.extend(members.iter().map(|member| {
        [
            member.name.clone(),
            member.address.clone(),
            member.rank.to_string(),
            member
                .role
                .map_or_else(|| "-".to_owned(), |role| format!("{role:?}")),
            match member.state {
                MemberState::Alive => "Alive",
                MemberState::Silent => "Silent",
                MemberState::Unknown => "Unknown",
            }
            .to_owned(),
            member
                .last_seen
                .as_ref()
                .map_or_else(|| "-".to_owned(), |at| at.0.to_string()),
        ]
    }));
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
