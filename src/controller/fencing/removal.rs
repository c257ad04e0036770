//! Removes what one member left, until nothing is left of it.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::config::Kubeconfig;
use kube::core::Status;
use kube::core::dynamic::ParseDynamicObjectError;
use kube::{Api, Client, ResourceExt};
use rand::RngExt as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Outcome, Report};
use crate::api::MultiCluster;
use crate::cluster::{Access, AccessError, Catalog};
use crate::controller::kubeconfig::{self, Unusable};
use crate::controller::reading::readable;
use crate::controller::secret::Reading;
use crate::controller::store;
use crate::election::{GroupId, MemberId, Term};
use crate::payload::{
    self, Inventory, InventoryStore, NumberedOrder, ObjectState, Order, Owner, Payload, Phase, Runner,
    StoreError,
};

/// A server that has not accepted a connection by then is tried again later.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take, connecting included.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// After an attempt that failed, at first and at last: an API server that comes back is noticed within a minute.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// Between two looks at whether it would be let in: tokens expire and rights change without notice.
const LOOK_PAUSE: Duration = Duration::from_secs(300);
/// As long as it would not: who mends that wants to see it.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);

/// Whose payload is to be removed, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub member: MemberId,
    /// Of its MultiCluster.
    pub name: String,
    pub group: GroupId,
    /// The highest term that is removed: the one before that in which this member leads.
    pub term: Term,
}

/// Where the way to its cluster is written down.
pub(super) struct Source {
    pub secret: String,
    pub key: Option<String>,
    pub readings: watch::Receiver<Reading>,
}

/// Nothing is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::controller) struct Removed {
    /// The highest term that was found; none if nothing was.
    pub term: Option<Term>,
    /// How many objects a policy keeps in place.
    pub kept: usize,
    pub took: Duration,
}

/// Why nothing could be removed.
#[derive(Debug, thiserror::Error)]
enum RemovalError {
    #[error(transparent)]
    Kubeconfig(#[from] Unusable),
    #[error(transparent)]
    Configure(#[from] AccessError),
    #[error("cannot ask the API server of {name}, {server}, for its MultiCluster: {reason}")]
    Ask {
        name: String,
        server: String,
        reason: String,
    },
    #[error("the API server of {name}, {server}, does not tell its MultiCluster: {reason}")]
    Refused {
        name: String,
        server: String,
        reason: String,
    },
    #[error(
        "the cluster at {server} has no MultiCluster {name} with the UID {id} that this group knows: see that spec.fencing \
         names the right Secret, and the kubeconfig in it the right cluster and namespace"
    )]
    Absent {
        name: String,
        server: String,
        id: MemberId,
    },
    #[error("cannot read MultiCluster {name} in the cluster at {server}: {source}")]
    Read {
        name: String,
        server: String,
        source: ParseDynamicObjectError,
    },
    #[error("what {name} left is not removed any further: {reason}, so its controller is at work")]
    WarnedOff { name: String, reason: String },
    #[error("the removal of what {0} left was broken off")]
    BrokenOff(String),
}

/// Looks now and then whether what will be needed would be let in, and tells what is wrong. That an API server is not
/// reached is nothing of that kind: its cluster may be gone.
pub(super) async fn keep_looking(
    mut source: Source,
    name: String,
    id: MemberId,
    troubles: watch::Sender<Option<String>>,
) {
    loop {
        let trouble = match look(&mut source, &name, id).await {
            Ok(()) | Err(RemovalError::Ask { .. }) => None,
            Err(error) => Some(error.to_string()),
        };
        let pause = match trouble {
            None => LOOK_PAUSE,
            Some(_) => REFUSED_PAUSE,
        };
        troubles.send_replace(trouble);
        // Members that started together need not look together for ever.
        let pause = pause.mul_f64(rand::rng().random_range(0.8..1.2));
        tokio::select! {
            () = sleep(pause) => {}
            Ok(()) = source.readings.changed() => {}
        }
    }
}

async fn look(source: &mut Source, name: &str, id: MemberId) -> Result<(), RemovalError> {
    let access = source.access().await?;
    find(&access, name, id).await.map(|_| ())
}

/// Who hears what comes of it.
struct Reporter<'a> {
    target: &'a Target,
    reports: &'a mpsc::Sender<Report>,
}

impl Reporter<'_> {
    async fn tell(&self, outcome: Outcome) {
        let report = Report {
            member: self.target.member,
            name: self.target.name.clone(),
            before: self.target.term,
            outcome,
        };
        // Nobody listens any more when this is about to be ended.
        self.reports.send(report).await.ok();
    }
}

/// Tries until nothing is left, and reports what comes of it. It is ended from without.
pub(super) async fn keep_removing(mut source: Source, target: Target, reports: mpsc::Sender<Report>) {
    let reporter = Reporter {
        target: &target,
        reports: &reports,
    };
    let mut pause = RETRY.0;
    loop {
        let error = match attempt(&mut source, &target, &reporter).await {
            Ok(removed) => return reporter.tell(Outcome::Removed(removed)).await,
            Err(error) => error,
        };
        let is_final = matches!(error, RemovalError::WarnedOff { .. });
        reporter.tell(Outcome::Impossible(error.to_string())).await;
        if is_final {
            return;
        }
        tokio::select! {
            () = sleep(pause) => pause = (pause * 2).min(RETRY.1),
            // Whoever mends the Secret wants to see it.
            Ok(()) = source.readings.changed() => pause = RETRY.0,
        }
    }
}

async fn attempt(
    source: &mut Source,
    target: &Target,
    reporter: &Reporter<'_>,
) -> Result<Removed, RemovalError> {
    let begun = Instant::now();
    let access = source.access().await?;
    let object = find(&access, &target.name, target.member).await?;
    let owner = Owner {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    };
    let status = object.status.unwrap_or_default();
    let mut inventory = store::inventory_of(&status);
    if store::recall(&status).is_err() {
        // Whoever changed the memory may have changed the list as well: only our mark tells what is ours.
        for entry in &mut inventory.entries {
            entry.uid = None;
        }
    }
    // How that member's requests fare is not counted among this cluster's.
    let access = Access::new(&access.config, |_, _| {})?;
    let order = Order::Fence {
        term: target.term,
        group: target.group.to_string(),
        policy: object.spec.demotion.policy,
        // What it would run besides, in ConfigMaps and Secrets, is found by its list alone.
        payload: Payload::decode(&object.spec.payload).ok().map(Arc::new),
    };
    let (_orders, orders) = watch::channel(NumberedOrder { number: 1, order });
    let (_account, account) = watch::channel(access.clone());
    let (_claim, claim) = watch::channel(None);
    // What bears a former term stays a former leader's, whoever is active here.
    let (_mandate, mandate) = watch::channel(Duration::MAX);
    let (told, statuses) = watch::channel(payload::Status::default());
    let runner = Runner {
        catalog: Arc::new(Catalog::new(access.clone())),
        access,
        account,
        owner,
        inventory,
        store: NotOurs,
        orders,
        claim,
        mandate,
        status: told,
    };
    tokio::select! {
        outcome = until_gone(statuses, begun, reporter) => outcome,
        () = runner.run(CancellationToken::new()) => Err(RemovalError::BrokenOff(target.name.clone())),
    }
}

/// Waits until the runner says that nothing is left, and reports what is in its way.
async fn until_gone(
    mut statuses: watch::Receiver<payload::Status>,
    begun: Instant,
    reporter: &Reporter<'_>,
) -> Result<Removed, RemovalError> {
    let name = || reporter.target.name.clone();
    while statuses.changed().await.is_ok() {
        let status = statuses.borrow_and_update().clone();
        match status.phase {
            Phase::Stopped => {
                let states = status.objects.iter().map(|object| object.state);
                return Ok(Removed {
                    term: status.term,
                    kept: states.filter(|state| *state == ObjectState::Kept).count(),
                    took: begun.elapsed(),
                });
            }
            Phase::WarnedOff { reason } => return Err(RemovalError::WarnedOff { name: name(), reason }),
            Phase::CannotStop { reason } => {
                let why = format!("what {} left does not go: {reason}", name());
                reporter.tell(Outcome::Impossible(why)).await;
            }
            _ => {}
        }
    }
    Err(RemovalError::BrokenOff(name()))
}

impl Source {
    /// How the cluster is reached, once its kubeconfig was read.
    async fn access(&mut self) -> Result<kubeconfig::Access, Unusable> {
        let kubeconfig = self.kubeconfig().await?;
        let mut access = kubeconfig::access(&self.secret, kubeconfig).await?;
        access.config.connect_timeout = Some(CONNECT_TIMEOUT);
        access.config.read_timeout = Some(LOOK_TIMEOUT);
        Ok(access)
    }

    async fn kubeconfig(&mut self) -> Result<Kubeconfig, Unusable> {
        loop {
            let reading = self.readings.borrow_and_update().clone();
            if let Some(kubeconfig) = kubeconfig::parse(&self.secret, self.key.as_deref(), &reading)? {
                return Ok(kubeconfig);
            }
            if self.readings.changed().await.is_err() {
                // The spec names it no more.
                return Err(Unusable::Missing(self.secret.clone()));
            }
        }
    }
}

/// That member's MultiCluster, in its own cluster: it tells by its UID that this is the cluster.
async fn find(access: &kubeconfig::Access, name: &str, id: MemberId) -> Result<MultiCluster, RemovalError> {
    let (name, server) = (name.to_owned(), access.config.cluster_url.to_string());
    let (asked, answered) = (name.clone(), server.clone());
    let ask = |reason: String| RemovalError::Ask {
        name: asked.clone(),
        server: answered.clone(),
        reason,
    };
    let judge = |error: kube::Error| match error {
        kube::Error::Api(status) => RemovalError::Refused {
            name: asked.clone(),
            server: answered.clone(),
            reason: refusal(&status),
        },
        other => ask(cause(&other)),
    };
    let client = Client::try_from(access.config.clone()).map_err(|error| ask(error.to_string()))?;
    let resource = ApiResource::erase::<MultiCluster>(&());
    let api: Api<DynamicObject> = match &access.namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let params = ListParams::default().fields(&format!("metadata.name={name}"));
    let found = timeout(LOOK_TIMEOUT, api.list(&params))
        .await
        .map_err(|_elapsed| ask(format!("no answer within {} s", LOOK_TIMEOUT.as_secs())))?
        .map_err(judge)?;
    let object = found
        .items
        .into_iter()
        .find(|object| object.uid().and_then(|uid| uid.parse().ok()) == Some(id));
    let Some(object) = object else {
        return Err(RemovalError::Absent { name, server, id });
    };
    match readable(object) {
        Ok((object, _garbled)) => Ok(object),
        Err(source) => Err(RemovalError::Read { name, server, source }),
    }
}

/// What the API server said.
fn refusal(status: &Status) -> String {
    match status.code {
        401 => "it does not accept these credentials: renew them".to_owned(),
        403 => format!("{}: grant this to that account", status.message),
        _ => status.message.clone(),
    }
}

/// Why it was not reached: the last cause says most.
fn cause(error: &kube::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Where the list is kept of what another member owns: in its own status, which only that member writes.
struct NotOurs;

impl InventoryStore for NotOurs {
    async fn save(&self, _inventory: &Inventory) -> Result<(), StoreError> {
        Ok(())
    }
}
