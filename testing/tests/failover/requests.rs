//! What people ask of a group by `flagship switch` and `flagship member`.

use std::process::Output;
use std::time::Duration;

use flagship_testing::{PATIENCE, Site, TestResult};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::group::{QUIET, SITES, apply, leads_alone, member, never_two, newyork_leads, record};

async fn flagship(site: &Site, arguments: &[&str]) -> flagship_testing::Result<(bool, String, String)> {
    let Output {
        status,
        stdout,
        stderr,
    } = site.flagship(arguments).await?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((status.success(), text(stdout), text(stderr)))
}

#[tokio::test]
async fn a_switch_through_any_cluster_moves_the_payload_and_holds() -> TestResult {
    let turn = SITES.turn("switch").await?;
    let [newyork, sheffield, gotham] = &*turn;
    let namespace = turn.namespace.as_str();
    newyork_leads(&turn).await?;
    let recorder = record(&turn).await?;

    recorder.mark("gotham is asked for, through sheffield");
    let (done, told, progress) = flagship(
        sheffield,
        &[
            "switch",
            "sheffield",
            "--to",
            "gotham",
            "-n",
            namespace,
            "-o",
            "json",
        ],
    )
    .await?;
    assert!(done, "{told}{progress}");
    let told: Value = serde_json::from_str(&told)?;
    assert_eq!(
        (&told["from"], &told["leader"]),
        (&json!("newyork"), &json!("gotham"))
    );
    leads_alone(&turn, gotham).await?;
    sleep(QUIET).await;
    leads_alone(&turn, gotham).await?;
    let moves = newyork.status(namespace).await?.history;
    assert_eq!(
        (moves[0].from.as_str(), moves[0].to.as_str()),
        ("newyork", "gotham")
    );

    let (done, told, _) = flagship(sheffield, &["member", "list", "sheffield", "-n", namespace]).await?;
    assert!(done);
    let lines: Vec<Vec<&str>> = told
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let leads: Vec<&str> = lines
        .iter()
        .filter(|line| line.get(3) == Some(&"Leader"))
        .map(|line| line[0])
        .collect();
    assert_eq!((lines.len(), leads), (4, vec!["gotham"]), "{told}");

    let (done, _, told) = flagship(
        newyork,
        &["switch", "newyork", "--to", "metropolis", "-n", namespace],
    )
    .await?;
    assert!(!done);
    assert!(
        told.contains("metropolis is no member of this group; its members are"),
        "{told}"
    );

    // A paused member is left alone, and says so.
    sheffield.patch_spec(namespace, json!({"paused": true})).await?;
    sleep(Duration::from_secs(2)).await;
    let (done, _, told) = flagship(
        gotham,
        &["switch", "gotham", "--to", "sheffield", "-n", namespace],
    )
    .await?;
    assert!(!done);
    assert!(
        told.contains("that member is paused: set spec.paused to false there first"),
        "{told}"
    );

    recorder.mark("newyork is asked for");
    let (done, told, progress) =
        flagship(gotham, &["switch", "gotham", "--to", "newyork", "-n", namespace]).await?;
    assert!(done, "{told}{progress}");
    assert_eq!(told, "newyork leads\n");
    leads_alone(&turn, newyork).await?;
    never_two(&recorder.finish().await?);
    Ok(())
}

#[tokio::test]
async fn lost_members_are_removed_and_what_is_left_of_a_group_goes_on_alone() -> TestResult {
    let turn = SITES.turn("recover").await?;
    let [newyork, sheffield, gotham] = &*turn;
    let namespace = turn.namespace.as_str();
    newyork_leads(&turn).await?;
    let (done, _, told) = flagship(
        newyork,
        &["member", "remove", "newyork", "gotham", "-n", namespace],
    )
    .await?;
    assert!(!done);
    assert!(told.contains("is alive: delete its MultiCluster"), "{told}");

    gotham.controller.kill().await?;
    sleep(Duration::from_secs(5)).await;
    let (done, told, progress) = flagship(
        sheffield,
        &["member", "remove", "sheffield", "gotham", "-n", namespace],
    )
    .await?;
    assert!(done, "{told}{progress}");
    newyork
        .wait_until("two members are left", PATIENCE, async |_| {
            Ok::<_, kube::Error>(newyork.status(namespace).await?.members.len() == 2)
        })
        .await?;

    // Now newyork is lost for good, and sheffield alone is no majority of two that once were three.
    newyork
        .kubectl(&["delete", "namespace", namespace, "--wait=false"])
        .await?;
    newyork.lose().await?;
    sheffield
        .wait_for_condition(namespace, "QuorumReached", "False", "NotReached")
        .await?;
    let (done, _, told) = flagship(sheffield, &["member", "recover", "sheffield", "-n", namespace]).await?;
    assert!(!done);
    assert!(
        told.contains("the words `the others are stopped` were not given"),
        "{told}"
    );
    let words = [
        "member",
        "recover",
        "sheffield",
        "-n",
        namespace,
        "--confirm",
        "the others are stopped",
    ];
    let (done, told, progress) = flagship(sheffield, &words).await?;
    assert!(done, "{told}{progress}");
    sheffield.wait_until_leading(namespace).await?;
    assert_eq!(sheffield.status(namespace).await?.members.len(), 1);

    // Whoever remembers the old group is not admitted, and starts nothing.
    gotham.controller.start()?;
    sleep(QUIET).await;
    assert!(!gotham.status(namespace).await?.leading);
    newyork.bring_back().await?;
    gotham
        .kubectl(&[
            "delete",
            "multicluster",
            "gotham",
            "-n",
            namespace,
            "--timeout=60s",
        ])
        .await?;
    apply(&turn, gotham, &member(&turn, gotham, 3).joins(&[sheffield])).await?;
    gotham.wait_until_following(namespace, sheffield).await?;
    Ok(())
}
