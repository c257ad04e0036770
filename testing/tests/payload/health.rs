//! How the payload does, told in the status.

use flagship::api::{ObjectHealth, ObjectState};
use flagship_testing::TestResult;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::lone::{Lone, api, config_map};
use super::ownership::definition;
use super::site;

#[tokio::test]
async fn the_status_tells_how_each_object_does_and_when_it_has_failed() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("health").await?;
    let gauge = "---\napiVersion: example.com/v1\nkind: Gauge\nmetadata: {name: web}\nspec: {size: 1}\n";
    let payload = definition("gauges", "Gauge") + gauge + &config_map("web", "mode", "ours");
    let mut lone = Lone::launch(site, &namespace, "").await?;
    lone.manifest = lone.manifest.with("health: {failureTimeout: 2s}");
    lone.edit(&payload).await?;
    lone.until_applied().await?;
    lone.until_condition("PayloadHealthy", "True", "Healthy").await?;
    assert_eq!(
        lone.status().await?.payload.and_then(|payload| payload.healthy),
        Some(true)
    );

    let gauges = api(site.client()?, "example.com/v1", "Gauge", &namespace);
    let ready = |status: &str| {
        Patch::Merge(json!({"status": {"conditions": [
            {"type": "Ready", "status": status, "reason": "Level", "message": "the tank is low"},
        ]}}))
    };
    let params = PatchParams::default();
    gauges.patch("web", &params, &ready("Unknown")).await?;
    lone.until_condition("PayloadHealthy", "False", "Progressing")
        .await?;
    gauges.patch("web", &params, &ready("False")).await?;
    let told = format!("Gauge.example.com {namespace}/web: Level: the tank is low");
    let message = lone.until_condition("PayloadHealthy", "False", "Failed").await?;
    assert!(message.contains(&told), "{message}");
    lone.until_told("Degraded", &told).await?;
    let message = lone.until_state("Gauge", "web", ObjectState::Applied).await?;
    assert_eq!(message, "Level: the tank is low");
    let payload = lone.status().await?.payload.unwrap_or_default();
    let health = |kind: &str| {
        payload
            .objects
            .iter()
            .find(|object| object.kind == kind)
            .and_then(|object| object.health)
    };
    assert_eq!(
        (payload.healthy, health("Gauge"), health("ConfigMap")),
        (
            Some(false),
            Some(ObjectHealth::Unhealthy),
            Some(ObjectHealth::Healthy)
        )
    );
    // Being in place is another matter.
    lone.until_applied().await?;

    gauges.patch("web", &params, &ready("True")).await?;
    lone.until_condition("PayloadHealthy", "True", "Healthy").await?;
    lone.until_condition("Degraded", "False", "AsExpected").await?;
    Ok(())
}
