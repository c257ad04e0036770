#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod demoting;
mod doing;
mod fencing;
mod mending;
mod removing;
mod sparing;
mod writing;

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng as _;
use serde_json::json;

use super::*;
use crate::payload::{
    inventory::{OBJECTS_MAX, StoreError},
    ledger::plan::Plan,
    mark::{
        GROUP_ANNOTATION, MULTICLUSTER_ANNOTATION, ON_DEMOTION_ANNOTATION, PAYLOAD_LABEL, TERM_ANNOTATION,
    },
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
        self.stop_by(DemotionPolicy::Delete);
    }

    fn stop_by(&mut self, policy: DemotionPolicy) {
        self.order(Order::Stop {
            policy,
            payload: None,
        });
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
                    Step::Upgrade {
                        uid,
                        resource_version,
                    } => format!("Upgrade {uid}@{resource_version}"),
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
                    Step::Scale { resource_version } => format!("Scale @{resource_version}"),
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
