//! One Secret that a MultiCluster names, followed as it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::shared::WATCH_SECONDS;

/// What is known of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Reading {
    /// Nothing yet.
    #[default]
    Awaited,
    /// There is none of this name.
    Missing,
    /// It cannot be read.
    Failed(String),
    /// Its data.
    Data(Arc<BTreeMap<String, Vec<u8>>>),
}

/// A Secret that is followed until this is dropped.
pub(super) struct Followed {
    name: String,
    readings: watch::Receiver<Reading>,
    _following: DropGuard,
}

impl Followed {
    pub(super) fn begin(client: &Client, namespace: &str, name: &str, tasks: &TaskTracker) -> Followed {
        let (sender, readings) = watch::channel(Reading::default());
        let cancel = CancellationToken::new();
        let following = follow(
            Api::namespaced(client.clone(), namespace),
            name.to_owned(),
            sender,
        );
        let cancelled = cancel.clone();
        tasks.spawn(async move {
            cancelled.run_until_cancelled(following).await;
        });
        Followed {
            name: name.to_owned(),
            readings,
            _following: cancel.drop_guard(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Waits for news.
    pub(super) async fn changed(&mut self) {
        // The sender ends with the process, or with a watch that has ended; then there are no more news.
        if self.readings.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// What is read, as it comes, for a task of its own.
    pub(super) fn readings(&self) -> watch::Receiver<Reading> {
        self.readings.clone()
    }

    pub(super) fn reading(&self) -> Reading {
        self.readings.borrow().clone()
    }
}

async fn follow(api: Api<Secret>, name: String, sender: watch::Sender<Reading>) {
    let config = watcher::Config::default()
        .fields(&format!("metadata.name={name}"))
        .timeout(WATCH_SECONDS);
    let mut events = watcher(api, config).default_backoff().boxed();
    let mut is_listed = false;
    while let Some(event) = events.next().await {
        let reading = match event {
            Ok(watcher::Event::Init) => {
                is_listed = false;
                continue;
            }
            Ok(watcher::Event::InitApply(secret) | watcher::Event::Apply(secret)) => {
                is_listed = true;
                let data = secret.data.unwrap_or_default();
                Reading::Data(Arc::new(
                    data.into_iter().map(|(key, value)| (key, value.0)).collect(),
                ))
            }
            Ok(watcher::Event::InitDone) if is_listed => continue,
            Ok(watcher::Event::InitDone | watcher::Event::Delete(_)) => Reading::Missing,
            Err(error) => {
                tracing::debug!(%error, secret = name, "the watch on a Secret failed and is begun again");
                match error {
                    // What was read before is as good as anything until the API server is back.
                    watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.is_forbidden() => {
                        Reading::Failed(status.message.clone())
                    }
                    _ => continue,
                }
            }
        };
        sender.send_if_modified(|last| {
            let is_news = *last != reading;
            *last = reading;
            is_news
        });
    }
}
