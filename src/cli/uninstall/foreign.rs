//! What a Namespace holds that is not ours: deleting it would delete that too.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};

use super::super::install::is_ours;
use super::{Error, request};
use crate::cluster::Kinds;

/// One object in the Namespace.
struct Seen {
    group: String,
    kind: String,
    metadata: ObjectMeta,
}

/// Names what is in `namespace` and neither ours nor put there by Kubernetes itself.
pub(super) async fn objects(client: &Client, namespace: &str) -> Result<BTreeSet<String>, Error> {
    let discovery = async || -> kube::Result<Kinds> {
        let mut kinds = Kinds::default();
        kinds.add(client.list_core_api_versions_aggregated().await?);
        kinds.add(client.list_api_groups_aggregated().await?);
        Ok(kinds)
    };
    let kinds = discovery()
        .await
        .map_err(|source| request("ask the API server for its kinds", source))?;
    let mut seen = Vec::new();
    for (kind, found) in kinds.namespaced_lists() {
        let resource = ApiResource::from_gvk_with_plural(&kind, &found.plural);
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let listed = api
            .list_metadata(&ListParams::default())
            .await
            .map_err(|source| request(&format!("list {} in {namespace}", resource.plural), source))?;
        seen.extend(listed.items.into_iter().map(|object| Seen {
            group: resource.group.clone(),
            kind: resource.kind.clone(),
            metadata: object.metadata,
        }));
    }
    let mut foreign = foreign(&seen);
    foreign.extend(untold(&kinds));
    Ok(foreign)
}

/// What cannot be listed, since the API server behind its group does not answer. Metrics are no objects.
fn untold(kinds: &Kinds) -> impl Iterator<Item = String> {
    let groups = kinds.stale_groups().filter(|group| *group != "metrics.k8s.io");
    groups.map(|group| format!("perhaps objects of {group}, whose API server does not answer"))
}

fn foreign(seen: &[Seen]) -> BTreeSet<String> {
    let uids: BTreeSet<_> = seen
        .iter()
        .filter_map(|object| object.metadata.uid.as_deref())
        .collect();
    let is_foreign = |object: &&Seen| {
        // What is owned by an object of this Namespace is told with its owner.
        let owners = object.metadata.owner_references.iter().flatten();
        let is_owned = owners.into_iter().any(|owner| uids.contains(owner.uid.as_str()));
        !is_owned && !is_ours(&object.metadata) && !is_from_kubernetes(object)
    };
    seen.iter()
        .filter(is_foreign)
        .map(|object| {
            format!(
                "{} {}",
                object.kind,
                object.metadata.name.as_deref().unwrap_or_default()
            )
        })
        .collect()
}

/// Whether Kubernetes puts the object into every Namespace, or derives it from other objects.
fn is_from_kubernetes(object: &Seen) -> bool {
    match (object.group.as_str(), object.kind.as_str()) {
        ("" | "events.k8s.io", "Event") | ("", "Endpoints") | ("metrics.k8s.io", _) => true,
        ("", "ServiceAccount") => object.metadata.name.as_deref() == Some("default"),
        ("", "ConfigMap") => object.metadata.name.as_deref() == Some("kube-root-ca.crt"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use serde_json::json;

    use super::*;

    fn seen(group: &str, kind: &str, metadata: serde_json::Value) -> Seen {
        let metadata = serde_json::from_value(metadata).unwrap();
        Seen {
            group: group.to_owned(),
            kind: kind.to_owned(),
            metadata,
        }
    }

    fn owned_by(uid: &str) -> serde_json::Value {
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "owner", "uid": uid}])
    }

    #[test]
    fn what_an_installation_leads_to_is_not_foreign() {
        let labels = json!({"app.kubernetes.io/part-of": "flagship"});
        let all = [
            seen(
                "apps",
                "Deployment",
                json!({"name": "flagship", "uid": "1", "labels": labels}),
            ),
            seen(
                "apps",
                "ReplicaSet",
                json!({"name": "flagship-1", "uid": "2", "ownerReferences": owned_by("1")}),
            ),
            seen(
                "",
                "Pod",
                json!({"name": "flagship-1-x", "uid": "3", "ownerReferences": owned_by("2")}),
            ),
            seen("", "Event", json!({"name": "e", "uid": "4"})),
            seen("events.k8s.io", "Event", json!({"name": "e", "uid": "4"})),
            seen("", "ServiceAccount", json!({"name": "default", "uid": "5"})),
            seen("", "ConfigMap", json!({"name": "kube-root-ca.crt", "uid": "6"})),
            seen("metrics.k8s.io", "PodMetrics", json!({"name": "flagship-1-x"})),
        ];
        assert_eq!(foreign(&all), BTreeSet::new());
    }

    #[test]
    fn what_an_api_server_that_does_not_answer_may_hold_is() {
        let group = |name: &str, freshness: &str| json!({"metadata": {"name": name}, "versions": [{"version": "v1", "freshness": freshness}]});
        let list = json!({"items": [
            group("apps", "Current"),
            group("example.com", "Stale"),
            group("metrics.k8s.io", "Stale"),
        ]});
        let mut kinds = Kinds::default();
        kinds.add(serde_json::from_value(list).unwrap());
        assert_eq!(
            untold(&kinds).collect::<Vec<_>>(),
            ["perhaps objects of example.com, whose API server does not answer"]
        );
    }

    #[test]
    fn everything_else_is() {
        let all = [
            seen("", "ServiceAccount", json!({"name": "robot", "uid": "1"})),
            seen("", "ConfigMap", json!({"name": "app", "uid": "2"})),
            seen(
                "",
                "Pod",
                json!({"name": "static", "uid": "3", "ownerReferences": owned_by("a-node")}),
            ),
            seen("example.com", "Event", json!({"name": "party", "uid": "4"})),
        ];
        let names = [
            "ServiceAccount robot",
            "ConfigMap app",
            "Pod static",
            "Event party",
        ];
        assert_eq!(foreign(&all), names.map(str::to_owned).into());
    }
}
