//! A listener on a thread of its own.

use std::io;
use std::net;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::error::{Error, Result};

/// Several times what a controller keeps open to its API server, a connection for each watch and each request under
/// way. More wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 256;
/// After a failed accept, which usually means that file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves connections until it is dropped. It has a thread of its own, so that it outlives the test that started it where
/// tests share it, and does not wait for what a test is doing.
#[derive(Debug)]
pub(crate) struct Server {
    _stop: oneshot::Sender<()>,
}

impl Server {
    /// Serves what `listen` returns, which is called on the thread, and returns when that listens.
    pub(crate) fn start<F>(
        what: &str,
        listen: impl FnOnce() -> io::Result<net::TcpListener> + Send + 'static,
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Result<Self>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let failed = |source| Error::Start {
            program: what.to_owned(),
            source,
        };
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name(what.to_owned())
            .spawn(move || match prepare(listen) {
                Ok((runtime, listener)) => {
                    // Who started it waits for this.
                    ready.send(Ok(())).ok();
                    runtime.block_on(accept(listener, serve, stopped));
                }
                Err(error) => drop(ready.send(Err(error))),
            })
            .map_err(failed)?;
        let gone = || io::Error::other("its thread has ended");
        started.recv().unwrap_or_else(|_| Err(gone())).map_err(failed)?;
        Ok(Self { _stop: stop })
    }
}

fn prepare(listen: impl FnOnce() -> io::Result<net::TcpListener>) -> io::Result<(Runtime, TcpListener)> {
    let listener = listen()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let within = runtime.enter();
    let listener = TcpListener::from_std(listener)?;
    drop(within);
    Ok((runtime, listener))
}

async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F, mut stopped: oneshot::Receiver<()>)
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Nothing is ever sent: it tells that the server was dropped.
            _ = &mut stopped => return,
            Some(_ended) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}
