//! What the ledger asks for, and what may come of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;

use crate::cluster::ObjectKey;
use crate::payload::inventory::Inventory;

/// What to do next. The runner carries it out and tells the ledger how it went.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::payload) enum Action {
    /// Save the inventory.
    Save(Inventory),
    /// Ask for the kinds that the API server knows, and whether it has told all kinds of these groups.
    RefreshKinds(BTreeSet<String>),
    /// One step with one object, which is of this version of its API.
    Step {
        key: ObjectKey,
        version: String,
        step: Step,
    },
    /// List what is left of the payload.
    Sweep(Sweep),
}

/// One step with one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::payload) enum Step {
    /// Read it.
    Look,
    /// Create it, if there is none of that name.
    Create,
    /// Make the fields that were written by its creation pruneable by later applies, if it is unchanged since it was seen.
    Upgrade { uid: String, resource_version: String },
    /// Server-side apply, if it is unchanged since it was seen.
    Apply { uid: String, resource_version: String },
    /// Delete it, if it is unchanged since it was seen; after what it owns, if that may run processes.
    Delete {
        uid: String,
        resource_version: String,
        foreground: bool,
    },
    /// Take it to no replicas, if it is unchanged since it was seen.
    Scale { resource_version: String },
    /// List what a Namespace holds besides what Kubernetes puts there.
    ListContents,
    /// List the custom resources of a CustomResourceDefinition.
    ListCustomResources,
}

impl Step {
    /// Whether the step is allowed only while the claim lasts.
    pub(in crate::payload) fn needs_claim(&self) -> bool {
        matches!(self, Self::Create | Self::Upgrade { .. } | Self::Apply { .. })
    }
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::payload) enum Outcome {
    /// The object as the API server returned it.
    Object(Value),
    /// There is no such object (any more).
    Gone,
    /// Creation: there is an object of that name already.
    Exists,
    /// The object has changed since it was seen.
    Changed,
    /// The contents of a Namespace or the custom resources of a kind, a few of them.
    Contents(Vec<String>),
    /// The step failed. If it may still take effect, until when it may.
    Failed {
        failure: Failure,
        maybe_until: Option<Duration>,
    },
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::payload) enum Failure {
    /// Nothing was done.
    #[error("this member's claim to lead has ended")]
    Unclaimed,
    /// What it needs is not there, such as its Namespace or its kind.
    #[error("{0}")]
    Missing(String),
    /// The API server will not take it as it is.
    #[error("{0}")]
    Rejected(String),
    /// It is not permitted.
    #[error("{0}: grant this to that account")]
    Forbidden(String),
    /// The controller may not act as the account that the payload is applied as.
    #[error(
        "{0}: let the controller impersonate the ServiceAccount that spec.serviceAccountName names, by the verb impersonate"
    )]
    NotImpersonated(String),
    /// No answer, or none now; perhaps with a time to wait.
    #[error("{0}")]
    Unavailable(String, Option<Duration>),
}

/// The last look for what may be left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::payload) struct Sweep {
    /// The objects that must be gone, with the versions they are listed in.
    pub(in crate::payload) objects: BTreeMap<ObjectKey, String>,
    /// By namespace, the objects whose Pods must be gone.
    pub(in crate::payload) owners: BTreeMap<String, Owners>,
}

impl Sweep {
    /// Whether there is nothing to look for.
    pub(in crate::payload) fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.owners.values().all(|owners| owners.scaled.is_empty())
    }
}

/// What may own Pods in one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::payload) struct Owners {
    pub(in crate::payload) uids: BTreeSet<String>,
    /// Those that stay without replicas: their ReplicaSets stay too, and must have none.
    pub(in crate::payload) scaled: BTreeSet<String>,
    /// Those that may have been created without ever telling their UID.
    pub(in crate::payload) unlearned: BTreeSet<ObjectKey>,
    /// What those are called that may run processes: what they make is called after them.
    pub(in crate::payload) names: BTreeSet<String>,
    /// Whether there are workloads among them, so that it must be possible to list Pods.
    pub(in crate::payload) have_workloads: bool,
}

/// One kind in one namespace, or in all, as it is watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::payload) struct WatchedKind {
    pub(in crate::payload) group: String,
    pub(in crate::payload) version: String,
    pub(in crate::payload) kind: String,
    pub(in crate::payload) plural: String,
    pub(in crate::payload) namespace: Option<String>,
}

/// What a sweep found.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::payload) enum Swept {
    /// These objects bear our mark still.
    Objects(Vec<ObjectKey>),
    /// These Pods, or owners of Pods, still exist.
    Dependents(Vec<ObjectKey>),
    /// Nothing is left.
    Clean,
    /// Not everything could be listed.
    Failed(Failure),
}
