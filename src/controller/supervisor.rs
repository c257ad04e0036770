//! Watches MultiClusters and runs a task for each; ends the process in good order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::api_server::ApiServer;
use super::load_balancer::LoadBalancer;
use super::reading::readable;
use super::shared::{Shared, WATCH_SECONDS};
use super::turns::Turns;
use super::{Options, replica, service};
use crate::api::MultiCluster;
use crate::cluster::{Access, AccessError, Catalog};
use crate::observe::events;
use crate::observe::health::Health;
use crate::observe::metrics::Metrics;
use crate::observe::serve::{ServeError, Server};
use crate::peer::{self, Transport};

/// What a controller waits for that is not ready.
const NOT_READY: &str = "neither the controllers' Lease nor the MultiClusters could be read yet";
/// How long the main loop may be silent before the process counts as hung.
const STALL_LIMIT: Duration = Duration::from_secs(15);
/// After the watch on MultiClusters has failed.
const WATCH_AGAIN: Duration = Duration::from_secs(1);
/// How often the main loop shows that it is not.
const BEAT: Duration = Duration::from_secs(3);
/// How long members may take to hand over when the process ends; the Pod's grace period is longer by what follows it.
const EXIT_LIMIT: Duration = Duration::from_secs(45);
/// How long messages that are on their way may take to leave.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);
/// How long the last status and Events may take to be written.
const WRITE_LIMIT: Duration = Duration::from_secs(3);
/// A request that only reads or marks an object.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A watch ends sooner than this, so a list or watch from which nothing comes for so long is dead.
const WATCH_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the controller ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster's configuration cannot be used.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A client could not be made.
    #[error("cannot set up a client for the cluster: {0}")]
    Client(#[source] Box<kube::Error>),
    /// Health and metrics cannot be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Members cannot talk.
    #[error("cannot talk to other members: {0}")]
    Transport(#[from] peer::Error),
    /// The operating system's signals cannot be heard.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] std::io::Error),
    /// A task that the process cannot do without has ended.
    #[error("{0} ended unexpectedly; restart the controller, and see the log above")]
    TaskEnded(&'static str),
    /// This controller could not renew its Lease in time.
    #[error(
        "{0} has become the active controller of this cluster; this one ends, and stands by when it is started again"
    )]
    Replaced(String),
}

/// Runs a controller until it is told to end by SIGTERM or SIGINT: it stands by while another one is active.
///
/// # Errors
/// The controller could not start, or something that it cannot do without failed.
pub async fn run(options: Options) -> Result<(), Error> {
    let metrics = Metrics::new();
    let health = Health::new(STALL_LIMIT, NOT_READY);
    let server = Server::bind(options.metrics_address).await?;
    tracing::info!(address = %server.address(), "serves /livez, /readyz and /metrics");
    let serving = CancellationToken::new();
    let mut served = tokio::spawn(server.run(health.clone(), metrics.clone(), serving.clone()));

    let client_error = |error| Error::Client(Box::new(error));
    let mut signals = Signals::listen()?;
    let (mut active, mandate) = {
        // On connections of its own: what else is asked of the API server must not hold a renewal up.
        let client = Client::try_from(for_requests(&options.config)).map_err(client_error)?;
        let standing_by = replica::stand_by(
            client,
            &options.config.default_namespace,
            options.namespace.as_deref(),
            options.instance.as_deref(),
            &health,
        );
        tokio::select! {
            active = standing_by => active,
            () = signals.received() => return Ok(()),
            _ = &mut served => return Err(Error::TaskEnded("the server of health and metrics")),
        }
    };
    metrics.set_active();
    let client = Client::try_from(for_requests(&options.config)).map_err(client_error)?;
    let watching = Client::try_from(for_watches(&options.config)).map_err(client_error)?;
    let access = Access::new(&options.config, {
        let metrics = metrics.clone();
        move |verb, code| metrics.count_api_error(verb, code)
    })?;
    let (events, publisher) = events::channel(client.clone(), options.instance.clone());
    let published = tokio::spawn(publisher.run());
    let shared = Arc::new(Shared {
        client,
        api_server: ApiServer::default(),
        load_balancer: LoadBalancer::default(),
        watching: watching.clone(),
        catalog: Arc::new(Catalog::new(access.clone())),
        access,
        transport: Transport::start(peer::Config {
            protocol: options.protocol,
            ..peer::Config::default()
        })?,
        events,
        metrics,
        exit: CancellationToken::new(),
        tasks: TaskTracker::new(),
        watches: TaskTracker::new(),
        broken: CancellationToken::new(),
        mandate,
        options,
    });
    let mut members = Members {
        shared: Arc::clone(&shared),
        tasks: HashMap::new(),
        turns: Turns::default(),
        tracker: TaskTracker::new(),
    };
    let outcome = tokio::select! {
        // The sooner a new process begins, the sooner that member's payload is served again.
        () = shared.broken.cancelled() => return Err(Error::TaskEnded("a member, by a panic,")),
        outcome = members.watch(watching, &health) => outcome,
        other = active.keep() => return Err(Error::Replaced(other)),
        () = signals.received() => Ok(()),
        _ = &mut served => Err(Error::TaskEnded("the server of health and metrics")),
    };
    if active.pass_on().await {
        // What leads goes on leading: the other replica is about to be elected for the same members.
        flush(&shared.transport).await;
        return outcome;
    }
    tracing::info!("ends; leaders hand over first");
    shared.exit.cancel();
    tokio::select! {
        () = members.end(&health, &mut signals) => {}
        other = active.keep() => return Err(Error::Replaced(other)),
    }
    active.give_up().await;
    flush(&shared.transport).await;
    shared.tasks.close();
    if tokio::time::timeout(WRITE_LIMIT, shared.tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!("the last status could not be written in time");
    }
    drop(members);
    drop(shared);
    if tokio::time::timeout(WRITE_LIMIT, published).await.is_err() {
        tracing::debug!("the last Events could not be sent in time");
    }
    serving.cancel();
    outcome
}

/// Lets the messages leave that are on their way.
async fn flush(transport: &Transport) {
    if let Err(error) = transport.shut_down(FLUSH_LIMIT).await {
        tracing::debug!(%error, "some messages were not delivered");
    }
}

/// Each request is sent once, and has its whole time, also on a connection that was idle before.
fn for_requests(config: &kube::Config) -> kube::Config {
    let mut config = config.clone();
    config.default_retry = false;
    config.read_timeout = Some(REQUEST_TIMEOUT);
    config.reset_reader_on_write = true;
    config
}

fn for_watches(config: &kube::Config) -> kube::Config {
    let mut config = config.clone();
    config.read_timeout = Some(WATCH_READ_TIMEOUT);
    config.reset_reader_on_write = true;
    config
}

/// One task for each MultiCluster.
struct Members {
    shared: Arc<Shared>,
    /// By UID: a recreated object is another member.
    tasks: HashMap<String, watch::Sender<Option<Arc<MultiCluster>>>>,
    turns: Turns,
    tracker: TaskTracker,
}

impl Members {
    async fn watch(&mut self, client: Client, health: &Health) -> Result<(), Error> {
        // Objects are decoded one by one, so that one that cannot be read hides no other.
        let resource = ApiResource::erase::<MultiCluster>(&());
        let api: Api<DynamicObject> = match &self.shared.options.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let mut stream = watcher(api, watcher::Config::default().timeout(WATCH_SECONDS))
            .backoff(Steady)
            .boxed();
        let mut failing = false;
        let mut beat = interval(BEAT);
        let mut listed: Vec<String> = Vec::new();
        loop {
            let event = tokio::select! {
                _ = beat.tick() => {
                    health.beat();
                    let peers = self.shared.transport.peers();
                    self.shared.metrics.set_peers_connected(u64::try_from(peers).unwrap_or(u64::MAX));
                    self.shared.metrics.set_proofs_failed(self.shared.transport.failed_proofs());
                    continue;
                }
                event = stream.next() => event,
            };
            let Some(event) = event else {
                return Err(Error::TaskEnded("the watch on MultiClusters"));
            };
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(object)) => {
                    listed.extend(object.uid());
                    self.take(object);
                }
                Ok(watcher::Event::InitDone) => {
                    failing = false;
                    health.set_ready(true);
                    self.keep(&listed);
                }
                Ok(watcher::Event::Apply(object)) => {
                    failing = false;
                    self.take(object);
                }
                Ok(watcher::Event::Delete(object)) => self.drop_member(&object.uid().unwrap_or_default()),
                Err(error) => {
                    // Members go on without the watch.
                    take_failure(health, &error);
                    if std::mem::replace(&mut failing, true) {
                        tracing::debug!(%error, "the watch on MultiClusters failed again");
                    } else {
                        tracing::warn!(%error, "the watch on MultiClusters failed and is begun again every second");
                    }
                }
            }
        }
    }

    fn take(&mut self, object: DynamicObject) {
        let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
        let turn = format!("{}/{name}", object.namespace().unwrap_or_default());
        let object = match readable(object) {
            Ok((object, None)) => Arc::new(object),
            Ok((object, Some(error))) => {
                tracing::warn!(object = turn, %error, "somebody has written a status that cannot be read; it is put back");
                Arc::new(object)
            }
            Err(error) => {
                tracing::error!(object = turn, %error, "a MultiCluster cannot be read; correct its fields");
                return;
            }
        };
        if let Some(task) = self.tasks.get(&uid)
            && task.send(Some(Arc::clone(&object))).is_ok()
        {
            return;
        }
        let turn = self.turns.of(turn);
        let (sender, receiver) = watch::channel(Some(object));
        self.tasks.insert(uid, sender);
        let task = service::serve(Arc::clone(&self.shared), receiver, turn);
        self.tracker.spawn(self.shared.vital(task));
    }

    /// Ends the members whose objects a new list no longer has.
    fn keep(&mut self, listed: &[String]) {
        let gone: Vec<String> = self
            .tasks
            .keys()
            .filter(|uid| !listed.contains(uid))
            .cloned()
            .collect();
        for uid in gone {
            self.drop_member(&uid);
        }
    }

    fn drop_member(&mut self, uid: &str) {
        if let Some(task) = self.tasks.remove(uid) {
            task.send_replace(None);
        }
    }

    /// Waits until every member has ended.
    async fn end(&mut self, health: &Health, signals: &mut Signals) {
        self.tracker.close();
        let mut beat = interval(BEAT);
        let limit = tokio::time::sleep(EXIT_LIMIT);
        tokio::pin!(limit);
        loop {
            tokio::select! {
                () = self.tracker.wait() => return,
                _ = beat.tick() => health.beat(),
                () = &mut limit => {
                    tracing::error!("members did not hand over within {} s", EXIT_LIMIT.as_secs());
                    return;
                }
                () = signals.received() => {
                    tracing::warn!("told to end a second time; ends at once");
                    return;
                }
            }
        }
    }
}

/// Begins the watch again after the same pause each time: an API server that is back is to be heard at once, and one
/// watch a second of one controller is no load for it.
struct Steady;

impl Iterator for Steady {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(WATCH_AGAIN)
    }
}

impl Backoff for Steady {
    fn reset(&mut self) {}
}

/// A watch that stood is begun again after most failures; without the definition there is nothing to be watched.
fn take_failure(health: &Health, error: &watcher::Error) {
    if matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.is_not_found()) {
        health.set_ready(false);
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> Result<Signals, Error> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            terminate: signal(SignalKind::terminate()).map_err(Error::Signals)?,
            interrupt: signal(SignalKind::interrupt()).map_err(Error::Signals)?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_request_has_its_whole_time_and_a_silent_watch_is_begun_anew() {
        let config = kube::Config::new(hyper::Uri::from_static("https://newyork:6443"));
        let requests = for_requests(&config);
        assert_eq!(
            (
                requests.read_timeout,
                requests.reset_reader_on_write,
                requests.default_retry
            ),
            (Some(REQUEST_TIMEOUT), true, false)
        );
        let watches = for_watches(&config);
        assert_eq!(
            (watches.read_timeout, watches.reset_reader_on_write),
            (Some(WATCH_READ_TIMEOUT), true)
        );
        assert!(u64::from(WATCH_SECONDS) < WATCH_READ_TIMEOUT.as_secs());
    }

    #[test]
    fn a_controller_is_ready_when_its_watch_has_stood_and_until_the_definition_is_missing() {
        let health = Health::new(STALL_LIMIT, NOT_READY);
        let failure = |code, reason| {
            let status = Status::failure("no", reason).with_code(code).boxed();
            watcher::Error::InitialListFailed(kube::Error::Api(status))
        };
        take_failure(&health, &failure(403, "Forbidden"));
        assert!(health.ready().is_err(), "it never stood");
        health.set_ready(true);
        take_failure(&health, &failure(503, "ServiceUnavailable"));
        assert!(health.ready().is_ok());
        take_failure(&health, &failure(404, "NotFound"));
        assert!(health.ready().is_err());
    }
}
