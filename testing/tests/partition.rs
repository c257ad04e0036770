//! Links between the sites are cut without a word, and every API server lives on: so there is no excuse for a second
//! copy, not for a moment, except where a group of two has been allowed to split.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use flagship::api::MultiClusterStatus;
use flagship_testing::{
    Cluster, History, Networked, PATIENCE, Presence, Recorder, Result, Selection, SharedNetwork, Site,
    TestResult, can_build_networks, condition,
};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::time::sleep;

static NETWORK: SharedNetwork<3> = SharedNetwork::new(["newyork", "sheffield", "gotham"]);

/// Longer than a cut-off site of profile Balanced is waited for before another may start: lease, stop budget and two
/// rounds of an election.
const LONG: Duration = Duration::from_secs(10);

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

#[tokio::test]
async fn a_leader_that_is_cut_off_stops_before_another_starts_and_is_given_the_lead_again() -> TestResult {
    if !can_build_networks() {
        return Ok(());
    }
    let Networked { sites, network } = &*NETWORK.take().await?;
    let [newyork, sheffield, gotham] = sites;
    let group = Group::form("cut-off", &[newyork, sheffield, gotham], "Auto").await?;

    group.recorder.mark("newyork is cut off");
    network.cut_off(newyork).await?;
    let term = group.wait_until_agreed(sheffield, &[sheffield, gotham]).await?;
    assert!(term > group.term);
    group.wait_until_idle(newyork).await?;
    group.recorder.mark("healed");
    network.heal().await?;
    assert!(group.wait_until_led_by(newyork).await? > term);

    let history = group.dissolve().await?;
    assert_eq!(history.overlaps(Presence::Possible), [], "{history}");
    assert_eq!(copies(&history), ["newyork", "sheffield", "newyork"], "{history}");
    Ok(())
}

#[tokio::test]
async fn a_leader_that_hears_nobody_or_is_heard_by_nobody_is_replaced_without_a_second_copy() -> TestResult {
    if !can_build_networks() {
        return Ok(());
    }
    let Networked { sites, network } = &*NETWORK.take().await?;
    let [newyork, sheffield, gotham] = sites;
    let group = Group::form("one-way", &[newyork, sheffield, gotham], "Majority").await?;

    group.recorder.mark("newyork hears nobody");
    network.deafen(newyork).await?;
    group.wait_until_agreed(sheffield, &[sheffield, gotham]).await?;
    group.recorder.mark("healed");
    network.heal().await?;
    group.wait_until_led_by(newyork).await?;

    group.recorder.mark("newyork is heard by nobody");
    network.silence(newyork).await?;
    group.wait_until_agreed(sheffield, &[sheffield, gotham]).await?;
    group.recorder.mark("healed again");
    network.heal().await?;
    group.wait_until_led_by(newyork).await?;

    let history = group.dissolve().await?;
    assert_eq!(history.overlaps(Presence::Possible), [], "{history}");
    let expected = ["newyork", "sheffield", "newyork", "sheffield", "newyork"];
    assert_eq!(copies(&history), expected, "{history}");
    Ok(())
}

#[tokio::test]
async fn two_sites_without_a_quorum_warn_split_and_end_with_one_copy() -> TestResult {
    if !can_build_networks() {
        return Ok(());
    }
    let Networked { sites, network } = &*NETWORK.take().await?;
    let [newyork, sheffield, _] = sites;
    let group = Group::form("split", &[newyork, sheffield], "Auto").await?;
    for site in [newyork, sheffield] {
        let warning = site
            .wait_for_condition(
                group.namespace,
                "SplitBrainPossible",
                "True",
                "TwoMembersWithoutQuorum",
            )
            .await?;
        assert!(warning.contains("two leaders"), "{warning}");
    }

    group.recorder.mark("cut apart");
    network.part(&[newyork], &[sheffield]).await?;
    sheffield.wait_until_leading(group.namespace).await?;
    newyork.wait_until_leading(group.namespace).await?;

    group.recorder.mark("healed");
    network.heal().await?;
    group.wait_until_led_by(newyork).await?;

    let history = group.dissolve().await?;
    assert_ne!(history.overlaps(Presence::Known), [], "both led\n{history}");
    assert_eq!(
        copies(&history),
        ["newyork", "sheffield"],
        "newyork never stopped\n{history}"
    );
    Ok(())
}

#[tokio::test]
async fn two_sites_with_a_quorum_never_have_two_copies_and_none_while_they_are_cut_apart() -> TestResult {
    if !can_build_networks() {
        return Ok(());
    }
    let Networked { sites, network } = &*NETWORK.take().await?;
    let [newyork, sheffield, _] = sites;
    let group = Group::form("halves", &[newyork, sheffield], "Majority").await?;
    for site in [newyork, sheffield] {
        let status = site.status(group.namespace).await?;
        assert_eq!(condition(&status, "SplitBrainPossible"), Some("False"));
    }

    group.recorder.mark("cut apart");
    network.part(&[newyork], &[sheffield]).await?;
    for site in [newyork, sheffield] {
        site.wait_for_condition(group.namespace, "QuorumReached", "False", "NotReached")
            .await?;
        group.wait_until_idle(site).await?;
    }
    sleep(LONG).await;
    group.recorder.mark("healed");
    network.heal().await?;
    group.wait_until_led_by(newyork).await?;

    let history = group.dissolve().await?;
    assert_eq!(history.overlaps(Presence::Possible), [], "{history}");
    let (cut, healed) = (
        history.marked("cut apart").unwrap(),
        history.marked("healed").unwrap(),
    );
    let started: Vec<_> = history.spans().iter().map(|span| span.from).collect();
    assert!(
        !started.iter().any(|from| (cut..healed).contains(from)),
        "a copy was started without a quorum\n{history}"
    );
    Ok(())
}

#[tokio::test]
async fn a_follower_that_is_cut_off_and_comes_back_also_started_anew_disturbs_nobody() -> TestResult {
    if !can_build_networks() {
        return Ok(());
    }
    let Networked { sites, network } = &*NETWORK.take().await?;
    let [newyork, sheffield, gotham] = sites;
    let group = Group::form("follower", &[newyork, sheffield, gotham], "Auto").await?;

    group.recorder.mark("gotham is cut off");
    network.cut_off(gotham).await?;
    gotham
        .wait_for_condition(group.namespace, "QuorumReached", "False", "NotReached")
        .await?;
    sleep(LONG).await;
    group.recorder.mark("healed");
    network.heal().await?;
    gotham
        .wait_for_condition(group.namespace, "QuorumReached", "True", "Reached")
        .await?;
    assert_eq!(group.wait_until_led_by(newyork).await?, group.term);

    group
        .recorder
        .mark("gotham is cut off and its controller is killed");
    network.cut_off(gotham).await?;
    gotham.controller.kill().await?;
    gotham.controller.start()?;
    gotham
        .wait_for_condition(group.namespace, "QuorumReached", "False", "NotReached")
        .await?;
    group.recorder.mark("healed again");
    network.heal().await?;
    gotham
        .wait_for_condition(group.namespace, "QuorumReached", "True", "Reached")
        .await?;
    assert_eq!(group.wait_until_led_by(newyork).await?, group.term);

    let history = group.dissolve().await?;
    assert_eq!(copies(&history), ["newyork"], "{history}");
    Ok(())
}

/// One group of MultiClusters, in a namespace of its own. The first site founds it, and each ranks above the next.
struct Group<'a> {
    namespace: &'static str,
    sites: Vec<&'a Site>,
    /// The term in which the first site led the whole group.
    term: i64,
    recorder: Recorder,
}

impl<'a> Group<'a> {
    /// Returns when the first site leads and the others follow.
    async fn form(callsign: &'static str, sites: &[&'a Site], quorum: &str) -> Result<Group<'a>> {
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
        let quorum = format!("quorum: {quorum}");
        let member = |site: &Site, rank| site.manifest(callsign, rank).with(&quorum).payload(PAYLOAD);
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
    async fn wait_until_led_by(&self, leader: &Site) -> Result<i64> {
        self.wait_until_agreed(leader, &self.sites).await
    }

    /// Waits until these sites agree on the leader, its term and the group's members, and the leader alone has the
    /// payload. Returns the term.
    async fn wait_until_agreed(&self, leader: &Site, sites: &[&Site]) -> Result<i64> {
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
    async fn wait_until_idle(&self, site: &Site) -> Result<()> {
        let what = format!("{} runs nothing", site.name());
        site.wait_until(&what, PATIENCE, async |_| {
            site.status(self.namespace).await.map(|status| is_idle(&status))
        })
        .await
    }

    /// Deletes the group, the leader last, and tells what happened.
    async fn dissolve(self) -> Result<History> {
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
fn copies(history: &History) -> Vec<&str> {
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
