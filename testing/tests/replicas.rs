//! Two controllers in the leader's cluster: the death of one is no reason to move, and a frozen one does no harm.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and shows its seed"
)]

use std::time::Duration;

use flagship_testing::{
    Controller, Failure, History, PATIENCE, Presence, Recorder, Replicated, Selection, Site, TestResult, WEB,
    sites,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

const GROUP: &str = "default";
/// Longer than any lease, stop budget or election at profile Balanced: what has not moved by then stays.
const QUIET: Duration = Duration::from_secs(7);
/// How many times one of two controllers is killed in the end, a lease and a stop budget apart at least: a replica that
/// dies before it has done what the former one left undone leaves nobody alive for longer than that.
const STORM_KILLS: usize = 4;

struct Group {
    newyork: Replicated,
    sheffield: Site,
    gotham: Site,
    recorder: Recorder,
}

impl Group {
    /// newyork, with two controllers, leads.
    async fn form() -> Result<Group, Failure> {
        let (newyork, others) = tokio::join!(Replicated::start("newyork"), sites(["sheffield", "gotham"]));
        let (newyork, [sheffield, gotham]) = (newyork?, others?);
        let selection = Selection::new()
            .kind::<Deployment>()
            .kind::<ConfigMap>()
            .in_namespace(GROUP)
            .labelled("flagship.dev/payload-of");
        let recorder = Recorder::start(&[&newyork, &sheffield, &gotham], selection).await?;
        let founder = newyork.manifest("replicated", 10).ready().payload(WEB);
        newyork.apply_in(GROUP, &founder.yaml()).await?;
        newyork.wait_until_leading(GROUP).await?;
        for (site, rank) in [(&sheffield, 5), (&gotham, 3)] {
            let joins = site.manifest("replicated", rank).joins(&[&newyork]);
            site.apply_in(GROUP, &joins.payload(WEB).yaml()).await?;
            site.wait_until_following(GROUP, &newyork).await?;
        }
        let group = Group {
            newyork,
            sheffield,
            gotham,
            recorder,
        };
        // The active one renews its Lease more often once it has heard of the other.
        sleep(Duration::from_secs(3)).await;
        Ok(group)
    }

    async fn term(&self) -> Result<i64, Failure> {
        Ok(self.newyork.status(GROUP).await?.term.unwrap())
    }

    /// Waits until newyork leads in a later term than this one, and stays so.
    async fn is_led_by_newyork_after(&self, term: i64) -> Result<i64, Failure> {
        let newyork = &self.newyork;
        newyork
            .wait_until("newyork was elected again", PATIENCE, async |_| {
                let status = newyork.status(GROUP).await?;
                Ok::<_, kube::Error>(status.leading && status.term.is_some_and(|now| now > term))
            })
            .await?;
        sleep(QUIET).await;
        newyork.wait_until_leading(GROUP).await?;
        for site in [&self.sheffield, &self.gotham] {
            site.wait_until_following(GROUP, newyork).await?;
        }
        self.term().await
    }
}

/// Makes the replica that stands by another release, and then the active one, which passes its part on when it ends.
async fn upgrade([active, standby]: [&Controller; 2]) -> TestResult {
    for controller in [standby, active] {
        controller.upgrade(env!("CARGO_BIN_EXE_next_release"));
        let ended = controller.terminate(PATIENCE).await?;
        assert!(ended.success(), "{ended}");
        controller.start()?;
        controller.wait_until_ready().await?;
        // The active one passes its part on only to a replica that it knows of.
        sleep(Duration::from_secs(3)).await;
    }
    Ok(())
}

/// Every object of the payload has been in newyork from the beginning to the end, and nowhere else.
fn never_moved(history: &History) {
    assert_eq!(history.overlaps(Presence::Possible), [], "{history}");
    let spans = history.spans();
    assert_eq!(spans.len(), 2, "each object was created once: {history}");
    assert!(spans.iter().all(|span| span.cluster == "newyork"), "{history}");
}

async fn ends(controller: &Controller) -> TestResult {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while controller.is_running()? {
        assert!(
            tokio::time::Instant::now() < deadline,
            "it goes on beside the other"
        );
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test]
async fn the_loss_of_one_of_two_controllers_moves_nothing() -> TestResult {
    let group = Group::form().await?;
    let (first, second) = (&group.newyork.controller, group.newyork.second());

    let term = group.term().await?;
    group.recorder.mark("the active controller is killed");
    first.kill().await?;
    let term = group.is_led_by_newyork_after(term).await?;
    first.start()?;
    first.wait_until_ready().await?;
    sleep(Duration::from_secs(3)).await;

    group.recorder.mark("the active controller is frozen");
    second.freeze()?;
    let term = group.is_led_by_newyork_after(term).await?;
    group.recorder.mark("it goes on");
    second.thaw()?;
    ends(second).await?;
    second.start()?;
    second.wait_until_ready().await?;
    sleep(Duration::from_secs(3)).await;

    group.recorder.mark("the active controller is told to end");
    let ended = first.terminate(PATIENCE).await?;
    assert!(ended.success(), "{ended}");
    group.is_led_by_newyork_after(term).await?;
    never_moved(&group.recorder.so_far());
    first.start()?;
    first.wait_until_ready().await?;

    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    for _ in 0..STORM_KILLS {
        sleep(Duration::from_millis(rng.random_range(5_000..7_000))).await;
        let one = if rng.random() { first } else { second };
        group.recorder.mark("one of both is killed, and starts again");
        one.kill().await?;
        one.start()?;
    }
    group.newyork.wait_until_leading(GROUP).await?;
    for site in [&group.sheffield, &group.gotham] {
        site.wait_until_following(GROUP, &group.newyork).await?;
    }
    let history = group.recorder.finish().await?;
    assert_eq!(history.overlaps(Presence::Possible), [], "{history}");
    Ok(())
}

#[tokio::test]
async fn a_rolling_upgrade_to_a_release_with_a_newer_protocol_moves_no_leader() -> TestResult {
    let group = Group::form().await?;
    let term = group.term().await?;
    group.recorder.mark("a follower is upgraded");
    let follower = &group.gotham.controller;
    follower.upgrade(env!("CARGO_BIN_EXE_next_release"));
    follower.terminate(PATIENCE).await?;
    follower.start()?;
    follower.wait_until_ready().await?;
    group.gotham.wait_until_following(GROUP, &group.newyork).await?;
    assert_eq!(
        group.term().await?,
        term,
        "a follower is no reason for an election"
    );

    group.recorder.mark("the leader's controllers are upgraded");
    upgrade([&group.newyork.controller, group.newyork.second()]).await?;
    group.is_led_by_newyork_after(term).await?;
    never_moved(&group.recorder.finish().await?);
    Ok(())
}

#[tokio::test]
async fn a_replica_that_is_not_elected_stops_the_payload_before_it_starts_elsewhere() -> TestResult {
    let group = Group::form().await?;
    // newyork is alone for a while: neither can it ask for votes, nor is it heard.
    group
        .recorder
        .mark("the active controller is frozen, and the others hear nobody");
    group.newyork.controller.freeze()?;
    group.sheffield.controller.freeze()?;
    group.gotham.controller.freeze()?;
    let newyork = &group.newyork;
    newyork
        .wait_until("the payload is gone", PATIENCE, async |_| {
            let payload = newyork.status(GROUP).await?.payload;
            Ok::<_, kube::Error>(
                payload.is_none_or(|payload| payload.objects.iter().all(|object| !object.owned)),
            )
        })
        .await?;
    group.recorder.mark("the others go on, without newyork");
    newyork.second().freeze()?;
    group.sheffield.controller.thaw()?;
    group.gotham.controller.thaw()?;
    group.sheffield.wait_until_leading(GROUP).await?;
    group.recorder.mark("all go on");
    newyork.controller.thaw()?;
    newyork.second().thaw()?;
    ends(&newyork.controller).await?;
    newyork.wait_until_leading(GROUP).await?;

    let history = group.recorder.finish().await?;
    assert_eq!(history.overlaps(Presence::Possible), [], "{history}");
    Ok(())
}
