//! The main job, on real control planes: one copy of the payload, in the right cluster, whatever happens.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and shows what it measured"
)]

mod api_server;
mod group;
mod requests;

use std::collections::BTreeSet;
use std::time::Duration;

use flagship::api::FINALIZER;
use flagship_testing::{PATIENCE, Presence, Site, TestResult};
use futures::future::try_join_all;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::time::sleep;

use group::{
    QUIET, SITES, apply, delete, leader_of, leads_alone, member, never_two, newyork_leads, record, standing,
    until_deleted,
};

#[tokio::test]
async fn every_planned_move_stops_here_before_it_starts_there() -> TestResult {
    let turn = SITES.turn("planned").await?;
    let [newyork, sheffield, gotham] = &*turn;
    let namespace = &turn.namespace;
    let recorder = record(&turn).await?;

    // The two published members, and a third: sheffield's rank is the highest, and it only joins.
    apply(&turn, newyork, &member(&turn, newyork, 5).ready()).await?;
    newyork.wait_until_leading(namespace).await?;
    apply(&turn, sheffield, &member(&turn, sheffield, 10).joins(&[newyork])).await?;
    sheffield
        .kubectl(&[
            "wait",
            "--for=condition=Leading",
            "multicluster/sheffield",
            "-n",
            namespace,
            "--timeout=60s",
        ])
        .await?;
    apply(
        &turn,
        gotham,
        &member(&turn, gotham, 3).joins(&[newyork, sheffield]),
    )
    .await?;
    leads_alone(&turn, sheffield).await?;

    recorder.mark("newyork's rank is raised");
    apply(&turn, newyork, &member(&turn, newyork, 20).ready()).await?;
    leads_alone(&turn, newyork).await?;

    recorder.mark("newyork's controller is told to end");
    let ended = newyork.controller.terminate(PATIENCE).await?;
    assert!(ended.success(), "{ended}");
    sheffield.wait_until_leading(namespace).await?;
    recorder.mark("newyork's controller starts again");
    newyork.controller.start()?;
    leads_alone(&turn, newyork).await?;

    recorder.mark("newyork's MultiCluster is deleted");
    delete(newyork, namespace).await?;
    until_deleted(newyork, namespace).await?;
    sheffield.wait_until_leading(namespace).await?;
    gotham.wait_until_following(namespace, sheffield).await?;
    sheffield
        .wait_until("the others are the group", PATIENCE, async |_| {
            let members = sheffield.status(namespace).await?.members;
            let names: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
            Ok::<_, kube::Error>(names == BTreeSet::from(["sheffield", "gotham"]))
        })
        .await?;

    recorder.mark("sheffield's namespace is deleted");
    sheffield
        .kubectl(&["delete", "namespace", namespace, "--timeout=60s"])
        .await?;
    gotham.wait_until_leading(namespace).await?;
    let history = recorder.finish().await?;
    never_two(&history);
    Ok(())
}

#[tokio::test]
async fn a_killed_controller_is_replaced_and_comes_back_into_the_same_group() -> TestResult {
    let turn = SITES.turn("killed").await?;
    let [newyork, sheffield, _] = &*turn;
    newyork_leads(&turn).await?;
    let recorder = record(&turn).await?;
    let killed = recorder.mark("newyork's controller is killed");
    newyork.controller.kill().await?;
    sheffield.wait_until_leading(&turn.namespace).await?;
    sleep(Duration::from_secs(2)).await;
    let back = recorder.mark("newyork's controller starts again");
    newyork.controller.start()?;
    // By `ready: true` it could found a group of its own.
    leads_alone(&turn, newyork).await?;
    for site in [newyork, sheffield] {
        let moves = site.status(&turn.namespace).await?.history;
        let told: Vec<_> = moves
            .iter()
            .take(2)
            .map(|one| (one.from.as_str(), one.to.as_str()))
            .collect();
        assert_eq!(
            told,
            [("sheffield", "newyork"), ("newyork", "sheffield")],
            "{}: {moves:#?}",
            site.name()
        );
    }
    let history = recorder.finish().await?;
    let overlaps = history.overlaps(Presence::Known);
    // A dead controller is not a dead payload: what it left runs on beside the new one until it is back.
    println!("after kill -9 of the leader's controller:\n{history}");
    assert!(
        !overlaps.is_empty() && overlaps.iter().all(|two| two.from > killed && two.from < back),
        "{history}"
    );
    // Gotham may lead for a moment first, if newyork died before sheffield had heard of it.
    let beside_newyork = |other: &str| {
        let is_it = |name: &String| name == "newyork" || name == other;
        overlaps
            .iter()
            .filter(|two| two.clusters.iter().all(is_it))
            .count()
    };
    let sheffield = beside_newyork("sheffield");
    assert_eq!(sheffield, history.keys().len(), "once for each object: {history}");
    assert_eq!(
        sheffield + beside_newyork("gotham"),
        overlaps.len(),
        "never two beside what was left: {history}"
    );
    Ok(())
}

#[tokio::test]
async fn a_frozen_controller_finds_itself_replaced_when_it_thaws() -> TestResult {
    let turn = SITES.turn("frozen").await?;
    let [newyork, sheffield, gotham] = &*turn;
    let namespace = &turn.namespace;
    newyork_leads(&turn).await?;
    newyork.controller.freeze()?;
    sheffield.wait_until_leading(namespace).await?;
    // Its rank no longer makes it leader again, so that it is seen to follow.
    apply(&turn, newyork, &member(&turn, newyork, 1).ready()).await?;
    let recorder = record(&turn).await?;
    recorder.mark("newyork's controller thaws");
    newyork.controller.thaw()?;
    leads_alone(&turn, sheffield).await?;
    gotham.wait_until_following(namespace, sheffield).await?;
    let term = sheffield.status(namespace).await?.term;
    sleep(QUIET).await;
    leads_alone(&turn, sheffield).await?;
    assert_eq!(
        sheffield.status(namespace).await?.term,
        term,
        "no second election"
    );
    let history = recorder.finish().await?;
    let written: Vec<_> = history
        .spans()
        .iter()
        .filter(|span| span.cluster == "newyork")
        .collect();
    assert!(
        written.len() == 2 && written.iter().all(|span| span.from < Duration::from_millis(500)),
        "it made nothing after it thawed: {history}"
    );
    Ok(())
}

#[tokio::test]
async fn a_lost_cluster_is_replaced_and_follows_when_it_is_back() -> TestResult {
    let turn = SITES.turn("lost").await?;
    let [newyork, sheffield, _] = &*turn;
    let namespace = &turn.namespace;
    newyork_leads(&turn).await?;
    let recorder = record(&turn).await?;
    recorder.mark("newyork is lost");
    newyork.lose().await?;
    sheffield.wait_until_leading(namespace).await?;
    let back = recorder.mark("newyork is brought back");
    newyork.bring_back().await?;
    leads_alone(&turn, newyork).await?;
    let history = recorder.finish().await?;
    let second: Vec<_> = history
        .spans()
        .iter()
        .filter(|span| span.key.kind == "Deployment" && span.cluster == "newyork" && span.from > back)
        .filter(|span| {
            history
                .spans()
                .iter()
                .any(|old| old.uid == span.uid && old.from < back)
        })
        .collect();
    assert!(
        !second.is_empty() && second.iter().all(|span| span.terminating_from.is_some()),
        "what the lost cluster still had is stopped before its rank makes it leader again: {history}"
    );
    Ok(())
}

#[tokio::test]
async fn members_of_equal_rank_that_start_together_make_one_copy_and_stay() -> TestResult {
    let turn = SITES.turn("together").await?;
    let namespace = &turn.namespace;
    let recorder = record(&turn).await?;
    let [newyork, sheffield, gotham] = &*turn;
    // Each may found the group, and none knows more than addresses.
    let started = turn.iter().map(async |site| {
        let others: Vec<&Site> = turn.iter().filter(|other| !std::ptr::eq(*other, site)).collect();
        site.apply_in(namespace, &member(&turn, site, 5).ready().joins(&others).yaml())
            .await
    });
    try_join_all(started).await?;
    let leader = leader_of(&turn).await?;
    leads_alone(&turn, leader).await?;
    let term = leader.status(namespace).await?.term;
    sleep(QUIET).await;
    leads_alone(&turn, leader).await?;
    for site in [newyork, sheffield, gotham] {
        assert_eq!(site.status(namespace).await?.term, term, "in {}", site.name());
    }
    never_two(&recorder.finish().await?);
    Ok(())
}

#[tokio::test]
async fn after_a_storm_of_restarts_one_leads_and_runs_one_payload() -> TestResult {
    let turn = SITES.turn("storm").await?;
    newyork_leads(&turn).await?;
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    for _ in 0..20 {
        let site = &turn[rng.random_range(0..3)];
        site.controller.kill().await?;
        sleep(Duration::from_millis(rng.random_range(0..1_000))).await;
        site.controller.start()?;
        sleep(Duration::from_millis(rng.random_range(0..1_500))).await;
    }
    let [newyork, ..] = &*turn;
    leads_alone(&turn, newyork).await?;
    sleep(QUIET).await;
    leads_alone(&turn, newyork).await
}

#[tokio::test]
async fn deleting_the_definition_ends_its_members_and_hangs_nothing() -> TestResult {
    let turn = SITES.turn("undefined").await?;
    let [newyork, sheffield, gotham] = &*turn;
    let namespace = &turn.namespace;
    newyork_leads(&turn).await?;
    let recorder = record(&turn).await?;
    newyork
        .kubectl(&["delete", "crd", "multiclusters.kube-vip.io", "--timeout=120s"])
        .await?;
    sheffield.wait_until_leading(namespace).await?;
    gotham.wait_until_following(namespace, sheffield).await?;
    never_two(&recorder.finish().await?);

    // With the definition back it goes on, by the same process.
    let pid = newyork.controller.pid()?;
    newyork.install().await?;
    newyork
        .wait_until("the definition", PATIENCE, async |_| {
            newyork
                .apply_in(namespace, &member(&turn, newyork, 10).joins(&[sheffield]).yaml())
                .await
                .map(|()| true)
        })
        .await?;
    leads_alone(&turn, newyork).await?;
    assert_eq!(newyork.controller.pid()?, pid);
    Ok(())
}

#[tokio::test]
async fn what_ran_before_is_stopped_although_the_spec_has_become_invalid() -> TestResult {
    let turn = SITES.turn("invalid").await?;
    let [newyork, sheffield, _] = &*turn;
    let namespace = &turn.namespace;
    newyork_leads(&turn).await?;
    newyork
        .patch_spec(namespace, json!({"serviceAddress": "172.18.100.300"}))
        .await?;
    newyork
        .wait_for_condition(namespace, "InvalidSpec", "True", "Invalid")
        .await?;
    assert!(newyork.status(namespace).await?.leading, "by the last valid spec");
    newyork.controller.kill().await?;
    sheffield.wait_until_leading(namespace).await?;
    newyork.controller.start()?;
    newyork
        .wait_until("the old payload is gone", PATIENCE, async |_| {
            Ok::<_, kube::Error>(standing(newyork, namespace).await?.deployments == 0)
        })
        .await?;
    assert!(sheffield.status(namespace).await?.leading);
    apply(&turn, newyork, &member(&turn, newyork, 10).ready()).await?;
    leads_alone(&turn, newyork).await
}

#[tokio::test]
async fn a_deleted_member_leaves_once_however_long_others_keep_its_object() -> TestResult {
    let turn = SITES.turn("kept").await?;
    let [newyork, sheffield, _] = &*turn;
    let namespace = &turn.namespace;
    newyork_leads(&turn).await?;
    // As a tool does that replaces whole objects.
    let finalize = async |finalizers: Value| {
        let finalizers = json!({"metadata": {"finalizers": finalizers}}).to_string();
        let patch = [
            "patch",
            "multicluster",
            "newyork",
            "-n",
            namespace,
            "--type=merge",
            "-p",
            &finalizers,
        ];
        newyork.kubectl(&patch).await
    };
    finalize(json!(["example.com/backup"])).await?;
    newyork
        .wait_until("the finalizer is put back", PATIENCE, async |_| {
            let finalizers = newyork.multicluster(namespace).await?.metadata.finalizers;
            let both = ["example.com/backup", FINALIZER].map(str::to_owned).to_vec();
            Ok::<_, kube::Error>(finalizers == Some(both))
        })
        .await?;
    delete(newyork, namespace).await?;
    sheffield.wait_until_leading(namespace).await?;
    newyork
        .wait_until("its own finalizer is off", PATIENCE, async |_| {
            let finalizers = newyork.multicluster(namespace).await?.metadata.finalizers;
            Ok::<_, kube::Error>(finalizers == Some(vec!["example.com/backup".to_owned()]))
        })
        .await?;
    let incarnation = async || {
        let memory = newyork.status(namespace).await?.memory.unwrap();
        let record: Value = serde_json::from_str(&memory.record)?;
        Ok::<_, Box<dyn std::error::Error>>(record["incarnation"].clone())
    };
    let left = incarnation().await?;
    sleep(QUIET).await;
    assert_eq!(incarnation().await?, left, "it was started again");
    newyork.controller.kill().await?;
    newyork.controller.start()?;
    newyork.controller.wait_until_ready().await?;
    sleep(QUIET).await;
    assert_eq!(
        incarnation().await?,
        left,
        "it was started again by another process"
    );
    assert!(sheffield.status(namespace).await?.leading);
    finalize(json!([])).await?;
    until_deleted(newyork, namespace).await?;
    Ok(())
}

#[tokio::test]
async fn a_deleted_member_stays_while_its_group_could_not_do_without_it() -> TestResult {
    let turn = SITES.turn("needed").await?;
    let [newyork, sheffield, gotham] = &*turn;
    let namespace = &turn.namespace;
    newyork_leads(&turn).await?;
    newyork
        .wait_until("both others are connected", PATIENCE, async |_| {
            let page = newyork.controller.get("/metrics").await?;
            Ok::<_, flagship_testing::Error>(page.contains("\nflagship_peers_connected 2\n"))
        })
        .await?;
    let recorder = record(&turn).await?;
    gotham.controller.kill().await?;
    delete(newyork, namespace).await?;
    sheffield.wait_until_leading(namespace).await?;
    newyork.wait_for_event(namespace, "StillNeeded", "").await?;
    sleep(QUIET).await;
    assert!(sheffield.status(namespace).await?.leading, "with newyork's vote");

    gotham.controller.start()?;
    until_deleted(newyork, namespace).await?;
    sheffield.wait_until_leading(namespace).await?;
    never_two(&recorder.finish().await?);
    Ok(())
}
