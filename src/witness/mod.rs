//! A member that votes and never leads, on a machine without a cluster: it makes two clusters a group in which a majority
//! decides.
//!
//! It is the election's own state machine with a file for its memory in place of an object's status. What a controller
//! does with a payload is nothing here: there is none.

mod certificate;
mod memory;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock::boottime;
use crate::election::{
    self, Command, Config, Durable, Duty, Member, MemberId, MemoryId, Notice, Order, Profile, Settings, Tick,
};
use crate::observe::health::Health;
use crate::observe::metrics::{MemberMetrics, Metrics};
use crate::observe::serve::{ServeError, Server};
use crate::peer::{self, Callsign, Credentials, Inbox, Listener, Transport};
use crate::{mail, peer::Event};
use memory::{MemoryFile, Recalled, Record};

pub use certificate::{CertificateFiles, CertificateFilesError};
pub use memory::MemoryError;

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
    let (file, recalled) = MemoryFile::open(&options.state)?;
    let record = match recalled {
        Recalled::Record(record) => *record,
        Recalled::Nothing => {
            tracing::info!(state = %options.state.display(), "begins without a memory: asks to be admitted as a new member");
            fresh()
        }
        Recalled::Damaged(aside) => {
            tracing::warn!(
                kept = %aside.display(),
                "its memory is damaged, and it is not the voter that it was: asks to be admitted as a new member"
            );
            fresh()
        }
    };
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
    let inbox = transport.register(&listener, credentials.clone(), &record.id.to_string())?;
    let now = now();
    let config = config(&options);
    let (member, commands) = Member::start(record.id, record.durable, config, None, now);
    let mut witness = Witness {
        member,
        file: Arc::new(file),
        inbox,
        credentials,
        certificate: options.certificate.clone(),
        _listener: listener,
        write: None,
        writes: true,
        metrics: metrics.member(NAMESPACE, &options.name),
    };
    tracing::info!(id = %witness.member.id(), address = %options.listen, "listens for members");
    witness.carry_out(commands)?;
    let outcome = tokio::select! {
        outcome = witness.serve(&health, &metrics, &transport) => outcome,
        _ = &mut served => Err(Error::TaskEnded("the server of health and metrics")),
    };
    drop(witness);
    if let Err(error) = transport.shut_down(FLUSH_LIMIT).await {
        tracing::debug!(%error, "some messages could not be sent any more");
    }
    serving.cancel();
    outcome
}

fn fresh() -> Record {
    Record {
        id: MemberId(rand::random()),
        durable: Durable::new(MemoryId(rand::random())),
    }
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

fn now() -> Tick {
    Tick(i64::try_from(boottime().as_millis()).unwrap_or(i64::MAX))
}

/// The asynchronous shell around the member.
struct Witness {
    member: Member,
    file: Arc<MemoryFile>,
    inbox: Inbox,
    credentials: Credentials,
    certificate: Option<CertificateFiles>,
    _listener: Listener,
    /// The one write under way, and its number.
    write: Option<(u64, JoinHandle<Result<(), MemoryError>>)>,
    /// Whether the last write was made.
    writes: bool,
    metrics: MemberMetrics,
}

impl Witness {
    async fn serve(
        &mut self,
        health: &Health,
        metrics: &Metrics,
        transport: &Transport,
    ) -> Result<(), Error> {
        let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
        let mut beat = interval(BEAT);
        let mut look = interval(CERTIFICATE_LOOK_PAUSE);
        loop {
            let due = self.member.deadline().map(|tick| {
                let at = Duration::from_millis(u64::try_from(tick.0).unwrap_or(0));
                Instant::now() + at.saturating_sub(boottime())
            });
            // Without a deadline only an event changes anything.
            let wake_at = due.unwrap_or_else(|| Instant::now() + BEAT);
            tokio::select! {
                biased;
                () = sleep_until(wake_at), if due.is_some() => self.step(election::Event::Tick)?,
                (number, written) = written(&mut self.write) => {
                    self.write = None;
                    self.writes = written.is_ok();
                    let event = match written {
                        Ok(()) => election::Event::Persisted(number),
                        Err(error) => {
                            tracing::error!(%error, "cannot make its memory durable; it does not vote until it can");
                            election::Event::PersistFailed(number)
                        }
                    };
                    self.step(event)?;
                }
                _ = beat.tick() => {
                    health.beat();
                    health.set_ready(self.member.group().is_some() && self.writes);
                    metrics.set_peers_connected(u64::try_from(transport.peers()).unwrap_or(u64::MAX));
                    self.metrics.set_term(self.member.term());
                }
                _ = look.tick() => self.look_at_certificate()?,
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                event = self.inbox.receive() => self.take(&event?)?,
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
                self.inbox.set_credentials(self.credentials.clone())?;
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

    fn take(&mut self, event: &Event) -> Result<(), Error> {
        match event {
            Event::Message(incoming) => match mail::unpack(incoming) {
                Ok(received) => {
                    if matches!(received.message, election::Message::Heartbeat { .. }) {
                        self.metrics.count_heartbeat_received();
                    }
                    self.step(election::Event::Received(received))
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot read a message");
                    Ok(())
                }
            },
            Event::Notice(notice) => {
                tracing::info!("{notice}");
                Ok(())
            }
        }
    }

    fn step(&mut self, event: election::Event) -> Result<(), Error> {
        let commands = self.member.step(now(), event, &mut rand::rng());
        self.carry_out(commands)
    }

    fn carry_out(&mut self, commands: Vec<Command>) -> Result<(), Error> {
        let mut stop = None;
        for command in commands {
            match command {
                Command::Send { to, group, message } => match mail::pack(&self.member, group, &message) {
                    Ok(body) => {
                        let incarnation = self.member.incarnation();
                        if let Err(error) = self.inbox.send(&mail::to(&to), incarnation, body) {
                            tracing::debug!(%error, "cannot send a message");
                        }
                    }
                    Err(error) => tracing::error!(%error, "cannot encode a message"),
                },
                Command::Persist { number, durable } => {
                    let file = Arc::clone(&self.file);
                    let id = self.member.id();
                    let durable = *durable;
                    let writing = tokio::task::spawn_blocking(move || file.write(&Record { id, durable }));
                    self.write = Some((number, writing));
                }
                Command::Payload {
                    number,
                    order: Order::Stop,
                } => stop = Some(number),
                Command::Payload {
                    order: Order::Run { .. },
                    ..
                } => return Err(Error::Leads),
                Command::Payload {
                    order: Order::Hold, ..
                } => {}
                Command::Notify(notice) => self.tell(&notice),
            }
        }
        // There is no payload, so that nothing of it is left.
        match stop {
            Some(number) => self.step(election::Event::PayloadStopped(number)),
            None => Ok(()),
        }
    }

    fn tell(&self, notice: &Notice) {
        let name = |id: &MemberId| {
            let voter = self.member.roster().and_then(|roster| roster.voter(*id));
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

/// The outcome of the write under way; never one while there is none. Cancelling it loses nothing.
async fn written(
    write: &mut Option<(u64, JoinHandle<Result<(), MemoryError>>)>,
) -> (u64, Result<(), String>) {
    match write {
        Some((number, writing)) => {
            let outcome = match writing.await {
                Ok(outcome) => outcome.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            (*number, outcome)
        }
        None => std::future::pending().await,
    }
}
