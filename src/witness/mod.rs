//! A member that votes and never leads, on a machine without a cluster: it makes two clusters a group in which a majority
//! decides.
//!
//! It is the election's own state machine with a file for its memory in place of an object's status. What a controller
//! does with a payload is nothing here: there is none.

mod certificate;
mod memory;
mod shell;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::election::{Config, Duty, Event, MemberId, Notice, Order, Profile, Settings};
use crate::observe::health::Health;
use crate::observe::metrics::{MemberMetrics, Metrics};
use crate::observe::serve::{ServeError, Server};
use crate::peer::{self, Callsign, Credentials, Transport};

pub use certificate::{CertificateFiles, CertificateFilesError};
pub use memory::MemoryError;
pub use shell::{Outcome, Shell, now};

/// The main loop is never busy for longer than a write to a disk that is slow.
const STALL_LIMIT: Duration = Duration::from_secs(15);
/// A third of that and less.
const BEAT: Duration = Duration::from_secs(3);
/// Certificates are renewed weeks before they end.
const CERTIFICATE_LOOK_PAUSE: Duration = Duration::from_secs(60);
/// What is queued for the others when the process ends leaves within this.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);
/// The group label of its metrics, which have no namespace.
const NAMESPACE: &str = "";

/// How a witness is to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen for the other members.
    pub listen: SocketAddr,
    /// How they reach it, `host:port`.
    pub service_address: String,
    /// Addresses of members to join through, `host:port`.
    pub join: Vec<String>,
    /// The group's secret.
    pub callsign: Callsign,
    /// A certificate to show; whoever has one accepts those only that have one as well.
    pub certificate: Option<CertificateFiles>,
    /// For people.
    pub name: String,
    /// The file with its memory.
    pub state: PathBuf,
    /// Where health and metrics are served.
    pub metrics_address: SocketAddr,
}

/// The witness could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Its certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateFilesError),
    /// Health and metrics.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The network.
    #[error("cannot talk to other members: {0}")]
    Transport(#[from] peer::Error),
    /// The operating system's signals cannot be heard.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] std::io::Error),
    /// A task that the process cannot do without has ended.
    #[error("{0} ended unexpectedly; restart the witness, and see the log above")]
    TaskEnded(&'static str),
    /// The election gave the payload to a member that has none.
    #[error("was asked to lead, which a witness never does: report this, and restart the witness")]
    Leads,
}

/// Runs a witness until it is told to end by SIGTERM or SIGINT.
///
/// # Errors
/// It could not start, or something that it cannot do without failed.
pub async fn run(options: Options) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let told_to_end = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    run_until(told_to_end, options).await
}

/// Runs a witness until it is told to end.
///
/// # Errors
/// It could not start, or something that it cannot do without failed.
pub async fn run_until(told_to_end: impl Future<Output = ()>, options: Options) -> Result<(), Error> {
    let metrics = Metrics::new();
    let health = Health::new(STALL_LIMIT, "it is in no group yet, or cannot write its memory");
    let server = Server::bind(options.metrics_address).await?;
    tracing::info!(address = %server.address(), "serves /livez, /readyz and /metrics");
    let serving = CancellationToken::new();
    let mut served = tokio::spawn(server.run(health.clone(), metrics.clone(), serving.clone()));

    let transport = Transport::start(peer::Config::default())?;
    let listener = transport.listen(options.listen)?;
    let mut credentials = Credentials::new(options.callsign.clone());
    if let Some(files) = &options.certificate {
        credentials.identity = Some(Arc::new(files.read()?));
    }
    let own_metrics = metrics.member(NAMESPACE, &options.name);
    let (shell, outcomes) = Shell::start(
        &options.state,
        config(&options),
        &transport,
        &listener,
        credentials.clone(),
        own_metrics.clone(),
    )?;
    let mut witness = Witness {
        shell,
        credentials,
        certificate: options.certificate.clone(),
        metrics: own_metrics,
    };
    tracing::info!(id = %witness.shell.member().id(), address = %options.listen, "listens for members");
    witness.take(outcomes)?;
    let outcome = tokio::select! {
        outcome = witness.serve(&health, &metrics, &transport) => outcome,
        _ = &mut served => Err(Error::TaskEnded("the server of health and metrics")),
        () = told_to_end => Ok(()),
    };
    drop((witness, listener));
    if let Err(error) = transport.shut_down(FLUSH_LIMIT).await {
        tracing::debug!(%error, "some messages could not be sent any more");
    }
    serving.cancel();
    outcome
}

fn config(options: &Options) -> Config {
    Config {
        profile: Profile {
            name: options.name.as_str().into(),
            address: options.service_address.as_str().into(),
            rank: 0,
            duty: Duty::Witness,
        },
        fleet: options.join.clone(),
        ready: false,
        found_without: Vec::new(),
        // Those of the group count as soon as it has joined one.
        settings: Settings::BALANCED,
        paused: false,
        stop_timeout_ms: 0,
    }
}

/// A member without a payload, and what it shows of itself.
struct Witness {
    shell: Shell,
    credentials: Credentials,
    certificate: Option<CertificateFiles>,
    metrics: MemberMetrics,
}

impl Witness {
    async fn serve(
        &mut self,
        health: &Health,
        metrics: &Metrics,
        transport: &Transport,
    ) -> Result<(), Error> {
        let mut beat = interval(BEAT);
        let mut look = interval(CERTIFICATE_LOOK_PAUSE);
        loop {
            tokio::select! {
                biased;
                _ = beat.tick() => {
                    health.beat();
                    let member = self.shell.member();
                    health.set_ready(member.group().is_some() && self.shell.writes());
                    metrics.set_peers_connected(u64::try_from(transport.peers()).unwrap_or(u64::MAX));
                    self.metrics.set_term(member.term());
                }
                _ = look.tick() => self.look_at_certificate()?,
                // Last, since a flood of messages must not hold back anything else; the inbox keeps the newest.
                outcomes = self.shell.turn() => self.take(outcomes?)?,
            }
        }
    }

    /// Shows the certificate that the files hold by now, or goes on with the last good one.
    fn look_at_certificate(&mut self) -> Result<(), Error> {
        let Some(files) = &self.certificate else {
            return Ok(());
        };
        match files.read() {
            Ok(identity) if self.credentials.identity.as_deref() != Some(&identity) => {
                self.credentials.identity = Some(Arc::new(identity));
                self.shell.set_credentials(self.credentials.clone())?;
                tracing::info!("shows the certificate that was renewed");
            }
            Ok(_) => {}
            // The files are renewed one after the other: they fit one another again in a moment.
            Err(error) => tracing::warn!(%error, "goes on with the certificate that it read last"),
        }
        if let Some(Err(error)) = self
            .credentials
            .identity
            .as_ref()
            .map(|identity| identity.check(Duration::ZERO))
        {
            tracing::warn!(%error, "the others accept this witness on no new channel: renew its certificate");
        }
        Ok(())
    }

    fn take(&mut self, outcomes: Vec<Outcome>) -> Result<(), Error> {
        let mut stop = None;
        for outcome in outcomes {
            match outcome {
                Outcome::Order { number, order } => match order {
                    Order::Stop => stop = Some(number),
                    Order::Run { .. } => return Err(Error::Leads),
                    Order::Hold => {}
                },
                Outcome::Notice(notice) => self.tell(&notice),
            }
        }
        // There is no payload, so that nothing of it is left.
        match stop {
            Some(number) => {
                let outcomes = self.shell.step(Event::PayloadStopped(number));
                self.take(outcomes)
            }
            None => Ok(()),
        }
    }

    fn tell(&self, notice: &Notice) {
        let name = |id: &MemberId| {
            let roster = self.shell.member().roster();
            let voter = roster.and_then(|roster| roster.voter(*id));
            voter.map_or_else(|| id.to_string(), |voter| voter.profile.name.to_string())
        };
        match notice {
            Notice::Joined => tracing::info!("joined the group"),
            Notice::Following { leader, term } => {
                self.metrics.count_transition();
                tracing::info!(leader = name(leader), term, "follows");
            }
            Notice::Dropped => {
                tracing::warn!("was taken out of the group, and asks for admission again");
            }
            notice => tracing::info!(?notice, "notes"),
        }
    }
}
