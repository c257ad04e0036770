//! What users write: the custom resources, their schemas, their validation.
//!
//! The API server refuses what the schema and its CEL rules can tell; [`MultiClusterSpec::validate`] says the rest,
//! and says all of it again for objects that were written while an older schema was installed.

mod address;
mod condition;
#[allow(
    unreachable_pub,
    reason = "KubeSchema copies every struct, `pub` included, into a function"
)]
mod fencing;
#[allow(
    unreachable_pub,
    reason = "KubeSchema copies every struct, `pub` included, into a function"
)]
mod multicluster;
#[allow(
    unreachable_pub,
    reason = "KubeSchema copies every struct, `pub` included, into a function"
)]
mod payload;
mod period;
mod request;
#[allow(
    unreachable_pub,
    reason = "KubeSchema copies every struct, `pub` included, into a function"
)]
mod status;
#[cfg(test)]
mod tests;
mod validate;

pub use address::{Address, AddressError, Host};
pub use condition::{ConditionType, set_condition, whole_seconds};
pub use fencing::{FencedMember, Fencing, KubeConfigSecretRef};
pub use multicluster::{
    ApiServerLoss, ApiServerLossAction, CallsignFrom, MemberRole, MultiCluster, MultiClusterSpec, Preemption,
    PreemptionPolicy, QuorumMode, SecretKeyRef, Timing, TimingProfile, Tls,
};
pub use payload::{Demotion, DemotionPolicy, HealthTimeouts, KeyRef, PayloadSource, Source, SourceKind};
pub use period::Period;
pub use request::{REQUEST_ANNOTATION, Request, Wish};
pub use status::{
    HISTORY_MAX_ENTRIES, LeaderStatus, MemberState, MemberStatus, Memory, Move, MultiClusterStatus,
    ObjectHealth, ObjectState, PayloadObject, PayloadStatus, QuorumStatus, RequestState, RequestStatus, Role,
};
pub use validate::{CallsignSource, Problem, ValidSpec, ValidTiming, callsign_problem};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The finalizer that Flagship puts on a MultiCluster: while it is there, the payload may still run in this cluster
/// and the group may still count this member.
pub const FINALIZER: &str = "flagship.dev/leave-group";

/// The CustomResourceDefinitions of every resource that Flagship serves.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crd = MultiCluster::crd();
    // kube-vip-multi-cluster takes an object without a spec, as its first sample is; here it is told that it has none.
    for version in &mut crd.spec.versions {
        if let Some(schema) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        {
            schema.required = None;
        }
    }
    vec![crd]
}
