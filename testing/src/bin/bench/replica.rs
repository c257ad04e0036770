//! One of two controllers of the leader's cluster is killed: the other is elected for the same member, or the payload moves.

use std::time::Duration;

use flagship::api::{MultiCluster, MultiClusterStatus};
use flagship_testing::{
    Error, Observed, PATIENCE, Presence, Recorder, Replicated, Result, Selection, Sights, Site, sites,
};
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::time::sleep;

use crate::figures::{Figures, Sample, milliseconds};
use crate::group::{is_applied, status};

const NAMESPACE: &str = "default";
const PAYLOAD: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: content, labels: {part-of: bench}}
data: {index.html: hello}
";
/// A replica says that it stands by when it has started; the active one renews its Lease more often from its next renewal on.
const SETTLING: Duration = Duration::from_secs(4);
/// Longer than a failover takes at profile Balanced.
const QUIET: Duration = Duration::from_secs(7);
/// Longer than a heartbeat and the pause between two renewals, so that faults meet their phases at random.
const PAUSE_MAX_MS: u64 = 1_000;

/// Three members, the leader of which has two controllers.
struct Group {
    leader: Replicated,
    others: [Site; 2],
    members: Observed<MultiCluster>,
    recorder: Recorder,
}

/// Kills the active controller, as often as asked, at this timing profile.
pub(crate) async fn measure(profile: &str, figures: &mut Figures) -> Result<()> {
    let group = Group::start(profile).await?;
    let controllers = [&group.leader.controller, group.leader.second()];
    let mut active = 0;
    while figures.wants_more() {
        sleep(SETTLING + Duration::from_millis(rand::random_range(0..PAUSE_MAX_MS))).await;
        let term = group.term();
        let killed = group.recorder.mark("the active controller is killed");
        controllers[active].kill().await?;
        group
            .members
            .wait_until("the other was elected", PATIENCE, |sights| {
                is_served_after(sights, group.leader.name(), term)
            })
            .await?;
        let elected = group.recorder.now();
        sleep(QUIET.saturating_sub(elected.saturating_sub(killed))).await;
        group.settled().await?;
        figures.take(group.judge(killed, elected)?);
        controllers[active].start()?;
        controllers[active].wait_until_ready().await?;
        active = 1 - active;
    }
    Ok(())
}

impl Group {
    async fn start(profile: &str) -> Result<Group> {
        let (leader, others) = tokio::join!(Replicated::start("newyork"), sites(["sheffield", "gotham"]));
        let (leader, others) = (leader?, others?);
        let clusters = [&**leader, &*others[0], &*others[1]];
        let members = Observed::start(&clusters, NAMESPACE, "")?;
        let selection = Selection::new()
            .kind::<ConfigMap>()
            .in_namespace(NAMESPACE)
            .labelled("part-of=bench");
        let recorder = Recorder::start(&clusters, selection).await?;
        let timing = format!("timing: {{profile: {profile}}}");
        let founder = leader.manifest("bench", 30).with(&timing).payload(PAYLOAD);
        leader.apply_in(NAMESPACE, &founder.ready().yaml()).await?;
        leader.wait_until_leading(NAMESPACE).await?;
        for (site, rank) in others.iter().zip([20, 10]) {
            let joins = site.manifest("bench", rank).with(&timing).joins(&[&leader]);
            site.apply_in(NAMESPACE, &joins.payload(PAYLOAD).yaml()).await?;
            site.wait_until_following(NAMESPACE, &leader).await?;
        }
        Ok(Group {
            leader,
            others,
            members,
            recorder,
        })
    }

    fn term(&self) -> i64 {
        let sights = self.members.sights();
        let sights = sights.borrow();
        status(&sights, self.leader.name())
            .and_then(|status| status.term)
            .unwrap_or(0)
    }

    /// A move that was made is taken back by rank.
    async fn settled(&self) -> Result<()> {
        self.leader.wait_until_leading(NAMESPACE).await?;
        for site in &self.others {
            site.wait_until_following(NAMESPACE, &self.leader).await?;
        }
        Ok(())
    }

    fn judge(&self, killed: Duration, elected: Duration) -> Result<Sample> {
        let history = self.recorder.so_far();
        let twice = history.overlaps(Presence::Possible);
        if twice.iter().any(|overlap| overlap.to > killed) {
            return Err(Error::See {
                what: "one copy at a time".into(),
                history: history.to_string(),
            });
        }
        let gaps = history.gaps(Presence::Known);
        let gone = gaps.iter().filter(|gap| gap.from > killed);
        let gone: Duration = gone.filter_map(|gap| Some(gap.to? - gap.from)).sum();
        Ok(Sample::from([
            ("payload gone", milliseconds(gone)),
            ("served again", milliseconds(elected - killed)),
        ]))
    }
}

fn is_served_after(sights: &Sights<MultiCluster>, member: &str, term: i64) -> bool {
    let later = |status: &MultiClusterStatus| status.term.is_some_and(|now| now > term);
    status(sights, member).is_some_and(|status| is_applied(status) && later(status))
}
