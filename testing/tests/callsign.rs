//! The group's secret, on real control planes: it stands in a Secret, is replaced without an election, and keeps
//! strangers out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use flagship_testing::{SharedSites, Site, TestResult, Turn};
use tokio::time::sleep;

static SITES: SharedSites<3> = SharedSites::new(["newyork", "sheffield", "gotham"]);

const PAYLOAD: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: web-content}
data: {index.html: hello}
";

/// Longer than a lease and two elections at profile Balanced.
const QUIET: Duration = Duration::from_secs(8);

/// Writes the Secret of a member, as `kubectl apply` does.
async fn write_callsign(turn: &Turn<'_, 3>, site: &Site, data: &str) -> TestResult {
    let secret = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: group}}\nstringData: {{{data}}}\n");
    Ok(site.apply_in(&turn.namespace, &secret).await?)
}

/// A group whose members have their callsign from Secrets, led by newyork.
async fn newyork_leads(turn: &Turn<'_, 3>) -> TestResult {
    let [newyork, sheffield, gotham] = &**turn;
    for (site, rank) in [(newyork, 10), (sheffield, 5), (gotham, 3)] {
        let manifest = site
            .manifest("unused", rank)
            .payload(PAYLOAD)
            .with("callsignFrom: {secretKeyRef: {name: group, key: callsign}}")
            .joins(&[newyork, sheffield, gotham]);
        let manifest = match rank {
            10 => manifest.ready(),
            _ => manifest,
        };
        let yaml = manifest.yaml().replace("  callsign: unused\n", "");
        site.apply_in(&turn.namespace, &yaml).await?;
        if rank == 10 {
            // Nobody is founded without a callsign.
            let message = site
                .wait_for_condition(&turn.namespace, "Degraded", "True", "CallsignUnusable")
                .await?;
            assert!(message.contains("no Secret group"), "{message}");
        }
    }
    for site in &**turn {
        write_callsign(turn, site, "callsign: federation").await?;
    }
    newyork.wait_until_leading(&turn.namespace).await?;
    all_follow(turn).await
}

/// The terms in which the members are, and whether newyork leads.
async fn standing(turn: &Turn<'_, 3>) -> kube::Result<(Vec<Option<i64>>, bool)> {
    let mut terms = Vec::new();
    let mut leading = false;
    for site in &**turn {
        let status = site.status(&turn.namespace).await?;
        terms.push(status.term);
        leading |= status.leading && site.name() == "newyork";
    }
    Ok((terms, leading))
}

async fn all_follow(turn: &Turn<'_, 3>) -> TestResult {
    let [newyork, sheffield, gotham] = &**turn;
    for site in [sheffield, gotham] {
        site.wait_for_condition(&turn.namespace, "Ready", "True", "Following")
            .await?;
        site.wait_until_following(&turn.namespace, newyork).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_callsign_is_replaced_on_all_members_one_after_another_without_an_election() -> TestResult {
    let turn = SITES.turn("rotation").await?;
    newyork_leads(&turn).await?;
    let [newyork, sheffield, gotham] = &*turn;
    let before = standing(&turn).await?;
    assert!(before.1, "{before:?}");
    for site in [sheffield, newyork, gotham] {
        write_callsign(&turn, site, "callsign: alliance").await?;
        sleep(QUIET / 4).await;
    }
    sleep(QUIET).await;
    all_follow(&turn).await?;
    assert_eq!(standing(&turn).await?, before);
    // Whoever is started anew knows the new one only, and that is enough.
    sheffield.controller.kill().await?;
    sheffield.controller.start()?;
    sleep(QUIET).await;
    all_follow(&turn).await?;
    assert_eq!(standing(&turn).await?, before);
    // The next one, with a restart before the others have it: the former one is written down.
    write_callsign(&turn, gotham, "callsign: union, callsign-previous: alliance").await?;
    gotham.controller.kill().await?;
    gotham.controller.start()?;
    sleep(QUIET).await;
    all_follow(&turn).await?;
    for site in [newyork, sheffield] {
        write_callsign(&turn, site, "callsign: union").await?;
    }
    sleep(QUIET).await;
    all_follow(&turn).await?;
    assert_eq!(standing(&turn).await?, before);
    // What is wrong with a Secret is told, and the last good callsign stays in use.
    sheffield
        .kubectl(&["delete", "secret", "group", "--namespace", &turn.namespace])
        .await?;
    let message = sheffield
        .wait_for_condition(&turn.namespace, "Degraded", "True", "CallsignUnusable")
        .await?;
    assert!(message.contains("goes by the last callsign"), "{message}");
    all_follow(&turn).await?;
    assert_eq!(standing(&turn).await?, before);
    Ok(())
}
