//! The finalizer by which a MultiCluster leaves its group before it goes.

use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use crate::api::{FINALIZER, MultiCluster};

/// Puts the finalizer on the object, unless it has it.
pub(super) async fn add(client: &Client, object: &MultiCluster) -> kube::Result<()> {
    if object.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(());
    }
    let finalizers: Vec<&str> = object
        .finalizers()
        .iter()
        .map(String::as_str)
        .chain([FINALIZER])
        .collect();
    patch(client, object, &finalizers).await
}

/// Takes the finalizer off, so that the object may go.
pub(super) async fn remove(client: &Client, object: &MultiCluster) -> kube::Result<()> {
    let api = api(client, object);
    // Others may have taken theirs off meanwhile, so the newest list counts.
    let Some(newest) = api.get_opt(&object.name_any()).await? else {
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
    match patch(client, &newest, &rest).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        outcome => outcome,
    }
}

async fn patch(client: &Client, object: &MultiCluster, finalizers: &[&str]) -> kube::Result<()> {
    let metadata = json!({
        "resourceVersion": object.metadata.resource_version,
        "uid": object.metadata.uid,
        "finalizers": finalizers,
    });
    let patch = Patch::Merge(json!({ "metadata": metadata }));
    api(client, object)
        .patch_metadata(&object.name_any(), &PatchParams::default(), &patch)
        .await
        .map(drop)
}

fn api(client: &Client, object: &MultiCluster) -> Api<MultiCluster> {
    Api::namespaced(client.clone(), &object.namespace().unwrap_or_default())
}
