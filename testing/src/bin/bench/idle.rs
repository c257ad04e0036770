//! What a controller costs that has nothing to do but keep its members' groups together.

use std::net::SocketAddr;
use std::time::Duration;

use flagship::api::MultiCluster;
use flagship_testing::{Error, Observed, PATIENCE, Result, Site, sites};
use futures::stream::{self, StreamExt as _};
use serde::Serialize;
use tokio::time::sleep;

use crate::figures::Goal;
use crate::group::{is_applied, status};
use crate::machine::{Usage, connections, usage};
use crate::progress::say;

/// After the last status was written: connections are made, lists are read, memory is given back.
const SETTLE: Duration = Duration::from_secs(10);
/// Groups that are founded at a time: who founds one has listened for two leases before, which is most of the time it takes.
const AT_ONCE: usize = 20;
/// Where every election listens.
const ELECTION_PORT: u16 = 9990;
const PAYLOAD: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: idle}}";

/// One controller's cost.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cost {
    pub(crate) controller: String,
    /// In millions of bytes.
    pub(crate) resident_mb: f64,
    /// Of one core.
    pub(crate) cpu_percent: f64,
    /// Between it and other controllers.
    pub(crate) connections: usize,
}

/// What is measured.
#[derive(Debug)]
pub(crate) struct Scene<const N: usize> {
    /// The clusters; the first leads all groups.
    pub(crate) members: [&'static str; N],
    /// How many groups they have in common.
    pub(crate) groups: usize,
    pub(crate) limits: &'static [Limit],
}

/// What the dearest controller is judged by.
#[derive(Debug)]
pub(crate) struct Limit {
    figure: &'static str,
    unit: &'static str,
    at_most: f64,
    of: fn(&Cost) -> f64,
}

const MEMORY: Limit = Limit {
    figure: "resident memory",
    unit: "MB",
    at_most: 20.0,
    of: |cost| cost.resident_mb,
};
const CPU: Limit = Limit {
    figure: "CPU of a core",
    unit: "%",
    at_most: 0.5,
    of: |cost| cost.cpu_percent,
};
/// One for each pair of controllers.
const CONNECTIONS: Limit = Limit {
    figure: "connections of a controller",
    unit: "",
    at_most: 1.0,
    #[allow(clippy::cast_precision_loss, reason = "it is a small number")]
    of: |cost| cost.connections as f64,
};

/// Ten groups of three.
pub(crate) const IDLE: Scene<3> = Scene {
    members: ["newyork", "sheffield", "gotham"],
    groups: 10,
    limits: &[MEMORY, CPU],
};
/// Two hundred groups of two.
pub(crate) const CROWDED: Scene<2> = Scene {
    members: ["newyork", "sheffield"],
    groups: 200,
    limits: &[CONNECTIONS],
};

impl<const N: usize> Scene<N> {
    /// Measures the controllers while all groups are at rest, at profile Balanced.
    pub(crate) async fn measure(&self, during: Duration) -> Result<Vec<Cost>> {
        let sites = sites(self.members).await?;
        let joins = (1..=self.groups).map(|number| join(&sites, number));
        let mut joined = stream::iter(joins).buffer_unordered(AT_ONCE).enumerate();
        while let Some((before, outcome)) = joined.next().await {
            outcome?;
            let number = before + 1;
            if number.is_multiple_of(10) {
                say(&format!(
                    "idle: {number} of {} groups are in place\n",
                    self.groups
                ));
            }
        }
        say(&format!("idle: measuring {} s\n", during.as_secs()));
        sleep(SETTLE).await;
        let before = sites.iter().map(of).collect::<Result<Vec<_>>>()?;
        sleep(during).await;
        let after = sites.iter().map(of).collect::<Result<Vec<_>>>()?;
        let ports: Vec<_> = sites
            .iter()
            .map(|site| SocketAddr::new(site.address(), ELECTION_PORT))
            .collect();
        let costs = sites.iter().zip(before.iter().zip(after));
        costs
            .map(|(site, (before, after))| {
                Ok(Cost {
                    controller: site.name().to_owned(),
                    resident_mb: megabytes(after.resident_bytes),
                    cpu_percent: (after.cpu_seconds - before.cpu_seconds) / during.as_secs_f64() * 100.0,
                    connections: connections(pid(site)?, &ports)?,
                })
            })
            .collect()
    }

    pub(crate) fn goals(&self, costs: &[Cost]) -> Vec<Goal> {
        let goal = |limit: &Limit| {
            let most = costs.iter().map(limit.of).fold(0.0, f64::max);
            Goal::new(limit.figure.into(), limit.unit, limit.at_most, most)
        };
        self.limits.iter().map(goal).collect()
    }
}

/// Makes a group of all sites, which the first one leads.
async fn join(sites: &[Site], number: usize) -> Result<()> {
    let namespace = &*format!("group-{number}");
    let clusters: Vec<_> = sites.iter().map(|site| &**site).collect();
    let members = Observed::<MultiCluster>::start(&clusters, namespace, "")?;
    for (site, rank) in sites.iter().zip([30, 20, 10]) {
        let manifest = site.manifest(namespace, rank).payload(PAYLOAD);
        let manifest = match rank {
            30 => manifest.ready(),
            _ => manifest.joins(&[&sites[0]]),
        };
        let defined = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}");
        site.apply(&defined).await?;
        site.apply_in(namespace, &manifest.yaml()).await?;
    }
    let what = format!("all members of {namespace}");
    let in_place = members.wait_until(&what, PATIENCE, |sights| {
        let leads = status(sights, sites[0].name()).is_some_and(|status| {
            let is_complete = |have| usize::try_from(have) == Ok(sites.len());
            is_applied(status) && status.quorum.is_some_and(|quorum| is_complete(quorum.have))
        });
        let is_ready = |site: &Site| status(sights, site.name()).is_some_and(|status| status.ready);
        leads && sites[1..].iter().all(is_ready)
    });
    in_place.await.map(|_| ())
}

fn pid(site: &Site) -> Result<i32> {
    site.controller.pid()?.ok_or_else(|| Error::NotRunning {
        process: format!("flagship of {}", site.name()),
    })
}

fn of(site: &Site) -> Result<Usage> {
    usage(pid(site)?)
}

#[allow(clippy::cast_precision_loss, reason = "no process has 2^52 bytes")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
