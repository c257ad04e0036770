//! How an object is called: which one it is, whatever version of its API it is asked for in.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The identity of an object in a cluster. The version of the API is no part of it: `autoscaling/v1` and
/// `autoscaling/v2` show the same HorizontalPodAutoscaler.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// API group; empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Kind, as in a manifest.
    pub kind: String,
    /// Namespace; none for a cluster-scoped object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// The kind with its group, `Deployment.apps`, as kubectl writes it.
    #[must_use]
    pub fn group_kind(&self) -> String {
        if self.group.is_empty() {
            self.kind.clone()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }

    pub(crate) fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }

    pub(crate) fn is_namespace(&self) -> bool {
        self.is("", "Namespace")
    }

    pub(crate) fn is_custom_resource_definition(&self) -> bool {
        self.is("apiextensions.k8s.io", "CustomResourceDefinition")
    }

    pub(crate) fn is_persistent_volume_claim(&self) -> bool {
        self.is("", "PersistentVolumeClaim")
    }

    /// Whether the object may be shared between several users of the cluster: one that exists already is used as it
    /// is rather than refused.
    pub(crate) fn is_shareable(&self) -> bool {
        self.is_namespace() || self.is_custom_resource_definition()
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.group_kind(), self.name),
            None => write!(f, "{} {}", self.group_kind(), self.name),
        }
    }
}
