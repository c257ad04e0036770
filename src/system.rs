//! What the network code has its machine do: sockets, names, and work that blocks.
//!
//! A simulation compiles the rooms above with its own machine in the place of this module and of [`crate::clock`].

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

pub use tokio::net::{TcpListener, TcpStream};
pub use tokio::task::spawn_blocking;

/// Opens a port; port 0 takes a free one. To be called in a tokio runtime.
///
/// # Errors
/// The address is in use, or not one of this machine.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// The addresses of a name. Blocks until the name service answers or gives up.
///
/// # Errors
/// Nobody knows the name, or nobody answers.
pub fn look_up(host: &str, port: u16) -> io::Result<impl Iterator<Item = SocketAddr>> {
    (host, port).to_socket_addrs()
}

/// Makes the kernel send at once, and give up on a connection when nothing has been acknowledged for `silence_max`.
///
/// # Errors
/// The connection has ended already.
pub fn tune(stream: &TcpStream, silence_max: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(silence_max))?;
    // Pings do this work once the handshake is over; keepalive does it before. The kernel counts whole seconds.
    let second = Duration::from_secs(1);
    let keepalive = TcpKeepalive::new()
        .with_time(silence_max.max(second))
        .with_interval(second)
        .with_retries(3);
    socket.set_tcp_keepalive(&keepalive)
}
