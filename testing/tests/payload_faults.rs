//! Payloads when the controller or the API server fails, and what they cost when nothing does. The tests share one
//! cluster and take turns, since what one breaks all would notice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "payload_faults/cost.rs"]
mod cost;
#[path = "payload_faults/crashes.rs"]
mod crashes;
#[path = "payload_faults/frozen.rs"]
mod frozen;
#[path = "payload/lone.rs"]
mod lone;
#[path = "payload_faults/restart.rs"]
mod restart;

use flagship_testing::{Part, Result, Site, sites};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

static SITE: OnceCell<Site> = OnceCell::const_new();
static TURN: Mutex<()> = Mutex::const_new(());

/// The cluster, for one test at a time, with its controller running.
async fn turn() -> Result<(&'static Site, MutexGuard<'static, ()>)> {
    let turn = TURN.lock().await;
    let site = SITE
        .get_or_try_init(|| async {
            let [site] = sites(["newyork"]).await?;
            Ok(site)
        })
        .await?;
    // A test that failed may have left things as they were then.
    site.thaw(Part::ApiServer)?;
    if !site.controller.is_running()? {
        site.controller.start()?;
    }
    site.controller.thaw()?;
    site.controller.wait_until_ready().await?;
    Ok((site, turn))
}
