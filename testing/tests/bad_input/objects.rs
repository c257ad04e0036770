//! Objects that cannot be applied: each says why, and the rest of the payload goes on.

use flagship::api::ObjectState;
use flagship_testing::TestResult;

use super::lone::{Lone, api, config_map};
use super::{grant_of, others_run_on, site};

/// What is wrong, of which kind, the state and the words that tell it.
const REFUSED: [(&str, &str, ObjectState, &str); 6] = [
    (
        "apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: 99999}]}",
        "Service",
        ObjectState::Rejected,
        "spec.ports[0].port: Invalid value: 99999",
    ),
    (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: BAD}",
        "ConfigMap",
        ObjectState::Rejected,
        "metadata.name: Invalid value: \"BAD\"",
    ),
    (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad}\ndaat: {mode: typo}",
        "ConfigMap",
        ObjectState::Rejected,
        "unknown field \"daat\"",
    ),
    (
        "apiVersion: v2\nkind: ConfigMap\nmetadata: {name: bad}",
        "ConfigMap",
        ObjectState::UnknownKind,
        "the API server knows no ConfigMap of version v2: install what defines it, or correct `apiVersion` and `kind`",
    ),
    (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad, namespace: no-such-namespace}",
        "ConfigMap",
        ObjectState::Unavailable,
        "namespaces \"no-such-namespace\" not found",
    ),
    (
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: bad}\nrules: []",
        "Role",
        ObjectState::Forbidden,
        "grant this to that account",
    ),
];

#[tokio::test]
async fn what_cannot_be_applied_is_told_object_by_object_and_followed_when_mended() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("refused").await?;
    let good = config_map("good", "mode", "ours");
    let lone = Lone::launch(site, &namespace, "").await?;
    for (bad, kind, state, told) in REFUSED {
        lone.edit(&format!("{bad}\n{good}")).await?;
        let message = lone
            .until_condition("PayloadApplied", "False", "ObjectsFailed")
            .await?;
        assert!(
            message.contains(told) && message.contains(kind),
            "{bad}: {message}"
        );
        lone.until_event("ObjectsFailed", told).await?;
        let name = if bad.contains("BAD") { "BAD" } else { "bad" };
        let message = lone.until_state(kind, name, state).await?;
        assert!(message.contains(told), "{bad}: {message}");
        lone.until_state("ConfigMap", "good", ObjectState::Applied)
            .await?;
        lone.edit(&good).await?;
        lone.until_applied().await?;
    }
    // An edit may be as wrong as a creation; what was applied before stays until it is mended.
    lone.edit(&format!("{good}daat: {{mode: typo}}\n")).await?;
    let message = lone
        .until_condition("PayloadApplied", "False", "ObjectsFailed")
        .await?;
    assert!(message.contains("daat"), "{message}");
    lone.until_state("ConfigMap", "good", ObjectState::Rejected)
        .await?;
    lone.until_data("good", "mode", Some("ours")).await?;
    lone.edit(&config_map("good", "mode", "mended")).await?;
    lone.until_applied().await?;
    lone.until_data("good", "mode", Some("mended")).await?;
    others_run_on().await
}

#[tokio::test]
async fn what_is_lacking_may_come_later() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("lacking").await?;
    let elsewhere = format!("{namespace}-elsewhere");
    let widget = "---\napiVersion: late.example.com/v1\nkind: Widget\nmetadata: {name: web}\n";
    let quota = "---\napiVersion: v1\nkind: ResourceQuota\nmetadata: {name: web}\nspec: {hard: {pods: 5}}\n";
    let placed =
        config_map("web", "mode", "ours").replace("name: web", &format!("name: web, namespace: {elsewhere}"));
    let lone = Lone::launch(site, &namespace, &format!("{widget}{quota}{placed}")).await?;
    lone.until_state("Widget", "web", ObjectState::UnknownKind)
        .await?;
    lone.until_state("ResourceQuota", "web", ObjectState::Forbidden)
        .await?;
    lone.until_state("ConfigMap", "web", ObjectState::Unavailable)
        .await?;
    site.apply(&format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {elsewhere}}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: widgets.late.example.com}}
spec:
  group: late.example.com
  scope: Namespaced
  names: {{kind: Widget, plural: widgets}}
  versions:
  - {{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object}}}}}}
"
    ))
    .await?;
    lone.until_state("ConfigMap", "web", ObjectState::Applied).await?;
    // Its kind is known now, and still nobody may write it.
    let message = lone.until_state("Widget", "web", ObjectState::Forbidden).await?;
    assert!(
        message.contains("cannot create resource \"widgets\" in API group \"late.example.com\""),
        "{message}"
    );
    let mut quotas = grant_of("");
    quotas.resources = Some(vec!["resourcequotas".to_owned()]);
    site.grant(&[grant_of("late.example.com"), quotas]).await?;
    lone.until_applied().await?;
    lone.delete().await?;
    let widgets = api(site.client()?, "late.example.com/v1", "Widget", &namespace);
    assert!(widgets.get_opt("web").await?.is_none());
    others_run_on().await
}

#[tokio::test]
async fn a_refusal_that_quotes_a_huge_value_does_not_burst_the_status() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("quoting").await?;
    let label = "x".repeat(60_000);
    let huge: String = (0..12)
        .map(|n| {
            format!(
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{n}, labels: {{app: '{label}'}}}}\n"
            )
        })
        .collect();
    let lone = Lone::launch(site, &namespace, &huge).await?;
    let message = lone
        .until_condition("PayloadApplied", "False", "ObjectsFailed")
        .await?;
    assert!(
        message.contains("metadata.labels: Invalid value") && message.contains("and 9 more"),
        "{message:.300}"
    );
    let status = serde_json::to_string(&lone.status().await?)?;
    assert!(status.len() < 32 * 1024, "a status of {} bytes", status.len());
    lone.edit(&config_map("c0", "mode", "ours")).await?;
    lone.until_applied().await?;
    others_run_on().await
}
