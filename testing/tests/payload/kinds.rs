//! From the first apply to the last deletion: a payload of many kinds, what it needs first included.

use flagship::api::{ObjectHealth, ObjectState};
use flagship_testing::TestResult;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

use super::lone::{Lone, api, config_map};
use super::revisions::Revisions;
use super::site;

/// What each document is, in an order that does not work as it stands.
const KINDS: [(&str, &str, &str); 14] = [
    ("example.com/v1", "Widget", "web"),
    ("networking.k8s.io/v1", "Ingress", "web"),
    ("autoscaling/v2", "HorizontalPodAutoscaler", "web"),
    ("apps/v1", "Deployment", "web"),
    ("apps/v1", "StatefulSet", "db"),
    ("batch/v1", "CronJob", "report"),
    ("v1", "Service", "web"),
    ("v1", "ConfigMap", "web"),
    ("v1", "Secret", "web"),
    ("v1", "ServiceAccount", "web"),
    ("networking.k8s.io/v1", "NetworkPolicy", "web"),
    ("policy/v1", "PodDisruptionBudget", "web"),
    ("v1", "Namespace", "NAMESPACE-own"),
    (
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "widgets.example.com",
    ),
];

/// All kinds, most of them in a Namespace that the payload brings; `replicas` and `data` are what tests edit.
fn manifests(namespace: &str, replicas: u32, data: &str) -> String {
    let own = format!("{namespace}-own");
    let pod = "metadata: {labels: {app: web}}, spec: {restartPolicy: RESTART, containers: [{name: web, image: nginx}]}";
    let always = pod.replace("RESTART", "Always");
    let never = pod.replace("RESTART", "Never");
    let body = |kind: &str| {
        match kind {
        "Widget" => "spec: {size: 3}".to_owned(),
        "Ingress" => {
            "spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}".to_owned()
        }
        "HorizontalPodAutoscaler" => {
            "spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: other}}".to_owned()
        }
        "Deployment" => format!("spec: {{replicas: {replicas}, selector: {{matchLabels: {{app: web}}}}, template: {{{always}}}}}"),
        "StatefulSet" => {
            format!("spec: {{serviceName: db, selector: {{matchLabels: {{app: web}}}}, template: {{{always}}}}}")
        }
        "CronJob" => format!(
            "spec: {{schedule: '0 0 1 1 *', jobTemplate: {{spec: {{template: {{{never}}}}}}}}}"
        ),
        "Service" => "spec: {selector: {app: web}, ports: [{port: 80}]}".to_owned(),
        "ConfigMap" => format!("data: {data}"),
        "Secret" => "stringData: {password: hunter2}".to_owned(),
        "NetworkPolicy" => "spec: {podSelector: {}}".to_owned(),
        "PodDisruptionBudget" => "spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}".to_owned(),
        "CustomResourceDefinition" => "
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}"
            .to_owned(),
        _ => String::new(),
    }
    };
    let documents = KINDS.iter().map(|(api_version, kind, name)| {
        let name = name.replace("NAMESPACE", namespace);
        let place = match *kind {
            "Namespace" | "CustomResourceDefinition" => String::new(),
            _ => format!(", namespace: {own}"),
        };
        format!(
            "---\napiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: {name}{place}}}\n{}\n",
            body(kind)
        )
    });
    documents.collect()
}

#[tokio::test]
async fn many_kinds_come_in_order_follow_edits_and_go_in_reverse() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("kinds").await?;
    let own = format!("{namespace}-own");
    let label = flagship::payload::Owner {
        namespace: namespace.clone(),
        name: site.name().to_owned(),
    }
    .label_value();
    let client = site.client()?;
    let selector = format!("{}={label}", flagship::payload::PAYLOAD_LABEL);
    let kinds = KINDS.iter().map(|(api_version, kind, _)| (*api_version, *kind));
    let revisions = Revisions::of(&client, kinds, &selector);

    let lone = Lone::launch(site, &namespace, &manifests(&namespace, 2, "{a: '1', b: '2'}")).await?;
    lone.until_applied().await?;
    for (api_version, kind, name) in KINDS {
        let name = name.replace("NAMESPACE", &namespace);
        let object = api(client.clone(), api_version, kind, &own).get(&name).await?;
        let metadata = serde_json::to_value(&object.metadata)?;
        assert_eq!(
            metadata["labels"][flagship::payload::PAYLOAD_LABEL],
            label.as_str(),
            "{kind}"
        );
        let mark = format!("{namespace}/{}", site.name());
        assert_eq!(
            metadata["annotations"][flagship::payload::MULTICLUSTER_ANNOTATION],
            mark.as_str(),
            "{kind}"
        );
        let managers: Vec<_> = object.metadata.managed_fields.iter().flatten().collect();
        let ours = |entry: &&&ManagedFieldsEntry| entry.manager.as_deref() == Some("flagship");
        assert_eq!(managers.iter().filter(ours).count(), 1, "{kind}: {managers:?}");
    }
    let template = api(client.clone(), "apps/v1", "Deployment", &own)
        .get("web")
        .await?;
    let template = &template.data["spec"]["template"]["metadata"];
    assert_eq!(
        template["labels"],
        serde_json::json!({"app": "web"}),
        "a new term must restart no Pod"
    );
    assert_eq!(
        template["annotations"],
        serde_json::Value::Null,
        "a new term must restart no Pod"
    );
    let objects = lone.status().await?.payload.unwrap_or_default().objects;
    assert_eq!(objects.len(), KINDS.len());
    for object in &objects {
        assert_eq!(
            (object.state, object.owned),
            (ObjectState::Applied, true),
            "{object:?}"
        );
        // Only its health is to be told of: no node runs Pods here.
        let is_healthy = object.health == Some(ObjectHealth::Healthy);
        assert_eq!(object.message.is_empty(), is_healthy, "{object:?}");
    }
    lone.until("every object's UID is listed", async |_| {
        let objects = lone.status().await?.payload.unwrap_or_default().objects;
        Ok::<_, kube::Error>(objects.iter().all(|object| !object.uid.is_empty()))
    })
    .await?;
    assert_eq!(lone.metric("flagship_payload_objects").await?, Some(14.0));
    assert_eq!(
        lone.metric("flagship_payload_apply_seconds_count").await?,
        Some(1.0)
    );

    // An edit changes one field, removes another and drops three objects; the rest is not written at all.
    let deployments = api(client.clone(), "apps/v1", "Deployment", &own);
    let config_maps = api(client.clone(), "v1", "ConfigMap", &own);
    let secrets = api(client.clone(), "v1", "Secret", &own);
    let untouched = secrets.get("web").await?.metadata.resource_version;
    let fewer: String = manifests(&namespace, 3, "{a: '1'}")
        .split_inclusive("---\n")
        .filter(|document| {
            !["kind: Ingress\n", "kind: CronJob\n", "kind: Widget\n"]
                .iter()
                .any(|kind| document.contains(kind))
        })
        .collect();
    lone.edit(&fewer).await?;
    lone.until_applied().await?;
    assert_eq!(deployments.get("web").await?.data["spec"]["replicas"], 3);
    assert_eq!(
        config_maps.get("web").await?.data["data"],
        serde_json::json!({"a": "1"})
    );
    assert_eq!(secrets.get("web").await?.metadata.resource_version, untouched);
    for (api_version, kind, name) in [KINDS[0], KINDS[1], KINDS[5]] {
        let gone = api(client.clone(), api_version, kind, &own).get_opt(name).await?;
        assert!(gone.is_none(), "{kind} {name} was dropped: {gone:?}");
    }
    assert_eq!(lone.metric("flagship_payload_objects").await?, Some(11.0));
    assert_eq!(
        lone.metric("flagship_payload_repairs_total").await?,
        Some(0.0),
        "an edit is no repair"
    );

    lone.edit(&manifests(&namespace, 2, "{a: '1', b: '2'}")).await?;
    lone.until_applied().await?;
    lone.delete().await?;
    for (api_version, kind, name) in KINDS {
        let name = name.replace("NAMESPACE", &namespace);
        // Of a kind that is gone the API server says so in its own words.
        let left = api(client.clone(), api_version, kind, &own).get(&name).await;
        let is_gone = matches!(&left, Err(kube::Error::Api(status)) if status.code == 404);
        assert!(is_gone, "the MultiCluster went before {kind} {name}: {left:?}");
    }
    judge(&revisions, &namespace);
    Ok(())
}

/// Judges when each object began and ended.
fn judge(revisions: &Revisions, namespace: &str) {
    let lifetime = |kind: &str| {
        let (_, _, name) = KINDS.iter().find(|(_, known, _)| *known == kind).unwrap();
        match revisions.lifetime(kind, &name.replace("NAMESPACE", namespace)) {
            (Some(began), Some(ended)) => (began, ended),
            other => panic!("{kind} was not seen to come and go: {other:?}"),
        }
    };
    let (namespace_began, namespace_ended) = lifetime("Namespace");
    let (definition_began, definition_ended) = lifetime("CustomResourceDefinition");
    for (_, kind, _) in &KINDS[..12] {
        let (began, ended) = lifetime(kind);
        assert!(began > namespace_began, "{kind} was there before its Namespace");
        assert!(ended < namespace_ended, "the Namespace went before its {kind}");
        assert!(
            began > definition_began,
            "{kind} was there before the definitions"
        );
    }
    let (_, widget_ended) = lifetime("Widget");
    assert!(
        widget_ended < definition_ended,
        "the definition went before its Widget"
    );
    for (earlier, later) in [
        ("Ingress", "Deployment"),
        ("Deployment", "ConfigMap"),
        ("StatefulSet", "Secret"),
    ] {
        assert!(
            lifetime(earlier).1 < lifetime(later).1,
            "{later} went before {earlier}"
        );
    }
}

/// The object with its payload, and what there is to say of that, takes more than etcd takes of one object.
#[tokio::test]
async fn a_payload_too_large_to_be_told_of_in_full_is_run_and_its_trouble_told() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("large").await?;
    let group = ["nowhere"; 25].join(".");
    let unknown = (0..900).map(|number| {
        let name = format!("{number:0>230}");
        format!("---\napiVersion: {group}/v1\nkind: Nothing\nmetadata: {{name: \"{name}\"}}\n")
    });
    let payload = config_map("large", "filler", &"x".repeat(450_000)) + &unknown.collect::<String>();
    let lone = Lone::launch(site, &namespace, &payload).await?;
    lone.until_told("PayloadApplied", "and 8").await?;
    let config_maps = api(site.client()?, "v1", "ConfigMap", &namespace);
    assert!(config_maps.get_opt("large").await?.is_some());
    let objects = lone.status().await?.payload.unwrap_or_default().objects;
    assert!(
        objects.iter().all(|object| object.owned),
        "only what a restart needs is listed"
    );
    lone.edit(&config_map("large", "filler", "small")).await?;
    lone.until_applied().await?;
    lone.delete().await?;
    Ok(())
}
