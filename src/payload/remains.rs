//! Looks for what is left: in a Namespace or of a kind before it is deleted, and of the whole payload at the end.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use hyper::Method;
use serde::Deserialize;
use serde_json::Value;

use super::{
    access::{Call, REQUESTS_MAX, RequestError},
    catalog::Kinds,
    ledger::{Failure, Outcome, Sweep, Swept},
    mark::{self, Mark, Owner},
    object::ObjectKey,
    write::{Place, Writer, collection_path, failed},
};

const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// So many objects are asked for at once.
const PAGE: usize = 500;

/// So many foreign objects are named; one is enough to know.
const NAMED_MAX: usize = 5;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    items: Vec<Value>,
    #[serde(default)]
    metadata: PageMetadata,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    next: String,
}

impl Writer {
    /// Lists objects by their metadata. A collection that does not exist has none.
    async fn list(&self, path: &str, selector: Option<&str>) -> Result<Vec<Value>, RequestError> {
        let (mut items, mut next) = (Vec::new(), String::new());
        loop {
            let mut call = Call::new(Method::GET, path.to_owned())
                .with_accept(METADATA_LIST)
                .with_query("limit", &PAGE.to_string());
            if let Some(selector) = selector {
                call = call.with_query("labelSelector", selector);
            }
            if !next.is_empty() {
                call = call.with_query("continue", &next);
            }
            let page: Page = match self.access.send(call).await {
                Ok(answer) => serde_json::from_slice(&answer).map_err(|error| {
                    RequestError::unanswered(&format!("its list cannot be read: {error}"), None)
                })?,
                Err(error) if error.code() == Some(404) => return Ok(items),
                Err(error) => return Err(error),
            };
            items.extend(page.items);
            if page.metadata.next.is_empty() {
                return Ok(items);
            }
            next = page.metadata.next;
        }
    }

    /// What a Namespace holds besides what Kubernetes itself puts there.
    pub(super) async fn list_contents(&self, kinds: &Kinds, namespace: &str) -> Outcome {
        let lists: Vec<(String, String)> = kinds
            .namespaced_lists()
            .into_iter()
            .filter(|(gvk, _)| !is_by_the_way(&gvk.group, &gvk.kind))
            .map(|(gvk, kind)| {
                let path = collection_path(&gvk.group, &gvk.version, &kind.plural, Some(namespace));
                (gvk.kind, path)
            })
            .collect();
        let lists = lists.into_iter().map(|(kind, path)| async move {
            let items = self.list(&path, None).await?;
            Ok::<_, RequestError>(
                items
                    .into_iter()
                    .map(|item| (kind.clone(), item))
                    .collect::<Vec<_>>(),
            )
        });
        let found: Vec<_> = match stream::iter(lists)
            .buffer_unordered(REQUESTS_MAX)
            .try_concat()
            .await
        {
            Ok(found) => found,
            Err(error) => return failed(error.into()),
        };
        let (mut ending, mut foreign) = (Vec::new(), Vec::new());
        for (kind, item) in found {
            let name = item["metadata"]["name"].as_str().unwrap_or_default();
            let is_furniture = matches!(
                (kind.as_str(), name),
                ("ServiceAccount", "default") | ("ConfigMap", "kube-root-ca.crt")
            );
            if is_furniture {
                continue;
            }
            let is_ending = !item["metadata"]["deletionTimestamp"].is_null();
            if is_ending { &mut ending } else { &mut foreign }.push(format!("{kind} {name}"));
        }
        foreign.sort();
        foreign.truncate(NAMED_MAX);
        if foreign.is_empty() && !ending.is_empty() {
            let message = format!("it holds what is still being deleted: {}", ending.join(", "));
            return failed(Failure::Unavailable(message, None));
        }
        Outcome::Contents(foreign)
    }

    /// The custom resources that a CustomResourceDefinition has.
    pub(super) async fn list_custom_resources(&self, definition: &Place) -> Outcome {
        let definition: Value = match self
            .access
            .send(Call::new(Method::GET, definition.object.clone()))
            .await
        {
            Ok(answer) => serde_json::from_slice(&answer).unwrap_or_default(),
            Err(error) if error.code() == Some(404) => return Outcome::Gone,
            Err(error) => return failed(error.into()),
        };
        let spec = &definition["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
        let versions = spec["versions"].as_array().into_iter().flatten();
        let Some(version) = versions.into_iter().find(|version| version["served"] == true) else {
            return failed(Failure::Rejected(
                "none of its versions is served, so its objects cannot be listed".to_owned(),
            ));
        };
        let path = collection_path(&group, &text(&version["name"]), &plural, None);
        match self.list(&path, None).await {
            Ok(items) => {
                let name = |item: &Value| match item["metadata"]["namespace"].as_str() {
                    Some(namespace) => format!("{plural} {namespace}/{}", text(&item["metadata"]["name"])),
                    None => format!("{plural} {}", text(&item["metadata"]["name"])),
                };
                Outcome::Contents(items.iter().take(NAMED_MAX).map(name).collect())
            }
            Err(error) => failed(error.into()),
        }
    }

    /// Lists once more all kinds that the payload had, and the Pods of its workloads.
    pub(super) async fn sweep(&self, kinds: &Kinds, owner: &Owner, sweep: &Sweep) -> Swept {
        match tokio::try_join!(self.marked(kinds, owner, sweep), self.dependents(sweep)) {
            Ok((objects, _)) if !objects.is_empty() => Swept::Objects(objects),
            Ok((_, dependents)) if !dependents.is_empty() => Swept::Dependents(dependents),
            Ok(_) => Swept::Clean,
            Err(error) => Swept::Failed(error.into()),
        }
    }

    async fn marked(
        &self,
        kinds: &Kinds,
        owner: &Owner,
        sweep: &Sweep,
    ) -> Result<Vec<ObjectKey>, RequestError> {
        let mut places = std::collections::BTreeMap::new();
        for (key, version) in &sweep.objects {
            if let Some((version, kind)) = kinds.resolve(key, version) {
                let path = collection_path(&key.group, &version, &kind.plural, key.namespace.as_deref());
                places.entry(path).or_insert_with(|| key.clone());
            }
        }
        let selector = owner.selector();
        let lists = places.into_iter().map(|(path, like)| {
            let selector = &selector;
            async move {
                let items = self.list(&path, Some(selector)).await?;
                let ours = items
                    .into_iter()
                    .filter(|item| matches!(mark::read(owner, item), Mark::Ours(_)));
                let key = |item: Value| ObjectKey {
                    name: item["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
                    ..like.clone()
                };
                Ok::<Vec<_>, RequestError>(
                    ours.map(key)
                        .filter(|key| sweep.objects.contains_key(key))
                        .collect(),
                )
            }
        });
        stream::iter(lists)
            .buffer_unordered(REQUESTS_MAX)
            .try_concat()
            .await
    }

    /// The Pods of the workloads, and the ReplicaSets and Jobs through which they own them, that still exist. A Pod whose
    /// owner is gone counts as well: it is about to be collected, and whose it was can no longer be told.
    async fn dependents(&self, sweep: &Sweep) -> Result<Vec<ObjectKey>, RequestError> {
        let mut left = Vec::new();
        for (namespace, uids) in sweep.workloads.iter().filter(|(_, uids)| !uids.is_empty()) {
            let list = |group: &str, plural: &str| {
                let path = collection_path(group, "v1", plural, Some(namespace));
                async move { self.list(&path, None).await }
            };
            // Pods first: what appears between two lists then only makes it wait once more.
            let pods = list("", "pods").await?;
            let (replica_sets, jobs) = tokio::try_join!(list("apps", "replicasets"), list("batch", "jobs"))?;
            let key = |group: &str, kind: &str, item: &Value| ObjectKey {
                group: group.to_owned(),
                kind: kind.to_owned(),
                namespace: Some(namespace.clone()),
                name: item["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            };
            let mut middle_uids = std::collections::BTreeSet::new();
            for (group, kind, items) in [("apps", "ReplicaSet", &replica_sets), ("batch", "Job", &jobs)] {
                for item in items {
                    middle_uids.insert(item["metadata"]["uid"].as_str().unwrap_or_default());
                    if owners(item).any(|(_, uid)| uids.contains(uid)) {
                        left.push(key(group, kind, item));
                    }
                }
            }
            for pod in &pods {
                let is_left = owners(pod).any(|(kind, uid)| {
                    uids.contains(uid) || ["ReplicaSet", "Job"].contains(&kind) && !middle_uids.contains(uid)
                });
                if is_left {
                    left.push(key("", "Pod", pod));
                }
            }
        }
        Ok(left)
    }
}

fn owners(item: &Value) -> impl Iterator<Item = (&str, &str)> {
    let owners = item["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten();
    owners.filter_map(|owner| Some((owner["kind"].as_str()?, owner["uid"].as_str()?)))
}

/// What comes and goes with other objects, or is no object at all, and so is nobody's.
fn is_by_the_way(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        ("", "Event" | "Endpoints")
            | ("events.k8s.io", "Event")
            | ("discovery.k8s.io", "EndpointSlice")
            | ("coordination.k8s.io", "Lease")
            | ("metrics.k8s.io", _)
    )
}
