//! The asynchronous shell around a member whose memory is a file: it carries events in and commands out, and decides
//! nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::Error;
use super::memory::{MemoryError, MemoryFile, Recalled, Record};
use crate::clock::boottime;
use crate::election::{
    Command, Config, Durable, Event, Member, MemberId, MemoryId, Message, Notice, Order, Tick,
};
use crate::observe::metrics::MemberMetrics;
use crate::peer::{self, Credentials, Inbox, Listener, Transport};
use crate::{mail, system};

/// A member, its memory, and its place on the network.
pub struct Shell {
    member: Member,
    file: Arc<MemoryFile>,
    inbox: Inbox,
    /// The one write under way, and its number.
    write: Option<(u64, JoinHandle<Result<(), MemoryError>>)>,
    /// Whether the last write was made.
    writes: bool,
    metrics: MemberMetrics,
}

/// What a step leaves to whoever holds the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// From now on this is wanted of the payload.
    Order {
        /// Names this order in [`Event::PayloadStopped`].
        number: u64,
        /// What is wanted.
        order: Order,
    },
    /// The user may want to know.
    Notice(Notice),
}

impl Shell {
    /// Starts the member that the file at `state` remembers, or a new one. It is registered at `listener`.
    ///
    /// # Errors
    /// The file cannot be used, or the place on the network is taken.
    pub fn start(
        state: &Path,
        config: Config,
        transport: &Transport,
        listener: &Listener,
        credentials: Credentials,
        metrics: MemberMetrics,
    ) -> Result<(Shell, Vec<Outcome>), Error> {
        let (file, recalled) = MemoryFile::open(state)?;
        let Record { id, durable } = match recalled {
            Recalled::Record(record) => *record,
            Recalled::Nothing => {
                tracing::info!(state = %state.display(), "begins without a memory: asks to be admitted as a new member");
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
        let inbox = transport.register(listener, credentials, &id.to_string())?;
        let (member, commands) = Member::start(id, durable, config, None, now());
        let mut shell = Shell {
            member,
            file: Arc::new(file),
            inbox,
            write: None,
            writes: true,
            metrics,
        };
        let outcomes = shell.carry_out(commands);
        Ok((shell, outcomes))
    }

    /// The member.
    #[must_use]
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// Whether the last write of its memory was made.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.writes
    }

    /// Goes by other credentials from now on.
    ///
    /// # Errors
    /// Another member has the callsign on that port.
    pub fn set_credentials(&self, credentials: Credentials) -> Result<(), Error> {
        Ok(self.inbox.set_credentials(credentials)?)
    }

    /// Waits for what comes next, a time, a message or the end of a write, and takes the step that follows. Dropping the
    /// future loses nothing.
    ///
    /// # Errors
    /// The transport was shut down.
    pub async fn turn(&mut self) -> Result<Vec<Outcome>, Error> {
        let due = self.member.deadline().map(|tick| {
            let at = Duration::from_millis(u64::try_from(tick.0).unwrap_or(0));
            Instant::now() + at.saturating_sub(boottime())
        });
        let event = tokio::select! {
            biased;
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Some(Event::Tick),
            (number, written) = written(&mut self.write) => {
                self.write = None;
                self.writes = written.is_ok();
                Some(match written {
                    Ok(()) => Event::Persisted(number),
                    Err(error) => {
                        tracing::error!(%error, "cannot make its memory durable; it does not vote until it can");
                        Event::PersistFailed(number)
                    }
                })
            }
            event = self.inbox.receive() => self.read(&event?),
        };
        Ok(event.map_or_else(Vec::new, |event| self.step(event)))
    }

    /// Takes one step.
    pub fn step(&mut self, event: Event) -> Vec<Outcome> {
        let commands = self.member.step(now(), event, &mut rand::rng());
        self.carry_out(commands)
    }

    fn read(&self, event: &peer::Event) -> Option<Event> {
        match event {
            peer::Event::Message(incoming) => match mail::unpack(incoming) {
                Ok(received) => {
                    if matches!(received.message, Message::Heartbeat { .. }) {
                        self.metrics.count_heartbeat_received();
                    }
                    Some(Event::Received(received))
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot read a message");
                    None
                }
            },
            peer::Event::Notice(notice) => {
                tracing::info!("{notice}");
                None
            }
        }
    }

    fn carry_out(&mut self, commands: Vec<Command>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
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
                    let writing = system::spawn_blocking(move || file.write(&Record { id, durable }));
                    self.write = Some((number, writing));
                }
                Command::Payload { number, order } => outcomes.push(Outcome::Order { number, order }),
                Command::Notify(notice) => outcomes.push(Outcome::Notice(notice)),
            }
        }
        outcomes
    }
}

/// Now, as the election counts time.
pub fn now() -> Tick {
    Tick(i64::try_from(boottime().as_millis()).unwrap_or(i64::MAX))
}

fn fresh() -> Record {
    Record {
        id: MemberId(rand::random()),
        durable: Durable::new(MemoryId(rand::random())),
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
