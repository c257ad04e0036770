//! Parts of a payload that stand in ConfigMaps and Secrets.

use flagship_testing::TestResult;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::lone::{Lone, config_map};
use super::site;

/// The README says that the right to one object, by its name, is enough for the controller's watch.
#[tokio::test]
async fn a_right_to_one_object_is_enough_to_watch_it() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("by-name").await?;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["app"],
                   "verbs": ["get", "list", "watch"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": "reader"}],
    });
    site.apply_in(&namespace, &format!("{role}\n---\n{binding}"))
        .await?;
    let user = format!("system:serviceaccount:{namespace}:reader");
    let get = ["get", "secrets", "--namespace", &namespace, "--as", &user];
    let by_name = |name: &str| format!("--field-selector=metadata.name={name}");
    site.kubectl(&[&get[..], &[&by_name("app")]].concat()).await?;
    assert!(
        site.kubectl(&[&get[..], &[&by_name("other")]].concat())
            .await
            .is_err()
    );
    assert!(site.kubectl(&get).await.is_err());
    Ok(())
}

const SOURCES: &str = "payloadFrom: [{configMapKeyRef: {name: app, key: app.yaml}}, {secretKeyRef: {name: app, key: app.yaml}}]";

#[tokio::test]
async fn parts_in_config_maps_and_secrets_are_followed_and_kept_while_they_are_missing() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("sources").await?;
    let client = site.client()?;
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let secrets: Api<Secret> = Api::namespaced(client, &namespace);
    let source = |yaml: &str| json!({"metadata": {"name": "app"}, "data": {"app.yaml": yaml, "other": "x"}});
    let secret = |yaml: &str| json!({"metadata": {"name": "app"}, "stringData": {"app.yaml": yaml}});
    let posted = PostParams::default();
    config_maps
        .create(
            &posted,
            &serde_json::from_value(source(&config_map("b", "mode", "one")))?,
        )
        .await?;

    let mut lone = Lone::launch(site, &namespace, "").await?;
    lone.manifest = lone.manifest.with(SOURCES);
    lone.edit(&config_map("a", "mode", "one")).await?;
    let why = lone
        .until_condition("PayloadApplied", "False", "PayloadSourceMissing")
        .await?;
    assert!(
        why.contains("there is no Secret app: create it with the key app.yaml, or correct spec.payloadFrom"),
        "{why}"
    );
    lone.until_event("PayloadSourceMissing", "there is no Secret app")
        .await?;
    assert!(lone.get("v1", "ConfigMap", "a").await?.is_none());

    // Its own objects are not those of the payload, whatever they are called.
    let three = config_map("c", "mode", "one");
    secrets
        .create(&posted, &serde_json::from_value(secret(&three))?)
        .await?;
    lone.until_applied().await?;
    for name in ["a", "b", "c"] {
        lone.until_data(name, "mode", Some("one")).await?;
    }

    let patch = PatchParams::default();
    let edited =
        json!({"data": {"app.yaml": config_map("b", "mode", "two") + &config_map("d", "mode", "two")}});
    config_maps.patch("app", &patch, &Patch::Merge(edited)).await?;
    lone.until_data("b", "mode", Some("two")).await?;
    lone.until_data("d", "mode", Some("two")).await?;
    let dropped = json!({"stringData": {"app.yaml": "# nothing"}});
    secrets.patch("app", &patch, &Patch::Merge(dropped)).await?;
    lone.until_gone("v1", "ConfigMap", "c").await?;

    // A text that cannot be used, a key and an object that vanish change nothing of what runs.
    let bad = json!({"data": {"app.yaml": "kind: Pod\n"}});
    config_maps.patch("app", &patch, &Patch::Merge(bad)).await?;
    let why = lone
        .until_condition("PayloadApplied", "False", "PayloadInvalid")
        .await?;
    assert!(
        why.contains("key app.yaml of ConfigMap app: document 1 of the payload (Pod) has no `apiVersion`"),
        "{why}"
    );
    let without = json!({"data": {"app.yaml": null}});
    config_maps.patch("app", &patch, &Patch::Merge(without)).await?;
    let why = lone
        .until_condition("PayloadApplied", "False", "PayloadSourceMissing")
        .await?;
    assert!(
        why.contains("ConfigMap app has no key app.yaml (it has other)"),
        "{why}"
    );
    config_maps.delete("app", &DeleteParams::default()).await?;
    lone.until_told("PayloadApplied", "there is no ConfigMap app")
        .await?;
    for (name, mode) in [("a", "one"), ("b", "two"), ("d", "two")] {
        lone.until_data(name, "mode", Some(mode)).await?;
    }
    config_maps
        .create(
            &posted,
            &serde_json::from_value(source(&config_map("b", "mode", "three")))?,
        )
        .await?;
    lone.until_applied().await?;
    lone.until_data("b", "mode", Some("three")).await?;
    lone.until_gone("v1", "ConfigMap", "d").await?;
    Ok(())
}
