//! In which order the API server stored what happened to objects: by resource version, which counts all changes of one
//! cluster, so that it does not matter which watch is told first.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use kube::api::{Api, DynamicObject, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::lone::resource;

/// A kind that is not defined yet is asked for again after this time.
const RETRY: Duration = Duration::from_millis(20);

#[derive(Clone, Debug)]
struct Change {
    kind: String,
    name: String,
    deleted: bool,
    revision: u64,
}

pub(crate) struct Revisions {
    changes: Arc<Mutex<Vec<Change>>>,
    watches: Vec<JoinHandle<()>>,
}

impl Revisions {
    /// Follows the objects of these kinds in all namespaces that match a label selector.
    pub(crate) fn of<'a>(
        client: &Client,
        kinds: impl IntoIterator<Item = (&'a str, &'a str)>,
        selector: &str,
    ) -> Revisions {
        let changes: Arc<Mutex<Vec<Change>>> = Arc::default();
        let watches = kinds.into_iter().map(|(api_version, kind)| {
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(api_version, kind));
            tokio::spawn(follow(api, kind.to_owned(), selector.to_owned(), changes.clone()))
        });
        Revisions {
            watches: watches.collect(),
            changes,
        }
    }

    /// When an object was first seen, and when it was deleted last.
    pub(crate) fn lifetime(&self, kind: &str, name: &str) -> (Option<u64>, Option<u64>) {
        let changes = self.changes.lock().unwrap();
        let of_it = || {
            changes
                .iter()
                .filter(|change| change.kind == kind && change.name == name)
        };
        let began = of_it().map(|change| change.revision).min();
        let ended = of_it()
            .filter(|change| change.deleted)
            .map(|change| change.revision)
            .max();
        (began, ended)
    }
}

impl Drop for Revisions {
    fn drop(&mut self) {
        self.watches.iter().for_each(JoinHandle::abort);
    }
}

async fn follow(api: Api<DynamicObject>, kind: String, selector: String, changes: Arc<Mutex<Vec<Change>>>) {
    let params = WatchParams::default().labels(&selector);
    loop {
        if let Ok(events) = api.watch(&params, "0").await {
            let mut events = events.boxed();
            while let Some(Ok(event)) = events.next().await {
                let (object, deleted) = match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
                    WatchEvent::Deleted(object) => (object, true),
                    WatchEvent::Bookmark(_) | WatchEvent::Error(_) => continue,
                };
                changes.lock().unwrap().push(Change {
                    kind: kind.clone(),
                    name: object.name_any(),
                    deleted,
                    revision: object.resource_version().unwrap().parse().unwrap(),
                });
            }
        }
        sleep(RETRY).await;
    }
}
