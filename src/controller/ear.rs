//! Where a member listens for the others.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::api::ValidSpec;
use crate::peer::{self, Credentials, Inbox, Listener, To, Transport};

/// A member's place on the wire: closed until the spec's port could be opened.
pub(super) struct Ear {
    /// The member's name on the wire.
    pub from: Arc<str>,
    open: Option<Open>,
    error: Option<String>,
}

struct Open {
    listener: Listener,
    address: SocketAddr,
    credentials: Credentials,
    group: u64,
    inbox: Inbox,
}

impl Ear {
    pub(super) fn new(from: Arc<str>) -> Ear {
        Ear {
            from,
            open: None,
            error: None,
        }
    }

    /// Listens where the spec says, or at `ip` in place of its address, under these credentials; with another number of the
    /// group, as somebody else. Tells whether anything has changed. What fails is tried again with the next call.
    pub(super) fn listen(
        &mut self,
        transport: &Transport,
        spec: &ValidSpec,
        ip: Option<IpAddr>,
        credentials: Credentials,
        group: u64,
    ) -> bool {
        let address = SocketAddr::new(ip.unwrap_or(spec.listen.ip()), spec.listen.port());
        let former = self.open.take();
        let opened = match former {
            Some(open)
                if open.address == address
                    && open.group == group
                    && is_proof_enough(&open.credentials, &credentials) =>
            {
                if open.credentials == credentials {
                    self.open = Some(open);
                    return self.error.take().is_some();
                }
                match open.inbox.set_credentials(credentials.clone()) {
                    Ok(()) => Ok(Open { credentials, ..open }),
                    Err(error) => {
                        // It goes on by the former ones, and tries again.
                        self.open = Some(open);
                        Err(error)
                    }
                }
            }
            former => {
                let kept = former.filter(|open| open.address == address);
                let listener = kept.map_or_else(|| transport.listen(address), |open| Ok(open.listener));
                listener.and_then(|listener| {
                    Ok(Open {
                        inbox: transport.register(&listener, credentials.clone(), &self.from)?,
                        listener,
                        address,
                        credentials,
                        group,
                    })
                })
            }
        };
        match opened {
            Ok(open) => {
                self.open = Some(open);
                self.error = None;
            }
            Err(error) => self.error = Some(error.to_string()),
        }
        true
    }

    /// Whether the others can be heard.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
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

    /// Listens no more, and ends all channels.
    pub(super) fn close(&mut self) {
        self.open = None;
        self.error = None;
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
}

/// Whether everybody who is accepted by the former credentials is accepted by these: otherwise the channels that are open
/// have to end, since a certificate is looked at when one is opened only.
fn is_proof_enough(former: &Credentials, credentials: &Credentials) -> bool {
    match (&former.identity, &credentials.identity) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(former), Some(identity)) => identity.accepts_all_of(former),
    }
}

#[cfg(test)]
mod tests;
