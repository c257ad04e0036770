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
    address: Option<Result<String, String>>,
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

    /// Goes by this address from now on, or says why there is none; whether that is news.
    pub(super) fn check(&mut self, address: Result<String, String>, tasks: &TaskTracker) -> bool {
        if self.address.as_ref() == Some(&address) {
            return false;
        }
        self.address = Some(address.clone());
        self.check = None;
        let sender = self.sender.clone();
        let address = match address {
            Ok(address) => address,
            Err(why) => {
                let trouble = format!(
                    "spec.serviceAddress is not set, so the others cannot dial this member: {why}. Set it to an address at \
                     which they reach this controller"
                );
                sender.send_replace(Some(trouble));
                return true;
            }
        };
        let cancel = CancellationToken::new();
        self.check = Some(cancel.clone().drop_guard());
        tasks.spawn(async move {
            let resolved = async {
                while let Err(error) = tokio::net::lookup_host(&address).await {
                    let trouble = format!("the address {address} of this member, by spec.serviceAddress or else its Service, does not resolve: {error}. Correct it, or its DNS record");
                    sender.send_replace(Some(trouble));
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                sender.send_if_modified(|trouble| trouble.take().is_some());
            };
            cancel.run_until_cancelled(resolved).await;
        });
        true
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
