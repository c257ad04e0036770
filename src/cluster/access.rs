//! The way to one cluster's API server: single requests, never repeated behind the caller's back.
//!
//! kube's client repeats a request that the server refused for the moment, with delays that outlast a claim. What is
//! sent here is sent once; who wants it repeated checks the claim again.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::{BodyExt as _, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, Uri,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    header,
};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kube::{Config, client::ConfigExt as _, core::Status};
use tokio::sync::oneshot;
use tower::{BoxError, ServiceBuilder, ServiceExt as _, util::BoxCloneSyncService};

use super::claim::{Guard, latest_effect};
use crate::clock::boottime;

/// How many requests a runner has under way at once. It is also how many idle connections are kept.
pub(crate) const REQUESTS_MAX: usize = 8;

/// A server that has not accepted a connection by then is tried again rather than waited for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a read or a deletion may take, connecting included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How much longer than the server's own deadline its answer may take to arrive.
const ANSWER_SLACK: Duration = Duration::from_secs(1);

/// An idle connection is closed after this time; a failover that comes later pays for a new one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// The longest answer that is read: discovery of a cluster with thousands of custom resources is the largest.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A watch ends sooner than this, so a list or watch from which nothing comes for so long is dead.
const WATCH_READ_TIMEOUT: Duration = Duration::from_secs(30);

type Transport = BoxCloneSyncService<Request<GatedBody>, Response<Incoming>, BoxError>;

/// Hears of each request that failed: its verb, and the HTTP status if there was an answer.
type CountError = Arc<dyn Fn(&'static str, Option<u16>) + Send + Sync>;

/// Access to one cluster as one user. It is shared by all runners that use it.
#[derive(Clone)]
pub struct Access {
    client: kube::Client,
    transport: Transport,
    count_error: CountError,
    /// Whom it impersonates.
    user: Option<Arc<str>>,
}

/// Why a cluster cannot be accessed.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The configuration is not usable.
    #[error(
        "cannot use the cluster's configuration ({0}): check the kubeconfig's certificates and credentials"
    )]
    Configure(#[source] Box<kube::Error>),
}

impl Access {
    /// Prepares access with this configuration, as the user that it impersonates, if any. Nothing is sent yet.
    /// `count_error` hears of each request that failed, by its verb (`get`, `list`, `watch`, `create`, `patch`, `delete`) and
    /// the HTTP status of the answer, if there was one; not of answers that are part of the work: "not found" and
    /// "conflict".
    ///
    /// # Errors
    /// The configuration's certificates, credentials or headers cannot be used.
    pub fn new(
        config: &Config,
        count_error: impl Fn(&'static str, Option<u16>) + Send + Sync + 'static,
    ) -> Result<Self, AccessError> {
        let configure = |error| AccessError::Configure(Box::new(error));
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = config
            .rustls_https_connector_with_connector(connector)
            .map_err(configure)?;
        let http: HttpClient<_, GatedBody> = HttpClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(REQUESTS_MAX)
            .build(connector);
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(config.auth_layer().map_err(configure)?)
            .layer(config.extra_headers_layer().map_err(configure)?)
            .map_err(BoxError::from)
            .service(http);
        let mut watching = config.clone();
        watching.read_timeout = Some(WATCH_READ_TIMEOUT);
        watching.reset_reader_on_write = true;
        watching.default_retry = false;
        Ok(Self {
            client: kube::Client::try_from(watching).map_err(configure)?,
            transport: BoxCloneSyncService::new(service.map_err(BoxError::from)),
            count_error: Arc::new(count_error),
            user: config.auth_info.impersonate.as_deref().map(Arc::from),
        })
    }

    /// Whom it impersonates; none where it is the controller itself.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// kube's client, for watches.
    pub(crate) fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Counts a failure of a watch, which goes by [`Self::client`].
    pub(crate) fn count_watch_error(&self, code: Option<u16>) {
        (self.count_error)("watch", code);
    }

    fn count<T>(&self, verb: &'static str, answer: Result<T, RequestError>) -> Result<T, RequestError> {
        match &answer {
            Err(RequestError::Unanswered { .. }) => (self.count_error)(verb, None),
            Err(RequestError::Refused { status, .. }) if !matches!(status.code, 404 | 409) => {
                (self.count_error)(verb, Some(status.code));
            }
            Ok(_) | Err(_) => {}
        }
        answer
    }

    /// Sends a request that changes nothing, or whose effect is allowed at any time.
    pub(crate) async fn send(&self, call: Call) -> Result<Bytes, RequestError> {
        let body = GatedBody {
            bytes: Some(call.body.clone()),
            gate: None,
        };
        let verb = call.verb;
        let answer = self.exchange(call.into_request(body)?);
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, answer)
            .await
            .unwrap_or_else(|_| Err(RequestError::unanswered("no answer in time", None)));
        self.count(verb, answer)
    }

    /// Sends a request that may take effect only while the claim lasts.
    pub(crate) async fn send_guarded(&self, call: Call, guard: &Guard) -> Result<Bytes, RequestError> {
        let Some(server_timeout) = guard.server_timeout(boottime()) else {
            return Err(RequestError::Unclaimed);
        };
        let verb = call.verb;
        let (open, gate) = oneshot::channel();
        let open = Arc::new(Mutex::new(Some(open)));
        let released_at = Arc::new(Mutex::new(None));
        let body = GatedBody {
            bytes: Some(call.body.clone()),
            gate: Some(gate),
        };
        let mut request = call
            .with_query("timeout", &format!("{}ms", server_timeout.as_millis()))
            .into_request(body)?;
        request
            .headers_mut()
            .insert(header::EXPECT, header::HeaderValue::from_static("100-continue"));
        hyper::ext::on_informational(&mut request, {
            let (open, released_at, guard) = (open.clone(), released_at.clone(), guard.clone());
            move |interim| {
                let sender = open.lock().unwrap_or_else(PoisonError::into_inner).take();
                let now = boottime();
                if interim.status() == hyper::StatusCode::CONTINUE
                    && guard.covers(now, server_timeout)
                    && let Some(sender) = sender
                {
                    *released_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
                    // The receiver is gone only when the request was given up, and then nothing is sent.
                    sender.send(()).ok();
                }
            }
        });
        let answer = tokio::time::timeout(server_timeout * 2 + ANSWER_SLACK, self.exchange(request)).await;
        // A server that answers without having read the body leaves it unsent; this ends the wait for it.
        open.lock().unwrap_or_else(PoisonError::into_inner).take();
        let answer = answer.unwrap_or_else(|_| Err(RequestError::unanswered("no answer in time", None)));
        let answer = match answer {
            Err(error) if error.is_unanswered() || error.is_server_fault() => {
                if let Some(at) = *released_at.lock().unwrap_or_else(PoisonError::into_inner) {
                    Err(error.maybe_effective_until(latest_effect(at, server_timeout)))
                } else if guard.server_timeout(boottime()).is_none() {
                    Err(RequestError::Unclaimed)
                } else {
                    Err(error)
                }
            }
            other => other,
        };
        self.count(verb, answer)
    }

    async fn exchange(&self, request: Request<GatedBody>) -> Result<Bytes, RequestError> {
        let unanswered = |error: BoxError| RequestError::unanswered(&chain(error.as_ref()), None);
        let response = self
            .transport
            .clone()
            .oneshot(request)
            .await
            .map_err(unanswered)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(unanswered)?
            .to_bytes();
        if head.status.is_success() {
            return Ok(body);
        }
        let mut status = serde_json::from_slice::<Status>(&body).unwrap_or_else(|_| Status {
            message: format!("the API server answered {}", head.status),
            ..Status::default()
        });
        status.code = head.status.as_u16();
        Err(RequestError::Refused {
            status: Box::new(status),
            retry_after: retry_after(&head.headers),
            maybe_until: None,
        })
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()
        .map(Duration::from_secs)
}

/// An error with its causes: hyper's own text says only that sending failed.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A request in the making.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// As Kubernetes calls it.
    verb: &'static str,
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    content_type: &'static str,
    accept: &'static str,
    body: Bytes,
}

impl Call {
    pub(crate) fn get(path: String) -> Self {
        Self::new("get", Method::GET, path)
    }

    pub(crate) fn list(path: String) -> Self {
        Self::new("list", Method::GET, path)
    }

    pub(crate) fn create(path: String) -> Self {
        Self::new("create", Method::POST, path)
    }

    pub(crate) fn patch(path: String) -> Self {
        Self::new("patch", Method::PATCH, path)
    }

    pub(crate) fn delete(path: String) -> Self {
        Self::new("delete", Method::DELETE, path)
    }

    fn new(verb: &'static str, method: Method, path: String) -> Self {
        Self {
            verb,
            method,
            path,
            query: Vec::new(),
            content_type: "application/json",
            accept: "application/json",
            body: Bytes::new(),
        }
    }

    pub(crate) fn with_query(mut self, name: &'static str, value: &str) -> Self {
        self.query.push((name, encode_uri_part(value)));
        self
    }

    pub(crate) fn with_accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    pub(crate) fn with_body(mut self, content_type: &'static str, body: Vec<u8>) -> Self {
        self.content_type = content_type;
        self.body = body.into();
        self
    }

    fn into_request(self, body: GatedBody) -> Result<Request<GatedBody>, RequestError> {
        let mut target = self.path;
        for (index, (name, value)) in self.query.iter().enumerate() {
            target.push(if index == 0 { '?' } else { '&' });
            target.push_str(name);
            target.push('=');
            target.push_str(value);
        }
        let build = |error: hyper::http::Error| RequestError::Unsendable {
            reason: error.to_string(),
        };
        let uri = target.parse::<Uri>().map_err(|error| build(error.into()))?;
        Request::builder()
            .method(self.method)
            .uri(uri)
            .header(header::CONTENT_TYPE, self.content_type)
            .header(header::ACCEPT, self.accept)
            .body(body)
            .map_err(build)
    }
}

/// Encodes a text as one part of a path or a query, so that an odd name cannot become a different request.
pub(crate) fn encode_uri_part(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A body that can be held back until its gate opens. If the gate is dropped instead, the request is broken off.
struct GatedBody {
    bytes: Option<Bytes>,
    gate: Option<oneshot::Receiver<()>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the claim ended before the API server asked for the request's body")]
struct GateShut;

impl Body for GatedBody {
    type Data = Bytes;
    type Error = GateShut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GateShut>>> {
        if let Some(gate) = &mut self.gate {
            match Pin::new(gate).poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => self.gate = None,
                Poll::Ready(Err(_)) => return Poll::Ready(Some(Err(GateShut))),
            }
        }
        Poll::Ready(
            self.bytes
                .take()
                .filter(|bytes| !bytes.is_empty())
                .map(|bytes| Ok(Frame::data(bytes))),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// Why a request did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// It was not sent, or not as far as to take effect.
    #[error("this member's claim to lead has ended")]
    Unclaimed,
    /// It cannot be sent as it is.
    #[error("the request cannot be sent: {reason}")]
    Unsendable { reason: String },
    /// The API server answered with an error.
    #[error("{}", status.message)]
    Refused {
        status: Box<Status>,
        retry_after: Option<Duration>,
        maybe_until: Option<Duration>,
    },
    /// There was no answer.
    #[error("the API server did not answer: {reason}")]
    Unanswered {
        reason: String,
        maybe_until: Option<Duration>,
    },
}

impl RequestError {
    pub(crate) fn unanswered(reason: &str, maybe_until: Option<Duration>) -> Self {
        Self::Unanswered {
            reason: reason.to_owned(),
            maybe_until,
        }
    }

    /// The HTTP status of the server's answer.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(status.code),
            _ => None,
        }
    }

    pub(crate) fn is_already_exists(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if status.is_already_exists())
    }

    /// Until when the request may still take effect; none if it certainly did not.
    pub(crate) fn maybe_until(&self) -> Option<Duration> {
        match self {
            Self::Refused { maybe_until, .. } | Self::Unanswered { maybe_until, .. } => *maybe_until,
            _ => None,
        }
    }

    fn is_unanswered(&self) -> bool {
        matches!(self, Self::Unanswered { .. })
    }

    fn is_server_fault(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if status.code >= 500)
    }

    fn maybe_effective_until(mut self, until: Duration) -> Self {
        if let Self::Unanswered { maybe_until, .. } | Self::Refused { maybe_until, .. } = &mut self {
            *maybe_until = Some(until);
        }
        self
    }
}
