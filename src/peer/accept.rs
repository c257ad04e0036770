//! Ports, and the connections that come in through them.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::DropGuard;
use tracing::{debug, warn};

use super::admission::{Overflow, Permit};
use super::connection;
use super::frame::Endpoint;
use super::handshake::{HandshakeError, greet};
use super::transport::Shared;
use crate::system::{self, TcpListener, TcpStream};

/// The wait after the system refused to accept, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Warnings about what strangers do are at least this far apart.
const WARN_INTERVAL: Duration = Duration::from_secs(10);

/// The socket, which the port's owner can take away from the task that accepts.
#[derive(Clone, Debug)]
pub(super) struct Socket(Arc<Mutex<Option<TcpListener>>>);

impl Socket {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self(Arc::new(Mutex::new(Some(listener))))
    }

    pub(super) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(
            |context| match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
                Some(listener) => listener.poll_accept(context),
                None => Poll::Pending,
            },
        )
        .await
    }
}

/// A port that stays open while any clone of this is held. Connections outlive it.
#[derive(Clone, Debug)]
pub struct Listener(pub(super) Arc<Port>);

#[derive(Debug)]
pub(super) struct Port {
    pub(super) address: SocketAddr,
    pub(super) endpoint: Endpoint,
    pub(super) socket: Socket,
    pub(super) _accepting: DropGuard,
}

impl Listener {
    /// The address that it listens on, with the port that the system chose if none was asked for.
    pub fn local_address(&self) -> SocketAddr {
        self.0.address
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // Here rather than in the task, so that the port is free when this returns.
        self.socket.close();
    }
}

/// Accepts until cancelled.
pub(super) async fn run(shared: &Arc<Shared>, socket: Socket, endpoint: Endpoint) {
    let mut overflows = Overflows::default();
    loop {
        let (stream, remote) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                overflows.count(&format_args!("accepting failed: {error}"));
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match shared.admission.admit(remote.ip()) {
            Ok(permit) => {
                let task = Arc::clone(shared);
                shared.spawn("accepted connection", async move {
                    serve(&task, stream, remote, endpoint, permit).await;
                });
            }
            Err(overflow) => overflows.refused(remote, overflow),
        }
    }
}

async fn serve(
    shared: &Arc<Shared>,
    stream: TcpStream,
    remote: SocketAddr,
    endpoint: Endpoint,
    permit: Permit,
) {
    let hello = shared.hello(Some(endpoint));
    let shaking = timeout(shared.timing.handshake_max, async {
        system::tune(&stream, shared.timing.silence_max).map_err(HandshakeError::Tls)?;
        let secured = shared.tls.accept(stream).await.map_err(HandshakeError::Tls)?;
        greet(secured, shared.tls.instance, &hello).await
    });
    let Some(shaken) = shared.closing.run_until_cancelled(shaking).await else {
        return;
    };
    match shaken.unwrap_or(Err(HandshakeError::TimedOut)) {
        Ok(greeted) => connection::run(shared, greeted, remote, None, Some(permit)).await,
        Err(error) => debug!(%remote, %error, "a connection was not accepted"),
    }
}

/// Reports what was refused, however often that happens, in few lines.
#[derive(Debug, Default)]
struct Overflows {
    refused: u64,
    warned_at: Option<Instant>,
}

impl Overflows {
    fn refused(&mut self, remote: SocketAddr, overflow: Overflow) {
        self.count(&format_args!(
            "closed a connection from {remote}: {overflow:?} at their limit"
        ));
    }

    fn count(&mut self, what: &std::fmt::Arguments<'_>) {
        self.refused += 1;
        if self.warned_at.is_none_or(|at| at.elapsed() >= WARN_INTERVAL) {
            warn!(count = self.refused, "{what}");
            *self = Self {
                refused: 0,
                warned_at: Some(Instant::now()),
            };
        }
    }
}
