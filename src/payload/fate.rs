//! What becomes of an object that is to go.

use serde_json::Value;

use super::{mark::ON_DEMOTION_ANNOTATION, rank::Rank};
use crate::api::DemotionPolicy;
use crate::cluster::ObjectKey;

/// What becomes of an object that is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is deleted.
    Deleted,
    /// It stays without replicas.
    ScaledToZero,
    /// It stays as it is.
    Kept,
}

/// What becomes of an object, by the policy of a stop and by what its own annotation says. What the payload drops is deleted
/// by no policy: only the annotation keeps it. A PersistentVolumeClaim goes only where its annotation says so.
pub(super) fn fate(
    key: &ObjectKey,
    rank: Rank,
    annotation: Option<DemotionPolicy>,
    policy: Option<DemotionPolicy>,
) -> Fate {
    if annotation.is_none() && key.is_persistent_volume_claim() {
        return Fate::Kept;
    }
    match (annotation.or(policy), policy) {
        (None | Some(DemotionPolicy::Delete), _) | (Some(DemotionPolicy::ScaleToZero), None) => Fate::Deleted,
        (Some(DemotionPolicy::Keep), _) => Fate::Kept,
        (Some(DemotionPolicy::ScaleToZero), Some(_)) if has_replicas(key) => Fate::ScaledToZero,
        // What cannot be told to run nothing must go: custom resources as well, whose operators may run processes for them,
        // and webhooks, which would refuse requests without the Pods that answer them.
        (Some(DemotionPolicy::ScaleToZero), Some(_)) if rank.may_own_processes() => Fate::Deleted,
        (Some(DemotionPolicy::ScaleToZero), Some(_)) => Fate::Kept,
    }
}

/// What an object's annotation says.
pub(super) fn annotation(object: &Value) -> Option<DemotionPolicy> {
    policy_of(object["metadata"]["annotations"][ON_DEMOTION_ANNOTATION].as_str()?)
}

/// The policy that the value of the annotation names; none where it names none.
pub(super) fn policy_of(value: &str) -> Option<DemotionPolicy> {
    match value {
        "Delete" => Some(DemotionPolicy::Delete),
        "ScaleToZero" => Some(DemotionPolicy::ScaleToZero),
        "Keep" => Some(DemotionPolicy::Keep),
        _ => None,
    }
}

/// Whether objects of this kind have as many Pods as `spec.replicas` says.
pub(super) fn has_replicas(key: &ObjectKey) -> bool {
    key.is("apps", "Deployment")
        || key.is("apps", "StatefulSet")
        || key.is("apps", "ReplicaSet")
        || key.is("", "ReplicationController")
}

/// How many replicas an object has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replicas {
    /// How many it is to have.
    pub(super) wanted: i64,
    /// Whether its controller has seen the newest number, and counts no Pods.
    pub(super) none_left: bool,
}

/// The replicas of an object that has some.
pub(super) fn replicas(object: &Value) -> Replicas {
    // What is left out is one in a specification, none in a status.
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let observed = object["status"]["observedGeneration"].as_i64();
    let is_observed = observed >= object["metadata"]["generation"].as_i64();
    let counted = object["status"]["replicas"].as_i64().unwrap_or(0);
    Replicas {
        wanted,
        none_left: wanted == 0 && is_observed && counted == 0,
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

    use DemotionPolicy::{Delete, Keep, ScaleToZero};
    use serde_json::json;

    use super::*;

    fn told(
        group: &str,
        kind: &str,
        annotation: Option<DemotionPolicy>,
        policy: impl Into<Option<DemotionPolicy>>,
    ) -> Fate {
        let key = ObjectKey {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: None,
            name: "x".to_owned(),
        };
        fate(&key, Rank::of(&key), annotation, policy.into())
    }

    #[test]
    fn what_may_run_processes_never_stays_as_it_is_unless_it_is_to_be_kept() {
        for (group, kind, scaled) in [
            ("apps", "Deployment", Fate::ScaledToZero),
            ("apps", "StatefulSet", Fate::ScaledToZero),
            ("apps", "ReplicaSet", Fate::ScaledToZero),
            ("", "ReplicationController", Fate::ScaledToZero),
            ("apps", "DaemonSet", Fate::Deleted),
            ("batch", "Job", Fate::Deleted),
            ("batch", "CronJob", Fate::Deleted),
            ("", "Pod", Fate::Deleted),
            ("example.com", "Widget", Fate::Deleted),
            ("example.com", "Deployment", Fate::Deleted),
            (
                "admissionregistration.k8s.io",
                "ValidatingWebhookConfiguration",
                Fate::Deleted,
            ),
            ("", "Service", Fate::Kept),
            ("", "ConfigMap", Fate::Kept),
            ("", "Secret", Fate::Kept),
            ("", "Namespace", Fate::Kept),
            ("apiextensions.k8s.io", "CustomResourceDefinition", Fate::Kept),
            ("networking.k8s.io", "Ingress", Fate::Kept),
            ("autoscaling", "HorizontalPodAutoscaler", Fate::Kept),
        ] {
            assert_eq!(told(group, kind, None, ScaleToZero), scaled, "{kind}");
            assert_eq!(told(group, kind, None, Delete), Fate::Deleted, "{kind}");
            assert_eq!(told(group, kind, None, Keep), Fate::Kept, "{kind}");
            assert_eq!(told(group, kind, Some(ScaleToZero), Delete), scaled, "{kind}");
            assert_eq!(told(group, kind, Some(Delete), Keep), Fate::Deleted, "{kind}");
            assert_eq!(told(group, kind, Some(Keep), Delete), Fate::Kept, "{kind}");
        }
    }

    #[test]
    fn what_the_payload_drops_goes_unless_its_annotation_keeps_it() {
        for kind in ["Deployment", "StatefulSet"] {
            assert_eq!(told("apps", kind, None, None), Fate::Deleted);
            assert_eq!(told("apps", kind, Some(ScaleToZero), None), Fate::Deleted);
            assert_eq!(told("apps", kind, Some(Keep), None), Fate::Kept);
        }
        assert_eq!(told("", "PersistentVolumeClaim", None, None), Fate::Kept);
    }

    #[test]
    fn a_claim_goes_only_where_its_own_annotation_says_so() {
        for policy in [Delete, ScaleToZero, Keep] {
            assert_eq!(told("", "PersistentVolumeClaim", None, policy), Fate::Kept);
            assert_eq!(
                told("", "PersistentVolumeClaim", Some(Delete), policy),
                Fate::Deleted
            );
        }
    }

    #[test]
    fn none_are_left_when_the_controller_has_seen_that_none_are_wanted() {
        let of = |wanted: i64, generation: i64, observed: Value, counted: Value| {
            let object = json!({"metadata": {"generation": generation}, "spec": {"replicas": wanted},
                                "status": {"observedGeneration": observed, "replicas": counted}});
            replicas(&object)
        };
        let is = |wanted, none_left| Replicas { wanted, none_left };
        assert_eq!(of(0, 2, 2.into(), Value::Null), is(0, true));
        assert_eq!(of(0, 2, 3.into(), 0.into()), is(0, true));
        assert_eq!(of(0, 2, 1.into(), 0.into()), is(0, false));
        assert_eq!(of(0, 2, Value::Null, 0.into()), is(0, false));
        assert_eq!(of(0, 2, 2.into(), 1.into()), is(0, false));
        assert_eq!(of(3, 2, 2.into(), 0.into()), is(3, false));
        assert_eq!(replicas(&json!({})), is(1, false));
    }
}
