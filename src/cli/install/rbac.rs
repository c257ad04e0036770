//! The controller's rights: what it needs for itself, and what it may do for payloads.

use k8s_openapi::api::rbac::v1::{
    AggregationRule, ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::manifest::{CONTROLLER, metadata};
use crate::controller::SERVICE;

/// The label by which a ClusterRole becomes part of what payloads may contain.
const PAYLOAD_LABEL: &str = "flagship.dev/payload";
/// Applying, watching for drift and deleting. `update` is not among them: writes are creates and patches.
const PAYLOAD_VERBS: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];

const CONTROLLER_ROLE: &str = "flagship-controller";
const PAYLOAD_ROLE: &str = "flagship-payload";
const SECRETS_ROLE: &str = "flagship-secrets";
const REPLICAS_ROLE: &str = "flagship-replicas";

/// The ClusterRoles of an installation. The sum comes after its parts, so that an uninstall, which goes backwards,
/// deletes it before them: the other way round, Kubernetes would sum up what is left and so create it again.
pub(super) fn cluster_roles() -> Vec<ClusterRole> {
    vec![controller(), secrets(), workloads(), namespaces(), payload()]
}

/// The bindings of the controller's ServiceAccount in `namespace`.
pub(super) fn bindings(namespace: &str) -> Vec<ClusterRoleBinding> {
    [CONTROLLER_ROLE, SECRETS_ROLE, PAYLOAD_ROLE]
        .map(|role| ClusterRoleBinding {
            metadata: metadata(role, None),
            role_ref: role_ref("ClusterRole", role),
            subjects: Some(subjects(namespace)),
        })
        .into()
}

fn role_ref(kind: &str, name: &str) -> RoleRef {
    RoleRef {
        api_group: Some("rbac.authorization.k8s.io".to_owned()),
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

/// The controller's ServiceAccount.
fn subjects(namespace: &str) -> Vec<Subject> {
    vec![Subject {
        kind: "ServiceAccount".to_owned(),
        name: CONTROLLER.to_owned(),
        namespace: Some(namespace.to_owned()),
        ..Subject::default()
    }]
}

/// What the controllers of one cluster need to agree which of them is active, in their own namespace.
pub(super) fn replicas_role(namespace: &str) -> Role {
    Role {
        metadata: described(
            metadata(REPLICAS_ROLE, Some(namespace)),
            "Lets the controllers of a cluster agree which of them is active, and lead the Service to its Pod.",
        ),
        rules: Some(vec![
            // A creation names no object that could be permitted by its name.
            rule("coordination.k8s.io", &["leases"], &["get", "create", "patch"]),
            rule("", &["pods"], &["list", "patch"]),
        ]),
    }
}

/// Grants it.
pub(super) fn replicas_binding(namespace: &str) -> RoleBinding {
    RoleBinding {
        metadata: metadata(REPLICAS_ROLE, Some(namespace)),
        role_ref: role_ref("Role", REPLICAS_ROLE),
        subjects: Some(subjects(namespace)),
    }
}

fn controller() -> ClusterRole {
    let rules = vec![
        // The finalizer is written by a patch or an update of the object itself.
        rule(
            "kube-vip.io",
            &["multiclusters"],
            &["get", "list", "watch", "patch", "update"],
        ),
        rule(
            "kube-vip.io",
            &["multiclusters/status"],
            &["get", "patch", "update"],
        ),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
        // A stop must see that the Pods of what it removed have ended, whatever kinds payloads may contain.
        rule("", &["pods"], &["list"]),
        rule("apps", &["replicasets"], &["list"]),
        rule("batch", &["jobs"], &["list"]),
        // Its own Service tells the address of a member whose spec names none.
        PolicyRule {
            resource_names: Some(vec![SERVICE.to_owned()]),
            ..rule("", &["services"], &["get"])
        },
        // For spec.timing.onApiServerLoss, where not everybody may ask.
        PolicyRule {
            non_resource_urls: Some(vec!["/readyz".to_owned()]),
            verbs: vec!["get".to_owned()],
            ..PolicyRule::default()
        },
    ];
    role(CONTROLLER_ROLE, "What the controller needs for itself.", rules)
}

fn secrets() -> ClusterRole {
    let rules = vec![rule("", &["secrets"], &["get", "list", "watch"])];
    role(
        SECRETS_ROLE,
        "Lets MultiClusters have their callsigns, certificates and other members' kubeconfigs in Secrets. Bind it by RoleBindings instead, in the namespaces of those \
         MultiClusters, where the controller must not read other Secrets.",
        rules,
    )
}

/// The rules are filled in by Kubernetes, so the manifest must not name any: applying it again would empty them for a
/// moment in which payloads are forbidden.
fn payload() -> ClusterRole {
    ClusterRole {
        aggregation_rule: Some(AggregationRule {
            cluster_role_selectors: Some(vec![LabelSelector {
                match_labels: Some([(PAYLOAD_LABEL.to_owned(), "true".to_owned())].into()),
                match_expressions: None,
            }]),
        }),
        rules: None,
        ..role(
            PAYLOAD_ROLE,
            "What payloads may contain: the sum of all ClusterRoles labelled flagship.dev/payload=true.",
            vec![],
        )
    }
}

fn workloads() -> ClusterRole {
    let all = PAYLOAD_VERBS;
    payload_role(
        "flagship-payload-workloads",
        "Lets payloads contain the usual kinds. Delete it, or take kinds out, where payloads need less.",
        vec![
            rule(
                "",
                &[
                    "configmaps",
                    "persistentvolumeclaims",
                    "pods",
                    "secrets",
                    "serviceaccounts",
                    "services",
                ],
                all,
            ),
            rule(
                "apps",
                &["daemonsets", "deployments", "replicasets", "statefulsets"],
                all,
            ),
            rule("autoscaling", &["horizontalpodautoscalers"], all),
            rule("batch", &["cronjobs", "jobs"], all),
            rule("networking.k8s.io", &["ingresses", "networkpolicies"], all),
            rule("policy", &["poddisruptionbudgets"], all),
        ],
    )
}

/// A Namespace goes with all that is in it, so it is deleted only when nothing foreign is: whoever decides that must be
/// able to list what a Namespace may hold, beyond the kinds of [`workloads`].
fn namespaces() -> ClusterRole {
    let list = &["list"];
    payload_role(
        "flagship-payload-namespaces",
        "Lets payloads contain Namespaces and CustomResourceDefinitions. Delete it where payloads have neither. \
         A Namespace is deleted only when it is seen to hold nothing foreign, so kinds that may not be listed keep it.",
        vec![
            rule("", &["namespaces"], PAYLOAD_VERBS),
            rule(
                "apiextensions.k8s.io",
                &["customresourcedefinitions"],
                PAYLOAD_VERBS,
            ),
            rule(
                "",
                &[
                    "endpoints",
                    "events",
                    "limitranges",
                    "podtemplates",
                    "replicationcontrollers",
                    "resourcequotas",
                ],
                list,
            ),
            rule("apiregistration.k8s.io", &["apiservices"], list),
            rule("apps", &["controllerrevisions"], list),
            rule("coordination.k8s.io", &["leases"], list),
            rule("discovery.k8s.io", &["endpointslices"], list),
            rule("events.k8s.io", &["events"], list),
            rule("kube-vip.io", &["multiclusters"], list),
            rule("metrics.k8s.io", &["pods"], list),
            rule("rbac.authorization.k8s.io", &["rolebindings", "roles"], list),
            rule(
                "resource.k8s.io",
                &["resourceclaims", "resourceclaimtemplates"],
                list,
            ),
            rule("storage.k8s.io", &["csistoragecapacities"], list),
        ],
    )
}

fn payload_role(name: &str, description: &str, rules: Vec<PolicyRule>) -> ClusterRole {
    let mut role = role(name, description, rules);
    role.metadata
        .labels
        .get_or_insert_default()
        .insert(PAYLOAD_LABEL.to_owned(), "true".to_owned());
    role
}

fn role(name: &str, description: &str, rules: Vec<PolicyRule>) -> ClusterRole {
    ClusterRole {
        metadata: described(metadata(name, None), description),
        rules: Some(rules),
        aggregation_rule: None,
    }
}

fn described(metadata: ObjectMeta, description: &str) -> ObjectMeta {
    ObjectMeta {
        annotations: Some([("kubernetes.io/description".to_owned(), description.to_owned())].into()),
        ..metadata
    }
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..PolicyRule::default()
    }
}
