//! The marks by which an object of a payload is known.
//!
//! An object is ours if its label *and* its annotation name our MultiCluster; or if they are gone, but this process
//! created it or saw them. The group's id in it decides nothing about
//! that: a MultiCluster that joins another group, or is made anew under its name, is still the only writer of that name
//! in this cluster, and must be able to take up and remove what its predecessor left. Terms, however, are compared
//! within one group only.

use std::fmt;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::decode::Document;
use crate::cluster::ObjectKey;

/// Selects the objects of one MultiCluster: 32 hexadecimal digits of the SHA-256 of its `namespace/name`, because a label
/// cannot hold those themselves.
pub const PAYLOAD_LABEL: &str = "flagship.dev/payload-of";
/// The MultiCluster, as `namespace/name`.
pub const MULTICLUSTER_ANNOTATION: &str = "flagship.dev/multicluster";
/// The id of the group that the MultiCluster was a member of.
pub const GROUP_ANNOTATION: &str = "flagship.dev/group";
/// The term in which the object was written last.
pub const TERM_ANNOTATION: &str = "flagship.dev/term";
/// A digest of the document that it was written from: tells, after a restart, whether the payload has changed since.
pub const DOCUMENT_ANNOTATION: &str = "flagship.dev/document";
/// What becomes of the object when its cluster stops leading: `Delete`, `ScaleToZero` or `Keep`.
pub const ON_DEMOTION_ANNOTATION: &str = "flagship.dev/on-demotion";

/// The field manager of all that is written for payloads.
pub(super) const FIELD_MANAGER: &str = "flagship";

/// The MultiCluster whose payload an object belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its namespace; objects of the payload without a namespace go there.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Owner {
    /// The value of [`PAYLOAD_LABEL`].
    #[must_use]
    pub fn label_value(&self) -> String {
        let digest = Sha256::digest(self.to_string().as_bytes());
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// A selector for the objects of this MultiCluster.
    pub(super) fn selector(&self) -> String {
        format!("{PAYLOAD_LABEL}={}", self.label_value())
    }
}

/// What our marks say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) group: String,
    pub(super) term: u64,
    pub(super) document: String,
}

/// Whose an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Ours(Stamp),
    /// Another MultiCluster's, named so.
    Others(String),
    None,
}

/// Reads the marks of an object.
pub(super) fn read(owner: &Owner, object: &Value) -> Mark {
    let annotation = |name: &str| object["metadata"]["annotations"][name].as_str();
    let label = object["metadata"]["labels"][PAYLOAD_LABEL].as_str();
    match (label, annotation(MULTICLUSTER_ANNOTATION)) {
        (Some(label), Some(name)) if label == owner.label_value() && name == owner.to_string() => {
            Mark::Ours(Stamp {
                group: annotation(GROUP_ANNOTATION).unwrap_or_default().to_owned(),
                // A term that somebody removed or garbled is as good as none: it is written again.
                term: annotation(TERM_ANNOTATION)
                    .and_then(|term| term.parse().ok())
                    .unwrap_or(0),
                document: annotation(DOCUMENT_ANNOTATION).unwrap_or_default().to_owned(),
            })
        }
        (Some(_), Some(name)) if name != owner.to_string() => Mark::Others(name.to_owned()),
        _ => Mark::None,
    }
}

/// The object as it is to be written: the document, its place and our marks.
pub(super) fn stamp(
    document: &Document,
    key: &ObjectKey,
    owner: &Owner,
    group: &str,
    term: u64,
) -> Map<String, Value> {
    let mut body = document.body().clone();
    let mut metadata = take_map(&mut body, "metadata");
    match &key.namespace {
        Some(namespace) => metadata.insert("namespace".to_owned(), namespace.as_str().into()),
        None => metadata.remove("namespace"),
    };
    let mut labels = take_map(&mut metadata, "labels");
    labels.insert(PAYLOAD_LABEL.to_owned(), owner.label_value().into());
    metadata.insert("labels".to_owned(), labels.into());
    let mut annotations = take_map(&mut metadata, "annotations");
    annotations.insert(MULTICLUSTER_ANNOTATION.to_owned(), owner.to_string().into());
    annotations.insert(GROUP_ANNOTATION.to_owned(), group.into());
    annotations.insert(TERM_ANNOTATION.to_owned(), term.to_string().into());
    annotations.insert(DOCUMENT_ANNOTATION.to_owned(), document.digest().into());
    metadata.insert("annotations".to_owned(), annotations.into());
    body.insert("metadata".to_owned(), metadata.into());
    body
}

fn take_map(map: &mut Map<String, Value>, field: &str) -> Map<String, Value> {
    match map.remove(field) {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
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
    use crate::payload::Payload;

    fn owner() -> Owner {
        Owner {
            namespace: "shop".to_owned(),
            name: "newyork".to_owned(),
        }
    }

    fn stamped() -> Value {
        let payload = Payload::decode(
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, labels: {app: web}}, spec: {template: {}}}",
        )
        .unwrap();
        let document = &payload.documents()[0];
        let key = ObjectKey {
            namespace: Some("shop".to_owned()),
            ..document.key.clone()
        };
        Value::Object(stamp(document, &key, &owner(), "g1", 7))
    }

    #[test]
    fn marks_are_on_the_object_and_never_in_its_template() {
        let digest = Payload::decode(
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, labels: {app: web}}, spec: {template: {}}}",
        )
        .unwrap()
        .documents()[0]
            .digest()
            .to_owned();
        assert_eq!(
            stamped(),
            json!({
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {
                    "name": "web",
                    "namespace": "shop",
                    "labels": {"app": "web", "flagship.dev/payload-of": "e1fc8b603a206985678d364869075146"},
                    "annotations": {
                        "flagship.dev/multicluster": "shop/newyork",
                        "flagship.dev/group": "g1",
                        "flagship.dev/term": "7",
                        "flagship.dev/document": digest,
                    },
                },
                "spec": {"template": {}},
            })
        );
    }

    #[test]
    fn an_object_is_ours_by_label_and_annotation_only() {
        let object = stamped();
        let Mark::Ours(stamp) = read(&owner(), &object) else {
            panic!("not ours")
        };
        assert_eq!((stamp.group.as_str(), stamp.term), ("g1", 7));
        let other = Owner {
            namespace: "shop".to_owned(),
            name: "sheffield".to_owned(),
        };
        assert_eq!(read(&other, &object), Mark::Others("shop/newyork".to_owned()));
        let mut unlabelled = object.clone();
        unlabelled["metadata"]["labels"] = json!({"app": "web"});
        assert_eq!(read(&owner(), &unlabelled), Mark::None);
        let mut relabelled = object.clone();
        relabelled["metadata"]["labels"][PAYLOAD_LABEL] = other.label_value().into();
        assert_eq!(read(&owner(), &relabelled), Mark::None);
        assert_eq!(read(&owner(), &json!({"metadata": {}})), Mark::None);
    }

    #[test]
    fn a_garbled_term_counts_as_none() {
        let mut object = stamped();
        object["metadata"]["annotations"][TERM_ANNOTATION] = "seven".into();
        assert!(matches!(
            read(&owner(), &object),
            Mark::Ours(Stamp { term: 0, .. })
        ));
    }
}
