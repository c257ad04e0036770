//! How far things are, in words.

use std::time::Duration;

use super::{Item, Ledger, Mode, Seen, SweepState, trouble::REPAIRS_AT_ONCE};
use crate::cluster::ObjectKey;
use crate::payload::{
    fate::Fate,
    health::{Finding, Health},
    inventory::OBJECTS_MAX,
    mark::TERM_ANNOTATION,
    status::{ObjectState, ObjectStatus, Phase, Status},
};

/// An object that is not gone by then is reported as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// A removal that failed so often in a row is reported as stuck: some half a second.
const FAILURES_TO_STUCK: u32 = 3;

impl Ledger {
    /// The state to publish.
    pub(in crate::payload) fn status(&self, now: Duration) -> Status {
        let mut objects = self.object_statuses(now);
        if let Mode::Stopping(stopping) = &self.mode {
            let is_stuck = stopping
                .dependents_since
                .is_some_and(|since| now.saturating_sub(since) >= STUCK_AFTER);
            objects.extend(stopping.dependents.iter().map(|key| ObjectStatus {
                key: key.clone(),
                version: String::new(),
                document: None,
                state: if is_stuck {
                    ObjectState::Stuck
                } else {
                    ObjectState::Deleting
                },
                message: "it belongs, by its owner, to a workload that was deleted, and has not ended yet; see its \
                          grace period, its finalizers and its node"
                    .to_owned(),
                health: None,
            }));
        }
        Status {
            order: self.number,
            phase: self.phase(&objects),
            health: matches!(self.mode, Mode::Running { .. }).then(|| overall(&objects)),
            objects,
            repairs: self.repairs,
            term: match &self.mode {
                Mode::Running { term, .. } => Some(*term),
                Mode::Stopping(_) | Mode::Held => self.fence().and_then(|fence| fence.found),
            },
        }
    }

    fn phase(&self, objects: &[ObjectStatus]) -> Phase {
        let any = |states: &[ObjectState]| objects.iter().any(|object| states.contains(&object.state));
        if let Some(reason) = self.warning() {
            return Phase::WarnedOff { reason };
        }
        match &self.mode {
            Mode::Held => Phase::Held,
            Mode::Stopping(stopping) if stopping.state == SweepState::Clean => Phase::Stopped,
            Mode::Stopping(stopping) => {
                let is_stuck = any(&[ObjectState::Stuck, ObjectState::Forbidden, ObjectState::Rejected])
                    || stopping.search.is_some() && self.is_discovery_stuck();
                match stopping.failure.is_some() || is_stuck {
                    true => Phase::CannotStop {
                        reason: self.stop_obstacle(objects),
                    },
                    false => Phase::Stopping,
                }
            }
            Mode::Running { .. } => {
                if let Some((object, term)) = self.superseded() {
                    return Phase::Superseded {
                        object: object.clone(),
                        term,
                    };
                }
                let listed = self.entries();
                if listed > OBJECTS_MAX {
                    return Phase::TooLarge { objects: listed };
                }
                if let Some(failure) = &self.save_failure {
                    return Phase::InventoryUnsaved {
                        reason: failure.message.clone(),
                    };
                }
                let is_fine = |state: ObjectState| {
                    matches!(
                        state,
                        ObjectState::Applied | ObjectState::Used | ObjectState::Kept | ObjectState::Released
                    )
                };
                let is_going = |state| matches!(state, ObjectState::Pruning | ObjectState::Deleting);
                if objects.iter().all(|object| is_fine(object.state)) {
                    Phase::Applied
                } else if self.unclaimed {
                    Phase::Unclaimed
                } else if any(&[ObjectState::Pending, ObjectState::Establishing])
                    || objects
                        .iter()
                        .all(|object| is_fine(object.state) || is_going(object.state))
                {
                    Phase::Applying
                } else {
                    Phase::Incomplete
                }
            }
        }
    }

    /// Whether a stop takes it to no replicas instead of deleting it.
    fn is_scaled(&self, key: &ObjectKey, item: &Item) -> bool {
        matches!(self.mode, Mode::Stopping(_)) && item.fate(key, self.policy()) == Some(Fate::ScaledToZero)
    }

    /// Why changes by others are not noticed, if they are not.
    fn blindness(&self, key: &ObjectKey, item: &Item) -> String {
        if self.refused_watches.is_empty() {
            return String::new();
        }
        let refusal = self
            .watched_kind(key, item)
            .and_then(|watched| self.refused_watches.get(&watched));
        refusal.map_or_else(String::new, |refusal| {
            format!(
                "in place, but if others change it that is not noticed: {refusal}: grant this to that account"
            )
        })
    }

    fn is_discovery_stuck(&self) -> bool {
        self.refresh_failure
            .as_ref()
            .is_some_and(|(_, attempts)| *attempts >= FAILURES_TO_STUCK)
    }

    fn stop_obstacle(&self, objects: &[ObjectStatus]) -> String {
        let stuck = objects.iter().find(|object| {
            matches!(
                object.state,
                ObjectState::Stuck | ObjectState::Forbidden | ObjectState::Rejected
            )
        });
        match (&self.mode, stuck) {
            (_, Some(object)) => format!("{}: {}", object.key, object.message),
            (Mode::Stopping(stopping), None) => {
                let discovery = self.refresh_failure.as_ref().map(|(failure, _)| failure);
                format!(
                    "cannot list what may be left: {}",
                    stopping.failure.as_ref().or(discovery).map_or("", String::as_str)
                )
            }
            _ => String::new(),
        }
    }

    fn object_statuses(&self, now: Duration) -> Vec<ObjectStatus> {
        let mut wanted = Vec::new();
        let mut others = Vec::new();
        for key in self.sequence.iter() {
            // What is only looked for is nobody's concern, unless a person has to do something before it can be.
            let is_told = |item: &&Item| {
                let fault = item.fault.as_ref();
                !item.suspected || fault.is_some_and(|fault| fault.state == ObjectState::Forbidden)
            };
            let Some(item) = self.items.get(key).filter(is_told) else {
                continue;
            };
            let (state, message) = self.object_state(key, item, now);
            let status = ObjectStatus {
                key: key.clone(),
                version: item.version.clone(),
                document: None,
                state,
                message,
                health: item.document.and(item.live()).map(|live| live.health.clone()),
            };
            match item.document {
                Some(index) => wanted.push((index, status)),
                None => others.push(status),
            }
        }
        if let Mode::Running { payload, .. } = &self.mode {
            let mut first = vec![false; payload.documents().len()];
            for (index, status) in &mut wanted {
                first[*index] = true;
                status.document = Some(payload.documents()[*index].number);
            }
            for (index, document) in payload
                .documents()
                .iter()
                .enumerate()
                .filter(|(index, _)| !first[*index])
            {
                let status = ObjectStatus {
                    key: document.key.clone(),
                    version: document.version.clone(),
                    document: Some(document.number),
                    state: ObjectState::Rejected,
                    message: format!(
                        "another document is the same object, since objects without a namespace go to {}: remove one",
                        self.owner.namespace
                    ),
                    health: None,
                };
                wanted.push((index, status));
            }
        }
        wanted.sort_by_key(|(index, _)| *index);
        wanted
            .into_iter()
            .map(|(_, status)| status)
            .chain(others)
            .collect()
    }

    fn object_state(&self, key: &ObjectKey, item: &Item, now: Duration) -> (ObjectState, String) {
        let calm = |state| (state, String::new());
        if item.kept {
            let message = match &item.fault {
                Some(fault) => fault.message.clone(),
                None if item.scaled => {
                    "left in place without replicas; it gets its replicas back when this cluster leads"
                        .to_owned()
                }
                None => "left in place by policy; it is taken up again when this cluster leads".to_owned(),
            };
            return (ObjectState::Kept, message);
        }
        if let Mode::Running { term, .. } = &self.mode
            && let Some(stamp) = item.stamp()
            && self.is_higher(stamp)
        {
            return (ObjectState::Superseded, superseded(stamp.term, *term));
        }
        let running = matches!(self.mode, Mode::Running { .. });
        if let Some(fault) = &item.fault {
            let is_stuck =
                !running && fault.state == ObjectState::Unavailable && fault.attempts >= FAILURES_TO_STUCK;
            return (
                if is_stuck { ObjectState::Stuck } else { fault.state },
                fault.message.clone(),
            );
        }
        if let Some((failure, _)) = &self.refresh_failure
            && self.kinds.resolve(key, &item.version).is_none()
            && !matches!(self.mode, Mode::Held)
        {
            let is_stuck = !running && self.is_discovery_stuck();
            return (
                if is_stuck {
                    ObjectState::Stuck
                } else {
                    ObjectState::Unavailable
                },
                failure.clone(),
            );
        }
        let awaited_long = item
            .awaited
            .filter(|(since, _)| now.saturating_sub(*since) >= STUCK_AFTER);
        match &item.seen {
            _ if running && item.document.is_none() => match &item.seen {
                Seen::Ours(live) if live.deleting => removal_state(&live.finalizers, awaited_long.is_some()),
                _ => (
                    ObjectState::Pruning,
                    "removed once the payload is in place".to_owned(),
                ),
            },
            Seen::Ours(live) if !running && live.deleting => {
                removal_state(&live.finalizers, awaited_long.is_some())
            }
            Seen::Ours(_) if self.is_scaled(key, item) => scaling_state(awaited_long.is_some()),
            _ if !running => calm(if matches!(self.mode, Mode::Held) {
                ObjectState::Pending
            } else {
                ObjectState::Deleting
            }),
            Seen::Ours(live) if live.deleting => (ObjectState::Terminating, terminating(&live.finalizers)),
            Seen::Ours(live) if item.right && !live.serves => {
                let message = if awaited_long.is_some() {
                    "it does not become ready to use; see its conditions"
                } else {
                    ""
                };
                (ObjectState::Establishing, message.to_owned())
            }
            Seen::Ours(_) if item.right => (ObjectState::Applied, self.blindness(key, item)),
            Seen::Foreign(_) if key.is_shareable() => calm(ObjectState::Used),
            _ if item.repair.count > REPAIRS_AT_ONCE && item.repair.under_way => (
                ObjectState::Contested,
                format!(
                    "somebody keeps changing it ({} times in a row); remove the fields that are theirs from the payload",
                    item.repair.count
                ),
            ),
            _ => calm(ObjectState::Pending),
        }
    }
}

/// What is to be known of an object that a later leader wrote, or that somebody has marked so.
fn superseded(found: u64, ours: u64) -> String {
    format!(
        "it bears term {found} of this group and this member leads in term {ours}, so it is not written, nor is anything else: \
         whoever leads in the higher term keeps it. If nobody does, somebody has changed the annotation {TERM_ANNOTATION}: \
         take it off the object"
    )
}

/// Somebody deleted it, or this member did, before it was told to go on.
fn terminating(finalizers: &[String]) -> String {
    let mut message = "it is being deleted, and is created again when it is gone".to_owned();
    if !finalizers.is_empty() {
        message.push_str("; its finalizers keep it: ");
        message.push_str(&finalizers.join(", "));
    }
    message
}

fn scaling_state(is_stuck: bool) -> (ObjectState, String) {
    match is_stuck {
        false => (ObjectState::ScalingDown, String::new()),
        true => (
            ObjectState::Stuck,
            "it is to have no replicas, and its controller still counts some or has not looked at it; see its Pods, their grace \
             periods, and the cluster's kube-controller-manager"
                .to_owned(),
        ),
    }
}

/// How the payload does as a whole: as the worst of its objects does.
fn overall(objects: &[ObjectStatus]) -> Health {
    let wanted = objects.iter().filter(|object| object.document.is_some());
    let each = wanted.map(|object| match object.state {
        ObjectState::Used => Health::Healthy,
        ObjectState::Applied | ObjectState::Contested | ObjectState::Superseded => object
            .health
            .as_ref()
            .map_or(Health::Progressing, |Finding { health, .. }| *health),
        ObjectState::UnknownKind | ObjectState::Foreign | ObjectState::Rejected | ObjectState::Forbidden => {
            Health::Unhealthy
        }
        // It waits for its turn, or for an API server; the other states are of objects that are to go.
        _ => Health::Progressing,
    });
    each.max().unwrap_or(Health::Healthy)
}

fn removal_state(finalizers: &[String], is_stuck: bool) -> (ObjectState, String) {
    if !is_stuck {
        return (ObjectState::Deleting, String::new());
    }
    let message = match finalizers {
        [] => "it was asked to end and has not yet; see its Pods and their grace periods".to_owned(),
        [only] if only == "foregroundDeletion" => {
            "it waits for what it owns to end; see its Pods and their grace periods".to_owned()
        }
        _ => format!(
            "its finalizers keep it: {}; see the controllers that they belong to",
            finalizers.join(", ")
        ),
    };
    (ObjectState::Stuck, message)
}
