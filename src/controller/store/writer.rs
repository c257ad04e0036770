//! Carries the writes of one status out.

use std::sync::Arc;
use std::time::Duration;

use hyper::{Request, header};
use kube::Client;
use kube::core::dynamic::ParseDynamicObjectError;
use kube::core::{DynamicObject, PartialObjectMeta};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::listing::{list, without_explanations};
use super::memory::{Trust, recall, remember, trust};
use super::{Reply, Shared, Target, Written};
use crate::api::{MultiCluster, MultiClusterStatus};
use crate::controller::reading::readable;
use crate::election::Durable;
use crate::observe::metrics::Metrics;
use crate::payload::{Inventory, StoreError};

/// How long a write may take. A member that waits for its vote gives up its round sooner; a slow API server that
/// answers in the end has still written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// At least this long between two writes that only inform.
const INFORM_PAUSE: Duration = Duration::from_millis(250);
/// After a write that failed.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// How often a write that met a newer version is tried again at once.
const CONFLICTS_MAX: u32 = 5;

/// Carries the writes out.
pub(in crate::controller) struct Writer {
    shared: Arc<Shared>,
    client: Client,
    target: Target,
    metrics: Metrics,
    resource_version: String,
    /// What was written last, or found at the start.
    current: MultiClusterStatus,
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
    #[error("cannot read {object}: {source}")]
    Unreadable {
        object: String,
        source: ParseDynamicObjectError,
    },
    #[error("cannot write the status of {object}: others keep changing it")]
    Contended { object: String },
    #[error("another controller has taken over {object}")]
    Superseded { object: String },
    #[error("{object} was read before its memory was last written")]
    Outdated { object: String },
}

impl Writer {
    /// A writer for an object that was read in this version, with this status.
    pub(super) fn new(
        shared: Arc<Shared>,
        client: Client,
        metrics: Metrics,
        target: Target,
        (resource_version, current): (String, MultiClusterStatus),
        written: mpsc::Sender<Written>,
    ) -> Writer {
        let remembered = recall(&current).ok().flatten();
        Writer {
            shared,
            client,
            target,
            metrics,
            resource_version,
            incarnation: remembered.map_or(0, |durable| durable.incarnation),
            current,
            name: format!("{:016x}", rand::random::<u64>()),
            forged: false,
            written,
        }
    }

    /// Writes until the store is closed and nothing is left to write.
    pub(in crate::controller) async fn run(mut self) {
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
        let (memory, inventory, status, listed) = {
            let mut wishes = self.shared.wishes();
            let (memory, inventory) = (wishes.memory.take(), wishes.inventory.take());
            let listed = wishes
                .listing
                .write(inventory.as_ref().map(|(inventory, _)| inventory));
            (memory, inventory, wishes.status.take(), listed)
        };
        let remembered = memory.as_ref().map(|(_, durable)| remember(durable, &self.name));
        let remembered = match remembered.transpose() {
            Ok(remembered) => remembered,
            Err(source) => {
                let error = self.encode_error(source);
                self.shared.wishes().listing.written(false);
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
        list(&mut next, &listed);
        let mut incarnation = self.incarnation;
        if let Some((_, durable)) = &memory {
            incarnation = durable.incarnation;
            next.memory = remembered;
        }
        let begun = Instant::now();
        let mut outcome = self.write(&next, incarnation).await;
        if let Err(WriteError::Request { source, .. }) = &outcome
            && is_too_large(source)
        {
            // An election must not end with an object that is too large to be explained.
            without_explanations(&mut next);
            outcome = self.write(&next, incarnation).await;
        }
        self.shared.wishes().listing.written(outcome.is_ok());
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
        let answer = timeout(WRITE_TIMEOUT, self.client.request::<DynamicObject>(request)).await;
        let object = answer
            .map_err(|_elapsed| WriteError::Unanswered {
                object: self.object(),
            })?
            .map_err(|source| self.request_error("get", source))?;
        let (object, _garbled) = readable(object).map_err(|source| WriteError::Unreadable {
            object: self.object(),
            source,
        })?;
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

/// As the API server says it, of a request, and etcd, of an object.
fn is_too_large(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 413 || status.message.contains("too large"))
}
