//! What a controller costs that has nothing to do but keep its members' groups together.

use std::time::Duration;

use flagship::api::MultiCluster;
use flagship_testing::{Error, Observed, PATIENCE, Result, Site, sites};
use serde::Serialize;
use tokio::time::sleep;

use crate::figures::Goal;
use crate::group::{is_applied, status};
use crate::machine::usage;
use crate::progress::say;

const MULTICLUSTERS: usize = 10;
const MEMBERS: [&str; 3] = ["newyork", "sheffield", "gotham"];
/// After the last status was written: connections are made, lists are read, memory is given back.
const SETTLE: Duration = Duration::from_secs(10);
const RESIDENT_MAX_MB: f64 = 20.0;
const CPU_MAX_PERCENT: f64 = 0.5;
const PAYLOAD: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: idle}}";

/// One controller's cost.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cost {
    pub(crate) controller: String,
    /// In millions of bytes.
    pub(crate) resident_mb: f64,
    /// Of one core.
    pub(crate) cpu_percent: f64,
}

/// Measures the controllers of three clusters with ten groups at profile Balanced, all led by the first cluster.
pub(crate) async fn measure(during: Duration) -> Result<Vec<Cost>> {
    let sites = sites(MEMBERS).await?;
    let clusters = [&*sites[0], &*sites[1], &*sites[2]];
    for number in 0..MULTICLUSTERS {
        let namespace = format!("group-{number}");
        let members = Observed::<MultiCluster>::start(&clusters, &namespace, "")?;
        for (site, rank) in sites.iter().zip([30, 20, 10]) {
            let manifest = site.manifest(&namespace, rank).payload(PAYLOAD);
            let manifest = match rank {
                30 => manifest.ready(),
                _ => manifest.joins(&[&sites[0]]),
            };
            let defined =
                "{apiVersion: v1, kind: Namespace, metadata: {name: ".to_owned() + &namespace + "}}";
            site.apply(&defined).await?;
            site.apply_in(&namespace, &manifest.yaml()).await?;
        }
        members
            .wait_until(&format!("three members of {namespace}"), PATIENCE, |sights| {
                let leader = status(sights, MEMBERS[0]).is_some_and(|status| {
                    is_applied(status) && status.quorum.is_some_and(|quorum| quorum.have == 3)
                });
                leader
                    && MEMBERS[1..]
                        .iter()
                        .all(|name| status(sights, name).is_some_and(|status| status.ready))
            })
            .await?;
    }
    say(&format!(
        "idle: {MULTICLUSTERS} groups of three are in place; measuring {} s\n",
        during.as_secs()
    ));
    sleep(SETTLE).await;
    let before = sites.iter().map(of).collect::<Result<Vec<_>>>()?;
    sleep(during).await;
    let after = sites.iter().map(of).collect::<Result<Vec<_>>>()?;
    let costs = sites.iter().zip(before.iter().zip(after));
    Ok(costs
        .map(|(site, (before, after))| Cost {
            controller: site.name().to_owned(),
            resident_mb: megabytes(after.resident_bytes),
            cpu_percent: (after.cpu_seconds - before.cpu_seconds) / during.as_secs_f64() * 100.0,
        })
        .collect())
}

fn of(site: &Site) -> Result<crate::machine::Usage> {
    let pid = site.controller.pid()?.ok_or_else(|| Error::NotRunning {
        process: format!("flagship of {}", site.name()),
    })?;
    usage(pid)
}

/// The dearest controller is judged.
pub(crate) fn goals(costs: &[Cost]) -> Vec<Goal> {
    let most = |of: fn(&Cost) -> f64| costs.iter().map(of).fold(0.0, f64::max);
    vec![
        Goal::new(
            "resident memory".into(),
            "MB",
            RESIDENT_MAX_MB,
            most(|cost| cost.resident_mb),
        ),
        Goal::new(
            "CPU of a core".into(),
            "%",
            CPU_MAX_PERCENT,
            most(|cost| cost.cpu_percent),
        ),
    ]
}

#[allow(clippy::cast_precision_loss, reason = "no process has 2^52 bytes")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
