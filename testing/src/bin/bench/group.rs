//! Three clusters with a controller each, whose MultiClusters form one group at profile Fast.

use std::time::Duration;

use flagship::api::{MultiCluster, MultiClusterStatus};
use flagship_testing::{
    Certainty, History, ObjectKey, Observed, PATIENCE, Recorder, Result, Selection, Sights, Site, condition,
    sites,
};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::json;
use tokio::time::sleep;

/// A small application: ten objects of nine kinds. No Namespace and no CustomResourceDefinition, which the API server
/// takes a while to serve.
const PAYLOAD: &str = include_str!("payload.yaml");
/// The objects of [`PAYLOAD`].
pub(crate) const OBJECTS: usize = 10;
const NAMESPACE: &str = "default";
/// The members and their ranks: the first leads when it can, and the second when it cannot.
const MEMBERS: [(&str, i64); 3] = [("newyork", 30), ("sheffield", 20), ("gotham", 10)];
/// The first member's rank in which the second goes before it.
const LOW_RANK: i64 = 15;
/// Watches tell what happened some milliseconds later, on a busy machine some more.
const WATCH_LAG: Duration = Duration::from_millis(25);

/// The group under measurement.
pub(crate) struct Group {
    pub(crate) sites: [Site; 3],
    /// What the MultiClusters say.
    pub(crate) members: Observed<MultiCluster>,
    /// When the payload's objects were where.
    pub(crate) recorder: Recorder,
}

impl Group {
    /// Starts everything, and waits until the first member leads and the others follow it.
    pub(crate) async fn start() -> Result<Self> {
        let sites = sites(MEMBERS.map(|(name, _)| name)).await?;
        let clusters = [&*sites[0], &*sites[1], &*sites[2]];
        let members = Observed::start(&clusters, NAMESPACE, "")?;
        let selection = Selection::new()
            .kind::<ServiceAccount>()
            .kind::<ConfigMap>()
            .kind::<Secret>()
            .kind::<Service>()
            .kind::<Deployment>()
            .kind::<StatefulSet>()
            .kind::<CronJob>()
            .kind::<PodDisruptionBudget>()
            .kind::<NetworkPolicy>()
            .in_namespace(NAMESPACE)
            .labelled("part-of=bench");
        let recorder = Recorder::start(&clusters, selection).await?;
        let group = Self {
            sites,
            members,
            recorder,
        };
        for (index, (_, rank)) in MEMBERS.into_iter().enumerate() {
            let site = &group.sites[index];
            let manifest = site
                .manifest("bench", rank)
                .with("timing: {profile: Fast}")
                .payload(PAYLOAD);
            let manifest = match index {
                0 => manifest.ready(),
                _ => manifest.joins(&[&group.sites[0]]),
            };
            site.apply_in(NAMESPACE, &manifest.yaml()).await?;
            group
                .wait_for(&format!("{} in the group", site.name()), |sights| {
                    status(sights, site.name()).is_some_and(|status| status.ready)
                })
                .await?;
        }
        group.settled(0).await?;
        Ok(group)
    }

    /// Waits until the member of this index leads with its payload in place, all hear each other, and nobody else has
    /// anything of the payload.
    pub(crate) async fn settled(&self, leader: usize) -> Result<()> {
        let name = MEMBERS[leader].0;
        self.wait_for(&format!("{name} leads all three members"), |sights| {
            MEMBERS.iter().all(|(member, _)| {
                status(sights, member).is_some_and(|status| {
                    let knows = status.leader.as_ref().is_some_and(|leader| leader.name == name);
                    let part = match *member == name {
                        true => is_applied(status) && status.quorum.is_some_and(|quorum| quorum.have == 3),
                        false => status.ready && !status.leading,
                    };
                    knows && part
                })
            })
        })
        .await?;
        self.recorded(&format!("the payload in {name} only"), |history| {
            let places = present(history);
            places.len() == OBJECTS && places.iter().all(|(_, cluster)| *cluster == name)
        })
        .await
        .map(|_| ())
    }

    /// Gives the first member a rank by which the member of this index, the first or the second, is preferred.
    pub(crate) async fn prefer(&self, leader: usize) -> Result<()> {
        let rank = if leader == 0 { MEMBERS[0].1 } else { LOW_RANK };
        self.sites[0].patch_spec(NAMESPACE, json!({ "rank": rank })).await
    }

    pub(crate) async fn wait_for(
        &self,
        what: &str,
        condition: impl FnMut(&Sights<MultiCluster>) -> bool,
    ) -> Result<()> {
        self.members.wait_until(what, PATIENCE, condition).await
    }

    /// Waits until `condition` holds of the recording, after MultiClusters have said so: watches are quick.
    pub(crate) async fn recorded(&self, what: &str, condition: impl Fn(&History) -> bool) -> Result<History> {
        let began = self.recorder.now();
        loop {
            let history = self.recorder.so_far();
            if condition(&history) {
                return Ok(history);
            }
            if self.recorder.now() > began + PATIENCE {
                return Err(flagship_testing::Error::Wait {
                    what: what.to_owned(),
                    on: "the recording".into(),
                    within: PATIENCE,
                    last: history.to_string(),
                });
            }
            sleep(WATCH_LAG).await;
        }
    }
}

/// The status of a member whose cluster answers.
pub(crate) fn status<'a>(sights: &'a Sights<MultiCluster>, member: &str) -> Option<&'a MultiClusterStatus> {
    let sight = sights.get(member).filter(|sight| sight.answers)?;
    sight.objects.get(member)?.status.as_ref()
}

/// Whether the payload is in place here.
pub(crate) fn is_applied(status: &MultiClusterStatus) -> bool {
    status.leading && condition(status, "PayloadApplied") == Some("True")
}

/// What is there at the end of the recording, as far as anybody can see.
pub(crate) fn present(history: &History) -> Vec<(&ObjectKey, &str)> {
    let spans = history.spans().iter();
    spans
        .filter(|span| span.to == history.end() && span.certainty == Certainty::Known)
        .map(|span| (&span.key, span.cluster.as_str()))
        .collect()
}
