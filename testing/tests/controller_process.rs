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
async fn a_member_that_names_no_address_goes_by_that_of_the_controllers_service() -> TestResult {
    let [newyork] = clusters(["newyork"]).await?;
    newyork.start_controller().await?;
    let unnamed = "\
apiVersion: kube-vip.io/v1alpha1
kind: MultiCluster
metadata: {name: newyork}
spec: {port: 9990, callsign: federation, rank: 5, ready: true}
";
    newyork.apply(unnamed).await?;
    let wait = async |condition: &str| {
        let condition = format!("--for={condition}");
        newyork
            .kubectl(&["wait", &condition, "multicluster/newyork", "--timeout=60s"])
            .await
    };
    wait("condition=Degraded").await?;
    let path = r#"jsonpath={.status.conditions[?(@.type=="Degraded")].message}"#;
    let message = newyork
        .kubectl(&["get", "multicluster", "newyork", "-o", path])
        .await?;
    assert!(
        message.contains("Service flagship-system/multi-cluster has no address yet"),
        "{message}"
    );

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
    wait(&format!(
        "jsonpath={{.status.leaderAddress}}={}:9990",
        newyork.ip()
    ))
    .await?;
    wait("condition=Degraded=False").await?;
    Ok(())
}
