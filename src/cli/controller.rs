//! `flagship controller`.

use std::net::{IpAddr, SocketAddr};

use super::Error;
use super::connect::ClusterArgs;
use crate::controller::{self, Options};
use crate::observe::logs;
use crate::peer::Versions;

/// Run the controller of one cluster
///
/// It watches MultiClusters, takes part in their groups' elections, and runs the payload of those that lead. One
/// controller runs in each cluster, with the port of each MultiCluster reachable for the others. On SIGTERM, leaders
/// stop their payload and hand over.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flagship controller                             in a Pod, by its ServiceAccount
  flagship controller --context newyork           outside the cluster, by a kubeconfig
  flagship controller --namespace shop --listen-address 10.0.0.7 --metrics-address 127.0.0.1:0")]
pub(super) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Watch the MultiClusters of this namespace only [default: all namespaces]
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Listen for other members on this IP address, whatever spec.address says
    #[arg(long, value_name = "ADDRESS")]
    listen_address: Option<IpAddr>,
    /// Serve /livez, /readyz and /metrics here
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8080")]
    metrics_address: SocketAddr,
    /// On SIGTERM, leave the payload running and hand nothing over: the next leader cannot know when this copy stops
    #[arg(long)]
    keep_payload_on_exit: bool,
    /// What to log: error, warn, info, debug, trace, or a filter such as info,flagship::election=debug
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl Args {
    pub(super) async fn run(self) -> Result<(), Error> {
        logs::init(self.log_level.as_deref())?;
        let config = self.cluster.config().await?;
        let options = Options {
            config,
            namespace: self.namespace,
            listen_address: self.listen_address,
            metrics_address: self.metrics_address,
            keep_payload_on_exit: self.keep_payload_on_exit,
            instance: std::env::var("HOSTNAME").ok(),
            protocol: Versions::SPOKEN,
        };
        Ok(controller::run(options).await?)
    }
}
