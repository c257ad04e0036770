//! The MultiCluster resource as the API server serves it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use flagship::api::MultiCluster;
use flagship_testing::{Cluster, SharedClusters, TestResult, clusters};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::DeserializeGuard;
use serde_json::{Value, json};

static CLUSTER: SharedClusters<1> = SharedClusters::new(["newyork"]);

async fn cluster() -> flagship_testing::Result<&'static Cluster> {
    let [cluster] = CLUSTER.get().await?;
    cluster.install().await?;
    Ok(cluster)
}

/// MultiClusters, without regard to what this library makes of them.
fn members(cluster: &Cluster, namespace: &str) -> flagship_testing::Result<Api<DynamicObject>> {
    Ok(Api::namespaced_with(
        cluster.client()?,
        namespace,
        &ApiResource::erase::<MultiCluster>(&()),
    ))
}

fn member(name: &str, spec: Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "kube-vip.io/v1alpha1", "kind": "MultiCluster", "metadata": {"name": name}, "spec": spec,
    }))
    .unwrap()
}

/// A spec with the fields that are required, and one more.
fn with(field: &str, value: Value) -> Value {
    let mut spec = json!({"port": 9990, "callsign": "federation", "rank": 5});
    spec[field] = value;
    spec
}

/// An entry of `payloadFrom`.
fn source(kind: &str) -> Value {
    json!({kind: {"name": "app", "key": "manifests.yaml"}})
}

#[tokio::test]
async fn what_is_refused_is_refused_with_a_remedy() -> TestResult {
    let cluster = cluster().await?;
    let namespace = cluster.fresh_namespace("refused").await?;
    let members = members(cluster, &namespace)?;
    for (spec, told) in [
        (
            json!({"callsign": "federation", "rank": 5}),
            "spec.port: Required value",
        ),
        (
            with("port", json!(0)),
            "spec.port in body should be greater than or equal to 1",
        ),
        (
            with("port", json!(65_536)),
            "spec.port in body should be less than or equal to 65535",
        ),
        (with("callsign", json!("")), "spec.callsign"),
        (
            json!({"port": 9990, "rank": 5}),
            "write either callsign or callsignFrom",
        ),
        (
            with(
                "callsignFrom",
                json!({"secretKeyRef": {"name": "group", "key": "callsign"}}),
            ),
            "write either callsign or callsignFrom",
        ),
        (with("callsign", json!(" ")), "callsign must not be blank"),
        (
            with("callsign", json!("federation\n")),
            "nor begin or end with white space",
        ),
        (
            with("address", json!("newyork")),
            "address must be an IP address without a port",
        ),
        (
            with("serviceAddress", json!("0.0.0.0")),
            "an address that the other clusters can reach",
        ),
        (
            with("serviceAddress", json!("2001:db8::1")),
            "serviceAddress must be host or host:port",
        ),
        (
            with("serviceAddress", json!("https://newyork")),
            "serviceAddress must be host or host:port",
        ),
        (
            with("fleet", json!(["a:65536"])),
            "each entry of fleet must be host or host:port",
        ),
        (
            with("fleet", json!(["a", "a b"])),
            "each entry of fleet must be host or host:port",
        ),
        (
            with("fleet", json!(["a", "b", "a"])),
            "fleet must not name an address twice",
        ),
        (with("fleet", json!(vec!["a"; 65])), "must have at most 64 items"),
        (
            with("quorum", json!("All")),
            "supported values: \"Auto\", \"Majority\", \"None\"",
        ),
        (
            with("timing", json!({"profile": "Slow"})),
            "supported values: \"Fast\", \"Balanced\", \"Wide\"",
        ),
        (with("payload", json!("x".repeat((1 << 20) + 1))), "spec.payload"),
        (
            with("payloadFrom", json!([{}])),
            "each entry of payloadFrom must have either configMapKeyRef or secretKeyRef",
        ),
        (
            with(
                "payloadFrom",
                json!([source("configMapKeyRef"), source("configMapKeyRef")]),
            ),
            "payloadFrom must not name a key twice",
        ),
        (
            with("payloadFrom", json!([{"secretKeyRef": {"name": "app"}}])),
            "spec.payloadFrom[0].secretKeyRef.key: Required value",
        ),
        (
            with("serviceAccountName", json!("kube-system:admin")),
            "serviceAccountName must be the name of a ServiceAccount, without a namespace",
        ),
        (
            with("demotion", json!({"policy": "Drop"})),
            "supported values: \"Delete\", \"ScaleToZero\", \"Keep\"",
        ),
        (with("demotion", json!({"timeout": "0s"})), "must be more than 0"),
        (
            with("health", json!({"failureTimeout": "1 day"})),
            "spec.health.failureTimeout",
        ),
    ] {
        let shown = spec.to_string().chars().take(100).collect::<String>();
        match members
            .create(&PostParams::default(), &member("refused", spec))
            .await
        {
            Err(kube::Error::Api(status)) => {
                assert!(status.message.contains(told), "{shown}: {}", status.message)
            }
            other => panic!("{shown}: {other:?}"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_is_accepted_can_be_carried_out() -> TestResult {
    let cluster = cluster().await?;
    let namespace = cluster.fresh_namespace("accepted").await?;
    let members: Api<MultiCluster> = Api::namespaced(cluster.client()?, &namespace);
    for (name, spec) in [
        ("port", with("port", json!(65_535))),
        ("words", with("callsign", json!("a phrase of words"))),
        ("bind", with("address", json!("::"))),
        ("empty", with("serviceAddress", json!(""))),
        (
            "service",
            with("serviceAddress", json!("newyork.example.com.:7000")),
        ),
        (
            "fleet",
            with(
                "fleet",
                json!([
                    "a",
                    "A.b-c.example:1",
                    "[::1]",
                    "[2001:db8::1]:65535",
                    "1.2.3.4",
                    "1.2.3.4:9991"
                ]),
            ),
        ),
        ("rank", with("rank", json!(-1))),
        (
            "sources",
            with(
                "payloadFrom",
                json!([source("configMapKeyRef"), source("secretKeyRef")]),
            ),
        ),
        ("account", with("serviceAccountName", json!("deployer"))),
        (
            "demotion",
            with("demotion", json!({"policy": "Keep", "timeout": "1m30s"})),
        ),
        ("health", with("health", json!({"startupTimeout": "5m"}))),
    ] {
        let member = serde_json::from_value(serde_json::to_value(member(name, spec))?)?;
        let stored = members.create(&PostParams::default(), &member).await?;
        stored
            .spec
            .validate()
            .unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
    }
    Ok(())
}

#[tokio::test]
async fn what_is_left_out_is_filled_in_where_a_user_sees_it() -> TestResult {
    let cluster = cluster().await?;
    let namespace = cluster.fresh_namespace("defaults").await?;
    let members = members(cluster, &namespace)?;
    let stored = members
        .create(&PostParams::default(), &member("plain", with("rank", json!(5))))
        .await?;
    assert_eq!(
        stored.data["spec"],
        json!({
            "port": 9990, "callsign": "federation", "rank": 5, "ready": false, "address": "0.0.0.0", "fleet": [],
            "payload": "", "quorum": "Auto", "timing": {"profile": "Balanced"}, "role": "Candidate", "paused": false,
            "preemption": {"policy": "Always", "after": "0s"}, "onApiServerLoss": {"action": "Keep", "after": "1m"},
            "demotion": {"policy": "Delete", "timeout": "30s"}, "health": {"startupTimeout": "2m", "failureTimeout": "1m"},
        })
    );
    Ok(())
}

#[tokio::test]
async fn kubectl_shows_who_leads() -> TestResult {
    let cluster = cluster().await?;
    let namespace = cluster.fresh_namespace("columns").await?;
    let members = members(cluster, &namespace)?;
    members
        .create(&PostParams::default(), &member("newyork", with("rank", json!(5))))
        .await?;
    let status = json!({"status": {
        "leading": true, "role": "Leader", "term": 3, "leader": {"name": "newyork"},
        "conditions": [{"type": "Ready", "status": "True", "reason": "Leading", "message": "",
                        "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    }});
    members
        .patch_status("newyork", &PatchParams::default(), &Patch::Merge(&status))
        .await?;
    let shown = cluster.kubectl(&["get", "mc", "-n", &namespace]).await?;
    let rows: Vec<Vec<_>> = shown
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[0],
        [
            "NAME", "RANK", "ROLE", "LEADING", "LEADER", "TERM", "READY", "AGE"
        ]
    );
    assert_eq!(
        rows[1][..7],
        ["newyork", "5", "Leader", "true", "newyork", "3", "True"]
    );
    Ok(())
}

/// The schema by which kube-vip-multi-cluster describes its fields.
fn definition_of_the_seed_system() -> CustomResourceDefinition {
    let integer = json!({"type": "integer"});
    let text = json!({"type": "string"});
    let flag = json!({"type": "boolean"});
    serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "multiclusters.kube-vip.io"},
        "spec": {
            "group": "kube-vip.io", "scope": "Namespaced",
            "names": {"kind": "MultiCluster", "listKind": "MultiClusterList", "plural": "multiclusters", "singular": "multicluster"},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {
                        "type": "object", "required": ["callsign", "payload", "port", "rank", "ready"],
                        "properties": {"address": text, "callsign": text, "fleet": {"type": "array", "items": text},
                            "payload": text, "port": integer, "rank": integer, "ready": flag, "serviceAddress": text},
                    },
                    "status": {
                        "type": "object", "required": ["leaderAddress", "leading", "port", "ready"],
                        "properties": {"leaderAddress": text, "leading": flag, "port": integer, "ready": flag},
                    },
                }}},
            }],
        },
    }))
    .unwrap()
}

#[tokio::test]
async fn objects_of_the_seed_system_survive_the_change_of_schema() -> TestResult {
    let [cluster] = clusters(["oldtown"]).await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client()?);
    definitions
        .create(&PostParams::default(), &definition_of_the_seed_system())
        .await?;
    let members = members(&cluster, "default")?;
    cluster
        .wait_until("the old kind", Duration::from_secs(20), async |_| {
            members.list(&ListParams::default()).await.map(|_| true)
        })
        .await?;
    let mut seed = with("ready", json!(true));
    seed["serviceAddress"] = json!("172.18.100.100");
    seed["payload"] = json!("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\n");
    // The seed system minded neither of these.
    seed["fleet"] = json!(["172.18.100.200:9990", "172.18.100.200:9990"]);
    seed["address"] = json!("");
    members
        .create(&PostParams::default(), &member("newyork", seed))
        .await?;
    members.create(&PostParams::default(), &serde_json::from_value(json!({
        "apiVersion": "kube-vip.io/v1alpha1", "kind": "MultiCluster", "metadata": {"name": "without-a-spec"},
    }))?).await?;
    let old_status = json!({"status": {"leaderAddress": "", "leading": false, "port": 0, "ready": true}});
    members
        .patch_status("newyork", &PatchParams::default(), &Patch::Merge(&old_status))
        .await?;

    cluster.install().await?;
    let status = json!({"status": {"role": "Follower", "memory": {"record": "r", "digest": "d"}}});
    // The API server takes a moment to serve the new schema, and drops what the old one does not know.
    cluster
        .wait_until("the new schema", Duration::from_secs(20), async |_| {
            let written = members
                .patch_status("newyork", &PatchParams::default(), &Patch::Merge(&status))
                .await?;
            Ok::<_, kube::Error>(written.data.pointer("/status/memory/record") == Some(&json!("r")))
        })
        .await?;
    let finalizer = json!({"metadata": {"finalizers": ["flagship.dev/leave-group"]}});
    members
        .patch("newyork", &PatchParams::default(), &Patch::Merge(&finalizer))
        .await?;

    let read: Api<DeserializeGuard<MultiCluster>> = Api::namespaced(cluster.client()?, "default");
    let mut read: Vec<_> = read
        .list(&ListParams::default())
        .await?
        .items
        .into_iter()
        .collect();
    let unreadable = read.pop().unwrap().0.unwrap_err();
    assert_eq!(unreadable.metadata.name.as_deref(), Some("without-a-spec"));
    assert!(
        unreadable.error.contains("Missing field spec"),
        "{}",
        unreadable.error
    );
    let newyork = read.pop().unwrap().0?;
    assert_eq!(newyork.spec.validate().unwrap().fleet.len(), 1);
    assert!(newyork.status.unwrap().ready);
    Ok(())
}
