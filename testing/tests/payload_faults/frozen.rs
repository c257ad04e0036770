//! A write that was sent to an API server which stood still must not take effect when it goes on later.

use std::time::Duration;

use flagship_testing::{Part, TestResult};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::lone::{Lone, api, config_map};
use super::turn;

/// What a signal takes to stop a process, and a local watch to tell, many times over.
const A_MOMENT: Duration = Duration::from_millis(300);
/// Longer than the lease of profile Balanced, after which another cluster may lead.
const LEASE_OVER: Duration = Duration::from_secs(4);
/// What the API server needs to work off what lies in its sockets, many times over.
const WORKED_OFF: Duration = Duration::from_secs(3);
const COUNT: usize = 6;

#[tokio::test]
async fn what_a_frozen_api_server_was_sent_does_not_take_effect_after_the_claim() -> TestResult {
    let (site, _turn) = turn().await?;
    let namespace = site.fresh_namespace("frozen").await?;
    let names: Vec<String> = (0..COUNT).map(|number| format!("web{number}")).collect();
    let payload: String = names
        .iter()
        .map(|name| config_map(name, "mode", "ours"))
        .collect();
    let lone = Lone::launch(site, &namespace, &payload).await?;
    lone.until_applied().await?;
    // Written once by a repair, so that the next one is a single apply.
    let config_maps = api(site.client()?, "v1", "ConfigMap", &namespace);
    let theirs = Patch::Merge(json!({"data": {"mode": "theirs"}}));
    for name in &names {
        config_maps.patch(name, &PatchParams::default(), &theirs).await?;
        lone.until_data(name, "mode", Some("ours")).await?;
    }

    // The controller learns of a change that it is to undo when the API server does not answer any more.
    site.controller.freeze()?;
    tokio::time::sleep(A_MOMENT).await;
    for name in &names {
        config_maps.patch(name, &PatchParams::default(), &theirs).await?;
    }
    tokio::time::sleep(A_MOMENT).await;
    site.freeze(Part::ApiServer)?;
    tokio::time::sleep(A_MOMENT).await;
    site.controller.thaw()?;
    tokio::time::sleep(A_MOMENT).await;
    // It is gone, and with it its claim. Its requests lie in the sockets of the API server.
    site.controller.kill().await?;
    tokio::time::sleep(LEASE_OVER).await;
    site.thaw(Part::ApiServer)?;
    tokio::time::sleep(WORKED_OFF).await;
    let mut written = Vec::new();
    for name in &names {
        let mode = lone.field("v1", "ConfigMap", name, "/data/mode").await?;
        written.extend(mode.filter(|mode| mode != "theirs").map(|_| name));
    }
    assert!(
        written.is_empty(),
        "{written:?} were written after the claim had ended"
    );

    // A controller that lives and still leads repairs it all when the API server goes on.
    site.controller.start()?;
    for name in &names {
        lone.until_data(name, "mode", Some("ours")).await?;
    }
    site.controller.freeze()?;
    tokio::time::sleep(A_MOMENT).await;
    for name in &names {
        config_maps.patch(name, &PatchParams::default(), &theirs).await?;
    }
    tokio::time::sleep(A_MOMENT).await;
    site.freeze(Part::ApiServer)?;
    tokio::time::sleep(A_MOMENT).await;
    site.controller.thaw()?;
    tokio::time::sleep(A_MOMENT).await;
    site.thaw(Part::ApiServer)?;
    for name in &names {
        lone.until_data(name, "mode", Some("ours")).await?;
    }
    lone.until_applied().await?;
    lone.delete().await?;
    Ok(())
}
