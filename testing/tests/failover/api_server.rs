//! A leader whose API server does not answer.

use flagship_testing::{PATIENCE, Part, TestResult};
use serde_json::json;
use tokio::time::sleep;

use crate::group::{QUIET, SITES, leads_alone, newyork_leads};

#[tokio::test]
async fn a_leader_without_its_api_server_leads_on_unless_its_user_wants_another() -> TestResult {
    let turn = SITES.turn("unanswered").await?;
    let [newyork, sheffield, gotham] = &*turn;
    let namespace = turn.namespace.as_str();
    newyork_leads(&turn).await?;
    let term = sheffield.status(namespace).await?.term;
    newyork.kill(Part::ApiServer).await?;
    sleep(2 * QUIET).await;
    let status = sheffield.status(namespace).await?;
    assert_eq!((status.term, status.leading), (term, false), "its Pods run on");
    // Its controller manager does not outlive it.
    newyork.bring_back().await?;
    leads_alone(&turn, newyork).await?;

    newyork
        .patch_spec(
            namespace,
            json!({"onApiServerLoss": {"action": "Failover", "after": "3s"}}),
        )
        .await?;
    newyork
        .wait_until("it has read its spec", PATIENCE, async |_| {
            let object = newyork.multicluster(namespace).await?;
            let seen = object.status.and_then(|status| status.observed_generation);
            Ok::<_, kube::Error>(seen == object.metadata.generation)
        })
        .await?;
    newyork.kill(Part::ApiServer).await?;
    sheffield.wait_until_leading(namespace).await?;
    gotham.wait_until_following(namespace, sheffield).await?;
    newyork.bring_back().await?;
    newyork
        .wait_until("it leads no longer and knows who does", PATIENCE, async |_| {
            let status = newyork.status(namespace).await?;
            let leader = status.leader.map(|leader| leader.name);
            Ok::<_, kube::Error>(!status.leading && leader.as_deref() == Some("sheffield"))
        })
        .await?;
    Ok(())
}
