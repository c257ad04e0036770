//! Whose an object is, and what a removal leaves alone.

use super::*;

#[test]
fn what_is_not_ours_any_more_is_left_alone() {
    let mut desk = Desk::running(&manifest("ConfigMap", "a"));
    let inventory = desk.ledger.saved.clone();
    let mut unmarked = desk.object("ConfigMap a");
    unmarked["metadata"]["annotations"] = json!({});
    unmarked["metadata"]["uid"] = "another".into();
    let mut desk = Desk::new(inventory);
    desk.stop();
    assert_eq!(desk.plan(), ["Look ConfigMap a"]);
    desk.answer("ConfigMap a", Outcome::Object(unmarked));
    assert_eq!(desk.plan(), ["Sweep [ConfigMap a]"]);
    assert_eq!(desk.state("ConfigMap a"), ObjectState::Released);
    desk.ledger.swept(desk.now, Swept::Clean);
    desk.wait(Duration::from_secs(1));
    assert_eq!(desk.plan(), ["Save []"]);
    assert_eq!(desk.status().phase, Phase::Stopped);
}

#[test]
fn what_was_refused_from_the_first_needs_no_removal() {
    let both = ["a", "b"].map(|name| manifest("ConfigMap", name)).concat();
    for removal in ["drop", "stop"] {
        let mut desk = Desk::new(Inventory::default());
        desk.run(1, &both);
        desk.plan();
        desk.plan();
        desk.succeed("ConfigMap a");
        desk.answer("ConfigMap b", failure(Failure::Forbidden("no".to_owned())));
        assert_eq!(desk.ledger.watches().len(), 1);
        desk.wait(Duration::from_secs(1));
        desk.plan();
        match removal {
            "drop" => {
                desk.run(1, &manifest("ConfigMap", "a"));
                assert_eq!(desk.plan(), NOTHING);
                desk.wait(Duration::from_secs(1));
                assert_eq!(desk.plan(), ["Save [ConfigMap a]"]);
                assert_eq!(desk.status().phase, Phase::Applied);
            }
            _ => {
                desk.stop();
                assert_eq!(desk.plan(), ["Delete u-a@11 ConfigMap a"]);
            }
        }
    }
    // Without an answer it may have been created all the same, and before a crash as well.
    let mut desk = Desk::new(Inventory::default());
    desk.run(1, &manifest("ConfigMap", "a"));
    desk.plan();
    desk.plan();
    desk.answer(
        "ConfigMap a",
        Outcome::Failed {
            failure: Failure::Unavailable("no answer".to_owned(), None),
            maybe_until: Some(desk.now + Duration::from_secs(2)),
        },
    );
    desk.stop();
    desk.wait(Duration::from_secs(3));
    assert_eq!(desk.plan(), ["Look ConfigMap a"]);
}

#[test]
fn a_namespace_with_foreign_contents_is_kept() {
    let mut desk = Desk::running(&manifest("Namespace", "ns"));
    let namespace = desk.object("Namespace ns");
    desk.stop();
    assert_eq!(desk.plan(), ["ListContents Namespace ns"]);
    desk.answer(
        "Namespace ns",
        failure(Failure::Unavailable(
            "it holds what is still being deleted".to_owned(),
            None,
        )),
    );
    desk.wait(Duration::from_secs(1));
    assert_eq!(desk.plan(), ["ListContents Namespace ns"]);
    desk.answer(
        "Namespace ns",
        Outcome::Contents(vec!["Secret theirs".to_owned()]),
    );
    assert_eq!(desk.plan(), NOTHING);
    let status = desk.status();
    assert_eq!(
        (status.phase, status.objects[0].state),
        (Phase::Stopped, ObjectState::Kept)
    );
    assert_eq!(
        status.objects[0].message,
        "left in place, since it holds what is not of this payload: Secret theirs"
    );
    desk.wait(Duration::from_secs(1));
    assert_eq!(desk.plan(), ["Save [Namespace ns kept]"]);
    // The next stop asks again; so does nobody who may not list.
    desk.stop();
    assert_eq!(desk.plan(), ["Look Namespace ns"]);
    desk.answer("Namespace ns", Outcome::Object(namespace));
    assert_eq!(desk.plan(), ["ListContents Namespace ns"]);
    desk.answer(
        "Namespace ns",
        failure(Failure::Forbidden(
            "User x cannot list resource secrets".to_owned(),
        )),
    );
    desk.plan();
    assert_eq!(
        (desk.status().phase, desk.state("Namespace ns")),
        (Phase::Stopped, ObjectState::Kept)
    );
}

#[test]
fn objects_of_a_kind_that_is_no_more_are_gone() {
    let entry = |kind: &str, group: &str| Entry {
        key: ObjectKey {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: None,
            name: "w".to_owned(),
        },
        version: "v1".to_owned(),
        uid: Some("u".to_owned()),
        kept: false,
    };
    let mut desk = Desk::new(Inventory {
        entries: vec![entry("Widget", "example.com"), entry("Gizmo", "apps")],
    });
    desk.stop();
    // What was known before the stop may be out of date.
    let ask = "RefreshKinds {\"apps\", \"example.com\"}";
    assert_eq!(desk.plan(), [ask]);
    for attempt in 1..=3 {
        desk.ledger.refreshed(desk.now, Err("no answer".to_owned()));
        let phase = match attempt {
            3 => Phase::CannotStop {
                reason: "Widget.example.com w: no answer".to_owned(),
            },
            _ => Phase::Stopping,
        };
        assert_eq!(desk.status().phase, phase);
        desk.wait(Duration::from_secs(2));
        assert_eq!(desk.plan(), [ask]);
    }
    // An API server that has just started may not tell the group yet, nor all of another's kinds.
    desk.ledger.refreshed(desk.now, Ok((kinds(), BTreeSet::new())));
    desk.wait(Duration::from_secs(9));
    assert_eq!(desk.plan(), [ask]);
    assert_eq!(
        (desk.state("Widget w"), desk.state("Gizmo w")),
        (ObjectState::Deleting, ObjectState::Deleting)
    );
    let told = |groups: &[&str]| groups.iter().map(|group| (*group).to_owned()).collect();
    desk.ledger.refreshed(desk.now, Ok((kinds(), told(&["apps"]))));
    desk.wait(Duration::from_secs(9));
    assert!(desk.plan().contains(&"RefreshKinds {\"example.com\"}".to_owned()));
    desk.ledger
        .refreshed(desk.now, Ok((kinds(), told(&["apps", "example.com"]))));
    assert!(desk.plan().contains(&"Sweep [Gizmo w, Widget w]".to_owned()));
}

#[test]
fn a_group_whose_server_is_down_keeps_its_objects_listed() {
    let entry = Entry {
        key: ObjectKey {
            group: "example.com".to_owned(),
            kind: "Widget".to_owned(),
            namespace: None,
            name: "w".to_owned(),
        },
        version: "v1".to_owned(),
        uid: Some("u".to_owned()),
        kept: false,
    };
    let mut stale = (*kinds()).clone();
    let list = json!({"items": [{"metadata": {"name": "example.com"}, "versions": [{"version": "v1", "freshness": "Stale"}]}]});
    stale.add(serde_json::from_value(list).unwrap());
    let mut desk = Desk::new(Inventory { entries: vec![entry] });
    desk.stop();
    desk.plan();
    desk.ledger
        .refreshed(desk.now, Ok((Arc::new(stale), BTreeSet::new())));
    desk.wait(Duration::from_secs(9));
    assert_eq!(desk.plan(), ["RefreshKinds"]);
    assert_eq!(desk.status().phase, Phase::Stopping);
}

#[test]
fn a_namespace_is_listed_anew_before_each_attempt_to_delete_it() {
    let mut desk = Desk::running(&manifest("Namespace", "ns"));
    let mut changed = desk.object("Namespace ns");
    desk.stop();
    assert_eq!(desk.plan(), ["ListContents Namespace ns"]);
    desk.succeed("Namespace ns");
    assert_eq!(desk.plan(), ["Delete u-ns@11 Namespace ns"]);
    desk.answer(
        "Namespace ns",
        failure(Failure::Forbidden("User x cannot delete resource".to_owned())),
    );
    desk.wait(Duration::from_secs(7));
    assert_eq!(desk.plan(), ["ListContents Namespace ns"]);
    desk.succeed("Namespace ns");
    // Somebody labels it meanwhile, and perhaps fills it.
    desk.plan();
    desk.answer("Namespace ns", Outcome::Changed);
    assert_eq!(desk.plan(), ["Look Namespace ns"]);
    desk.answer("Namespace ns", Outcome::Object(changed.clone()));
    assert_eq!(desk.plan(), ["ListContents Namespace ns"]);
    desk.succeed("Namespace ns");
    changed["metadata"]["resourceVersion"] = "20".into();
    desk.watched("Namespace ns", &changed);
    assert_eq!(desk.plan(), ["ListContents Namespace ns"]);
}

#[test]
fn what_lost_its_mark_goes_with_the_rest_if_this_process_saw_it() {
    let mut desk = Desk::running(&["a", "b"].map(|name| manifest("ConfigMap", name)).concat());
    let (mut unmarked, mut others) = (desk.object("ConfigMap a"), desk.object("ConfigMap b"));
    unmarked["metadata"]["labels"] = json!({});
    others["metadata"]["annotations"]["flagship.dev/multicluster"] = "shop/sheffield".into();
    for (name, last) in [("ConfigMap a", &unmarked), ("ConfigMap b", &others)] {
        let key = desk.key(name).0;
        desk.ledger.unwatched(desk.now, &key, last);
    }
    desk.stop();
    assert_eq!(desk.plan(), ["Look ConfigMap b", "Look ConfigMap a"]);
    desk.answer("ConfigMap a", Outcome::Object(unmarked));
    // Another MultiCluster has taken it over.
    desk.answer("ConfigMap b", Outcome::Object(others));
    assert_eq!(desk.plan(), ["Delete u-a@13 ConfigMap a"]);
    assert_eq!(desk.state("ConfigMap b"), ObjectState::Released);
}

/// Whoever can write the status can write any UID into it.
#[test]
fn what_is_only_listed_as_ours_is_neither_touched_nor_reported_as_gone() {
    let text = manifest("ConfigMap", "a");
    let mut before = Desk::running(&text);
    let inventory = before.ledger.saved.clone();
    let marked = before.object("ConfigMap a");
    let mut unmarked = marked.clone();
    unmarked["metadata"]["labels"] = json!({});

    let mut desk = Desk::new(inventory);
    desk.run(1, &text);
    for _ in 0..3 {
        assert_eq!(desk.plan(), ["Look ConfigMap a"]);
        desk.answer("ConfigMap a", Outcome::Object(unmarked.clone()));
        assert_eq!(desk.plan(), [] as [&str; 0]);
        assert_eq!(desk.state("ConfigMap a"), ObjectState::Foreign);
        desk.wait(Duration::from_secs(2));
    }
    desk.stop();
    for _ in 0..3 {
        assert_eq!(desk.plan(), ["Look ConfigMap a"]);
        desk.answer("ConfigMap a", Outcome::Object(unmarked.clone()));
        assert_eq!(desk.plan(), [] as [&str; 0]);
        let Phase::CannotStop { reason } = desk.status().phase else {
            panic!("{:?}", desk.status());
        };
        assert!(
            reason.contains("put the label flagship.dev/payload-of="),
            "{reason}"
        );
        desk.wait(Duration::from_secs(2));
    }
    let inventory = desk.ledger.inventory();
    assert_eq!(inventory.entries.len(), 1, "it is not forgotten");

    // Each of the three ways out that the message names.
    let mut kept = unmarked.clone();
    kept["metadata"]["annotations"][ON_DEMOTION_ANNOTATION] = "Keep".into();
    let outcomes = [
        (Outcome::Object(marked), "Delete u-a@12 ConfigMap a"),
        (Outcome::Gone, "Sweep [ConfigMap a]"),
        (Outcome::Object(kept), "Sweep [ConfigMap a]"),
    ];
    for (outcome, next) in outcomes {
        let mut desk = Desk::new(inventory.clone());
        desk.stop();
        desk.plan();
        desk.answer("ConfigMap a", Outcome::Object(unmarked.clone()));
        desk.plan();
        desk.wait(Duration::from_secs(2));
        desk.plan();
        desk.answer("ConfigMap a", outcome);
        assert_eq!(desk.plan(), [next]);
    }
}
