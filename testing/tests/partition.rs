//! Links between the sites are cut without a word, and every API server lives on: so there is no excuse for a second
//! copy, not for a moment, except where a group of two has been allowed to split.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "partition/group.rs"]
mod group;

use std::time::Duration;

use flagship_testing::{Networked, Presence, SharedNetwork, TestResult, can_build_networks, condition};
use tokio::time::sleep;

use group::{Group, copies};

static NETWORK: SharedNetwork<3> = SharedNetwork::new(["newyork", "sheffield", "gotham"]);

/// Longer than a cut-off site of profile Balanced is waited for before another may start: lease, stop budget and two
/// rounds of an election.
const LONG: Duration = Duration::from_secs(10);

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
