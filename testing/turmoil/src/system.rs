//! The simulated machine's sockets, names and disk, in the place of the operating system's.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::machine;

pub use turmoil::net::TcpStream;

type Accepted = io::Result<(TcpStream, SocketAddr)>;

/// A simulated port, with the methods that are used of tokio's.
pub struct TcpListener {
    port: Arc<turmoil::net::TcpListener>,
    /// What waits for the next connection, between two polls.
    accepting: Mutex<Option<Pin<Box<dyn Future<Output = Accepted> + Send>>>>,
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpListener({:?})", self.port.local_addr())
    }
}

impl TcpListener {
    /// Opens a port.
    ///
    /// # Errors
    /// It is in use.
    pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        listen(address)
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// None.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.port.local_addr()
    }

    /// The next connection.
    ///
    /// # Errors
    /// None.
    pub async fn accept(&self) -> Accepted {
        poll_fn(|context| self.poll_accept(context)).await
    }

    /// The next connection, if there is one.
    pub fn poll_accept(&self, context: &mut Context<'_>) -> Poll<Accepted> {
        let mut accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        let next = accepting.get_or_insert_with(|| {
            let port = Arc::clone(&self.port);
            Box::pin(async move { port.accept().await })
        });
        let accepted = ready!(next.as_mut().poll(context));
        *accepting = None;
        Poll::Ready(accepted)
    }
}

/// Opens a port.
///
/// # Errors
/// It is in use.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let port = turmoil::net::TcpListener::bind(address).now_or_never();
    Ok(TcpListener {
        port: Arc::new(port.expect("a simulated port opens at once")?),
        accepting: Mutex::new(None),
    })
}

/// The addresses of a name.
///
/// # Errors
/// No machine has that name.
pub fn look_up(host: &str, port: u16) -> io::Result<impl Iterator<Item = SocketAddr>> {
    let found = turmoil::net::lookup_host((host.to_owned(), port)).now_or_never();
    found.expect("a simulated name service answers at once")
}

/// Does nothing: here no kernel sits between the process and the network.
///
/// # Errors
/// None.
pub fn tune(_stream: &TcpStream, _silence_max: Duration) -> io::Result<()> {
    Ok(())
}

/// Does work that blocks. It takes as long as the machine's disk says: a process that ends before leaves it undone, or done
/// without anybody having been told.
pub fn spawn_blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R> {
    let (before, after) = machine::current().draw_blocking();
    tokio::spawn(async move {
        sleep(before).await;
        let result = work();
        sleep(after).await;
        result
    })
}
