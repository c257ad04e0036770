//! The objects that make an installation.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, Container, ContainerPort, HTTPGetAction, Namespace, PodAffinityTerm,
    PodAntiAffinity, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements,
    SeccompProfile, SecurityContext, Service, ServiceAccount, ServicePort, ServiceSpec,
    WeightedPodAffinityTerm,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Serialize;

use super::rbac;
use crate::api;
use crate::controller::{ACTIVE_LABEL, SERVICE};

/// Name of the Deployment and of the ServiceAccount.
pub(in crate::cli) const CONTROLLER: &str = "flagship";
/// The label that every object of an installation bears, with [`CONTROLLER`] as its value.
pub(in crate::cli) const PART_OF: &str = "app.kubernetes.io/part-of";
/// Where the controller serves its health and metrics, inside the cluster only.
const METRICS_PORT: u16 = 8080;
/// The user `nonroot` of distroless images.
const NONROOT: i64 = 65_532;
/// How long a stopping controller may take: 30 s for the payload's Pods, which is the default of their own grace period,
/// 15 s for the longest stop budget of the timing profiles, and 15 s for an API server that is slow to answer.
const TERMINATION_GRACE_SECONDS: i64 = 60;

/// What differs between installations.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Settings {
    /// Image of the controller.
    pub(in crate::cli) image: String,
    /// Namespace of the controller.
    pub(in crate::cli) namespace: String,
    /// Ports on which MultiClusters listen.
    pub(in crate::cli) ports: Vec<u16>,
    /// The address to ask the load balancer for.
    pub(in crate::cli) service_address: Option<IpAddr>,
}

/// One object of an installation.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(in crate::cli) enum Object {
    Namespace(Namespace),
    CustomResourceDefinition(Box<CustomResourceDefinition>),
    ServiceAccount(ServiceAccount),
    ClusterRole(ClusterRole),
    ClusterRoleBinding(ClusterRoleBinding),
    Role(Role),
    RoleBinding(RoleBinding),
    Deployment(Box<Deployment>),
    Service(Box<Service>),
}

impl Settings {
    /// The installation's objects, in the order in which they can be applied.
    pub(in crate::cli) fn objects(&self) -> Vec<Object> {
        let mut objects = vec![Object::Namespace(namespace(&self.namespace))];
        objects.extend(
            api::crds()
                .into_iter()
                .map(|crd| Object::CustomResourceDefinition(Box::new(crd))),
        );
        objects.push(Object::ServiceAccount(ServiceAccount {
            metadata: metadata(CONTROLLER, Some(&self.namespace)),
            ..ServiceAccount::default()
        }));
        objects.extend(rbac::cluster_roles().into_iter().map(Object::ClusterRole));
        objects.extend(
            rbac::bindings(&self.namespace)
                .into_iter()
                .map(Object::ClusterRoleBinding),
        );
        objects.push(Object::Role(rbac::replicas_role(&self.namespace)));
        objects.push(Object::RoleBinding(rbac::replicas_binding(&self.namespace)));
        objects.push(Object::Deployment(Box::new(self.deployment())));
        objects.push(Object::Service(Box::new(self.service())));
        objects
    }

    fn deployment(&self) -> Deployment {
        Deployment {
            metadata: metadata(CONTROLLER, Some(&self.namespace)),
            spec: DeploymentSpec {
                // One is active, the other takes its place within two seconds.
                replicas: Some(2),
                selector: LabelSelector {
                    match_labels: Some(pod_labels()),
                    match_expressions: None,
                },
                template: PodTemplateSpec {
                    metadata: Some(ObjectMeta {
                        labels: Some(pod_labels()),
                        ..ObjectMeta::default()
                    }),
                    spec: Some(self.pod()),
                },
                ..DeploymentSpec::default()
            },
            status: None,
        }
    }

    fn pod(&self) -> PodSpec {
        PodSpec {
            service_account_name: Some(CONTROLLER.to_owned()),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(TERMINATION_GRACE_SECONDS),
            affinity: Some(apart()),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(NONROOT),
                run_as_group: Some(NONROOT),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    ..SeccompProfile::default()
                }),
                ..PodSecurityContext::default()
            }),
            containers: vec![self.container()],
            ..PodSpec::default()
        }
    }

    fn container(&self) -> Container {
        let mut ports: Vec<_> = self
            .distinct_ports()
            .map(|port| container_port(&election(port), port))
            .collect();
        ports.push(container_port("metrics", METRICS_PORT));
        Container {
            name: "controller".to_owned(),
            image: Some(self.image.clone()),
            args: Some(vec![
                "controller".to_owned(),
                format!("--metrics-address=0.0.0.0:{METRICS_PORT}"),
            ]),
            ports: Some(ports),
            // Half a minute: a stall that long has cost the member its leadership anyway.
            liveness_probe: Some(Probe {
                period_seconds: Some(10),
                failure_threshold: Some(3),
                ..probe("/livez")
            }),
            readiness_probe: Some(Probe {
                period_seconds: Some(5),
                ..probe("/readyz")
            }),
            resources: Some(ResourceRequirements {
                requests: Some(quantities(&[("cpu", "10m"), ("memory", "32Mi")])),
                // No limit of the CPU: a throttled controller would miss its heartbeats.
                limits: Some(quantities(&[("memory", "128Mi")])),
                ..ResourceRequirements::default()
            }),
            security_context: Some(SecurityContext {
                allow_privilege_escalation: Some(false),
                read_only_root_filesystem: Some(true),
                capabilities: Some(Capabilities {
                    drop: Some(vec!["ALL".to_owned()]),
                    add: None,
                }),
                ..SecurityContext::default()
            }),
            ..Container::default()
        }
    }

    fn service(&self) -> Service {
        let ports = self.distinct_ports().map(|port| ServicePort {
            name: Some(election(port)),
            port: port.into(),
            target_port: Some(IntOrString::String(election(port))),
            protocol: Some("TCP".to_owned()),
            ..ServicePort::default()
        });
        Service {
            metadata: metadata(SERVICE, Some(&self.namespace)),
            spec: Some(ServiceSpec {
                type_: Some("LoadBalancer".to_owned()),
                load_balancer_ip: self.service_address.map(|ip| ip.to_string()),
                // A controller that has lost its API server is not ready, but must go on talking to the other clusters.
                publish_not_ready_addresses: Some(true),
                selector: Some(active_pod_labels()),
                ports: Some(ports.collect()),
                ..ServiceSpec::default()
            }),
            status: None,
        }
    }

    /// The ports in the order given, each once: a Service takes none twice.
    fn distinct_ports(&self) -> impl Iterator<Item = u16> {
        self.ports
            .iter()
            .enumerate()
            .filter(|(index, port)| !self.ports[..*index].contains(port))
            .map(|(_, port)| *port)
    }
}

/// Whether an object bears the mark of an installation.
pub(in crate::cli) fn is_ours(metadata: &ObjectMeta) -> bool {
    metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(PART_OF))
        .is_some_and(|value| value == CONTROLLER)
}

/// Metadata with the labels of an installation.
pub(super) fn metadata(name: &str, namespace: Option<&str>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: namespace.map(str::to_owned),
        labels: Some(labels()),
        ..ObjectMeta::default()
    }
}

fn labels() -> BTreeMap<String, String> {
    [("app.kubernetes.io/name", CONTROLLER), (PART_OF, CONTROLLER)]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into()
}

/// Labels by which the Deployment finds the controllers' Pods.
fn pod_labels() -> BTreeMap<String, String> {
    let mut labels = labels();
    labels.insert("app.kubernetes.io/component".to_owned(), "controller".to_owned());
    labels
}

/// Labels by which the Service finds that of the active controller.
fn active_pod_labels() -> BTreeMap<String, String> {
    let mut labels = pod_labels();
    labels.insert(ACTIVE_LABEL.to_owned(), "true".to_owned());
    labels
}

/// What a node takes with it should not be both controllers, where there is another node.
fn apart() -> Affinity {
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                weight: 100,
                pod_affinity_term: PodAffinityTerm {
                    label_selector: Some(LabelSelector {
                        match_labels: Some(pod_labels()),
                        match_expressions: None,
                    }),
                    topology_key: "kubernetes.io/hostname".to_owned(),
                    ..PodAffinityTerm::default()
                },
            }]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn namespace(name: &str) -> Namespace {
    let mut metadata = metadata(name, None);
    let restricted = ["enforce", "audit", "warn"].map(|mode| {
        (
            format!("pod-security.kubernetes.io/{mode}"),
            "restricted".to_owned(),
        )
    });
    metadata.labels.get_or_insert_default().extend(restricted);
    Namespace {
        metadata,
        ..Namespace::default()
    }
}

/// Name of an election port. Pods and Services allow 15 characters.
fn election(port: u16) -> String {
    format!("election-{port}")
}

fn container_port(name: &str, port: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: port.into(),
        ..ContainerPort::default()
    }
}

fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("metrics".to_owned()),
            ..HTTPGetAction::default()
        }),
        timeout_seconds: Some(3),
        ..Probe::default()
    }
}

fn quantities(pairs: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Quantity((*value).to_owned())))
        .collect()
}
