//! `/livez`, `/readyz` and `/metrics` over HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::health::Health;
use super::metrics::{self, Metrics};
use crate::system::{TcpListener, TcpStream};

/// Connections served at once. The kubelet opens two, a scraper one each; the rest is room for people. More wait in
/// the kernel's queue.
const CONNECTIONS_MAX: usize = 32;
/// How long a client may take to send its request: short, so that clients which send none cannot keep the kubelet's
/// probes, which wait 3 s, out for long.
const HEADER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection may live, the answer included.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest head of a request. A probe sends a few hundred bytes; hyper takes no less than 8 KiB.
const HEAD_MAX_BYTES: usize = 8 * 1024;
/// Pause after a failed accept, which usually means that file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error(
        "cannot serve health and metrics on {address}: {source}. Choose another address by --metrics-address"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        source: std::io::Error,
    },
}

/// A server that listens, and answers once it runs.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on an address; port 0 takes a free one.
    ///
    /// # Errors
    /// The address is in use, or not one of this machine.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServeError> {
        let wrap = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(wrap)?;
        let address = listener.local_addr().map_err(wrap)?;
        Ok(Self { listener, address })
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `cancel` is cancelled; connections that are open then are closed.
    pub async fn run(self, health: Health, metrics: Metrics, cancel: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                // A connection that panicked has been told by the runtime; the others go on.
                Some(_ended) = connections.join_next() => {}
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                    Ok((stream, _client)) => {
                        connections.spawn(serve(stream, health.clone(), metrics.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, address = %self.address, "cannot accept a connection for health and metrics");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }
}

async fn serve(stream: TcpStream, health: Health, metrics: Metrics) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), &health, &metrics);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEAD_MAX_BYTES)
        // Whoever asks again connects again, so that idle clients do not use up the connections.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a client of health and metrics failed"),
        Err(_elapsed) => tracing::debug!("a client of health and metrics was too slow"),
    }
}

fn respond(method: &Method, path: &str, health: &Health, metrics: &Metrics) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/livez" => verdict(health.live()),
        "/readyz" => verdict(health.ready()),
        "/metrics" => match metrics.text() {
            Ok(body) => answer(StatusCode::OK, metrics::CONTENT_TYPE, body),
            Err(error) => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("cannot write the metrics: {error}\n"),
            ),
        },
        _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n"),
    }
}

fn verdict(state: Result<(), String>) -> Response<Full<Bytes>> {
    match state {
        Ok(()) => text(StatusCode::OK, "ok\n"),
        Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, reason + "\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    answer(status, "text/plain; charset=utf-8", body)
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
#[path = "serve/tests.rs"]
mod tests;
