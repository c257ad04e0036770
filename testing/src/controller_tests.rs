#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::ListParams;

use super::*;
use crate::clusters;
use crate::run_folder::TestResult;

const INSTALL: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: bridge}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: logs.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Log, plural: logs, singular: log}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: captain, namespace: bridge}
---
# Of the kind that was defined just before.
apiVersion: example.org/v1
kind: Log
metadata: {name: first, namespace: bridge}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: controller, namespace: bridge}
spec: {template: {spec: {serviceAccountName: captain, containers: [{image: 'flagship:1'}]}}}
";

#[tokio::test]
async fn the_controllers_account_may_do_what_was_installed_and_granted_and_no_more() -> TestResult {
    let [newyork] = clusters(["newyork"]).await?;
    let manifest = newyork.folder().join("install.yaml");
    std::fs::write(&manifest, INSTALL)?;
    let installation = newyork.install_manifest(&manifest).await?;
    let file = newyork
        .service_account_kubeconfig(&installation.namespace, &installation.service_account)
        .await?;
    assert_eq!(
        newyork
            .kubectl(&["get", "logs,deployments", "-n", "bridge", "-o", "name"])
            .await?,
        "log.example.org/first\n"
    );

    let config = crate::cluster::client_config(&file).await?;
    assert_eq!(config.default_namespace, "bridge");
    let config_maps = Api::<ConfigMap>::default_namespaced(Client::try_from(config)?);
    match config_maps.list(&ListParams::default()).await {
        Err(kube::Error::Api(status)) => {
            assert_eq!(status.code, 403, "{status:?}");
            assert!(
                status.message.contains("system:serviceaccount:bridge:captain"),
                "{status:?}"
            );
        }
        other => panic!("allowed without a right: {other:?}"),
    }

    let rule = PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec!["configmaps".into()]),
        verbs: vec!["list".into()],
        ..PolicyRule::default()
    };
    newyork.grant_to("bridge", "captain", &[rule]).await?;
    newyork
        .wait_until("the granted right", Duration::from_secs(10), async |_| {
            config_maps.list(&ListParams::default()).await.map(|_| true)
        })
        .await?;
    Ok(())
}

#[test]
fn the_controller_is_started_by_the_flags_that_users_know() {
    let arguments = controller_arguments(
        Path::new("/k"),
        "127.1.2.3".parse().unwrap(),
        "127.1.2.3:8080".parse().unwrap(),
    );
    assert_eq!(
        arguments.join(" "),
        "controller --kubeconfig /k --listen-address 127.1.2.3 --metrics-address 127.1.2.3:8080"
    );
}
