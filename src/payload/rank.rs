//! In which order objects are created; they are removed in the reverse.

use crate::cluster::ObjectKey;

/// Kinds by rank, after Helm's well-known order: what others refer to comes first. What admits, converts or extends
/// requests comes last, since until its Pods run it would refuse everything that follows.
const RANKS: &[&[(&str, &str)]] = &[
    &[("", "Namespace")],
    &[("apiextensions.k8s.io", "CustomResourceDefinition")],
    &[
        ("scheduling.k8s.io", "PriorityClass"),
        ("node.k8s.io", "RuntimeClass"),
    ],
    &[
        ("networking.k8s.io", "NetworkPolicy"),
        ("", "ResourceQuota"),
        ("", "LimitRange"),
    ],
    &[("policy", "PodDisruptionBudget"), ("", "ServiceAccount")],
    &[("", "Secret"), ("", "ConfigMap")],
    &[
        ("storage.k8s.io", "StorageClass"),
        ("storage.k8s.io", "CSIDriver"),
    ],
    &[("", "PersistentVolume")],
    &[("", "PersistentVolumeClaim")],
    &[
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "Role"),
    ],
    &[
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
    ],
    &[
        ("", "Service"),
        ("", "Endpoints"),
        ("discovery.k8s.io", "EndpointSlice"),
    ],
    &[
        ("", "Pod"),
        ("", "ReplicationController"),
        ("apps", "DaemonSet"),
        ("apps", "Deployment"),
        ("apps", "ReplicaSet"),
        ("apps", "StatefulSet"),
        ("batch", "CronJob"),
        ("batch", "Job"),
    ],
    &[
        ("autoscaling", "HorizontalPodAutoscaler"),
        ("networking.k8s.io", "IngressClass"),
    ],
    &[("networking.k8s.io", "Ingress")],
];

/// After all known kinds, in the order of the payload.
const OTHER: usize = RANKS.len();

const LAST: &[(&str, &str)] = &[
    ("apiregistration.k8s.io", "APIService"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
];

/// The place of a kind in the order of creation. Objects of equal rank are written at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(usize);

impl Rank {
    pub(super) fn of(key: &ObjectKey) -> Self {
        let has = |kinds: &[(&str, &str)]| kinds.iter().any(|(group, kind)| key.is(group, kind));
        Self(match RANKS.iter().position(|kinds| has(kinds)) {
            Some(rank) => rank,
            None if has(LAST) => OTHER + 1,
            None => OTHER,
        })
    }

    /// Whether objects of this rank run processes of their own.
    pub(super) fn is_workload(self) -> bool {
        self.0 == WORKLOADS
    }

    /// Whether what it owns may run processes, so that its deletion must wait for that. The other kinds are deleted at
    /// once: the garbage collector would make each wait for its turn, some 50 ms with the limits that it usually has, to
    /// find nothing. Should somebody have made them own Pods all the same, the last sweep waits for these.
    pub(super) fn may_own_processes(self) -> bool {
        self.is_workload() || self.0 >= OTHER
    }

    /// When it is removed. Each object is sent its deletion in the reverse order of creation, but only the next stage
    /// waits until it is gone: among configuration, say, nobody depends on the order any more.
    pub(super) fn stage(self) -> Stage {
        match self.0 {
            0 => Stage::Namespaces,
            1 => Stage::Definitions,
            rank if rank < WORKLOADS => Stage::Configuration,
            WORKLOADS => Stage::Workloads,
            _ => Stage::Extensions,
        }
    }
}

/// The stages of a removal, the last first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Namespaces,
    Definitions,
    /// What workloads refer to.
    Configuration,
    /// What runs processes.
    Workloads,
    /// What refers to workloads, and what is served by them: custom resources, webhooks, Ingresses.
    Extensions,
}

const WORKLOADS: usize = 12;

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a test fails by panicking"
    )]

    use super::*;

    fn rank(group: &str, kind: &str) -> Rank {
        Rank::of(&ObjectKey {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: None,
            name: "x".to_owned(),
        })
    }

    #[test]
    fn what_is_referred_to_comes_first() {
        let order = [
            ("", "Namespace"),
            ("apiextensions.k8s.io", "CustomResourceDefinition"),
            ("", "ServiceAccount"),
            ("", "ConfigMap"),
            ("", "PersistentVolumeClaim"),
            ("rbac.authorization.k8s.io", "Role"),
            ("rbac.authorization.k8s.io", "RoleBinding"),
            ("", "Service"),
            ("apps", "Deployment"),
            ("networking.k8s.io", "Ingress"),
            ("example.com", "Widget"),
            ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ];
        assert!(order.is_sorted_by(|left, right| rank(left.0, left.1) < rank(right.0, right.1)));
        assert_eq!(rank("", "Secret"), rank("", "ConfigMap"));
        // A kind of the same name in another group is another kind.
        assert_eq!(
            rank("serving.knative.dev", "Service"),
            rank("example.com", "Widget")
        );
    }

    #[test]
    fn only_known_kinds_are_known_to_own_no_processes() {
        for (group, kind) in [
            ("", "Pod"),
            ("batch", "CronJob"),
            ("example.com", "Widget"),
            ("example.com", "Service"),
        ] {
            assert!(rank(group, kind).may_own_processes(), "{kind}");
        }
        for (group, kind) in [
            ("", "ConfigMap"),
            ("", "Service"),
            ("networking.k8s.io", "Ingress"),
        ] {
            assert!(!rank(group, kind).may_own_processes(), "{kind}");
        }
    }

    #[test]
    fn workloads_are_where_they_are_listed() {
        assert!(rank("apps", "StatefulSet").is_workload());
        assert_eq!(rank("apps", "StatefulSet").stage(), Stage::Workloads);
        assert_eq!(rank("", "Service").stage(), Stage::Configuration);
        assert_eq!(rank("networking.k8s.io", "Ingress").stage(), Stage::Extensions);
        assert_eq!(rank("example.com", "Widget").stage(), Stage::Extensions);
        assert_eq!(
            rank("apiextensions.k8s.io", "CustomResourceDefinition").stage(),
            Stage::Definitions
        );
        assert_eq!(rank("", "Namespace").stage(), Stage::Namespaces);
    }
}
