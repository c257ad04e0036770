//! The label of the active replica's Pod, by which the Service finds it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::time::sleep;

/// Selected by the Service of `manifests/install.yaml`.
pub(crate) const ACTIVE_LABEL: &str = "flagship.dev/active";
/// After a label could not be written.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Pods of this controller's Deployment, of which this process runs in one.
#[derive(Clone)]
pub(super) struct Pods {
    api: Api<Pod>,
    own: String,
}

impl Pods {
    pub(super) fn new(client: Client, namespace: &str, own: String) -> Pods {
        Pods {
            api: Api::namespaced(client, namespace),
            own,
        }
    }

    /// Takes the label from every other Pod, and gives it to this one; tries until it has succeeded.
    pub(super) async fn activate(self) {
        self.until_done(true).await;
    }

    /// Takes the label from this Pod, which may have it from a former process.
    pub(super) async fn deactivate(self) {
        self.until_done(false).await;
    }

    async fn until_done(self, active: bool) {
        let mut told = false;
        while let Err(error) = self.try_once(active).await {
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(
                    %error,
                    pod = self.own,
                    "cannot write the label {ACTIVE_LABEL}, by which the Service finds the active replica; tries again. \
                     The Role of manifests/install.yaml permits it"
                );
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    async fn try_once(&self, active: bool) -> Result<(), kube::Error> {
        if active {
            let marked = ListParams::default().labels(ACTIVE_LABEL);
            for pod in self.api.list_metadata(&marked).await? {
                let name = pod.name_any();
                if name != self.own {
                    self.label(&name, Value::Null).await?;
                }
            }
            return self.label(&self.own, json!("true")).await;
        }
        self.label(&self.own, Value::Null).await
    }

    async fn label(&self, pod: &str, value: Value) -> Result<(), kube::Error> {
        let patch = Patch::Merge(json!({"metadata": {"labels": {ACTIVE_LABEL: value}}}));
        match self
            .api
            .patch_metadata(pod, &PatchParams::default(), &patch)
            .await
        {
            // A process that runs in no Pod is found in another way.
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }
}
