//! The command line: one file per subcommand.

mod connect;
mod controller;
mod crds;
mod error;
mod install;
mod member;
mod output;
mod request;
mod switch;
#[cfg(test)]
mod tests;
mod uninstall;
mod witness;

pub use error::Error;
pub use output::report;

use std::future::Future;

/// Keeps an application running in exactly one of several Kubernetes clusters, and moves it when that cluster fails.
#[derive(clap::Parser)]
#[command(name = "flagship", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Controller(controller::Args),
    Crds(crds::Args),
    Install(install::Args),
    Member(member::Args),
    Switch(switch::Args),
    Uninstall(uninstall::Args),
    Witness(witness::Args),
}

impl Cli {
    /// Carries the command out.
    ///
    /// # Errors
    /// [`Error`] names what failed, on which object, and what to do.
    pub fn run(self) -> Result<(), Error> {
        match self.command {
            Command::Controller(args) => block_on(args.run()),
            Command::Crds(args) => args.run(),
            Command::Install(args) => args.run(),
            Command::Member(args) => block_on(args.run()),
            Command::Switch(args) => block_on(args.run()),
            Command::Uninstall(args) => block_on(args.run()),
            Command::Witness(args) => block_on(args.run()),
        }
    }
}

/// Runs a command that waits for the API server: one thread is enough for it.
fn block_on(command: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::StartRuntime)?
        .block_on(command)
}
