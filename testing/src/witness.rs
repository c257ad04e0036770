//! `flagship witness` as a process, beside the clusters of a test.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;

use crate::address::{ReservedAddress, free_ports};
use crate::binaries;
use crate::cluster::{Cluster, blocking};
use crate::error::{Error, Result};
use crate::process::{CommandLine, Process};
use crate::site::Site;

/// A witness process, to use and to harm. It ends with this.
#[derive(Debug)]
pub struct Witness {
    process: Process,
    address: ReservedAddress,
    state: PathBuf,
}

impl Witness {
    /// Starts a witness of a group that joins through these sites, with its files in the first one's folder.
    ///
    /// # Errors
    /// If the program cannot be built or started.
    pub async fn start(callsign: &str, join: &[&Site]) -> Result<Witness> {
        let program = blocking(binaries::find_or_build_flagship).await?;
        let address = ReservedAddress::any()?;
        let [metrics] = free_ports(address.ip())?;
        let folder: &Path = join.first().map_or(Path::new("."), |site| Cluster::folder(site));
        let callsign_file = folder.join(format!("{callsign}.callsign"));
        fs::write(&callsign_file, format!("{callsign}\n")).map_err(Error::file("write", &callsign_file))?;
        let state = folder.join(format!("{callsign}.witness"));
        let at = |port| SocketAddr::new(address.ip(), port).to_string();
        let mut arguments = vec![
            "witness".to_owned(),
            "--callsign-file".into(),
            callsign_file.display().to_string(),
            "--state".into(),
            state.display().to_string(),
            "--listen".into(),
            at(9990),
            "--service-address".into(),
            at(9990),
            "--metrics-address".into(),
            at(metrics),
        ];
        for site in join {
            arguments.extend(["--join".to_owned(), format!("{}:9990", site.ip())]);
        }
        let command = CommandLine {
            role: format!("witness of {callsign}"),
            program,
            arguments,
            environment: vec![],
            log: folder.join(format!("{callsign}.witness.log")),
        };
        let lifetime = join
            .first()
            .map_or(crate::process::Lifetime::Process, |site| site.lifetime());
        let witness = Witness {
            process: Process::new(command, lifetime),
            address,
            state,
        };
        witness.process.start()?;
        Ok(witness)
    }

    /// Where it listens.
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// The file with its memory.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Kills it at once (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn kill(&self) -> Result<()> {
        self.process.kill().await
    }

    /// Asks it to end (SIGTERM), waits, and tells how it ended.
    ///
    /// # Errors
    /// If it does not run, or has not ended in time.
    pub async fn terminate(&self, within: Duration) -> Result<ExitStatus> {
        self.process.signal(Signal::TERM)?;
        self.process.wait(within).await
    }

    /// Starts it again by the same command line.
    ///
    /// # Errors
    /// If it runs already or cannot be started.
    pub fn restart(&self) -> Result<()> {
        self.process.start()
    }
}
