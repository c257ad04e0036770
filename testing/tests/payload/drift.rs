//! What others change or delete is put back; what they add stays.

use flagship_testing::TestResult;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::lone::{Lone, api, config_map};
use super::site;

const DEPLOYMENT: &str = "---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx, resources: {limits: {cpu: 1000m}}}]}
";

#[tokio::test]
async fn what_others_change_or_delete_is_put_back_and_what_they_add_stays() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("drift").await?;
    let payload = config_map("edited", "mode", "ours") + &config_map("deleted", "mode", "ours") + DEPLOYMENT;
    let lone = Lone::launch(site, &namespace, &payload).await?;
    lone.until_applied().await?;
    let client = site.client()?;
    let config_maps = api(client.clone(), "v1", "ConfigMap", &namespace);
    let deployments = api(client.clone(), "apps/v1", "Deployment", &namespace);
    let params = PatchParams::default();

    // Additions: no drift, and not undone by the repairs that follow.
    let added = Patch::Merge(json!({"metadata": {"annotations": {"owner": "ann"}}, "data": {"theirs": "1"}}));
    let with_theirs = config_maps.patch("edited", &params, &added).await?;
    // What the API server writes down differently (1 for 1000m) is no drift either.
    let deployed = deployments.get("web").await?;
    assert_eq!(
        deployed.data["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"],
        "1"
    );

    let changed = Patch::Merge(json!({"data": {"mode": "theirs"}}));
    config_maps.patch("edited", &params, &changed).await?;
    lone.until_data("edited", "mode", Some("ours")).await?;
    lone.until_data("edited", "theirs", Some("1")).await?;
    assert_eq!(config_maps.get("edited").await?.annotations()["owner"], "ann");
    assert!(with_theirs.annotations().contains_key("owner"));

    let unmarked = Patch::Merge(json!({"metadata": {"labels": {flagship::payload::PAYLOAD_LABEL: null}}}));
    config_maps.patch("edited", &params, &unmarked).await?;
    lone.until("the mark is back", async |_| {
        let labels = config_maps.get("edited").await?;
        Ok::<_, kube::Error>(labels.labels().contains_key(flagship::payload::PAYLOAD_LABEL))
    })
    .await?;

    let before = config_maps.get("deleted").await?.uid();
    config_maps.delete("deleted", &DeleteParams::default()).await?;
    lone.until("the object is back", async |_| {
        let object = config_maps.get_opt("deleted").await?;
        Ok::<_, kube::Error>(object.is_some_and(|object| object.uid() != before))
    })
    .await?;
    lone.until_data("deleted", "mode", Some("ours")).await?;

    site.kubectl(&["scale", "-n", &namespace, "deployment/web", "--replicas=7"])
        .await?;
    lone.until("two replicas again", async |_| {
        Ok::<_, kube::Error>(deployments.get("web").await?.data["spec"]["replicas"] == 2)
    })
    .await?;
    // Four repairs, and none for what was added or for a status: the Deployment's controller wrote one.
    lone.until("the repairs are counted", async |_| {
        let repairs = lone.metric("flagship_payload_repairs_total").await?;
        Ok::<_, flagship_testing::Error>(repairs == Some(4.0))
    })
    .await?;
    lone.until_applied().await?;
    Ok(())
}

#[tokio::test]
async fn who_keeps_changing_it_is_named_and_not_fought_at_full_speed() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("contested").await?;
    let lone = Lone::launch(site, &namespace, &config_map("contested", "mode", "ours")).await?;
    lone.until_applied().await?;
    let config_maps = api(site.client()?, "v1", "ConfigMap", &namespace);
    let changed = Patch::Merge(json!({"data": {"mode": "theirs"}}));
    let told = lone.until_told("PayloadApplied", "somebody keeps changing it");
    let fight = async {
        loop {
            config_maps
                .patch("contested", &PatchParams::default(), &changed)
                .await?;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let message = tokio::select! {
        message = told => message?,
        ended = fight => { let ended: kube::Result<()> = ended; return Ok(ended?) }
    };
    assert!(
        message.contains("remove the fields that are theirs from the payload"),
        "{message}"
    );
    // When the others give in, it is as written again.
    lone.until_data("contested", "mode", Some("ours")).await?;
    lone.until_applied().await?;
    Ok(())
}
