#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;

use super::*;
use crate::run_folder::RunFolder;

/// Nothing that arrives on one machine takes longer, unless the machine is drowned in work.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);
/// How long something that must not come is waited for.
const SILENCE: Duration = Duration::from_millis(300);
const LATE: Duration = Duration::from_millis(900);

/// Answers `/watch` by a line at once and one more whenever it is told to, and everything else by what it was sent, which
/// it does not ask for before it is told to.
async fn answer_slowly(request: Request<Incoming>, tell: Arc<Notify>) -> Result<Answer, hyper::Error> {
    if request.uri().path() == "/watch" {
        let lines = futures::stream::unfold(false, move |is_next| {
            let tell = Arc::clone(&tell);
            async move {
                if is_next {
                    tell.notified().await;
                }
                Some((Ok(Frame::data(Bytes::from_static(b"line"))), true))
            }
        });
        return Ok(Response::new(StreamBody::new(lines).boxed_unsync()));
    }
    tell.notified().await;
    let body = request.into_body().collect().await?.to_bytes();
    let body = Full::new(body).map_err(|never| match never {});
    Ok(Response::new(body.boxed_unsync()))
}

async fn connect(connector: &TlsConnector, proxy: &Proxy) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(proxy.address()).await.unwrap();
    let name = ServerName::from(proxy.address().ip());
    connector.connect(name, stream).await.unwrap()
}

/// A proxy before a server, and a client of it.
struct Setting {
    proxy: Proxy,
    tell: Arc<Notify>,
    connector: TlsConnector,
    client: TlsStream<TcpStream>,
}

impl Setting {
    async fn new() -> Setting {
        let folder = RunFolder::get().unwrap().cluster_folder("proxy").unwrap();
        let pki = Pki::create(&folder.join("pki"), Ipv4Addr::LOCALHOST.into()).unwrap();
        let (acceptor, connector) = tls(&pki).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let tell = Arc::new(Notify::new());
        let told = Arc::clone(&tell);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let stream = acceptor.accept(stream).await.unwrap();
                let told = Arc::clone(&told);
                let service = service_fn(move |request| answer_slowly(request, Arc::clone(&told)));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        let proxy = Proxy::start(server, &pki).unwrap();
        let client = connect(&connector, &proxy).await;
        Setting {
            proxy,
            tell,
            connector,
            client,
        }
    }

    async fn send(&mut self, text: &str) {
        self.client.write_all(text.as_bytes()).await.unwrap();
        self.client.flush().await.unwrap();
    }

    /// What comes next, in one piece.
    async fn next(&mut self) -> String {
        let mut piece = [0; 4096];
        let read = self.client.read(&mut piece);
        let length = timeout(ARRIVES_WITHIN, read).await.unwrap().unwrap();
        String::from_utf8_lossy(&piece[..length]).into_owned()
    }

    /// What comes up to this text.
    async fn up_to(&mut self, end: &str) -> String {
        let mut heard = String::new();
        while !heard.contains(end) {
            heard.push_str(&self.next().await);
        }
        heard
    }

    async fn hears_nothing(&mut self) -> bool {
        timeout(SILENCE, self.client.read(&mut [0; 1])).await.is_err()
    }
}

#[tokio::test]
async fn a_body_is_asked_for_when_the_server_asks_for_it() {
    let mut setting = Setting::new().await;
    let head = "POST / HTTP/1.1\r\nHost: newyork\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    setting.send(head).await;
    assert!(setting.hears_nothing().await);
    setting.tell.notify_one();
    assert_eq!(setting.next().await, "HTTP/1.1 100 Continue\r\n\r\n");
    setting.send("hello").await;
    assert!(setting.up_to("hello").await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn a_late_answer_comes_late_and_so_does_each_event_of_a_watch() {
    let mut setting = Setting::new().await;
    setting.proxy.set_answers(Answers::Late(LATE));
    let began = Instant::now();
    setting.send("GET /watch HTTP/1.1\r\nHost: newyork\r\n\r\n").await;
    setting.up_to("line").await;
    assert!(began.elapsed() >= LATE);
    // Both were sent one after the other, and neither waits for the other's delay.
    let began = Instant::now();
    setting.tell.notify_one();
    sleep(SILENCE).await;
    setting.tell.notify_one();
    setting.up_to("line").await;
    assert!((LATE..2 * LATE).contains(&began.elapsed()));
    setting.up_to("line").await;
    assert!((LATE + SILENCE..2 * LATE).contains(&began.elapsed()));
    setting.proxy.set_answers(Answers::Prompt);
    setting.tell.notify_one();
    setting.up_to("line").await;
}

#[tokio::test]
async fn a_refusal_ends_a_watch_and_answers_as_an_api_server_does() {
    let mut setting = Setting::new().await;
    setting.send("GET /watch HTTP/1.1\r\nHost: newyork\r\n\r\n").await;
    setting.up_to("line").await;
    setting.proxy.set_answers(Answers::Refused {
        status: StatusCode::TOO_MANY_REQUESTS,
        retry_after_seconds: Some(7),
    });
    let mut byte = [0];
    let ended = setting.client.read(&mut byte);
    timeout(ARRIVES_WITHIN, ended).await.unwrap().ok();
    setting.client = connect(&setting.connector, &setting.proxy).await;
    setting.send("GET /watch HTTP/1.1\r\nHost: newyork\r\n\r\n").await;
    let answer = setting.up_to(r#""Failure"}"#).await;
    assert!(
        answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"),
        "{answer}"
    );
    assert!(answer.contains("retry-after: 7\r\n"), "{answer}");
    assert!(answer.contains(r#""reason":"TooManyRequests""#), "{answer}");
}
