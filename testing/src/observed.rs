//! What clusters have of a kind now, as watches tell it: to wait for without asking again and again, and to show.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::NamespaceResourceScope;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::cluster::Cluster;
use crate::error::{Error, Result};

/// Before a cluster that does not answer is asked again: short against what is measured, cheap on loopback.
const RETRY: Duration = Duration::from_millis(100);

/// The objects of a kind in one cluster.
#[derive(Debug, Clone)]
pub struct Sight<K> {
    /// Whether the cluster's API server answers; if not, the objects are those that it had before.
    pub answers: bool,
    /// By name.
    pub objects: BTreeMap<String, K>,
}

/// What each cluster has, by the cluster's name.
pub type Sights<K> = BTreeMap<String, Sight<K>>;

/// Watches on the objects of one kind in one namespace of several clusters. They end when this is dropped.
#[derive(Debug)]
pub struct Observed<K> {
    sights: watch::Receiver<Sights<K>>,
    // Held for its lifetime only: dropped, it ends the watches.
    _watches: JoinSet<()>,
}

impl<K> Observed<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    /// Begins to watch, with a label selector that may be empty. Until a cluster has told what it has, it counts as one
    /// that does not answer.
    ///
    /// # Errors
    /// If a client cannot be made.
    pub fn start(clusters: &[&Cluster], namespace: &str, labels: &str) -> Result<Self> {
        let silent = |cluster: &&Cluster| (cluster.name().to_owned(), Sight::silent());
        let (sender, sights) = watch::channel(clusters.iter().map(silent).collect());
        let mut watches = JoinSet::new();
        for cluster in clusters {
            let mut client = cluster.config().clone();
            // An API server that has just started asks for seconds of patience; here it is asked again sooner.
            client.default_retry = false;
            let client = Client::try_from(client).map_err(Error::request("make a client", cluster.name()))?;
            let api = Api::namespaced(client, namespace);
            let config = watcher::Config::default().labels(labels);
            watches.spawn(follow(cluster.name().to_owned(), api, config, sender.clone()));
        }
        Ok(Self {
            sights,
            _watches: watches,
        })
    }
}

impl<K> Observed<K> {
    /// What there is now, and word of every change.
    pub fn sights(&self) -> watch::Receiver<Sights<K>> {
        self.sights.clone()
    }

    /// Waits until every cluster has told what it has.
    ///
    /// # Errors
    /// If one did not within the given time.
    pub async fn wait_for_answers(&self, within: Duration) -> Result<()> {
        self.wait_until("an answer of each", within, |sights| {
            sights.values().all(|sight| sight.answers)
        })
        .await
    }

    /// Waits until `condition` holds of what there is; `what` says in an error what was awaited.
    ///
    /// # Errors
    /// If it did not hold within the given time.
    pub async fn wait_until(
        &self,
        what: &str,
        within: Duration,
        mut condition: impl FnMut(&Sights<K>) -> bool,
    ) -> Result<()> {
        let mut sights = self.sights();
        let held = timeout(within, sights.wait_for(|sights| condition(sights))).await;
        let held = matches!(held, Ok(Ok(_)));
        let silent = |(name, sight): (&String, &Sight<K>)| (!sight.answers).then(|| name.clone());
        match held {
            true => Ok(()),
            false => Err(Error::Wait {
                what: what.to_owned(),
                on: "all clusters".into(),
                within,
                last: match self.sights.borrow().iter().filter_map(silent).collect::<Vec<_>>() {
                    silent if silent.is_empty() => "it does not hold, and all of them answer".into(),
                    silent => format!("it does not hold, and no answer comes from {}", silent.join(", ")),
                },
            }),
        }
    }
}

impl<K> Sight<K> {
    fn silent() -> Self {
        Self {
            answers: false,
            objects: BTreeMap::new(),
        }
    }
}

async fn follow<K>(cluster: String, api: Api<K>, config: watcher::Config, sights: watch::Sender<Sights<K>>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let tell = |change: &mut dyn FnMut(&mut Sight<K>)| {
        sights.send_modify(|sights| change(sights.entry(cluster.clone()).or_insert_with(Sight::silent)));
    };
    loop {
        // Begun anew after an error, because a resumed watch says nothing until something changes: only a list is a
        // sign of life.
        let mut events = Box::pin(watcher(api.clone(), config.clone()));
        let mut listed = BTreeMap::new();
        while let Ok(Some(event)) = events.try_next().await {
            match event {
                Event::Init => listed.clear(),
                Event::InitApply(object) => {
                    listed.insert(object.name_any(), object);
                }
                Event::InitDone => tell(&mut |sight| {
                    sight.answers = true;
                    sight.objects = std::mem::take(&mut listed);
                }),
                Event::Apply(object) => tell(&mut |sight| {
                    sight.objects.insert(object.name_any(), object.clone());
                }),
                Event::Delete(object) => tell(&mut |sight| {
                    sight.objects.remove(&object.name_any());
                }),
            }
        }
        tell(&mut |sight| sight.answers = false);
        sleep(RETRY).await;
    }
}
