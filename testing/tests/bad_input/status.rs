//! A status that somebody wrote by hand.

use flagship::api::MultiClusterStatus;
use flagship_testing::TestResult;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::lone::{Lone, api, config_map};
use super::{others_run_on, site};

/// What others write into a status, as a merge or, for a whole one, as a JSON patch.
async fn write(lone: &Lone<'_>, patch: Value) -> kube::Result<()> {
    let params = PatchParams::default();
    let patch: Patch<Value> = match patch {
        Value::Array(_) => Patch::Json(serde_json::from_value(patch).map_err(kube::Error::SerdeError)?),
        patch => Patch::Merge(patch),
    };
    lone.members()?
        .patch_status(&lone.name, &params, &patch)
        .await
        .map(drop)
}

fn told(status: MultiClusterStatus) -> MultiClusterStatus {
    let mut status = status;
    status
        .members
        .iter_mut()
        .for_each(|member| member.last_seen = None);
    status
}

#[tokio::test]
async fn a_status_written_by_hand_is_put_back_and_not_believed() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("by-hand").await?;
    site.apply_in(&namespace, &config_map("theirs", "mode", "before"))
        .await?;
    let lone = Lone::launch(site, &namespace, &config_map("ours", "mode", "ours")).await?;
    lone.until_applied().await?;
    lone.until("the UID is listed", async |_| {
        let objects = lone.status().await?.payload.unwrap_or_default().objects;
        Ok::<_, kube::Error>(objects.iter().all(|object| !object.uid.is_empty()))
    })
    .await?;
    let before = told(lone.status().await?);
    let theirs = json!({"version": "v1", "kind": "ConfigMap", "namespace": namespace, "name": "theirs",
        "owned": true, "state": "Applied"});
    for garbage in [
        json!({"status": {"memory": {"record": "garbage", "digest": "garbage"}}}),
        json!({"status": {"memory": null, "term": 99, "leading": false, "role": "Follower"}}),
        json!({"status": {"payload": {"objects": [theirs]}}}),
        json!({"status": {"payload": null, "conditions": []}}),
        json!([{"op": "replace", "path": "/status", "value": {"leaderAddress": "garbage"}}]),
        json!([{"op": "remove", "path": "/status"}]),
    ] {
        write(&lone, garbage.clone()).await?;
        lone.until(&format!("the status is put back after {garbage}"), async |_| {
            Ok::<_, kube::Error>(told(lone.status().await?) == before)
        })
        .await?;
    }
    lone.edit(&config_map("ours", "mode", "edited")).await?;
    lone.until_applied().await?;
    lone.delete().await?;
    let config_maps = api(site.client()?, "v1", "ConfigMap", &namespace);
    assert!(config_maps.get_opt("ours").await?.is_none());
    assert_eq!(config_maps.get("theirs").await?.data["data"]["mode"], "before");
    others_run_on().await
}
