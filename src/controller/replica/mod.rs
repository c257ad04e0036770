//! Which of a cluster's controllers is active.
//!
//! Two of them run where one is to replace the other within a second or two. They agree by a Lease of
//! `coordination.k8s.io`: the active one renews it, the other stands by and takes it over when it has seen no renewal for
//! as long as one holds. The clocks of both run at about the same rate; nothing else is asked of them.
//!
//! An active replica acts on the payload, and acknowledges leaders, only within its *tenure*: the time for which its last
//! renewal surely keeps others away. One that was frozen, or cannot reach its API server, lets it lapse, and so is no
//! danger to the one that has taken its place. Whether there is such a one it learns from its next renewal, and ends
//! itself then. The election itself is safe without all this: each replica's start takes a new incarnation of its
//! members, and a write by an older one fails.
//!
//! With no other replica in sight the Lease is held for longer, and costs a request a second.

mod label;
mod lease;
mod tenure;
mod vigil;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

pub(crate) use self::label::ACTIVE_LABEL;
use self::label::Pods;
use self::lease::{Handle, Written, holder, standby};
use self::tenure::{Pace, Tenure};
use self::vigil::{Claims, Verdict, Vigil};
use crate::clock::boottime;
use crate::cluster::Claim;
use crate::election::MemberId;
use crate::observe::health::Health;

/// The Lease of controllers that serve all namespaces; that of one which serves a single one is named after it as well.
const LEASE: &str = "flagship-controller";
/// After the Lease could not be read by a replica that stands by, and the longest that a reading may take.
const READ_PAUSE: Duration = Duration::from_millis(500);
const READ_LIMIT: Duration = Duration::from_secs(5);
/// How often a replica that stands by says so, and for how long that counts.
const ANNOUNCE_PAUSE: Duration = Duration::from_secs(10);
const ANNOUNCED_FOR: Duration = Duration::from_secs(30);
/// How long one that stands by may take to notice that the Lease was given up for it: a few of its readings.
const PASS_ON_LIMIT: Duration = Duration::from_secs(2);
const PASS_ON_PAUSE: Duration = Duration::from_millis(50);
/// How long giving the Lease up at the end may take: it only spares the next replica a wait.
const GIVE_UP_LIMIT: Duration = Duration::from_secs(1);

/// What the members of an active replica go by.
pub(super) struct Mandate {
    until: watch::Receiver<Duration>,
    former: Claims,
    stakes: Stakes,
}

/// What a member has at stake when its replica dies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stake {
    /// Its group's lease: a replica that stands by must be quick enough for it.
    pub lease: Duration,
    /// The claim by which it runs its payload.
    pub claim: Option<Claim>,
}

type Stakes = Arc<Mutex<HashMap<MemberId, Stake>>>;

impl Mandate {
    /// Whether this replica may act now.
    pub(super) fn holds(&self) -> bool {
        *self.until.borrow() > boottime()
    }

    /// Waits until it may act.
    pub(super) async fn regained(&self) {
        let mut until = self.until.clone();
        // The sender lives as long as the process may act.
        if until.wait_for(|until| *until > boottime()).await.is_err() {
            std::future::pending().await
        }
    }

    /// Until when it may act, as CLOCK_BOOTTIME tells it.
    pub(super) fn until(&self) -> watch::Receiver<Duration> {
        self.until.clone()
    }

    /// The claim by which the replica before this one ran this member's payload, as far as this one knows.
    pub(super) fn former(&self, member: MemberId) -> Option<Claim> {
        self.former.get(&member).copied()
    }

    /// What a member has at stake now.
    pub(super) fn take_stake(&self, member: MemberId, stake: Stake) {
        lock(&self.stakes).insert(member, stake);
    }

    /// A member is served no longer.
    pub(super) fn forget(&self, member: MemberId) {
        lock(&self.stakes).remove(&member);
    }
}

fn lock(stakes: &Stakes) -> MutexGuard<'_, HashMap<MemberId, Stake>> {
    stakes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The replica that holds the Lease.
pub(super) struct Active {
    handle: Handle,
    version: String,
    tenure: Tenure,
    until: watch::Sender<Duration>,
    stakes: Stakes,
    /// What was last said of a replica that stands by, and when it was first heard.
    standby: Option<(String, Duration)>,
    length: Duration,
    /// Between two renewals.
    pause: Duration,
    pace: Pace,
    failing: bool,
    /// The label of its Pod is kept as long as this lives.
    _is_active: watch::Sender<bool>,
}

/// Waits until this process is the active one.
pub(super) async fn stand_by(
    client: Client,
    namespace: &str,
    serves: Option<&str>,
    instance: Option<&str>,
    health: &Health,
) -> (Active, Mandate) {
    let name = serves.map_or_else(|| LEASE.to_owned(), |serves| format!("{LEASE}-{serves}"));
    // A process that takes the place of another in its Pod is not the same replica.
    let identity = format!("{}_{:08x}", instance.unwrap_or(LEASE), rand::random::<u32>());
    let handle = Handle::new(client.clone(), namespace, name, identity);
    let (is_active, activity) = watch::channel(false);
    if let Some(pod) = instance {
        tokio::spawn(Pods::new(client, namespace, pod.to_owned()).keep(activity));
    }
    let mut watching = Watching::begin(handle);
    let taken = loop {
        health.beat();
        if let Some(taken) = watching.look(health).await {
            break taken;
        }
    };
    let handle = watching.handle;
    tracing::info!(
        lease = handle.title,
        identity = handle.identity,
        "is the active replica"
    );
    is_active.send_replace(true);
    let mut tenure = Tenure::default();
    tenure.granted(taken.asked_at, taken.length);
    let (until, receiver) = watch::channel(tenure.until());
    let stakes = Stakes::default();
    let mandate = Mandate {
        until: receiver,
        former: taken.claims,
        stakes: Arc::clone(&stakes),
    };
    let mut active = Active {
        version: String::new(),
        handle,
        tenure,
        until,
        stakes,
        standby: None,
        length: taken.length,
        pause: tenure::pause(None, false),
        pace: Pace::default(),
        failing: false,
        _is_active: is_active,
    };
    active.take(&taken.lease);
    (active, mandate)
}

/// The Lease, when it was taken.
struct Taken {
    lease: Box<Lease>,
    asked_at: Duration,
    length: Duration,
    claims: Claims,
}

/// A replica that stands by.
struct Watching {
    handle: Handle,
    vigil: Vigil,
    announced: u64,
    announce_at: Duration,
    /// Who is active, as far as it was told.
    told: Option<String>,
    failing: bool,
}

impl Watching {
    fn begin(handle: Handle) -> Watching {
        Watching {
            handle,
            vigil: Vigil::default(),
            announced: 0,
            announce_at: boottime(),
            told: None,
            failing: false,
        }
    }

    /// Reads the Lease once, and takes it if it is to be had; else waits until it is to be read again.
    async fn look(&mut self, health: &Health) -> Option<Taken> {
        let begun = boottime();
        let read = timeout(READ_LIMIT, self.handle.read()).await;
        let found = match read {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return self.fail(&error).await,
            Err(_) => return self.fail(&"no answer").await,
        };
        self.failing = false;
        health.set_ready(true);
        let reading = found.as_ref().map(lease::reading);
        let verdict = self.vigil.read(begun, boottime(), reading);
        let claims = match verdict {
            Verdict::Wait(pause) => {
                self.tell(found.as_ref());
                self.announce().await;
                sleep(pause).await;
                return None;
            }
            Verdict::Take { claims } => claims,
        };
        let longest = tenure::length(None, false, Pace::default());
        let told = found.as_ref().map(|lease| lease::reading(lease).length);
        let length = told.map_or(longest, |told| told.min(longest));
        let asked_at = boottime();
        let none = Claims::new();
        let taking = self.handle.take(found.as_ref(), length, &none, Timestamp::now());
        match timeout(READ_LIMIT, taking).await {
            Ok(Ok(Written::Done(lease))) => Some(Taken {
                lease,
                asked_at,
                length,
                claims,
            }),
            // Somebody else was first, or the one that was thought to be gone is not.
            Ok(Ok(Written::Changed)) => None,
            Ok(Err(error)) => self.fail(&error).await,
            Err(_) => self.fail(&"no answer").await,
        }
    }

    async fn fail<T>(&mut self, error: &(dyn std::fmt::Display + Sync)) -> Option<T> {
        self.vigil.failed();
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(
                lease = self.handle.title,
                %error,
                "cannot read or take the Lease by which the controllers of a cluster agree which is active; tries again. \
                 The Role of manifests/install.yaml permits it"
            );
        }
        sleep(READ_PAUSE).await;
        None
    }

    fn tell(&mut self, found: Option<&Lease>) {
        let active = found.and_then(holder);
        if active.is_some() && active != self.told.as_deref() {
            self.told = active.map(str::to_owned);
            tracing::info!(lease = self.handle.title, active, "stands by");
        }
    }

    /// That nobody is told costs no more than a slower renewal by the active one.
    async fn announce(&mut self) {
        let now = boottime();
        if now < self.announce_at {
            return;
        }
        self.announce_at = now + ANNOUNCE_PAUSE;
        self.announced += 1;
        let announced = timeout(READ_LIMIT, self.handle.announce(self.announced)).await;
        if !matches!(announced, Ok(Ok(_))) {
            tracing::debug!(
                lease = self.handle.title,
                "cannot say that this replica stands by"
            );
        }
    }
}

impl Active {
    /// Renews the Lease until another replica holds it, and returns which.
    pub(super) async fn keep(&mut self) -> String {
        loop {
            let begun = boottime();
            if let Some(other) = self.renew().await {
                return other;
            }
            sleep(self.pause.saturating_sub(boottime().saturating_sub(begun))).await;
        }
    }

    /// Tries once to renew it.
    async fn renew(&mut self) -> Option<String> {
        let asked_at = boottime();
        let shortest = lock(&self.stakes).values().map(|stake| stake.lease).min();
        let has_standby = self.has_standby(asked_at);
        self.length = tenure::length(shortest, has_standby, self.pace);
        self.pause = tenure::pause(shortest, has_standby);
        self.tenure.asked(asked_at, self.length);
        self.publish();
        let claims = self.claims_left();
        let renewal = self
            .handle
            .renew(&self.version, self.length, &claims, Timestamp::now());
        match timeout(self.length, renewal).await {
            Ok(Ok(Written::Done(lease))) => self.granted(asked_at, &lease),
            Ok(Ok(Written::Changed)) => return self.look_again().await,
            Ok(Err(error)) => self.fail(&error),
            Err(_) => self.unanswered(),
        }
        None
    }

    fn granted(&mut self, asked_at: Duration, lease: &Lease) {
        self.pace.answered(boottime().saturating_sub(asked_at));
        self.take(lease);
        self.tenure.granted(asked_at, self.length);
        self.publish();
        self.failing = false;
    }

    fn unanswered(&mut self) {
        self.pace.unanswered(self.length);
        self.fail(&"no answer");
    }

    /// The Lease was changed: by who says that it stands by, by this replica's own renewal that was not answered, by
    /// somebody's hand, or by a replica that has taken this one's place, which is returned.
    async fn look_again(&mut self) -> Option<String> {
        let found = match timeout(self.length, self.handle.read()).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                self.fail(&error);
                return None;
            }
            Err(_) => {
                self.unanswered();
                return None;
            }
        };
        let asked_at = boottime();
        let claims = self.claims_left();
        let written = match found.as_ref().map(|lease| (lease, holder(lease))) {
            Some((_, Some(other))) if other != self.handle.identity => return Some(other.to_owned()),
            Some((lease, Some(_))) => {
                let version = lease.resource_version().unwrap_or_default();
                let renewal = self
                    .handle
                    .renew(&version, self.length, &claims, Timestamp::now());
                timeout(self.length, renewal).await
            }
            Some((_, None)) | None => {
                let taking = self
                    .handle
                    .take(found.as_ref(), self.length, &claims, Timestamp::now());
                timeout(self.length, taking).await
            }
        };
        match written {
            Ok(Ok(Written::Done(lease))) => self.granted(asked_at, &lease),
            // It is tried again in a moment.
            Ok(Ok(Written::Changed)) => {}
            Ok(Err(error)) => self.fail(&error),
            Err(_) => self.unanswered(),
        }
        None
    }

    /// What will be left of the members' claims when a renewal that is sent now has arrived.
    fn claims_left(&self) -> Claims {
        let arrives = boottime() + tenure::way(self.length);
        let stakes = lock(&self.stakes);
        let left = |(member, stake): (&MemberId, &Stake)| {
            let claim = stake.claim?;
            let until = claim.until.checked_sub(arrives)?;
            Some((*member, Claim { until, ..claim }))
        };
        stakes.iter().filter_map(left).collect()
    }

    fn take(&mut self, lease: &Lease) {
        self.version = lease.resource_version().unwrap_or_default();
        let said = standby(lease);
        if said != self.standby.as_ref().map(|(said, _)| said.as_str()) {
            self.standby = said.map(|said| (said.to_owned(), boottime()));
        }
    }

    /// Whether another replica has said lately that it stands by. What was said before this one became active is counted,
    /// as it may be true.
    fn has_standby(&self, now: Duration) -> bool {
        self.standby.as_ref().is_some_and(|(said, at)| {
            !said.starts_with(&self.handle.identity) && now.saturating_sub(*at) < ANNOUNCED_FOR
        })
    }

    fn publish(&self) {
        let until = self.tenure.until();
        self.until.send_if_modified(|current| {
            let changed = *current != until;
            *current = until;
            changed
        });
    }

    fn fail(&mut self, error: &dyn std::fmt::Display) {
        let first = !std::mem::replace(&mut self.failing, true);
        if first {
            tracing::warn!(
                lease = self.handle.title,
                %error,
                "cannot renew the Lease; until it is renewed this replica writes nothing of payloads and acknowledges no leader"
            );
        }
    }

    /// Gives the Lease up to a replica that stands by, and tells whether it was taken: this process is then to end at once.
    pub(super) async fn pass_on(&mut self) -> bool {
        let now = boottime();
        if !self.has_standby(now) {
            return false;
        }
        // What was sent within the tenure has taken effect when it is over.
        let lapses_at = self.tenure.until();
        if lapses_at.saturating_sub(now) > tenure::LAPSE_MAX {
            // The API server is slow, and nobody acts meanwhile.
            return false;
        }
        self.tenure.end(now);
        self.publish();
        sleep(lapses_at.saturating_sub(now)).await;
        if !self.try_giving_up().await {
            return false;
        }
        let limit = boottime() + PASS_ON_LIMIT;
        while boottime() < limit {
            sleep(PASS_ON_PAUSE).await;
            if let Ok(Ok(Some(lease))) = timeout(GIVE_UP_LIMIT, self.handle.read()).await
                && holder(&lease).is_some_and(|holder| holder != self.handle.identity)
            {
                tracing::info!(
                    lease = self.handle.title,
                    active = holder(&lease),
                    "has passed its part on"
                );
                return true;
            }
        }
        self.standby = None;
        false
    }

    /// Gives the Lease up, so that the next replica need not wait.
    pub(super) async fn give_up(mut self) {
        self.tenure.end(boottime());
        self.publish();
        if !self.try_giving_up().await {
            tracing::debug!(lease = self.handle.title, "could not give the Lease up");
        }
    }

    async fn try_giving_up(&mut self) -> bool {
        let giving_up = async {
            loop {
                let claims = self.claims_left();
                let giving_up = self
                    .handle
                    .give_up(&self.version, self.length, &claims, Timestamp::now());
                match giving_up.await? {
                    Written::Done(_) => return Ok(true),
                    Written::Changed => match self.handle.read().await? {
                        Some(lease) if holder(&lease) == Some(&self.handle.identity) => {
                            self.version = lease.resource_version().unwrap_or_default();
                        }
                        _ => return Ok(false),
                    },
                }
            }
        };
        let given_up: Result<Result<bool, kube::Error>, _> = timeout(GIVE_UP_LIMIT, giving_up).await;
        matches!(given_up, Ok(Ok(true)))
    }
}
