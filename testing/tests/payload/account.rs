//! A payload that is applied as a ServiceAccount can be no more than that account may do.

use flagship::api::ObjectState;
use flagship_testing::TestResult;
use serde_json::json;

use super::lone::{Lone, config_map};
use super::site;

/// An account that may do what a payload needs with ConfigMaps.
fn deployer(namespace: &str) -> String {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "deployer"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"],
                   "verbs": ["get", "list", "watch", "create", "patch", "delete"]}],
    });
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployer"}});
    format!(
        "{account}\n---\n{role}\n---\n{}",
        binding("deployer", namespace, "deployer")
    )
}

/// What lets the controller act as it, as the README has it.
fn impersonator() -> String {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "flagship-as-deployer"},
        "rules": [{"apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": ["deployer"],
                   "verbs": ["impersonate"]}],
    });
    format!(
        "{role}\n---\n{}",
        binding("flagship-as-deployer", "flagship-system", "flagship")
    )
}

fn binding(role: &str, namespace: &str, account: &str) -> serde_json::Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": role},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
        "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": account}],
    })
}

#[tokio::test]
async fn a_payload_cannot_exceed_the_account_that_it_is_applied_as() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("account").await?;
    site.apply_in(&namespace, &deployer(&namespace)).await?;
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n";
    let payload = config_map("web", "mode", "one") + service;
    let mut lone = Lone::launch(site, &namespace, "").await?;
    let as_controller = lone.manifest.clone();
    lone.manifest = lone.manifest.with("serviceAccountName: deployer");

    // The controller may not act as the account yet: nothing is applied by its own rights instead.
    lone.edit(&payload).await?;
    let message = lone
        .until_state("ConfigMap", "web", ObjectState::Forbidden)
        .await?;
    assert!(
        message.contains("User \"system:serviceaccount:flagship-system:flagship\" cannot impersonate")
            && message.contains(
                "let the controller impersonate the ServiceAccount that spec.serviceAccountName names"
            ),
        "{message}"
    );
    assert!(lone.get("v1", "ConfigMap", "web").await?.is_none());

    site.apply_in(&namespace, &impersonator()).await?;
    lone.until_state("ConfigMap", "web", ObjectState::Applied).await?;
    let told =
        format!("User \"system:serviceaccount:{namespace}:deployer\" cannot create resource \"services\"");
    let message = lone.until_told("PayloadApplied", &told).await?;
    assert!(
        message.contains(&format!("Service {namespace}/web"))
            && message.contains("grant this to that account"),
        "{message}"
    );
    lone.until_state("Service", "web", ObjectState::Forbidden).await?;
    assert!(lone.get("v1", "Service", "web").await?.is_none());

    // Its own rights suffice to repair, to prune and to stop.
    lone.edit(&(config_map("web", "mode", "two") + &config_map("more", "mode", "two")))
        .await?;
    lone.until_applied().await?;
    lone.until_data("web", "mode", Some("two")).await?;
    lone.edit(&config_map("web", "mode", "two")).await?;
    lone.until_applied().await?;
    lone.until_gone("v1", "ConfigMap", "more").await?;
    lone.delete().await?;
    assert!(lone.get("v1", "ConfigMap", "web").await?.is_none());

    // Without it the controller's own rights count, and a change is followed while the payload runs.
    lone.edit(&config_map("web", "mode", "three")).await?;
    lone.until_applied().await?;
    lone.write(&as_controller.payload(&payload)).await?;
    lone.until_applied().await?;
    assert!(lone.get("v1", "Service", "web").await?.is_some());
    Ok(())
}
