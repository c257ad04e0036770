//! Where a member listens for the others.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::api::ValidSpec;
use crate::peer::{self, Callsign, Credentials, Inbox, Listener, To, Transport};

/// After a port could not be listened on.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// A member's place on the wire: closed until the spec's port could be opened.
pub(super) struct Ear {
    /// The member's name on the wire.
    pub from: Arc<str>,
    open: Option<Open>,
    error: Option<String>,
    retry_at: Option<Instant>,
}

struct Open {
    listener: Listener,
    address: SocketAddr,
    callsign: String,
    inbox: Inbox,
}

impl Ear {
    pub(super) fn new(from: Arc<str>) -> Ear {
        Ear {
            from,
            open: None,
            error: None,
            retry_at: None,
        }
    }

    /// Listens where the spec says, or at `ip` in place of its address, for the callsign that it says. Tells whether
    /// anything has changed.
    pub(super) fn listen(&mut self, transport: &Transport, spec: &ValidSpec, ip: Option<IpAddr>) -> bool {
        let address = SocketAddr::new(ip.unwrap_or(spec.listen.ip()), spec.listen.port());
        let is_as_wanted = |open: &Open| open.address == address && open.callsign == spec.callsign;
        if self.open.as_ref().is_some_and(is_as_wanted) {
            return false;
        }
        let former = self.open.take();
        let listener = match former.filter(|open| open.address == address) {
            Some(open) => Ok(open.listener),
            None => transport.listen(address),
        };
        let credentials = Credentials::new(Callsign::new(&spec.callsign));
        let opened = listener.and_then(|listener| {
            let inbox = transport.register(&listener, credentials, &self.from)?;
            Ok(Open {
                listener,
                address,
                callsign: spec.callsign.clone(),
                inbox,
            })
        });
        match opened {
            Ok(open) => {
                self.open = Some(open);
                self.error = None;
                self.retry_at = None;
            }
            Err(error) => {
                self.error = Some(error.to_string());
                self.retry_at = Some(Instant::now() + RETRY_PAUSE);
            }
        }
        true
    }

    /// The next event; never one while nothing is open. Cancelling it loses nothing.
    pub(super) async fn receive(&mut self) -> peer::Event {
        if let Some(open) = &mut self.open {
            match open.inbox.receive().await {
                Ok(event) => return event,
                Err(error) => {
                    tracing::debug!(%error, "listens no more");
                    self.open = None;
                }
            }
        }
        std::future::pending().await
    }

    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Sends a message; nothing while nothing is open, since nobody could answer.
    pub(super) fn send(&self, to: &To, incarnation: u64, body: Arc<RawValue>) -> Result<(), peer::Error> {
        match &self.open {
            Some(open) => open.inbox.send(to, incarnation, body),
            None => Ok(()),
        }
    }

    /// The port that is listened on.
    pub(super) fn port(&self) -> Option<u16> {
        self.open.as_ref().map(|open| open.address.port())
    }

    /// Why nothing is heard.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// When to try again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }
}
