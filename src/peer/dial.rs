//! Reaching out: names, attempts, back-off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::select_ok;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::connection;
use super::destination::{Dial, split_address};
use super::handshake::{Greeted, HandshakeError, greet};
use super::switchboard::DialFailure;
use super::transport::Shared;
use crate::system::{self, TcpStream};

/// How long a connection may take to be answered. The kernel repeats an unanswered SYN after one second, so a fresh
/// attempt is as good from then on, and finds a healed link sooner than the kernel's growing waits.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// How long the name service may take. Resolvers repeat a lost query after five seconds, so this is a first answer.
const RESOLVE_MAX: Duration = Duration::from_secs(3);

/// Addresses of one name that are tried in one attempt.
const ADDRESSES: usize = 8;

/// The head start of an address of a name before the next one is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// Frees the address to be dialled again, should its task end before a connection is up.
struct Dialling<'a> {
    shared: &'a Shared,
    address: &'a Arc<str>,
    is_over: bool,
}

impl Drop for Dialling<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.shared.switchboard().dial_abandoned(self.address);
        }
    }
}

/// Dials until a connection is up or nobody wants it any more, then serves the connection.
pub(super) async fn run(shared: &Arc<Shared>, dial: Dial) {
    let Dial { address, mut wait } = dial;
    let mut dialling = Dialling {
        shared,
        address: &address,
        is_over: false,
    };
    loop {
        let attempt = async {
            // At random between half and all of it, so that members that lost a peer together do not return as one.
            sleep(wait.mul_f64(rand::random_range(0.5..=1.0))).await;
            attempt(shared, &address).await
        };
        let Some(outcome) = shared.closing.run_until_cancelled(attempt).await else {
            return;
        };
        let failure = match outcome {
            Ok((greeted, remote)) => {
                dialling.is_over = true;
                debug!(%address, %remote, "connected");
                let dialled = Some(Arc::clone(&address));
                return connection::run(shared, greeted, remote, dialled, None).await;
            }
            Err(failure) => failure,
        };
        debug!(%address, ?failure, "dialling failed");
        match shared
            .switchboard()
            .dial_failed(Instant::now(), &address, failure)
        {
            Some(next) => wait = next,
            None => return,
        }
    }
}

async fn attempt(shared: &Shared, address: &str) -> Result<(Greeted, SocketAddr), DialFailure> {
    let (host, port) = split_address(address).map_err(|error| DialFailure::Failed(error.to_string()))?;
    let (is_literal, remotes) = match host.parse() {
        Ok(ip) => (true, vec![SocketAddr::new(ip, port)]),
        Err(_) => (false, resolve(shared, host, port).await?),
    };
    let tries = remotes.into_iter().zip(0_u32..).map(|(remote, nth)| {
        Box::pin(async move {
            sleep(STAGGER * nth).await;
            reach(shared, remote)
                .await
                .map_err(|error| match (error, is_literal) {
                    (ReachError::Version(failure), _) => failure,
                    (ReachError::Other(cause), true) => DialFailure::Failed(cause),
                    (ReachError::Other(cause), false) => {
                        DialFailure::Failed(format!("{cause} (at {remote})"))
                    }
                })
        })
    });
    let (reached, _others) = select_ok(tries).await?;
    Ok(reached)
}

async fn resolve(shared: &Shared, host: &str, port: u16) -> Result<Vec<SocketAddr>, DialFailure> {
    let host = host.to_owned();
    let silent =
        |_| DialFailure::Unresolvable(format!("no answer from the name service within {RESOLVE_MAX:?}"));
    let lookups = Arc::clone(&shared.lookups);
    let found = timeout(RESOLVE_MAX, async {
        let permit = lookups.acquire_owned().await;
        // The permit goes with the lookup, which nothing can stop: a name service that hangs holds few threads.
        system::spawn_blocking(move || {
            let _permit = permit;
            system::look_up(&host, port).map(|found| found.take(ADDRESSES).collect::<Vec<_>>())
        })
        .await
    });
    match found.await.map_err(silent)? {
        Ok(Ok(found)) if found.is_empty() => Err(DialFailure::Unresolvable("it has no address".to_owned())),
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(DialFailure::Unresolvable(error.to_string())),
        Err(error) => Err(DialFailure::Unresolvable(error.to_string())),
    }
}

enum ReachError {
    Version(DialFailure),
    Other(String),
}

async fn reach(shared: &Shared, remote: SocketAddr) -> Result<(Greeted, SocketAddr), ReachError> {
    let stream = match timeout(CONNECT_MAX, TcpStream::connect(remote)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let cause = match error.kind() {
                kind @ (std::io::ErrorKind::ConnectionRefused
                | std::io::ErrorKind::HostUnreachable
                | std::io::ErrorKind::NetworkUnreachable
                | std::io::ErrorKind::ConnectionReset) => kind.to_string(),
                _ => format!("connecting failed: {error}"),
            };
            return Err(ReachError::Other(cause));
        }
        Err(_) => return Err(ReachError::Other(format!("no answer within {CONNECT_MAX:?}"))),
    };
    system::tune(&stream, shared.timing.silence_max)
        .map_err(|error| ReachError::Other(format!("setting socket options: {error}")))?;
    let hello = shared.hello(None);
    let shaken = timeout(shared.timing.handshake_max, async {
        let secured = shared.tls.connect(stream).await.map_err(HandshakeError::Tls)?;
        greet(secured, shared.tls.instance, &hello).await
    });
    match shaken.await.unwrap_or(Err(HandshakeError::TimedOut)) {
        Ok(greeted) => Ok((greeted, remote)),
        Err(HandshakeError::Version { ours, theirs }) => {
            Err(ReachError::Version(DialFailure::Version { ours, theirs }))
        }
        Err(error) => Err(ReachError::Other(error.to_string())),
    }
}
