//! What stays when the rest goes, and what waits for what.

use flagship::api::ObjectState;
use flagship_testing::TestResult;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::lone::{Lone, api, config_map};
use super::ownership::definition;
use super::site;

const CLAIM: &str = "---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: NAME, annotations: {ANNOTATIONS}}
spec: {accessModes: [ReadWriteOnce], storageClassName: none, resources: {requests: {storage: 1Gi}}}
";

fn claim(name: &str, annotations: &str) -> String {
    CLAIM.replace("NAME", name).replace("ANNOTATIONS", annotations)
}

#[tokio::test]
async fn claims_stay_when_they_are_dropped_and_when_all_goes_and_are_taken_up_again() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("claims").await?;
    let rest = config_map("web", "mode", "ours")
        + &config_map("kept", "mode", "ours").replace(
            "name: kept",
            "name: kept, annotations: {flagship.dev/on-demotion: Keep}",
        );
    let payload = claim("data", "") + &claim("scratch", "flagship.dev/on-demotion: Delete") + &rest;
    let lone = Lone::launch(site, &namespace, &payload).await?;
    lone.until_applied().await?;
    let claims = api(site.client()?, "v1", "PersistentVolumeClaim", &namespace);
    let config_maps = api(site.client()?, "v1", "ConfigMap", &namespace);
    let data = claims.get("data").await?.uid();

    lone.edit(&config_map("web", "mode", "ours")).await?;
    lone.until_applied().await?;
    lone.until_gone("v1", "PersistentVolumeClaim", "scratch").await?;
    for (kind, name) in [("PersistentVolumeClaim", "data"), ("ConfigMap", "kept")] {
        let message = lone.until_state(kind, name, ObjectState::Kept).await?;
        assert!(message.contains("left in place by policy"), "{message}");
    }

    lone.edit(&payload).await?;
    lone.until_applied().await?;
    lone.until_state("PersistentVolumeClaim", "data", ObjectState::Applied)
        .await?;
    assert_eq!(
        claims.get("data").await?.uid(),
        data,
        "the same claim with its data"
    );

    lone.delete().await?;
    assert_eq!(claims.get("data").await?.uid(), data);
    assert!(config_maps.get_opt("kept").await?.is_some());
    for (api, name) in [(&claims, "scratch"), (&config_maps, "web")] {
        let left = api.get_opt(name).await?;
        assert!(
            left.is_none_or(|left| left.metadata.deletion_timestamp.is_some()),
            "{name}"
        );
    }
    lone.until_event(
        "PayloadStopped",
        &format!("PersistentVolumeClaim {namespace}/data"),
    )
    .await?;

    // A MultiCluster made anew under the name takes up what its predecessor left.
    let again = Lone::launch(site, &namespace, &payload).await?;
    again.until_applied().await?;
    assert_eq!(claims.get("data").await?.uid(), data);
    Ok(())
}

#[tokio::test]
async fn a_namespace_of_ours_with_foreign_contents_stays_and_says_why() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("tenant").await?;
    let own = format!("{namespace}-own");
    let ours =
        config_map("ours", "mode", "ours").replace("name: ours", &format!("name: ours, namespace: {own}"));
    let payload = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {own}}}\n{ours}");
    let lone = Lone::launch(site, &namespace, &payload).await?;
    lone.until_applied().await?;
    site.apply_in(&own, &config_map("theirs", "mode", "theirs"))
        .await?;

    lone.edit("").await?;
    lone.until_applied().await?;
    let why = "it holds what is not of this payload: ConfigMap theirs";
    let message = lone.until_state("Namespace", &own, ObjectState::Kept).await?;
    assert!(message.contains(why), "{message}");
    let config_maps = api(site.client()?, "v1", "ConfigMap", &own);
    assert!(config_maps.get_opt("ours").await?.is_none());

    lone.edit(&payload).await?;
    lone.until_applied().await?;
    lone.delete().await?;
    lone.until_event("PayloadStopped", why).await?;
    assert!(config_maps.get_opt("ours").await?.is_none());
    assert_eq!(config_maps.get("theirs").await?.metadata.deletion_timestamp, None);
    let namespaces = api(site.client()?, "v1", "Namespace", "");
    assert_eq!(namespaces.get(&own).await?.metadata.deletion_timestamp, None);

    // It is still marked as ours, so the next MultiCluster of the name finishes the work once it is empty.
    let again = Lone::launch(site, &namespace, &payload).await?;
    again.until_applied().await?;
    config_maps.delete("theirs", &DeleteParams::default()).await?;
    again.delete().await?;
    assert!(namespaces.get_opt(&own).await?.is_none());
    Ok(())
}

/// The kinds of a cluster change while a payload runs; a Namespace is not deleted by those that were known at its start.
#[tokio::test]
async fn a_namespace_that_holds_an_object_of_a_newer_kind_stays() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("newer").await?;
    let own = format!("{namespace}-own");
    let payload = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {own}}}\n");
    let lone = Lone::launch(site, &namespace, &payload).await?;
    lone.until_applied().await?;
    site.apply(&definition("trinkets", "Trinket")).await?;
    site.kubectl(&[
        "wait",
        "--for=condition=Established",
        "customresourcedefinition/trinkets.example.com",
    ])
    .await?;
    let theirs = "apiVersion: example.com/v1\nkind: Trinket\nmetadata: {name: theirs}\nspec: {size: 1}\n";
    site.apply_in(&own, theirs).await?;

    lone.delete().await?;
    let trinkets = api(site.client()?, "example.com/v1", "Trinket", &own);
    assert_eq!(trinkets.get("theirs").await?.metadata.deletion_timestamp, None);
    let namespaces = api(site.client()?, "v1", "Namespace", "");
    assert_eq!(namespaces.get(&own).await?.metadata.deletion_timestamp, None);
    lone.until_event(
        "PayloadStopped",
        "it holds what is not of this payload: Trinket theirs",
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn what_does_not_go_is_named_and_the_multicluster_waits_for_it() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("stuck").await?;
    let lone = Lone::launch(site, &namespace, &config_map("stuck", "mode", "ours")).await?;
    lone.until_applied().await?;
    let config_maps = api(site.client()?, "v1", "ConfigMap", &namespace);
    let finalizers = |list: serde_json::Value| Patch::Merge(json!({"metadata": {"finalizers": list}}));
    let params = PatchParams::default();
    config_maps
        .patch("stuck", &params, &finalizers(json!(["example.com/hold"])))
        .await?;
    let deleting = lone.delete();
    let mending = async {
        let why = "its finalizers keep it: example.com/hold";
        let message = lone.until_told("PayloadApplied", why).await?;
        assert!(
            message.contains(&format!("ConfigMap {namespace}/stuck")),
            "{message}"
        );
        lone.until_event("CannotStop", why).await?;
        assert!(
            lone.object().await.is_ok(),
            "the MultiCluster went before its payload"
        );
        config_maps
            .patch("stuck", &params, &finalizers(json!(null)))
            .await
            .map_err(flagship_testing::Failure::from)
    };
    let (deleted, mended) = tokio::join!(deleting, mending);
    mended?;
    deleted?;
    assert!(config_maps.get_opt("stuck").await?.is_none());
    Ok(())
}
