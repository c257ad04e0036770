#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};

use super::*;

fn defaults() -> Settings {
    Settings {
        image: concat!("flagship:", env!("CARGO_PKG_VERSION")).to_owned(),
        namespace: DEFAULT_NAMESPACE.to_owned(),
        ports: vec![9990],
        service_address: None,
    }
}

fn object(settings: &Settings, kind: &str, name: &str) -> Value {
    let list: Value = serde_json::from_str(&text(settings, Format::Json).unwrap()).unwrap();
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .find(|item| item["kind"] == kind && item["metadata"]["name"] == name)
        .unwrap()
        .clone()
}

#[test]
fn the_checked_in_file_is_current() {
    let checked_in = include_str!("../../../manifests/install.yaml");
    assert!(
        text(&defaults(), Format::Yaml).unwrap() == checked_in,
        "manifests/install.yaml is out of date: run `make fix`"
    );
}

#[test]
fn the_options_reach_the_objects() {
    let settings = Settings {
        image: "registry.example/flagship:2".to_owned(),
        namespace: "elsewhere".to_owned(),
        ports: vec![9991, 9990, 9991],
        service_address: Some("172.18.100.100".parse().unwrap()),
    };
    let service = object(&settings, "Service", "multi-cluster");
    assert_eq!(service["spec"]["loadBalancerIP"], "172.18.100.100");
    let ports = |key: &str, list: &Value| {
        list.as_array()
            .unwrap()
            .iter()
            .map(|port| port[key].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(ports("port", &service["spec"]["ports"]), [9991, 9990]);
    let deployment = object(&settings, "Deployment", "flagship");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "registry.example/flagship:2");
    assert_eq!(ports("containerPort", &container["ports"]), [9991, 9990, 8080]);

    let list: Value = serde_json::from_str(&text(&settings, Format::Json).unwrap()).unwrap();
    assert!(
        !list.to_string().contains(DEFAULT_NAMESPACE),
        "an object stayed in the default namespace"
    );
    assert_eq!(
        object(&settings, "ClusterRoleBinding", "flagship-payload")["subjects"][0]["namespace"],
        "elsewhere"
    );
}

#[test]
fn every_object_bears_the_mark_by_which_it_is_uninstalled() {
    let list: Value = serde_json::from_str(&text(&defaults(), Format::Json).unwrap()).unwrap();
    for item in list["items"].as_array().unwrap() {
        assert!(
            is_ours(&serde_json::from_value(item["metadata"].clone()).unwrap()),
            "{}",
            item["metadata"]
        );
    }
}

#[test]
fn the_service_selects_the_pods_of_the_deployment() {
    let mut selector = object(&defaults(), "Service", "multi-cluster")["spec"]["selector"].clone();
    let active = selector.as_object_mut().unwrap().remove("flagship.dev/active");
    assert_eq!(active, Some(json!("true")), "the others could not answer");
    let deployment = object(&defaults(), "Deployment", "flagship");
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], selector);
    assert_eq!(deployment["spec"]["template"]["metadata"]["labels"], selector);
}

#[test]
fn the_controller_has_a_replica_on_another_node() {
    let deployment = object(&defaults(), "Deployment", "flagship");
    assert_eq!(deployment["spec"]["replicas"], 2);
    let pod = &deployment["spec"]["template"]["spec"];
    let terms = &pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"];
    assert_eq!(
        terms[0]["podAffinityTerm"]["topologyKey"],
        "kubernetes.io/hostname"
    );
    let theirs = &terms[0]["podAffinityTerm"]["labelSelector"]["matchLabels"];
    assert_eq!(*theirs, deployment["spec"]["selector"]["matchLabels"]);
}

/// However little payloads may contain, a stop lists these once a workload was there.
#[test]
fn the_controller_may_see_pods_end_without_any_right_of_payloads() {
    let role = object(&defaults(), "ClusterRole", "flagship-controller");
    for (group, resource) in [("", "pods"), ("apps", "replicasets"), ("batch", "jobs")] {
        let rule = json!({"apiGroups": [group], "resources": [resource], "verbs": ["list"]});
        assert!(role["rules"].as_array().unwrap().contains(&rule), "{rule}");
    }
}

#[test]
fn nothing_is_granted_by_wildcard() {
    let list: Value = serde_json::from_str(&text(&defaults(), Format::Json).unwrap()).unwrap();
    for role in list["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["kind"] == "ClusterRole" || item["kind"] == "Role")
    {
        for rule in role["rules"].as_array().into_iter().flatten() {
            assert!(!rule.to_string().contains('*'), "{rule}");
        }
    }
}
