#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;

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
            timing: TimingProfile::Balanced,
        }
    );
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
