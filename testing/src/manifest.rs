//! Manifests of several documents, as objects, and how they get into a cluster.

use std::collections::HashMap;
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::discovery::{ApiCapabilities, Scope, pinned_kind};
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::error::{Error, Result};

/// The field manager of everything that the harness itself applies.
const FIELD_MANAGER: &str = "flagship-testing";
/// A CustomResourceDefinition is served some 100 ms after it was accepted; a busy machine gets a lot more.
const ESTABLISHED_WITHIN: Duration = Duration::from_secs(30);

/// Reads a manifest's documents; empty ones are skipped.
pub(crate) fn parse(name: &str, yaml: &str) -> Result<Vec<DynamicObject>> {
    let wrong = |reason: String| Error::Manifest {
        name: name.to_owned(),
        reason,
    };
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(yaml).map_err(|error| wrong(error.to_string()))?;
    documents
        .into_iter()
        .enumerate()
        .filter(|(_, document)| !document.is_null())
        .map(|(index, document)| {
            let object: DynamicObject = serde_json::from_value(document)
                .map_err(|error| wrong(format!("document {}: {error}", index + 1)))?;
            match (&object.types, &object.metadata.name) {
                (Some(_), Some(_)) => Ok(object),
                _ => Err(wrong(format!(
                    "document {} lacks apiVersion, kind or metadata.name",
                    index + 1
                ))),
            }
        })
        .collect()
}

/// Applies objects in their order, as `kubectl apply --server-side --force-conflicts` does, except that objects
/// of a kind that an earlier document defines wait until the API server serves it.
pub(crate) async fn apply(
    client: &Client,
    cluster: &str,
    namespace: &str,
    objects: &[DynamicObject],
) -> Result<()> {
    let mut kinds = HashMap::new();
    for object in objects {
        let Some(gvk) = object
            .types
            .as_ref()
            .and_then(|types| GroupVersionKind::try_from(types).ok())
        else {
            return Err(Error::Manifest {
                name: describe(object),
                reason: "its apiVersion is malformed".into(),
            });
        };
        let (resource, capabilities) = match kinds.get(&gvk) {
            Some(kind) => kind,
            None => {
                let kind = discover(client, cluster, &gvk).await?;
                kinds.entry(gvk).or_insert(kind)
            }
        };
        let api = api_of(client, resource, capabilities, namespace, object);
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let params = PatchParams::apply(FIELD_MANAGER).force();
        api.patch(name, &params, &Patch::Apply(object))
            .await
            .map_err(Error::request(format!("apply {}", describe(object)), cluster))?;
    }
    Ok(())
}

/// The API by which an object is reached: its own namespace counts, then the given one.
fn api_of(
    client: &Client,
    resource: &ApiResource,
    capabilities: &ApiCapabilities,
    namespace: &str,
    object: &DynamicObject,
) -> Api<DynamicObject> {
    match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), resource),
        Scope::Namespaced => {
            let namespace = object.metadata.namespace.as_deref().unwrap_or(namespace);
            Api::namespaced_with(client.clone(), namespace, resource)
        }
    }
}

/// Waits for kinds that are just being defined.
async fn discover(
    client: &Client,
    cluster: &str,
    gvk: &GroupVersionKind,
) -> Result<(ApiResource, ApiCapabilities)> {
    let deadline = Instant::now() + ESTABLISHED_WITHIN;
    let built_in = !gvk.group.contains('.') || gvk.group.ends_with(".k8s.io");
    loop {
        match pinned_kind(client, gvk).await {
            Ok(kind) => return Ok(kind),
            Err(error) if built_in || Instant::now() >= deadline => {
                let operation = format!("find the kind {} of {}", gvk.kind, gvk.api_version());
                return Err(Error::request(operation, cluster)(error));
            }
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// `Deployment shop/web`, for messages.
pub(crate) fn describe(object: &DynamicObject) -> String {
    let kind = object
        .types
        .as_ref()
        .map_or("object", |types| types.kind.as_str());
    let name = object.metadata.name.as_deref().unwrap_or("without a name");
    match &object.metadata.namespace {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a test fails by panicking"
    )]

    use super::*;

    #[test]
    fn empty_documents_are_skipped_and_the_order_is_kept() {
        let yaml = "---\n# nothing\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\napiVersion: apps/v1\n\
                    kind: Deployment\nmetadata: {name: b, namespace: a}\nspec: {replicas: 2}\n";
        let objects = parse("example", yaml).unwrap();
        assert_eq!(
            objects.iter().map(describe).collect::<Vec<_>>(),
            ["Namespace a", "Deployment a/b"]
        );
        assert_eq!(objects[1].data["spec"]["replicas"], 2);
    }

    #[test]
    fn a_document_that_is_no_object_is_named_by_its_number() {
        let yaml = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\nkind: Pod\n";
        let error = parse("example", yaml).unwrap_err().to_string();
        assert!(
            error.contains("example") && error.contains("document 2"),
            "{error}"
        );
    }
}
