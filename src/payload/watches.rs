//! Watches what is ours: one watch for each kind and namespace, by our label.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use futures::{
    StreamExt as _,
    stream::{AbortHandle, BoxStream, SelectAll, abortable},
};
use kube::{
    Api,
    api::{ApiResource, DynamicObject},
    core::Status,
    runtime::{
        WatchStreamExt as _,
        utils::Backoff,
        watcher::{self, Event},
    },
};
use serde_json::Value;

use super::ledger::{Ledger, WatchedKind};
use crate::cluster::{Access, ObjectKey};

/// The API server ends a watch after this time, and a watch from which nothing came five seconds later is taken for dead:
/// a connection that a firewall forgot is noticed within half a minute.
const WATCH_SECONDS: u32 = 20;

/// After a watch failed it is begun again in this time at first, then ever later.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
const RETRY_MEMORY: Duration = Duration::from_secs(30);

/// The watches of one runner.
pub(super) struct Watches {
    access: Access,
    selector: String,
    streams: SelectAll<BoxStream<'static, WatchEvent>>,
    handles: BTreeMap<WatchedKind, AbortHandle>,
    /// What each watch has listed so far, while it is listing.
    listings: BTreeMap<WatchedKind, BTreeSet<ObjectKey>>,
}

/// What a watch tells.
pub(super) enum WatchEvent {
    Changed(ObjectKey, Value),
    Gone(ObjectKey, Value),
    Begun(WatchedKind),
    Listed(WatchedKind, ObjectKey, Value),
    Complete(WatchedKind),
    Refused(WatchedKind, String),
}

/// News for the ledger.
pub(super) enum News {
    Changed(ObjectKey, Value),
    Gone(ObjectKey, Value),
    Complete(WatchedKind, BTreeSet<ObjectKey>),
    Refused(WatchedKind, String),
    None,
}

impl News {
    pub(super) fn tell(self, now: Duration, ledger: &mut Ledger) {
        match self {
            Self::Changed(key, object) => ledger.watched(now, &key, &object),
            Self::Gone(key, object) => ledger.unwatched(now, &key, &object),
            Self::Complete(kind, listed) => ledger.listed(&kind, |key| {
                key.is(&kind.group, &kind.kind) && key.namespace == kind.namespace && !listed.contains(key)
            }),
            Self::Refused(kind, reason) => ledger.watch_refused(kind, reason),
            Self::None => {}
        }
    }
}

impl Watches {
    pub(super) fn new(access: Access, selector: String) -> Self {
        Self {
            access,
            selector,
            streams: SelectAll::new(),
            handles: BTreeMap::new(),
            listings: BTreeMap::new(),
        }
    }

    /// Ends the watches that are not wanted any more and, if allowed, begins those that are missing.
    pub(super) fn keep(&mut self, wanted: &BTreeSet<WatchedKind>, may_begin: bool) {
        self.handles.retain(|kind, handle| {
            let keep = wanted.contains(kind);
            if !keep {
                handle.abort();
            }
            keep
        });
        let listings = &mut self.listings;
        listings.retain(|kind, _| wanted.contains(kind));
        if !may_begin {
            return;
        }
        for kind in wanted {
            if !self.handles.contains_key(kind) {
                let (stream, handle) = abortable(watch(&self.access, &self.selector, kind));
                self.streams.push(stream.boxed());
                self.handles.insert(kind.clone(), handle);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// The next news. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<News> {
        Some(match self.streams.next().await? {
            WatchEvent::Changed(key, object) => News::Changed(key, object),
            WatchEvent::Gone(key, object) => News::Gone(key, object),
            WatchEvent::Begun(kind) => {
                self.listings.insert(kind, BTreeSet::new());
                News::None
            }
            WatchEvent::Listed(kind, key, object) => {
                if let Some(listing) = self.listings.get_mut(&kind) {
                    listing.insert(key.clone());
                }
                News::Changed(key, object)
            }
            WatchEvent::Complete(kind) => match self.listings.remove(&kind) {
                Some(listing) => News::Complete(kind, listing),
                None => News::None,
            },
            WatchEvent::Refused(kind, reason) => News::Refused(kind, reason),
        })
    }
}

fn watch(access: &Access, selector: &str, kind: &WatchedKind) -> BoxStream<'static, WatchEvent> {
    let api_version = if kind.group.is_empty() {
        kind.version.clone()
    } else {
        format!("{}/{}", kind.group, kind.version)
    };
    let resource = ApiResource {
        group: kind.group.clone(),
        version: kind.version.clone(),
        api_version,
        kind: kind.kind.clone(),
        plural: kind.plural.clone(),
    };
    let api: Api<DynamicObject> = match &kind.namespace {
        Some(namespace) => Api::namespaced_with(access.client(), namespace, &resource),
        None => Api::all_with(access.client(), &resource),
    };
    let access = access.clone();
    let config = watcher::Config::default().labels(selector).timeout(WATCH_SECONDS);
    let kind = kind.clone();
    watcher::watcher(api, config)
        .backoff(Retry::new())
        .filter_map(move |event| {
            let event = match event {
                Ok(event) => tell(&kind, event),
                Err(error) => {
                    tracing::debug!(kind = kind.kind, %error, "watch failed, beginning again");
                    let refusal = refusal(&error);
                    access.count_watch_error(refusal.map(|status| status.code));
                    refusal
                        .filter(|status| status.code == 403)
                        .map(|status| WatchEvent::Refused(kind.clone(), status.message.clone()))
                }
            };
            std::future::ready(event)
        })
        .boxed()
}

/// The API server's answer, if it gave one.
fn refusal(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        _ => None,
    }
}

fn tell(kind: &WatchedKind, event: Event<DynamicObject>) -> Option<WatchEvent> {
    let parts = |object: DynamicObject| {
        let key = ObjectKey {
            group: kind.group.clone(),
            kind: kind.kind.clone(),
            namespace: object.metadata.namespace.clone(),
            name: object.metadata.name.clone().unwrap_or_default(),
        };
        // An object that was JSON a moment ago is JSON again.
        serde_json::to_value(object).ok().map(|object| (key, object))
    };
    match event {
        Event::Init => Some(WatchEvent::Begun(kind.clone())),
        Event::InitApply(object) => {
            parts(object).map(|(key, object)| WatchEvent::Listed(kind.clone(), key, object))
        }
        Event::InitDone => Some(WatchEvent::Complete(kind.clone())),
        Event::Apply(object) => parts(object).map(|(key, object)| WatchEvent::Changed(key, object)),
        Event::Delete(object) => parts(object).map(|(key, object)| WatchEvent::Gone(key, object)),
    }
}

/// Delays that grow while failures follow each other.
struct Retry {
    delay: Duration,
    failed_at: Instant,
}

impl Retry {
    fn new() -> Self {
        Self {
            delay: RETRY_FIRST,
            failed_at: Instant::now(),
        }
    }
}

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let delay = if self.failed_at.elapsed() > RETRY_MEMORY {
            RETRY_FIRST
        } else {
            self.delay
        };
        self.failed_at = Instant::now();
        self.delay = (delay * 2).min(RETRY_MAX);
        Some(delay)
    }
}

impl Backoff for Retry {
    /// Every attempt to list begins with a good event, so a good event proves nothing; time without failure does.
    fn reset(&mut self) {}
}
