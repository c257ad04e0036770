//! What a controller finds when it comes back.

use flagship::api::ObjectState;
use flagship_testing::TestResult;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::lone::{Lone, api, config_map};
use super::turn;

const DEPLOYMENT: &str = "---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx}]}
";

async fn until_listed(lone: &Lone<'_>) -> TestResult {
    let what = "every object's UID is listed";
    lone.until(what, async |_| {
        let objects = lone.status().await?.payload.unwrap_or_default().objects;
        Ok::<_, kube::Error>(objects.iter().all(|object| !object.uid.is_empty()))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn an_edit_made_while_the_controller_was_down_is_followed() -> TestResult {
    let (site, _turn) = turn().await?;
    let namespace = site.fresh_namespace("down").await?;
    let rest = config_map("remade", "mode", "ours") + DEPLOYMENT;
    let before = config_map("dropped", "mode", "ours") + &config_map("edited", "mode", "ours") + &rest;
    let after = config_map("added", "mode", "ours") + &config_map("edited", "mode", "edited") + &rest;
    let lone = Lone::launch(site, &namespace, &before).await?;
    lone.until_applied().await?;
    until_listed(&lone).await?;
    let deployments = api(site.client()?, "apps/v1", "Deployment", &namespace);
    let deployed = deployments.get("web").await?;

    site.controller.kill().await?;
    lone.edit(&after).await?;
    let config_maps = api(site.client()?, "v1", "ConfigMap", &namespace);
    config_maps.delete("remade", &DeleteParams::default()).await?;
    site.apply_in(&namespace, &config_map("remade", "mode", "theirs"))
        .await?;
    let theirs = config_maps.get("remade").await?.metadata;
    for name in ["dropped", "edited"] {
        assert!(
            config_maps.get_opt(name).await?.is_some(),
            "a dead controller is not a dead payload"
        );
    }
    site.controller.start()?;

    let message = lone
        .until_condition("PayloadApplied", "False", "ObjectsFailed")
        .await?;
    assert!(
        message.contains(&format!("ConfigMap {namespace}/remade: it existed before")),
        "{message}"
    );
    lone.until_data("edited", "mode", Some("edited")).await?;
    lone.until_data("added", "mode", Some("ours")).await?;
    let redeployed = deployments.get("web").await?;
    assert_eq!(redeployed.uid(), deployed.uid());
    assert_eq!(redeployed.data["spec"], deployed.data["spec"]);

    // What was dropped goes as soon as the rest is in place.
    lone.edit(&after.replace(&config_map("remade", "mode", "ours"), ""))
        .await?;
    lone.until_applied().await?;
    assert!(config_maps.get_opt("dropped").await?.is_none());
    lone.delete().await?;
    assert_eq!(config_maps.get("remade").await?.metadata, theirs);
    for name in ["added", "edited"] {
        assert!(config_maps.get_opt(name).await?.is_none(), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_status_forged_while_the_controller_was_down_deletes_nothing_of_others() -> TestResult {
    let (site, _turn) = turn().await?;
    let namespace = site.fresh_namespace("forged").await?;
    site.apply_in(&namespace, &config_map("theirs", "mode", "before"))
        .await?;
    let lone = Lone::launch(site, &namespace, &config_map("ours", "mode", "ours")).await?;
    lone.until_applied().await?;
    until_listed(&lone).await?;
    let config_maps = api(site.client()?, "v1", "ConfigMap", &namespace);
    let (ours, theirs) = (
        config_maps.get("ours").await?.uid(),
        config_maps.get("theirs").await?,
    );

    site.controller.kill().await?;
    let forged = |name: &str, uid: Option<String>| {
        json!({"version": "v1", "kind": "ConfigMap", "namespace": namespace, "name": name, "owned": true,
               "state": "Applied", "uid": uid.unwrap_or_default()})
    };
    let status = json!({"status": {
        "memory": {"record": "garbage", "digest": "garbage"},
        "payload": {"objects": [forged("theirs", theirs.uid()), forged("no-such-thing", None)]},
        // The API server takes it for a time, and nobody else does.
        "history": [{"at": "2026-01-01T00:00:00+99:00", "term": 1}],
    }});
    let params = PatchParams::default();
    api(site.client()?, "kube-vip.io/v1alpha1", "MultiCluster", &namespace)
        .patch_status(&lone.name, &params, &Patch::Merge(&status))
        .await?;
    site.controller.start()?;
    lone.until_event(
        "MemoryLost",
        "status.memory was changed by somebody else than Flagship",
    )
    .await?;
    lone.until_applied().await?;
    // Without its memory it could not know that it leads, so it stopped what it found of its payload and began anew.
    assert_ne!(config_maps.get("ours").await?.uid(), ours);
    assert_eq!(config_maps.get("theirs").await?.metadata, theirs.metadata);
    lone.delete().await?;
    assert!(config_maps.get_opt("ours").await?.is_none());
    assert_eq!(config_maps.get("theirs").await?.metadata, theirs.metadata);
    Ok(())
}

/// An inventory that lists objects of a group whose API server is down, and of one that does not exist.
#[tokio::test]
async fn objects_whose_api_server_is_down_are_not_taken_for_gone() -> TestResult {
    let (site, _turn) = turn().await?;
    let namespace = site.fresh_namespace("aggregated").await?;
    site.apply(
        "apiVersion: v1
kind: Service
metadata: {name: down, namespace: default}
spec: {ports: [{port: 443}]}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.down.example.com}
spec:
  group: down.example.com
  version: v1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: down, namespace: default}
",
    )
    .await?;
    let lone = Lone::launch(site, &namespace, &config_map("ours", "mode", "ours")).await?;
    lone.until_applied().await?;
    site.controller.kill().await?;
    let owned = |group: &str| {
        json!({"group": group, "version": "v1", "kind": "Widget", "namespace": namespace, "name": "web",
               "owned": true, "state": "Applied"})
    };
    let objects =
        json!({"status": {"payload": {"objects": [owned("down.example.com"), owned("gone.example.com")]}}});
    let params = PatchParams::default();
    lone.members()?
        .patch_status(&lone.name, &params, &Patch::Merge(&objects))
        .await?;
    site.controller.start()?;
    lone.until_condition("Leading", "True", "Leading").await?;
    lone.members()?
        .delete(&lone.name, &DeleteParams::default())
        .await?;

    lone.until("the rest is gone", async |_| {
        let objects = lone.status().await?.payload.unwrap_or_default().objects;
        let groups: Vec<Value> = objects
            .iter()
            .map(|object| object.group.as_str().into())
            .collect();
        Ok::<_, kube::Error>(groups == ["down.example.com"])
    })
    .await?;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let message = lone.until_state("Widget", "web", ObjectState::Deleting).await;
    assert!(
        message.is_ok()
            || lone
                .until_state("Widget", "web", ObjectState::Stuck)
                .await
                .is_ok()
    );
    let services: kube::Api<kube::core::DynamicObject> = kube::Api::all_with(
        site.client()?,
        &super::lone::resource("apiregistration.k8s.io/v1", "APIService"),
    );
    services
        .delete("v1.down.example.com", &DeleteParams::default())
        .await?;
    lone.until("the MultiCluster is gone", async |_| {
        Ok::<_, kube::Error>(lone.members()?.get_opt(&lone.name).await?.is_none())
    })
    .await?;
    Ok(())
}
