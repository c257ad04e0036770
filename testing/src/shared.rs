//! Clusters that the tests of one binary share, each in namespaces of its own.

use tokio::sync::OnceCell;

use crate::cluster::{Cluster, ClusterOptions, start_clusters};
use crate::error::Result;

/// Clusters that are started once for all tests of a binary, when the first asks for them.
///
/// ```no_run
/// use flagship_testing::{SharedClusters, TestResult};
///
/// static CLUSTERS: SharedClusters<2> = SharedClusters::new(["newyork", "sheffield"]);
///
/// # async fn example() -> TestResult {
/// let [newyork, sheffield] = CLUSTERS.get().await?;
/// let namespace = newyork.fresh_namespace("applies-a-payload").await?;
/// # Ok(())
/// # }
/// ```
///
/// A test that breaks a cluster starts one of its own by [`crate::clusters`].
#[derive(Debug)]
pub struct SharedClusters<const N: usize> {
    names: [&'static str; N],
    pods: bool,
    clusters: OnceCell<[Cluster; N]>,
}

impl<const N: usize> SharedClusters<N> {
    /// Names the clusters; none is started yet.
    pub const fn new(names: [&'static str; N]) -> Self {
        Self {
            names,
            pods: false,
            clusters: OnceCell::const_new(),
        }
    }

    /// As [`ClusterOptions::with_pods`].
    #[must_use]
    pub const fn with_pods(names: [&'static str; N]) -> Self {
        Self {
            names,
            pods: true,
            clusters: OnceCell::const_new(),
        }
    }

    /// The clusters; the first who asks starts them and the others wait.
    ///
    /// # Errors
    /// If they do not start; whoever asks next tries again.
    pub async fn get(&self) -> Result<&[Cluster; N]> {
        let options = self.names.map(|name| match self.pods {
            false => ClusterOptions::new(name),
            true => ClusterOptions::new(name).with_pods(),
        });
        self.clusters.get_or_try_init(|| start_clusters(options)).await
    }
}
