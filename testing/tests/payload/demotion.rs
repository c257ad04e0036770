//! What a demotion leaves in place, by the policy: without replicas, or as it is.

use flagship::api::ObjectState;
use flagship_testing::TestResult;
use kube::ResourceExt;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use serde_json::json;

use super::lone::{Lone, api, config_map};
use super::site;

fn workload(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}}}
spec:
  {spec}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: web, image: nginx}}]}}
"
    )
}

fn payload() -> String {
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n";
    config_map("web", "mode", "ours")
        + service
        + &workload("Deployment", "web", "replicas: 2")
        + &workload("Deployment", "single", "paused: false")
        + &workload("StatefulSet", "data", "serviceName: web\n  replicas: 1")
        + &workload("DaemonSet", "agent", "minReadySeconds: 0")
}

const KEPT: [(&str, &str, &str); 5] = [
    ("v1", "ConfigMap", "web"),
    ("v1", "Service", "web"),
    ("apps/v1", "Deployment", "web"),
    ("apps/v1", "Deployment", "single"),
    ("apps/v1", "StatefulSet", "data"),
];

async fn uids(lone: &Lone<'_>) -> kube::Result<Vec<Option<String>>> {
    let mut uids = Vec::new();
    for (api_version, kind, name) in KEPT {
        uids.push(
            lone.get(api_version, kind, name)
                .await?
                .and_then(|object| object.uid()),
        );
    }
    Ok(uids)
}

async fn pods(lone: &Lone<'_>) -> kube::Result<Vec<DynamicObject>> {
    let client = lone
        .site
        .client()
        .map_err(|error| kube::Error::Service(error.into()))?;
    let pods = api(client, "v1", "Pod", &lone.namespace);
    Ok(pods.list(&ListParams::default()).await?.items)
}

async fn replicas(lone: &Lone<'_>, kind: &str, name: &str) -> kube::Result<Option<String>> {
    lone.field("apps/v1", kind, name, "/spec/replicas").await
}

#[tokio::test]
async fn scaling_to_zero_leaves_services_and_configuration_and_no_pods() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("zero").await?;
    let mut lone = Lone::launch(site, &namespace, "").await?;
    lone.manifest = lone.manifest.with("demotion: {policy: ScaleToZero}");
    lone.edit(&payload()).await?;
    lone.until_applied().await?;
    lone.until("Pods of the Deployments and the StatefulSet", async |_| {
        pods(&lone).await.map(|pods| pods.len() == 4)
    })
    .await?;
    let before = uids(&lone).await?;
    assert!(before.iter().all(Option::is_some), "{before:?}");

    // A Pod that does not end keeps it from counting as stopped, though its Deployment counts it no more.
    let held = pods(&lone).await?;
    let held = held
        .iter()
        .map(ResourceExt::name_any)
        .find(|name| name.starts_with("web-"))
        .unwrap();
    let api = api(site.client()?, "v1", "Pod", &namespace);
    let finalizers = |list: serde_json::Value| Patch::Merge(json!({"metadata": {"finalizers": list}}));
    let params = PatchParams::default();
    api.patch(&held, &params, &finalizers(json!(["example.com/hold"])))
        .await?;
    let releasing = async {
        lone.until_event("CannotStop", &format!("Pod {namespace}/{held}"))
            .await?;
        let counted = lone
            .field("apps/v1", "Deployment", "web", "/status/replicas")
            .await?;
        assert_eq!(counted, None, "the Deployment counts none");
        assert!(
            lone.object().await.is_ok(),
            "the MultiCluster went before its Pods"
        );
        api.patch(&held, &params, &finalizers(json!(null)))
            .await
            .map_err(flagship_testing::Failure::from)
    };
    let (deleted, released) = tokio::join!(lone.delete(), releasing);
    released?;
    deleted?;
    assert!(pods(&lone).await?.is_empty(), "it counted as stopped with Pods");
    assert_eq!(uids(&lone).await?, before);
    for (kind, name) in [
        ("Deployment", "web"),
        ("Deployment", "single"),
        ("StatefulSet", "data"),
    ] {
        assert_eq!(
            replicas(&lone, kind, name).await?.as_deref(),
            Some("0"),
            "{kind} {name}"
        );
    }
    assert!(lone.get("apps/v1", "DaemonSet", "agent").await?.is_none());
    lone.until_event("PayloadStopped", "left in place without replicas")
        .await?;

    // What takes it up again gives it the replicas of the payload: where that says nothing, one.
    lone.edit(&payload()).await?;
    lone.until_applied().await?;
    assert_eq!(uids(&lone).await?, before);
    for (kind, name, count) in [
        ("Deployment", "web", "2"),
        ("Deployment", "single", "1"),
        ("StatefulSet", "data", "1"),
    ] {
        assert_eq!(
            replicas(&lone, kind, name).await?.as_deref(),
            Some(count),
            "{kind} {name}"
        );
    }
    assert!(lone.get("apps/v1", "DaemonSet", "agent").await?.is_some());

    // A request of a stop that was given up takes effect late, where the payload says no replicas.
    let patch = r#"[{"op": "add", "path": "/spec/replicas", "value": 0}]"#;
    let late = ["patch", "deployment", "single", "--namespace", &namespace];
    let by_us = ["--field-manager", "flagship", "--type", "json", "--patch", patch];
    site.kubectl(&[&late[..], &by_us[..]].concat()).await?;
    lone.until("it has a replica again", async |_| {
        let count = replicas(&lone, "Deployment", "single").await?;
        Ok::<_, kube::Error>(count.as_deref() == Some("1"))
    })
    .await?;
    lone.until_applied().await?;
    Ok(())
}

#[tokio::test]
async fn keeping_leaves_everything_running() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("keep").await?;
    let mut lone = Lone::launch(site, &namespace, "").await?;
    lone.manifest = lone.manifest.with("demotion: {policy: Keep}");
    let gone = workload("Deployment", "gone", "replicas: 1").replace(
        "name: gone}\nspec",
        "name: gone, annotations: {flagship.dev/on-demotion: Delete}}\nspec",
    );
    lone.edit(&(payload() + &gone)).await?;
    lone.until_applied().await?;
    let said = lone
        .until_condition("SplitBrainPossible", "True", "DemotionKeepsPayload")
        .await?;
    assert!(said.contains("runs on beside the next leader's copy"), "{said}");
    let before = uids(&lone).await?;

    // What the payload drops goes all the same.
    lone.edit(&gone).await?;
    lone.until_applied().await?;
    lone.until_gone("apps/v1", "DaemonSet", "agent").await?;
    lone.edit(&(payload() + &gone)).await?;
    lone.until_applied().await?;
    lone.until_state("Deployment", "gone", ObjectState::Applied)
        .await?;
    let kept = uids(&lone).await?;
    assert!(
        kept.iter()
            .zip(&before)
            .all(|(new, old)| new.is_some() && new != old)
    );

    lone.delete().await?;
    assert_eq!(uids(&lone).await?, kept);
    assert_eq!(replicas(&lone, "Deployment", "web").await?.as_deref(), Some("2"));
    assert!(lone.get("apps/v1", "DaemonSet", "agent").await?.is_some());
    assert!(lone.get("apps/v1", "Deployment", "gone").await?.is_none());
    Ok(())
}

/// The API server refuses to create a second one of these for what the first one holds, before it says that it exists.
#[tokio::test]
async fn what_a_stop_keeps_is_no_obstacle_to_leading_again() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("again").await?;
    let quota = "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: one}\nspec: {hard: {persistentvolumeclaims: \"1\"}}\n";
    site.apply_in(&namespace, quota).await?;
    let payload = "---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, ports: [{port: 80, nodePort: 30777}]}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
";
    let mut lone = Lone::launch(site, &namespace, "").await?;
    lone.manifest = lone.manifest.with("demotion: {policy: ScaleToZero}");
    lone.edit(payload).await?;
    lone.until_applied().await?;
    lone.until("the quota is used up", async |_| {
        let used = lone
            .field(
                "v1",
                "ResourceQuota",
                "one",
                "/status/used/persistentvolumeclaims",
            )
            .await?;
        Ok::<_, kube::Error>(used.as_deref() == Some("1"))
    })
    .await?;
    lone.delete().await?;
    assert!(lone.get("v1", "Service", "web").await?.is_some());
    // A member that waits for somebody to lead tries what it could run.
    lone.manifest = site
        .manifest(&namespace, 5)
        .with("demotion: {policy: ScaleToZero}");
    lone.edit(payload).await?;
    lone.until_condition("Eligible", "True", "Permitted").await?;
    // What others have is told as before.
    let theirs = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs}\n";
    site.apply_in(&namespace, theirs).await?;
    lone.edit(&format!("{payload}{theirs}")).await?;
    let told = lone.until_condition("Eligible", "False", "NotPermitted").await?;
    assert!(told.contains("/theirs: it existed before"), "{told}");
    Ok(())
}
