//! What is wanted, owned, seen and under way, and what is to be done next: the decisions of a runner, without its input
//! and output.
//!
//! Events (orders, answers, watch events, the passing of time) change the ledger; [`Ledger::plan`] then tells the requests
//! to make. It is level-triggered: each plan follows from the state alone, so a lost or repeated event delays at most.

mod item;
mod observe;
mod plan;
mod report;
mod step;
#[cfg(test)]
mod tests;
mod trouble;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

pub(super) use plan::Plan;
pub(super) use step::{Action, Failure, Outcome, Owners, Step, Sweep, Swept, WatchedKind};

use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::{Map, Value};

use item::{Fault, Item, Live, Seen};

use super::{
    decode::{Document, Payload},
    fate::Fate,
    inventory::{Entry, Inventory, OBJECTS_MAX},
    mark::{self, Owner, Stamp},
    order::{NumberedOrder, Order},
    status::ObjectState,
};
use crate::api::DemotionPolicy;
use crate::cluster::{Kinds, ObjectKey, SERVER_TIMEOUT_MAX, latest_effect};

/// The state of a runner.
#[derive(Debug)]
pub(super) struct Ledger {
    owner: Owner,
    rng: StdRng,
    kinds: Arc<Kinds>,
    number: u64,
    mode: Mode,
    items: BTreeMap<ObjectKey, Item>,
    /// The items in the order of creation.
    sequence: Arc<[ObjectKey]>,
    /// The inventory as it was saved last.
    saved: Inventory,
    saved_keys: BTreeSet<ObjectKey>,
    saving: bool,
    /// When it is saved next, if it has changed.
    save_due: Option<Duration>,
    save_failure: Option<Fault>,
    refreshing: bool,
    /// When the kinds may be asked for next, should one not be known.
    refresh_due: Duration,
    refresh_attempts: u32,
    /// Why the kinds were not told the last time, and how often in a row.
    refresh_failure: Option<(String, u32)>,
    /// The watches that are not permitted, and what the API server says about it.
    refused_watches: BTreeMap<WatchedKind, String>,
    /// Whether the kinds were told since the newest order.
    refreshed: bool,
    /// The groups of which the API server was found to have told all kinds, if there are any.
    told_groups: BTreeSet<String>,
    /// Whether a write waits for a claim.
    unclaimed: bool,
    /// Whether a stop has looked for the payload's objects that no inventory lists.
    searched: bool,
    repairs: u64,
}

#[derive(Debug)]
enum Mode {
    Held,
    Running {
        term: u64,
        group: String,
        payload: Arc<Payload>,
    },
    Stopping(Stopping),
}

#[derive(Debug, Default)]
struct Stopping {
    policy: DemotionPolicy,
    sweep: Sweep,
    state: SweepState,
    attempts: u32,
    /// The payload to look for beyond the inventory, until its kinds are known.
    search: Option<Arc<Payload>>,
    /// Pods and owners of Pods that are still there.
    dependents: Vec<ObjectKey>,
    /// Since when there are some.
    dependents_since: Option<Duration>,
    failure: Option<String>,
    /// What is another member's.
    fence: Option<Box<Fence>>,
}

/// A removal in another member's place.
#[derive(Debug)]
struct Fence {
    group: String,
    /// What bears a higher one is not touched.
    term: u64,
    /// The highest that was found.
    found: Option<u64>,
    /// What came back after it was removed.
    returned: Option<ObjectKey>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum SweepState {
    #[default]
    Due,
    /// To be made again at this time.
    DueAt(Duration),
    UnderWay,
    Clean,
}

impl Ledger {
    /// A ledger that begins with what was saved last.
    pub(super) fn new(now: Duration, owner: Owner, inventory: Inventory, rng: StdRng) -> Self {
        let mut items = BTreeMap::new();
        for (place, entry) in inventory.entries.iter().enumerate() {
            let mut item = Item::new(&entry.key, &entry.version, place);
            (item.owned, item.maybe_created, item.inherited) = (true, true, true);
            // The process that saved it may have ended with a creation of it under way.
            item.maybe_until = Some(latest_effect(now, SERVER_TIMEOUT_MAX));
            item.kept = entry.kept;
            item.uid.clone_from(&entry.uid);
            items.insert(entry.key.clone(), item);
        }
        let mut ledger = Self {
            owner,
            rng,
            kinds: Arc::default(),
            number: 0,
            mode: Mode::Held,
            items,
            sequence: Arc::default(),
            saved_keys: inventory.entries.iter().map(|entry| entry.key.clone()).collect(),
            saved: inventory,
            saving: false,
            save_due: None,
            save_failure: None,
            refreshing: false,
            refresh_due: Duration::ZERO,
            refresh_attempts: 0,
            refresh_failure: None,
            refused_watches: BTreeMap::new(),
            refreshed: false,
            told_groups: BTreeSet::new(),
            unclaimed: false,
            searched: false,
            repairs: 0,
        };
        ledger.sort();
        ledger
    }

    /// What is saved first when this payload is to run; none if it cannot be listed.
    pub(super) fn foresee(
        owner: Owner,
        kinds: Arc<Kinds>,
        saved: Inventory,
        payload: Arc<Payload>,
    ) -> Option<Inventory> {
        let now = Duration::ZERO;
        let mut ledger = Self::new(now, owner, saved, StdRng::seed_from_u64(0));
        ledger.kinds(now, kinds);
        let order = Order::Run {
            term: 0,
            group: String::new(),
            payload,
        };
        ledger.order(now, NumberedOrder { number: 0, order });
        let inventory = ledger.inventory();
        (inventory.entries.len() <= OBJECTS_MAX).then_some(inventory)
    }

    /// A new order. What is under way is finished first.
    pub(super) fn order(&mut self, now: Duration, numbered: NumberedOrder) {
        self.number = numbered.number;
        (self.unclaimed, self.refreshed) = (false, false);
        self.told_groups.clear();
        self.refused_watches.clear();
        self.refresh_due = now;
        if !matches!(
            (&self.mode, &numbered.order),
            (Mode::Running { .. }, Order::Run { .. } | Order::Stop { .. })
        ) {
            // Nothing was watched, so nothing that was seen before can be relied on.
            self.forget_what_was_seen();
        }
        for item in self.items.values_mut() {
            (item.fault, item.due) = (None, now);
            (item.settled, item.awaited, item.empty) = (false, None, false);
        }
        match numbered.order {
            Order::Hold => {
                self.mode = Mode::Held;
            }
            Order::Run { term, group, payload } => {
                self.mode = Mode::Running { term, group, payload };
                self.lay_out(now);
            }
            Order::Stop { policy, payload } => {
                let stopping = Stopping {
                    policy,
                    ..Stopping::default()
                };
                self.stop(stopping, payload);
            }
            Order::Fence {
                term,
                group,
                policy,
                payload,
            } => {
                for item in self.items.values_mut() {
                    // Without a claim no creation takes effect any more.
                    item.maybe_until = None;
                }
                let fence = Fence {
                    group,
                    term,
                    found: None,
                    returned: None,
                };
                let stopping = Stopping {
                    policy,
                    fence: Some(Box::new(fence)),
                    ..Stopping::default()
                };
                self.stop(stopping, payload);
            }
        }
    }

    fn stop(&mut self, mut stopping: Stopping, payload: Option<Arc<Payload>>) {
        if !self.searched {
            self.searched = payload.is_some();
            stopping.search = payload;
        }
        self.mode = Mode::Stopping(stopping);
        for item in self.items.values_mut() {
            (item.document, item.kept, item.scaled) = (None, false, false);
        }
        self.drop_finished();
        for key in self.sequence.clone().iter() {
            self.expect_gone(key);
        }
    }

    /// The kinds of the API server, as they are known now.
    pub(super) fn kinds(&mut self, now: Duration, kinds: Arc<Kinds>) {
        if self.kinds == kinds {
            return;
        }
        self.kinds = kinds;
        self.told_groups.clear();
        for item in self.items.values_mut() {
            if item
                .fault
                .as_ref()
                .is_some_and(|fault| fault.state == ObjectState::UnknownKind)
            {
                (item.fault, item.due) = (None, now);
            }
        }
        self.lay_out(now);
    }

    /// What is worth watching: the kinds and namespaces of what is owned. Nothing is watched while nothing is run or
    /// removed.
    pub(super) fn watches(&self) -> BTreeSet<WatchedKind> {
        match &self.mode {
            Mode::Held => return BTreeSet::new(),
            Mode::Stopping(stopping) if stopping.state == SweepState::Clean => return BTreeSet::new(),
            Mode::Stopping(_) | Mode::Running { .. } => {}
        }
        self.items
            .iter()
            .filter(|(_, item)| item.owned && !item.suspected && item.maybe_created)
            .filter_map(|(key, item)| self.watched_kind(key, item))
            .collect()
    }

    /// By which watch changes of the object are noticed; none if its kind cannot be watched.
    fn watched_kind(&self, key: &ObjectKey, item: &Item) -> Option<WatchedKind> {
        let (version, kind) = self.kinds.resolve(key, &item.version)?;
        kind.watchable.then(|| WatchedKind {
            group: key.group.clone(),
            version,
            kind: key.kind.clone(),
            plural: kind.plural.clone(),
            namespace: key.namespace.clone(),
        })
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.mode, Mode::Running { .. })
    }

    /// The object that bears a higher term of this group than the order, and that term, if there is one. It was written for
    /// a leader that was elected later, so nothing is written until it bears it no more, or until an order has that term.
    fn superseded(&self) -> Option<(&ObjectKey, u64)> {
        self.items.iter().find_map(|(key, item)| {
            let stamp = item.stamp()?;
            self.is_higher(stamp).then_some((key, stamp.term))
        })
    }

    /// Whether this stamp is of a higher term of the same group than the order's. Terms of other groups say nothing.
    fn is_higher(&self, stamp: &Stamp) -> bool {
        matches!(&self.mode, Mode::Running { term, group, .. } if stamp.group == *group && stamp.term > *term)
    }

    fn fence(&self) -> Option<&Fence> {
        match &self.mode {
            Mode::Stopping(stopping) => stopping.fence.as_deref(),
            Mode::Held | Mode::Running { .. } => None,
        }
    }

    /// Why nothing more of another member's payload is to be removed: its controller is at work.
    fn warning(&self) -> Option<String> {
        let fence = self.fence()?;
        if let Some(key) = &fence.returned {
            return Some(format!("{key} is there again after it was removed"));
        }
        self.items.iter().find_map(|(key, item)| {
            let stamp = &item.live()?.stamp;
            if item.fate(key, self.policy()) == Some(Fate::Kept) {
                // It is left as it is, whosever it is by now.
                None
            } else if stamp.group != fence.group {
                Some(format!("{key} bears the mark of another group"))
            } else if stamp.term > fence.term {
                Some(format!("{key} bears the higher term {}", stamp.term))
            } else {
                None
            }
        })
    }

    /// By which policy objects go; none while only what the payload drops does.
    fn policy(&self) -> Option<DemotionPolicy> {
        match &self.mode {
            Mode::Stopping(stopping) => Some(stopping.policy),
            Mode::Held | Mode::Running { .. } => None,
        }
    }

    /// Whether a write waits for a claim, so that a change of the claim matters.
    pub(super) fn waits_for_claim(&self) -> bool {
        self.unclaimed
    }

    /// The object to write, with our marks; none if the payload has it no more.
    pub(super) fn body(&self, key: &ObjectKey) -> Option<Map<String, Value>> {
        let Mode::Running { term, group, payload } = &self.mode else {
            return None;
        };
        let document = self
            .items
            .get(key)?
            .document
            .and_then(|index| payload.documents().get(index))?;
        Some(mark::stamp(document, key, &self.owner, group, *term))
    }

    /// Makes an item of each document, and keeps the items of what is owned besides.
    fn lay_out(&mut self, now: Duration) {
        let Mode::Running { term, group, payload } = &self.mode else {
            return;
        };
        let (term, group, payload) = (*term, group.clone(), payload.clone());
        let before: BTreeMap<_, _> = self
            .items
            .iter_mut()
            .filter_map(|(key, item)| Some((key.clone(), item.document.take()?)))
            .collect();
        for (index, document) in payload.documents().iter().enumerate() {
            let (key, is_place_known) = self.place(document, &payload);
            let item = self
                .items
                .entry(key.clone())
                .or_insert_with(|| Item::new(&key, &document.version, index));
            if item.document.is_some() {
                // Two documents that differ only in that one gives the namespace that the other is put in.
                continue;
            }
            item.document = Some(index);
            (item.place, item.kept, item.scaled) = (index, false, false);
            if std::mem::take(&mut item.suspected) {
                // A stop looked for it; now it is to be there, and is listed like the others. If it is there, a creation
                // finds that out.
                (item.owned, item.maybe_created, item.fault, item.due) = (false, false, None, now);
            }
            item.version.clone_from(&document.version);
            if is_place_known && !matches!(item.seen, Seen::Foreign(_)) && !item.owned {
                item.owned = true;
                self.save_due.get_or_insert(now + SAVE_DELAY);
            }
            let stamp = Stamp {
                group: group.clone(),
                term,
                document: document.digest().to_owned(),
            };
            if let Seen::Ours(live) = &item.seen
                && live.stamp != stamp
            {
                item.right = false;
                if live.stamp.document != stamp.document {
                    item.expected = None;
                }
            }
            if item.in_place(&key) {
                item.settled = true;
            }
        }
        for key in before.keys() {
            if let Some(item) = self.items.get_mut(key).filter(|item| item.document.is_none()) {
                (item.fault, item.due, item.awaited) = (None, now, None);
            }
        }
        self.drop_finished();
    }

    /// Where a document's object is, and whether that is certain: without its kind, its scope is a guess.
    fn place(&self, document: &Document, payload: &Payload) -> (ObjectKey, bool) {
        let namespaced = match self.kinds.get(&document.key, &document.version) {
            Some(kind) => Some(kind.namespaced),
            None => scope_in_payload(&document.key, payload),
        };
        let namespace = namespaced.unwrap_or(true).then(|| {
            document
                .key
                .namespace
                .clone()
                .unwrap_or_else(|| self.owner.namespace.clone())
        });
        (
            ObjectKey {
                namespace,
                ..document.key.clone()
            },
            namespaced.is_some(),
        )
    }

    /// Looks for what the payload's objects would be called, should no inventory list them.
    fn search(&mut self) {
        let Mode::Stopping(stopping) = &mut self.mode else {
            return;
        };
        let Some(payload) = stopping.search.take_if(|_| !self.kinds.is_empty()) else {
            return;
        };
        for (index, document) in payload.documents().iter().enumerate() {
            if self.kinds.get(&document.key, &document.version).is_none() {
                continue;
            }
            let (key, _) = self.place(document, &payload);
            let item = self
                .items
                .entry(key.clone())
                .or_insert_with(|| Item::new(&key, &document.version, index));
            if !item.owned {
                (item.owned, item.suspected, item.maybe_created) = (true, true, true);
            }
        }
        self.sort();
    }

    /// Notes what a sweep must not find any more.
    fn expect_gone(&mut self, key: &ObjectKey) {
        let (Mode::Stopping(stopping), Some(item)) = (&mut self.mode, self.items.get(key)) else {
            return;
        };
        if !item.owned || item.suspected {
            return;
        }
        stopping.sweep.objects.insert(key.clone(), item.version.clone());
        let Some(namespace) = key.namespace.as_ref().filter(|_| item.maybe_created) else {
            return;
        };
        let owners = stopping.sweep.owners.entry(namespace.clone()).or_default();
        owners.have_workloads |= item.rank.is_workload();
        owners.uids.extend(item.uid.clone());
        if item.rank.may_own_processes() {
            owners.names.insert(key.name.clone());
            if item.uid.is_none() {
                owners.unlearned.insert(key.clone());
            }
        }
    }

    fn forget_what_was_seen(&mut self) {
        for item in self.items.values_mut() {
            (item.seen, item.right, item.expected) = (Seen::Unknown, false, None);
            item.last_stamp = None;
        }
    }

    /// Drops what is neither wanted nor owned.
    fn drop_finished(&mut self) {
        self.items
            .retain(|_, item| item.document.is_some() || item.owned || item.busy);
        self.sort();
    }

    fn sort(&mut self) {
        let mut sequence: Vec<_> = self
            .items
            .iter()
            .map(|(key, item)| ((item.rank, item.place), key.clone()))
            .collect();
        sequence.sort();
        self.sequence = sequence.into_iter().map(|(_, key)| key).collect();
    }

    /// How many objects are to be listed in the inventory.
    fn entries(&self) -> usize {
        let listed = self.items.values().filter(|item| item.owned && !item.suspected);
        listed.count()
    }

    /// The inventory as it should be saved.
    fn inventory(&self) -> Inventory {
        let entries = self.sequence.iter().filter_map(|key| {
            let item = self.items.get(key).filter(|item| item.owned && !item.suspected)?;
            Some(Entry {
                key: key.clone(),
                version: item.version.clone(),
                uid: item.uid.clone(),
                kept: item.kept,
            })
        });
        Inventory {
            entries: entries.collect(),
        }
    }
}

/// What is learned about an owned object after its creation is saved with this delay, many changes at once.
const SAVE_DELAY: Duration = Duration::from_millis(500);

/// Whether a kind is namespaced, by the CustomResourceDefinition that the payload itself brings.
pub(super) fn scope_in_payload(key: &ObjectKey, payload: &Payload) -> Option<bool> {
    payload.documents().iter().find_map(|document| {
        let spec = document
            .key
            .is_custom_resource_definition()
            .then(|| document.body().get("spec"))??;
        (spec["group"] == key.group.as_str() && spec["names"]["kind"] == key.kind.as_str())
            .then(|| spec["scope"] == "Namespaced")
    })
}
