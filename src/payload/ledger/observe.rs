//! What was seen, answered or failed, written down.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rand::rngs::StdRng;
use serde_json::Value;

use super::{
    Fault, Item, Ledger, Live, Mode, Outcome, SAVE_DELAY, Seen, Step, Stopping, SweepState, Swept,
    WatchedKind,
    trouble::{CONTESTED, REFUSED, cut},
};
use crate::cluster::{Kinds, ObjectKey, managers};
use crate::payload::{
    backoff::Backoff,
    decode::Document,
    fate::{self, Fate, fate},
    health::{Finding, examine},
    inventory::{Inventory, StoreError},
    mark::{
        self, FIELD_MANAGER, MULTICLUSTER_ANNOTATION, Mark, ON_DEMOTION_ANNOTATION, PAYLOAD_LABEL, Stamp,
    },
    project::{contains, project},
    status::ObjectState,
};

/// The object changed between the look and the write, as busy ones do.
const CONFLICT: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
/// So many conflicts in a row are usual for an object that many write.
const CONFLICTS_AT_ONCE: u32 = 5;
/// Between two looks at an object that is awaited, in case its watch is slow.
const AWAITED: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
const SAVE: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
const REFRESH: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));

/// A Namespace or CustomResourceDefinition that does not serve by then holds up the rest no longer.
const SERVING_PATIENCE: Duration = Duration::from_secs(10);

impl Item {
    /// Looks again a little later than the last time.
    fn await_change(&mut self, now: Duration, rng: &mut StdRng) {
        let (since, looks) = self.awaited.unwrap_or((now, 0));
        self.awaited = Some((since, looks + 1));
        self.due = now + AWAITED.delay(looks + 1, rng);
    }
}

impl Ledger {
    /// A step has come to its end.
    pub(in crate::payload) fn stepped(
        &mut self,
        now: Duration,
        key: &ObjectKey,
        step: &Step,
        outcome: Outcome,
    ) {
        let Some(item) = self.items.get_mut(key) else {
            return;
        };
        item.busy = false;
        // What a Namespace or definition held is known for one deletion only: it may be filled before the next.
        item.empty = false;
        // A look between two conflicts is no sign that they are over.
        if !matches!(outcome, Outcome::Changed | Outcome::Exists) && !matches!(step, Step::Look) {
            item.conflicts = 0;
        }
        if !matches!(
            (&self.mode, &outcome),
            (Mode::Running { .. }, _) | (_, Outcome::Failed { .. })
        ) {
            item.fault = None;
        }
        match outcome {
            Outcome::Object(object) => {
                let written = matches!(step, Step::Create | Step::Apply { .. });
                self.observe(now, key, &object, written);
            }
            Outcome::Gone => self.vanished(now, key),
            Outcome::Exists | Outcome::Changed => {
                item.seen = Seen::Unsure;
                item.conflicts += 1;
                if item.conflicts > 1 {
                    item.due = now + CONFLICT.delay(item.conflicts - 1, &mut self.rng);
                }
                if item.conflicts > CONFLICTS_AT_ONCE {
                    let what = match outcome {
                        Outcome::Exists => "that it existed already, and then that it did not",
                        _ => "that it had changed meanwhile",
                    };
                    item.fault = Some(Fault {
                        state: ObjectState::Unavailable,
                        message: format!(
                            "it cannot be written: {} times in a row the API server said {what}; \
                             see who writes it so often, or which admission webhook answers 409",
                            item.conflicts
                        ),
                        attempts: item.conflicts,
                    });
                }
            }
            Outcome::Contents(contents) if contents.is_empty() => item.empty = true,
            Outcome::Contents(contents) => {
                item.kept = true;
                let message = format!(
                    "left in place, since it holds what is not of this payload: {}",
                    contents.join(", ")
                );
                item.fault = Some(Fault {
                    state: ObjectState::Kept,
                    message,
                    attempts: 0,
                });
                self.save_due.get_or_insert(now + SAVE_DELAY);
                self.no_longer_expect_gone(key);
            }
            Outcome::Failed { failure, maybe_until } => self.failed(now, key, step, failure, maybe_until),
        }
        if let Some(item) = self.items.get_mut(key)
            && std::mem::take(&mut item.doubted)
            && item.live().is_some()
        {
            item.seen = Seen::Unsure;
        }
        self.settle(now, key);
    }

    /// A watch shows an object of ours as it is now.
    pub(in crate::payload) fn watched(&mut self, now: Duration, key: &ObjectKey, object: &Value) {
        if self.items.get(key).is_some_and(|item| item.owned) {
            self.observe(now, key, object, false);
            self.settle(now, key);
        }
    }

    /// A watch shows that an object of ours is gone, or bears our label no more.
    pub(in crate::payload) fn unwatched(&mut self, now: Duration, key: &ObjectKey, last: &Value) {
        let Some(item) = self.items.get_mut(key).filter(|item| item.owned) else {
            return;
        };
        let uid = last["metadata"]["uid"].as_str().unwrap_or_default();
        match &item.seen {
            _ if item.busy => {
                item.doubted = true;
                return;
            }
            Seen::Ours(live) if live.uid != uid => return,
            Seen::Ours(live) if live.deleting || is_deleting(last) => self.vanished(now, key),
            // It may be gone, or somebody has taken the label away.
            Seen::Ours(_) => item.seen = Seen::Unsure,
            _ => return,
        }
        self.settle(now, key);
    }

    /// A watch has listed all objects of ours of one kind and place; those that it did not list may be gone.
    pub(in crate::payload) fn listed(
        &mut self,
        watched: &WatchedKind,
        is_missing: impl Fn(&ObjectKey) -> bool,
    ) {
        self.refused_watches.remove(watched);
        for (key, item) in &mut self.items {
            if !is_missing(key) {
                continue;
            }
            if item.busy {
                item.doubted = true;
            } else if item.live().is_some() {
                item.seen = Seen::Unsure;
            }
        }
    }

    /// A watch is not permitted; it is tried again all the same.
    pub(in crate::payload) fn watch_refused(&mut self, watched: WatchedKind, reason: String) {
        self.refused_watches.insert(watched, cut(reason));
    }

    /// The inventory was saved, or not.
    pub(in crate::payload) fn saved(
        &mut self,
        now: Duration,
        inventory: Inventory,
        result: Result<(), StoreError>,
    ) {
        self.saving = false;
        match result {
            Ok(()) => {
                self.saved_keys = inventory.entries.iter().map(|entry| entry.key.clone()).collect();
                self.saved = inventory;
                self.save_failure = None;
            }
            Err(error) => {
                let attempts = self.save_failure.as_ref().map_or(0, |fault| fault.attempts) + 1;
                self.save_due = Some(now + SAVE.delay(attempts, &mut self.rng));
                self.save_failure = Some(Fault {
                    state: ObjectState::Unavailable,
                    message: error.to_string(),
                    attempts,
                });
            }
        }
    }

    /// The API server told its kinds, and of which of the groups asked for it has told all; or not.
    pub(in crate::payload) fn refreshed(
        &mut self,
        now: Duration,
        result: Result<(Arc<Kinds>, BTreeSet<String>), String>,
    ) {
        self.refreshing = false;
        self.refresh_attempts += 1;
        self.refresh_due = now + REFRESH.delay(self.refresh_attempts, &mut self.rng);
        match result {
            Ok((kinds, told_groups)) => {
                self.refreshed = true;
                self.refresh_failure = None;
                self.kinds(now, kinds);
                self.told_groups = told_groups;
            }
            Err(message) => {
                let attempts = self.refresh_failure.as_ref().map_or(0, |(_, attempts)| *attempts) + 1;
                self.refresh_failure = Some((message, attempts));
            }
        }
    }

    /// A sweep has come to its end.
    pub(in crate::payload) fn swept(&mut self, now: Duration, swept: Swept) {
        let Mode::Stopping(stopping) = &mut self.mode else {
            return;
        };
        stopping.attempts += 1;
        stopping.state = SweepState::DueAt(now + AWAITED.delay(stopping.attempts, &mut self.rng));
        stopping.dependents.clear();
        stopping.failure = None;
        let is_removed = self.items.values().all(|item| !item.busy && item.is_removed());
        match swept {
            // Something came back while the lists were made.
            Swept::Clean if !is_removed => {}
            Swept::Clean => {
                stopping.state = SweepState::Clean;
                // A process that ends now leaves no list of objects to look for.
                self.save_due = Some(now);
            }
            Swept::Dependents(dependents) => {
                stopping.dependents = dependents;
                stopping.dependents_since.get_or_insert(now);
            }
            Swept::Failed(failure) => stopping.failure = Some(failure.to_string()),
            Swept::Objects(keys) => {
                stopping.dependents_since = None;
                if let Some(fence) = &mut stopping.fence {
                    // Each of them was seen to be gone.
                    fence.returned = keys.into_iter().next();
                    return;
                }
                for key in keys {
                    let version = stopping.sweep.objects.get(&key).cloned().unwrap_or_default();
                    let item = self
                        .items
                        .entry(key.clone())
                        .or_insert_with(|| super::Item::new(&key, &version, 0));
                    (item.owned, item.kept, item.seen) = (true, false, Seen::Unsure);
                    item.maybe_created = true;
                    (item.fault, item.awaited, item.due) = (None, None, now);
                }
                self.sort();
            }
        }
    }

    fn observe(&mut self, now: Duration, key: &ObjectKey, object: &Value, written: bool) {
        let stamp_wanted = self.stamp_wanted(key);
        let Some(item) = self.items.get_mut(key) else {
            return;
        };
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let (uid, resource_version) = (text("uid"), text("resourceVersion"));
        if std::mem::take(&mut item.inherited) && item.uid.as_ref() == Some(&uid) {
            // It is still the one that was listed, so the former process had no reason to create it again.
            item.maybe_until = None;
        }
        if written {
            // Whatever became of our marks on the way.
            if item.uid.as_ref() != Some(&uid) {
                item.uid = Some(uid.clone());
                self.save_due.get_or_insert(now + SAVE_DELAY);
            }
            item.uid_is_certain = true;
            if let Mode::Running { payload, .. } = &self.mode
                && let Some(document) = item.document.and_then(|index| payload.documents().get(index))
            {
                item.expected = Some(project(object, document.body()));
            }
            if std::mem::take(&mut item.repair.under_way) {
                self.repairs += 1;
            }
        }
        if let Seen::Ours(live) = &item.seen
            && live.uid == uid
            && is_older(&resource_version, &live.resource_version)
        {
            return;
        }
        item.empty &= item
            .live()
            .is_some_and(|live| live.uid == uid && live.resource_version == resource_version);
        let running = matches!(self.mode, Mode::Running { .. });
        let mark = mark::read(&self.owner, object);
        let policy = self.policy();
        let is_higher = matches!(&mark, Mark::Ours(stamp) if self.is_higher(stamp));
        let Some(item) = self.items.get_mut(key) else {
            return;
        };
        let stamp = match mark {
            Mark::Ours(stamp) => stamp,
            // We created it, and somebody has taken our mark away: that is drift like any other, and no reason to let it
            // run on after a stop.
            Mark::None if item.uid_is_certain && item.uid.as_ref() == Some(&uid) => Stamp::default(),
            Mark::None
                if item.uid.as_ref() == Some(&uid)
                    && !key.is_shareable()
                    && fate(key, item.rank, fate::annotation(object), policy) != Fate::Kept =>
            {
                item.seen = Seen::Unmarked;
                item.await_change(now, &mut self.rng);
                item.fault = Some(Fault {
                    state: if running {
                        ObjectState::Foreign
                    } else {
                        ObjectState::Stuck
                    },
                    message: format!(
                        "it is listed as created here, but does not bear our mark, so it is neither changed nor deleted: \
                         if it is of this payload, put the label {PAYLOAD_LABEL}={} and the annotation \
                         {MULTICLUSTER_ANNOTATION}={} back, or delete it; if it is not, annotate it with \
                         {ON_DEMOTION_ANNOTATION}=Keep",
                        self.owner.label_value(),
                        self.owner
                    ),
                    attempts: 1,
                });
                return;
            }
            foreign => {
                // From here on it is looked at rather than created.
                item.conflicts = 0;
                item.seen = Seen::Foreign(match foreign {
                    Mark::Others(owner) => Some(owner),
                    _ => None,
                });
                return;
            }
        };
        let mut drifted = false;
        let is_another = item.uid_is_certain && item.uid.as_ref() != Some(&uid);
        item.maybe_created = true;
        if let (Mode::Running { payload, .. }, Some(wanted)) = (&self.mode, stamp_wanted)
            && let Some(document) = item.document.and_then(|index| payload.documents().get(index))
        {
            let projection = project(object, document.body());
            let has_fields = match item.expected {
                Some(expected) => expected == projection,
                None => contains(object, document.body()),
            };
            let as_written = has_fields && !is_emptied(key, object, document);
            // What a later leader wrote is no drift.
            drifted = item.right && !(as_written && stamp == wanted) && !is_higher;
            item.right = as_written && stamp == wanted;
            if item.right {
                item.expected = Some(projection);
                item.fault = None;
            }
        }
        item.uid_is_certain = true;
        if item.uid.as_ref() != Some(&uid) || item.suspected || !item.owned {
            (item.uid, item.suspected, item.owned) = (Some(uid.clone()), false, true);
            self.save_due.get_or_insert(now + SAVE_DELAY);
        }

        let deleting = is_deleting(object);
        let serves = serves(key, object);
        let on_demotion = fate::annotation(object);
        let replicas = fate::has_replicas(key).then(|| fate::replicas(object));
        let is_emptying = !running
            && fate(key, item.rank, on_demotion, policy) == Fate::ScaledToZero
            && replicas.is_some_and(|replicas| replicas.wanted == 0 && !replicas.none_left);
        if !deleting && serves && !is_emptying {
            item.awaited = None;
        } else {
            item.await_change(now, &mut self.rng);
        }
        if item.scaled && replicas.is_some_and(|replicas| !replicas.none_left) {
            // Somebody gave it replicas again while the rest was still stopping.
            (item.kept, item.scaled, item.due) = (false, false, now);
        }
        let Finding { health, message } = examine(key, object);
        // What is kept may be there since long ago.
        let tells_term = fate(key, item.rank, on_demotion, policy) != Fate::Kept;
        let found = stamp.clone();
        item.last_stamp = Some(stamp.clone());
        item.seen = Seen::Ours(Live {
            uid,
            resource_version,
            stamp,
            deleting,
            finalizers: texts(&object["metadata"]["finalizers"]),
            on_demotion,
            replicas,
            health: Finding {
                health,
                message: cut(message),
            },
            needs_upgrade: managers::need_upgrade(object, FIELD_MANAGER),
            serves,
        });
        if written && running && item.document.is_some() && !item.right {
            let attempts = item.fault.as_ref().map_or(0, |fault| fault.attempts) + 1;
            item.due = now + CONTESTED.delay(attempts, &mut self.rng);
            item.fault = Some(Fault {
                state: ObjectState::Contested,
                message: "the API server takes it without the labels and annotations that Flagship marks it with: see \
                          which mutating admission webhook removes them"
                    .to_owned(),
                attempts,
            });
        }
        if let Mode::Stopping(Stopping {
            fence: Some(fence), ..
        }) = &mut self.mode
        {
            if tells_term && found.group == fence.group && found.term <= fence.term {
                fence.found = fence.found.max(Some(found.term));
            }
            if is_another {
                fence.returned = Some(key.clone());
            }
        }
        if !running && !item.kept {
            self.expect_gone(key);
        } else if drifted {
            self.note_drift(now, key);
        }
    }

    fn stamp_wanted(&self, key: &ObjectKey) -> Option<Stamp> {
        let Mode::Running { term, group, payload } = &self.mode else {
            return None;
        };
        let document = self
            .items
            .get(key)?
            .document
            .and_then(|index| payload.documents().get(index))?;
        Some(Stamp {
            group: group.clone(),
            term: *term,
            document: document.digest().to_owned(),
        })
    }

    fn vanished(&mut self, now: Duration, key: &ObjectKey) {
        let Some(item) = self.items.get_mut(key) else {
            return;
        };
        let was_right = item.right;
        item.inherited = false;
        (item.seen, item.right, item.expected, item.awaited) = (Seen::Absent, false, None, None);
        item.last_stamp = None;
        item.due = now;
        // What needs it waits for it again.
        item.settled &= !key.is_shareable();
        // Its UID is kept until it is created again: a stop awaits the Pods that it may have left.
        if was_right {
            self.note_drift(now, key);
        }
    }

    /// Decides whether an item has been dealt with, and wakes those that waited for it.
    fn settle(&mut self, now: Duration, key: &ObjectKey) {
        let Mode::Running { .. } = self.mode else { return };
        let Some(item) = self.items.get_mut(key) else {
            return;
        };
        if let (Seen::Foreign(owner), false) = (&item.seen, key.is_shareable()) {
            let message = match owner {
                Some(owner) => {
                    format!("it belongs to the MultiCluster {owner}: remove it from one of the two payloads")
                }
                None => {
                    "it existed before and is not of this payload, so it is neither changed nor deleted: \
                         delete it or rename one of the two"
                        .to_owned()
                }
            };
            let attempts = item.fault.as_ref().map_or(0, |fault| fault.attempts) + 1;
            item.fault = Some(Fault {
                state: ObjectState::Foreign,
                message,
                attempts,
            });
            item.due = now + REFUSED.delay(attempts, &mut self.rng);
        }
        match &item.seen {
            Seen::Foreign(_) if std::mem::take(&mut item.owned) => {
                item.uid = None;
                self.save_due.get_or_insert(now + SAVE_DELAY);
            }
            Seen::Absent if item.document.is_some() && !item.owned => {
                item.owned = true;
                self.save_due.get_or_insert(now + SAVE_DELAY);
            }
            _ => {}
        }
        let tired = item
            .awaited
            .is_some_and(|(since, _)| now.saturating_sub(since) > SERVING_PATIENCE);
        let in_place = item.in_place(key);
        let newly = in_place && !item.settled;
        item.settled |= in_place || tired || item.fault.is_some();
        if newly && key.is_shareable() {
            (self.refresh_due, self.refresh_attempts) = (now, 0);
            for (other, waiting) in &mut self.items {
                let waits = waiting
                    .fault
                    .as_ref()
                    .is_some_and(|fault| fault.state == ObjectState::Unavailable);
                if waits
                    && (key.is_custom_resource_definition() || other.namespace.as_ref() == Some(&key.name))
                {
                    waiting.due = now;
                }
            }
        }
    }

    pub(super) fn no_longer_expect_gone(&mut self, key: &ObjectKey) {
        if let Mode::Stopping(stopping) = &mut self.mode {
            stopping.sweep.objects.remove(key);
        }
    }
}

/// Whether a stop has taken the object's replicas, and the document says none that would bring them back: what the document
/// does not mention is compared with nothing. Given up by us, they are as many as the API server says.
fn is_emptied(key: &ObjectKey, object: &Value, document: &Document) -> bool {
    let says_none = document
        .body()
        .get("spec")
        .is_none_or(|spec| spec["replicas"].is_null());
    says_none
        && fate::has_replicas(key)
        && fate::replicas(object).wanted == 0
        && managers::owns(object, FIELD_MANAGER, ["f:spec", "f:replicas"])
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn is_deleting(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

fn serves(key: &ObjectKey, object: &Value) -> bool {
    if key.is_namespace() {
        return object["status"]["phase"] == "Active";
    }
    if key.is_custom_resource_definition() {
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        return conditions
            .into_iter()
            .any(|c| c["type"] == "Established" && c["status"] == "True");
    }
    true
}

/// Resource versions of one object are compared as numbers where they are numbers, as every API server's are that keeps
/// its objects in etcd; others count as news.
fn is_older(left: &str, right: &str) -> bool {
    matches!((left.parse::<u64>(), right.parse::<u64>()), (Ok(left), Ok(right)) if left < right)
}
