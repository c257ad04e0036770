#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng as _;
use serde_json::json;

use super::*;
use crate::payload::{
    inventory::{OBJECTS_MAX, StoreError},
    ledger::plan::Plan,
    mark::{ON_DEMOTION_ANNOTATION, PAYLOAD_LABEL},
    status::{Phase, Status},
};

/// A ledger with the API server's part played by the test.
struct Desk {
    ledger: Ledger,
    now: Duration,
    number: u64,
    /// The steps that were planned and not answered yet.
    under_way: BTreeMap<String, (ObjectKey, Step)>,
    revision: u64,
}

fn kinds() -> Arc<Kinds> {
    let resource = |group: &str, plural: &str, kind: &str, scope: &str| {
        json!({"resource": plural, "scope": scope, "verbs": ["list", "watch"],
               "responseKind": {"group": group, "version": "v1", "kind": kind}})
    };
    let group = |name: &str, resources: Vec<Value>| json!({"metadata": {"name": name}, "versions": [{"version": "v1", "freshness": "Current", "resources": resources}]});
    let list = json!({"items": [
        group("", vec![
            resource("", "namespaces", "Namespace", "Cluster"),
            resource("", "configmaps", "ConfigMap", "Namespaced"),
            resource("", "services", "Service", "Namespaced"),
            resource("", "persistentvolumeclaims", "PersistentVolumeClaim", "Namespaced"),
        ]),
        group("apps", vec![resource("apps", "deployments", "Deployment", "Namespaced")]),
        group("networking.k8s.io", vec![resource("networking.k8s.io", "ingresses", "Ingress", "Namespaced")]),
        group("apiextensions.k8s.io", vec![resource(
            "apiextensions.k8s.io", "customresourcedefinitions", "CustomResourceDefinition", "Cluster",
        )]),
    ]});
    let mut kinds = Kinds::default();
    kinds.add(serde_json::from_value(list).unwrap());
    Arc::new(kinds)
}

fn kinds_with_widgets() -> Arc<Kinds> {
    let mut kinds = (*kinds()).clone();
    let list = json!({"items": [{"metadata": {"name": "example.com"}, "versions": [{"version": "v1", "resources": [
        {"resource": "widgets", "scope": "Cluster", "verbs": ["list", "watch"],
         "responseKind": {"group": "example.com", "version": "v1", "kind": "Widget"}}
    ]}]}]});
    kinds.add(serde_json::from_value(list).unwrap());
    Arc::new(kinds)
}

fn manifest(kind: &str, name: &str) -> String {
    let api_version = match kind {
        "Deployment" => "apps/v1",
        "Ingress" => "networking.k8s.io/v1",
        "CustomResourceDefinition" => "apiextensions.k8s.io/v1",
        "Widget" => "example.com/v1",
        _ => "v1",
    };
    format!("---\napiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{size: 1}}\n")
}

fn payload(text: &str) -> Arc<Payload> {
    Arc::new(Payload::decode(text).unwrap())
}

impl Desk {
    fn new(inventory: Inventory) -> Self {
        let owner = Owner {
            namespace: "shop".to_owned(),
            name: "newyork".to_owned(),
        };
        let now = Duration::from_secs(100);
        let mut ledger = Ledger::new(now, owner, inventory, StdRng::seed_from_u64(1));
        ledger.kinds(now, kinds());
        Self {
            ledger,
            now,
            number: 0,
            under_way: BTreeMap::new(),
            revision: 10,
        }
    }

    fn running(text: &str) -> Self {
        let mut desk = Self::new(Inventory::default());
        desk.run(1, text);
        desk.finish_all();
        desk
    }

    fn order(&mut self, order: Order) {
        self.number += 1;
        self.ledger.order(
            self.now,
            NumberedOrder {
                number: self.number,
                order,
            },
        );
    }

    fn run(&mut self, term: u64, text: &str) {
        self.order(Order::Run {
            term,
            group: "g".to_owned(),
            payload: payload(text),
        });
    }

    fn stop(&mut self) {
        self.order(Order::Stop { payload: None });
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn plan(&mut self) -> Vec<String> {
        self.plan_with(true)
    }

    /// Plans, notes the steps and tells them in words.
    fn plan_with(&mut self, claimed: bool) -> Vec<String> {
        let Plan { actions, .. } = self.ledger.plan(self.now, 100, claimed);
        actions.into_iter().map(|action| self.note(action)).collect()
    }

    fn note(&mut self, action: Action) -> String {
        match action {
            Action::Save(inventory) => {
                let names = inventory.entries.iter().map(|entry| {
                    let kept = if entry.kept { " kept" } else { "" };
                    format!("{} {}{kept}", entry.key.kind, entry.key.name)
                });
                let text = format!("Save [{}]", names.collect::<Vec<_>>().join(", "));
                self.ledger.saved(self.now, inventory, Ok(()));
                text
            }
            Action::RefreshKinds(doubted) if doubted.is_empty() => "RefreshKinds".to_owned(),
            Action::RefreshKinds(doubted) => format!("RefreshKinds {doubted:?}"),
            Action::Sweep(sweep) => {
                let names = sweep
                    .objects
                    .keys()
                    .map(|key| format!("{} {}", key.kind, key.name));
                format!("Sweep [{}]", names.collect::<Vec<_>>().join(", "))
            }
            Action::Step { key, step, .. } => {
                let words = match &step {
                    Step::Look => "Look".to_owned(),
                    Step::Create => "Create".to_owned(),
                    Step::Upgrade { uid } => format!("Upgrade {uid}"),
                    Step::Apply {
                        uid,
                        resource_version,
                    } => format!("Apply {uid}@{resource_version}"),
                    Step::Delete {
                        uid,
                        resource_version,
                        foreground,
                    } => {
                        format!(
                            "Delete {uid}@{resource_version}{}",
                            if *foreground { " foreground" } else { "" }
                        )
                    }
                    Step::ListContents => "ListContents".to_owned(),
                    Step::ListCustomResources => "ListCustomResources".to_owned(),
                };
                let name = format!("{} {}", key.kind, key.name);
                let before = self.under_way.insert(name.clone(), (key, step));
                assert_eq!(before, None, "two steps at once with {name}");
                format!("{words} {name}")
            }
        }
    }

    fn answer(&mut self, name: &str, outcome: Outcome) {
        let (key, step) = self
            .under_way
            .remove(name)
            .unwrap_or_else(|| panic!("no step with {name} is under way"));
        self.ledger.stepped(self.now, &key, &step, outcome);
    }

    /// The object as the API server would return it after a write of ours, with the fields that it adds.
    fn object(&mut self, name: &str) -> Value {
        let (key, _) = self.key(name);
        self.revision += 1;
        let mut object = Value::Object(self.ledger.body(&key).expect("the payload has it"));
        object["metadata"]["uid"] = format!("u-{}", key.name).into();
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        object["spec"]["default"] = true.into();
        object["status"] =
            json!({"phase": "Active", "conditions": [{"type": "Established", "status": "True"}]});
        object
    }

    fn key(&self, name: &str) -> (ObjectKey, &Item) {
        let found = self
            .ledger
            .items
            .iter()
            .find(|(key, _)| format!("{} {}", key.kind, key.name) == name);
        let (key, item) = found.unwrap_or_else(|| panic!("no {name}"));
        (key.clone(), item)
    }

    /// Answers a step as a willing API server would.
    fn succeed(&mut self, name: &str) {
        let outcome = match &self.under_way[name].1 {
            Step::Delete { .. } => Outcome::Gone,
            Step::ListContents | Step::ListCustomResources => Outcome::Contents(Vec::new()),
            Step::Look if !self.ledger.is_running() => Outcome::Gone,
            _ => Outcome::Object(self.object(name)),
        };
        self.answer(name, outcome);
    }

    /// Lets everything succeed until nothing is left to do.
    fn finish_all(&mut self) {
        for _ in 0..100 {
            let actions = self.plan();
            if actions.is_empty() && self.ledger.plan(self.now, 100, true).again_at.is_none() {
                return;
            }
            for action in actions {
                if action.starts_with("Sweep") {
                    self.ledger.swept(self.now, Swept::Clean);
                }
            }
            for name in self.under_way.keys().cloned().collect::<Vec<_>>() {
                self.succeed(&name);
            }
            self.wait(Duration::from_millis(600));
        }
        panic!("it does not come to rest: {:#?}", self.status());
    }

    fn status(&self) -> Status {
        self.ledger.status(self.now)
    }

    fn state(&self, name: &str) -> ObjectState {
        let status = self.status();
        let found = status
            .objects
            .iter()
            .find(|object| format!("{} {}", object.key.kind, object.key.name) == name);
        found.unwrap_or_else(|| panic!("no {name} in {status:#?}")).state
    }

    fn watched(&mut self, name: &str, object: &Value) {
        let (key, _) = self.key(name);
        self.ledger.watched(self.now, &key, object);
    }
}

fn failure(failure: Failure) -> Outcome {
    Outcome::Failed {
        failure,
        maybe_until: None,
    }
}

const NOTHING: [&str; 0] = [];

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
fn drift_is_repaired_and_news_without_drift_is_not() {
    let mut desk = Desk::running(&manifest("ConfigMap", "a"));
    let mut object = desk.object("ConfigMap a");
    object["status"]["ready"] = 1.into();
    object["spec"]["other"] = "theirs".into();
    desk.watched("ConfigMap a", &object);
    assert_eq!(desk.plan(), NOTHING);
    let mut older = object.clone();
    older["spec"]["size"] = 7.into();
    older["metadata"]["resourceVersion"] = "5".into();
    desk.watched("ConfigMap a", &older);
    assert_eq!(desk.plan(), NOTHING);
    let mut changed = desk.object("ConfigMap a");
    changed["spec"]["size"] = 7.into();
    changed["metadata"]["managedFields"] = json!([{"manager": "flagship", "operation": "Update"}]);
    desk.watched("ConfigMap a", &changed);
    assert_eq!(desk.plan(), ["Upgrade u-a ConfigMap a"]);
    changed["metadata"]["managedFields"] = json!([{"manager": "flagship", "operation": "Apply"}]);
    changed["metadata"]["resourceVersion"] = "14".into();
    desk.answer("ConfigMap a", Outcome::Object(changed));
    assert_eq!(desk.plan(), ["Apply u-a@14 ConfigMap a"]);
    // Its status has changed meanwhile.
    desk.answer("ConfigMap a", Outcome::Changed);
    assert_eq!(desk.plan(), ["Look ConfigMap a"]);
    let mut current = desk.object("ConfigMap a");
    current["spec"]["size"] = 7.into();
    current["metadata"]["resourceVersion"] = "15".into();
    desk.answer("ConfigMap a", Outcome::Object(current));
    assert_eq!(desk.plan(), ["Apply u-a@15 ConfigMap a"]);
    desk.revision = 15;
    desk.succeed("ConfigMap a");
    assert_eq!(desk.plan(), NOTHING);
    assert_eq!((desk.status().phase, desk.status().repairs), (Phase::Applied, 1));
}

#[test]
fn a_deleted_object_is_created_again_when_it_is_gone() {
    let mut desk = Desk::running(&manifest("ConfigMap", "a"));
    let mut object = desk.object("ConfigMap a");
    let (key, _) = desk.key("ConfigMap a");
    // Gone, or without our label: only a look can tell.
    desk.ledger.unwatched(desk.now, &key, &object);
    assert_eq!(desk.plan(), ["Look ConfigMap a"]);
    desk.answer("ConfigMap a", Outcome::Gone);
    assert_eq!(desk.plan(), ["Create ConfigMap a"]);
    desk.succeed("ConfigMap a");
    // With a finalizer it goes in two steps, and the second one leaves no doubt.
    desk.revision = 50;
    object = desk.object("ConfigMap a");
    object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    desk.watched("ConfigMap a", &object);
    assert_eq!(desk.state("ConfigMap a"), ObjectState::Terminating);
    assert_eq!(desk.plan(), NOTHING);
    desk.ledger.unwatched(desk.now, &key, &object);
    assert_eq!(desk.plan(), ["Create ConfigMap a"]);
    desk.succeed("ConfigMap a");
    assert_eq!(desk.status().repairs, 2);
}

#[test]
fn a_deletion_seen_during_a_write_is_not_forgotten() {
    let mut desk = Desk::running(&manifest("ConfigMap", "a"));
    let mut changed = desk.object("ConfigMap a");
    changed["spec"]["size"] = 7.into();
    desk.watched("ConfigMap a", &changed);
    assert_eq!(desk.plan(), ["Apply u-a@12 ConfigMap a"]);
    let (key, _) = desk.key("ConfigMap a");
    desk.ledger.unwatched(desk.now, &key, &changed);
    desk.succeed("ConfigMap a");
    assert_eq!(desk.plan(), ["Look ConfigMap a"]);
    desk.answer("ConfigMap a", Outcome::Gone);
    assert_eq!(desk.plan(), ["Create ConfigMap a"]);
}

#[test]
fn an_object_missing_from_a_list_is_looked_at() {
    let mut desk = Desk::running(&["a", "b"].map(|name| manifest("ConfigMap", name)).concat());
    let watched = desk.ledger.watches().first().unwrap().clone();
    desk.ledger.listed(&watched, |key| key.name == "a");
    assert_eq!(desk.plan(), ["Look ConfigMap a"]);
    desk.succeed("ConfigMap a");
    assert_eq!(desk.plan(), NOTHING);
    assert_eq!(desk.status().repairs, 0);
}

#[test]
fn what_may_not_be_watched_is_said_to_be_blind_until_it_may() {
    let mut desk = Desk::running(&manifest("ConfigMap", "a"));
    let watched = desk.ledger.watches().first().unwrap().clone();
    desk.ledger
        .watch_refused(watched.clone(), "User x cannot watch resource".to_owned());
    let status = desk.status();
    assert_eq!(
        (status.phase, status.objects[0].state),
        (Phase::Applied, ObjectState::Applied)
    );
    assert_eq!(
        status.objects[0].message,
        "in place, but if others change it that is not noticed: User x cannot watch resource: \
         grant this to the controller's ServiceAccount"
    );
    desk.ledger.listed(&watched, |_| false);
    assert_eq!(desk.status().objects[0].message, "");
}

#[test]
fn who_keeps_changing_it_back_slows_the_repairs_down() {
    let mut desk = Desk::running(&manifest("ConfigMap", "a"));
    let mut waits = Vec::new();
    for _ in 0..14 {
        let mut changed = desk.object("ConfigMap a");
        changed["spec"]["size"] = 7.into();
        desk.watched("ConfigMap a", &changed);
        let plan = desk.ledger.plan(desk.now, 8, true);
        if let Some(time) = plan.again_at.filter(|_| plan.actions.is_empty()) {
            assert_eq!(desk.state("ConfigMap a"), ObjectState::Contested);
            waits.push((time - desk.now).as_millis());
            desk.now = time;
            desk.plan();
        } else {
            waits.push(0);
            plan.actions
                .into_iter()
                .for_each(|action| drop(desk.note(action)));
        }
        desk.succeed("ConfigMap a");
    }
    assert_eq!(waits[..3], [0, 0, 0]);
    assert!(
        waits[3] >= 250 && waits[3..].is_sorted_by(|a, b| a < b || *a >= 30_000),
        "{waits:?}"
    );
    assert!(waits[13] <= 37_500, "{waits:?}");
    // Left alone for a while, it is repaired at once again.
    desk.wait(Duration::from_secs(100));
    let mut changed = desk.object("ConfigMap a");
    changed["spec"]["size"] = 7.into();
    desk.watched("ConfigMap a", &changed);
    assert_eq!(desk.plan().len(), 1);
}

#[test]
fn a_mark_that_was_taken_away_is_drift_while_running() {
    let mut desk = Desk::running(&manifest("ConfigMap", "a"));
    let mut unmarked = desk.object("ConfigMap a");
    unmarked["metadata"]["labels"] = json!({});
    let (key, _) = desk.key("ConfigMap a");
    desk.ledger.unwatched(desk.now, &key, &unmarked);
    assert_eq!(desk.plan(), ["Look ConfigMap a"]);
    desk.answer("ConfigMap a", Outcome::Object(unmarked));
    assert_eq!(desk.plan(), ["Apply u-a@12 ConfigMap a"]);
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
    // The terms of another group say nothing.
    desk.order(Order::Run {
        term: 1,
        group: "h".to_owned(),
        payload: payload(&manifest("ConfigMap", "a")),
    });
    assert_eq!(desk.plan(), ["Apply u-a@13 ConfigMap a"]);
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
                     grant this to the controller's ServiceAccount"
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
fn a_first_stop_looks_for_what_a_lost_inventory_does_not_list() {
    let text = ["a", "b"].map(|name| manifest("ConfigMap", name)).concat();
    let mut before = Desk::running(&text);
    let ours = before.object("ConfigMap a");
    let mut desk = Desk::new(Inventory::default());
    desk.order(Order::Stop {
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
        payload: Some(payload(&text)),
    });
    desk.plan();
    desk.answer("ConfigMap a", Outcome::Gone);
    desk.answer("ConfigMap b", forbidden());
    desk.plan();
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
            repairs: 0
        }
    );
    desk.order(Order::Hold);
    assert_eq!(desk.plan(), NOTHING);
    assert_eq!(desk.status().phase, Phase::Held);
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
fn conflicts_are_met_with_ever_longer_waits_and_told() {
    let mut desk = Desk::running(&manifest("ConfigMap", "a"));
    let mut live = desk.object("ConfigMap a");
    desk.run(2, &manifest("ConfigMap", "a"));
    let mut waits = Vec::new();
    for _ in 0..9 {
        let plan = desk.plan();
        assert!(plan[0].starts_with("Apply u-a@"), "{plan:?}");
        desk.answer("ConfigMap a", Outcome::Changed);
        let time = desk.ledger.plan(desk.now, 0, true).again_at.unwrap_or(desk.now);
        waits.push((time - desk.now).as_millis());
        desk.now = time;
        assert_eq!(desk.plan(), ["Look ConfigMap a"]);
        desk.revision += 1;
        live["metadata"]["resourceVersion"] = desk.revision.to_string().into();
        desk.answer("ConfigMap a", Outcome::Object(live.clone()));
    }
    assert!(waits[1] >= 20 && waits[8] >= 1_000, "{waits:?}");
    assert_eq!(desk.state("ConfigMap a"), ObjectState::Unavailable);
    let message = &desk.status().objects[0].message;
    assert!(message.contains("9 times in a row"), "{message}");
    desk.plan();
    desk.succeed("ConfigMap a");
    assert_eq!(desk.state("ConfigMap a"), ObjectState::Applied);
}

#[test]
fn a_long_refusal_is_cut() {
    let mut desk = Desk::new(Inventory::default());
    desk.run(1, &manifest("ConfigMap", "a"));
    desk.plan();
    desk.plan();
    let refusal = format!("Invalid value: {}", "ä".repeat(100_000));
    desk.answer("ConfigMap a", failure(Failure::Rejected(refusal)));
    let message = &desk.status().objects[0].message;
    assert!(
        message.starts_with("Invalid value: ää") && message.len() < 610,
        "{}",
        message.len()
    );
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
fn refusals_are_told_and_tried_again_ever_later() {
    let mut desk = Desk::new(Inventory::default());
    desk.run(
        1,
        &["a", "b", "c"].map(|name| manifest("ConfigMap", name)).concat(),
    );
    desk.plan();
    desk.plan();
    desk.answer(
        "ConfigMap a",
        failure(Failure::Forbidden(
            "User x cannot create resource configmaps".to_owned(),
        )),
    );
    desk.answer(
        "ConfigMap b",
        failure(Failure::Unavailable(
            "busy".to_owned(),
            Some(Duration::from_secs(3)),
        )),
    );
    desk.succeed("ConfigMap c");
    assert_eq!(desk.status().phase, Phase::Incomplete);
    assert_eq!(
        desk.status().objects[0].message,
        "User x cannot create resource configmaps: grant this to the controller's ServiceAccount"
    );
    let plan = desk.ledger.plan(desk.now, 8, true);
    desk.wait(Duration::from_millis(2_999));
    assert!(plan.actions.is_empty() && !desk.plan().contains(&"Create ConfigMap b".to_owned()));
    desk.wait(Duration::from_millis(1));
    assert_eq!(desk.plan(), ["Create ConfigMap b"]);
    desk.succeed("ConfigMap b");
    desk.wait(Duration::from_millis(600));
    assert_eq!(desk.plan(), ["Save [ConfigMap a, ConfigMap b, ConfigMap c]"]);
    let mut waits = Vec::new();
    for _ in 0..6 {
        let plan = desk.ledger.plan(desk.now, 8, true);
        let time = plan.again_at.expect("it is tried again");
        waits.push((time - desk.now).as_secs());
        desk.now = time;
        assert_eq!(desk.plan(), ["Create ConfigMap a"]);
        desk.answer("ConfigMap a", failure(Failure::Forbidden("no".to_owned())));
    }
    assert!(waits[1] >= 10 && waits[5] >= 60 && waits[5] <= 75, "{waits:?}");
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

#[test]
fn an_object_that_is_created_without_our_marks_is_ours_all_the_same() {
    let mut desk = Desk::new(Inventory::default());
    desk.run(1, &manifest("ConfigMap", "a"));
    desk.plan();
    desk.plan();
    let mut waits = Vec::new();
    for _ in 0..6 {
        let mut stripped = desk.object("ConfigMap a");
        stripped["metadata"]["labels"] = json!({});
        stripped["metadata"]["annotations"] = json!({});
        desk.answer("ConfigMap a", Outcome::Object(stripped));
        assert_eq!(desk.state("ConfigMap a"), ObjectState::Contested);
        let answered_at = desk.now;
        loop {
            desk.plan();
            if !desk.under_way.is_empty() {
                break;
            }
            let plan = desk.ledger.plan(desk.now, 8, true);
            desk.now = plan.again_at.expect("it is written again");
        }
        waits.push((desk.now - answered_at).as_millis());
    }
    assert!(waits[0] >= 250 && waits[5] >= 8_000, "{waits:?}");
    let message = &desk.status().objects[0].message;
    assert!(message.contains("webhook"), "{message}");
    // So it goes with the rest.
    let mut stripped = desk.object("ConfigMap a");
    stripped["metadata"]["labels"] = json!({});
    desk.stop();
    desk.answer("ConfigMap a", Outcome::Object(stripped));
    assert_eq!(desk.plan()[0], "Delete u-a@17 ConfigMap a");
}

#[test]
fn a_creation_that_finds_what_cannot_be_found_is_repeated_ever_later() {
    let mut desk = Desk::new(Inventory::default());
    desk.run(1, &manifest("ConfigMap", "a"));
    desk.plan();
    let mut waits = Vec::new();
    for _ in 0..8 {
        assert_eq!(desk.plan(), ["Create ConfigMap a"]);
        desk.answer("ConfigMap a", Outcome::Exists);
        let time = desk.ledger.plan(desk.now, 0, true).again_at.unwrap_or(desk.now);
        waits.push((time - desk.now).as_millis());
        desk.now = time;
        assert_eq!(desk.plan(), ["Look ConfigMap a"]);
        desk.answer("ConfigMap a", Outcome::Gone);
    }
    assert!(waits[0] == 0 && waits[1] >= 20 && waits[7] >= 1_000, "{waits:?}");
    assert_eq!(desk.state("ConfigMap a"), ObjectState::Unavailable);
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
