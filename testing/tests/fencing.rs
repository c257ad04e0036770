//! The copy that a dead controller left is removed through its cluster's API server, on real control planes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and shows what happened"
)]

use std::time::Duration;

use flagship_testing::{
    Failure, History, Manifest, PATIENCE, Part, Presence, Recorder, Selection, SharedSites, Site, TestResult,
    Turn, WEB,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::ListParams;
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use tokio::time::sleep;

static SITES: SharedSites<3> = SharedSites::new(["newyork", "sheffield", "gotham"]);

/// The rights that a cluster gives the others, as they ship.
const RIGHTS: &str = include_str!("../../manifests/fencing.yaml");

/// A kubeconfig by which others may remove what this site's member left: as the README has it, with a token.
async fn kubeconfig_of(site: &Site) -> Result<String, Failure> {
    site.apply(RIGHTS).await?;
    let arguments = ["create", "token", "flagship-fencing", "-n", "flagship-system"];
    let token = site.kubectl(&arguments).await?;
    let administrators = Kubeconfig::read_from(site.kubeconfig())?;
    let cluster = administrators.clusters[0].cluster.as_ref().unwrap();
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "fence",
        "clusters": [{"name": "fence", "cluster": {
            "server": cluster.server, "certificate-authority-data": cluster.certificate_authority_data}}],
        "users": [{"name": "fence", "user": {"token": token.trim()}}],
        "contexts": [{"name": "fence", "context": {"cluster": "fence", "user": "fence"}}],
    });
    Ok(config.to_string())
}

/// Puts a kubeconfig where `fencing_of` looks for it.
async fn give(site: &Site, namespace: &str, of: &str, kubeconfig: &str) -> TestResult {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("{of}-fence")},
        "stringData": {"kubeconfig": kubeconfig},
    });
    Ok(site.apply_in(namespace, &secret.to_string()).await?)
}

fn fencing_of(name: &str) -> String {
    format!("fencing: {{members: [{{name: {name}, kubeConfigSecretRef: {{name: {name}-fence}}}}]}}")
}

fn member(turn: &Turn<'_, 3>, site: &Site, rank: i64) -> Manifest {
    let manifest = site.manifest(&turn.namespace, rank).payload(WEB);
    // Long enough for a busy machine: a receipt ends the wait, so that only its absence costs time.
    manifest.with("timing: {stopBudget: 10s}")
}

/// A group that newyork has founded and leads, the others with this in their specs.
async fn newyork_leads(turn: &Turn<'_, 3>, others: &[&Site], field: &str) -> TestResult {
    let [newyork, ..] = &**turn;
    let namespace = &turn.namespace;
    let founder = member(turn, newyork, 10).ready().yaml();
    newyork.apply_in(namespace, &founder).await?;
    newyork.wait_until_leading(namespace).await?;
    for (site, rank) in others.iter().zip([5, 3]) {
        let manifest = member(turn, site, rank).with(field).joins(&[newyork]).yaml();
        site.apply_in(namespace, &manifest).await?;
        site.wait_until_following(namespace, newyork).await?;
    }
    Ok(())
}

async fn record(turn: &Turn<'_, 3>) -> flagship_testing::Result<Recorder> {
    let selection = Selection::new()
        .kind::<Deployment>()
        .kind::<ConfigMap>()
        .in_namespace(&turn.namespace)
        .labelled("flagship.dev/payload-of");
    Recorder::start(&turn.each_ref().map(|site| &**site), selection).await
}

fn never_two(history: &History) {
    assert_eq!(history.overlaps(Presence::Possible), [], "{history}");
}

/// Whether nothing of a payload is left.
async fn is_empty(client: kube::Client, namespace: &str) -> kube::Result<bool> {
    let params = ListParams::default().labels("flagship.dev/payload-of");
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace)
        .list(&params)
        .await?;
    let config_maps = Api::<ConfigMap>::namespaced(client, namespace)
        .list(&params)
        .await?;
    Ok(deployments.items.is_empty() && config_maps.items.is_empty())
}

#[tokio::test]
async fn a_copy_that_a_dead_or_frozen_controller_left_is_gone_before_the_next_one_starts() -> TestResult {
    let turn = SITES.turn("killed").await?;
    let [newyork, sheffield, gotham] = &*turn;
    let namespace = &turn.namespace;
    let kubeconfig = kubeconfig_of(newyork).await?;
    for site in [sheffield, gotham] {
        give(site, namespace, "newyork", &kubeconfig).await?;
    }
    newyork_leads(&turn, &[sheffield, gotham], &fencing_of("newyork")).await?;
    let bystander = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bystander}";
    newyork.apply_in(namespace, bystander).await?;
    let recorder = record(&turn).await?;
    recorder.mark("newyork's controller is killed");
    newyork.controller.kill().await?;
    sheffield.wait_until_leading(namespace).await?;
    sheffield
        .wait_for_event(namespace, "PayloadFenced", "that newyork left in term")
        .await?;
    let status = sheffield.status(namespace).await?;
    let moved = &status.history[0];
    assert_eq!((moved.from.as_str(), moved.to.as_str()), ("newyork", "sheffield"));
    assert!(moved.fencing.contains("removed the copy"), "{moved:?}");
    assert!(
        is_empty(newyork.client()?, namespace).await?,
        "removed before it started"
    );
    newyork
        .kubectl(&["get", "configmap", "bystander", "-n", namespace])
        .await?;

    recorder.mark("newyork's controller starts again");
    newyork.controller.start()?;
    // Its own status tells what was true before, until it has written a new one.
    sheffield.wait_until_following(namespace, newyork).await?;
    newyork.wait_until_leading(namespace).await?;
    let term = sheffield.status(namespace).await?.term;

    recorder.mark("newyork's controller is frozen");
    newyork.controller.freeze()?;
    sheffield.wait_until_leading(namespace).await?;
    let told = format!("that newyork left in term {}", term.unwrap());
    sheffield
        .wait_for_event(namespace, "PayloadFenced", &told)
        .await?;
    recorder.mark("newyork's controller thaws");
    newyork.controller.thaw()?;
    sheffield.wait_until_following(namespace, newyork).await?;
    newyork.wait_until_leading(namespace).await?;
    let history = recorder.finish().await?;
    println!("{history}");
    never_two(&history);
    Ok(())
}

#[tokio::test]
async fn a_copy_is_removed_later_where_its_api_server_cannot_be_reached_in_time() -> TestResult {
    let turn = SITES.turn("unreachable").await?;
    let [newyork, sheffield, gotham] = &*turn;
    let namespace = &turn.namespace;
    let kubeconfig = kubeconfig_of(newyork).await?;
    give(sheffield, namespace, "newyork", &kubeconfig).await?;
    newyork_leads(&turn, &[sheffield, gotham], &fencing_of("newyork")).await?;
    newyork.controller.kill().await?;
    newyork.kill(Part::ApiServer).await?;
    // It starts when the stop budget is over, as it would without fencing.
    sheffield.wait_until_leading(namespace).await?;
    sheffield
        .wait_for_event(namespace, "FencingImpossible", "cannot ask the API server")
        .await?;
    let status = sheffield.status(namespace).await?;
    let told = &status.history[0].fencing;
    assert!(
        told.contains("was not removed: cannot ask the API server of newyork"),
        "{told}"
    );

    newyork.restart(Part::ApiServer).await?;
    // It does not outlive the API server, and collects what is deleted in the foreground.
    newyork.restart(Part::ControllerManager).await?;
    newyork
        .wait_until("the copy is removed", PATIENCE, async |client| {
            is_empty(client, namespace).await
        })
        .await?;
    sheffield
        .wait_for_event(namespace, "PayloadFenced", "removed the copy")
        .await?;
    assert!(sheffield.status(namespace).await?.leading);
    Ok(())
}

#[tokio::test]
async fn in_a_pair_without_a_quorum_a_dead_members_copy_is_removed() -> TestResult {
    let turn = SITES.turn("pair").await?;
    let [newyork, sheffield, _] = &*turn;
    let namespace = &turn.namespace;
    let kubeconfig = kubeconfig_of(newyork).await?;
    give(sheffield, namespace, "newyork", &kubeconfig).await?;
    newyork_leads(&turn, &[sheffield], &fencing_of("newyork")).await?;
    sheffield
        .wait_for_condition(namespace, "SplitBrainPossible", "True", "TwoMembersWithoutQuorum")
        .await?;
    let recorder = record(&turn).await?;
    recorder.mark("newyork's controller is killed");
    newyork.controller.kill().await?;
    sheffield.wait_until_leading(namespace).await?;
    sheffield
        .wait_for_event(namespace, "PayloadFenced", "that newyork left in term")
        .await?;
    never_two(&recorder.finish().await?);
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_fence_is_told_before_it_is_needed() -> TestResult {
    let turn = SITES.turn("wrong").await?;
    let [newyork, sheffield, gotham] = &*turn;
    let namespace = &turn.namespace;
    newyork_leads(&turn, &[sheffield, gotham], &fencing_of("newyork")).await?;
    let told = async |reason: &str| {
        sheffield
            .wait_for_condition(namespace, "Degraded", "True", "FencingUnready")
            .await?;
        let what = format!("Degraded says {reason:?}");
        sheffield
            .wait_until(&what, PATIENCE, async |_| {
                let status = sheffield.status(namespace).await?;
                let degraded = status.conditions.iter().find(|one| one.type_ == "Degraded");
                Ok::<_, kube::Error>(degraded.is_some_and(|one| one.message.contains(reason)))
            })
            .await?;
        TestResult::Ok(())
    };
    told("there is no Secret newyork-fence in this namespace").await?;
    let usable: Value = serde_json::from_str(&kubeconfig_of(newyork).await?)?;
    let mut plugin = usable.clone();
    plugin["users"][0]["user"] =
        json!({"exec": {"command": "/bin/true", "apiVersion": "client.authentication.k8s.io/v1"}});
    give(sheffield, namespace, "newyork", &plugin.to_string()).await?;
    told("has an exec plugin: no program is run for it").await?;
    let mut expired = usable.clone();
    expired["users"][0]["user"]["token"] = json!("expired");
    give(sheffield, namespace, "newyork", &expired.to_string()).await?;
    told("it does not accept these credentials: renew them").await?;
    give(sheffield, namespace, "newyork", &usable.to_string()).await?;
    sheffield
        .wait_for_condition(namespace, "Degraded", "False", "AsExpected")
        .await?;
    let stranger =
        json!({"members": [{"name": "metropolis", "kubeConfigSecretRef": {"name": "newyork-fence"}}]});
    sheffield
        .patch_spec(namespace, json!({"fencing": stranger}))
        .await?;
    told("spec.fencing names metropolis, which is no member of the group").await?;

    // One that leads to another cluster removes nothing there.
    let elsewhere = kubeconfig_of(gotham).await?;
    give(sheffield, namespace, "newyork", &elsewhere).await?;
    let named = json!({"members": [{"name": "newyork", "kubeConfigSecretRef": {"name": "newyork-fence"}}]});
    sheffield.patch_spec(namespace, json!({"fencing": named})).await?;
    told("has no MultiCluster newyork with the UID").await?;
    newyork.controller.kill().await?;
    sheffield
        .wait_for_event(
            namespace,
            "FencingImpossible",
            "has no MultiCluster newyork with the UID",
        )
        .await?;
    sheffield.wait_until_leading(namespace).await?;
    sleep(Duration::from_secs(2)).await;
    assert!(
        !is_empty(newyork.client()?, namespace).await?,
        "nobody could remove it"
    );

    // Mended, it is used at once, by the same process.
    let pid = sheffield.controller.pid()?;
    give(sheffield, namespace, "newyork", &usable.to_string()).await?;
    newyork
        .wait_until("the copy is removed", PATIENCE, async |client| {
            is_empty(client, namespace).await
        })
        .await?;
    assert_eq!(sheffield.controller.pid()?, pid);
    Ok(())
}
