//! A way for TCP from one network namespace into another, beside the links between them.

use std::io;
use std::net::{self, SocketAddr};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::namespace::Namespace;
use crate::error::{Error, Result};

/// Several times what a controller keeps open to its API server, a connection for each watch and each request under
/// way. More wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 256;
/// After a failed accept, which usually means that file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Passes connections on until it is dropped. It runs on a thread of its own, so that it outlives the test that started
/// it where tests share it, and does not wait for what a test is doing.
#[derive(Debug)]
pub(super) struct Relay {
    _stop: oneshot::Sender<()>,
}

impl Relay {
    /// Who connects to `address` in `near` reaches what listens on `address` in `far`.
    pub(super) fn start(address: SocketAddr, near: &Arc<Namespace>, far: &Arc<Namespace>) -> Result<Self> {
        let failed = |source| Error::Start {
            program: format!("the relay of {address}"),
            source,
        };
        let (near, far) = (Arc::clone(near), Arc::clone(far));
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("relay".into())
            .spawn(move || match prepare(address, &near, &far) {
                Ok((runtime, listener)) => {
                    // Who started it waits for this.
                    ready.send(Ok(())).ok();
                    runtime.block_on(serve(listener, address, stopped));
                }
                Err(error) => drop(ready.send(Err(error))),
            })
            .map_err(failed)?;
        let gone = || io::Error::other("its thread has ended");
        started.recv().unwrap_or_else(|_| Err(gone())).map_err(failed)?;
        Ok(Self { _stop: stop })
    }
}

/// Leaves the calling thread in `far`, with a listener in `near`: a socket stays where it was made.
fn prepare(
    address: SocketAddr,
    near: &Namespace,
    far: &Namespace,
) -> io::Result<(tokio::runtime::Runtime, TcpListener)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    near.enter()?;
    let listener = net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    far.enter()?;
    let within = runtime.enter();
    let listener = TcpListener::from_std(listener)?;
    drop(within);
    Ok((runtime, listener))
}

async fn serve(listener: TcpListener, to: SocketAddr, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Nothing is ever sent: it tells that the relay was dropped.
            _ = &mut stopped => return,
            Some(_ended) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(pass_on(stream, to));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

/// Passes one connection on. Whatever goes wrong ends it, which is how either side learns of it.
async fn pass_on(mut near: TcpStream, to: SocketAddr) -> io::Result<()> {
    let mut far = TcpStream::connect(to).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}
