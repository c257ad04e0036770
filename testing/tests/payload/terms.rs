//! The term in an object's metadata: what a later leader wrote is not written over.

use std::time::Duration;

use flagship::api::ObjectState;
use flagship::payload::TERM_ANNOTATION;
use flagship_testing::TestResult;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::lone::{Lone, api, config_map};
use super::site;

#[tokio::test]
async fn what_bears_a_higher_term_is_not_written_over_and_nothing_else_is_written() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("terms").await?;
    let payload = |mode: &str| config_map("later", "mode", mode) + &config_map("other", "mode", mode);
    let lone = Lone::launch(site, &namespace, &payload("one")).await?;
    lone.until_applied().await?;
    let config_maps = api(site.client()?, "v1", "ConfigMap", &namespace);
    let ours: u64 = config_maps.get("later").await?.annotations()[TERM_ANNOTATION].parse()?;
    assert_eq!(
        lone.status().await?.payload.and_then(|payload| payload.term),
        i64::try_from(ours).ok()
    );

    // As a later leader of this MultiCluster would write it.
    let params = PatchParams::default();
    let term = |term: Option<u64>| json!({"metadata": {"annotations": {TERM_ANNOTATION: term.map(|term| term.to_string())}}});
    let mut later = term(Some(ours + 5));
    later["data"] = json!({"mode": "later"});
    config_maps.patch("later", &params, &Patch::Merge(later)).await?;
    let message = lone
        .until_state("ConfigMap", "later", ObjectState::Superseded)
        .await?;
    assert!(
        message.contains(&format!("it bears term {} of this group", ours + 5))
            && message.contains("take it off the object"),
        "{message}"
    );
    lone.until_condition("PayloadApplied", "False", "Superseded")
        .await?;
    lone.edit(&payload("two")).await?;
    lone.until_condition("PayloadApplied", "False", "Superseded")
        .await?;
    let seen = config_maps.get("later").await?;
    assert_eq!(seen.data["data"]["mode"], "later");
    assert_eq!(seen.annotations()[TERM_ANNOTATION], (ours + 5).to_string());
    lone.until_data("other", "mode", Some("one")).await?;

    // Once the term is gone from it, or is a lower one, it is drift like any other.
    config_maps
        .patch("later", &params, &Patch::Merge(term(None)))
        .await?;
    lone.until_applied().await?;
    lone.until_data("later", "mode", Some("two")).await?;
    lone.until_data("other", "mode", Some("two")).await?;
    assert_eq!(
        config_maps.get("later").await?.annotations()[TERM_ANNOTATION],
        ours.to_string()
    );
    Ok(())
}

/// The look and the write are two requests: what comes between them must win. A repair takes a few milliseconds, so the
/// later leader writes ever later in them.
#[tokio::test]
async fn a_repair_that_is_under_way_does_not_write_over_a_later_leader() -> TestResult {
    const ROUNDS: u32 = 30;
    const STEP: Duration = Duration::from_micros(400);
    let site = site().await?;
    let namespace = site.fresh_namespace("races").await?;
    let names: Vec<_> = (0..ROUNDS).map(|number| format!("raced-{number}")).collect();
    let payload =
        |mode: &str| -> String { names.iter().map(|name| config_map(name, "mode", mode)).collect() };
    let lone = Lone::launch(site, &namespace, &payload("one")).await?;
    lone.until_applied().await?;
    // Created and applied, each repair is one request.
    lone.edit(&payload("two")).await?;
    lone.until_applied().await?;
    let config_maps = api(site.client()?, "v1", "ConfigMap", &namespace);
    let ours: u64 = config_maps.get("raced-0").await?.annotations()[TERM_ANNOTATION].parse()?;
    let later = (ours + 5).to_string();
    let params = PatchParams::default();
    let term =
        |term: Option<&str>| Patch::Merge(json!({"metadata": {"annotations": {TERM_ANNOTATION: term}}}));
    for (round, name) in (0..).zip(&names) {
        let drift = Patch::Merge(json!({"data": {"mode": "theirs"}}));
        let drift = config_maps.patch(name, &params, &drift);
        let later_leader = async {
            tokio::time::sleep(STEP * round).await;
            config_maps.patch(name, &params, &term(Some(&later))).await
        };
        tokio::try_join!(drift, later_leader)?;
        lone.until_condition("PayloadApplied", "False", "Superseded")
            .await?;
        assert_eq!(
            config_maps.get(name).await?.annotations()[TERM_ANNOTATION],
            later,
            "{name}"
        );
        config_maps.patch(name, &params, &term(None)).await?;
        lone.until_data(name, "mode", Some("two")).await?;
    }
    Ok(())
}
