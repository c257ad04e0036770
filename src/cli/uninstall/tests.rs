#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::json;

use super::*;

fn member(name: &str, status: serde_json::Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "kube-vip.io/v1alpha1", "kind": "MultiCluster",
        "metadata": {"namespace": "shop", "name": name}, "status": status,
    }))
    .unwrap()
}

#[test]
fn the_question_names_what_goes() {
    assert_eq!(
        question(
            "https://newyork:6443/",
            "flagship-system",
            &[member("b", json!({})), member("a", json!({}))]
        ),
        "Remove Flagship (namespace flagship-system) from https://newyork:6443/?\n\
         2 MultiClusters will be deleted, and their payloads in this cluster stopped: shop/a, shop/b.\n\
         Type y to go on:"
    );
}

#[test]
fn a_drop_by_force_names_every_object_that_runs_on() {
    let leader = member(
        "newyork",
        json!({"payload": {"objects": [
            {"group": "apps", "version": "v1", "kind": "Deployment", "namespace": "shop", "name": "web", "owned": true, "state": "Applied"},
            {"version": "v1", "kind": "Namespace", "name": "extra", "owned": true, "state": "Stuck"},
            {"version": "v1", "kind": "Namespace", "name": "shop", "owned": false, "state": "Used"},
        ]}}),
    );
    assert_eq!(
        left_behind(&leader),
        "dropped MultiCluster shop/newyork: stays behind and runs on: Deployment shop/web, Namespace extra; \
         the other members of its group still count it"
    );
    assert_eq!(
        left_behind(&member("sheffield", json!(null))),
        "dropped MultiCluster shop/sheffield: its status lists no objects of its payload here; \
         the other members of its group still count it"
    );
}

#[test]
fn only_our_finalizer_is_taken_off_and_only_of_the_version_that_was_seen() {
    let mut newyork = member("newyork", json!(null));
    newyork.metadata.resource_version = Some("7".to_owned());
    newyork.metadata.finalizers = Some(vec!["example.com/backup".to_owned(), FINALIZER.to_owned()]);
    assert_eq!(
        without_finalizer(&newyork),
        json!({"metadata": {"resourceVersion": "7", "finalizers": ["example.com/backup"]}})
    );
}

#[test]
fn long_lists_are_cut() {
    let names = (0..25).map(|n| format!("shop/{n:02}")).collect();
    assert!(list(&names).ends_with("shop/19 and 5 more"));
}
