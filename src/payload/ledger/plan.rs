//! What to do next.

use std::time::Duration;

use super::{Action, Fault, Item, Ledger, Mode, SAVE_DELAY, Seen, Step, SweepState};
use crate::{
    api::DemotionPolicy,
    cluster::ObjectKey,
    payload::{
        fate::Fate,
        inventory::OBJECTS_MAX,
        rank::{Rank, Stage},
        status::ObjectState,
    },
};

/// How long what runs processes waits for what must go before it. Longer, and a finalizer on an Ingress, say, would keep
/// a second copy of the application running.
const WORKLOAD_PATIENCE: Duration = Duration::from_secs(2);

/// The requests to make now, and when to plan again if nothing happens before.
#[derive(Debug, Default, PartialEq)]
pub(in crate::payload) struct Plan {
    pub(in crate::payload) actions: Vec<Action>,
    pub(in crate::payload) again_at: Option<Duration>,
}

impl Plan {
    fn wait_until(&mut self, time: Duration) {
        self.again_at = Some(self.again_at.map_or(time, |earlier| earlier.min(time)));
    }
}

/// The next step with one object.
#[derive(Debug, PartialEq)]
enum Next {
    Nothing,
    WaitUntil(Duration),
    Step(Step),
}

impl Ledger {
    /// Plans up to `slots` requests about objects. `claimed` tells whether a claim allows writes now.
    pub(in crate::payload) fn plan(&mut self, now: Duration, slots: usize, claimed: bool) -> Plan {
        let mut plan = Plan::default();
        let mut slots = slots;
        self.unclaimed = false;
        match &self.mode {
            Mode::Held => {}
            Mode::Running { .. } => {
                if self.superseded().is_some() {
                    self.plan_looks(now, &mut slots, &mut plan);
                } else {
                    let in_place = self.plan_writes(now, &mut slots, claimed, &mut plan);
                    self.conclude_removals(now, |item| item.document.is_none());
                    // Without room in the inventory the rest will not be in place before they have gone.
                    if in_place || self.entries() > OBJECTS_MAX {
                        self.plan_removals(now, &mut slots, &mut plan, |item| item.document.is_none());
                    }
                }
            }
            Mode::Stopping(_) if self.warning().is_some() => {}
            Mode::Stopping(_) => {
                self.search();
                self.conclude_removals(now, |_| true);
                self.plan_removals(now, &mut slots, &mut plan, |_| true);
                self.plan_sweep(now, &mut plan);
            }
        }
        self.plan_save(now, &mut plan);
        plan
    }

    /// Plans what puts the payload in place, and tells whether all of it is.
    fn plan_writes(&mut self, now: Duration, slots: &mut usize, claimed: bool, plan: &mut Plan) -> bool {
        let mut in_place = true;
        let mut open: Option<Rank> = None;
        for key in self.sequence.clone().iter() {
            let Some(item) = self.items.get(key).filter(|item| item.document.is_some()) else {
                continue;
            };
            in_place &= item.in_place(key);
            let is_early = open.is_some_and(|open| item.rank > open);
            if !item.settled {
                if is_early {
                    continue;
                }
                open = Some(item.rank);
            }
            let step = match next_write(item, key, now) {
                Next::Nothing => continue,
                Next::WaitUntil(time) => {
                    plan.wait_until(time);
                    continue;
                }
                Next::Step(step) => step,
            };
            // What is written says its version, so no other will do.
            if self.kinds.get(key, &item.version).is_none() {
                self.plan_refresh(now, plan);
                self.note_unknown_kind(key);
                continue;
            }
            let version = item.version.clone();
            if step.needs_claim() && !claimed {
                self.unclaimed = true;
                continue;
            }
            if step.needs_claim() && !self.saved_keys.contains(key) {
                self.save_due = Some(self.save_failure.as_ref().and(self.save_due).unwrap_or(now));
                continue;
            }
            self.take_step(key, version, step, slots, plan);
        }
        in_place
    }

    /// Plans to look at what may bear a higher term no more. Nothing else happens until it is known.
    fn plan_looks(&mut self, now: Duration, slots: &mut usize, plan: &mut Plan) {
        for key in self.sequence.clone().iter() {
            let Some(item) = self.items.get(key) else { continue };
            if item.busy
                || item.seen != Seen::Unsure
                || !item.stamp().is_some_and(|stamp| self.is_higher(stamp))
            {
                continue;
            }
            if now < item.due {
                plan.wait_until(item.due);
                continue;
            }
            match self.kinds.resolve(key, &item.version) {
                Some((version, _)) => self.take_step(key, version, Step::Look, slots, plan),
                None => self.plan_refresh(now, plan),
            }
        }
    }

    fn note_unknown_kind(&mut self, key: &ObjectKey) {
        let known = self.refreshed || !self.kinds.is_empty();
        let Some(item) = self.items.get_mut(key) else {
            return;
        };
        item.settled = known;
        if known {
            let message = format!(
                "the API server knows no {} of version {}: install what defines it, or correct `apiVersion` and `kind`",
                key.group_kind(),
                item.version
            );
            item.fault = Some(Fault {
                state: ObjectState::UnknownKind,
                message,
                attempts: 0,
            });
        }
    }

    fn take_step(
        &mut self,
        key: &ObjectKey,
        version: String,
        step: Step,
        slots: &mut usize,
        plan: &mut Plan,
    ) {
        let Some(left) = slots.checked_sub(1) else { return };
        *slots = left;
        if let Some(item) = self.items.get_mut(key) {
            item.busy = true;
        }
        plan.actions.push(Action::Step {
            key: key.clone(),
            version,
            step,
        });
    }

    fn plan_refresh(&mut self, now: Duration, plan: &mut Plan) {
        if self.refreshing {
            return;
        }
        if now < self.refresh_due {
            return plan.wait_until(self.refresh_due);
        }
        self.refreshing = true;
        let to_go = self
            .items
            .iter()
            .filter(|(_, item)| item.document.is_none() && !item.is_removed());
        let doubted = to_go
            .filter(|(key, item)| !self.kinds.is_empty() && self.kinds.lacks(key, &item.version))
            .map(|(key, _)| key.group.clone());
        plan.actions.push(Action::RefreshKinds(doubted.collect()));
    }

    /// Draws the conclusions from what was seen of the objects that are to go: which are gone, which are not ours (any
    /// more), which stay.
    fn conclude_removals(&mut self, now: Duration, is_to_go: impl Fn(&Item) -> bool) {
        let policy = self.policy();
        let mut changed = false;
        for (key, item) in &mut self.items {
            if item.busy || item.is_removed() || !is_to_go(item) {
                continue;
            }
            item.maybe_until = item.maybe_until.filter(|until| {
                if now >= *until && !matches!(item.seen, Seen::Ours(_)) {
                    item.seen = Seen::Unsure;
                }
                now < *until
            });
            if self.told_groups.contains(&key.group) && self.kinds.lacks(key, &item.version) {
                // With its kind, every object of it is gone.
                (item.seen, item.maybe_until) = (Seen::Absent, None);
            }
            if !item.maybe_created && !matches!(item.seen, Seen::Ours(_)) {
                (item.seen, item.fault) = (Seen::Absent, None);
            }
            match &item.seen {
                Seen::Unknown | Seen::Unsure | Seen::Unmarked => continue,
                Seen::Absent if item.maybe_until.is_some() => continue,
                Seen::Absent => item.owned = false,
                Seen::Foreign(_) => {
                    item.owned = false;
                    if let (Mode::Stopping(stopping), Some(namespace)) = (&mut self.mode, &key.namespace)
                        && let Some(owners) = stopping.sweep.owners.get_mut(namespace)
                    {
                        // What is owned under this name now is not ours.
                        owners.unlearned.remove(key);
                    }
                    if !item.suspected {
                        let message = "left alone: it bears our mark no more".to_owned();
                        item.fault = Some(Fault {
                            state: ObjectState::Released,
                            message,
                            attempts: 0,
                        });
                    }
                }
                Seen::Ours(live) => {
                    let is_scaled = match item.fate(key, policy) {
                        Some(Fate::Kept) => false,
                        Some(Fate::ScaledToZero)
                            if !live.deleting && live.replicas.is_some_and(|replicas| replicas.none_left) =>
                        {
                            true
                        }
                        _ => continue,
                    };
                    (item.kept, item.scaled) = (true, is_scaled);
                    if let Mode::Stopping(stopping) = &mut self.mode {
                        stopping.sweep.objects.remove(key);
                        if let (Some(namespace), Some(uid)) = (&key.namespace, &item.uid)
                            && let Some(owners) = stopping.sweep.owners.get_mut(namespace)
                        {
                            owners.uids.remove(uid);
                            // What it owns stays with it, also where the order came before its UID was known.
                            owners.unlearned.remove(key);
                            if is_scaled {
                                owners.scaled.insert(uid.clone());
                            }
                        }
                    }
                }
            }
            changed = true;
        }
        if changed {
            self.save_due.get_or_insert(now + SAVE_DELAY);
            let running = matches!(self.mode, Mode::Running { .. });
            // What was released is shown until the next order; what is gone is not.
            self.items.retain(|_, item| {
                item.owned
                    || item.busy
                    || item.document.is_some()
                    || (running || !item.suspected) && item.fault.is_some()
            });
            self.sort();
        }
    }

    fn plan_removals(
        &mut self,
        now: Duration,
        slots: &mut usize,
        plan: &mut Plan,
        is_to_go: impl Fn(&Item) -> bool,
    ) {
        let policy = self.policy();
        // The stage of what is still to go, and whether workloads wait for it no longer.
        let mut open: Option<(Stage, bool)> = None;
        for key in self.sequence.clone().iter().rev() {
            let Some(item) = self
                .items
                .get(key)
                .filter(|item| is_to_go(item) && !item.is_removed())
            else {
                continue;
            };
            if let (Seen::Absent, Some(until), false) = (&item.seen, item.maybe_until, item.busy) {
                // A creation without an answer may still take effect. Until then the rest must not run on.
                plan.wait_until(until);
                continue;
            }
            let stage = item.rank.stage();
            if let Some((open, is_passable)) = open
                && stage < open
                && !(is_passable && stage >= Stage::Configuration)
            {
                break;
            }
            let patient_until = item
                .awaited
                .filter(|_| stage == Stage::Extensions)
                .map(|(since, _)| since + WORKLOAD_PATIENCE);
            let is_passable = patient_until.is_some_and(|until| now >= until);
            if let Some(until) = patient_until.filter(|until| now < *until) {
                plan.wait_until(until);
            }
            open = Some((stage, is_passable && open.is_none_or(|(_, before)| before)));
            let step = match next_removal(item, key, policy, now) {
                Next::Nothing => continue,
                Next::WaitUntil(time) => {
                    plan.wait_until(time);
                    continue;
                }
                Next::Step(step) => step,
            };
            match self.kinds.resolve(key, &item.version) {
                Some((version, _)) => self.take_step(key, version, step, slots, plan),
                None => self.plan_refresh(now, plan),
            }
        }
        if matches!(&self.mode, Mode::Stopping(stopping) if stopping.search.is_some()) {
            self.plan_refresh(now, plan);
        }
    }

    fn plan_sweep(&mut self, now: Duration, plan: &mut Plan) {
        let is_busy = self.items.values().any(|item| item.busy || !item.is_removed());
        let Mode::Stopping(stopping) = &mut self.mode else {
            return;
        };
        if is_busy || stopping.search.is_some() {
            return;
        }
        match stopping.state {
            SweepState::UnderWay | SweepState::Clean => {}
            SweepState::DueAt(time) if now < time => plan.wait_until(time),
            SweepState::Due if stopping.sweep.is_empty() => stopping.state = SweepState::Clean,
            SweepState::Due | SweepState::DueAt(_) => {
                stopping.state = SweepState::UnderWay;
                plan.actions.push(Action::Sweep(stopping.sweep.clone()));
            }
        }
    }

    fn plan_save(&mut self, now: Duration, plan: &mut Plan) {
        if self.fence().is_some() {
            // The list is another member's.
            return;
        }
        let Some(due) = self.save_due.filter(|_| !self.saving) else {
            return;
        };
        if now < due {
            return plan.wait_until(due);
        }
        self.save_due = None;
        let inventory = self.inventory();
        if inventory != self.saved && inventory.entries.len() <= OBJECTS_MAX {
            self.saving = true;
            plan.actions.push(Action::Save(inventory));
        }
    }
}

fn next_write(item: &Item, key: &ObjectKey, now: Duration) -> Next {
    if item.busy {
        return Next::Nothing;
    }
    let step = match &item.seen {
        // What was created before is looked at; what was not is created at once, which fails if it exists.
        Seen::Unknown if item.uid.is_some() => Step::Look,
        Seen::Unknown | Seen::Absent => Step::Create,
        Seen::Unsure | Seen::Unmarked => Step::Look,
        Seen::Foreign(_) if key.is_shareable() => return Next::Nothing,
        Seen::Foreign(_) => Step::Look,
        Seen::Ours(live) if live.deleting => Step::Look,
        Seen::Ours(live) if !item.right && live.needs_upgrade => Step::Upgrade {
            uid: live.uid.clone(),
            resource_version: live.resource_version.clone(),
        },
        Seen::Ours(live) if !item.right => Step::Apply {
            uid: live.uid.clone(),
            resource_version: live.resource_version.clone(),
        },
        Seen::Ours(live) if !live.serves => Step::Look,
        Seen::Ours(_) => return Next::Nothing,
    };
    if now < item.due {
        Next::WaitUntil(item.due)
    } else {
        Next::Step(step)
    }
}

fn next_removal(item: &Item, key: &ObjectKey, policy: Option<DemotionPolicy>, now: Duration) -> Next {
    if item.busy {
        return Next::Nothing;
    }
    let step = match &item.seen {
        Seen::Unknown | Seen::Unsure | Seen::Unmarked => Step::Look,
        Seen::Ours(live) if live.deleting => Step::Look,
        Seen::Ours(live) if item.fate(key, policy) == Some(Fate::ScaledToZero) => match live.replicas {
            Some(replicas) if replicas.wanted != 0 => Step::Scale {
                resource_version: live.resource_version.clone(),
            },
            _ => Step::Look,
        },
        Seen::Ours(_) if key.is_namespace() && !item.empty => Step::ListContents,
        Seen::Ours(_) if key.is_custom_resource_definition() && !item.empty => Step::ListCustomResources,
        Seen::Ours(live) => Step::Delete {
            uid: live.uid.clone(),
            resource_version: live.resource_version.clone(),
            foreground: item.rank.may_own_processes(),
        },
        Seen::Absent | Seen::Foreign(_) => return Next::Nothing,
    };
    if now < item.due {
        Next::WaitUntil(item.due)
    } else {
        Next::Step(step)
    }
}
