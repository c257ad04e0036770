//! Failover: the leader's whole cluster is killed, and the payload appears elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use flagship::api::{MultiCluster, Role};
use flagship_testing::{Certainty, Result, Sights};
use tokio::time::sleep;

use crate::figures::{Figures, Sample, milliseconds};
use crate::group::{Group, OBJECTS, is_applied, status};

/// Longer than a heartbeat, so that faults meet its phase at random.
const PAUSE_MAX_MS: u64 = 250;

/// Loses the leader's cluster, and brings it back, which ends with it leading again; as often as asked.
pub(crate) async fn measure(group: &Group, figures: &mut Figures) -> Result<()> {
    while figures.wants_more() {
        sleep(Duration::from_millis(rand::random_range(0..PAUSE_MAX_MS))).await;
        let sample = fail_over(group).await?;
        figures.take(sample);
        group.sites[0].bring_back().await?;
        group.settled(0).await?;
    }
    Ok(())
}

async fn fail_over(group: &Group) -> Result<Sample> {
    let leader = &group.sites[0];
    let memories = memories(&group.members.sights().borrow(), leader.name());
    let fault = group.recorder.mark("the leader's cluster is lost");
    let since = |at: Duration| milliseconds(at.saturating_sub(fault));
    let stages = async {
        let survivor = |sights: &Sights<MultiCluster>, is: &dyn Fn(&str) -> bool| {
            sights.keys().any(|name| name != leader.name() && is(name))
        };
        group
            .wait_for("a survivor's vote", |sights| {
                survivor(sights, &|name| {
                    memory(sights, name) != memories.get(name).cloned()
                })
            })
            .await?;
        let voted = group.recorder.now();
        group
            .wait_for("a survivor's election", |sights| {
                survivor(sights, &|name| {
                    status(sights, name).is_some_and(|status| status.role == Some(Role::Leader))
                })
            })
            .await?;
        let elected = group.recorder.now();
        group
            .wait_for("a survivor with the payload in place", |sights| {
                survivor(sights, &|name| status(sights, name).is_some_and(is_applied))
            })
            .await?;
        Ok((voted, elected))
    };
    let (lost, stages) = tokio::join!(leader.lose(), stages);
    lost?;
    let (voted, elected) = stages?;

    let history = group
        .recorded("the whole payload in a survivor", |history| {
            arrivals(history, fault, leader.name()).len() == OBJECTS
        })
        .await?;
    let arrivals = arrivals(&history, fault, leader.name());
    let [first, last] =
        [arrivals.iter().min(), arrivals.iter().max()].map(|at| at.copied().unwrap_or_default());
    Ok(Sample::from([
        ("vote durable", since(voted)),
        ("elected", since(elected)),
        ("first object", since(first)),
        ("last object", since(last)),
    ]))
}

/// When each of the payload's objects was first seen in another cluster after the fault.
fn arrivals(history: &flagship_testing::History, fault: Duration, lost: &str) -> Vec<Duration> {
    let mut arrivals = BTreeMap::new();
    let spans = history.spans().iter();
    let new =
        spans.filter(|span| span.certainty == Certainty::Known && span.cluster != lost && span.from > fault);
    for span in new {
        arrivals.entry(&span.key).or_insert(span.from);
    }
    arrivals.into_values().collect()
}

/// The durable memory of each survivor, which a vote changes.
fn memories(sights: &Sights<MultiCluster>, lost: &str) -> BTreeMap<String, String> {
    let survivors = sights.keys().filter(|name| *name != lost);
    survivors
        .filter_map(|name| Some((name.clone(), memory(sights, name)?)))
        .collect()
}

fn memory(sights: &Sights<MultiCluster>, member: &str) -> Option<String> {
    Some(status(sights, member)?.memory.as_ref()?.digest.clone())
}
