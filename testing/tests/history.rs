//! The history checker against real clusters: what it says must be what happened.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use flagship_testing::{Certainty, Part, Presence, Recorder, Selection, TestResult, clusters};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::DeleteParams;
use tokio::time::sleep;

const MOVED: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: moved, labels: {app: web}}}";
/// What a watch on a busy machine may lag behind.
const SLACK: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_copy_beside_a_lost_cluster_is_possible_until_it_is_back_and_then_known() -> TestResult {
    let [newyork, sheffield] = clusters(["newyork", "sheffield"]).await?;
    let selection = Selection::new()
        .kind::<ConfigMap>()
        .in_namespace("default")
        .labelled("app=web");
    let recorder = Recorder::start(&[&newyork, &sheffield], selection).await?;
    newyork.apply(MOVED).await?;
    let delete = async |cluster: &flagship_testing::Cluster| -> TestResult {
        let config_maps = Api::<ConfigMap>::default_namespaced(cluster.client()?);
        config_maps.delete("moved", &DeleteParams::default()).await?;
        Ok(())
    };

    // A clean move, with a gap.
    let deleted = recorder.mark("deleted in newyork");
    delete(&newyork).await?;
    sleep(Duration::from_secs(1)).await;
    let applied = recorder.mark("applied in sheffield");
    sheffield.apply(MOVED).await?;
    sleep(SLACK).await;
    let clean = recorder.so_far();
    assert_eq!(clean.overlaps(Presence::Possible), [], "{clean}");
    let gaps = clean.gaps(Presence::Known);
    assert_eq!(gaps.len(), 1, "{clean}");
    let within = |time: Duration, at: Duration| time >= at && time < at + SLACK;
    assert!(
        within(gaps[0].from, deleted) && within(gaps[0].to.unwrap(), applied),
        "{gaps:?}\n{clean}"
    );

    // Sheffield is lost with its copy, and another is made: nobody knows of two until sheffield is back.
    let lost = recorder.mark("sheffield lost");
    sheffield.lose().await?;
    newyork.apply(MOVED).await?;
    sleep(Duration::from_secs(1)).await;
    let dark = recorder.so_far();
    assert_eq!(dark.overlaps(Presence::Known), [], "{dark}");
    assert_eq!(dark.overlaps(Presence::Possible).len(), 1, "{dark}");
    let unknown = dark
        .spans()
        .iter()
        .find(|span| span.certainty == Certainty::Unknown)
        .unwrap();
    assert_eq!(unknown.cluster, "sheffield");
    assert!(
        unknown.from > lost - SLACK && unknown.from < lost + SLACK,
        "{dark}"
    );

    sheffield.bring_back().await?;
    let back = recorder.mark("sheffield back");
    sleep(Duration::from_secs(1)).await;
    delete(&sheffield).await?;
    sleep(SLACK).await;
    let history = recorder.finish().await?;
    let known = history.overlaps(Presence::Known);
    assert_eq!(known.len(), 1, "{history}");
    let length = known[0].to - known[0].from;
    assert!(known[0].from > lost && known[0].from < back + SLACK, "{history}");
    assert!(
        length > Duration::from_millis(900) && length < Duration::from_secs(5),
        "{length:?}\n{history}"
    );
    Ok(())
}

#[tokio::test]
async fn a_frozen_api_server_makes_its_objects_unknown_while_it_is_silent() -> TestResult {
    let [newyork] = clusters(["newyork"]).await?;
    newyork.apply(MOVED).await?;
    let selection = Selection::new()
        .kind::<ConfigMap>()
        .in_namespace("default")
        .labelled("app=web");
    let recorder = Recorder::start(&[&newyork], selection).await?;
    sleep(SLACK).await;
    let frozen = recorder.mark("frozen");
    newyork.freeze(Part::ApiServer)?;
    sleep(Duration::from_secs(3)).await;
    newyork.thaw(Part::ApiServer)?;
    let thawed = recorder.mark("thawed");
    sleep(Duration::from_secs(2)).await;
    let history = recorder.finish().await?;
    let certainties: Vec<_> = history.spans().iter().map(|span| span.certainty).collect();
    assert_eq!(
        certainties,
        [Certainty::Known, Certainty::Unknown, Certainty::Known],
        "{history}"
    );
    let unknown = &history.spans()[1];
    assert!(
        unknown.from > frozen - SLACK && unknown.from < frozen + SLACK,
        "{history}"
    );
    assert!(
        unknown.to >= thawed && unknown.to < thawed + SLACK * 3,
        "{history}"
    );
    Ok(())
}
