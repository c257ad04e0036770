#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;

fn spec(value: Value) -> MultiClusterSpec {
    serde_json::from_value(value).unwrap()
}

fn minimal() -> Value {
    json!({"port": 9990, "callsign": "federation", "rank": 5})
}

fn with(field: &str, value: Value) -> MultiClusterSpec {
    let mut fields = minimal();
    fields[field] = value;
    spec(fields)
}

/// The problems of a spec, as a user reads them.
fn problems(spec: &MultiClusterSpec) -> Vec<String> {
    spec.validate()
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn what_is_left_out_has_its_documented_default() {
    let valid = spec(minimal()).validate().unwrap();
    assert_eq!(
        valid,
        ValidSpec {
            listen: "0.0.0.0:9990".parse::<SocketAddr>().unwrap(),
            callsign: CallsignSource::Word("federation".into()),
            tls_secret: None,
            rank: 5,
            ready: false,
            service_address: None,
            fleet: vec![],
            quorum: QuorumMode::Auto,
            fencing: vec![],
            payload_from: vec![],
            service_account: None,
            demotion: DemotionPolicy::Delete,
            demotion_timeout: Duration::from_secs(30),
            startup_timeout: Duration::from_secs(120),
            failure_timeout: Duration::from_secs(60),
            timing: ValidTiming {
                profile: TimingProfile::Balanced,
                heartbeat: None,
                lease: None,
                stop_budget: None,
            },
            role: MemberRole::Candidate,
            preempt_after: Some(Duration::ZERO),
            fail_over_after: None,
            paused: false,
        }
    );
}

#[test]
fn periods_and_a_witness_that_founds_are_told_of() {
    let mut fields = minimal();
    fields["timing"] = json!({"lease": "soon"});
    fields["preemption"] = json!({"after": "-1s"});
    fields["role"] = json!("Witness");
    fields["ready"] = json!(true);
    let told = problems(&spec(fields));
    let begins: Vec<&str> = told
        .iter()
        .filter_map(|problem| problem.split(':').next())
        .collect();
    assert_eq!(
        begins,
        ["spec.timing.lease", "spec.preemption.after", "spec.ready"]
    );
    let mut fields = minimal();
    fields["timing"] = json!({"heartbeat": "200ms", "lease": "1500ms", "stopBudget": "1m"});
    fields["preemption"] = json!({"policy": "Never"});
    fields["onApiServerLoss"] = json!({"action": "Failover", "after": "90s"});
    let valid = spec(fields).validate().unwrap();
    assert_eq!(valid.timing.stop_budget, Some(Duration::from_secs(60)));
    assert_eq!(
        (valid.preempt_after, valid.fail_over_after),
        (None, Some(Duration::from_secs(90)))
    );
}

#[test]
fn the_loss_of_an_api_server_takes_some_time() {
    let mut fields = minimal();
    fields["onApiServerLoss"] = json!({"action": "Failover", "after": "0s"});
    let told = spec(fields.clone()).validate().unwrap_err();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].field, "spec.onApiServerLoss.after");
    fields["onApiServerLoss"]["action"] = json!("Keep");
    assert!(spec(fields).validate().is_ok(), "it is not gone by");
}

#[test]
fn an_empty_text_counts_as_left_out() {
    let mut fields = minimal();
    fields["address"] = json!("");
    fields["serviceAddress"] = json!("");
    assert_eq!(spec(fields).validate(), spec(minimal()).validate());
}

#[test]
fn the_fleet_names_each_member_once() {
    let mut fields = minimal();
    fields["serviceAddress"] = json!("172.18.100.100");
    fields["fleet"] = json!([
        "172.18.100.200",
        "172.18.100.100:9990",
        "172.18.100.200:9990",
        "Gotham.example:7000",
        "[::1]"
    ]);
    let fleet = spec(fields).validate().unwrap().fleet;
    let fleet: Vec<_> = fleet.iter().map(ToString::to_string).collect();
    assert_eq!(
        fleet,
        [
            "172.18.100.200:9990",
            "172.18.100.100:9990",
            "gotham.example:7000",
            "[::1]:9990"
        ]
    );
}

#[test]
fn every_problem_is_told_at_once_with_its_remedy() {
    let bad = spec(json!({
        "port": 99_999, "callsign": " ", "rank": 5, "address": "newyork", "serviceAddress": "0.0.0.0:80",
        "fleet": ["172.18.100.200:9990", "2001:db8::1"],
    }));
    assert_eq!(
        problems(&bad),
        [
            "spec.port: 99999 is not a TCP port: write a number from 1 to 65535",
            "spec.callsign: is blank: write the word that all members of the group share",
            "spec.address: \"newyork\" is not an IP address: write the one to listen on, or 0.0.0.0 for all; \
             the port stands in spec.port",
            "spec.serviceAddress: 0.0.0.0:80 is no address that other clusters can reach: write that of this \
             cluster's LoadBalancer Service",
            "spec.fleet[1]: write an IPv6 address in brackets, as in [2001:db8::1] or [2001:db8::1]:9990",
        ]
    );
}

#[test]
fn how_the_payload_is_brought_and_taken_down_is_read_with_its_remedies() {
    let mut fields = minimal();
    fields["payloadFrom"] = json!([
        {"configMapKeyRef": {"name": "app", "key": "manifests.yaml"}},
        {"secretKeyRef": {"name": "app", "key": "manifests.yaml"}},
    ]);
    fields["serviceAccountName"] = json!("deployer");
    fields["demotion"] = json!({"policy": "ScaleToZero"});
    fields["health"] = json!({"failureTimeout": "1m30s"});
    let valid = spec(fields).validate().unwrap();
    let sources: Vec<_> = valid.payload_from.iter().map(ToString::to_string).collect();
    assert_eq!(
        sources,
        [
            "key manifests.yaml of ConfigMap app",
            "key manifests.yaml of Secret app"
        ]
    );
    assert_eq!(
        (
            valid.service_account.as_deref(),
            valid.demotion,
            valid.demotion_timeout
        ),
        (
            Some("deployer"),
            DemotionPolicy::ScaleToZero,
            Duration::from_secs(30)
        )
    );
    assert_eq!(
        (valid.startup_timeout, valid.failure_timeout),
        (Duration::from_secs(120), Duration::from_secs(90))
    );

    let mut fields = minimal();
    fields["payloadFrom"] = json!([
        {"configMapKeyRef": {"name": "app", "key": "a"}, "secretKeyRef": {"name": "app", "key": "a"}},
        {},
        {"secretKeyRef": {"name": "App", "key": "a"}},
        {"secretKeyRef": {"name": "app", "key": "a/b"}},
        {"secretKeyRef": {"name": "app", "key": "a"}},
        {"secretKeyRef": {"name": "app", "key": "a"}},
    ]);
    fields["serviceAccountName"] = json!("kube-system:admin");
    fields["demotion"] = json!({"timeout": "30"});
    fields["health"] = json!({"startupTimeout": "0s", "failureTimeout": "2 days"});
    assert_eq!(
        problems(&spec(fields)),
        [
            "spec.payloadFrom[0]: write either configMapKeyRef or secretKeyRef",
            "spec.payloadFrom[1]: write either configMapKeyRef or secretKeyRef",
            "spec.payloadFrom[2]: \"App\" is not the name of a Secret: write up to 253 lower-case letters, digits, dashes and \
             dots",
            "spec.payloadFrom[3]: \"a/b\" is not a key of a Secret: write up to 253 letters, digits, dashes, dots and \
             underscores",
            "spec.payloadFrom[5]: key a of Secret app is named twice: remove one",
            "spec.serviceAccountName: \"kube-system:admin\" is not the name of a ServiceAccount: write its name only, without \
             a namespace",
            "spec.demotion.timeout: \"30\" is no length of time: write a number and a unit such as 500ms, 30s, 2m or 1h30m",
            "spec.health.failureTimeout: \"2 days\" is no length of time: write a number and a unit such as 500ms, 30s, 2m or \
             1h30m",
            "spec.health.startupTimeout: is no time at all: write more than 0",
        ]
    );
}

#[test]
fn who_is_fenced_is_read_with_its_remedies() {
    let member = |name: &str, secret: &str| json!({"name": name, "kubeConfigSecretRef": {"name": secret}});
    let valid = with("fencing", json!({"members": [member("newyork", "fence")]}));
    let reference = KubeConfigSecretRef {
        name: "fence".to_owned(),
        key: None,
    };
    assert_eq!(
        valid.validate().unwrap().fencing,
        [FencedMember {
            name: "newyork".to_owned(),
            kube_config_secret_ref: reference
        }]
    );
    let bad = [
        member("newyork", "fence"),
        member("newyork", "fence"),
        member("New York", "fence"),
        member("gotham", "fence,x=y"),
    ];
    assert_eq!(
        problems(&with("fencing", json!({ "members": bad }))),
        [
            "spec.fencing.members[1]: \"newyork\" is named twice: remove one",
            "spec.fencing.members[2]: \"New York\" is not the name of a MultiCluster: write one that status.members names",
            "spec.fencing.members[3].kubeConfigSecretRef: \"fence,x=y\" is not the name of a Secret: write that of one in this \
             namespace",
        ]
    );
}

#[test]
fn a_callsign_stands_in_one_place() {
    let reference = json!({"secretKeyRef": {"name": "group", "key": "callsign"}});
    let mut fields = minimal();
    fields["callsignFrom"] = reference;
    assert_eq!(
        problems(&spec(fields.clone())),
        ["spec.callsign: stands beside spec.callsignFrom: remove one of them"]
    );
    fields.as_object_mut().unwrap().remove("callsign");
    let secret = CallsignSource::Secret {
        name: "group".into(),
        key: "callsign".into(),
    };
    assert_eq!(spec(fields.clone()).validate().unwrap().callsign, secret);
    fields.as_object_mut().unwrap().remove("callsignFrom");
    assert!(problems(&spec(fields))[0].starts_with("spec.callsign: is missing"));
}

#[test]
fn bounds_hold_at_their_edges() {
    for (field, fits, too_much) in [
        ("port", json!(65_535), json!(65_536)),
        ("port", json!(1), json!(0)),
        ("port", json!(1), json!(-1)),
        ("callsign", json!("é".repeat(256)), json!("é".repeat(257))),
        ("callsign", json!("two words"), json!("federation\n")),
        (
            "payload",
            json!("x".repeat(1 << 20)),
            json!("x".repeat((1 << 20) + 1)),
        ),
        ("fleet", json!(vec!["a"; 64]), json!(vec!["a"; 65])),
    ] {
        with(field, fits)
            .validate()
            .unwrap_or_else(|problems| panic!("{field}: {problems:?}"));
        let told = with(field, too_much).validate().unwrap_err();
        assert_eq!(told.len(), 1, "{field}: {told:?}");
        assert_eq!(told[0].field, format!("spec.{field}"));
    }
}

#[test]
fn an_object_of_the_seed_system_is_read_with_its_status() {
    let object: MultiCluster = serde_json::from_value(json!({
        "apiVersion": "kube-vip.io/v1alpha1", "kind": "MultiCluster", "metadata": {"name": "newyork"},
        "spec": {"port": 9990, "callsign": "federation", "rank": 5, "ready": true, "payload": "",
                 "laterField": {"unknown": true}},
        "status": {"leaderAddress": "", "ready": true, "leading": false, "port": 0, "laterField": 1},
    }))
    .unwrap();
    assert!(object.spec.ready);
    assert!(object.status.unwrap().ready);
}

#[test]
fn the_fields_of_the_seed_system_are_always_written() {
    let status = serde_json::to_value(MultiClusterStatus::default()).unwrap();
    assert_eq!(
        status,
        json!({"leaderAddress": "", "ready": false, "leading": false, "port": 0})
    );
}

/// Walks a schema and calls `visit` with the path of each property.
fn each_property(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        visit(&path, property);
        each_property(property, &path, visit);
    }
    if schema["items"].is_object() {
        each_property(&schema["items"], &format!("{path}[]"), visit);
    }
}

fn schema() -> Value {
    let crd = serde_json::to_value(&crds()[0]).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn every_field_is_described_and_has_a_type() {
    each_property(&schema(), "", &mut |path, property| {
        assert!(
            property["description"]
                .as_str()
                .is_some_and(|text| text.len() > 3),
            "{path} has no description"
        );
        assert!(property["type"].is_string(), "{path} has no type: {property}");
    });
}

#[test]
fn only_what_the_seed_system_required_too_is_required() {
    let schema = schema();
    assert_eq!(schema["properties"]["spec"]["required"], json!(["port", "rank"]));
    assert_eq!(schema["properties"]["status"]["required"], Value::Null);
    assert_eq!(schema["required"], Value::Null);
}
