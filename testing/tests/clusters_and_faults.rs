//! Real clusters: started, used, broken and mended.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use flagship_testing::{Cluster, ClusterOptions, Error, Part, TestResult, clusters, start_clusters};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, ListParams};

const WEB: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx}]}
";

#[tokio::test]
async fn clusters_are_separate_and_their_controllers_work() -> TestResult {
    let [newyork, sheffield] = clusters(["newyork", "sheffield"]).await?;
    newyork.apply(WEB).await?;
    newyork
        .wait_until("a ReplicaSet of web", Duration::from_secs(20), async |client| {
            let sets = Api::<ReplicaSet>::namespaced(client, "shop")
                .list(&ListParams::default())
                .await?;
            Ok::<_, kube::Error>(sets.items.len() == 1)
        })
        .await?;
    assert!(
        Api::<Deployment>::namespaced(sheffield.client()?, "shop")
            .get_opt("web")
            .await?
            .is_none()
    );
    assert_ne!(newyork.ip(), sheffield.ip());
    assert_eq!(
        newyork
            .kubectl(&["get", "deployment", "-n", "shop", "-o", "name"])
            .await?,
        "deployment.apps/web\n"
    );
    Ok(())
}

#[tokio::test]
async fn a_lost_cluster_comes_back_with_its_objects() -> TestResult {
    let [newyork] = clusters(["newyork"]).await?;
    newyork
        .apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: kept}, data: {a: b}}")
        .await?;
    newyork.lose().await?;
    let client = newyork.client()?;
    let error = Api::<ConfigMap>::default_namespaced(client.clone())
        .get("kept")
        .await
        .unwrap_err();
    assert!(
        !matches!(error, kube::Error::Api(_)),
        "somebody answered: {error}"
    );
    newyork.bring_back().await?;
    let kept = Api::<ConfigMap>::default_namespaced(newyork.client()?)
        .get("kept")
        .await?;
    assert_eq!(kept.data.unwrap()["a"], "b");

    newyork.restart(Part::ApiServer).await?;
    Api::<ConfigMap>::default_namespaced(newyork.client()?)
        .get("kept")
        .await?;
    Ok(())
}

#[tokio::test]
async fn pods_become_ready_and_go_where_nodes_are_played() -> TestResult {
    let [newyork] = start_clusters([ClusterOptions::new("newyork").with_pods()]).await?;
    newyork.apply(WEB).await?;
    newyork
        .wait_until("a ready pod of web", Duration::from_secs(30), async |client| {
            let web = Api::<Deployment>::namespaced(client, "shop")
                .get_status("web")
                .await?;
            Ok::<_, kube::Error>(web.status.and_then(|status| status.ready_replicas) == Some(1))
        })
        .await?;
    let pods = Api::<Pod>::namespaced(newyork.client()?, "shop");
    let pod = pods.list(&ListParams::default()).await?.items.remove(0);
    assert!(pod.spec.unwrap().node_name.unwrap().starts_with("node-"));

    // The nodes go on being played at once, though leases of 40 s stand in the database.
    newyork.lose().await?;
    newyork.bring_back().await?;
    let delete = DeleteParams::foreground();
    Api::<Deployment>::namespaced(newyork.client()?, "shop")
        .delete("web", &delete)
        .await?;
    newyork
        .wait_until("no pod of web", Duration::from_secs(20), async |client| {
            let left = Api::<Pod>::namespaced(client, "shop")
                .list(&ListParams::default())
                .await?;
            Ok::<_, kube::Error>(left.items.is_empty())
        })
        .await?;
    Ok(())
}

/// Asks for what needs API server and etcd.
async fn answers(cluster: &Cluster) -> bool {
    let config_maps = Api::<ConfigMap>::default_namespaced(cluster.client().unwrap());
    matches!(
        tokio::time::timeout(Duration::from_secs(2), config_maps.get("kube-root-ca.crt")).await,
        Ok(Ok(_))
    )
}

#[tokio::test]
async fn each_part_is_frozen_thawed_killed_and_restarted_by_itself() -> TestResult {
    let [newyork] = clusters(["newyork"]).await?;
    newyork
        .wait_until("the root certificate", Duration::from_secs(20), async |client| {
            let config_maps = Api::<ConfigMap>::default_namespaced(client);
            config_maps
                .get_opt("kube-root-ca.crt")
                .await
                .map(|one| one.is_some())
        })
        .await?;
    assert!(answers(&newyork).await);

    for part in [Part::ApiServer, Part::Etcd] {
        newyork.freeze(part)?;
        assert!(!answers(&newyork).await, "{part:?} is frozen");
        newyork.thaw(part)?;
        assert!(answers(&newyork).await, "{part:?} is thawed");
        newyork.kill(part).await?;
        assert!(!answers(&newyork).await, "{part:?} is dead");
        assert!(matches!(newyork.freeze(part), Err(Error::NotRunning { .. })));
        newyork.restart(part).await?;
        assert!(answers(&newyork).await, "{part:?} is back");
    }

    // Without controllers a namespace gets no ServiceAccount.
    newyork.kill(Part::ControllerManager).await?;
    newyork
        .apply("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}")
        .await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let account = async |client| {
        Api::<ServiceAccount>::namespaced(client, "shop")
            .get_opt("default")
            .await
    };
    assert!(account(newyork.client()?).await?.is_none());
    newyork.restart(Part::ControllerManager).await?;
    newyork
        .wait_until("the ServiceAccount", Duration::from_secs(20), async |client| {
            account(client).await.map(|account| account.is_some())
        })
        .await?;

    newyork.freeze_all()?;
    assert!(!answers(&newyork).await);
    newyork.thaw_all()?;
    assert!(answers(&newyork).await);
    assert!(matches!(
        newyork.kill(Part::Scheduler).await,
        Err(Error::NoSuchPart { .. })
    ));
    Ok(())
}

#[tokio::test]
async fn what_does_not_happen_is_named_with_what_was_seen_last() -> TestResult {
    let [newyork] = clusters(["newyork"]).await?;
    let never = newyork.wait_until("the flood", Duration::from_millis(300), async |client| {
        Api::<ConfigMap>::default_namespaced(client)
            .get("flood")
            .await
            .map(|_| true)
    });
    let message = never.await.unwrap_err().to_string();
    for part in ["the flood", "newyork", "300ms", "\"flood\" not found"] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    let refused = newyork
        .apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: UPPER}}")
        .await;
    let message = refused.unwrap_err().to_string();
    assert!(
        message.contains("ConfigMap UPPER") && message.contains("newyork"),
        "{message}"
    );
    let unknown = newyork
        .apply("{apiVersion: v1, kind: Tide, metadata: {name: low}}")
        .await
        .unwrap_err()
        .to_string();
    assert!(unknown.contains("Tide"), "{unknown}");
    Ok(())
}
