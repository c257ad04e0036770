//! Payloads that cannot be read at all, and payloads at the limits of what can be.

use flagship_testing::TestResult;

use super::lone::{Lone, config_map};
use super::{others_run_on, site};

const UNREADABLE: [(&str, &str); 7] = [
    (
        "kind: [ConfigMap",
        "document 2 of the payload is not valid YAML (line",
    ),
    (
        "apiVersion: v1\nmetadata: {name: b}",
        "document 2 of the payload (b) has no `kind`: add one",
    ),
    (
        "kind: ConfigMap\nmetadata: {name: b}",
        "document 2 of the payload (ConfigMap) has no `apiVersion`: add one",
    ),
    (
        "apiVersion: v1\nkind: ConfigMap",
        "document 2 of the payload (ConfigMap) has no `metadata.name`: add one",
    ),
    ("just a text", "document 2 of the payload is not an object"),
    (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}",
        "documents 1 and 2 of the payload are the same object, ConfigMap a: remove one",
    ),
    (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, labels: {level: 1}}",
        "`metadata.labels` must map texts to texts; quote numbers",
    ),
];

#[tokio::test]
async fn a_payload_that_cannot_be_read_changes_nothing_and_is_followed_once_it_can() -> TestResult {
    let site = site().await?;
    let namespace = site.fresh_namespace("unreadable").await?;
    let first = config_map("a", "mode", "first");
    let lone = Lone::launch(site, &namespace, &(first.clone() + "---\n" + UNREADABLE[0].0)).await?;
    lone.until_condition("PayloadApplied", "False", "PayloadInvalid")
        .await?;
    assert!(
        lone.get("v1", "ConfigMap", "a").await?.is_none(),
        "half a payload is none"
    );
    lone.edit(&first).await?;
    lone.until_applied().await?;
    let before = lone.get("v1", "ConfigMap", "a").await?.unwrap().metadata;
    for (bad, told) in UNREADABLE {
        lone.edit(&(config_map("a", "mode", "second") + "---\n" + bad))
            .await?;
        let message = lone
            .until_condition("PayloadApplied", "False", "PayloadInvalid")
            .await?;
        assert!(message.contains(told), "{bad}: {message}");
        lone.until_event("PayloadInvalid", told).await?;
        let leading = lone.until_condition("Leading", "True", "Leading").await;
        leading.expect("what runs goes on running");
    }
    assert_eq!(lone.get("v1", "ConfigMap", "a").await?.unwrap().metadata, before);
    lone.edit(&config_map("a", "mode", "second")).await?;
    lone.until_applied().await?;
    lone.until_data("a", "mode", Some("second")).await?;
    others_run_on().await
}

#[tokio::test]
async fn payloads_may_be_empty_large_and_many_and_ranks_absurd() -> TestResult {
    let site = site().await?;
    for (purpose, rank) in [("lowest", i64::MIN), ("negative", -7), ("highest", i64::MAX)] {
        let namespace = site.fresh_namespace(purpose).await?;
        let manifest = site.manifest(&namespace, rank).ready();
        let lone = Lone::of_yaml(site, &namespace, site.name(), &manifest.yaml()).await?;
        lone.until_applied().await?;
        assert_eq!(lone.status().await?.leader.unwrap().rank, rank);
        assert_eq!(lone.status().await?.payload.unwrap_or_default().objects, []);
        lone.delete().await?;
    }

    let namespace = site.fresh_namespace("many").await?;
    let many: String = (0..200)
        .map(|n| config_map(&format!("m{n}"), "mode", "first"))
        .collect();
    let lone = Lone::launch(site, &namespace, &many).await?;
    lone.until_applied().await?;
    assert_eq!(lone.metric("flagship_payload_objects").await?, Some(200.0));

    // A text of a mebibyte, as long as the resource allows, which is an edit of all and a prune of most.
    let mut large: String = (0..15)
        .map(|n| config_map(&format!("m{n}"), "mode", &"x".repeat(65_000)))
        .collect();
    let comment = "# a comment to the last byte\n";
    while large.len() + comment.len() < 1 << 20 {
        large.push_str(comment);
    }
    lone.edit(&large).await?;
    lone.until_applied().await?;
    assert_eq!(lone.metric("flagship_payload_objects").await?, Some(15.0));
    assert!(lone.get("v1", "ConfigMap", "m199").await?.is_none());
    lone.edit("").await?;
    lone.until_applied().await?;
    assert_eq!(lone.metric("flagship_payload_objects").await?, Some(0.0));
    assert!(lone.get("v1", "ConfigMap", "m0").await?.is_none());
    others_run_on().await
}
