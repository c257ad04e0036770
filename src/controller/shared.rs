//! What all members of a controller share.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Options;
use super::api_server::ApiServer;
use super::load_balancer::LoadBalancer;
use super::replica::Mandate;
use crate::api::MultiCluster;
use crate::cluster::{Access, AccessError, Catalog};
use crate::observe::events::Events;
use crate::observe::metrics::Metrics;
use crate::peer::Transport;

/// A watch is begun anew after this long, since one whose connection was lost in silence is not noticed sooner: an edit
/// or a deletion of a MultiCluster is then followed as soon as a change of a payload's object is.
pub(super) const WATCH_SECONDS: u32 = 20;

/// One object as the watch tells it; `None` when it is gone.
pub(super) type Objects = watch::Receiver<Option<Arc<MultiCluster>>>;

/// What all members share.
pub(super) struct Shared {
    pub options: Options,
    /// For reads and small writes: sends each request once.
    pub client: Client,
    pub api_server: ApiServer,
    pub load_balancer: LoadBalancer,
    /// For watches: a connection that is silent for long is given up.
    pub watching: Client,
    pub access: Access,
    pub catalog: Arc<Catalog>,
    pub transport: Transport,
    pub events: Events,
    pub metrics: Metrics,
    /// Told when the process is to end.
    pub exit: CancellationToken,
    /// Every task that writes to the API server.
    pub tasks: TaskTracker,
    /// Every task that only reads from it.
    pub watches: TaskTracker,
    /// Told when a task without which a member does harm has panicked.
    pub broken: CancellationToken,
    /// Whether this replica may act.
    pub mandate: Mandate,
}

impl Shared {
    /// Access to the cluster as another user, whom the controller must be allowed to impersonate.
    pub(super) fn access_as(&self, user: String) -> Result<Access, AccessError> {
        let mut config = self.options.config.clone();
        config.auth_info.impersonate = Some(user);
        config.auth_info.impersonate_groups = None;
        let metrics = self.metrics.clone();
        Access::new(&config, move |verb, code| metrics.count_api_error(verb, code))
    }

    /// Makes the process end should this task of a member panic: the member would hold a lead that nobody serves.
    pub(super) fn vital(
        &self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        vital(self.broken.clone(), task)
    }
}

async fn vital(broken: CancellationToken, task: impl Future<Output = ()>) {
    // The panic itself has been printed; nothing of the task is used any more.
    if AssertUnwindSafe(task).catch_unwind().await.is_err() {
        broken.cancel();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "what a panic does is what is tested")]
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_and_an_end_is_not() {
        let broken = CancellationToken::new();
        vital(broken.clone(), async {}).await;
        assert!(!broken.is_cancelled());
        vital(broken.clone(), async { panic!("a bug") }).await;
        assert!(broken.is_cancelled());
    }
}
