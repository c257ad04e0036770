//! What existed before is not ours: never changed, never deleted, and named.

use flagship::api::ObjectState;
use flagship_testing::TestResult;
use kube::ResourceExt;
use kube::api::DeleteParams;

use super::lone::{Lone, api, config_map};
use super::site;

pub(super) fn definition(plural: &str, kind: &str) -> String {
    format!(
        "---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {plural}.example.com}}
spec:
  group: example.com
  scope: Namespaced
  names: {{kind: {kind}, plural: {plural}}}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
"
    )
}

#[tokio::test]
async fn what_existed_before_is_refused_and_the_rest_goes_on() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("foreign").await?;
    let theirs = config_map("theirs", "mode", "before");
    site.apply_in(&namespace, &theirs).await?;
    let config_maps = api(site.client()?, "v1", "ConfigMap", &namespace);
    let before = config_maps.get("theirs").await?;

    let both = config_map("theirs", "mode", "ours") + &config_map("ours", "mode", "ours");
    let lone = Lone::launch(site, &namespace, &both).await?;
    let message = lone
        .until_condition("PayloadApplied", "False", "ObjectsFailed")
        .await?;
    assert!(
        message.contains(&format!("ConfigMap {namespace}/theirs: it existed before")),
        "{message}"
    );
    assert!(
        message.contains("delete it or rename one of the two"),
        "{message}"
    );
    lone.until_state("ConfigMap", "theirs", ObjectState::Foreign)
        .await?;
    lone.until_state("ConfigMap", "ours", ObjectState::Applied)
        .await?;
    lone.until_data("ours", "mode", Some("ours")).await?;

    // Neither an edit that drops it nor the end of the MultiCluster touches it.
    lone.edit(&config_map("ours", "mode", "ours")).await?;
    lone.until_applied().await?;
    lone.edit(&both).await?;
    lone.until_condition("PayloadApplied", "False", "ObjectsFailed")
        .await?;
    lone.delete().await?;
    let after = config_maps.get("theirs").await?;
    assert_eq!(after.metadata, before.metadata);
    assert!(config_maps.get_opt("ours").await?.is_none());

    // Once its owner has deleted it, it is ours to create, without a restart.
    let lone = Lone::launch(site, &namespace, &both).await?;
    lone.until_condition("PayloadApplied", "False", "ObjectsFailed")
        .await?;
    config_maps.delete("theirs", &DeleteParams::default()).await?;
    lone.until_applied().await?;
    lone.until_data("theirs", "mode", Some("ours")).await?;
    lone.delete().await?;
    assert!(config_maps.get_opt("theirs").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn an_object_of_another_multicluster_is_refused_and_its_owner_named() -> TestResult {
    let site = site().await?;
    let first = site.fresh_namespace("first").await?;
    let second = site.fresh_namespace("second").await?;
    let owner = Lone::launch(site, &first, &config_map("web", "mode", "first")).await?;
    owner.until_applied().await?;
    let theirs =
        config_map("web", "mode", "second").replace("name: web", &format!("name: web, namespace: {first}"));
    let other = Lone::launch(site, &second, &theirs).await?;
    let message = other
        .until_condition("PayloadApplied", "False", "ObjectsFailed")
        .await?;
    assert!(
        message.contains(&format!("it belongs to the MultiCluster {first}/{}", site.name())),
        "{message}"
    );
    other.delete().await?;
    assert_eq!(
        owner
            .field("v1", "ConfigMap", "web", "/data/mode")
            .await?
            .as_deref(),
        Some("first")
    );
    Ok(())
}

#[tokio::test]
async fn a_namespace_and_a_definition_that_existed_are_used_and_stay() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("used").await?;
    let shared = site.fresh_namespace("shared").await?;
    site.apply(&definition("gadgets", "Gadget")).await?;
    let client = site.client()?;
    let namespaces = api(client.clone(), "v1", "Namespace", "");
    let definitions = api(
        client.clone(),
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "",
    );
    let before = (
        namespaces.get(&shared).await?,
        definitions.get("gadgets.example.com").await?,
    );
    let payload = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {shared}, labels: {{ours: 'yes'}}}}\n{}---\n\
         apiVersion: example.com/v1\nkind: Gadget\nmetadata: {{name: web, namespace: {shared}}}\nspec: {{size: 1}}\n",
        definition("gadgets", "Gadget").replace("Namespaced", "Cluster")
    );
    let lone = Lone::launch(site, &namespace, &payload).await?;
    lone.until_applied().await?;
    for (kind, name) in [
        ("Namespace", shared.as_str()),
        ("CustomResourceDefinition", "gadgets.example.com"),
    ] {
        lone.until_state(kind, name, ObjectState::Used).await?;
    }
    let gadgets = api(client, "example.com/v1", "Gadget", &shared);
    assert_eq!(gadgets.get("web").await?.data["spec"]["size"], 1);
    lone.delete().await?;
    assert!(gadgets.get_opt("web").await?.is_none());
    let after = (
        namespaces.get(&shared).await?,
        definitions.get("gadgets.example.com").await?,
    );
    assert_eq!(after.0.metadata, before.0.metadata);
    assert_eq!(after.1.uid(), before.1.uid());
    assert_eq!(after.1.metadata.deletion_timestamp, None);
    assert_eq!(after.1.metadata.labels, before.1.metadata.labels);
    Ok(())
}
