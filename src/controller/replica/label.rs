//! The label of the active replica's Pod, by which the Service finds it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

/// Selected by the Service of `manifests/install.yaml`.
pub(crate) const ACTIVE_LABEL: &str = "flagship.dev/active";
/// The label of the active Pod is seen to so often: somebody's hand may take it away, and so may a replica that was frozen
/// while it was about to be the active one.
const REVIEW_PAUSE: Duration = Duration::from_secs(30);
/// After a label could not be written.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Pods of this controller's Deployment, of which this process runs in one.
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

    /// Sees to it that this Pod has the label while it is active, and no other, and has it not while it is not: from a
    /// former process, perhaps. Ends with the sender.
    pub(super) async fn keep(self, mut active: watch::Receiver<bool>) {
        let mut told = false;
        loop {
            let is_active = *active.borrow_and_update();
            let pause = match self.try_once(is_active).await {
                Ok(()) => {
                    told = false;
                    is_active.then_some(REVIEW_PAUSE)
                }
                Err(error) => {
                    self.tell(&error, &mut told);
                    Some(RETRY_PAUSE)
                }
            };
            let waiting = async {
                match pause {
                    Some(pause) => sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = active.changed() => if changed.is_err() { return },
                () = waiting => {}
            }
        }
    }

    fn tell(&self, error: &kube::Error, told: &mut bool) {
        if !std::mem::replace(told, true) {
            tracing::warn!(
                %error,
                pod = self.own,
                "cannot write the label {ACTIVE_LABEL}, by which the Service finds the active replica; tries again. \
                 The Role of manifests/install.yaml permits it"
            );
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
