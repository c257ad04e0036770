//! How the copy that another member left is removed through its cluster's API server: a field of a MultiCluster's spec.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Members whose copy of the payload this one may remove.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Fencing {
    /// The members, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.all(one, self.exists_one(other, other.name == one.name))").message(
        "fencing.members must not name a member twice"
    ))]
    pub members: Vec<FencedMember>,
}

impl Fencing {
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// One of them.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FencedMember {
    /// The name of its MultiCluster, as status.members has it.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// How its cluster is reached.
    pub kube_config_secret_ref: KubeConfigSecretRef,
}

/// A kubeconfig in a Secret.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KubeConfigSecretRef {
    /// The name of the Secret, in the namespace of the MultiCluster.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in its data. Without it: kubeconfig, or value, as Cluster API writes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}
