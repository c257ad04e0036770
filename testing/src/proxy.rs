//! A reverse proxy before one API server, for what cannot be had by harming its process: answers that come late, and
//! refusals.
//!
//! It passes each request on as it comes, `Expect: 100-continue` included: a body that waits for the API server's word
//! waits for it here too. Only answers are tampered with, so that what was asked for takes effect, and who asked does
//! not know it.

use std::io;
use std::net::{self, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::poll_fn;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::ext::on_informational;
use hyper::header::{CONTENT_TYPE, EXPECT, HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::error::{Error, Result};
use crate::pki::Pki;
use crate::server::Server;

/// Pieces of one answer that wait to be passed on late. A watch of a test tells of a few objects a second.
const PIECES_MAX: usize = 1024;

/// What becomes of an API server's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// They are passed on as they come.
    Prompt,
    /// Each comes so much later, as does each event of a watch. What was asked for has been done at once.
    Late(Duration),
    /// No request is passed on. Each is refused by this HTTP status, and watches that were open are broken off.
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// After how many seconds the client is told to ask again, if it is.
        retry_after_seconds: Option<u32>,
    },
}

/// A proxy that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    answers: watch::Sender<Answers>,
    _server: Server,
}

impl Proxy {
    /// Listens on any free port of the API server's address, with the API server's certificate.
    pub(crate) fn start(api_server: SocketAddr, pki: &Pki) -> Result<Self> {
        let what = format!("the proxy of {api_server}");
        let failed = |source| Error::Start {
            program: what.clone(),
            source,
        };
        let (acceptor, connector) = tls(pki).map_err(|error| failed(io::Error::other(error)))?;
        let listener = net::TcpListener::bind(SocketAddr::new(api_server.ip(), 0)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (answers, receiver) = watch::channel(Answers::Prompt);
        let way = Way {
            to: api_server,
            acceptor,
            connector,
            answers: receiver,
        };
        let server = Server::start(&what, || Ok(listener), move |near| way.clone().pass_on(near))?;
        Ok(Self {
            address,
            answers,
            _server: server,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, for answers to requests that are under way too.
    pub(crate) fn set_answers(&self, answers: Answers) {
        self.answers.send_replace(answers);
    }
}

fn tls(pki: &Pki) -> Result<(TlsAcceptor, TlsConnector), Box<dyn std::error::Error + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain =
        CertificateDer::pem_file_iter(pki.server_certificate_file())?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(pki.server_key_file())?;
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    let mut authorities = RootCertStore::empty();
    authorities.add(CertificateDer::from_pem_file(pki.authority_certificate_file())?)?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authorities)
        .with_no_client_auth();
    Ok((Arc::new(server).into(), Arc::new(client).into()))
}

/// The way to the API server.
#[derive(Clone)]
struct Way {
    to: SocketAddr,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    answers: watch::Receiver<Answers>,
}

type Sender = SendRequest<HeldBody>;
type Answer = Response<UnsyncBoxBody<Bytes, hyper::Error>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Way {
    /// Passes on the requests of one connection, on one to the API server. Whatever goes wrong ends both, which is how
    /// either side learns of it.
    async fn pass_on(self, near: TcpStream) -> Result<(), BoxError> {
        near.set_nodelay(true)?;
        let near = self.acceptor.accept(near).await?;
        let far = TcpStream::connect(self.to).await?;
        far.set_nodelay(true)?;
        let name = ServerName::from(self.to.ip());
        let far = self.connector.connect(name, far).await?;
        let (sender, far) = handshake(TokioIo::new(far)).await?;
        let sender = Mutex::new(sender);
        let service = service_fn(|request| self.answer(request, &sender));
        let near = http1::Builder::new().serve_connection(TokioIo::new(near), service);
        tokio::select! {
            ended = near => ended?,
            ended = far => ended?,
        }
        Ok(())
    }

    fn answers(&self) -> Answers {
        *self.answers.borrow()
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        sender: &Mutex<Sender>,
    ) -> Result<Answer, hyper::Error> {
        if let Answers::Refused {
            status,
            retry_after_seconds,
        } = self.answers()
        {
            return Ok(refusal(status, retry_after_seconds));
        }
        let mut sender = sender.lock().await;
        sender.ready().await?;
        let (head, body) = sender.send_request(hold_body(request)).await?.into_parts();
        let came_at = Instant::now();
        let body = self.pass_body_on(body);
        if let Answers::Late(late) = self.answers() {
            sleep_until(came_at + late).await;
        }
        Ok(Response::from_parts(head, body))
    }

    /// Takes the pieces of an answer as they come and passes them on when they are due.
    fn pass_body_on(&self, mut body: Incoming) -> UnsyncBoxBody<Bytes, hyper::Error> {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(PIECES_MAX);
        let mut answers = self.answers.clone();
        tokio::spawn(async move {
            let is_refused = |answers: &Answers| matches!(answers, Answers::Refused { .. });
            loop {
                let piece = tokio::select! {
                    // Its sender lives as long as the proxy.
                    _ = answers.wait_for(is_refused) => return,
                    () = sender.closed() => return,
                    piece = body.frame() => piece,
                };
                let Some(piece) = piece else { return };
                // The receiver is gone when the client is.
                sender.send((Instant::now(), piece)).await.ok();
            }
        });
        let answers = self.answers.clone();
        let pieces = poll_fn(move |context| receiver.poll_recv(context));
        let due = pieces.then(move |(came_at, piece)| {
            let late = match *answers.borrow() {
                Answers::Late(late) => late,
                Answers::Prompt | Answers::Refused { .. } => Duration::ZERO,
            };
            async move {
                sleep_until(came_at + late).await;
                piece
            }
        });
        StreamBody::new(due).boxed_unsync()
    }
}

/// A request's body, which is not asked for before the API server asks for it, if the client waits for that.
struct HeldBody {
    body: Incoming,
    asked_for: Option<oneshot::Receiver<()>>,
}

fn hold_body(request: Request<Incoming>) -> Request<HeldBody> {
    let waits = request.headers().contains_key(EXPECT);
    let (ask, asked_for) = oneshot::channel();
    let mut request = request.map(|body| HeldBody {
        body,
        asked_for: waits.then_some(asked_for),
    });
    if waits {
        let ask = Mutex::new(Some(ask));
        on_informational(&mut request, move |interim| {
            if interim.status() == StatusCode::CONTINUE
                && let Ok(mut ask) = ask.try_lock()
                && let Some(ask) = ask.take()
            {
                // The body is gone when the client is.
                ask.send(()).ok();
            }
        });
    }
    request
}

impl Body for HeldBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(asked_for) = &mut self.asked_for {
            // The API server may answer without having asked: then the body is not polled any more.
            if Pin::new(asked_for).poll(context).is_pending() {
                return Poll::Pending;
            }
            self.asked_for = None;
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A refusal as an API server words it.
fn refusal(status: StatusCode, retry_after_seconds: Option<u32>) -> Answer {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": status.canonical_reason().unwrap_or_default().replace(' ', ""),
        "message": "the proxy before the API server lets nothing through", "code": status.as_u16(),
        "details": {"retryAfterSeconds": retry_after_seconds.unwrap_or_default()},
    });
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = retry_after_seconds {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    answer
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
