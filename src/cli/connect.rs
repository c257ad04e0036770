//! Which cluster a command talks to.

use std::path::PathBuf;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::Error;

/// The options by which a user names a cluster.
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct ClusterArgs {
    /// Kubeconfig file [default: $KUBECONFIG, ~/.kube/config, or the pod's service account]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current context]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl ClusterArgs {
    /// The cluster's address and the credentials for it.
    pub(super) async fn config(&self) -> Result<Config, Error> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        match (&self.kubeconfig, &self.context) {
            (Some(path), _) => {
                let wrap = |source| Error::ReadKubeconfig {
                    path: path.clone(),
                    source,
                };
                let kubeconfig = Kubeconfig::read_from(path).map_err(wrap)?;
                Config::from_custom_kubeconfig(kubeconfig, &options)
                    .await
                    .map_err(wrap)
            }
            (None, Some(context)) => {
                Config::from_kubeconfig(&options)
                    .await
                    .map_err(|source| Error::UseContext {
                        context: context.clone(),
                        source,
                    })
            }
            (None, None) => Config::infer()
                .await
                .map_err(|source| Error::FindCluster(Box::new(source))),
        }
    }
}
