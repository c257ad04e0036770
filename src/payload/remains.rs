//! Looks for what is left: in a Namespace or of a kind before it is deleted, and of the whole payload at the end.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    fate::replicas,
    ledger::{Failure, Outcome, Owners, Sweep, Swept},
    mark::{self, Mark, Owner},
    write::{Writer, failed},
};
use crate::cluster::{Call, Catalog, Kinds, ObjectKey, Place, REQUESTS_MAX, RequestError, collection_path};

const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// So many objects are asked for at once.
const PAGE: usize = 200;

/// A field of ours in what is kept of a ReplicaSet.
const NONE_LEFT: &str = "noneLeft";

/// So many foreign objects are named; one is enough to know.
const NAMED_MAX: usize = 5;

#[derive(Deserialize)]
struct Page {
    /// An empty list of metadata comes as null.
    items: Option<Vec<Value>>,
    #[serde(default)]
    metadata: PageMetadata,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    next: String,
}

impl Writer {
    /// Lists objects by their metadata, all of them. A collection that does not exist has none.
    pub(super) async fn list(&self, path: &str, selector: Option<&str>) -> Result<Vec<Value>, RequestError> {
        self.list_until(path, selector, |_| false).await
    }

    /// As [`Self::list`], but reads no further page once those read are enough.
    async fn list_until(
        &self,
        path: &str,
        selector: Option<&str>,
        is_enough: impl Fn(&[Value]) -> bool,
    ) -> Result<Vec<Value>, RequestError> {
        self.list_as(METADATA_LIST, path, selector, |item| item, is_enough)
            .await
    }

    /// As [`Self::list_until`], in the given form and of each item what `kept` makes of it.
    async fn list_as(
        &self,
        accept: &'static str,
        path: &str,
        selector: Option<&str>,
        kept: impl Fn(Value) -> Value,
        is_enough: impl Fn(&[Value]) -> bool,
    ) -> Result<Vec<Value>, RequestError> {
        let (mut items, mut next) = (Vec::new(), String::new());
        loop {
            let mut call = Call::list(path.to_owned())
                .with_accept(accept)
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
            items.extend(page.items.into_iter().flatten().map(&kept));
            if page.metadata.next.is_empty() || is_enough(&items) {
                return Ok(items);
            }
            next = page.metadata.next;
        }
    }

    /// What a Namespace holds besides what Kubernetes itself puts there.
    pub(super) async fn list_contents(&self, catalog: &Catalog, namespace: &str) -> Outcome {
        let kinds = match self.as_controller().all_kinds(catalog).await {
            Ok(kinds) => kinds,
            Err(failure) => return failed(failure),
        };
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
            // A few that are not ending tell enough of a kind; a tenant may have filled the Namespace with thousands.
            let staying = |items: &[Value]| items.iter().filter(|item| !is_ending(item)).count();
            let items = self
                .list_until(&path, None, |items| staying(items) > NAMED_MAX)
                .await?;
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
            if is_ending(&item) {
                &mut ending
            } else {
                &mut foreign
            }
            .push(format!("{kind} {name}"));
        }
        foreign.sort();
        foreign.truncate(NAMED_MAX);
        if foreign.is_empty() && !ending.is_empty() {
            ending.truncate(NAMED_MAX);
            let message = format!("it holds what is still being deleted: {}", ending.join(", "));
            return failed(Failure::Unavailable(message, None));
        }
        Outcome::Contents(foreign)
    }

    /// The custom resources that a CustomResourceDefinition has.
    pub(super) async fn list_custom_resources(&self, definition: &Place) -> Outcome {
        let definition: Value = match self.access.send(Call::get(definition.object.clone())).await {
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
        match self.list_until(&path, None, |items| !items.is_empty()).await {
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
        let own = self.as_controller();
        match tokio::try_join!(self.marked(kinds, owner, sweep), own.dependents(sweep)) {
            Ok((objects, _)) if !objects.is_empty() => Swept::Objects(objects),
            Ok((_, dependents)) if !dependents.is_empty() => Swept::Dependents(dependents),
            Ok(_) => Swept::Clean,
            Err(error) => Swept::Failed(error.into()),
        }
    }

    /// The ReplicaSets of a namespace by their metadata, and whether each has no Pods left and is to have none.
    async fn list_replica_sets(&self, namespace: &str) -> Result<Vec<Value>, RequestError> {
        let path = collection_path("apps", "v1", "replicasets", Some(namespace));
        let kept = |item: Value| json!({"metadata": item["metadata"], NONE_LEFT: replicas(&item).none_left});
        self.list_as("application/json", &path, None, kept, |_| false)
            .await
    }

    async fn marked(
        &self,
        kinds: &Kinds,
        owner: &Owner,
        sweep: &Sweep,
    ) -> Result<Vec<ObjectKey>, RequestError> {
        let mut places = BTreeMap::new();
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

    /// The Pods of what was removed, and the ReplicaSets and Jobs through which workloads own them, that still exist.
    async fn dependents(&self, sweep: &Sweep) -> Result<Vec<ObjectKey>, RequestError> {
        let mut left = Vec::new();
        for (namespace, owners) in &sweep.owners {
            if owners.uids.is_empty() && owners.unlearned.is_empty() && owners.scaled.is_empty() {
                continue;
            }
            let list = |group: &str, plural: &str| {
                let path = collection_path(group, "v1", plural, Some(namespace));
                async move { self.list(&path, None).await }
            };
            // Pods first: what appears between two lists then only makes it wait once more.
            let pods = match list("", "pods").await {
                Err(error) if error.code() == Some(403) && !owners.have_workloads => continue,
                pods => pods?,
            };
            let (replica_sets, jobs) = match owners.have_workloads {
                true if owners.scaled.is_empty() => {
                    tokio::try_join!(list("apps", "replicasets"), list("batch", "jobs"))?
                }
                true => tokio::try_join!(self.list_replica_sets(namespace), list("batch", "jobs"))?,
                false => (Vec::new(), Vec::new()),
            };
            let key = |(group, kind, item): (&str, &str, &Value)| ObjectKey {
                group: group.to_owned(),
                kind: kind.to_owned(),
                namespace: Some(namespace.clone()),
                name: item["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            };
            left.extend(
                still_there(owners, &pods, &replica_sets, &jobs)
                    .into_iter()
                    .map(key),
            );
        }
        Ok(left)
    }
}

/// Of these objects, those that are owned by `owners`, directly or through a ReplicaSet or Job. If there were workloads, a
/// Pod counts as well whose ReplicaSet or Job is gone and was called like one of ours, or after it as Deployments and
/// CronJobs call what they make: it is about to be collected, and whose it was can be told by nothing else.
fn still_there<'a>(
    owners: &Owners,
    pods: &'a [Value],
    replica_sets: &'a [Value],
    jobs: &'a [Value],
) -> Vec<(&'static str, &'static str, &'a Value)> {
    let owned = |item: &Value| {
        references(item).any(|reference| {
            let is_it =
                |key: &ObjectKey| key.is(reference.group, reference.kind) && key.name == reference.name;
            owners.uids.contains(reference.uid) || owners.unlearned.iter().any(is_it)
        })
    };
    // What was scaled to zero stays with its ReplicaSets, so that these do not stand for their Pods.
    let scaled = |item: &Value| references(item).any(|reference| owners.scaled.contains(reference.uid));
    let scaled_sets = replica_sets.iter().filter(|item| scaled(item));
    let scaled_sets: BTreeSet<&str> = scaled_sets
        .filter_map(|item| item["metadata"]["uid"].as_str())
        .collect();
    let left_by_scaled =
        |pod: &Value| scaled(pod) || references(pod).any(|reference| scaled_sets.contains(reference.uid));
    let between = replica_sets
        .iter()
        .chain(jobs)
        .filter_map(|item| item["metadata"]["uid"].as_str());
    let between: BTreeSet<&str> = between.collect();
    let orphaned = |pod: &Value| {
        references(pod).any(|reference| {
            matches!(
                (reference.group, reference.kind),
                ("apps", "ReplicaSet") | ("batch", "Job")
            ) && !between.contains(reference.uid)
                && owners.names.iter().any(|name| {
                    let rest = reference.name.strip_prefix(name.as_str());
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
                })
        })
    };
    let pods = pods
        .iter()
        .filter(|pod| owned(pod) || left_by_scaled(pod) || owners.have_workloads && orphaned(pod))
        .map(|pod| ("", "Pod", pod));
    let sets = replica_sets
        .iter()
        .filter(|item| owned(item) || scaled(item) && item[NONE_LEFT] != true)
        .map(|item| ("apps", "ReplicaSet", item));
    let jobs = jobs
        .iter()
        .filter(|item| owned(item))
        .map(|item| ("batch", "Job", item));
    pods.chain(sets).chain(jobs).collect()
}

/// An owner as an object refers to it.
struct Reference<'a> {
    group: &'a str,
    kind: &'a str,
    name: &'a str,
    uid: &'a str,
}

fn references(item: &Value) -> impl Iterator<Item = Reference<'_>> {
    let owners = item["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten();
    owners.filter_map(|owner| {
        let api_version = owner["apiVersion"].as_str()?;
        Some(Reference {
            group: api_version.split_once('/').map_or("", |(group, _)| group),
            kind: owner["kind"].as_str()?,
            name: owner["name"].as_str()?,
            uid: owner["uid"].as_str()?,
        })
    })
}

fn is_ending(item: &Value) -> bool {
    !item["metadata"]["deletionTimestamp"].is_null()
}

/// What comes and goes with other objects, or is no object at all, and so is nobody's; with no kind, a whole group.
pub(super) fn is_by_the_way(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        ("", "Event" | "Endpoints")
            | ("events.k8s.io", "Event")
            | ("discovery.k8s.io", "EndpointSlice")
            | ("coordination.k8s.io", "Lease")
            | ("metrics.k8s.io", _)
    )
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a test fails by panicking"
    )]

    use serde_json::json;

    use super::*;

    fn item(name: &str, owner: Option<(&str, &str, &str)>) -> Value {
        let owners: Vec<_> = owner
            .into_iter()
            .map(|(api_version, kind, uid)| {
                let name = uid.strip_prefix("uid-").unwrap_or(uid);
                json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid})
            })
            .collect();
        json!({"metadata": {"name": name, "uid": format!("uid-{name}"), "ownerReferences": owners}})
    }

    fn names(found: Vec<(&str, &str, &Value)>) -> Vec<String> {
        found
            .into_iter()
            .map(|(_, kind, item)| format!("{kind} {}", item["metadata"]["name"]))
            .collect()
    }

    fn owners_of(uids: &[&str], names: &[&str]) -> Owners {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Owners {
            uids: texts(uids),
            names: texts(names),
            have_workloads: true,
            ..Owners::default()
        }
    }

    #[test]
    fn pods_count_by_their_owners() {
        let owners = owners_of(&["deployment", "set"], &["web"]);
        let pods = [
            item("direct", Some(("apps/v1", "StatefulSet", "set"))),
            item("of-ours", Some(("apps/v1", "ReplicaSet", "uid-web-1"))),
            item("of-another", Some(("apps/v1", "ReplicaSet", "uid-web-2"))),
            item("orphaned", Some(("apps/v1", "ReplicaSet", "uid-web-3"))),
            item("alone", None),
            item("of-another-set", Some(("apps/v1", "StatefulSet", "another"))),
        ];
        let replica_sets = [
            item("web-1", Some(("apps/v1", "Deployment", "deployment"))),
            item("web-2", Some(("apps/v1", "Deployment", "x"))),
        ];
        // While the ReplicaSet is there, it stands for its Pods.
        assert_eq!(
            names(still_there(&owners, &pods, &replica_sets, &[])),
            ["Pod \"direct\"", "Pod \"orphaned\"", "ReplicaSet \"web-1\""]
        );
        let owners = Owners {
            have_workloads: false,
            ..owners
        };
        assert_eq!(
            names(still_there(&owners, &pods[..1], &[], &[])),
            ["Pod \"direct\""]
        );
        assert!(still_there(&owners, &pods[1..], &[], &[]).is_empty());
    }

    #[test]
    fn what_was_scaled_to_zero_keeps_its_replica_sets_but_not_their_pods() {
        let owners = Owners {
            scaled: BTreeSet::from(["deployment".to_owned(), "set".to_owned()]),
            names: BTreeSet::from(["web".to_owned()]),
            have_workloads: true,
            ..Owners::default()
        };
        let replica_set = |name: &str, owner: &str, none_left: bool| {
            let mut item = item(name, Some(("apps/v1", "Deployment", owner)));
            item[NONE_LEFT] = none_left.into();
            item
        };
        let pods = [
            item("of-deployment", Some(("apps/v1", "ReplicaSet", "uid-web-1"))),
            item("of-set", Some(("apps/v1", "StatefulSet", "set"))),
            item("of-another", Some(("apps/v1", "ReplicaSet", "uid-other-1"))),
        ];
        let replica_sets = [
            replica_set("web-1", "deployment", true),
            // Its controller may be about to make Pods.
            replica_set("web-2", "deployment", false),
            replica_set("other-1", "other", false),
        ];
        assert_eq!(
            names(still_there(&owners, &pods, &replica_sets, &[])),
            ["Pod \"of-deployment\"", "Pod \"of-set\"", "ReplicaSet \"web-2\""]
        );
        assert!(still_there(&owners, &pods[2..], &replica_sets[..1], &[]).is_empty());
    }

    #[test]
    fn a_pod_without_its_owner_counts_only_if_that_was_called_after_one_of_ours() {
        let owners = owners_of(&["deployment"], &["web", "nightly"]);
        let pods = [
            item("web", Some(("apps/v1", "ReplicaSet", "uid-web-1"))),
            item("itself", Some(("batch/v1", "Job", "uid-nightly"))),
            item("nightly", Some(("batch/v1", "Job", "uid-nightly-29"))),
            // On a node that is dead, of a Deployment that somebody else deleted.
            item("stuck", Some(("apps/v1", "ReplicaSet", "uid-shop-1"))),
            item("like", Some(("apps/v1", "ReplicaSet", "uid-webshop"))),
            // The kind says little without its group.
            item("volcano", Some(("batch.volcano.sh/v1alpha1", "Job", "uid-web-1"))),
        ];
        assert_eq!(
            names(still_there(&owners, &pods, &[], &[])),
            ["Pod \"web\"", "Pod \"itself\"", "Pod \"nightly\""]
        );
    }

    #[test]
    fn what_never_told_its_uid_is_known_by_its_kind_and_name() {
        let unlearned = ObjectKey {
            group: "apps".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
        };
        let owners = Owners {
            unlearned: BTreeSet::from([unlearned]),
            have_workloads: true,
            ..Owners::default()
        };
        let replica_sets = [
            item("web-1", Some(("apps/v1", "Deployment", "uid-web"))),
            item("other-1", Some(("apps/v1", "Deployment", "uid-other"))),
            item("odd-1", Some(("example.com/v1", "Deployment", "uid-web"))),
        ];
        assert_eq!(
            names(still_there(&owners, &[], &replica_sets, &[])),
            ["ReplicaSet \"web-1\""]
        );
    }
}
