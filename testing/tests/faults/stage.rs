//! Three groups on the same three sites: what strikes one site strikes the leader of two of them and a follower of the
//! third.

use flagship_testing::{
    ClusterOptions, Failure, History, PATIENCE, Recorder, Result, Selection, Site, condition, sites_with,
};
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

/// One group: its callsign and the namespace that it has to itself.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    /// By the order of the sites. The highest leads.
    ranks: [i64; 3],
    field: &'static str,
}

/// newyork leads, also while its API server does not answer.
pub(crate) const KEPT: Group = Group {
    name: "kept",
    ranks: [30, 20, 10],
    field: "onApiServerLoss: {action: Keep}",
};
/// newyork leads, unless its API server does not answer.
pub(crate) const GIVEN_UP: Group = Group {
    name: "given-up",
    ranks: [30, 20, 10],
    field: "onApiServerLoss: {action: Failover, after: 3s}",
};
/// gotham leads.
pub(crate) const ELSEWHERE: Group = Group {
    name: "elsewhere",
    ranks: [10, 20, 30],
    field: "onApiServerLoss: {action: Keep}",
};
pub(crate) const GROUPS: [&Group; 3] = [&KEPT, &GIVEN_UP, &ELSEWHERE];

/// The payload, in an edition that tells itself from others.
pub(crate) fn payload(edition: &str) -> String {
    format!(
        "\
apiVersion: v1
kind: ConfigMap
metadata: {{name: page}}
data: {{edition: {edition:?}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: nginx}}]}}
"
    )
}

static SITES: Mutex<Option<[Site; 3]>> = Mutex::const_new(None);

/// The sites for one test, with everything running and each group led by the member that it prefers. The groups are
/// formed once.
pub(crate) async fn stage() -> Result<MappedMutexGuard<'static, [Site; 3]>, Failure> {
    let mut stage = SITES.lock().await;
    if stage.is_none() {
        let names = ["newyork", "sheffield", "gotham"];
        let sites = sites_with(names.map(|name| ClusterOptions::new(name).behind_proxy())).await?;
        try_join_all(GROUPS.map(|group| group.form(&sites))).await?;
        *stage = Some(sites);
    }
    let sites = MutexGuard::map(stage, |stage| stage.as_mut().unwrap());
    try_join_all(sites.iter().map(Site::mend)).await?;
    for group in GROUPS {
        group.leads_alone(&sites, group.preferred(&sites)).await?;
    }
    Ok(sites)
}

/// Records the payloads of all groups.
pub(crate) async fn record(sites: &[Site; 3]) -> Result<Recorder> {
    let selection = Selection::new()
        .kind::<ConfigMap>()
        .kind::<Deployment>()
        .labelled("flagship.dev/payload-of");
    Recorder::start(&sites.each_ref().map(|site| &**site), selection).await
}

impl Group {
    /// The site whose member leads where nothing stands against it.
    pub(crate) fn preferred<'a>(&self, sites: &'a [Site; 3]) -> &'a Site {
        let highest = (0..3).max_by_key(|site| self.ranks[*site]);
        &sites[highest.unwrap()]
    }

    async fn form(&self, sites: &[Site; 3]) -> Result<()> {
        let leader = self.preferred(sites);
        let namespace = format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {}}}}}",
            self.name
        );
        let of_leader = |site: &Site| site.name() == leader.name();
        let mut all: Vec<_> = sites.iter().zip(self.ranks).collect();
        all.sort_by_key(|(site, _)| !of_leader(site));
        for (site, rank) in all {
            site.apply(&namespace).await?;
            let member = site
                .manifest(self.name, rank)
                .with(self.field)
                .payload(&payload("first"));
            let member = match of_leader(site) {
                true => member.ready(),
                false => member.joins(&[leader]),
            };
            site.apply_in(self.name, &member.yaml()).await?;
        }
        self.leads_alone(sites, leader).await.map(|_| ())
    }

    /// Waits until this site leads, all others know it and are heard, and nobody else has anything of the payload.
    /// Returns the term.
    pub(crate) async fn leads_alone(&self, sites: &[Site; 3], leader: &Site) -> Result<i64> {
        let mut agreed = None;
        let what = format!("{} leads {}, and all agree", leader.name(), self.name);
        leader
            .wait_until(&what, PATIENCE, async |_| {
                let own = leader
                    .status(self.name)
                    .await
                    .map_err(|error| error.to_string())?;
                if own.quorum.as_ref().is_none_or(|quorum| quorum.have != 3) {
                    return Err(format!("it hears {:?}", own.quorum));
                }
                for site in sites {
                    let status = site.status(self.name).await.map_err(|error| error.to_string())?;
                    let leads = site.name() == leader.name();
                    let knows = status.leader.as_ref().map(|leader| leader.name.as_str());
                    let owns = status.payload.iter().flat_map(|payload| &payload.objects);
                    if knows != Some(leader.name())
                        || status.term != own.term
                        || status.leading != leads
                        || (condition(&status, "PayloadApplied") == Some("True")) != leads
                        || owns.filter(|object| object.owned).count() != if leads { 2 } else { 0 }
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

    /// The clusters that had the payload, one after another.
    pub(crate) fn copies<'a>(&self, history: &'a History) -> Vec<&'a str> {
        let of_group = |span: &&flagship_testing::Span| span.key.namespace == self.name;
        let mut spans: Vec<_> = history.spans().iter().filter(of_group).collect();
        spans.sort_by(|one, other| (&one.key, one.from).cmp(&(&other.key, other.from)));
        // While a cluster did not answer, its object is told of in pieces.
        spans.dedup_by_key(|span| &span.uid);
        let of_kind = |kind| {
            let spans = spans.iter().filter(move |span| span.key.kind == kind);
            spans.map(|span| span.cluster.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(of_kind("ConfigMap"), of_kind("Deployment"), "{history}");
        of_kind("ConfigMap")
    }
}
