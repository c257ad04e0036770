//! The main job, on real control planes: one copy of the payload, in the right cluster.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use flagship_testing::{TestResult, sites};

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx}]}
";

#[tokio::test]
async fn the_higher_rank_joins_and_takes_over() -> TestResult {
    let [newyork, sheffield] = sites(["newyork", "sheffield"]).await?;
    newyork
        .apply_in(
            "default",
            &newyork
                .manifest("federation", 5)
                .ready()
                .payload(DEPLOYMENT)
                .yaml(),
        )
        .await?;
    newyork.wait_until_leading("default").await?;
    let joins = sheffield
        .manifest("federation", 10)
        .joins(&[&newyork])
        .payload(DEPLOYMENT);
    sheffield.apply_in("default", &joins.yaml()).await?;
    sheffield.wait_until_leading("default").await?;
    Ok(())
}
