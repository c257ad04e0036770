//! What the payload means for who leads: how it goes when the lead moves, where it would be taken, and where it fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use flagship_testing::{Manifest, PATIENCE, Recorder, Selection, SharedSites, Site, TestResult, Turn};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::json;

static SITES: SharedSites<2> = SharedSites::new(["newyork", "sheffield"]);

const PAYLOAD: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx}]}
";

/// A group of its own, led by newyork, with sheffield standing by; each manifest is what `more` makes of it.
async fn newyork_leads(turn: &Turn<'_, 2>, more: impl Fn(Manifest) -> Manifest) -> TestResult {
    let [newyork, sheffield] = &**turn;
    let manifest = more(newyork.manifest(&turn.namespace, 5)).ready();
    newyork.apply_in(&turn.namespace, &manifest.yaml()).await?;
    newyork.wait_until_leading(&turn.namespace).await?;
    let manifest = more(sheffield.manifest(&turn.namespace, 4)).joins(&[newyork]);
    sheffield.apply_in(&turn.namespace, &manifest.yaml()).await?;
    sheffield
        .wait_for_condition(&turn.namespace, "Ready", "True", "Following")
        .await?;
    Ok(())
}

async fn until_replicas(site: &Site, namespace: &str, wanted: i32) -> TestResult {
    let deployments: Api<Deployment> = Api::namespaced(site.client()?, namespace);
    let what = format!("{wanted} replicas in {}", site.name());
    site.wait_until(&what, PATIENCE, async |_| {
        let web = deployments.get_opt("web").await?;
        Ok::<_, kube::Error>(web.and_then(|web| web.spec.replicas) == Some(wanted))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn where_a_payload_is_scaled_to_zero_its_pods_go_before_the_next_leader_has_any() -> TestResult {
    let turn = SITES.turn("zero").await?;
    let [newyork, sheffield] = &*turn;
    newyork_leads(&turn, |manifest| {
        manifest
            .payload(PAYLOAD)
            .with("demotion: {policy: ScaleToZero, timeout: 40s}")
    })
    .await?;
    let pods: Api<Pod> = Api::namespaced(newyork.client()?, &turn.namespace);
    newyork
        .wait_until("two Pods in newyork", PATIENCE, async |_| {
            Ok::<_, kube::Error>(pods.list(&ListParams::default()).await?.items.len() == 2)
        })
        .await?;
    let selection = Selection::new()
        .kind::<Pod>()
        .in_namespace(turn.namespace.as_str())
        .labelled("app=web");
    let recorder = Recorder::start(&turn.each_ref().map(|site| &**site), selection).await?;

    sheffield.patch_spec(&turn.namespace, json!({"rank": 10})).await?;
    sheffield.wait_until_leading(&turn.namespace).await?;
    until_replicas(newyork, &turn.namespace, 0).await?;
    let services: Api<Service> = Api::namespaced(newyork.client()?, &turn.namespace);
    let service = services.get("web").await?;
    newyork.patch_spec(&turn.namespace, json!({"rank": 20})).await?;
    newyork.wait_until_leading(&turn.namespace).await?;
    until_replicas(newyork, &turn.namespace, 2).await?;
    until_replicas(sheffield, &turn.namespace, 0).await?;
    assert_eq!(services.get("web").await?.metadata.uid, service.metadata.uid);
    newyork
        .wait_until("two Pods in newyork again", PATIENCE, async |_| {
            Ok::<_, kube::Error>(pods.list(&ListParams::default()).await?.items.len() == 2)
        })
        .await?;

    // Another policy counts at once where the payload is down already.
    sheffield
        .patch_spec(&turn.namespace, json!({"demotion": {"policy": "Delete"}}))
        .await?;
    let deployments: Api<Deployment> = Api::namespaced(sheffield.client()?, &turn.namespace);
    sheffield
        .wait_until("the Deployment is gone from sheffield", PATIENCE, async |_| {
            Ok::<_, kube::Error>(deployments.get_opt("web").await?.is_none())
        })
        .await?;
    assert!(newyork.status(&turn.namespace).await?.leading);

    // Each Pod has a name of its own, so clusters are compared by any Pod of theirs.
    let history = recorder.finish().await?;
    let of = |name: &str| {
        let spans = history.spans().iter().filter(|span| span.cluster == name);
        spans.map(|span| (span.from, span.to)).collect::<Vec<_>>()
    };
    let (there, here) = (of("newyork"), of("sheffield"));
    assert!(!here.is_empty() && there.len() > here.len(), "{history}");
    for (from, to) in &here {
        for (other_from, other_to) in &there {
            assert!(to <= other_from || other_to <= from, "two copies: {history}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_move_waits_for_the_payload_as_long_as_its_user_says() -> TestResult {
    let turn = SITES.turn("stuck").await?;
    let [newyork, sheffield] = &*turn;
    let payload = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, finalizers: [example.com/hold]}\n";
    newyork_leads(&turn, |manifest| {
        manifest.payload(payload).with("demotion: {timeout: 8s}")
    })
    .await?;
    sheffield.patch_spec(&turn.namespace, json!({"rank": 10})).await?;
    for (reason, told) in [
        (
            "CannotStop",
            format!(
                "ConfigMap {}/web: its finalizers keep it: example.com/hold",
                turn.namespace
            ),
        ),
        ("MoveAborted", "the payload did not stop in time".to_owned()),
    ] {
        newyork.wait_for_event(&turn.namespace, reason, &told).await?;
    }
    assert!(newyork.status(&turn.namespace).await?.leading);
    // Once it goes, it is created again where the lead has stayed.
    let config_maps: Api<ConfigMap> = Api::namespaced(newyork.client()?, &turn.namespace);
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    config_maps.patch("web", &PatchParams::default(), &free).await?;
    newyork.wait_until_leading(&turn.namespace).await?;
    let again = config_maps.get("web").await?;
    assert_eq!(again.metadata.deletion_timestamp, None);
    // What holds it is of the payload: nothing could go while this is.
    for site in [newyork, sheffield] {
        site.patch_spec(&turn.namespace, json!({"payload": ""})).await?;
    }
    config_maps.patch("web", &PatchParams::default(), &free).await?;
    Ok(())
}

#[tokio::test]
async fn who_could_not_run_the_payload_says_so_beforehand_and_is_not_chosen() -> TestResult {
    let turn = SITES.turn("eligible").await?;
    let [newyork, sheffield] = &*turn;
    let theirs = "{apiVersion: v1, kind: ConfigMap, metadata: {name: theirs}, data: {mode: theirs}}";
    sheffield.apply_in(&turn.namespace, theirs).await?;
    let payload = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs}\ndata: {mode: ours}\n";
    newyork_leads(&turn, |manifest| manifest.payload(payload)).await?;
    let message = sheffield
        .wait_for_condition(&turn.namespace, "Eligible", "False", "NotPermitted")
        .await?;
    assert!(
        message.contains(&format!("ConfigMap {}/theirs: it existed before", turn.namespace)),
        "{message}"
    );
    sheffield
        .wait_for_condition(&turn.namespace, "Degraded", "True", "NotPermitted")
        .await?;
    newyork
        .wait_for_condition(&turn.namespace, "Eligible", "True", "Leading")
        .await?;

    // It ranks higher, and is not chosen before it could run the payload.
    sheffield.patch_spec(&turn.namespace, json!({"rank": 10})).await?;
    let agreed = |known: &flagship::api::MultiClusterStatus| {
        known
            .members
            .iter()
            .any(|member| member.name == "sheffield" && member.rank == 10)
    };
    newyork
        .wait_until("the new rank is agreed on", PATIENCE, async |_| {
            Ok::<_, kube::Error>(agreed(&newyork.status(&turn.namespace).await?))
        })
        .await?;
    assert!(newyork.status(&turn.namespace).await?.leading);
    let config_maps: Api<ConfigMap> = Api::namespaced(sheffield.client()?, &turn.namespace);
    let seen = config_maps.get("theirs").await?;
    assert_eq!(seen.data.unwrap()["mode"], "theirs", "a dry run changes nothing");
    config_maps.delete("theirs", &DeleteParams::default()).await?;
    sheffield.wait_until_leading(&turn.namespace).await?;
    Ok(())
}

#[tokio::test]
async fn a_payload_that_fails_here_is_run_by_the_next() -> TestResult {
    let turn = SITES.turn("failing").await?;
    let [newyork, sheffield] = &*turn;
    let definition = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gauges.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Gauge, plural: gauges}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";
    let rule = k8s_openapi::api::rbac::v1::PolicyRule {
        api_groups: Some(vec!["example.com".to_owned()]),
        resources: Some(vec!["gauges".to_owned()]),
        verbs: ["get", "list", "watch", "create", "patch", "delete"]
            .map(str::to_owned)
            .to_vec(),
        ..Default::default()
    };
    for site in &*turn {
        site.apply(definition).await?;
        site.grant(std::slice::from_ref(&rule)).await?;
    }
    let payload = "apiVersion: example.com/v1\nkind: Gauge\nmetadata: {name: web}\nspec: {size: 1}\n";
    newyork_leads(&turn, |manifest| {
        manifest.payload(payload).with("health: {failureTimeout: 2s}")
    })
    .await?;
    sheffield
        .wait_for_condition(&turn.namespace, "Eligible", "True", "Permitted")
        .await?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Gauge"));
    let gauges: Api<DynamicObject> = Api::namespaced_with(newyork.client()?, &turn.namespace, &resource);
    let failed = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Empty"}]}});
    gauges
        .patch("web", &PatchParams::default(), &Patch::Merge(failed))
        .await?;
    sheffield.wait_until_leading(&turn.namespace).await?;
    newyork.wait_until_following(&turn.namespace, sheffield).await?;
    Ok(())
}
