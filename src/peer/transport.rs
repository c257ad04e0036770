//! The handle that the controller holds, and the tasks behind it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt;
use serde_json::value::RawValue;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::error;

use super::Error;
use super::accept::{self, Listener, Port, Socket};
use super::admission::{Admission, Limits};
use super::destination::Dial;
use super::dial;
use super::frame::{Endpoint, Hello, Versions};
use super::link::ConnectionId;
use super::mailbox::Event;
use super::members::{Credentials, SeatId};
use super::switchboard::{Switchboard, To};
use super::tls::Tls;
use crate::system;

/// Lookups of names at once. Each holds a thread until the name service answers or gives up.
const LOOKUPS: usize = 16;

/// How often unused connections and addresses are looked for; they are kept for a minute.
const SWEEP_INTERVAL: Duration = Duration::from_secs(15);

/// What a cancelled task may take to end. None does anything but drop its state then.
const CANCEL_MAX: Duration = Duration::from_secs(1);

/// How long the transport waits for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From a connection's first byte to its hello. The slowest links take a second for a round trip, and TLS and
    /// hello take one each; the rest is for a lost packet.
    pub handshake_max: Duration,
    /// From a connection's hello to the first callsign that is proven on it. Each proof takes two round trips; a member
    /// that knows an address only may have to try all members there.
    pub prove_max: Duration,
    /// The silence after which a connection is asked for a sign of life. Heartbeats make pings needless in all
    /// profiles but the slowest.
    pub ping_interval: Duration,
    /// The silence after which a connection is dead: three pings without an answer. TCP repeats a lost packet
    /// after 0.2, 0.6, 1.4 and 3 seconds, so all of these must be lost as well.
    pub silence_max: Duration,
    /// How long one write may take: the longest frame over a megabit link. A link that takes nothing at all is
    /// noticed earlier, by `silence_max`.
    pub write_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            handshake_max: Duration::from_secs(3),
            prove_max: Duration::from_secs(10),
            ping_interval: Duration::from_secs(1),
            silence_max: Duration::from_secs(3),
            write_max: Duration::from_secs(10),
        }
    }
}

/// What a transport needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bounds on what comes in.
    pub limits: Limits,
    /// How long to wait for others.
    pub timing: Timing,
    /// The protocol versions to speak.
    pub protocol: Versions,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            timing: Timing::default(),
            protocol: Versions::SPOKEN,
        }
    }
}

/// What all tasks share.
pub(super) struct Shared {
    pub(super) timing: Timing,
    pub(super) tls: Tls,
    pub(super) admission: Admission,
    pub(super) lookups: Arc<Semaphore>,
    /// Nothing new begins.
    pub(super) closing: CancellationToken,
    /// Everything ends.
    cancelled: CancellationToken,
    tracker: TaskTracker,
    runtime: Handle,
    protocol: Versions,
    switchboard: Mutex<Switchboard>,
    ports: Mutex<HashMap<SocketAddr, Weak<Port>>>,
    connections: AtomicU64,
    endpoints: AtomicU32,
}

impl Shared {
    pub(super) fn switchboard(&self) -> MutexGuard<'_, Switchboard> {
        // A panic inside would be a bug in one operation on maps that stay usable; the other members go on.
        self.switchboard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn hello(&self, endpoint: Option<Endpoint>) -> Hello {
        Hello {
            protocol: self.protocol,
            endpoint,
        }
    }

    /// Runs a task until it ends or the transport does. A panic is logged and ends that task only.
    pub(super) fn spawn(&self, what: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let cancelled = self.cancelled.clone();
        let task = async move {
            if let Some(Err(panic)) = cancelled
                .run_until_cancelled(AssertUnwindSafe(task).catch_unwind())
                .await
            {
                let message = panic.downcast_ref::<&str>().copied();
                let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
                error!(task = what, panic = message, "a task of the transport panicked");
            }
        };
        drop(self.tracker.spawn_on(task, &self.runtime));
    }

    pub(super) fn dial_all(self: &Arc<Self>, dials: impl IntoIterator<Item = Dial>) {
        for dial in dials {
            let shared = Arc::clone(self);
            self.spawn("dialling", async move { dial::run(&shared, dial).await });
        }
    }
}

/// Carries messages between members. Clones are handles to one and the same transport, which ends with the last.
#[derive(Clone)]
pub struct Transport {
    shared: Arc<Shared>,
    _running: Arc<DropGuard>,
}

impl Transport {
    /// Starts a transport on the current tokio runtime.
    ///
    /// # Errors
    /// When no certificate can be made, and outside a runtime.
    pub fn start(config: Config) -> Result<Self, Error> {
        let tls = Tls::new()?;
        let instance = tls.instance;
        let cancelled = CancellationToken::new();
        let shared = Arc::new(Shared {
            timing: config.timing,
            tls,
            admission: Admission::new(config.limits),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            closing: cancelled.child_token(),
            cancelled: cancelled.clone(),
            tracker: TaskTracker::new(),
            runtime: Handle::try_current()?,
            protocol: config.protocol,
            switchboard: Mutex::new(Switchboard::new(instance)),
            ports: Mutex::new(HashMap::new()),
            connections: AtomicU64::new(0),
            endpoints: AtomicU32::new(0),
        });
        let sweeping = Arc::clone(&shared);
        shared.spawn("housekeeping", async move {
            while sweeping
                .closing
                .run_until_cancelled(sleep(SWEEP_INTERVAL))
                .await
                .is_some()
            {
                sweeping.switchboard().sweep(Instant::now());
            }
        });
        Ok(Self {
            shared,
            _running: Arc::new(cancelled.drop_guard()),
        })
    }

    /// Opens a port, or shares it if this transport has opened it already.
    ///
    /// # Errors
    /// When the system refuses, as for a port in use.
    pub fn listen(&self, address: SocketAddr) -> Result<Listener, Error> {
        let failed = |cause| Error::Listen { address, cause };
        let mut ports = self.shared.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.retain(|_, port| port.strong_count() > 0);
        if self.shared.closing.is_cancelled() {
            return Err(Error::ShutDown);
        }
        if let Some(port) = ports.get(&address).and_then(Weak::upgrade) {
            return Ok(Listener(port));
        }
        let _runtime = self.shared.runtime.enter();
        let listener = system::listen(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let endpoint = Endpoint(self.shared.endpoints.fetch_add(1, Ordering::Relaxed));
        let socket = Socket::new(listener);
        let accepting = self.shared.closing.child_token();
        let port = Arc::new(Port {
            address,
            endpoint,
            socket: socket.clone(),
            _accepting: accepting.clone().drop_guard(),
        });
        ports.insert(address, Arc::downgrade(&port));
        let shared = Arc::clone(&self.shared);
        self.shared.spawn("accepting", async move {
            accepting
                .run_until_cancelled(accept::run(&shared, socket.clone(), endpoint))
                .await;
            socket.close();
        });
        Ok(Listener(port))
    }

    /// Gives `member` the messages of its group that arrive at the port of `listener`, until the inbox is dropped. The
    /// group is whoever has the same callsign.
    ///
    /// # Errors
    /// When another member has the callsign on that port, or the identity is empty or too long.
    pub fn register(
        &self,
        listener: &Listener,
        credentials: Credentials,
        member: &str,
    ) -> Result<Inbox, Error> {
        let endpoint = listener.0.endpoint;
        let (seat, filled) = self
            .shared
            .switchboard()
            .register(endpoint, &Arc::from(member), credentials)?;
        Ok(Inbox {
            shared: Arc::clone(&self.shared),
            seat,
            filled,
        })
    }

    /// How many other processes are connected.
    pub fn peers(&self) -> usize {
        self.shared.switchboard().peers()
    }

    /// How many proofs of a callsign have failed that others began here, those of members that look for their like among
    /// several groups of one controller left out.
    pub fn failed_proofs(&self) -> u64 {
        self.shared.switchboard().failed_proofs()
    }

    /// How many other processes, addresses, channels, ways to members and guessers it remembers: bounded, and back to what
    /// is needed for those who are connected an hour after the others have gone.
    pub fn remembered(&self) -> usize {
        self.shared.switchboard().remembered()
    }

    /// How many connections are up: one for each other process, and for moments two.
    pub fn connections(&self) -> usize {
        self.shared.switchboard().connections()
    }

    /// Closes all ports, sends what is queued for connected peers, and waits until they have read it and closed.
    ///
    /// # Errors
    /// When some had not within `limit`; they are cut off.
    pub async fn shut_down(&self, limit: Duration) -> Result<(), Error> {
        self.shared.closing.cancel();
        self.shared.switchboard().shut_down(Instant::now());
        self.shared.tracker.close();
        if timeout(limit, self.shared.tracker.wait()).await.is_ok() {
            return Ok(());
        }
        let connections = self.shared.switchboard().connections();
        self.shared.cancelled.cancel();
        if timeout(CANCEL_MAX, self.shared.tracker.wait()).await.is_err() {
            error!(
                tasks = self.shared.tracker.len(),
                "tasks of the transport do not end"
            );
        }
        Err(Error::ShutdownCut { connections })
    }
}

/// One member's place: what arrives for it, and what it sends. Dropping it unregisters the member.
pub struct Inbox {
    shared: Arc<Shared>,
    seat: SeatId,
    filled: Arc<Notify>,
}

impl Inbox {
    /// The next event; dropping the future loses none.
    ///
    /// # Errors
    /// After the transport was shut down and everything that had arrived was taken.
    pub async fn receive(&mut self) -> Result<Event, Error> {
        loop {
            let taken = self.shared.switchboard().take_event(self.seat)?;
            match taken {
                Some(event) => return Ok(event),
                None => self.filled.notified().await,
            }
        }
    }

    /// Queues a message of this member. It may be lost, and newer ones displace older ones: whatever matters is
    /// repeated.
    ///
    /// # Errors
    /// When the message can never be sent that way; nothing is queued then.
    pub fn send(&self, to: &To, incarnation: u64, body: Arc<RawValue>) -> Result<(), Error> {
        let now = Instant::now();
        let dial = self
            .shared
            .switchboard()
            .send(now, self.seat, to, incarnation, body)?;
        self.shared.dial_all(dial);
        Ok(())
    }

    /// Goes by other callsigns from now on. With whom this member is connected, it stays connected.
    ///
    /// # Errors
    /// When another member has the callsign on that port; nothing changes then.
    pub fn set_credentials(&self, credentials: Credentials) -> Result<(), Error> {
        self.shared.switchboard().set_credentials(self.seat, credentials)
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.shared.switchboard().unregister(self.seat);
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a test fails by panicking"
    )]
    use super::super::proof::Callsign;
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_task_only_and_is_waited_for_like_any_end() {
        let transport = Transport::start(Config::default()).unwrap();
        transport.shared.spawn("test", async { panic!("on purpose") });
        let listener = transport.listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let credentials = Credentials::new(Callsign::new("federation"));
        let mut inbox = transport.register(&listener, credentials, "us").unwrap();
        let to = To {
            address: Some(listener.local_address().to_string().into()),
            ..To::default()
        };
        let body = RawValue::from_string("1".to_owned()).unwrap().into();
        inbox.send(&to, 1, body).unwrap();
        let event = timeout(Duration::from_secs(15), inbox.receive()).await.unwrap();
        assert!(event.is_ok());
        transport.shut_down(Duration::from_secs(15)).await.unwrap();
        assert_eq!(transport.shared.tracker.len(), 0);
    }

    #[test]
    fn outside_a_runtime_it_does_not_start() {
        assert!(matches!(
            Transport::start(Config::default()),
            Err(Error::StartRuntime(_))
        ));
    }
}
