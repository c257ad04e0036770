//! The one writer of a MultiCluster's status: the election's memory, the payload's inventory and what users see.
//!
//! Every write names the resource version that it goes by, so a second controller that serves the same object is
//! noticed rather than overwritten. What must be durable is written at once; what only informs waits a little, and
//! goes with the next write.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::{Request, header};
use kube::Client;
use kube::core::PartialObjectMeta;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::api::{Memory, MultiCluster, MultiClusterStatus, ObjectState, PayloadObject};
use crate::election::Durable;
use crate::observe::metrics::Metrics;
use crate::payload::{Entry, Inventory, InventoryStore, ObjectKey, StoreError};

/// How long a write may take. A member that waits for its vote gives up its round sooner; a slow API server that
/// answers in the end has still written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// At least this long between two writes that only inform.
const INFORM_PAUSE: Duration = Duration::from_millis(250);
/// After a write that failed.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// How often a write that met a newer version is tried again at once.
const CONFLICTS_MAX: u32 = 5;

/// What became of a write that the election waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It is durable.
    Durable(u64),
    /// It failed, or nobody knows.
    Failed(u64),
    /// Another controller serves the object: this one must not go on.
    Superseded,
    /// The memory that this member started from was no longer the newest: it must start again from the newest.
    Outdated,
}

/// The object whose status is written.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// Hands in what is to be written. Clones share one writer.
#[derive(Clone)]
pub(super) struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    wishes: Mutex<Wishes>,
    wake: Notify,
}

type Reply = oneshot::Sender<Result<(), StoreError>>;

#[derive(Default)]
struct Wishes {
    memory: Option<(u64, Box<Durable>)>,
    inventory: Option<(Inventory, Vec<Reply>)>,
    status: Option<Box<MultiClusterStatus>>,
    /// The object's version and status as the watch told them last.
    seen: Option<(String, Box<MultiClusterStatus>)>,
    closed: bool,
}

/// Carries the writes out.
pub(super) struct Writer {
    shared: Arc<Shared>,
    client: Client,
    target: Target,
    metrics: Metrics,
    resource_version: String,
    /// What was written last, or found at the start.
    current: MultiClusterStatus,
    inventory: Inventory,
    incarnation: u64,
    /// Tells what this store writes from what another writes for the same object.
    name: String,
    /// Whether the status is to be written again since somebody else has written it.
    forged: bool,
    written: mpsc::Sender<Written>,
}

/// A write failed.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("cannot write the status of {object}: {source}")]
    Request {
        object: String,
        source: Box<kube::Error>,
    },
    #[error("cannot write the status of {object}: no answer within {} s", WRITE_TIMEOUT.as_secs())]
    Unanswered { object: String },
    #[error("cannot encode the status of {object}: {source}")]
    Encode {
        object: String,
        source: serde_json::Error,
    },
    #[error("cannot write the status of {object}: others keep changing it")]
    Contended { object: String },
    #[error("another controller has taken over {object}")]
    Superseded { object: String },
    #[error("{object} was read before its memory was last written")]
    Outdated { object: String },
}

/// A store for one object, and the writer that serves it. `written` hears of every memory that was handed in.
pub(super) fn channel(
    client: Client,
    metrics: Metrics,
    object: &MultiCluster,
    target: Target,
    written: mpsc::Sender<Written>,
) -> (Store, Writer) {
    let shared = Arc::new(Shared {
        wishes: Mutex::default(),
        wake: Notify::new(),
    });
    let current = object.status.clone().unwrap_or_default();
    let writer = Writer {
        shared: Arc::clone(&shared),
        client,
        target,
        metrics,
        resource_version: object.metadata.resource_version.clone().unwrap_or_default(),
        inventory: inventory_of(&current),
        incarnation: recall(&current)
            .ok()
            .flatten()
            .map_or(0, |durable| durable.incarnation),
        current,
        name: format!("{:016x}", rand::random::<u64>()),
        forged: false,
        written,
    };
    (Store { shared }, writer)
}

impl Shared {
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Makes the election's memory durable; a newer one replaces one that has not been begun.
    pub(super) fn persist(&self, number: u64, durable: Box<Durable>) {
        self.shared.wishes().memory = Some((number, durable));
        self.shared.wake.notify_one();
    }

    /// Tells users; the fields that the store itself keeps are ignored.
    pub(super) fn inform(&self, status: MultiClusterStatus) {
        self.shared.wishes().status = Some(Box::new(status));
        self.shared.wake.notify_one();
    }

    /// Compares what the watch tells with what was written: a status that somebody else wrote is put back, and a version
    /// that somebody else made costs no conflict.
    pub(super) fn seen(&self, version: String, status: MultiClusterStatus) {
        self.shared.wishes().seen = Some((version, Box::new(status)));
        self.shared.wake.notify_one();
    }

    /// Lets the writer end when everything is written.
    pub(super) fn close(&self) {
        self.shared.wishes().closed = true;
        self.shared.wake.notify_one();
    }
}

impl InventoryStore for Store {
    async fn save(&self, inventory: &Inventory) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        {
            let mut wishes = self.shared.wishes();
            let waiting = wishes
                .inventory
                .take()
                .map_or_else(Vec::new, |(_, waiting)| waiting);
            let waiting = waiting.into_iter().chain([reply]).collect();
            wishes.inventory = Some((inventory.clone(), waiting));
        }
        self.shared.wake.notify_one();
        answer
            .await
            .unwrap_or_else(|closed| Err(StoreError(Box::new(closed))))
    }
}

impl Writer {
    /// Writes until the store is closed and nothing is left to write.
    pub(super) async fn run(mut self) {
        let mut retry_pause = RETRY_PAUSE.0;
        let mut inform_at = Instant::now();
        loop {
            let seen = self.shared.wishes().seen.take();
            self.forged |= seen.is_some_and(|(version, status)| self.is_forged(&version, &status));
            let (urgent, informs, closed) = {
                let wishes = self.shared.wishes();
                (
                    wishes.memory.is_some() || wishes.inventory.is_some(),
                    wishes.status.is_some() || self.forged,
                    wishes.closed,
                )
            };
            if !urgent && !informs {
                if closed {
                    return;
                }
                self.shared.wake.notified().await;
                continue;
            }
            if !urgent && !closed && Instant::now() < inform_at {
                tokio::select! {
                    () = sleep_until(inform_at) => {}
                    () = self.shared.wake.notified() => {}
                }
                continue;
            }
            match self.write_wishes().await {
                Ok(()) => {
                    retry_pause = RETRY_PAUSE.0;
                    inform_at = Instant::now() + INFORM_PAUSE;
                }
                Err(WriteError::Superseded { object }) => {
                    tracing::error!(
                        object,
                        "another controller serves this MultiCluster; this one leaves it alone"
                    );
                    self.written.send(Written::Superseded).await.ok();
                    return;
                }
                Err(error @ WriteError::Outdated { .. }) => {
                    tracing::info!(%error, "starts again from the newest");
                    self.written.send(Written::Outdated).await.ok();
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "will try again");
                    if closed {
                        return;
                    }
                    inform_at = Instant::now() + retry_pause;
                    retry_pause = (retry_pause * 2).min(RETRY_PAUSE.1);
                }
            }
        }
    }

    /// Whether this is a newer version than ours with another status.
    fn is_forged(&mut self, version: &str, status: &MultiClusterStatus) -> bool {
        let is_newer = matches!(
            (version.parse::<u64>(), self.resource_version.parse::<u64>()),
            (Ok(theirs), Ok(ours)) if theirs > ours
        );
        if !is_newer {
            return false;
        }
        if *status == self.current {
            version.clone_into(&mut self.resource_version);
            return false;
        }
        tracing::warn!(
            object = self.object(),
            "somebody else has written the status; it is put back"
        );
        true
    }

    async fn write_wishes(&mut self) -> Result<(), WriteError> {
        let Wishes {
            memory,
            inventory,
            status,
            seen: _,
            closed: _,
        } = {
            let mut wishes = self.shared.wishes();
            Wishes {
                memory: wishes.memory.take(),
                inventory: wishes.inventory.take(),
                status: wishes.status.take(),
                ..Wishes::default()
            }
        };
        let remembered = memory.as_ref().map(|(_, durable)| remember(durable, &self.name));
        let remembered = match remembered.transpose() {
            Ok(remembered) => remembered,
            Err(source) => {
                let error = self.encode_error(source);
                self.answer(memory, inventory, Some(&error)).await;
                return Err(error);
            }
        };
        let mut next = self.current.clone();
        if let Some(status) = &status {
            next = MultiClusterStatus {
                memory: next.memory,
                ..(**status).clone()
            };
        }
        let mut listed = &self.inventory;
        if let Some((inventory, _)) = &inventory {
            listed = inventory;
        }
        list_inventory(&mut next, listed);
        let mut incarnation = self.incarnation;
        if let Some((_, durable)) = &memory {
            incarnation = durable.incarnation;
            next.memory = remembered;
        }
        let begun = Instant::now();
        let outcome = self.write(&next, incarnation).await;
        tracing::debug!(
            object = self.object(),
            memory = memory.as_ref().map(|(number, _)| number),
            inventory = inventory.is_some(),
            took_ms = begun.elapsed().as_millis(),
            written = outcome.is_ok(),
            "a write of the status"
        );
        if outcome.is_ok() {
            self.current = next;
            self.forged = false;
            self.incarnation = incarnation;
            if let Some((inventory, _)) = &inventory {
                self.inventory = inventory.clone();
            }
        } else if let Some(status) = status {
            // What only informs waits for the next write, unless something newer has come.
            self.shared.wishes().status.get_or_insert(status);
        }
        self.answer(memory, inventory, outcome.as_ref().err()).await;
        outcome
    }

    /// Tells those who wait what became of their write.
    async fn answer(
        &self,
        memory: Option<(u64, Box<Durable>)>,
        inventory: Option<(Inventory, Vec<Reply>)>,
        error: Option<&WriteError>,
    ) {
        if let Some((number, _)) = memory {
            let answer = match error {
                None => Written::Durable(number),
                Some(_) => Written::Failed(number),
            };
            // A member that is gone waits for nothing.
            self.written.send(answer).await.ok();
        }
        for reply in inventory.map_or_else(Vec::new, |(_, waiting)| waiting) {
            let error = error.map(|error| StoreError(error.to_string().into()));
            reply.send(error.map_or(Ok(()), Err)).ok();
        }
    }

    async fn write(&mut self, status: &MultiClusterStatus, incarnation: u64) -> Result<(), WriteError> {
        for _ in 0..CONFLICTS_MAX {
            match self.patch(status).await {
                Ok(version) => {
                    self.resource_version = version;
                    return Ok(());
                }
                Err(WriteError::Request { source, .. }) if is_conflict(&source) => {
                    self.look_again(incarnation).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(WriteError::Contended {
            object: self.object(),
        })
    }

    async fn patch(&self, status: &MultiClusterStatus) -> Result<String, WriteError> {
        let patch = json!([
            {"op": "replace", "path": "/metadata/resourceVersion", "value": self.resource_version},
            {"op": "add", "path": "/status", "value": status},
        ]);
        let body = serde_json::to_vec(&patch).map_err(|source| self.encode_error(source))?;
        let request = Request::patch(format!("{}/status?fieldManager=flagship", self.path()))
            .header(header::CONTENT_TYPE, "application/json-patch+json")
            // The answer need not bring the payload back.
            .header(
                header::ACCEPT,
                "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            )
            .body(body)
            .map_err(|source| self.request_error("patch", kube::Error::HttpError(source)))?;
        let answer = self.client.request::<PartialObjectMeta<MultiCluster>>(request);
        match timeout(WRITE_TIMEOUT, answer).await {
            Ok(Ok(object)) => Ok(object.metadata.resource_version.unwrap_or_default()),
            Ok(Err(source)) => Err(self.request_error("patch", source)),
            Err(_elapsed) => {
                self.metrics.count_api_error("patch", None);
                Err(WriteError::Unanswered {
                    object: self.object(),
                })
            }
        }
    }

    /// Somebody changed the object: goes by its newest version, if this controller still serves it.
    async fn look_again(&mut self, incarnation: u64) -> Result<(), WriteError> {
        let request = Request::get(self.path())
            .body(Vec::new())
            .map_err(|source| self.request_error("get", kube::Error::HttpError(source)))?;
        let answer = timeout(WRITE_TIMEOUT, self.client.request::<MultiCluster>(request)).await;
        let object = answer
            .map_err(|_elapsed| WriteError::Unanswered {
                object: self.object(),
            })?
            .map_err(|source| self.request_error("get", source))?;
        let found = object.status.unwrap_or_default();
        if object.metadata.uid.as_deref() != Some(&self.target.uid) {
            return Err(WriteError::Superseded {
                object: self.object(),
            });
        }
        match trust(&found, &self.current, &self.name, incarnation) {
            Trust::Ours => {}
            Trust::Forged => tracing::warn!(
                object = self.object(),
                "status.memory is not what was written last; it is written again. Do not edit it"
            ),
            Trust::Outdated => {
                return Err(WriteError::Outdated {
                    object: self.object(),
                });
            }
            Trust::TakenOver => {
                return Err(WriteError::Superseded {
                    object: self.object(),
                });
            }
        }
        self.resource_version = object.metadata.resource_version.unwrap_or_default();
        Ok(())
    }

    fn path(&self) -> String {
        let Target { namespace, name, .. } = &self.target;
        format!("/apis/kube-vip.io/v1alpha1/namespaces/{namespace}/multiclusters/{name}")
    }

    fn object(&self) -> String {
        format!("MultiCluster {}/{}", self.target.namespace, self.target.name)
    }

    fn encode_error(&self, source: serde_json::Error) -> WriteError {
        WriteError::Encode {
            object: self.object(),
            source,
        }
    }

    fn request_error(&self, verb: &'static str, source: kube::Error) -> WriteError {
        if !is_conflict(&source) {
            let code = match &source {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            };
            self.metrics.count_api_error(verb, code);
        }
        WriteError::Request {
            object: self.object(),
            source: Box::new(source),
        }
    }
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

// === what is written ===

/// Why a member cannot go by what stands in its status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MemoryError {
    /// The record is not what was written.
    #[error("status.memory was changed by somebody else than Flagship: its digest does not fit")]
    Altered,
    /// The record cannot be read.
    #[error("status.memory cannot be read: {0}")]
    Unreadable(String),
}

/// What the member remembers, if it ever ran.
///
/// # Errors
/// The record was altered: the member must not go by it.
pub(super) fn recall(status: &MultiClusterStatus) -> Result<Option<Durable>, MemoryError> {
    let Some(memory) = &status.memory else {
        return Ok(None);
    };
    if digest(&memory.record) != memory.digest {
        return Err(MemoryError::Altered);
    }
    serde_json::from_str(&memory.record)
        .map(Some)
        .map_err(|error| MemoryError::Unreadable(error.to_string()))
}

fn remember(durable: &Durable, writer: &str) -> Result<Memory, serde_json::Error> {
    let record = serde_json::to_string(durable)?;
    Ok(Memory {
        digest: digest(&record),
        record,
        writer: writer.to_owned(),
    })
}

/// What a memory that was found means to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// It is what this store knows.
    Ours,
    /// This store knows better: a write of its own that was thought to have failed, or somebody's hand.
    Forged,
    /// It was written after this store read its own, so that holds votes that this store does not know.
    Outdated,
    /// Another controller serves the object.
    TakenOver,
}

/// Each start takes the next incarnation, on top of exactly what it read: of two that start at once the first counts,
/// and nothing that a former one wrote at the last moment is forgotten.
fn trust(found: &MultiClusterStatus, known: &MultiClusterStatus, writer: &str, incarnation: u64) -> Trust {
    let is_ours = |memory: &Option<Memory>| memory.as_ref().is_some_and(|memory| memory.writer == writer);
    // A former one may also have saved what it was about to create, and nothing else.
    if !is_ours(&known.memory) && !is_ours(&found.memory) && inventory_of(found) != inventory_of(known) {
        return Trust::Outdated;
    }
    if found.memory == known.memory {
        return Trust::Ours;
    }
    if is_ours(&found.memory) {
        return Trust::Forged;
    }
    if !is_ours(&known.memory) {
        return Trust::Outdated;
    }
    match recall(found) {
        Ok(Some(durable)) if durable.incarnation >= incarnation => Trust::TakenOver,
        Ok(_) | Err(_) => Trust::Forged,
    }
}

fn digest(record: &str) -> String {
    Sha256::digest(record.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What is ours, as the status lists it.
pub(super) fn inventory_of(status: &MultiClusterStatus) -> Inventory {
    let objects = status
        .payload
        .as_ref()
        .map_or(&[][..], |payload| &payload.objects);
    let entry = |object: &PayloadObject| Entry {
        key: ObjectKey {
            group: object.group.clone(),
            kind: object.kind.clone(),
            namespace: Some(object.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            name: object.name.clone(),
        },
        version: object.version.clone(),
        uid: Some(object.uid.clone()).filter(|uid| !uid.is_empty()),
        kept: object.state == ObjectState::Kept,
    };
    Inventory {
        entries: objects.iter().filter(|object| object.owned).map(entry).collect(),
    }
}

/// Lists the inventory among the payload's objects, whose states are there already.
fn list_inventory(status: &mut MultiClusterStatus, inventory: &Inventory) {
    let payload = status.payload.get_or_insert_default();
    for object in &mut payload.objects {
        object.owned = false;
        object.uid.clear();
    }
    for entry in &inventory.entries {
        let same = |object: &&mut PayloadObject| {
            object.kind == entry.key.kind
                && object.name == entry.key.name
                && object.group == entry.key.group
                && object.namespace == entry.key.namespace.as_deref().unwrap_or_default()
        };
        let uid = entry.uid.clone().unwrap_or_default();
        if let Some(object) = payload.objects.iter_mut().find(same) {
            (object.owned, object.uid) = (true, uid);
            object.version.clone_from(&entry.version);
            object.state = match (entry.kept, object.state) {
                (true, _) => ObjectState::Kept,
                (false, ObjectState::Kept) => ObjectState::Pending,
                (false, state) => state,
            };
        } else {
            payload.objects.push(PayloadObject {
                group: entry.key.group.clone(),
                version: entry.version.clone(),
                kind: entry.key.kind.clone(),
                namespace: entry.key.namespace.clone().unwrap_or_default(),
                name: entry.key.name.clone(),
                uid,
                owned: true,
                state: if entry.kept {
                    ObjectState::Kept
                } else {
                    ObjectState::Pending
                },
                message: String::new(),
            });
        }
    }
    // What is neither ours nor told of is an entry that has been dropped since.
    payload
        .objects
        .retain(|object| object.owned || object.state != ObjectState::Pending);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::election::MemoryId;

    #[test]
    fn memory_reads_back_and_an_altered_one_is_told() {
        let durable = Durable {
            term: 7,
            ..Durable::new(MemoryId(5))
        };
        let mut status = MultiClusterStatus {
            memory: Some(remember(&durable, "a").unwrap()),
            ..Default::default()
        };
        assert_eq!(recall(&status), Ok(Some(durable)));
        let memory = status.memory.as_mut().unwrap();
        memory.record = memory.record.replace("\"term\":7", "\"term\":8");
        assert_eq!(recall(&status), Err(MemoryError::Altered));
        assert_eq!(recall(&MultiClusterStatus::default()), Ok(None));
    }

    fn entry(name: &str, uid: Option<&str>, kept: bool) -> Entry {
        Entry {
            key: ObjectKey {
                group: "apps".to_owned(),
                kind: "Deployment".to_owned(),
                namespace: Some("shop".to_owned()),
                name: name.to_owned(),
            },
            version: "v1".to_owned(),
            uid: uid.map(str::to_owned),
            kept,
        }
    }

    fn inventory(names: &[&str]) -> Inventory {
        Inventory {
            entries: names.iter().map(|name| entry(name, None, false)).collect(),
        }
    }

    #[test]
    fn of_two_controllers_one_gives_way_and_what_was_written_last_is_never_forgotten() {
        let written = |writer: &str, incarnation, term| {
            let durable = Durable {
                incarnation,
                term,
                ..Durable::new(MemoryId(5))
            };
            MultiClusterStatus {
                memory: Some(remember(&durable, writer).unwrap()),
                ..Default::default()
            }
        };
        let read = written("former", 3, 7);
        assert_eq!(trust(&read, &read, "a", 4), Trust::Ours);
        // The former controller has voted since.
        assert_eq!(trust(&written("former", 3, 8), &read, "a", 4), Trust::Outdated);
        // Another started at the same time and was first.
        assert_eq!(trust(&written("b", 4, 7), &read, "a", 4), Trust::Outdated);

        // The former controller has saved its inventory since.
        let mut saved = read.clone();
        list_inventory(&mut saved, &inventory(&["a"]));
        assert_eq!(trust(&saved, &read, "a", 4), Trust::Outdated);
        assert_eq!(trust(&read, &saved, "a", 4), Trust::Outdated);
        let mut told = saved.clone();
        told.term = Some(7);
        assert_eq!(
            trust(&told, &saved, "a", 4),
            Trust::Ours,
            "the inventory is the same"
        );

        let ours = written("a", 4, 7);
        let mut edited = ours.clone();
        list_inventory(&mut edited, &inventory(&["a"]));
        assert_eq!(trust(&edited, &ours, "a", 4), Trust::Ours, "and is put back");
        assert_eq!(trust(&written("b", 5, 7), &ours, "a", 4), Trust::TakenOver);
        assert_eq!(trust(&written("b", 4, 7), &ours, "a", 4), Trust::TakenOver);
        assert_eq!(trust(&written("a", 4, 8), &ours, "a", 4), Trust::Forged);
        assert_eq!(trust(&read, &ours, "a", 4), Trust::Forged);
        assert_eq!(
            trust(&MultiClusterStatus::default(), &ours, "a", 4),
            Trust::Forged
        );
    }

    #[test]
    fn the_inventory_survives_in_the_status() {
        let inventory = Inventory {
            entries: vec![entry("a", Some("u1"), false), entry("b", None, true)],
        };
        let mut status = MultiClusterStatus::default();
        list_inventory(&mut status, &inventory);
        assert_eq!(inventory_of(&status), inventory);
        let fewer = Inventory {
            entries: vec![entry("b", Some("u2"), false)],
        };
        list_inventory(&mut status, &fewer);
        assert_eq!(inventory_of(&status), fewer);
    }
}
