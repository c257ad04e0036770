//! What a stop leaves in place, by the policy and by an object's own annotation, and when it counts as stopped.

use super::*;

const KINDS: [&str; 5] = [
    "ConfigMap",
    "Service",
    "Deployment",
    "Ingress",
    "PersistentVolumeClaim",
];

fn desk() -> Desk {
    Desk::running(&KINDS.map(|kind| manifest(kind, "x")).concat())
}

/// The Deployment, with so many replicas wanted and so many counted at this generation.
fn deployment(desk: &mut Desk, wanted: i64, generation: i64, observed: i64, counted: i64) -> Value {
    let mut object = desk.object("Deployment x");
    object["metadata"]["generation"] = generation.into();
    object["spec"]["replicas"] = wanted.into();
    object["status"] = json!({"observedGeneration": observed, "replicas": counted});
    object
}

#[test]
fn without_replicas_is_stopped_when_its_controller_and_its_pods_say_so() {
    let mut desk = desk();
    let emptied =
        [(1, 2), (2, 2), (2, 0)].map(|(observed, counted)| deployment(&mut desk, 0, 2, observed, counted));
    let restored = deployment(&mut desk, 2, 3, 2, 0);
    let text = KINDS.map(|kind| manifest(kind, "x")).concat();
    desk.stop_by(DemotionPolicy::ScaleToZero);
    assert_eq!(desk.plan(), ["Scale @14 Deployment x"]);
    assert_eq!(desk.state("Deployment x"), ObjectState::ScalingDown);
    for kept in ["ConfigMap x", "Service x", "Ingress x", "PersistentVolumeClaim x"] {
        assert_eq!(desk.state(kept), ObjectState::Kept, "{kept}");
    }
    desk.answer("Deployment x", Outcome::Object(emptied[0].clone()));
    assert_eq!(desk.plan(), NOTHING);
    desk.wait(Duration::from_millis(200));
    assert_eq!(desk.plan(), ["Look Deployment x"]);
    desk.answer("Deployment x", Outcome::Object(emptied[1].clone()));
    desk.wait(Duration::from_secs(6));
    assert!(desk.plan().contains(&"Look Deployment x".to_owned()));
    desk.answer("Deployment x", Outcome::Object(emptied[1].clone()));
    let Phase::CannotStop { reason } = desk.status().phase else {
        panic!("{:?}", desk.status())
    };
    assert!(
        reason.starts_with(
            "Deployment.apps shop/x: it is to have no replicas, and its controller still counts some"
        ),
        "{reason}"
    );
    desk.watched("Deployment x", &emptied[2]);
    assert!(
        desk.plan().contains(&"Sweep []".to_owned()),
        "its Pods may outlive its count"
    );
    assert_eq!(desk.status().phase, Phase::Stopping);
    let owners = match &desk.ledger.mode {
        Mode::Stopping(stopping) => stopping.sweep.owners["shop"].clone(),
        mode => panic!("{mode:?}"),
    };
    assert_eq!(
        owners,
        Owners {
            uids: BTreeSet::new(),
            scaled: BTreeSet::from(["u-x".to_owned()]),
            unlearned: BTreeSet::new(),
            names: BTreeSet::from(["x".to_owned()]),
            have_workloads: true
        }
    );
    // Somebody gives it replicas again before the stop is through.
    desk.watched("Deployment x", &restored);
    desk.ledger.swept(desk.now, Swept::Clean);
    assert_eq!(desk.status().phase, Phase::Stopping);
    assert_eq!(desk.plan(), ["Scale @19 Deployment x"]);
    let mut again = emptied[2].clone();
    again["metadata"]["resourceVersion"] = "20".into();
    desk.answer("Deployment x", Outcome::Object(again));
    desk.wait(Duration::from_secs(1));
    assert!(desk.plan().contains(&"Sweep []".to_owned()));
    desk.ledger.swept(desk.now, Swept::Clean);
    assert_eq!(desk.status().phase, Phase::Stopped);
    let status = desk.status();
    let told = status
        .objects
        .iter()
        .find(|object| object.key.kind == "Deployment");
    assert_eq!(
        told.map(|object| (object.state, object.message.as_str())),
        Some((
            ObjectState::Kept,
            "left in place without replicas; it gets its replicas back when this cluster leads"
        ))
    );
    assert!(desk.ledger.inventory().entries.iter().all(|entry| entry.kept));

    // Leading again, everything is taken up, with the replicas of the payload.
    desk.run(2, &text);
    assert!(desk.plan().contains(&"Look ConfigMap x".to_owned()));
}

#[test]
fn keeping_leaves_everything_and_a_change_of_policy_takes_it_up() {
    let mut desk = desk();
    desk.stop_by(DemotionPolicy::Keep);
    assert_eq!(desk.plan(), NOTHING);
    assert_eq!(desk.status().phase, Phase::Stopped);
    let message = "left in place by policy; it is taken up again when this cluster leads";
    for kind in KINDS {
        let name = format!("{kind} x");
        let status = desk.status();
        let found = status
            .objects
            .iter()
            .find(|object| object.key.kind == kind)
            .unwrap();
        assert_eq!(
            (desk.state(&name), found.message.as_str()),
            (ObjectState::Kept, message),
            "{kind}"
        );
    }
    let mut objects: BTreeMap<_, _> = BTreeMap::new();
    for kind in KINDS {
        let mut before = self::desk();
        objects.insert(format!("{kind} x"), before.object(&format!("{kind} x")));
    }
    desk.stop();
    let looks = desk.plan();
    assert!(looks.contains(&"Look Ingress x".to_owned()), "{looks:?}");
    for _ in 0..20 {
        for name in desk.under_way.keys().cloned().collect::<Vec<_>>() {
            let outcome = match &desk.under_way[&name].1 {
                Step::Look => Outcome::Object(objects[&name].clone()),
                _ => Outcome::Gone,
            };
            desk.answer(&name, outcome);
        }
        desk.wait(Duration::from_secs(1));
        if desk.plan().iter().any(|action| action.starts_with("Sweep")) {
            desk.ledger.swept(desk.now, Swept::Clean);
        }
    }
    assert_eq!(desk.status().phase, Phase::Stopped);
    let left: Vec<_> = desk
        .status()
        .objects
        .into_iter()
        .map(|object| object.key.kind)
        .collect();
    assert_eq!(left, ["PersistentVolumeClaim"]);
}

#[test]
fn what_the_payload_drops_is_deleted_whatever_the_policy() {
    let text = manifest("ConfigMap", "a").replace(
        "name: a",
        "name: a, annotations: {flagship.dev/on-demotion: ScaleToZero}",
    ) + &manifest("Deployment", "b").replace(
        "name: b",
        "name: b, annotations: {flagship.dev/on-demotion: ScaleToZero}",
    );
    let mut desk = Desk::running(&text);
    desk.stop();
    // By its own annotation one stays, and one loses its replicas.
    assert_eq!(desk.plan(), ["Scale @12 Deployment b"]);
    assert_eq!(desk.state("ConfigMap a"), ObjectState::Kept);
    desk.answer("Deployment b", Outcome::Changed);
    assert_eq!(desk.plan(), ["Look Deployment b"]);
    desk.answer("Deployment b", Outcome::Gone);

    let mut desk = Desk::running(&text);
    desk.run(1, &manifest("ConfigMap", "c"));
    desk.plan();
    desk.plan();
    desk.succeed("ConfigMap c");
    assert_eq!(desk.plan()[..1], ["Delete u-b@12 foreground Deployment b"]);
}

/// Under an autoscaler a document says no replicas, so that only who owns the field tells that the none there are were a
/// stop's.
#[test]
fn replicas_that_a_stop_took_away_come_back_though_the_document_says_none_and_the_term_is_the_same() {
    let taken_by = |manager: &str, operation: &str| json!([{"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {"f:replicas": {}}}}]);
    let text = manifest("Deployment", "x");
    let mut desk = Desk::running(&text);
    let mut emptied = deployment(&mut desk, 0, 2, 2, 0);
    emptied["metadata"]["managedFields"] = taken_by("flagship", "Update");
    let mut noted = deployment(&mut desk, 0, 2, 2, 0);
    noted["metadata"]["managedFields"] = taken_by("flagship", "Apply");
    let restored = deployment(&mut desk, 1, 3, 2, 0);
    desk.stop_by(DemotionPolicy::ScaleToZero);
    assert_eq!(desk.plan(), ["Scale @11 Deployment x"]);
    desk.answer("Deployment x", Outcome::Object(emptied.clone()));
    // The move is given up.
    desk.run(1, &text);
    assert_eq!(desk.plan(), ["Look Deployment x"]);
    desk.answer("Deployment x", Outcome::Object(emptied.clone()));
    assert_eq!(desk.plan(), ["Upgrade u-x@12 Deployment x"]);
    desk.answer("Deployment x", Outcome::Object(noted));
    assert_eq!(desk.plan(), ["Apply u-x@13 Deployment x"]);
    desk.answer("Deployment x", Outcome::Object(restored.clone()));
    assert_eq!(desk.plan(), NOTHING);
    assert_eq!(desk.status().phase, Phase::Applied);

    // A request of the stop that comes late is drift.
    emptied["metadata"]["resourceVersion"] = "20".into();
    desk.watched("Deployment x", &emptied);
    assert_eq!(desk.plan(), ["Upgrade u-x@20 Deployment x"]);
    // What somebody else scaled is theirs, as the document leaves it to them.
    let mut desk = Desk::running(&text);
    let mut scaled = deployment(&mut desk, 0, 2, 2, 0);
    scaled["metadata"]["managedFields"] = taken_by("kubectl", "Update");
    desk.watched("Deployment x", &scaled);
    assert_eq!(desk.plan(), NOTHING);
}

#[test]
fn what_stays_is_known_by_its_uid_from_then_on_and_not_by_its_name() {
    let mut before = Desk::running(&manifest("Deployment", "x"));
    let mut inventory = before.ledger.saved.clone();
    inventory.entries[0].uid = None;
    let running = deployment(&mut before, 2, 1, 1, 2);
    let emptied = deployment(&mut before, 0, 2, 2, 0);
    for (policy, scaled) in [
        (DemotionPolicy::ScaleToZero, BTreeSet::from(["u-x".to_owned()])),
        (DemotionPolicy::Keep, BTreeSet::new()),
    ] {
        let mut desk = Desk::new(inventory.clone());
        desk.stop_by(policy);
        assert_eq!(desk.plan(), ["Look Deployment x"]);
        desk.answer("Deployment x", Outcome::Object(running.clone()));
        if policy == DemotionPolicy::ScaleToZero {
            assert_eq!(desk.plan(), ["Scale @12 Deployment x"]);
            desk.answer("Deployment x", Outcome::Object(emptied.clone()));
        }
        desk.plan();
        let owners = match &desk.ledger.mode {
            Mode::Stopping(stopping) => stopping.sweep.owners["shop"].clone(),
            mode => panic!("{mode:?}"),
        };
        assert_eq!(
            (owners.uids, owners.scaled, owners.unlearned),
            (BTreeSet::new(), scaled, BTreeSet::new()),
            "{policy:?}"
        );
    }
}
