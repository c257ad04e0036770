//! Members that cannot listen, be reached or be let in.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use flagship_testing::{Site, TestResult};

use super::lone::{Lone, config_map};
use super::{others_run_on, site};

/// A port of the site's address that nobody else listens on, for as long as the listener lives.
fn taken_port(site: &Site) -> std::io::Result<(TcpListener, u16)> {
    let listener = TcpListener::bind(SocketAddr::new(site.ip(), 0))?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// The manifest of a second member in the same cluster, which listens on a port of its own.
fn second(site: &Site, callsign: &str, port: u16, address: &str) -> String {
    site.manifest(callsign, 3)
        .joins(&[site])
        .payload(&config_map("web", "mode", "ours"))
        .yaml()
        .replace("name: newyork", "name: second")
        .replace("port: 9990", &format!("port: {port}"))
        .replace(
            &format!("serviceAddress: \"{}:9990\"", site.ip()),
            &format!("serviceAddress: {address}"),
        )
}

#[tokio::test]
async fn a_port_in_use_is_told_and_listened_on_once_it_is_free() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("port").await?;
    let (listener, port) = taken_port(site)?;
    let manifest = site
        .manifest(&namespace, 5)
        .ready()
        .payload(&config_map("web", "mode", "ours"));
    let yaml = manifest.yaml().replace("port: 9990", &format!("port: {port}"));
    let lone = Lone::of_yaml(site, &namespace, site.name(), &yaml).await?;
    let message = lone.until_condition("Degraded", "True", "CannotListen").await?;
    let address = format!("{}:{port}", site.ip());
    assert!(
        message.contains(&address) && message.contains("in use"),
        "{message}"
    );
    lone.until_event("CannotListen", &address).await?;
    assert_eq!(lone.status().await?.port, 0, "it does not listen");
    drop(listener);
    lone.until_condition("Degraded", "False", "AsExpected").await?;
    assert_eq!(lone.status().await?.port, i64::from(port));
    lone.until_applied().await?;
    others_run_on().await
}

/// It cannot hear that the group exists already, so it must not found another.
#[tokio::test]
async fn a_second_member_with_port_and_callsign_of_another_founds_nothing_until_it_can_be_heard() -> TestResult
{
    let site = site().await?;
    let payload = config_map("web", "mode", "ours");
    let namespace = site.fresh_namespace("heard").await?;
    let first = Lone::launch(site, &namespace, &payload).await?;
    first.until_applied().await?;
    let elsewhere = site.fresh_namespace("unheard").await?;
    let yaml = site.manifest(&namespace, 9).ready().payload(&payload).yaml();
    let second = Lone::of_yaml(site, &elsewhere, site.name(), &yaml).await?;
    let message = second.until_condition("Degraded", "True", "CannotListen").await?;
    assert!(message.contains("the callsign is already used"), "{message}");
    // A founder listens for two leases, which are six seconds.
    tokio::time::sleep(Duration::from_secs(9)).await;
    let status = second.status().await?;
    assert!(
        !status.leading && !status.ready && status.members.is_empty(),
        "{status:?}"
    );
    first.delete().await?;
    second.until_applied().await?;
    second.delete().await?;
    others_run_on().await
}

#[tokio::test]
async fn an_address_that_does_not_resolve_is_told() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("address").await?;
    let manifest = site
        .manifest(&namespace, 5)
        .ready()
        .payload(&config_map("web", "mode", "ours"));
    let right = format!("serviceAddress: \"{}:9990\"", site.ip());
    let yaml = manifest.yaml().replace(&right, "serviceAddress: nowhere.invalid");
    let lone = Lone::of_yaml(site, &namespace, site.name(), &yaml).await?;
    let message = lone.until_condition("Degraded", "True", "ServiceAddress").await?;
    assert!(
        message.contains("nowhere.invalid:9990 of this member, by spec.serviceAddress or else its Service, does not resolve")
            && message.contains("Correct it"),
        "{message}"
    );
    lone.write(&manifest).await?;
    lone.until_condition("Degraded", "False", "AsExpected").await?;
    lone.until_applied().await?;
    others_run_on().await
}

#[tokio::test]
async fn a_wrong_callsign_is_refused_and_told() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("callsign").await?;
    let leader = Lone::launch(site, &namespace, &config_map("web", "mode", "ours")).await?;
    leader.until_applied().await?;
    let elsewhere = site.fresh_namespace("callsign-wrong").await?;
    let (listener, port) = taken_port(site)?;
    drop(listener);
    let address = format!("{}:{port}", site.ip());
    let wrong = second(site, "wrong", port, &address);
    let joiner = Lone::of_yaml(site, &elsewhere, "second", &wrong).await?;
    let message = joiner.until_told("Ready", "callsign").await?;
    assert!(message.contains(&format!("{}:9990", site.ip())), "{message}");
    assert!(!joiner.status().await?.leading);
    joiner
        .write_yaml(&second(site, &namespace, port, &address))
        .await?;
    joiner.until_condition("Ready", "True", "Following").await?;
    assert!(
        joiner.get("v1", "ConfigMap", "web").await?.is_none(),
        "only one member leads"
    );
    assert!(leader.status().await?.leading);
    others_run_on().await
}

#[tokio::test]
async fn two_members_with_one_address_are_told_apart_and_the_second_is_refused() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("clash").await?;
    let leader = Lone::launch(site, &namespace, &config_map("web", "mode", "ours")).await?;
    leader.until_applied().await?;
    let elsewhere = site.fresh_namespace("clash-second").await?;
    let (listener, port) = taken_port(site)?;
    drop(listener);
    let clash = second(site, &namespace, port, &format!("{}:9990", site.ip()));
    // Even one that may found a group must see that there is one at its address.
    let clash = clash.replace("ready: false", "ready: true");
    let joiner = Lone::of_yaml(site, &elsewhere, "second", &clash).await?;
    let message = joiner
        .until_told("Ready", "Give each member an address of its own")
        .await?;
    assert!(message.contains("is that of member"), "{message}");
    leader
        .until_event("AddressClash", "Give each member its own")
        .await?;
    assert!(leader.status().await?.leading);
    let own = second(site, &namespace, port, &format!("{}:{port}", site.ip()));
    joiner.write_yaml(&own).await?;
    joiner.until_condition("Ready", "True", "Following").await?;
    assert!(leader.status().await?.leading);
    others_run_on().await
}
