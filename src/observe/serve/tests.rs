#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::*;

struct Running {
    address: SocketAddr,
    health: Health,
    metrics: Metrics,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

async fn start(stall_limit: Duration) -> Running {
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, health, metrics) = (
        server.address(),
        Health::new(stall_limit, "the watch on MultiClusters is not established"),
        Metrics::new(),
    );
    let cancel = CancellationToken::new();
    let task = tokio::spawn(server.run(health.clone(), metrics.clone(), cancel.clone()));
    Running {
        address,
        health,
        metrics,
        cancel,
        task,
    }
}

impl Running {
    /// Sends a request and reads until the server closes: status line, then body.
    async fn ask(&self, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream
            .write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }
}

#[tokio::test]
async fn probes_tell_the_state_and_its_reason() {
    let server = start(Duration::from_secs(60)).await;
    assert_eq!(
        server.ask("GET /livez").await,
        ("HTTP/1.1 200 OK".into(), "ok\n".into())
    );
    let (status, reason) = server.ask("GET /readyz").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(reason, "the watch on MultiClusters is not established\n");
    server.health.set_ready(true);
    assert_eq!(server.ask("GET /readyz?verbose").await.0, "HTTP/1.1 200 OK");
    assert_eq!(
        server.ask("HEAD /livez").await,
        ("HTTP/1.1 200 OK".into(), String::new())
    );
}

#[tokio::test]
async fn a_hung_main_loop_fails_the_liveness_probe() {
    let server = start(Duration::ZERO).await;
    sleep(Duration::from_millis(5)).await;
    assert_eq!(
        server.ask("GET /livez").await.0,
        "HTTP/1.1 503 Service Unavailable"
    );
}

#[tokio::test]
async fn metrics_are_served_and_other_requests_refused() {
    let server = start(Duration::from_secs(60)).await;
    server.metrics.set_peers_connected(2);
    let (status, body) = server.ask("GET /metrics").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(body.contains("\nflagship_peers_connected 2\n"), "{body}");
    assert_eq!(server.ask("GET /").await.0, "HTTP/1.1 404 Not Found");
    assert_eq!(
        server.ask("POST /livez").await.0,
        "HTTP/1.1 405 Method Not Allowed"
    );
}

#[tokio::test]
async fn clients_that_send_nothing_are_cut_off_and_keep_nobody_out() {
    let server = start(Duration::from_secs(60)).await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let before = Instant::now();
    assert_eq!(server.ask("GET /livez").await.0, "HTTP/1.1 200 OK");
    assert!(
        before.elapsed() < Duration::from_secs(3),
        "the kubelet would have given up"
    );
    let mut rest = Vec::new();
    let closed = timeout(CONNECTION_TIMEOUT, silent[0].read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "a silent client is still connected");
}

#[tokio::test]
async fn cancelling_ends_the_server_and_frees_the_port() {
    let server = start(Duration::from_secs(60)).await;
    let _open = TcpStream::connect(server.address).await.unwrap();
    server.cancel.cancel();
    timeout(Duration::from_secs(5), server.task)
        .await
        .unwrap()
        .unwrap();
    Server::bind(server.address).await.unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let server = start(Duration::from_secs(60)).await;
    let error = Server::bind(server.address).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!(
            "cannot serve health and metrics on {}: ",
            server.address
        )),
        "{error}"
    );
}
