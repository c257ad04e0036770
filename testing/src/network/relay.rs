//! A way for TCP from one network namespace into another, beside the links between them.

use std::io;
use std::net::{self, SocketAddr};
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;

use super::namespace::Namespace;
use crate::error::Result;
use crate::server::Server;

/// Passes connections on until it is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    _server: Server,
}

impl Relay {
    /// Who connects to `address` in `near` reaches what listens on `address` in `far`.
    pub(super) fn start(address: SocketAddr, near: &Arc<Namespace>, far: &Arc<Namespace>) -> Result<Self> {
        let (near, far) = (Arc::clone(near), Arc::clone(far));
        let listen = move || {
            // The thread stays in `far`, and a socket stays where it was made.
            near.enter()?;
            let listener = net::TcpListener::bind(address)?;
            far.enter()?;
            Ok(listener)
        };
        let what = format!("the relay of {address}");
        let server = Server::start(&what, listen, move |near| pass_on(near, address))?;
        Ok(Self { _server: server })
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
