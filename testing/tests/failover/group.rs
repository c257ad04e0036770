//! One group of three on the shared sites: set up, looked at, judged.

use std::time::Duration;

use flagship_testing::{
    History, Manifest, PATIENCE, Presence, Recorder, Selection, SharedSites, Site, TestResult, Turn, WEB,
    condition,
};
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;

pub(crate) static SITES: SharedSites<3> = SharedSites::new(["newyork", "sheffield", "gotham"]);

/// Longer than any lease, stop budget or election at profile Balanced: what has not moved by then stays.
pub(crate) const QUIET: Duration = Duration::from_secs(6);

/// The manifest of a member of the turn's own group.
pub(crate) fn member(turn: &Turn<'_, 3>, site: &Site, rank: i64) -> Manifest {
    site.manifest(&turn.namespace, rank).payload(WEB)
}

pub(crate) async fn apply(turn: &Turn<'_, 3>, site: &Site, manifest: &Manifest) -> TestResult {
    Ok(site.apply_in(&turn.namespace, &manifest.yaml()).await?)
}

/// A group that newyork has founded and leads by the highest rank, sheffield being next.
pub(crate) async fn newyork_leads(turn: &Turn<'_, 3>) -> TestResult {
    let [newyork, sheffield, gotham] = &**turn;
    apply(turn, newyork, &member(turn, newyork, 10).ready()).await?;
    newyork.wait_until_leading(&turn.namespace).await?;
    for (site, rank) in [(sheffield, 5), (gotham, 3)] {
        apply(
            turn,
            site,
            &member(turn, site, rank).joins(&[newyork, sheffield, gotham]),
        )
        .await?;
    }
    leads_alone(turn, newyork).await
}

/// Waits until the site leads, all others know it, nobody else has anything of the payload, and they are one group.
pub(crate) async fn leads_alone(turn: &Turn<'_, 3>, leader: &Site) -> TestResult {
    let what = format!("{} alone leads, all agree", leader.name());
    let mut seen = Vec::new();
    let agreed = leader
        .wait_until(&what, PATIENCE, async |_| {
            seen = try_join_all(turn.iter().map(|site| standing(site, &turn.namespace))).await?;
            let agrees = |(site, standing): (&Site, &Standing)| {
                let leads = std::ptr::eq(site, leader);
                standing.leading == leads
                    && standing.applied == leads
                    && standing.deployments == usize::from(leads)
                    && standing.port == 9990
                    && standing.leader_address == format!("{}:9990", leader.ip())
                    && (standing.term, &standing.group) == (seen[0].term, &seen[0].group)
            };
            Ok::<_, kube::Error>(turn.iter().zip(&seen).all(agrees))
        })
        .await;
    Ok(agreed.inspect_err(|_| println!("{seen:#?}"))?)
}

/// What a site's MultiCluster says, and what there is.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) leading: bool,
    pub(crate) applied: bool,
    pub(crate) leader_address: String,
    pub(crate) port: i64,
    pub(crate) term: Option<i64>,
    pub(crate) group: Option<String>,
    pub(crate) deployments: usize,
}

pub(crate) async fn standing(site: &Site, namespace: &str) -> kube::Result<Standing> {
    let status = site.status(namespace).await?;
    let memory: Option<Value> = status
        .memory
        .as_ref()
        .map(|memory| serde_json::from_str(&memory.record).unwrap());
    let deployments = Api::<Deployment>::namespaced(site.client().unwrap(), namespace);
    Ok(Standing {
        applied: condition(&status, "PayloadApplied") == Some("True"),
        leading: status.leading,
        leader_address: status.leader_address,
        port: status.port,
        term: status.term,
        group: memory.and_then(|memory| memory["group"]["id"].as_str().map(str::to_owned)),
        deployments: deployments.list(&ListParams::default()).await?.items.len(),
    })
}

pub(crate) async fn record(turn: &Turn<'_, 3>) -> flagship_testing::Result<Recorder> {
    let selection = Selection::new()
        .kind::<Deployment>()
        .kind::<ConfigMap>()
        .in_namespace(&turn.namespace)
        .labelled("flagship.dev/payload-of");
    Recorder::start(&turn.each_ref().map(|site| &**site), selection).await
}

pub(crate) fn never_two(history: &History) {
    assert_eq!(history.overlaps(Presence::Possible), [], "{history}");
}

/// Deletes a site's MultiCluster, and does not wait until it is gone.
pub(crate) async fn delete(site: &Site, namespace: &str) -> TestResult {
    let name = site.name();
    let arguments = ["delete", "multicluster", name, "-n", namespace, "--wait=false"];
    site.kubectl(&arguments).await?;
    Ok(())
}

pub(crate) async fn until_deleted(site: &Site, namespace: &str) -> TestResult {
    let object = format!("multicluster/{}", site.name());
    let arguments = ["wait", "--for=delete", &object, "-n", namespace, "--timeout=60s"];
    site.kubectl(&arguments).await?;
    Ok(())
}

/// Waits for some site to lead.
pub(crate) async fn leader_of<'a>(turn: &'a Turn<'_, 3>) -> flagship_testing::Result<&'a Site> {
    let leads = turn
        .iter()
        .map(|site| Box::pin(site.wait_until_leading(&turn.namespace)));
    let (_, index, _) = futures::future::select_all(leads).await;
    Ok(&turn[index])
}
