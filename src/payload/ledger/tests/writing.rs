//! What is put in place, and what it waits for.

use super::*;

#[test]
fn what_is_needed_first_is_written_first_and_listed_before() {
    let mut desk = Desk::new(Inventory::default());
    let text = [
        ("Deployment", "web"),
        ("ConfigMap", "b"),
        ("ConfigMap", "a"),
        ("Namespace", "ns"),
    ];
    desk.run(1, &text.map(|(kind, name)| manifest(kind, name)).concat());
    assert_eq!(
        desk.plan(),
        ["Save [Namespace ns, ConfigMap b, ConfigMap a, Deployment web]"]
    );
    assert_eq!(desk.plan(), ["Create Namespace ns"]);
    assert_eq!(desk.plan(), NOTHING);
    desk.succeed("Namespace ns");
    assert_eq!(desk.plan(), ["Create ConfigMap b", "Create ConfigMap a"]);
    desk.succeed("ConfigMap a");
    assert_eq!(desk.plan(), NOTHING);
    assert_eq!(desk.status().phase, Phase::Applying);
    desk.succeed("ConfigMap b");
    assert_eq!(desk.plan(), ["Create Deployment web"]);
    desk.succeed("Deployment web");
    assert_eq!(desk.plan(), NOTHING);
    assert_eq!(desk.status().phase, Phase::Applied);
    // What was learned about them is saved a little later.
    desk.wait(Duration::from_secs(1));
    assert_eq!(
        desk.plan(),
        ["Save [Namespace ns, ConfigMap b, ConfigMap a, Deployment web]"]
    );
    assert_eq!(desk.ledger.saved.entries[0].uid.as_deref(), Some("u-ns"));
}

#[test]
fn no_more_steps_are_planned_than_there_are_slots() {
    let mut desk = Desk::new(Inventory::default());
    desk.run(
        1,
        &["a", "b", "c"].map(|name| manifest("ConfigMap", name)).concat(),
    );
    desk.plan();
    let plan = desk.ledger.plan(desk.now, 2, true);
    let words: Vec<_> = plan.actions.into_iter().map(|action| desk.note(action)).collect();
    assert_eq!(words, ["Create ConfigMap a", "Create ConfigMap b"]);
    assert_eq!(desk.plan(), ["Create ConfigMap c"]);
}

#[test]
fn nothing_is_written_without_a_claim() {
    let mut desk = Desk::new(Inventory::default());
    desk.run(1, &manifest("ConfigMap", "a"));
    assert_eq!(desk.plan_with(false), NOTHING);
    assert!(desk.ledger.waits_for_claim());
    assert_eq!(desk.status().phase, Phase::Unclaimed);
    assert_eq!(desk.plan(), ["Save [ConfigMap a]"]);
    assert_eq!(desk.plan(), ["Create ConfigMap a"]);
    desk.answer("ConfigMap a", failure(Failure::Unclaimed));
    assert_eq!(desk.plan_with(false), NOTHING);
    assert_eq!(desk.status().phase, Phase::Unclaimed);
    assert_eq!(desk.plan(), ["Create ConfigMap a"]);
}

#[test]
fn nothing_is_created_while_the_inventory_cannot_be_saved() {
    let mut desk = Desk::new(Inventory::default());
    desk.run(1, &manifest("ConfigMap", "a"));
    for _ in 0..3 {
        let plan = desk.ledger.plan(desk.now, 8, true);
        let [Action::Save(inventory)] = &plan.actions[..] else {
            panic!("{plan:?}")
        };
        desk.ledger.saved(
            desk.now,
            inventory.clone(),
            Err(StoreError("etcd is full".into())),
        );
        assert_eq!(
            desk.status().phase,
            Phase::InventoryUnsaved {
                reason: "cannot save the list of the payload's objects: etcd is full".to_owned()
            }
        );
        let plan = desk.ledger.plan(desk.now, 8, true);
        assert_eq!(plan.actions, []);
        desk.now = plan.again_at.expect("it is tried again");
    }
    assert_eq!(desk.plan(), ["Save [ConfigMap a]"]);
    assert_eq!(desk.plan(), ["Create ConfigMap a"]);
}

#[test]
fn what_existed_before_is_refused_and_never_deleted() {
    let mut desk = Desk::new(Inventory::default());
    desk.run(1, &["a", "b"].map(|name| manifest("ConfigMap", name)).concat());
    desk.plan();
    desk.plan();
    desk.succeed("ConfigMap b");
    desk.answer("ConfigMap a", Outcome::Exists);
    assert_eq!(desk.plan(), ["Look ConfigMap a"]);
    let theirs = json!({"metadata": {"name": "a", "namespace": "shop", "uid": "x", "resourceVersion": "3"}});
    desk.answer("ConfigMap a", Outcome::Object(theirs.clone()));
    assert_eq!(
        (desk.state("ConfigMap a"), desk.status().phase),
        (ObjectState::Foreign, Phase::Incomplete)
    );
    desk.wait(Duration::from_secs(1));
    assert_eq!(desk.plan(), ["Save [ConfigMap b]"]);
    // It is looked at again some time, and created when the other one is gone; listed first, once more.
    desk.wait(Duration::from_secs(6));
    assert_eq!(desk.plan(), ["Look ConfigMap a"]);
    desk.answer("ConfigMap a", Outcome::Object(theirs));
    desk.wait(Duration::from_secs(13));
    assert_eq!(desk.plan(), ["Look ConfigMap a"]);
    desk.answer("ConfigMap a", Outcome::Gone);
    assert_eq!(desk.plan(), ["Save [ConfigMap a, ConfigMap b]"]);
    assert_eq!(desk.plan(), ["Create ConfigMap a"]);
    desk.answer("ConfigMap a", Outcome::Exists);
    desk.plan();
    let mut others = desk.object("ConfigMap a");
    let other = Owner {
        namespace: "shop".to_owned(),
        name: "sheffield".to_owned(),
    };
    others["metadata"]["labels"][PAYLOAD_LABEL] = other.label_value().into();
    others["metadata"]["annotations"]["flagship.dev/multicluster"] = other.to_string().into();
    desk.answer("ConfigMap a", Outcome::Object(others));
    let message = desk.status().objects[0].message.clone();
    assert_eq!(
        message,
        "it belongs to the MultiCluster shop/sheffield: remove it from one of the two payloads"
    );
    desk.stop();
    assert_eq!(desk.plan(), ["Delete u-b@11 ConfigMap b"]);
}

#[test]
fn a_namespace_that_exists_is_used_and_stays() {
    let mut desk = Desk::new(Inventory::default());
    desk.run(
        1,
        &format!(
            "{}{}",
            manifest("Namespace", "ns"),
            manifest("ConfigMap", "a").replace("name: a", "name: a, namespace: ns")
        ),
    );
    desk.plan();
    desk.plan();
    desk.answer("Namespace ns", Outcome::Exists);
    assert_eq!(desk.plan(), ["Look Namespace ns"]);
    desk.answer(
        "Namespace ns",
        Outcome::Object(json!({"metadata": {"name": "ns", "uid": "x", "resourceVersion": "3"}})),
    );
    assert_eq!(desk.state("Namespace ns"), ObjectState::Used);
    desk.wait(Duration::from_millis(600));
    assert_eq!(desk.plan(), ["Create ConfigMap a", "Save [ConfigMap a]"]);
    // It is gone when it is needed: then it is ours to create.
    desk.answer(
        "ConfigMap a",
        failure(Failure::Missing("namespaces \"ns\" not found".to_owned())),
    );
    assert_eq!(desk.plan(), ["Look Namespace ns"]);
    desk.answer("Namespace ns", Outcome::Gone);
    assert_eq!(desk.plan(), ["Save [Namespace ns, ConfigMap a]"]);
    assert_eq!(desk.plan(), ["Create Namespace ns"]);
    desk.answer("Namespace ns", Outcome::Exists);
    desk.plan();
    let theirs = json!({"metadata": {"name": "ns", "uid": "y", "resourceVersion": "4"}});
    desk.answer("Namespace ns", Outcome::Object(theirs));
    // What waited for it is tried at once.
    assert_eq!(desk.plan(), ["Create ConfigMap a"]);
    desk.succeed("ConfigMap a");
    assert_eq!(
        (desk.state("Namespace ns"), desk.status().phase),
        (ObjectState::Used, Phase::Applied)
    );
    desk.stop();
    assert_eq!(desk.plan(), ["Delete u-a@11 ConfigMap a"]);
    desk.succeed("ConfigMap a");
    assert_eq!(desk.plan(), ["Sweep [ConfigMap a]"]);
}

#[test]
fn a_higher_term_ends_all_writing() {
    let mut desk = Desk::running(&["a", "b"].map(|name| manifest("ConfigMap", name)).concat());
    let mut newer = desk.object("ConfigMap a");
    newer["metadata"]["annotations"]["flagship.dev/term"] = "2".into();
    newer["spec"]["size"] = 9.into();
    desk.watched("ConfigMap a", &newer);
    let mut drifted = desk.object("ConfigMap b");
    drifted["spec"]["size"] = 9.into();
    desk.watched("ConfigMap b", &drifted);
    assert_eq!(desk.plan(), NOTHING);
    let (object, _) = desk.key("ConfigMap a");
    assert_eq!(desk.status().phase, Phase::Superseded { object, term: 2 });
    assert_eq!(
        (desk.state("ConfigMap a"), desk.state("ConfigMap b")),
        (ObjectState::Superseded, ObjectState::Pending)
    );
    // Once somebody has taken the term off it, it is drift like any other.
    let mut mended = newer.clone();
    mended["metadata"]["resourceVersion"] = "20".into();
    mended["metadata"]["annotations"]["flagship.dev/term"] = serde_json::Value::Null;
    desk.watched("ConfigMap a", &mended);
    assert_eq!(
        desk.plan(),
        ["Apply u-a@20 ConfigMap a", "Apply u-b@14 ConfigMap b"]
    );
    newer["metadata"]["resourceVersion"] = "21".into();
    desk.answer("ConfigMap a", Outcome::Object(newer.clone()));
    desk.answer("ConfigMap b", Outcome::Changed);
    assert_eq!(desk.plan(), NOTHING, "it was written over by the later leader");
    assert_eq!(desk.state("ConfigMap a"), ObjectState::Superseded);
    // The terms of another group say nothing.
    desk.order(Order::Run {
        term: 1,
        group: "h".to_owned(),
        payload: payload(&manifest("ConfigMap", "a")),
    });
    assert_eq!(desk.plan(), ["Apply u-a@21 ConfigMap a"]);
}

#[test]
fn a_higher_term_counts_until_it_is_known_to_be_gone() {
    for (outcome, next) in [
        ("gone", vec!["Create ConfigMap a", "Apply u-b@14 ConfigMap b"]),
        ("still there", vec![]),
    ] {
        let mut desk = Desk::running(&["a", "b"].map(|name| manifest("ConfigMap", name)).concat());
        let mut newer = desk.object("ConfigMap a");
        newer["metadata"]["annotations"]["flagship.dev/term"] = "2".into();
        desk.watched("ConfigMap a", &newer);
        let mut drifted = desk.object("ConfigMap b");
        drifted["spec"]["size"] = 9.into();
        desk.watched("ConfigMap b", &drifted);
        assert_eq!(desk.plan(), NOTHING);
        // A list that is older than the object lacks it.
        let (object, _) = desk.key("ConfigMap a");
        let watched = desk.ledger.watches().into_iter().next().unwrap();
        desk.ledger.listed(&watched, |key| *key == object);
        assert_eq!(desk.status().phase, Phase::Superseded { object, term: 2 });
        assert_eq!(desk.plan(), ["Look ConfigMap a"]);
        assert_eq!(desk.plan(), NOTHING, "nothing is written meanwhile");
        let outcome = match outcome {
            "gone" => Outcome::Gone,
            _ => Outcome::Object(newer),
        };
        desk.answer("ConfigMap a", outcome);
        assert_eq!(desk.plan(), next);
    }
}

#[test]
fn a_new_term_is_stamped_on_everything() {
    let mut desk = Desk::running(&["a", "b"].map(|name| manifest("ConfigMap", name)).concat());
    let text = ["a", "b"].map(|name| manifest("ConfigMap", name)).concat();
    desk.run(1, &text);
    assert_eq!(desk.plan(), NOTHING);
    desk.run(2, &text);
    assert_eq!(
        desk.plan(),
        ["Apply u-a@11 ConfigMap a", "Apply u-b@12 ConfigMap b"]
    );
    desk.succeed("ConfigMap a");
    desk.succeed("ConfigMap b");
    assert_eq!(
        (desk.plan().len(), desk.status().phase, desk.status().repairs),
        (0, Phase::Applied, 0)
    );
}

#[test]
fn a_restarted_runner_leaves_alone_what_is_right() {
    let text = ["a", "b"].map(|name| manifest("ConfigMap", name)).concat();
    let mut before = Desk::running(&text);
    let (right, mut wrong) = (before.object("ConfigMap a"), before.object("ConfigMap b"));
    wrong["spec"]["size"] = 7.into();
    let mut desk = Desk::new(before.ledger.saved.clone());
    desk.run(1, &text);
    assert_eq!(desk.plan(), ["Look ConfigMap a", "Look ConfigMap b"]);
    desk.answer("ConfigMap a", Outcome::Object(right.clone()));
    desk.answer("ConfigMap b", Outcome::Object(wrong));
    assert_eq!(desk.plan(), ["Apply u-b@14 ConfigMap b"]);
    desk.revision = 14;
    desk.succeed("ConfigMap b");
    assert_eq!((desk.plan().len(), desk.status().phase), (0, Phase::Applied));
    // The document may have lost a field meanwhile, which only its digest tells.
    let mut desk = Desk::new(before.ledger.saved);
    desk.run(1, &text.replace("spec: {size: 1}", "spec: {}"));
    desk.plan();
    desk.answer("ConfigMap a", Outcome::Object(right));
    assert_eq!(desk.plan(), ["Apply u-a@13 ConfigMap a"]);
}

#[test]
fn a_custom_resource_waits_for_its_definition() {
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.com}\n\
                      spec: {group: example.com, scope: Cluster, names: {kind: Widget, plural: widgets}}\n";
    let mut desk = Desk::new(Inventory::default());
    desk.run(1, &format!("{}---\n{definition}", manifest("Widget", "w")));
    // The scope is known from the definition, so one list suffices.
    assert_eq!(
        desk.plan(),
        ["Save [CustomResourceDefinition widgets.example.com, Widget w]"]
    );
    assert_eq!(
        desk.plan(),
        ["Create CustomResourceDefinition widgets.example.com"]
    );
    let mut created = desk.object("CustomResourceDefinition widgets.example.com");
    let established = created["status"].take();
    desk.answer(
        "CustomResourceDefinition widgets.example.com",
        Outcome::Object(created.clone()),
    );
    assert_eq!(desk.plan(), NOTHING);
    assert_eq!(
        desk.state("CustomResourceDefinition widgets.example.com"),
        ObjectState::Establishing
    );
    created["status"] = established;
    created["metadata"]["resourceVersion"] = "20".into();
    desk.watched("CustomResourceDefinition widgets.example.com", &created);
    assert_eq!(desk.plan(), ["RefreshKinds"]);
    assert_eq!(desk.state("Widget w"), ObjectState::UnknownKind);
    desk.ledger.refreshed(desk.now, Ok((kinds(), BTreeSet::new())));
    let plan = desk.ledger.plan(desk.now, 8, true);
    let wait = plan.again_at.expect("it asks again") - desk.now;
    assert!(
        plan.actions.is_empty() && wait < Duration::from_millis(320),
        "{wait:?}"
    );
    desk.wait(wait);
    assert_eq!(desk.plan(), ["RefreshKinds"]);
    desk.ledger
        .refreshed(desk.now, Ok((kinds_with_widgets(), BTreeSet::new())));
    assert_eq!(desk.plan(), ["Create Widget w"]);
    desk.succeed("Widget w");
    assert_eq!(desk.status().phase, Phase::Applied);
    // On the way back the definition goes last, and only if it has no objects.
    desk.stop();
    assert_eq!(desk.plan()[0], "Delete u-w@12 foreground Widget w");
    desk.succeed("Widget w");
    assert!(
        desk.plan()
            .contains(&"ListCustomResources CustomResourceDefinition widgets.example.com".to_owned())
    );
    desk.succeed("CustomResourceDefinition widgets.example.com");
    assert_eq!(
        desk.plan(),
        ["Delete u-widgets.example.com@20 CustomResourceDefinition widgets.example.com"]
    );
}

#[test]
fn a_hold_touches_and_remembers_nothing() {
    let mut desk = Desk::running(&manifest("ConfigMap", "a"));
    assert_eq!(desk.ledger.watches().len(), 1);
    desk.order(Order::Hold);
    assert_eq!(desk.plan(), NOTHING);
    assert_eq!(desk.ledger.watches().len(), 0);
    desk.run(1, &manifest("ConfigMap", "a"));
    assert_eq!(desk.plan(), ["Look ConfigMap a"]);
}

#[test]
fn a_payload_that_would_outgrow_the_inventory_is_not_begun() {
    let entries = (0..OBJECTS_MAX).map(|n| Entry {
        key: ObjectKey {
            group: String::new(),
            kind: "PersistentVolumeClaim".to_owned(),
            namespace: Some("shop".to_owned()),
            name: format!("p{n}"),
        },
        version: "v1".to_owned(),
        uid: None,
        kept: true,
    });
    let mut desk = Desk::new(Inventory {
        entries: entries.collect(),
    });
    desk.run(1, &manifest("ConfigMap", "a"));
    assert_eq!(desk.plan(), NOTHING);
    assert_eq!(
        desk.status().phase,
        Phase::TooLarge {
            objects: OBJECTS_MAX + 1
        }
    );
}

#[test]
fn what_is_saved_first_is_foreseen() {
    let before = [
        manifest("Namespace", "ns"),
        manifest("PersistentVolumeClaim", "data"),
        manifest("Deployment", "web"),
    ];
    let mut desk = Desk::running(&before.concat());
    desk.stop();
    desk.finish_all();
    let saved = desk.ledger.saved.clone();
    let kept: Vec<_> = saved
        .entries
        .iter()
        .map(|entry| entry.key.name.as_str())
        .collect();
    assert_eq!(kept, ["data"]);

    let text = [
        manifest("Widget", "unknown"),
        before.concat(),
        manifest("ConfigMap", "new"),
    ]
    .concat();
    let owner = desk.ledger.owner.clone();
    let foreseen = Ledger::foresee(owner, kinds(), saved, payload(&text)).unwrap();
    desk.run(2, &text);
    let actions = desk.ledger.plan(desk.now, 100, true).actions;
    let saves: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Save(inventory) => Some(inventory.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(saves, [foreseen]);
}
