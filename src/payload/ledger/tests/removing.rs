//! What goes, in which order, and when it counts as gone.

use super::*;

#[test]
fn what_the_payload_drops_goes_when_the_rest_is_in_place() {
    let text =
        ["a", "b"].map(|name| manifest("ConfigMap", name)).concat() + &manifest("PersistentVolumeClaim", "p");
    let mut desk = Desk::running(&text);
    desk.run(1, &["b", "c"].map(|name| manifest("ConfigMap", name)).concat());
    assert_eq!(
        desk.plan(),
        ["Save [ConfigMap a, ConfigMap b, ConfigMap c, PersistentVolumeClaim p kept]"],
        "a claim stays"
    );
    assert_eq!(desk.plan(), ["Create ConfigMap c"]);
    desk.answer("ConfigMap c", failure(Failure::Rejected("no".to_owned())));
    assert_eq!(
        desk.plan(),
        NOTHING,
        "what may be its replacement is not in place"
    );
    assert_eq!(
        (desk.state("ConfigMap a"), desk.status().phase),
        (ObjectState::Pruning, Phase::Incomplete)
    );
    desk.wait(Duration::from_secs(7));
    assert_eq!(desk.plan(), ["Create ConfigMap c"]);
    desk.succeed("ConfigMap c");
    assert_eq!(desk.plan(), ["Delete u-a@11 ConfigMap a"]);
    desk.succeed("ConfigMap a");
    desk.wait(Duration::from_secs(1));
    assert_eq!(
        desk.plan(),
        ["Save [ConfigMap b, ConfigMap c, PersistentVolumeClaim p kept]"]
    );
    assert_eq!(desk.status().phase, Phase::Applied);
    assert_eq!(desk.state("PersistentVolumeClaim p"), ObjectState::Kept);
}

#[test]
fn a_stop_goes_backwards_in_stages_and_looks_again_at_the_end() {
    let kinds = [
        "ConfigMap",
        "Namespace",
        "Deployment",
        "Service",
        "Ingress",
        "PersistentVolumeClaim",
    ];
    let mut desk = Desk::running(&kinds.map(|kind| manifest(kind, "x")).concat());
    desk.stop();
    assert_eq!(desk.plan(), ["Delete u-x@16 Ingress x"]);
    assert_eq!(desk.status().phase, Phase::Stopping);
    desk.succeed("Ingress x");
    assert_eq!(desk.plan(), ["Delete u-x@15 foreground Deployment x"]);
    let mut ending = json!({"metadata": {"uid": "u-x", "resourceVersion": "30", "deletionTimestamp": "now",
        "finalizers": ["foregroundDeletion"]}});
    let stamp = desk.key("Deployment x").1.live().unwrap().stamp.clone();
    ending["metadata"]["labels"] = json!({PAYLOAD_LABEL: desk.ledger.owner.label_value()});
    ending["metadata"]["annotations"] =
        json!({"flagship.dev/multicluster": "shop/newyork", "flagship.dev/term": stamp.term.to_string()});
    desk.answer("Deployment x", Outcome::Object(ending.clone()));
    assert_eq!(desk.plan(), NOTHING);
    desk.wait(Duration::from_secs(6));
    assert_eq!(
        desk.plan(),
        [
            "Look Deployment x",
            "Save [Namespace x, ConfigMap x, PersistentVolumeClaim x kept, Service x, Deployment x]"
        ]
    );
    desk.answer("Deployment x", Outcome::Object(ending.clone()));
    assert_eq!(
        desk.status().phase,
        Phase::CannotStop {
            reason: "Deployment.apps shop/x: it waits for what it owns to end; see its Pods and their grace periods"
                .to_owned()
        }
    );
    let (key, _) = desk.key("Deployment x");
    desk.ledger.unwatched(desk.now, &key, &ending);
    assert_eq!(
        desk.plan()[..2],
        ["Delete u-x@14 Service x", "Delete u-x@12 ConfigMap x"]
    );
    desk.succeed("ConfigMap x");
    assert_eq!(desk.plan(), NOTHING);
    desk.succeed("Service x");
    assert_eq!(desk.plan(), ["ListContents Namespace x"]);
    desk.succeed("Namespace x");
    assert_eq!(desk.plan(), ["Delete u-x@11 Namespace x"]);
    desk.succeed("Namespace x");
    let sweep = "Sweep [Namespace x, ConfigMap x, Service x, Deployment x, Ingress x]";
    assert!(
        desk.plan().iter().any(|action| action.starts_with("Sweep")),
        "{sweep}"
    );
    assert_eq!(desk.status().phase, Phase::Stopping);
    desk.ledger.swept(desk.now, Swept::Clean);
    assert_eq!(desk.status().phase, Phase::Stopped);
    assert_eq!(desk.state("PersistentVolumeClaim x"), ObjectState::Kept);
}

#[test]
fn what_a_sweep_finds_goes_as_well() {
    let mut desk = Desk::running(&manifest("Deployment", "web"));
    let (key, _) = desk.key("Deployment web");
    let again = desk.object("Deployment web");
    desk.stop();
    desk.plan();
    desk.succeed("Deployment web");
    assert_eq!(desk.plan(), ["Sweep [Deployment web]"]);
    let pod = ObjectKey {
        group: String::new(),
        kind: "Pod".to_owned(),
        name: "web-1".to_owned(),
        ..key.clone()
    };
    desk.ledger.swept(desk.now, Swept::Dependents(vec![pod]));
    assert_eq!(
        (desk.state("Pod web-1"), desk.status().phase),
        (ObjectState::Deleting, Phase::Stopping)
    );
    desk.wait(Duration::from_secs(1));
    assert!(desk.plan().contains(&"Sweep [Deployment web]".to_owned()));
    desk.ledger.swept(desk.now, Swept::Objects(vec![key]));
    assert_eq!(desk.plan(), ["Look Deployment web"]);
    desk.answer("Deployment web", Outcome::Object(again));
    assert_eq!(desk.plan(), ["Delete u-web@12 foreground Deployment web"]);
    desk.succeed("Deployment web");
    desk.wait(Duration::from_secs(3));
    assert!(desk.plan().contains(&"Sweep [Deployment web]".to_owned()));
    desk.ledger.swept(
        desk.now,
        Swept::Failed(Failure::Forbidden("User x cannot list resource pods".to_owned())),
    );
    assert_eq!(
        desk.status().phase,
        Phase::CannotStop {
            reason: "cannot list what may be left: User x cannot list resource pods: \
                     grant this to that account"
                .to_owned()
        }
    );
    desk.wait(Duration::from_secs(3));
    assert_eq!(desk.plan(), ["Sweep [Deployment web]"]);
}

#[test]
fn a_stop_finishes_what_was_sent_and_waits_out_what_may_yet_take_effect() {
    let mut desk = Desk::new(Inventory::default());
    desk.run(1, &["a", "b"].map(|name| manifest("ConfigMap", name)).concat());
    desk.plan();
    desk.plan();
    let created = desk.object("ConfigMap a");
    desk.stop();
    assert_eq!(desk.plan(), NOTHING);
    desk.answer("ConfigMap a", Outcome::Object(created));
    assert_eq!(desk.plan(), ["Delete u-a@11 ConfigMap a"]);
    desk.succeed("ConfigMap a");
    let until = desk.now + Duration::from_secs(2);
    let failure = Failure::Unavailable("no answer".to_owned(), None);
    desk.answer(
        "ConfigMap b",
        Outcome::Failed {
            failure,
            maybe_until: Some(until),
        },
    );
    desk.wait(Duration::from_millis(600));
    let looks = desk.plan();
    assert!(looks.contains(&"Look ConfigMap b".to_owned()), "{looks:?}");
    desk.answer("ConfigMap b", Outcome::Gone);
    assert_eq!(
        desk.ledger.plan(desk.now, 8, true),
        Plan {
            actions: vec![],
            again_at: Some(until)
        }
    );
    assert_eq!(desk.status().phase, Phase::Stopping);
    desk.now = until;
    assert_eq!(desk.plan(), ["Look ConfigMap b"]);
    desk.answer("ConfigMap b", Outcome::Gone);
    let actions = desk.plan();
    assert!(
        actions.contains(&"Sweep [ConfigMap a, ConfigMap b]".to_owned()),
        "{actions:?}"
    );
}

#[test]
fn a_process_that_is_started_again_lets_nothing_run_on_while_it_waits_for_what_may_yet_be_created() {
    let kinds = ["ConfigMap", "Deployment", "Ingress"];
    let mut before = Desk::running(&kinds.map(|kind| manifest(kind, "x")).concat());
    let mut inventory = before.ledger.saved.clone();
    // As it is listed before it is created.
    for entry in &mut inventory.entries {
        entry.uid = None;
    }
    let (deployment, config_map) = (before.object("Deployment x"), before.object("ConfigMap x"));
    let mut desk = Desk::new(inventory);
    let until = latest_effect(desk.now, SERVER_TIMEOUT_MAX);
    desk.stop();
    assert_eq!(desk.plan(), ["Look Ingress x"]);
    desk.answer("Ingress x", Outcome::Gone);
    assert_eq!(desk.plan(), ["Look Deployment x"]);
    desk.answer("Deployment x", Outcome::Object(deployment));
    assert_eq!(desk.plan(), ["Delete u-x@14 foreground Deployment x"]);
    desk.succeed("Deployment x");
    assert_eq!(desk.plan(), ["Look ConfigMap x"]);
    desk.answer("ConfigMap x", Outcome::Object(config_map));
    assert_eq!(desk.plan(), ["Delete u-x@15 ConfigMap x"]);
    desk.succeed("ConfigMap x");
    desk.wait(Duration::from_millis(600));
    desk.plan();
    let plan = desk.ledger.plan(desk.now, 8, true);
    assert_eq!((plan.actions, plan.again_at), (vec![], Some(until)));
    assert_eq!(desk.status().phase, Phase::Stopping);
    desk.now = until;
    assert_eq!(desk.plan(), ["Look Ingress x"]);
    desk.succeed("Ingress x");
    desk.finish_all();
    assert_eq!(desk.status().phase, Phase::Stopped);
}

#[test]
fn a_first_stop_looks_for_what_a_lost_inventory_does_not_list() {
    let text = ["a", "b"].map(|name| manifest("ConfigMap", name)).concat();
    let mut before = Desk::running(&text);
    let ours = before.object("ConfigMap a");
    let mut desk = Desk::new(Inventory::default());
    desk.order(Order::Stop {
        policy: DemotionPolicy::Delete,
        payload: Some(payload(&text)),
    });
    assert_eq!(desk.plan(), ["Look ConfigMap b", "Look ConfigMap a"]);
    desk.answer("ConfigMap a", Outcome::Object(ours));
    let theirs = json!({"metadata": {"uid": "x", "resourceVersion": "3"}});
    desk.answer("ConfigMap b", Outcome::Object(theirs));
    assert_eq!(desk.plan(), ["Delete u-a@13 ConfigMap a"]);
    desk.succeed("ConfigMap a");
    assert_eq!(desk.plan(), ["Sweep [ConfigMap a]"]);
    desk.ledger.swept(desk.now, Swept::Clean);
    assert_eq!(
        (desk.status().phase, desk.status().objects),
        (Phase::Stopped, vec![])
    );
    // Once is enough.
    desk.order(Order::Stop {
        policy: DemotionPolicy::Delete,
        payload: Some(payload(&text)),
    });
    desk.wait(Duration::from_secs(1));
    assert_eq!(desk.plan(), NOTHING);
    assert_eq!(desk.status().phase, Phase::Stopped);
}

#[test]
fn what_a_stop_looked_for_in_vain_is_created_like_the_rest() {
    let text = ["a", "b"].map(|name| manifest("ConfigMap", name)).concat();
    let mut desk = Desk::new(Inventory::default());
    desk.order(Order::Stop {
        policy: DemotionPolicy::Delete,
        payload: Some(payload(&text)),
    });
    assert_eq!(desk.plan(), ["Look ConfigMap b", "Look ConfigMap a"]);
    // It may not even be read, so it was not written either.
    let forbidden = || failure(Failure::Forbidden("User x cannot get resource".to_owned()));
    desk.answer("ConfigMap b", forbidden());
    assert_eq!(desk.plan(), NOTHING);
    // The order comes while one of them is being looked for.
    desk.run(1, &text);
    desk.answer("ConfigMap a", Outcome::Gone);
    assert_eq!(desk.plan(), ["Save [ConfigMap a, ConfigMap b]"]);
    assert_eq!(desk.plan(), ["Create ConfigMap a", "Create ConfigMap b"]);
    desk.succeed("ConfigMap a");
    desk.succeed("ConfigMap b");
    assert_eq!(desk.status().phase, Phase::Applied);

    let mut desk = Desk::new(Inventory::default());
    desk.order(Order::Stop {
        policy: DemotionPolicy::Delete,
        payload: Some(payload(&text)),
    });
    desk.plan();
    desk.answer("ConfigMap a", Outcome::Gone);
    desk.answer("ConfigMap b", forbidden());
    desk.plan();
    assert_eq!(desk.status().phase, Phase::Stopped);
}

#[test]
fn who_may_not_act_as_the_account_does_not_know_what_that_has_written() {
    let mut desk = Desk::new(Inventory::default());
    desk.order(Order::Stop {
        policy: DemotionPolicy::Delete,
        payload: Some(payload(&manifest("ConfigMap", "a"))),
    });
    assert_eq!(desk.plan(), ["Look ConfigMap a"]);
    let refused = "User y cannot impersonate resource serviceaccounts".to_owned();
    desk.answer("ConfigMap a", failure(Failure::NotImpersonated(refused)));
    assert_eq!(desk.plan(), NOTHING);
    let Phase::CannotStop { reason } = desk.status().phase else {
        panic!("{:?}", desk.status());
    };
    assert!(reason.contains("let the controller impersonate"), "{reason}");
    desk.wait(Duration::from_secs(10));
    assert_eq!(desk.plan(), ["Look ConfigMap a"]);
}

#[test]
fn an_empty_inventory_is_stopped_at_once() {
    let mut desk = Desk::new(Inventory::default());
    desk.stop();
    assert_eq!(desk.plan(), NOTHING);
    assert_eq!(
        desk.status(),
        Status {
            order: 1,
            phase: Phase::Stopped,
            objects: vec![],
            repairs: 0,
            term: None,
            health: None
        }
    );
    desk.order(Order::Hold);
    assert_eq!(desk.plan(), NOTHING);
    assert_eq!(desk.status().phase, Phase::Held);
}

#[test]
fn a_run_during_a_stop_turns_round() {
    let text = ["a", "b"].map(|name| manifest("ConfigMap", name)).concat();
    let mut desk = Desk::running(&text);
    let mut ending = desk.object("ConfigMap b");
    desk.stop();
    assert_eq!(
        desk.plan(),
        ["Delete u-b@12 ConfigMap b", "Delete u-a@11 ConfigMap a"]
    );
    desk.run(2, &text);
    assert_eq!(desk.plan(), NOTHING);
    desk.answer("ConfigMap a", Outcome::Gone);
    ending["metadata"]["deletionTimestamp"] = "now".into();
    desk.answer("ConfigMap b", Outcome::Object(ending.clone()));
    assert_eq!(desk.plan(), ["Create ConfigMap a"]);
    let (key, _) = desk.key("ConfigMap b");
    desk.ledger.unwatched(desk.now, &key, &ending);
    assert_eq!(desk.plan(), ["Create ConfigMap b"]);
}

#[test]
fn the_pods_of_a_workload_that_somebody_deleted_before_a_stop_are_awaited() {
    let mut desk = Desk::running(&manifest("Deployment", "web"));
    let object = desk.object("Deployment web");
    let (key, _) = desk.key("Deployment web");
    desk.ledger.unwatched(desk.now, &key, &object);
    desk.plan();
    desk.answer("Deployment web", Outcome::Gone);
    let inventory = desk.ledger.inventory();
    desk.stop();
    let uids = |desk: &mut Desk| {
        let plan = desk.ledger.plan(desk.now, 8, true);
        plan.actions.into_iter().find_map(|action| match action {
            Action::Sweep(sweep) => Some(sweep.owners["shop"].uids.clone()),
            _ => None,
        })
    };
    assert_eq!(uids(&mut desk), Some(BTreeSet::from(["u-web".to_owned()])));
    // What it made is called after it.
    let sweep = |desk: &Desk| match &desk.ledger.mode {
        Mode::Stopping(stopping) => stopping.sweep.owners["shop"].clone(),
        mode => panic!("{mode:?}"),
    };
    assert_eq!(
        sweep(&desk),
        Owners {
            uids: BTreeSet::from(["u-web".to_owned()]),
            scaled: BTreeSet::new(),
            unlearned: BTreeSet::new(),
            names: BTreeSet::from(["web".to_owned()]),
            have_workloads: true
        }
    );
    // Without a UID it is awaited by its name, unless that turns out to be another's.
    let mut unlearned = inventory.clone();
    unlearned.entries[0].uid = None;
    let mut other = Desk::new(unlearned);
    other.stop();
    assert_eq!(sweep(&other).unlearned, BTreeSet::from([key.clone()]));
    other.plan();
    let theirs = json!({"metadata": {"uid": "x", "resourceVersion": "3"}});
    other.answer("Deployment web", Outcome::Object(theirs));
    other.plan();
    assert_eq!(sweep(&other).unlearned, BTreeSet::new());
    // A restart remembers it as well.
    let mut desk = Desk::new(inventory);
    desk.stop();
    assert_eq!(desk.plan(), ["Look Deployment web"]);
    desk.answer("Deployment web", Outcome::Gone);
    desk.wait(Duration::from_secs(20));
    assert_eq!(desk.plan(), ["Look Deployment web"]);
    desk.answer("Deployment web", Outcome::Gone);
    assert_eq!(uids(&mut desk), Some(BTreeSet::from(["u-web".to_owned()])));
}

#[test]
fn a_stop_after_a_restart_waits_out_what_the_former_process_may_have_sent() {
    let mut before = Desk::running(&["a", "b"].map(|name| manifest("ConfigMap", name)).concat());
    let (key, _) = before.key("ConfigMap a");
    let right = before.object("ConfigMap b");
    let last = before.object("ConfigMap a");
    before.ledger.unwatched(before.now, &key, &last);
    before.plan();
    before.answer("ConfigMap a", Outcome::Gone);
    assert_eq!(before.plan(), ["Create ConfigMap a"]);
    let mut desk = Desk::new(before.ledger.inventory());
    desk.stop();
    assert_eq!(desk.plan(), ["Look ConfigMap b", "Look ConfigMap a"]);
    desk.answer("ConfigMap a", Outcome::Gone);
    // What is there as it was listed was created, and not once more.
    desk.answer("ConfigMap b", Outcome::Object(right));
    assert_eq!(desk.plan(), ["Delete u-b@13 ConfigMap b"]);
    desk.succeed("ConfigMap b");
    assert_eq!(desk.plan(), NOTHING);
    desk.wait(Duration::from_secs(1));
    assert_eq!(desk.plan(), ["Save [ConfigMap a]"]);
    assert_eq!(desk.status().phase, Phase::Stopping);
    desk.now = desk
        .ledger
        .plan(desk.now, 8, true)
        .again_at
        .expect("it looks again");
    assert_eq!(desk.now, Duration::from_millis(112_500));
    assert_eq!(desk.plan(), ["Look ConfigMap a"]);
    desk.answer("ConfigMap a", Outcome::Object(last));
    assert_eq!(desk.plan(), ["Delete u-a@14 ConfigMap a"]);
    desk.succeed("ConfigMap a");
    assert_eq!(desk.plan(), ["Sweep [ConfigMap a, ConfigMap b]"]);
}

#[test]
fn a_stop_with_a_payload_that_cannot_be_read_leaves_the_search_to_the_next() {
    let mut desk = Desk::new(Inventory::default());
    desk.stop();
    assert_eq!(desk.plan(), NOTHING);
    desk.order(Order::Stop {
        policy: DemotionPolicy::Delete,
        payload: Some(payload(&manifest("ConfigMap", "a"))),
    });
    assert_eq!(desk.plan(), ["Look ConfigMap a"]);
}

#[test]
fn what_the_payload_drops_goes_at_once_where_the_inventory_has_no_room_for_the_rest() {
    let many = |prefix: &str| -> String {
        (0..OBJECTS_MAX / 2)
            .map(|n| manifest("ConfigMap", &format!("{prefix}{n}")))
            .collect()
    };
    let mut desk = Desk::running(&many("a"));
    desk.run(1, &many("b"));
    desk.plan();
    assert_eq!(desk.plan().len(), 100);
    for name in desk.under_way.keys().cloned().collect::<Vec<_>>() {
        desk.succeed(&name);
    }
    desk.run(1, &many("c"));
    assert!(desk.plan().iter().all(|action| action.starts_with("Delete")));
    assert_eq!(
        desk.status().phase,
        Phase::TooLarge {
            objects: OBJECTS_MAX + 100
        }
    );
    desk.finish_all();
    assert_eq!(desk.status().phase, Phase::Applied);
    assert_eq!(desk.ledger.saved.entries.len(), OBJECTS_MAX / 2);
}

#[test]
fn pods_that_do_not_end_keep_a_stop_back_and_are_named() {
    let mut desk = Desk::running(&manifest("Deployment", "web"));
    let (key, _) = desk.key("Deployment web");
    desk.stop();
    desk.plan();
    desk.succeed("Deployment web");
    let pod = ObjectKey {
        group: String::new(),
        kind: "Pod".to_owned(),
        name: "web-1".to_owned(),
        ..key
    };
    for _ in 0..4 {
        assert!(desk.plan().contains(&"Sweep [Deployment web]".to_owned()));
        desk.ledger.swept(desk.now, Swept::Dependents(vec![pod.clone()]));
        assert_eq!(desk.status().phase, Phase::Stopping);
        desk.wait(Duration::from_millis(1_600));
    }
    let Phase::CannotStop { reason } = desk.status().phase else {
        panic!("{:?}", desk.status())
    };
    assert!(reason.starts_with("Pod shop/web-1: "), "{reason}");
    assert_eq!(desk.state("Pod web-1"), ObjectState::Stuck);
    desk.wait(Duration::from_secs(1));
    desk.plan();
    desk.ledger.swept(desk.now, Swept::Clean);
    assert_eq!(desk.status().phase, Phase::Stopped);
}
