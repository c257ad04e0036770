//! Whether objects do what they are there for, as far as their status tells.

use std::time::Duration;

use serde_json::Value;

use crate::cluster::ObjectKey;

/// How an object, or a payload as a whole, does. The worse is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It does what it is there for.
    Healthy,
    /// It does not yet, or not any more, and something is under way.
    Progressing,
    /// It does not.
    Unhealthy,
}

/// How an object does, and what a person should know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How it does.
    pub health: Health,
    /// Why, or what is missing for all to be well; empty when nothing is.
    pub message: String,
}

impl Finding {
    fn healthy() -> Self {
        Self::new(Health::Healthy, "")
    }

    fn new(health: Health, message: impl Into<String>) -> Self {
        Self {
            health,
            message: message.into(),
        }
    }
}

/// Why a container waits that will not begin by itself.
const HOPELESS: [&str; 6] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
];

/// How an object does. A workload is healthy while it serves, as its own controller judges it: one Pod of many that is
/// missing is told, but no reason to move an application that runs.
pub(super) fn examine(key: &ObjectKey, object: &Value) -> Finding {
    let status = &object["status"];
    let is_stale = |observed: &Value| {
        let (observed, newest) = (observed.as_i64(), object["metadata"]["generation"].as_i64());
        observed
            .zip(newest)
            .is_some_and(|(observed, newest)| observed < newest)
    };
    if is_stale(&status["observedGeneration"]) {
        return Finding::new(
            Health::Progressing,
            "its controller has not seen its newest version yet",
        );
    }
    match (key.group.as_str(), key.kind.as_str()) {
        ("apps", "Deployment") => deployment(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => replica_set(object),
        ("apps", "DaemonSet") => daemon_set(status),
        ("batch", "Job") => job(object),
        ("", "Pod") => pod(object),
        ("", "PersistentVolumeClaim") => claim(status),
        ("", "Namespace") if status["phase"] == "Terminating" => {
            Finding::new(Health::Unhealthy, "it is being deleted")
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        _ => by_conditions(object, is_stale),
    }
}

fn conditions(object: &Value) -> impl Iterator<Item = &Value> {
    object["status"]["conditions"].as_array().into_iter().flatten()
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    conditions(object).find(|condition| condition["type"] == kind)
}

fn is_true(condition: Option<&Value>) -> bool {
    condition.is_some_and(|condition| condition["status"] == "True")
}

/// What a condition says, in its own words.
fn words(condition: &Value) -> String {
    let text = |field: &str| condition[field].as_str().unwrap_or_default();
    match (text("reason"), text("message")) {
        ("", message) => message.to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

/// A number of Pods; what is left out is none, but for wanted replicas, which are one.
fn count(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn wanted(object: &Value) -> i64 {
    object["spec"]["replicas"].as_i64().unwrap_or(1)
}

fn of(have: i64, wanted: i64) -> String {
    format!("{have} of {wanted} Pods are available")
}

fn deployment(object: &Value) -> Finding {
    let (status, wanted) = (&object["status"], wanted(object));
    let available = count(&status["availableReplicas"]);
    let progressing = condition(object, "Progressing");
    let failure = [
        condition(object, "ReplicaFailure").filter(|found| is_true(Some(found))),
        progressing,
    ]
    .into_iter()
    .flatten()
    .find(|condition| condition["type"] == "ReplicaFailure" || condition["status"] == "False")
    .map(words);
    let message = match (&failure, available < wanted) {
        (Some(failure), _) => format!("{}; {failure}", of(available, wanted)),
        (None, true) => of(available, wanted),
        (None, false) => String::new(),
    };
    if wanted == 0 || is_true(condition(object, "Available")) {
        return Finding::new(Health::Healthy, message);
    }
    let is_rolled_out = progressing.is_some_and(|condition| condition["reason"] == "NewReplicaSetAvailable");
    let health = match failure.is_some() || is_rolled_out {
        true => Health::Unhealthy,
        false => Health::Progressing,
    };
    Finding::new(health, message)
}

/// One Pod may be missing, as one is during its updates.
fn stateful_set(object: &Value) -> Finding {
    let (status, wanted) = (&object["status"], wanted(object));
    let available = match &status["availableReplicas"] {
        Value::Null => count(&status["readyReplicas"]),
        available => count(available),
    };
    if available >= wanted {
        return Finding::healthy();
    }
    let is_under_way = count(&status["replicas"]) < wanted || count(&status["updatedReplicas"]) < wanted;
    let health = match (available > 0 && available + 1 >= wanted, is_under_way) {
        (true, _) => Health::Healthy,
        (false, true) => Health::Progressing,
        (false, false) => Health::Unhealthy,
    };
    Finding::new(health, of(available, wanted))
}

fn replica_set(object: &Value) -> Finding {
    let (status, wanted) = (&object["status"], wanted(object));
    let available = count(&status["availableReplicas"]);
    if available >= wanted {
        return Finding::healthy();
    }
    if let Some(failure) = condition(object, "ReplicaFailure").filter(|found| is_true(Some(found))) {
        let health = match available {
            0 => Health::Unhealthy,
            _ => Health::Healthy,
        };
        return Finding::new(health, format!("{}; {}", of(available, wanted), words(failure)));
    }
    let health = match (available, count(&status["replicas"]) < wanted) {
        (1.., _) => Health::Healthy,
        (_, true) => Health::Progressing,
        (_, false) => Health::Unhealthy,
    };
    Finding::new(health, of(available, wanted))
}

fn daemon_set(status: &Value) -> Finding {
    let wanted = count(&status["desiredNumberScheduled"]);
    let available = count(&status["numberAvailable"]);
    if wanted == 0 {
        // Before its controller has looked at it, this is as it is where no node fits.
        return match status["observedGeneration"] {
            Value::Null => Finding::new(Health::Progressing, "its controller has not seen it yet"),
            _ => Finding::new(Health::Healthy, "no node is to run it"),
        };
    }
    if available >= wanted {
        return Finding::healthy();
    }
    let health = match (available, count(&status["updatedNumberScheduled"]) < wanted) {
        (1.., _) => Health::Healthy,
        (_, true) => Health::Progressing,
        (_, false) => Health::Unhealthy,
    };
    Finding::new(health, of(available, wanted))
}

/// A Job that runs does what it is there for, however long it takes.
fn job(object: &Value) -> Finding {
    if let Some(failed) = condition(object, "Failed").filter(|found| is_true(Some(found))) {
        return Finding::new(Health::Unhealthy, words(failed));
    }
    Finding::healthy()
}

fn pod(object: &Value) -> Finding {
    let status = &object["status"];
    let containers = ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .filter_map(|field| status[field].as_array())
        .flatten();
    let hopeless = containers
        .map(|container| (container, &container["state"]["waiting"]))
        .find(|(_, waiting)| {
            waiting["reason"]
                .as_str()
                .is_some_and(|reason| HOPELESS.contains(&reason))
        })
        .map(|(container, waiting)| {
            format!(
                "container {}: {}",
                container["name"].as_str().unwrap_or_default(),
                words(waiting)
            )
        });
    match status["phase"].as_str() {
        Some("Succeeded") => Finding::healthy(),
        Some("Failed") => Finding::new(Health::Unhealthy, words(status)),
        Some("Running") if is_true(condition(object, "Ready")) => Finding::healthy(),
        Some("Running") => {
            let not_ready = || condition(object, "Ready").map(words).unwrap_or_default();
            Finding::new(Health::Unhealthy, hopeless.unwrap_or_else(not_ready))
        }
        _ => match hopeless {
            Some(message) => Finding::new(Health::Unhealthy, message),
            None => {
                let unscheduled =
                    condition(object, "PodScheduled").filter(|found| found["status"] == "False");
                Finding::new(Health::Progressing, unscheduled.map(words).unwrap_or_default())
            }
        },
    }
}

/// A claim whose class waits for a first consumer stays unbound where nothing uses it, and where something does, that
/// tells: so a claim that is not bound yet is no reason for anything.
fn claim(status: &Value) -> Finding {
    match status["phase"].as_str() {
        Some("Lost") => Finding::new(Health::Unhealthy, "its volume is lost"),
        Some("Bound") => Finding::healthy(),
        _ => Finding::new(Health::Healthy, "it is not bound to a volume yet"),
    }
}

fn definition(object: &Value) -> Finding {
    if let Some(refused) = condition(object, "NamesAccepted").filter(|found| found["status"] == "False") {
        return Finding::new(Health::Unhealthy, words(refused));
    }
    match is_true(condition(object, "Established")) {
        true => Finding::healthy(),
        false => Finding::new(Health::Progressing, "it is not established yet"),
    }
}

/// Any other object, by the conditions that controllers agree on: `Ready`, or else `Available`. What has neither is healthy.
fn by_conditions(object: &Value, is_stale: impl Fn(&Value) -> bool) -> Finding {
    let Some(found) = condition(object, "Ready").or_else(|| condition(object, "Available")) else {
        return Finding::healthy();
    };
    if is_stale(&found["observedGeneration"]) {
        return Finding::new(
            Health::Progressing,
            "its controller has not judged its newest version yet",
        );
    }
    match found["status"].as_str() {
        Some("True") => Finding::healthy(),
        Some("False") => Finding::new(Health::Unhealthy, words(found)),
        _ => Finding::new(Health::Progressing, words(found)),
    }
}

/// How long a payload may be less than healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until it is healthy, or is again.
    pub startup: Duration,
    /// While it is unhealthy, once it was healthy.
    pub failure: Duration,
}

/// Tells from how a payload does over time whether it has failed here.
///
/// A payload that was never healthy since it was ordered has its whole startup time, whatever it looks like meanwhile. One
/// that was healthy fails when it is unhealthy without a break for the failure time, or not healthy, for a rollout that
/// never ends, say, for the startup time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultMonitor {
    was_healthy: bool,
    /// Since when it has not been healthy.
    unwell_since: Option<Duration>,
    /// Since when it has been unhealthy without a break.
    unhealthy_since: Option<Duration>,
}

impl FaultMonitor {
    /// Notes how the payload does; none where it is not run.
    pub fn observe(&mut self, now: Duration, health: Option<Health>) {
        match health {
            None => *self = Self::default(),
            Some(Health::Healthy) => {
                *self = Self {
                    was_healthy: true,
                    ..Self::default()
                };
            }
            Some(Health::Progressing) => {
                self.unwell_since.get_or_insert(now);
                self.unhealthy_since = None;
            }
            Some(Health::Unhealthy) => {
                self.unwell_since.get_or_insert(now);
                self.unhealthy_since.get_or_insert(now);
            }
        }
    }

    /// When the payload has failed, or will have, should nothing change; none while it is healthy or not run.
    #[must_use]
    pub fn fails_at(&self, patience: Patience) -> Option<Duration> {
        let by_startup = self.unwell_since? + patience.startup;
        let by_failure = self
            .unhealthy_since
            .filter(|_| self.was_healthy)
            .map(|since| since + patience.failure);
        Some(by_failure.map_or(by_startup, |time| time.min(by_startup)))
    }
}

#[cfg(test)]
mod tests;
