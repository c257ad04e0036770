//! The real controller as a process of a cluster, under the ServiceAccount that ships.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use flagship_testing::{Error, TestResult, clusters};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_controller_is_frozen_killed_ended_and_lost_with_its_cluster() -> TestResult {
    let [newyork] = clusters(["newyork"]).await?;
    let controller = newyork.start_controller().await?;
    assert!(controller.get("/metrics").await?.contains("# TYPE"));

    controller.freeze()?;
    assert!(
        matches!(controller.get("/livez").await, Err(Error::Wait { .. })),
        "it is frozen"
    );
    assert!(controller.is_running()?);
    controller.thaw()?;
    controller.get("/livez").await?;

    let first = controller.pid()?;
    controller.kill().await?;
    assert!(!controller.is_running()?);
    assert!(matches!(controller.freeze(), Err(Error::NotRunning { .. })));
    controller.start()?;
    controller.wait_until_ready().await?;
    assert_ne!(controller.pid()?, first);

    let status = controller.terminate(SOON).await?;
    assert!(
        status.success(),
        "{status}, its log is {}",
        controller.log().display()
    );
    controller.start()?;
    controller.wait_until_ready().await?;

    newyork.lose().await?;
    assert!(!controller.is_running()?, "it belongs to the cluster");
    newyork.bring_back().await?;
    controller.wait_until_ready().await?;

    // What was ended before the loss does not come back with the cluster.
    controller.kill().await?;
    newyork.lose().await?;
    newyork.bring_back().await?;
    assert!(!controller.is_running()?);
    Ok(())
}

#[tokio::test]
async fn the_controllers_service_has_the_clusters_address() -> TestResult {
    let [newyork] = clusters(["newyork"]).await?;
    newyork.install().await?;
    newyork.publish_address().await?;
    let path = "jsonpath={.spec.loadBalancerIP} {.status.loadBalancer.ingress[0].ip}";
    let addresses = newyork
        .kubectl(&[
            "get",
            "service",
            "multi-cluster",
            "-n",
            "flagship-system",
            "-o",
            path,
        ])
        .await?;
    assert_eq!(addresses, format!("{0} {0}", newyork.ip()));
    Ok(())
}
