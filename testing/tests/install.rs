//! Installing Flagship, what that grants, and removing it again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::time::Duration;

use flagship_testing::{Cluster, TestResult, clusters};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

const ACCOUNT: &str = "system:serviceaccount:flagship-system:flagship";

fn manifest(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../manifests")
        .join(name)
        .to_str()
        .unwrap()
        .to_owned()
}

/// Installs as a user does, the Deployment included. Its image is nowhere, so its Pod never runs.
async fn install(cluster: &Cluster) -> flagship_testing::Result<()> {
    cluster
        .kubectl(&["apply", "--server-side", "-f", &manifest("install.yaml")])
        .await?;
    cluster
        .kubectl(&[
            "wait",
            "--for=condition=Established",
            "crd/multiclusters.kube-vip.io",
            "--timeout=20s",
        ])
        .await?;
    Ok(())
}

/// Gives a MultiCluster the finalizer and the status that a leading controller gives it.
async fn lead(cluster: &Cluster, name: &str) -> flagship_testing::Result<()> {
    let finalizers = json!({"metadata": {"finalizers": [flagship::api::FINALIZER]}}).to_string();
    cluster
        .kubectl(&["patch", "multicluster", name, "--type=merge", "-p", &finalizers])
        .await?;
    let status = json!({"status": {"leading": true, "payload": {"objects": [
        {"group": "apps", "version": "v1", "kind": "Deployment", "namespace": "default", "name": "nginx",
         "owned": true, "state": "Applied"},
    ]}}})
    .to_string();
    cluster
        .kubectl(&[
            "patch",
            "multicluster",
            name,
            "--subresource=status",
            "--type=merge",
            "-p",
            &status,
        ])
        .await?;
    Ok(())
}

/// What `flagship uninstall` with these arguments said, and whether it succeeded.
async fn uninstall(cluster: &Cluster, arguments: &[&str]) -> flagship_testing::Result<(bool, String)> {
    let output = cluster.flagship(&[&["uninstall"], arguments].concat()).await?;
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}

async fn exists(cluster: &Cluster, kind_and_name: &[&str]) -> flagship_testing::Result<bool> {
    let found = cluster
        .kubectl(&[&["get", "--ignore-not-found", "-o", "name"], kind_and_name].concat())
        .await?;
    Ok(!found.is_empty())
}

async fn may(cluster: &Cluster, verb: &str, resource: &str) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let subresource = format!("--subresource={subresource}");
    let asked = [
        "auth",
        "can-i",
        verb,
        resource,
        &subresource,
        "--all-namespaces",
        "--as",
        ACCOUNT,
    ];
    // The answer "no" is also an exit code.
    cluster.kubectl(&asked).await.is_ok()
}

#[tokio::test]
async fn the_installation_grants_what_it_says_and_no_more() -> TestResult {
    let [cluster] = clusters(["newyork"]).await?;
    install(&cluster).await?;
    let pods: Api<Pod> = Api::namespaced(cluster.client()?, "flagship-system");
    cluster
        .wait_until(
            "both controllers' Pods, admitted under the restricted profile",
            Duration::from_secs(30),
            async |_| {
                pods.list(&ListParams::default())
                    .await
                    .map(|pods| pods.items.len() == 2)
            },
        )
        .await?;
    let roles: Api<ClusterRole> = Api::all(cluster.client()?);
    cluster
        .wait_until("the aggregated rules", Duration::from_secs(30), async |_| {
            let rules = roles.get("flagship-payload").await?.rules.unwrap_or_default();
            Ok::<_, kube::Error>(
                rules
                    .iter()
                    .any(|rule| rule.resources.iter().flatten().any(|name| name == "deployments")),
            )
        })
        .await?;
    for (verb, resource) in [
        ("watch", "multiclusters.kube-vip.io"),
        ("patch", "multiclusters.kube-vip.io/status"),
        ("create", "events.events.k8s.io"),
        ("create", "deployments.apps"),
        ("delete", "persistentvolumeclaims"),
        ("delete", "namespaces"),
        ("list", "leases.coordination.k8s.io"),
    ] {
        assert!(may(&cluster, verb, resource).await, "may not {verb} {resource}");
    }
    for (verb, resource) in [
        ("create", "multiclusters.kube-vip.io"),
        ("delete", "multiclusters.kube-vip.io"),
        ("create", "roles.rbac.authorization.k8s.io"),
        ("escalate", "clusterroles.rbac.authorization.k8s.io"),
        ("impersonate", "users"),
        ("impersonate", "serviceaccounts"),
        ("get", "nodes"),
        ("create", "pods/exec"),
        ("create", "serviceaccounts/token"),
        ("list", "priorityclasses.scheduling.k8s.io"),
        // In its own namespace only, where the controllers agree which of them is active.
        ("patch", "leases.coordination.k8s.io"),
    ] {
        assert!(!may(&cluster, verb, resource).await, "may {verb} {resource}");
    }

    let priorities: ClusterRole = serde_json::from_value(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "priorities", "labels": {"flagship.dev/payload": "true"}},
        "rules": [{"apiGroups": ["scheduling.k8s.io"], "resources": ["priorityclasses"], "verbs": ["list"]}],
    }))?;
    roles
        .patch(
            "priorities",
            &PatchParams::apply("test"),
            &Patch::Apply(&priorities),
        )
        .await?;
    cluster
        .wait_until(
            "the right that a labelled role adds",
            Duration::from_secs(30),
            async |_| Ok::<_, kube::Error>(may(&cluster, "list", "priorityclasses.scheduling.k8s.io").await),
        )
        .await?;
    Ok(())
}

#[tokio::test]
async fn the_samples_apply_and_uninstalling_leaves_nothing_of_ours() -> TestResult {
    let [cluster] = clusters(["newyork"]).await?;
    install(&cluster).await?;
    cluster.kubectl(&["apply", "-f", &manifest("samples")]).await?;

    let (done, said) = uninstall(&cluster, &[]).await?;
    assert!(
        !done && said.contains("run the command in a terminal, or with --yes"),
        "{said}"
    );
    assert!(exists(&cluster, &["multicluster", "newyork"]).await?);

    let (done, said) = uninstall(&cluster, &["--yes"]).await?;
    assert!(done, "{said}");
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client()?);
    assert!(definitions.get_opt("multiclusters.kube-vip.io").await?.is_none());
    let namespaces: Api<Namespace> = Api::all(cluster.client()?);
    assert!(namespaces.get_opt("flagship-system").await?.is_none());
    let ours = cluster
        .kubectl(&[
            "get",
            "clusterroles,clusterrolebindings",
            "-l",
            "app.kubernetes.io/part-of=flagship",
            "-o",
            "name",
        ])
        .await?;
    assert_eq!(ours, "");

    let (done, said) = uninstall(&cluster, &["--yes"]).await?;
    assert!(
        done && said.is_empty(),
        "a second run must find nothing to do: {said}"
    );
    Ok(())
}

#[tokio::test]
async fn without_a_controller_nothing_goes_unless_forced_and_nothing_foreign_goes_at_all() -> TestResult {
    let [cluster] = clusters(["newyork"]).await?;
    install(&cluster).await?;
    cluster
        .kubectl(&["apply", "-f", &manifest("samples/newyork.yaml")])
        .await?;
    lead(&cluster, "newyork").await?;
    cluster
        .kubectl(&["create", "configmap", "mine", "-n", "flagship-system"])
        .await?;
    cluster
        .kubectl(&[
            "label",
            "clusterrole",
            "flagship-payload-workloads",
            "app.kubernetes.io/part-of-",
        ])
        .await?;

    let (done, said) = uninstall(&cluster, &["--yes", "--timeout", "2"]).await?;
    assert!(!done, "{said}");
    for part in [
        "Deployment flagship-system/flagship) is not available",
        "1 MultiCluster still there after 2 s: default/newyork",
        "--force",
    ] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    let deployments: Api<Deployment> = Api::namespaced(cluster.client()?, "flagship-system");
    assert!(
        deployments.get_opt("flagship").await?.is_some(),
        "the controller went before its MultiClusters"
    );

    let (done, said) = uninstall(&cluster, &["--yes", "--timeout", "0", "--force"]).await?;
    assert!(done, "{said}");
    assert!(
        said.contains("stays behind and runs on: Deployment default/nginx;"),
        "{said}"
    );
    assert!(
        said.contains("left Namespace flagship-system: it also holds ConfigMap mine."),
        "{said}"
    );
    assert!(
        said.contains("left ClusterRole flagship-payload-workloads: it does not bear the label"),
        "{said}"
    );
    let foreign: Api<ConfigMap> = Api::namespaced(cluster.client()?, "flagship-system");
    assert!(foreign.get_opt("mine").await?.is_some());
    assert!(exists(&cluster, &["clusterrole", "flagship-payload-workloads"]).await?);
    assert!(!exists(&cluster, &["crd", "multiclusters.kube-vip.io"]).await?);
    assert!(deployments.get_opt("flagship").await?.is_none());
    Ok(())
}
