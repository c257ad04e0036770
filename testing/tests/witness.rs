//! Two clusters and a witness: a majority of three voters decides.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use flagship_testing::{CONTENT, PATIENCE, Site, TestResult, Witness, sites};
use tokio::time::sleep;

const GROUP: &str = "default";
/// Longer than any lease, stop budget or election at profile Balanced: what has not moved by then stays.
const QUIET: Duration = Duration::from_secs(7);

async fn identity_of_witness(site: &Site) -> flagship_testing::Result<Option<String>> {
    let mut found = None;
    site.wait_until("the witness votes and is alive", PATIENCE, async |_| {
        let members = site.status(GROUP).await?.members;
        let witness = members
            .iter()
            .find(|member| member.name == "witness" && format!("{:?}", member.state) == "Alive");
        found = witness.map(|member| member.id.clone());
        Ok::<_, kube::Error>(found.is_some() && members.len() == 3)
    })
    .await?;
    Ok(found)
}

#[tokio::test]
async fn a_witness_decides_between_two_clusters() -> TestResult {
    let [newyork, sheffield] = sites(["newyork", "sheffield"]).await?;
    let manifest = newyork.manifest("witnessed", 10).ready().payload(CONTENT);
    newyork.apply_in(GROUP, &manifest.yaml()).await?;
    newyork.wait_until_leading(GROUP).await?;
    let witness = Witness::start("witnessed", &[&newyork, &sheffield]).await?;
    let manifest = sheffield
        .manifest("witnessed", 5)
        .joins(&[&newyork])
        .payload(CONTENT);
    sheffield.apply_in(GROUP, &manifest.yaml()).await?;
    sheffield.wait_until_following(GROUP, &newyork).await?;
    let first = identity_of_witness(&newyork).await?;
    newyork
        .wait_until("two of three decide", PATIENCE, async |_| {
            let quorum = newyork.status(GROUP).await?.quorum;
            Ok::<_, kube::Error>(quorum.is_some_and(|quorum| (quorum.have, quorum.need) == (3, 2)))
        })
        .await?;

    // With the witness's vote sheffield leads when newyork is lost, and gives the lead back.
    newyork.lose().await?;
    sheffield.wait_until_leading(GROUP).await?;
    newyork.bring_back().await?;
    sheffield.wait_until_following(GROUP, &newyork).await?;

    // Its own status says so a moment later.
    newyork.wait_until_leading(GROUP).await?;

    // It remembers over a restart, and is not missed meanwhile.
    let term = newyork.status(GROUP).await?.term;
    witness.kill().await?;
    sleep(QUIET).await;
    assert!(newyork.status(GROUP).await?.leading);
    witness.restart()?;
    assert_eq!(identity_of_witness(&newyork).await?, first);
    assert_eq!(newyork.status(GROUP).await?.term, term, "nobody was elected");

    // One whose memory is lost takes the place of its former self.
    let ended = witness.terminate(PATIENCE).await?;
    assert!(ended.success(), "{ended}");
    std::fs::remove_file(witness.state())?;
    witness.restart()?;
    newyork
        .wait_until("another witness in its place", PATIENCE, async |_| {
            let members = newyork.status(GROUP).await?.members;
            let witness = members.iter().find(|member| member.name == "witness");
            Ok::<_, kube::Error>(members.len() == 3 && witness.map(|one| &one.id) != first.as_ref())
        })
        .await?;

    // Without the witness and the other cluster nobody leads: a majority is gone.
    witness.kill().await?;
    newyork.lose().await?;
    sleep(QUIET).await;
    assert!(!sheffield.status(GROUP).await?.leading);
    witness.restart()?;
    sheffield.wait_until_leading(GROUP).await?;
    Ok(())
}
