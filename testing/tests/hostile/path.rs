//! Who stands in the path between two members.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::tls::{Tls, connect_from};

/// Of each direction of a session so much is kept: its handshake, its proofs and a minute of heartbeats.
const RECORD_BYTES_MAX: usize = 256 * 1024;
/// Sessions that are kept; members make few.
const SESSIONS_MAX: usize = 64;

/// What was said in one session: by who connected, and by who answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    pub(crate) asked: Vec<u8>,
    pub(crate) answered: Vec<u8>,
}

type Sessions = Arc<Mutex<Vec<Arc<Mutex<Session>>>>>;

/// Passes connections on to one address, from an address of its own, until it is dropped.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) address: SocketAddr,
    sessions: Sessions,
    task: JoinHandle<()>,
}

impl Drop for Path {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Path {
    /// One that writes down all that passes.
    pub(crate) async fn recording(source: IpAddr, to: SocketAddr) -> Path {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sessions = Sessions::default();
        let kept = Arc::clone(&sessions);
        let task = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let session = begin(&kept);
                tokio::spawn(async move {
                    let far = connect_from(source, to).await?;
                    near.set_nodelay(true)?;
                    far.set_nodelay(true)?;
                    relay(near, far, &session).await;
                    std::io::Result::Ok(())
                });
            }
        });
        Path {
            address,
            sessions,
            task,
        }
    }

    /// One that speaks TLS with both sides by its own certificate, and so reads all that passes.
    pub(crate) async fn decrypting(source: IpAddr, to: SocketAddr) -> Path {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sessions = Sessions::default();
        let kept = Arc::clone(&sessions);
        let tls = Tls::new();
        let task = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let (tls, session) = (tls.clone(), begin(&kept));
                tokio::spawn(async move {
                    let near = tls.acceptor.accept(near).await?;
                    let far = tls.connect(connect_from(source, to).await?).await?;
                    relay(near, far, &session).await;
                    std::io::Result::Ok(())
                });
            }
        });
        Path {
            address,
            sessions,
            task,
        }
    }

    /// What was recorded so far.
    pub(crate) fn sessions(&self) -> Vec<Session> {
        let sessions = self.sessions.lock().unwrap();
        sessions
            .iter()
            .map(|session| session.lock().unwrap().clone())
            .collect()
    }
}

/// A new session; above the bound it is not kept.
fn begin(kept: &Sessions) -> Arc<Mutex<Session>> {
    let session = Arc::new(Mutex::new(Session::default()));
    let mut kept = kept.lock().unwrap();
    if kept.len() < SESSIONS_MAX {
        kept.push(Arc::clone(&session));
    }
    session
}

async fn relay(
    near: impl AsyncRead + AsyncWrite,
    far: impl AsyncRead + AsyncWrite,
    session: &Mutex<Session>,
) {
    let (mut near_read, mut near_write) = split(near);
    let (mut far_read, mut far_write) = split(far);
    let asked = pass(&mut near_read, &mut far_write, |bytes| {
        keep(&mut session.lock().unwrap().asked, bytes);
    });
    let answered = pass(&mut far_read, &mut near_write, |bytes| {
        keep(&mut session.lock().unwrap().answered, bytes);
    });
    // The end of one direction is the end of both: members do not close by halves.
    tokio::select! {
        () = asked => {}
        () = answered => {}
    }
}

fn keep(record: &mut Vec<u8>, bytes: &[u8]) {
    let room = RECORD_BYTES_MAX.saturating_sub(record.len());
    record.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut keep: impl FnMut(&[u8]),
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        keep(&buffer[..read]);
        // TLS holds back what is not flushed.
        if to.write_all(&buffer[..read]).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
}
