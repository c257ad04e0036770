//! The finalizer by which a MultiCluster leaves its group before it goes.

use std::sync::Arc;

use kube::api::{Api, Patch, PatchParams};
use kube::core::ObjectMeta;
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::task::JoinHandle;

use super::lifecycle;
use super::shared::Shared;
use crate::api::{FINALIZER, MultiCluster};

/// Puts the finalizer on the object, and returns its newer version.
pub(super) async fn add(client: &Client, object: &MultiCluster) -> kube::Result<MultiCluster> {
    let finalizers: Vec<&str> = object
        .finalizers()
        .iter()
        .map(String::as_str)
        .chain([FINALIZER])
        .collect();
    // The version is a precondition, so that nothing else has changed meanwhile.
    let metadata = patch(client, object, &object.metadata, &finalizers).await?;
    Ok(MultiCluster {
        metadata,
        ..object.clone()
    })
}

/// Why the finalizer cannot be written, unless the watch is about to tell of a newer version.
pub(super) fn trouble(error: &kube::Error) -> Option<String> {
    match error {
        kube::Error::Api(status) if status.is_conflict() || status.is_not_found() => None,
        error => Some(format!(
            "cannot write the finalizer {FINALIZER}: {error}. See that the controller may patch multiclusters, and that no \
             admission webhook refuses it"
        )),
    }
}

/// Puts the finalizer back when somebody drops it, as `kubectl replace` does.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    write: Option<JoinHandle<Option<String>>>,
}

impl Keeper {
    /// Writes the finalizer if this version of the object lacks it, unless a write is under way.
    pub(super) fn keep(&mut self, shared: &Shared, object: &Arc<MultiCluster>) {
        if self.write.is_some() || !lifecycle::lacks_finalizer(object) {
            return;
        }
        let (client, object) = (shared.client.clone(), Arc::clone(object));
        self.write = Some(shared.tasks.spawn(async move {
            let outcome = add(&client, &object).await;
            outcome.err().and_then(|error| trouble(&error))
        }));
    }

    /// Waits until a write fails for a reason that somebody has to mend.
    pub(super) async fn failed(&mut self) -> String {
        loop {
            let Some(write) = &mut self.write else {
                return std::future::pending().await;
            };
            let outcome = write.await;
            self.write = None;
            match outcome {
                Ok(None) => {}
                Ok(Some(trouble)) => return trouble,
                Err(panicked) => return panicked.to_string(),
            }
        }
    }
}

/// Takes the finalizer off, so that the object may go.
pub(super) async fn remove(client: &Client, object: &MultiCluster) -> kube::Result<()> {
    let api = api(client, object);
    // Others may have taken theirs off meanwhile, so the newest list counts.
    let Some(newest) = api.get_metadata_opt(&object.name_any()).await? else {
        return Ok(());
    };
    if newest.uid() != object.uid() || !newest.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(());
    }
    let rest: Vec<&str> = newest
        .finalizers()
        .iter()
        .map(String::as_str)
        .filter(|f| *f != FINALIZER)
        .collect();
    match patch(client, object, &newest.metadata, &rest).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Writes the finalizers of an object that was seen with this metadata.
async fn patch(
    client: &Client,
    object: &MultiCluster,
    seen: &ObjectMeta,
    finalizers: &[&str],
) -> kube::Result<ObjectMeta> {
    let metadata = json!({
        "resourceVersion": seen.resource_version,
        "uid": seen.uid,
        "finalizers": finalizers,
    });
    let patch = Patch::Merge(json!({ "metadata": metadata }));
    api(client, object)
        .patch_metadata(&object.name_any(), &PatchParams::default(), &patch)
        .await
        .map(|answer| answer.metadata)
}

fn api(client: &Client, object: &MultiCluster) -> Api<MultiCluster> {
    Api::namespaced(client.clone(), &object.namespace().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use kube::core::Status;

    use super::*;

    #[test]
    fn only_what_somebody_has_to_mend_is_trouble() {
        let answer = |code, reason| kube::Error::Api(Status::failure("no", reason).with_code(code).boxed());
        assert_eq!(trouble(&answer(409, "Conflict")), None);
        assert_eq!(trouble(&answer(404, "NotFound")), None);
        let told = trouble(&answer(403, "Forbidden")).unwrap();
        assert!(
            told.starts_with("cannot write the finalizer flagship.dev/leave-group: ")
                && told.contains("may patch multiclusters"),
            "{told}"
        );
    }
}
