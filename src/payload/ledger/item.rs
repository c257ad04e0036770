//! What the ledger remembers of one object.

use std::time::Duration;

use crate::{
    api::DemotionPolicy,
    cluster::ObjectKey,
    payload::{
        fate::{Fate, Replicas, fate},
        health::Finding,
        mark::Stamp,
        project::Projection,
        rank::Rank,
        status::ObjectState,
    },
};

/// One object.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) version: String,
    pub(super) rank: Rank,
    pub(super) place: usize,
    /// Its index in the payload's documents, while the payload has it.
    pub(super) document: Option<usize>,
    /// Whether it is ours, or may be.
    pub(super) owned: bool,
    /// Whether it is looked for without being listed: a stop's search.
    pub(super) suspected: bool,
    /// Whether all that is known of it is what a former process listed.
    pub(super) inherited: bool,
    /// Whether it may have been created by this MultiCluster at any time. What was refused never was, so there is nothing
    /// to look for when the payload drops it.
    pub(super) maybe_created: bool,
    pub(super) kept: bool,
    /// Whether it is kept without replicas.
    pub(super) scaled: bool,
    pub(super) uid: Option<String>,
    /// Whether this process created the object of that UID or saw our mark on it. What was only read from an inventory may
    /// have been written there by anybody.
    pub(super) uid_is_certain: bool,
    pub(super) seen: Seen,
    /// What its mark said when it was seen last; it counts until it has been looked at again.
    pub(super) last_stamp: Option<Stamp>,
    /// What it looked like, on the fields that we wrote, when it was right.
    pub(super) expected: Option<Projection>,
    /// Whether it was as written when it was seen last.
    pub(super) right: bool,
    /// Whether this order has dealt with it once, well or not: then higher ranks need not wait for it.
    pub(super) settled: bool,
    pub(super) busy: bool,
    /// Whether a watch told during a step that it is gone, so that the step's answer may be out of date.
    pub(super) doubted: bool,
    pub(super) fault: Option<Fault>,
    pub(super) due: Duration,
    /// A creation without an answer may take effect until then.
    pub(super) maybe_until: Option<Duration>,
    pub(super) repair: Repair,
    /// Since when it is awaited, until it serves or is gone, and how often it was looked at since.
    pub(super) awaited: Option<(Duration, u32)>,
    /// How often in a row it had changed between a look and the write.
    pub(super) conflicts: u32,
    /// A Namespace or CustomResourceDefinition that was found to hold nothing foreign may be deleted.
    pub(super) empty: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) state: ObjectState,
    pub(super) message: String,
    pub(super) attempts: u32,
}

#[derive(Debug, Default)]
pub(super) struct Repair {
    pub(super) under_way: bool,
    /// How many in a row.
    pub(super) count: u32,
    pub(super) last: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Not looked for yet.
    Unknown,
    /// Something is there, or was: it has to be looked at.
    Unsure,
    Absent,
    /// Another MultiCluster's, if named, or nobody's.
    Foreign(Option<String>),
    /// The inventory lists its UID, but it does not bear our mark: a person has to tell whose it is.
    Unmarked,
    Ours(Live),
}

/// What is remembered of an object that is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) uid: String,
    pub(super) resource_version: String,
    pub(super) stamp: Stamp,
    pub(super) deleting: bool,
    pub(super) finalizers: Vec<String>,
    /// The policy that its annotation gives for a stop.
    pub(super) on_demotion: Option<DemotionPolicy>,
    /// Of a kind that has replicas.
    pub(super) replicas: Option<Replicas>,
    pub(super) health: Finding,
    /// Whether fields belong to the creation still, so that an apply could not remove them.
    pub(super) needs_upgrade: bool,
    /// A Namespace that is active, a CustomResourceDefinition that is established; anything else at once.
    pub(super) serves: bool,
}

impl Item {
    pub(super) fn new(key: &ObjectKey, version: &str, place: usize) -> Self {
        Self {
            version: version.to_owned(),
            rank: Rank::of(key),
            place,
            document: None,
            owned: false,
            suspected: false,
            inherited: false,
            maybe_created: false,
            kept: false,
            scaled: false,
            uid: None,
            uid_is_certain: false,
            seen: Seen::Unknown,
            last_stamp: None,
            expected: None,
            right: false,
            settled: false,
            busy: false,
            doubted: false,
            fault: None,
            due: Duration::ZERO,
            maybe_until: None,
            repair: Repair::default(),
            awaited: None,
            conflicts: 0,
            empty: false,
        }
    }

    pub(super) fn live(&self) -> Option<&Live> {
        match &self.seen {
            Seen::Ours(live) => Some(live),
            _ => None,
        }
    }

    /// What its mark says, as far as anything is known against it.
    pub(super) fn stamp(&self) -> Option<&Stamp> {
        match &self.seen {
            Seen::Ours(live) => Some(&live.stamp),
            Seen::Unsure => self.last_stamp.as_ref(),
            Seen::Unknown | Seen::Absent | Seen::Foreign(_) | Seen::Unmarked => None,
        }
    }

    /// What becomes of it when it is to go; none while it is not known to be ours.
    pub(super) fn fate(&self, key: &ObjectKey, policy: Option<DemotionPolicy>) -> Option<Fate> {
        Some(fate(key, self.rank, self.live()?.on_demotion, policy))
    }

    /// Whether it is where and as the payload wants it.
    pub(super) fn in_place(&self, key: &ObjectKey) -> bool {
        match &self.seen {
            Seen::Ours(live) => self.right && live.serves && !live.deleting,
            Seen::Foreign(_) => key.is_shareable(),
            Seen::Unknown | Seen::Unsure | Seen::Absent | Seen::Unmarked => false,
        }
    }

    /// Whether a stop or a prune has nothing more to do about it.
    pub(super) fn is_removed(&self) -> bool {
        !self.owned || self.kept
    }
}
