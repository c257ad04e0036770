//! What all members of a controller share.

use std::sync::Arc;

use kube::Client;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Options;
use crate::observe::events::Events;
use crate::observe::metrics::Metrics;
use crate::payload::{Access, Catalog};
use crate::peer::Transport;

/// What all members share.
pub(super) struct Shared {
    pub options: Options,
    /// For reads and small writes: sends each request once.
    pub client: Client,
    pub access: Access,
    pub catalog: Arc<Catalog>,
    pub transport: Transport,
    pub events: Events,
    pub metrics: Metrics,
    /// Told when the process is to end.
    pub exit: CancellationToken,
    /// Every task that writes to the API server.
    pub tasks: TaskTracker,
}
