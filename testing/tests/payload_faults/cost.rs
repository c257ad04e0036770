//! How many requests a payload takes, counted by the API server.

use std::fmt::Write;

use flagship_testing::{Site, TestResult};
use kube::api::{DynamicObject, Request};
use kube::core::params::GetParams;
use serde_json::Value;

use super::lone::{Lone, resource};
use super::turn;

/// Has the API server count requests of the controller's account by two flow schemas: those about objects of one
/// namespace, and those that ask for kinds.
async fn count_requests(site: &Site, namespace: &str) -> TestResult {
    let rules = [
        (
            "counted-objects",
            format!(
                "resourceRules: [{{verbs: ['*'], apiGroups: ['', apps, batch, policy, networking.k8s.io], resources: ['*'], \
                 namespaces: [{namespace}]}}]"
            ),
        ),
        (
            "counted-discovery",
            "nonResourceRules: [{verbs: ['*'], nonResourceURLs: ['/api', '/apis', '/api/*', '/apis/*']}]"
                .to_owned(),
        ),
    ];
    for (name, rules) in rules {
        site.apply(&format!(
            "apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {{name: {name}}}
spec:
  matchingPrecedence: 10
  priorityLevelConfiguration: {{name: workload-high}}
  rules:
  - subjects: [{{kind: ServiceAccount, serviceAccount: {{name: flagship, namespace: flagship-system}}}}]
    {rules}
"
        ))
        .await?;
        let schemas: kube::Api<DynamicObject> = kube::Api::all_with(
            site.client()?,
            &resource("flowcontrol.apiserver.k8s.io/v1", "FlowSchema"),
        );
        site.wait_until("the flow schema counts", flagship_testing::PATIENCE, async |_| {
            let schema = schemas.get(name).await?;
            let conditions = schema.data["status"]["conditions"].as_array().cloned();
            let in_use =
                |condition: &Value| condition["type"] == "Dangling" && condition["status"] == "False";
            Ok::<_, kube::Error>(conditions.unwrap_or_default().iter().any(in_use))
        })
        .await?;
    }
    Ok(())
}

/// How many requests a flow schema has let through.
async fn counted(site: &Site, schema: &str) -> kube::Result<u64> {
    let request = Request::new("")
        .get("metrics", &GetParams::default())
        .map_err(kube::Error::BuildRequest)?;
    let client = site
        .client()
        .map_err(|error| kube::Error::Service(error.into()))?;
    let page = client.request_text(request).await?;
    let prefix = format!("apiserver_flowcontrol_dispatched_requests_total{{flow_schema=\"{schema}\",");
    let counts = page.lines().filter(|line| line.starts_with(&prefix));
    let number = |line: &str| {
        line.rsplit(' ')
            .next()
            .and_then(|number| number.parse::<f64>().ok())
    };
    // Requests are counted in whole numbers.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    Ok(counts.filter_map(number).sum::<f64>() as u64)
}

#[tokio::test]
async fn a_payload_takes_one_request_an_object_and_no_discovery() -> TestResult {
    let (site, _turn) = turn().await?;
    let namespace = site.fresh_namespace("cost").await?;
    let mut payload = String::new();
    let kinds = [
        ("v1", "ConfigMap", "data: {mode: ours}"),
        ("v1", "Secret", "stringData: {mode: ours}"),
        ("v1", "ServiceAccount", ""),
        ("v1", "Service", "spec: {ports: [{port: 80}]}"),
        ("networking.k8s.io/v1", "NetworkPolicy", "spec: {podSelector: {}}"),
        (
            "policy/v1",
            "PodDisruptionBudget",
            "spec: {selector: {matchLabels: {app: web}}}",
        ),
    ];
    for (api_version, kind, body) in kinds {
        for number in 0..5 {
            writeln!(
                payload,
                "---\napiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: web{number}}}\n{body}"
            )?;
        }
    }
    count_requests(site, &namespace).await?;
    let lone = Lone::launch(site, &namespace, "").await?;
    lone.until_applied().await?;
    let before = (
        counted(site, "counted-objects").await?,
        counted(site, "counted-discovery").await?,
    );
    lone.edit(&payload).await?;
    lone.until_applied().await?;
    // Watches begin when the payload is in place: a list and a watch for each kind.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let objects = counted(site, "counted-objects").await? - before.0;
    let discovery = counted(site, "counted-discovery").await? - before.1;
    assert!(
        (30..=42).contains(&objects),
        "{objects} requests for 30 objects of 6 kinds"
    );
    assert!(discovery <= 2, "{discovery} requests for kinds that are known");

    // An edit of one object: the note of its creation is changed, which takes a look, and it is applied.
    let edited = payload.replacen("mode: ours", "mode: edited", 1);
    lone.edit(&edited).await?;
    lone.until_applied().await?;
    let edit = counted(site, "counted-objects").await? - before.0 - objects;
    assert!((1..=3).contains(&edit), "{edit} requests for one object");
    lone.delete().await?;
    Ok(())
}
