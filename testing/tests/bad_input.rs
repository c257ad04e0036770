//! What people write wrong: the object says so and what to do, the others run on, and the mended object recovers without
//! a restart.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "payload/lone.rs"]
mod lone;
#[path = "bad_input/manifests.rs"]
mod manifests;
#[path = "bad_input/members.rs"]
mod members;
#[path = "bad_input/objects.rs"]
mod objects;
#[path = "bad_input/status.rs"]
mod status;

use flagship_testing::{Result, Site, TestResult, sites};
use k8s_openapi::api::rbac::v1::PolicyRule;
use tokio::sync::OnceCell;

use lone::{Lone, config_map};

static SITE: OnceCell<(Site, Option<i32>)> = OnceCell::const_new();

/// The namespace of a MultiCluster that nothing is wrong with.
const BYSTANDER: &str = "bystander";

/// One cluster with a controller for all tests of this program.
async fn site() -> Result<&'static Site> {
    let site = SITE.get_or_try_init(|| async {
        let [site] = sites(["newyork"]).await?;
        site.apply(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {BYSTANDER}}}"
        ))
        .await?;
        let bystander = Lone::launch(&site, BYSTANDER, &config_map("web", "mode", "ours")).await?;
        bystander.until_applied().await?;
        let pid = site.controller.pid()?;
        Ok((site, pid))
    });
    site.await.map(|(site, _)| site)
}

/// The controller is the same process still, and the bystander has what it had.
async fn others_run_on() -> TestResult {
    let (site, pid) = SITE.get().unwrap();
    assert_eq!(site.controller.pid()?, *pid, "the controller was restarted");
    let status = site.status(BYSTANDER).await?;
    assert!(status.leading, "{status:?}");
    assert_eq!(
        flagship_testing::condition(&status, "PayloadApplied"),
        Some("True")
    );
    assert_eq!(status.term, Some(1), "the bystander was elected again");
    Ok(())
}

/// What a user grants the controller for payloads of this group.
fn grant_of(group: &str) -> PolicyRule {
    let list = |text: &str| vec![text.to_owned()];
    PolicyRule {
        api_groups: Some(list(group)),
        resources: Some(list("*")),
        verbs: ["get", "list", "watch", "create", "patch", "delete"]
            .map(str::to_owned)
            .to_vec(),
        ..PolicyRule::default()
    }
}
