//! Whether the address that the others are to dial has a meaning, here at least.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Between two questions about a name that does not resolve.
const RETRY_PAUSE: Duration = Duration::from_secs(15);

/// Looks up a member's own address until it resolves.
pub(super) struct OwnAddress {
    sender: watch::Sender<Option<String>>,
    trouble: watch::Receiver<Option<String>>,
    address: Option<Option<String>>,
    check: Option<DropGuard>,
}

impl OwnAddress {
    pub(super) fn new() -> OwnAddress {
        let (sender, trouble) = watch::channel(None);
        OwnAddress {
            sender,
            trouble,
            address: None,
            check: None,
        }
    }

    /// Goes by this address from now on.
    pub(super) fn check(&mut self, address: Option<String>, tasks: &TaskTracker) {
        if self.address.as_ref() == Some(&address) {
            return;
        }
        self.address = Some(address.clone());
        self.check = None;
        let sender = self.sender.clone();
        let Some(address) = address else {
            let trouble = "spec.serviceAddress is not set, so the others cannot dial this member: set it to the address of the \
                           controller's LoadBalancer Service";
            sender.send_replace(Some(trouble.to_owned()));
            return;
        };
        let cancel = CancellationToken::new();
        self.check = Some(cancel.clone().drop_guard());
        tasks.spawn(async move {
            let resolved = async {
                while let Err(error) = tokio::net::lookup_host(&address).await {
                    let trouble = format!("spec.serviceAddress {address} does not resolve: {error}. Correct it, or its DNS record");
                    sender.send_replace(Some(trouble));
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                sender.send_if_modified(|trouble| trouble.take().is_some());
            };
            cancel.run_until_cancelled(resolved).await;
        });
    }

    /// Waits for news.
    pub(super) async fn changed(&mut self) {
        // The sender is ours, so there is always one.
        if self.trouble.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// What is wrong with it.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }
}
