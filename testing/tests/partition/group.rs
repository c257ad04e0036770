//! One group on the networked sites: set up, looked at, judged.

use std::collections::BTreeSet;

use flagship::api::MultiClusterStatus;
use flagship_testing::{Cluster, History, PATIENCE, Recorder, Result, Selection, Site, condition};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::ConfigMap;

const PAYLOAD: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: page, labels: {app: web}}
data: {index.html: hello}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx}]}
";

/// One group of MultiClusters, in a namespace of its own. The first site founds it, and each ranks above the next.
pub(crate) struct Group<'a> {
    pub(crate) namespace: &'static str,
    pub(crate) sites: Vec<&'a Site>,
    /// The term in which the first site led the whole group.
    pub(crate) term: i64,
    pub(crate) recorder: Recorder,
}

impl<'a> Group<'a> {
    /// Returns when the first site leads and the others follow.
    pub(crate) async fn form(callsign: &'static str, sites: &[&'a Site], quorum: &str) -> Result<Group<'a>> {
        Group::form_with(callsign, sites, &format!("quorum: {quorum}")).await
    }

    /// As [`Group::form`], with this field in each spec.
    pub(crate) async fn form_with(
        callsign: &'static str,
        sites: &[&'a Site],
        field: &str,
    ) -> Result<Group<'a>> {
        let namespace = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {callsign}}}}}");
        for site in sites {
            site.apply(&namespace).await?;
        }
        let clusters: Vec<&Cluster> = sites.iter().map(|site| &***site).collect();
        let selection = Selection::new()
            .kind::<ConfigMap>()
            .kind::<Deployment>()
            .kind::<ReplicaSet>()
            .in_namespace(callsign)
            .labelled("app=web");
        let mut group = Group {
            namespace: callsign,
            sites: sites.to_vec(),
            term: 0,
            recorder: Recorder::start(&clusters, selection).await?,
        };
        let member = |site: &Site, rank| site.manifest(callsign, rank).with(field).payload(PAYLOAD);
        let founder = sites[0];
        founder
            .apply_in(callsign, &member(founder, 30).ready().yaml())
            .await?;
        for (site, rank) in sites[1..].iter().zip([20, 10]) {
            site.apply_in(callsign, &member(site, rank).joins(&[founder]).yaml())
                .await?;
        }
        group.term = group.wait_until_led_by(founder).await?;
        Ok(group)
    }

    /// Waits until all sites agree that this one leads, and returns its term.
    pub(crate) async fn wait_until_led_by(&self, leader: &Site) -> Result<i64> {
        self.wait_until_agreed(leader, &self.sites).await
    }

    /// Waits until these sites agree on the leader, its term and the group's members, and the leader alone has the
    /// payload. Returns the term.
    pub(crate) async fn wait_until_agreed(&self, leader: &Site, sites: &[&Site]) -> Result<i64> {
        let what = format!("{} leads all that it reaches", leader.name());
        let mut agreed = None;
        leader
            .wait_until(&what, PATIENCE, async |_| {
                let own = leader
                    .status(self.namespace)
                    .await
                    .map_err(|error| error.to_string())?;
                if condition(&own, "PayloadApplied") != Some("True") {
                    return Err(format!("{} has not applied the payload", leader.name()));
                }
                for site in sites {
                    let status = site
                        .status(self.namespace)
                        .await
                        .map_err(|error| error.to_string())?;
                    let known = status.leader.as_ref().map(|leader| leader.name.as_str());
                    if known != Some(leader.name())
                        || status.term != own.term
                        || members(&status) != members(&own)
                        || members(&status).len() != self.sites.len()
                        || is_idle(&status) == (site.name() == leader.name())
                    {
                        return Err(format!("{} says {status:?}", site.name()));
                    }
                }
                agreed = own.term;
                Ok(true)
            })
            .await?;
        Ok(agreed.unwrap())
    }

    /// Waits until a site neither leads nor has anything of the payload.
    pub(crate) async fn wait_until_idle(&self, site: &Site) -> Result<()> {
        let what = format!("{} runs nothing", site.name());
        site.wait_until(&what, PATIENCE, async |_| {
            site.status(self.namespace).await.map(|status| is_idle(&status))
        })
        .await
    }

    /// Deletes the group, the leader last, and tells what happened.
    pub(crate) async fn dissolve(self) -> Result<History> {
        for site in self.sites.iter().rev() {
            let delete = [
                "delete",
                "multicluster",
                site.name(),
                "--namespace",
                self.namespace,
            ];
            site.kubectl(&delete).await?;
        }
        self.recorder.finish().await
    }
}

fn members(status: &MultiClusterStatus) -> BTreeSet<&str> {
    status.members.iter().map(|member| member.id.as_str()).collect()
}

fn is_idle(status: &MultiClusterStatus) -> bool {
    let payload = status.payload.iter().flat_map(|payload| &payload.objects);
    !status.leading && payload.into_iter().all(|object| !object.owned)
}

/// The clusters that had the payload, one after another, which must be the same for each of its objects.
pub(crate) fn copies(history: &History) -> Vec<&str> {
    let mut sequences = BTreeSet::new();
    for key in history.keys() {
        let mut spans: Vec<_> = history.spans().iter().filter(|span| span.key == *key).collect();
        // While a cluster was too busy to answer, its object is told of in pieces.
        spans.dedup_by_key(|span| &span.uid);
        sequences.insert(spans.iter().map(|span| span.cluster.as_str()).collect::<Vec<_>>());
    }
    assert_eq!(sequences.len(), 1, "{sequences:?}\n{history}");
    sequences.pop_first().unwrap()
}
