//! The kinds that a cluster's API server knows.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use kube::core::{discovery::v2::APIGroupDiscoveryList, gvk::GroupVersionKind};
use tokio::sync::{Mutex, watch};

use super::{
    access::{Access, Call, RequestError},
    object::ObjectKey,
};
use crate::clock::boottime;

/// Two refreshes are at least this far apart, however many runners ask: an unknown kind of one payload shall not load
/// the API server, and after a CustomResourceDefinition is established its kind appears within a second anyway.
const REFRESH_INTERVAL: Duration = Duration::from_millis(250);

/// Aggregated discovery or nothing: an older server must refuse rather than answer in a form that reads as "no kinds".
const ACCEPT_AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                                 application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// What is known about a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// The resource's name in paths, such as `deployments`.
    pub(crate) plural: String,
    pub(crate) namespaced: bool,
    pub(crate) listable: bool,
    pub(crate) watchable: bool,
}

/// All kinds of a cluster at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kinds {
    kinds: HashMap<GroupVersionKind, Kind>,
    /// In which order each group prefers its versions.
    versions: HashMap<String, Vec<String>>,
    /// Groups whose own API server does not answer, so that their kinds are not known at the moment.
    stale_groups: HashSet<String>,
}

impl Kinds {
    pub(crate) fn get(&self, key: &ObjectKey, version: &str) -> Option<&Kind> {
        self.kinds
            .get(&GroupVersionKind::gvk(&key.group, version, &key.kind))
    }

    /// The kind in this version or, if that is served no more, in the version that its group prefers: what was created
    /// as `v1beta1` must be found and deleted as `v1`.
    pub(crate) fn resolve(&self, key: &ObjectKey, version: &str) -> Option<(String, &Kind)> {
        std::iter::once(version)
            .chain(
                self.versions
                    .get(&key.group)
                    .into_iter()
                    .flatten()
                    .map(String::as_str),
            )
            .find_map(|version| self.get(key, version).map(|kind| (version.to_owned(), kind)))
    }

    /// Whether the kind was not told, though its group's API server answered if there is one. That proves nothing yet, see
    /// `payload::Writer::told_in_full`.
    pub(crate) fn lacks(&self, key: &ObjectKey, version: &str) -> bool {
        !self.stale_groups.contains(&key.group) && self.resolve(key, version).is_none()
    }

    /// Groups whose own API server does not answer.
    pub(crate) fn stale_groups(&self) -> impl Iterator<Item = &str> {
        self.stale_groups.iter().map(String::as_str)
    }

    /// Whether the version of the group is listed, whatever is known of its kinds.
    pub(crate) fn lists_version(&self, group: &str, version: &str) -> bool {
        let versions = self.versions.get(group);
        versions.is_some_and(|versions| versions.iter().any(|listed| listed == version))
    }

    /// The group and the name in paths of each kind.
    pub(crate) fn resources(&self) -> HashSet<(&str, &str)> {
        let resources = self.kinds.iter();
        resources
            .map(|(gvk, kind)| (gvk.group.as_str(), kind.plural.as_str()))
            .collect()
    }

    /// Whether the group is listed, whatever is known of its kinds.
    pub(crate) fn lists(&self, group: &str) -> bool {
        self.versions.contains_key(group)
    }

    /// Whether the kinds are known at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Each listable namespaced resource once, in its preferred version.
    pub(crate) fn namespaced_lists(&self) -> Vec<(GroupVersionKind, &Kind)> {
        let mut lists: Vec<_> = self
            .kinds
            .iter()
            .filter(|(gvk, kind)| {
                let preferred = self.versions.get(&gvk.group).and_then(|versions| {
                    let served = |version: &&String| {
                        self.kinds
                            .contains_key(&GroupVersionKind::gvk(&gvk.group, version, &gvk.kind))
                    };
                    versions.iter().find(served)
                });
                kind.namespaced && kind.listable && preferred == Some(&gvk.version)
            })
            .map(|(gvk, kind)| (gvk.clone(), kind))
            .collect();
        lists.sort_by(|(left, _), (right, _)| (&left.group, &left.kind).cmp(&(&right.group, &right.kind)));
        lists
    }

    /// Adds what one answer to aggregated discovery tells.
    pub(crate) fn add(&mut self, list: APIGroupDiscoveryList) {
        for group in list.items {
            let name = group
                .metadata
                .and_then(|metadata| metadata.name)
                .unwrap_or_default();
            for version in group.versions {
                let Some(version_name) = version.version else {
                    continue;
                };
                if version.freshness.as_deref() == Some("Stale") {
                    self.stale_groups.insert(name.clone());
                }
                self.versions
                    .entry(name.clone())
                    .or_default()
                    .push(version_name.clone());
                for resource in version.resources {
                    let (Some(plural), Some(kind)) =
                        (resource.resource, resource.response_kind.and_then(|k| k.kind))
                    else {
                        continue;
                    };
                    let has = |verb: &str| resource.verbs.iter().any(|known| known == verb);
                    self.kinds.insert(
                        GroupVersionKind::gvk(&name, &version_name, &kind),
                        Kind {
                            plural,
                            namespaced: resource.scope.as_deref() == Some("Namespaced"),
                            listable: has("list"),
                            watchable: has("list") && has("watch"),
                        },
                    );
                }
            }
        }
    }
}

/// The kinds of one cluster, asked for once and shared by all runners of the process. Two requests tell all of them
/// (aggregated discovery, Kubernetes 1.27 and later).
pub struct Catalog {
    access: Access,
    kinds: watch::Sender<Arc<Kinds>>,
    /// When the last refresh began; locked while one is under way.
    refreshed_at: Mutex<Option<Duration>>,
}

/// Why the kinds of a cluster are not known.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The API server did not tell them.
    #[error("cannot ask the API server for the kinds that it knows: {0}")]
    Discover(String),
}

impl Catalog {
    /// A catalog that knows nothing yet.
    #[must_use]
    pub fn new(access: Access) -> Self {
        Self {
            access,
            kinds: watch::Sender::default(),
            refreshed_at: Mutex::new(None),
        }
    }

    /// The kinds as they were last told.
    pub(crate) fn kinds(&self) -> Arc<Kinds> {
        self.kinds.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Kinds>> {
        self.kinds.subscribe()
    }

    /// Asks again. What is known afterwards was told after this call; callers at the same time share one answer.
    pub(crate) async fn refresh(&self) -> Result<(), CatalogError> {
        let asked_at = boottime();
        let mut refreshed_at = self.refreshed_at.lock().await;
        if let Some(last) = *refreshed_at {
            if last >= asked_at {
                return Ok(());
            }
            tokio::time::sleep((last + REFRESH_INTERVAL).saturating_sub(boottime())).await;
        }
        let began_at = boottime();
        let (core, groups) = tokio::join!(self.discover("/api"), self.discover("/apis"));
        let mut kinds = Kinds::default();
        kinds.add(core?);
        kinds.add(groups?);
        *refreshed_at = Some(began_at);
        self.kinds.send_if_modified(|known| {
            let changed = **known != kinds;
            if changed {
                *known = Arc::new(kinds);
            }
            changed
        });
        Ok(())
    }

    async fn discover(&self, path: &str) -> Result<APIGroupDiscoveryList, CatalogError> {
        let call = Call::get(path.to_owned()).with_accept(ACCEPT_AGGREGATED);
        let answer = self
            .access
            .send(call)
            .await
            .map_err(|error: RequestError| CatalogError::Discover(error.to_string()))?;
        serde_json::from_slice(&answer).map_err(|error| {
            CatalogError::Discover(format!(
                "it does not offer aggregated discovery, as Kubernetes 1.27 does ({error})"
            ))
        })
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

    use serde_json::json;

    use super::*;

    #[test]
    fn a_namespace_may_hold_kinds_of_every_version() {
        let resource = |plural: &str, kind: &str, version: &str, scope: &str, verbs: &[&str]| {
            json!({"resource": plural, "scope": scope, "verbs": verbs,
                   "responseKind": {"group": "example.com", "version": version, "kind": kind}})
        };
        let list = json!({"items": [{"metadata": {"name": "example.com"}, "versions": [
            {"version": "v1", "freshness": "Current", "resources": [
                resource("widgets", "Widget", "v1", "Namespaced", &["list"]),
                resource("worlds", "World", "v1", "Cluster", &["list"]),
                resource("wishes", "Wish", "v1", "Namespaced", &["create"]),
            ]},
            {"version": "v1alpha1", "freshness": "Current", "resources": [
                resource("widgets", "Widget", "v1alpha1", "Namespaced", &["list"]),
                resource("gizmos", "Gizmo", "v1alpha1", "Namespaced", &["list"]),
            ]},
        ]}]});
        let mut kinds = Kinds::default();
        kinds.add(serde_json::from_value(list).unwrap());
        let lists = kinds.namespaced_lists();
        let lists = lists
            .iter()
            .map(|(gvk, kind)| (kind.plural.as_str(), gvk.version.as_str()));
        assert_eq!(
            lists.collect::<Vec<_>>(),
            [("gizmos", "v1alpha1"), ("widgets", "v1")]
        );
    }
}
