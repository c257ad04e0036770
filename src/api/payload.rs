//! How the payload is brought, kept and taken down: fields of a MultiCluster's spec.

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::period::Period;

/// Where a part of the payload is read from: one of the two.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.configMapKeyRef) != has(self.secretKeyRef)").message(
    "each entry of payloadFrom must have either configMapKeyRef or secretKeyRef"
))]
pub struct PayloadSource {
    /// A key of a ConfigMap in the namespace of the MultiCluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyRef>,
    /// A key of a Secret in the namespace of the MultiCluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyRef>,
}

/// A key of an object.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key under which the manifests stand in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A key of a ConfigMap or Secret in the namespace of the MultiCluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    /// ConfigMap or Secret.
    pub kind: SourceKind,
    /// Name of the object.
    pub name: String,
    /// The key under which the manifests stand in its data.
    pub key: String,
}

/// What a [`Source`] is a key of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {} of {} {}", self.key, self.kind, self.name)
    }
}

/// What becomes of the payload when its cluster leads no longer.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Demotion {
    /// Delete removes it, except for PersistentVolumeClaims. ScaleToZero takes Deployments, StatefulSets, ReplicaSets and
    /// ReplicationControllers to no replicas, deletes what else may run processes (Pods, DaemonSets, Jobs, CronJobs, custom
    /// resources) and webhooks, and leaves the rest in place. Keep leaves everything running, beside the copy of the next
    /// leader. The annotation flagship.dev/on-demotion of an object, with one of these values, counts more.
    #[serde(default)]
    pub policy: DemotionPolicy,
    /// How long a planned move waits for the payload to stop before it is given up and the payload applied again.
    #[serde(default = "default_demotion_timeout")]
    #[x_kube(validation = Rule::new("duration(self) > duration('0s')").message("must be more than 0"))]
    pub timeout: Period,
}

/// What becomes of the payload when its cluster leads no longer.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DemotionPolicy {
    /// It is deleted, except for PersistentVolumeClaims.
    #[default]
    Delete,
    /// What runs processes is scaled to zero or deleted; the rest stays.
    ScaleToZero,
    /// Everything stays and runs on.
    Keep,
}

impl Default for Demotion {
    fn default() -> Self {
        Self {
            policy: DemotionPolicy::default(),
            timeout: default_demotion_timeout(),
        }
    }
}

/// Kubernetes' default termination grace period.
fn default_demotion_timeout() -> Period {
    Period::new("30s")
}

/// How long a payload may be unhealthy before another member is to run it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HealthTimeouts {
    /// How long it may take to become healthy, counted from when it was ordered or was healthy last.
    #[serde(default = "default_startup_timeout")]
    #[x_kube(validation = Rule::new("duration(self) > duration('0s')").message("must be more than 0"))]
    pub startup_timeout: Period,
    /// How long it may be unhealthy once it was healthy.
    #[serde(default = "default_failure_timeout")]
    #[x_kube(validation = Rule::new("duration(self) > duration('0s')").message("must be more than 0"))]
    pub failure_timeout: Period,
}

impl Default for HealthTimeouts {
    fn default() -> Self {
        Self {
            startup_timeout: default_startup_timeout(),
            failure_timeout: default_failure_timeout(),
        }
    }
}

fn default_startup_timeout() -> Period {
    Period::new("2m")
}

fn default_failure_timeout() -> Period {
    Period::new("1m")
}
