//! Clusters that several tests use at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::sync::Mutex;

use flagship_testing::{SharedClusters, TestResult};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::ListParams;

static CLUSTERS: SharedClusters<1> = SharedClusters::new(["newyork"]);
static NAMESPACES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Each test has an async runtime of its own, and the one that started the clusters may be gone first.
async fn use_a_namespace_of_my_own() -> TestResult {
    let [newyork] = CLUSTERS.get().await?;
    let namespace = newyork.fresh_namespace("shared").await?;
    newyork
        .apply_in(
            &namespace,
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: mine}}",
        )
        .await?;
    let mine = Api::<ConfigMap>::namespaced(newyork.client()?, &namespace);
    let selected = ListParams::default().fields("metadata.name=mine");
    assert_eq!(mine.list(&selected).await?.items.len(), 1);
    assert!(
        NAMESPACES.lock().unwrap().insert(namespace),
        "a namespace was given twice"
    );
    Ok(())
}

#[tokio::test]
async fn one() -> TestResult {
    use_a_namespace_of_my_own().await
}

#[tokio::test]
async fn another() -> TestResult {
    use_a_namespace_of_my_own().await
}

#[tokio::test]
async fn a_third() -> TestResult {
    use_a_namespace_of_my_own().await
}
