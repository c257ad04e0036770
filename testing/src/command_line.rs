//! The `flagship` command, run as a user of a cluster runs it.

use std::process::{Output, Stdio};

use tokio::process::Command;

use crate::binaries;
use crate::cluster::{Cluster, blocking};
use crate::error::{Error, Result};

impl Cluster {
    /// Runs `flagship` with this cluster's kubeconfig in the environment and nobody at the terminal, and waits for its
    /// end. The program is `FLAGSHIP_BIN`, or cargo builds it.
    ///
    /// # Errors
    /// If the program cannot be built or started; its own failure is in the output.
    pub async fn flagship(&self, arguments: &[&str]) -> Result<Output> {
        let program = blocking(binaries::find_or_build_flagship).await?;
        Command::new(program)
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|source| Error::Start {
                program: "flagship".into(),
                source,
            })
    }
}
