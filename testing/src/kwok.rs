//! Nodes played by kwok: their pods become ready, and nothing runs in them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{DeleteParams, ListParams};

use crate::cluster::Cluster;
use crate::control_plane::{Part, Site};
use crate::error::{Error, Result};
use crate::process::CommandLine;

/// Two, so that spread and node failure mean something.
const NODES: [&str; 2] = ["node-1", "node-2"];
const READY_WITHIN: Duration = Duration::from_secs(60);

impl Site<'_> {
    pub(crate) fn kwok(&self, program: PathBuf) -> CommandLine {
        let stages = Path::new(env!("CARGO_MANIFEST_DIR")).join("controlplane/kwok/stages.yaml");
        self.command(
            Part::Kwok,
            program,
            vec![
                format!("--kubeconfig={}", self.administrator_kubeconfig().display()),
                format!("--config={}", stages.display()),
                "--manage-all-nodes=true".into(),
                // What a kubelet asks for; without it the node controller takes the nodes for dead.
                "--node-lease-duration-seconds=40".into(),
            ],
        )
    }
}

/// Frees the nodes for a kwok that is about to start: each start takes itself for another one than the last, and would
/// leave the nodes alone until the leases of the last have expired. A kubelet goes by its node's name and does not wait.
pub(crate) async fn release_nodes(cluster: &Cluster) -> Result<()> {
    let leases = Api::<Lease>::namespaced(cluster.client()?, "kube-node-lease");
    leases
        .delete_collection(&DeleteParams::default(), &ListParams::default())
        .await
        .map(|_| ())
        .map_err(Error::request("delete the leases of the nodes", cluster.name()))
}

/// Creates the nodes and waits until kwok has made them ready.
pub(crate) async fn add_nodes(cluster: &Cluster) -> Result<()> {
    for node in NODES {
        cluster
            .apply(&format!(
                "{{apiVersion: v1, kind: Node, metadata: {{name: {node}}}}}"
            ))
            .await?;
    }
    cluster
        .wait_until("ready nodes", READY_WITHIN, async |client| {
            let nodes = Api::<Node>::all(client).list(&ListParams::default()).await?;
            // A taint says not ready as well, and keeps pods away until the node controller takes it off.
            let ready = nodes.iter().filter(|node| is_ready(node)).count();
            Ok::<_, kube::Error>(ready == NODES.len())
        })
        .await
}

fn is_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let tainted = node
        .spec
        .iter()
        .any(|spec| spec.taints.iter().flatten().next().is_some());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
        && !tainted
}
