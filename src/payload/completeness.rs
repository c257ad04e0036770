//! Whether the API server has told all of its kinds.
//!
//! An API server that has just started tells its kinds before it has found all definitions, and does not know those of an
//! aggregated server that is down. Whoever concludes from a kind that is not told that there are no objects of it would
//! delete a Namespace with objects in it, or take a copy that runs for gone.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;

use super::{ledger::Failure, remains::is_by_the_way, write::Writer};
use crate::cluster::{Call, Catalog, Kinds, RequestError, encode_uri_part};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

/// Selects the APIServices that stand for another API server: those that Kubernetes makes for its own groups and for
/// definitions bear this label.
const OF_OTHER_SERVERS: &str = "!kube-aggregator.kubernetes.io/automanaged";

impl Writer {
    /// The kinds as they are told now, if it is certain that these are all that have objects in namespaces.
    pub(super) async fn all_kinds(&self, catalog: &Catalog) -> Result<Arc<Kinds>, Failure> {
        let unavailable = |message| Failure::Unavailable(message, None);
        catalog
            .refresh()
            .await
            .map_err(|error| unavailable(error.to_string()))?;
        let kinds = catalog.kinds();
        if let Some(group) = kinds.stale_groups().find(|group| !is_by_the_way(group, "")) {
            return Err(unavailable(format!(
                "the API server behind the group {group} does not answer"
            )));
        }
        // Listed after the kinds were told: one that is made at this moment then only makes it ask once more.
        let services = match self.list(SERVICES, Some(OF_OTHER_SERVERS)).await {
            // Without this right the freshness of the groups has to do.
            Err(error) if error.code() == Some(403) => Vec::new(),
            services => services?,
        };
        if let Some(name) = untold_service(&kinds, &services) {
            return Err(unavailable(format!(
                "the API server does not tell the kinds of the APIService {name} yet"
            )));
        }
        match self.untold_definition(&kinds, |_| true).await? {
            Some(name) => Err(unavailable(format!(
                "the API server does not tell the kind of the CustomResourceDefinition {name} yet"
            ))),
            None => Ok(kinds),
        }
    }

    /// Which of these groups have certainly no other kinds than those that were told.
    pub(super) async fn told_in_full(
        &self,
        kinds: &Kinds,
        groups: &BTreeSet<String>,
    ) -> Result<BTreeSet<String>, Failure> {
        let mut told = BTreeSet::new();
        for group in groups {
            let is_told = if kinds.lists(group) {
                match self.untold_definition(kinds, |of| of == group).await {
                    // Without this right the answer has to do.
                    Err(error) if error.code() == Some(403) => true,
                    untold => untold?.is_none(),
                }
            } else {
                // Asked for a group that it has yet to find, the API server says "try again" rather than "not found".
                let call = Call::get(format!("/apis/{}", encode_uri_part(group)));
                match self.access.send(call).await {
                    Err(error) if error.code() == Some(404) => true,
                    answer => answer.map(|_| false)?,
                }
            };
            if is_told {
                told.insert(group.clone());
            }
        }
        Ok(told)
    }

    /// A definition of one of the groups whose objects are served, though its kind is not told.
    async fn untold_definition(
        &self,
        kinds: &Kinds,
        is_asked: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, RequestError> {
        let definitions = self.list(DEFINITIONS, None).await?;
        for name in untold_definitions(kinds, &definitions, is_asked) {
            let call = Call::get(format!("{DEFINITIONS}/{}", encode_uri_part(name)));
            let definition = match self.access.send(call).await {
                Err(error) if error.code() == Some(404) => continue,
                answer => serde_json::from_slice(&answer?).map_err(|error| {
                    RequestError::unanswered(&format!("a definition cannot be read: {error}"), None)
                })?,
            };
            if is_served(&definition) {
                return Ok(Some(name.to_owned()));
            }
        }
        Ok(None)
    }
}

/// The names of the definitions whose kinds were not told. A definition is called after its resource and its group.
fn untold_definitions<'a>(
    kinds: &Kinds,
    definitions: &'a [Value],
    is_asked: impl Fn(&str) -> bool,
) -> Vec<&'a str> {
    let told = kinds.resources();
    let names = definitions
        .iter()
        .filter_map(|definition| definition["metadata"]["name"].as_str());
    names
        .filter(|name| {
            name.split_once('.')
                .is_none_or(|(plural, group)| is_asked(group) && !told.contains(&(group, plural)))
        })
        .collect()
}

/// Whether a definition has objects that can be asked for: one that was never accepted, or serves no version, has none.
fn is_served(definition: &Value) -> bool {
    let items = |list: &Value| list.as_array().cloned().unwrap_or_default();
    items(&definition["status"]["conditions"])
        .iter()
        .any(|condition| condition["type"] == "Established" && condition["status"] == "True")
        && items(&definition["spec"]["versions"])
            .iter()
            .any(|version| version["served"] == true)
}

/// The first APIService whose version was not told. It is called after its version and its group.
fn untold_service<'a>(kinds: &Kinds, services: &'a [Value]) -> Option<&'a str> {
    let mut names = services
        .iter()
        .filter_map(|service| service["metadata"]["name"].as_str());
    names.find(|name| {
        name.split_once('.')
            .is_none_or(|(version, group)| !is_by_the_way(group, "") && !kinds.lists_version(group, version))
    })
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

    fn kinds() -> Kinds {
        let list = json!({"items": [
            {"metadata": {"name": "example.com"}, "versions": [{"version": "v1", "freshness": "Current", "resources": [
                {"resource": "widgets", "scope": "Namespaced", "verbs": ["list"],
                 "responseKind": {"group": "example.com", "version": "v1", "kind": "Widget"}}
            ]}]},
            {"metadata": {"name": "down.example.com"}, "versions": [{"version": "v1", "freshness": "Stale"}]},
        ]});
        let mut kinds = Kinds::default();
        kinds.add(serde_json::from_value(list).unwrap());
        kinds
    }

    fn named(names: &[&str]) -> Vec<Value> {
        let named = names.iter().map(|name| json!({"metadata": {"name": name}}));
        named.collect()
    }

    #[test]
    fn a_definition_is_told_by_its_resource_and_group() {
        let definitions = named(&[
            "widgets.example.com",
            "gizmos.example.com",
            "widgets.other.example.com",
        ]);
        assert_eq!(
            untold_definitions(&kinds(), &definitions, |_| true),
            ["gizmos.example.com", "widgets.other.example.com"]
        );
        assert_eq!(
            untold_definitions(&kinds(), &definitions, |group| group == "example.com"),
            ["gizmos.example.com"]
        );
    }

    #[test]
    fn a_definition_without_objects_need_not_be_told() {
        let definition = |established: &str, served: bool| {
            json!({"spec": {"versions": [{"name": "v1", "served": false}, {"name": "v2", "served": served}]},
                   "status": {"conditions": [{"type": "Established", "status": established}]}})
        };
        assert!(is_served(&definition("True", true)));
        assert!(!is_served(&definition("False", true)));
        assert!(!is_served(&definition("True", false)));
        assert!(!is_served(&json!({})));
    }

    #[test]
    fn another_api_server_is_told_by_its_version() {
        let untold = |names: &[&str]| untold_service(&kinds(), &named(names)).map(str::to_owned);
        assert_eq!(untold(&["v1.example.com", "v1.down.example.com"]), None);
        assert_eq!(
            untold(&["v1.example.com", "v2.example.com"]),
            Some("v2.example.com".to_owned())
        );
        assert_eq!(untold(&["v1.new.io"]), Some("v1.new.io".to_owned()));
        // What it tells is measured, and no object.
        assert_eq!(untold(&["v1beta1.metrics.k8s.io"]), None);
    }

    #[test]
    fn a_group_whose_api_server_is_down_is_known_to_be() {
        assert_eq!(kinds().stale_groups().collect::<Vec<_>>(), ["down.example.com"]);
    }
}
