//! Watches clusters and writes down when each object was there.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use futures::stream::{BoxStream, SelectAll};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::{Cluster, blocking};
use crate::error::{Error, Result};
use crate::history::{History, ObjectKey, Record};

/// Between two questions for a sign of life: how exactly the start of a silence is known, at the price of four small
/// reads a second.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);
/// When an unanswered question counts as silence. A machine that is busy with other tests answers in less.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Before a silent cluster is asked again.
const RETRY: Duration = Duration::from_millis(50);
/// All clusters must answer once before a test goes on.
const FIRST_ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// About 100 MB, hours of a busy test; more is a test that runs away.
const RECORDS_MAX: usize = 500_000;

/// Which objects are recorded.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    kinds: Vec<ApiResource>,
    namespace: Option<String>,
    labels: Option<String>,
}

impl Selection {
    /// Objects of all namespaces, of the kinds that are added.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a built-in kind.
    #[must_use]
    pub fn kind<K: Resource<DynamicType = ()>>(self) -> Self {
        self.resource(ApiResource::erase::<K>(&()))
    }

    /// Adds any kind. It may be defined later: until then there are no objects of it.
    #[must_use]
    pub fn resource(mut self, resource: ApiResource) -> Self {
        self.kinds.push(resource);
        self
    }

    /// Only objects of this namespace. All kinds must then be namespaced.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Only objects that match this label selector.
    #[must_use]
    pub fn labelled(mut self, selector: impl Into<String>) -> Self {
        self.labels = Some(selector.into());
        self
    }
}

/// A recording under way. It runs on a thread of its own, so that its times do not depend on what the test is doing.
#[derive(Debug)]
pub struct Recorder {
    journal: Arc<Journal>,
    stop: watch::Sender<bool>,
    thread: Option<thread::JoinHandle<Result<()>>>,
}

#[derive(Debug)]
struct Journal {
    clusters: Vec<String>,
    started: Instant,
    records: Mutex<Vec<Record>>,
}

impl Recorder {
    /// Begins to record, and returns when every cluster has told what it has.
    ///
    /// # Errors
    /// If a cluster does not answer.
    pub async fn start(clusters: &[&Cluster], selection: Selection) -> Result<Self> {
        let journal = Arc::new(Journal {
            clusters: clusters.iter().map(|cluster| cluster.name().to_owned()).collect(),
            started: Instant::now(),
            records: Mutex::default(),
        });
        let configs: Vec<_> = clusters.iter().map(|cluster| cluster.config().clone()).collect();
        let (stop, stopped) = watch::channel(false);
        let (answered, mut answers) = watch::channel(0);
        let shared = journal.clone();
        let thread = thread::Builder::new()
            .name("recorder".into())
            .spawn(move || record(&configs, &selection, &shared, &stopped, &answered))
            .map_err(|source| Error::Start {
                program: "the recorder".into(),
                source,
            })?;
        let recorder = Self {
            journal,
            stop,
            thread: Some(thread),
        };
        let all = clusters.len();
        let in_time = timeout(FIRST_ANSWER_WITHIN, answers.wait_for(|answers| *answers == all)).await;
        let answered = matches!(in_time, Ok(Ok(_)));
        drop(in_time);
        match answered {
            true => Ok(recorder),
            false => Err(Error::Wait {
                what: "an answer of every cluster to the recorder".into(),
                on: recorder.journal.clusters.join(", "),
                within: FIRST_ANSWER_WITHIN,
                last: format!("{} of {all}", *answers.borrow()),
            }),
        }
    }

    /// The time on the recording's clock.
    pub fn now(&self) -> Duration {
        self.journal.started.elapsed()
    }

    /// Writes down that the test does something now, for the time line.
    pub fn mark(&self, text: &str) -> Duration {
        let at = self.now();
        self.journal.records().push(Record::Mark {
            at,
            text: text.to_owned(),
        });
        at
    }

    /// The history until now. Contact that was lost in the last moments may not have been noticed yet.
    pub fn so_far(&self) -> History {
        History::new(&self.journal.clusters, &self.journal.records(), self.now())
    }

    /// Asks every cluster for a last sign of life, ends, and computes the history.
    ///
    /// # Errors
    /// If there was more to record than fits.
    pub async fn finish(mut self) -> Result<History> {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            blocking(move || {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .await?;
        }
        Ok(self.so_far())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // The thread ends by itself, within the timeout of a question.
        self.stop.send_replace(true);
    }
}

impl Journal {
    fn records(&self) -> MutexGuard<'_, Vec<Record>> {
        // Records are pushed whole.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, record: Record) -> Result<()> {
        let mut records = self.records();
        if records.len() >= RECORDS_MAX {
            return Err(Error::Wait {
                what: format!("no more than {RECORDS_MAX} records"),
                on: self.clusters.join(", "),
                within: self.started.elapsed(),
                last: "more".into(),
            });
        }
        records.push(record);
        Ok(())
    }
}

fn record(
    configs: &[kube::Config],
    selection: &Selection,
    journal: &Journal,
    stopped: &watch::Receiver<bool>,
    answered: &watch::Sender<usize>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Start {
            program: "the recorder".into(),
            source,
        })?;
    runtime.block_on(async {
        let mut tasks = Vec::with_capacity(configs.len());
        for (cluster, config) in configs.iter().enumerate() {
            let client = Client::try_from(config.clone())
                .map_err(Error::request("make a client", &journal.clusters[cluster]))?;
            let present = HashSet::new();
            let last_sign_of_life = Duration::ZERO;
            let observer = Observer {
                cluster,
                client,
                selection,
                journal,
                present,
                last_sign_of_life,
            };
            tasks.push(observer.run(stopped.clone(), answered));
        }
        // One that cannot go on does not end the others: they would look as if nothing happened.
        join_all(tasks).await.into_iter().collect()
    })
}

/// Follows one cluster.
struct Observer<'a> {
    cluster: usize,
    client: Client,
    selection: &'a Selection,
    journal: &'a Journal,
    /// The objects that the cluster had when it last told.
    present: HashSet<ObjectKey>,
    last_sign_of_life: Duration,
}

type Metadata = PartialObjectMeta<DynamicObject>;
/// The events of all kinds, each with the index of its kind; nothing where a watch has ended.
type Events = SelectAll<BoxStream<'static, kube::Result<Option<(usize, WatchEvent<Metadata>)>>>>;

/// What a cluster has.
struct Listing {
    /// When it was asked.
    asked: Duration,
    /// The version from which each kind can be watched; nothing for one that is not defined.
    versions: Vec<Option<String>>,
    /// With the index of their kind.
    objects: Vec<(usize, Metadata)>,
}

/// Why following ended.
enum Pause {
    /// The test is over.
    Stopped,
    /// A watch ended in peace, or a kind may have been defined: look again.
    Relist,
    /// The cluster does not answer.
    Silence,
}

impl Observer<'_> {
    async fn run(
        mut self,
        mut stopped: watch::Receiver<bool>,
        answered: &watch::Sender<usize>,
    ) -> Result<()> {
        let mut first = true;
        loop {
            let pause = match timeout(PROBE_TIMEOUT, self.list()).await {
                Ok(Ok(Listing {
                    asked,
                    versions,
                    objects,
                })) => {
                    self.take_list(asked, objects)?;
                    if std::mem::take(&mut first) {
                        answered.send_modify(|answers| *answers += 1);
                    }
                    self.follow(&versions, &mut stopped).await?
                }
                Ok(Err(_)) | Err(_) => Pause::Silence,
            };
            match pause {
                Pause::Stopped => return Ok(()),
                Pause::Relist => {}
                Pause::Silence => {
                    let (since, cluster) = (self.last_sign_of_life, self.cluster);
                    self.journal.push(Record::Lost { since, cluster })?;
                    if *stopped.borrow() {
                        return Ok(());
                    }
                    sleep(RETRY).await;
                }
            }
        }
    }

    async fn list(&self) -> kube::Result<Listing> {
        let asked = self.journal.started.elapsed();
        let params = ListParams {
            label_selector: self.selection.labels.clone(),
            ..ListParams::default()
        };
        let lists = try_join_all(self.selection.kinds.iter().map(async |kind| {
            match self.api(kind).list_metadata(&params).await {
                Ok(list) => Ok(Some(list)),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
                Err(error) => Err(error),
            }
        }))
        .await?;
        let mut versions = Vec::with_capacity(lists.len());
        let mut objects = Vec::new();
        for (kind, list) in lists.into_iter().enumerate() {
            versions.push(
                list.as_ref()
                    .map(|list| list.metadata.resource_version.clone().unwrap_or_default()),
            );
            objects.extend(
                list.into_iter()
                    .flat_map(|list| list.items)
                    .map(|object| (kind, object)),
            );
        }
        Ok(Listing {
            asked,
            versions,
            objects,
        })
    }

    fn take_list(&mut self, asked: Duration, objects: Vec<(usize, Metadata)>) -> Result<()> {
        let at = self.journal.started.elapsed();
        self.last_sign_of_life = self.last_sign_of_life.max(asked);
        let mut before = std::mem::take(&mut self.present);
        for (kind, object) in objects {
            before.remove(&self.key(kind, &object));
            self.saw(at, kind, &object)?;
        }
        for key in before {
            self.journal.push(Record::Gone {
                at,
                cluster: self.cluster,
                key,
            })?;
        }
        Ok(())
    }

    /// Takes watch events until something is amiss, and asks for signs of life in between.
    async fn follow(
        &mut self,
        versions: &[Option<String>],
        stopped: &mut watch::Receiver<bool>,
    ) -> Result<Pause> {
        let Ok(Ok(mut events)) = timeout(PROBE_TIMEOUT, self.watch(versions)).await else {
            return Ok(Pause::Silence);
        };
        let client = self.client.clone();
        let mut probe = Box::pin(probe(&client, self.journal.started, PROBE_INTERVAL));
        let mut stopping = false;
        loop {
            tokio::select! {
                Some(event) = events.next() => match event {
                    Ok(Some((kind, event))) => {
                        let at = self.journal.started.elapsed();
                        self.last_sign_of_life = at;
                        match event {
                            WatchEvent::Added(object) | WatchEvent::Modified(object) => self.saw(at, kind, &object)?,
                            WatchEvent::Deleted(object) => {
                                let key = self.key(kind, &object);
                                self.present.remove(&key);
                                self.journal.push(Record::Gone { at, cluster: self.cluster, key })?;
                            }
                            WatchEvent::Bookmark(_) => {}
                            // The version is too old to go on from.
                            WatchEvent::Error(_) => return Ok(Pause::Relist),
                        }
                    }
                    Ok(None) => return Ok(Pause::Relist),
                    Err(_) => return Ok(Pause::Silence),
                },
                sign_of_life = &mut probe => match sign_of_life {
                    Some(asked) => {
                        self.last_sign_of_life = self.last_sign_of_life.max(asked);
                        if stopping {
                            return Ok(Pause::Stopped);
                        }
                        if versions.contains(&None) {
                            return Ok(Pause::Relist);
                        }
                        probe = Box::pin(self::probe(&client, self.journal.started, PROBE_INTERVAL));
                    }
                    None => return Ok(Pause::Silence),
                },
                // An error means that the recorder is gone, which is an end too.
                _ = stopped.wait_for(|stopped| *stopped), if !stopping => {
                    stopping = true;
                    probe = Box::pin(self::probe(&client, self.journal.started, Duration::ZERO));
                }
            }
        }
    }

    async fn watch(&self, versions: &[Option<String>]) -> kube::Result<Events> {
        let params = WatchParams {
            label_selector: self.selection.labels.clone(),
            ..WatchParams::default()
        };
        let mut events = SelectAll::new();
        for (index, (kind, version)) in self.selection.kinds.iter().zip(versions).enumerate() {
            if let Some(version) = version {
                let watch = self.api(kind).watch_metadata(&params, version).await?;
                let ended = futures::stream::once(async { Ok(None) });
                events.push(
                    watch
                        .map_ok(move |event| Some((index, event)))
                        .chain(ended)
                        .boxed(),
                );
            }
        }
        Ok(events)
    }

    fn saw(&mut self, at: Duration, kind: usize, object: &Metadata) -> Result<()> {
        let key = self.key(kind, object);
        self.present.insert(key.clone());
        self.journal.push(Record::Seen {
            at,
            cluster: self.cluster,
            key,
            uid: object.uid().unwrap_or_default(),
            terminating: object.metadata.deletion_timestamp.is_some(),
        })
    }

    fn key(&self, kind: usize, object: &Metadata) -> ObjectKey {
        ObjectKey {
            kind: self.selection.kinds[kind].kind.clone(),
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        }
    }

    fn api(&self, kind: &ApiResource) -> Api<DynamicObject> {
        match &self.selection.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, kind),
            None => Api::all_with(self.client.clone(), kind),
        }
    }
}

/// When the cluster was asked, if it answered. A read by name goes through the API server to etcd: without either
/// there is no answer.
async fn probe(client: &Client, started: Instant, pause: Duration) -> Option<Duration> {
    sleep(pause).await;
    let asked = started.elapsed();
    let namespaces = Api::<Namespace>::all(client.clone());
    match timeout(PROBE_TIMEOUT, namespaces.get_metadata("default")).await {
        Ok(Ok(_)) => Some(asked),
        Ok(Err(_)) | Err(_) => None,
    }
}
