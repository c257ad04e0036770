//! Payloads on a real API server, through the controller as it ships.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "payload/account.rs"]
mod account;
#[path = "payload/demotion.rs"]
mod demotion;
#[path = "payload/drift.rs"]
mod drift;
#[path = "payload/health.rs"]
mod health;
#[path = "payload/kinds.rs"]
mod kinds;
#[path = "payload/lone.rs"]
mod lone;
#[path = "payload/ownership.rs"]
mod ownership;
#[path = "payload/removal.rs"]
mod removal;
#[path = "payload/revisions.rs"]
mod revisions;
#[path = "payload/sources.rs"]
mod sources;
#[path = "payload/terms.rs"]
mod terms;

use flagship_testing::{Result, Site, sites};
use k8s_openapi::api::rbac::v1::PolicyRule;
use tokio::sync::OnceCell;

static SITE: OnceCell<Site> = OnceCell::const_new();

/// One cluster with a controller for all tests of this program, each of which has a MultiCluster in a namespace of its
/// own.
async fn site() -> Result<&'static Site> {
    SITE.get_or_try_init(|| async {
        let [site] = sites(["newyork"]).await?;
        // Payloads of these tests bring kinds of this group.
        let text = |text: &str| Some(vec![text.to_owned()]);
        let rule = PolicyRule {
            api_groups: text("example.com"),
            resources: text("*"),
            verbs: ["get", "list", "watch", "create", "patch", "delete"]
                .map(str::to_owned)
                .to_vec(),
            ..PolicyRule::default()
        };
        site.grant(&[rule]).await?;
        Ok(site)
    })
    .await
}
