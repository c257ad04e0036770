//! The asynchronous shell around one election member: it carries events in and commands out, and decides nothing.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{Resource, ResourceExt};
use serde_json::value::to_raw_value;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::report::{self, Knowledge};
use super::store::{self, Store, Target, Written};
use super::supervisor::Shared;
use super::{FOUND_WITHOUT_ANNOTATION, finalizer, words};
use crate::api::{
    HISTORY_MAX_ENTRIES, Move, MultiCluster, MultiClusterStatus, QuorumMode, TimingProfile, ValidSpec,
};
use crate::clock::boottime;
use crate::election::{
    self, Command, Config, Destination, Durable, Member, MemberId, MemoryId, Message, Notice, Order, Profile,
    Received, Settings, Tick,
};
use crate::observe::events;
use crate::observe::metrics::MemberMetrics;
use crate::payload::{self, NumberedOrder, Owner, Payload, Phase, Runner};
use crate::peer::{self, GroupKey, Inbox, Listener, To};

/// Written memories that wait to be heard of: one is under way at a time.
const WRITTEN_MAX: usize = 4;
/// How often the status is looked at when nothing happens, so that silent members are shown as silent.
const REVIEW_PAUSE: Duration = Duration::from_secs(1);
/// After a port could not be listened on, or a finalizer not be written.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// How long a member that is being deleted asks to be taken out of its group: several rounds of every profile but the
/// slowest. After it the object goes, and the others report a silent member.
const LEAVE_LIMIT: Duration = Duration::from_secs(15);
/// How long the payload of an object that is gone already may take to stop before it is left to its inventory's loss.
const GONE_LIMIT: Duration = Duration::from_secs(120);
/// Addresses whose failures are remembered: a fleet has at most as many.
const UNREACHABLE_MAX: usize = 64;

const FORGOTTEN: &str = "This member has forgotten its votes and asks to be admitted anew";

/// The object as the watch tells it; `None` when it is gone.
pub(super) type Objects = watch::Receiver<Option<Arc<MultiCluster>>>;

/// Serves one MultiCluster until it is gone or the controller ends.
pub(super) async fn serve(shared: Arc<Shared>, mut objects: Objects) {
    let Some(object) = with_finalizer(&shared, &mut objects).await else {
        return;
    };
    match Shell::start(shared, object) {
        Ok(shell) => shell.run(objects).await,
        Err(error) => tracing::error!(%error, "cannot serve a MultiCluster"),
    }
}

/// The newest version of the object, once it has the finalizer or is being deleted already.
async fn with_finalizer(shared: &Shared, objects: &mut Objects) -> Option<Arc<MultiCluster>> {
    loop {
        let object = objects.borrow_and_update().clone()?;
        if object.metadata.deletion_timestamp.is_some() {
            return Some(object);
        }
        match finalizer::add(&shared.client, &object).await {
            Ok(()) => return Some(object),
            // A conflict means that the watch is about to tell of a newer version.
            Err(error) => {
                tracing::debug!(%error, object = object.name_any(), "cannot write the finalizer yet")
            }
        }
        tokio::select! {
            () = shared.exit.cancelled() => return None,
            () = tokio::time::sleep(RETRY_PAUSE) => {}
            changed = objects.changed() => changed.ok()?,
        }
    }
}

/// How a member listens.
struct Ear {
    listener: Listener,
    address: SocketAddr,
    callsign: String,
    inbox: Inbox,
}

struct Shell {
    shared: Arc<Shared>,
    object: Arc<MultiCluster>,
    reference: ObjectReference,
    id: MemberId,
    from: Arc<str>,
    store: Store,
    written: mpsc::Receiver<Written>,
    durable: Option<Durable>,
    /// Not started before the first valid spec.
    member: Option<Member>,
    ear: Option<Ear>,
    listen_error: Option<String>,
    retry_listen_at: Option<Instant>,
    spec: Option<ValidSpec>,
    spec_problems: Vec<String>,
    memory_trouble: Option<String>,
    address_trouble: watch::Receiver<Option<String>>,
    address_check: Option<CancellationToken>,
    address_trouble_sender: watch::Sender<Option<String>>,
    unreachable: BTreeMap<String, String>,
    payload: Option<Arc<Payload>>,
    payload_text: Option<String>,
    payload_error: Option<String>,
    order: (u64, Order),
    /// How many orders the runner was given: more than the election gave, since each edit of the payload is one.
    orders_given: u64,
    orders: watch::Sender<NumberedOrder>,
    claim: watch::Sender<Option<payload::Claim>>,
    runner_status: watch::Receiver<payload::Status>,
    runner_cancel: CancellationToken,
    repairs: u64,
    /// Whether there were objects since the payload was last gone.
    ran: bool,
    ordered_at: Option<Instant>,
    history: VecDeque<Move>,
    leader_name: String,
    conditions: Vec<Condition>,
    informed: MultiClusterStatus,
    dirty: bool,
    leaving_since: Option<Instant>,
    metrics: MemberMetrics,
}

/// Why an object cannot be served at all.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("MultiCluster {0} has no UID that an election could go by: {1}")]
    Identity(String, election::NotAnIdentity),
}

fn now() -> Tick {
    Tick(i64::try_from(boottime().as_millis()).unwrap_or(i64::MAX))
}

fn at(tick: Tick) -> Duration {
    Duration::from_millis(u64::try_from(tick.0).unwrap_or(0))
}

impl Shell {
    fn start(shared: Arc<Shared>, object: Arc<MultiCluster>) -> Result<Shell, StartError> {
        let namespace = object.namespace().unwrap_or_default();
        let name = object.name_any();
        let uid = object.uid().unwrap_or_default();
        let id: MemberId = uid
            .parse()
            .map_err(|error| StartError::Identity(format!("{namespace}/{name}"), error))?;
        let status = object.status.clone().unwrap_or_default();
        let (durable, memory_trouble) = match store::recall(&status) {
            Ok(durable) => (durable, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let target = Target {
            namespace: namespace.clone(),
            name: name.clone(),
            uid,
        };
        let (written_sender, written) = mpsc::channel(WRITTEN_MAX);
        let (store, writer) = store::channel(
            shared.client.clone(),
            shared.metrics.clone(),
            &object,
            target,
            written_sender,
        );
        shared.tasks.spawn(writer.run());
        let (orders, orders_receiver) = watch::channel(NumberedOrder {
            number: 0,
            order: payload::Order::Hold,
        });
        let (claim, claim_receiver) = watch::channel(None);
        let (status_sender, runner_status) = watch::channel(payload::Status::default());
        let runner_cancel = CancellationToken::new();
        let runner = Runner {
            access: shared.access.clone(),
            catalog: Arc::clone(&shared.catalog),
            owner: Owner {
                namespace: namespace.clone(),
                name: name.clone(),
            },
            inventory: store::inventory_of(&status),
            store: store.clone(),
            orders: orders_receiver,
            claim: claim_receiver,
            status: status_sender,
        };
        shared.tasks.spawn(runner.run(runner_cancel.clone()));
        let (address_trouble_sender, address_trouble) = watch::channel(None);
        Ok(Shell {
            metrics: shared.metrics.member(&namespace, &name),
            reference: object.object_ref(&()),
            id,
            from: Arc::from(id.to_string()),
            store,
            written,
            durable,
            member: None,
            ear: None,
            listen_error: None,
            retry_listen_at: None,
            spec: None,
            spec_problems: Vec::new(),
            memory_trouble,
            address_trouble,
            address_check: None,
            address_trouble_sender,
            unreachable: BTreeMap::new(),
            payload: None,
            payload_text: None,
            payload_error: None,
            order: (0, Order::Hold),
            orders_given: 0,
            orders,
            claim,
            runner_status,
            runner_cancel,
            repairs: 0,
            ran: false,
            ordered_at: None,
            history: status.history.iter().cloned().collect(),
            leader_name: status
                .leader
                .as_ref()
                .map(|leader| leader.name.clone())
                .unwrap_or_default(),
            conditions: status.conditions.clone(),
            informed: MultiClusterStatus::default(),
            dirty: true,
            leaving_since: None,
            shared,
            object,
        })
    }

    async fn run(mut self, mut objects: Objects) {
        self.take_object(Arc::clone(&self.object));
        if let Some(trouble) = &self.memory_trouble {
            let note = format!("{trouble}. {FORGOTTEN}");
            self.tell(true, "Starting", "MemoryLost", note);
        }
        let exit = self.shared.exit.clone();
        let mut resigned = false;
        let mut review_at = Instant::now() + REVIEW_PAUSE;
        loop {
            if self.is_finished(resigned).await {
                break;
            }
            self.inform();
            let deadline = self.deadline(review_at);
            tokio::select! {
                biased;
                changed = objects.changed() => {
                    let newest = if changed.is_ok() { objects.borrow_and_update().clone() } else { None };
                    match newest {
                        Some(object) => self.take_object(object),
                        None => return self.clear_away().await,
                    }
                }
                Some(written) = self.written.recv() => match written {
                    Written::Durable(number) => self.step(election::Event::Persisted(number)),
                    Written::Failed(number) => self.step(election::Event::PersistFailed(number)),
                    Written::Superseded => break,
                },
                event = receive(&mut self.ear) => self.take_event(event),
                Ok(()) = self.runner_status.changed() => self.take_runner_status(),
                Ok(()) = self.address_trouble.changed() => self.dirty = true,
                () = exit.cancelled(), if !resigned => {
                    resigned = true;
                    if !self.shared.options.keep_payload_on_exit {
                        self.step(election::Event::Resign);
                    }
                }
                () = sleep_until(deadline) => {
                    if Instant::now() >= review_at {
                        review_at = Instant::now() + REVIEW_PAUSE;
                        self.dirty = true;
                        self.listen();
                    }
                    self.step(election::Event::Tick);
                }
            }
        }
        self.end();
    }

    fn end(&mut self) {
        self.inform();
        self.runner_cancel.cancel();
        if let Some(check) = self.address_check.take() {
            check.cancel();
        }
        self.store.close();
    }

    /// Whether nothing is left to do: the object has left, or the process may end.
    async fn is_finished(&mut self, resigned: bool) -> bool {
        if resigned {
            let keeps = self.shared.options.keep_payload_on_exit;
            let may_exit = self.member.as_ref().is_none_or(|member| member.may_exit(now()));
            if keeps || may_exit {
                return true;
            }
        }
        let Some(since) = self.leaving_since else {
            return false;
        };
        let gone = self.is_payload_gone();
        let left = match &self.member {
            Some(member) => member.has_left() || (gone && since.elapsed() > LEAVE_LIMIT),
            None => gone,
        };
        if !left {
            return false;
        }
        if let Some(member) = &self.member
            && !member.has_left()
        {
            let note = "left without the group's answer: the others may report a silent member until its address joins again";
            self.tell(true, "Leaving", "LeftUnanswered", note.to_owned());
        }
        self.inform();
        match finalizer::remove(&self.shared.client, &self.object).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, object = self.object.name_any(), "cannot take the finalizer off yet");
                tokio::time::sleep(RETRY_PAUSE).await;
                false
            }
        }
    }

    /// The object is gone without having left, by somebody's force: its payload must not stay.
    async fn clear_away(mut self) {
        self.ear = None;
        self.member = None;
        self.claim.send_replace(None);
        self.order = (self.order.0 + 1, Order::Stop);
        self.send_order();
        let number = self.orders_given;
        let stopped = self
            .runner_status
            .wait_for(|status| status.order == number && status.phase == Phase::Stopped);
        if tokio::time::timeout(GONE_LIMIT, stopped).await.is_err() {
            tracing::error!(
                object = self.object.name_any(),
                "the MultiCluster was removed by force and its payload does not stop; what is left bears the label {}={}",
                payload::PAYLOAD_LABEL,
                Owner {
                    namespace: self.object.namespace().unwrap_or_default(),
                    name: self.object.name_any()
                }
                .label_value(),
            );
        }
        self.runner_cancel.cancel();
        self.store.close();
    }

    fn deadline(&self, review_at: Instant) -> Instant {
        let due = self.member.as_ref().and_then(Member::deadline);
        let due = due.map(|tick| Instant::now() + at(tick).saturating_sub(boottime()));
        [due, self.retry_listen_at]
            .into_iter()
            .flatten()
            .fold(review_at, Instant::min)
    }

    // === the object ===

    fn take_object(&mut self, object: Arc<MultiCluster>) {
        self.object = object;
        let version = self.object.resource_version().unwrap_or_default();
        self.store
            .seen(version, self.object.status.clone().unwrap_or_default());
        self.dirty = true;
        let spec = self.object.spec.validate();
        self.spec_problems = spec.as_ref().err().map_or_else(Vec::new, |problems| {
            problems.iter().map(ToString::to_string).collect()
        });
        // With a spec that became invalid the member goes on by the last valid one.
        if let Ok(spec) = spec {
            self.spec = Some(spec);
        }
        self.take_payload();
        self.listen();
        self.check_own_address();
        let configured = self.config();
        match (&self.member, configured) {
            (None, Some(config)) => self.start_member(config),
            (Some(_), Some(config)) => self.step(election::Event::Configured(config)),
            (_, None) => {}
        }
        if self.object.metadata.deletion_timestamp.is_some() && self.leaving_since.is_none() {
            self.leaving_since = Some(Instant::now());
            if self.member.is_some() {
                self.step(election::Event::Leave);
            } else {
                self.order = (self.order.0 + 1, Order::Stop);
                self.send_order();
            }
        }
    }

    fn start_member(&mut self, config: Config) {
        let durable = self
            .durable
            .take()
            .unwrap_or_else(|| Durable::new(MemoryId(rand::random())));
        let (member, commands) = Member::start(self.id, durable, config, now());
        self.member = Some(member);
        self.carry_out(commands);
    }

    fn config(&self) -> Option<Config> {
        let spec = self.spec.as_ref()?;
        let settings = match spec.timing {
            TimingProfile::Fast => Settings::FAST,
            TimingProfile::Balanced => Settings::BALANCED,
            TimingProfile::Wide => Settings::WIDE,
        };
        let quorum = match spec.quorum {
            QuorumMode::Auto => election::QuorumMode::Auto,
            QuorumMode::Majority => election::QuorumMode::Majority,
            QuorumMode::None => election::QuorumMode::None,
        };
        // Without an address the others cannot dial this member, but they can answer it.
        let unnamed = || format!("{}.invalid:{}", self.id, spec.listen.port());
        let address = spec
            .service_address
            .as_ref()
            .map_or_else(unnamed, ToString::to_string);
        let without = self.object.annotations().get(FOUND_WITHOUT_ANNOTATION);
        let without = without.map_or_else(Vec::new, |list| {
            let parsed = list
                .split(',')
                .map(|entry| crate::api::Address::parse(entry.trim(), spec.listen.port()));
            parsed
                .filter_map(Result::ok)
                .map(|address| address.to_string())
                .collect()
        });
        Some(Config {
            profile: Profile {
                name: self.object.name_any(),
                address,
                rank: spec.rank,
            },
            fleet: spec.fleet.iter().map(ToString::to_string).collect(),
            ready: spec.ready,
            found_without: without,
            settings: Settings { quorum, ..settings },
        })
    }

    fn take_payload(&mut self) {
        let text = &self.object.spec.payload;
        if self.payload_text.as_ref() == Some(text) {
            return;
        }
        self.payload_text = Some(text.clone());
        match Payload::decode(text) {
            Ok(payload) => {
                self.payload = Some(Arc::new(payload));
                self.payload_error = None;
                self.prepare_catalog();
            }
            // What runs stays as it is until the text can be used again.
            Err(error) => {
                self.payload_error = Some(error.to_string());
                self.tell(true, "Applying", "PayloadInvalid", error.to_string());
            }
        }
        if self.order.1 != Order::Hold {
            self.send_order();
        }
    }

    /// Learns the payload's kinds ahead of time: a failover does not want to ask then.
    fn prepare_catalog(&self) {
        let (Some(payload), catalog) = (self.payload.clone(), Arc::clone(&self.shared.catalog)) else {
            return;
        };
        self.shared.tasks.spawn(async move {
            if let Err(error) = catalog.prepare(&payload).await {
                tracing::debug!(%error, "the payload's kinds are asked for when they are needed");
            }
        });
    }

    /// Listens where the spec says, for the callsign that it says.
    fn listen(&mut self) {
        let Some(spec) = &self.spec else { return };
        let ip = self.shared.options.listen_address.unwrap_or(spec.listen.ip());
        let address = SocketAddr::new(ip, spec.listen.port());
        if self
            .ear
            .as_ref()
            .is_some_and(|ear| ear.address == address && ear.callsign == spec.callsign)
        {
            return;
        }
        let callsign = spec.callsign.clone();
        let former = self.ear.take();
        let listener = match former.filter(|ear| ear.address == address) {
            Some(ear) => Ok(ear.listener),
            None => self.shared.transport.listen(address),
        };
        let group = GroupKey::of_callsign(&callsign);
        let opened = listener.and_then(|listener| {
            let inbox = self.shared.transport.register(&listener, group, &self.from)?;
            Ok(Ear {
                listener,
                address,
                callsign,
                inbox,
            })
        });
        self.dirty = true;
        match opened {
            Ok(ear) => {
                self.ear = Some(ear);
                self.listen_error = None;
                self.retry_listen_at = None;
            }
            Err(error) => {
                let error = error.to_string();
                if self.listen_error.as_ref() != Some(&error) {
                    self.tell(true, "Listening", "CannotListen", error.clone());
                }
                self.listen_error = Some(error);
                self.retry_listen_at = Some(Instant::now() + RETRY_PAUSE);
            }
        }
    }

    /// Looks whether the address that the others are to dial has a meaning, here at least.
    fn check_own_address(&mut self) {
        let address = self
            .spec
            .as_ref()
            .and_then(|spec| spec.service_address.as_ref())
            .map(ToString::to_string);
        if let Some(former) = self.address_check.take() {
            former.cancel();
        }
        let sender = self.address_trouble_sender.clone();
        let Some(address) = address else {
            let trouble = "spec.serviceAddress is not set, so the others cannot dial this member: set it to the address of the \
                           controller's LoadBalancer Service";
            sender.send_replace(Some(trouble.to_owned()));
            return;
        };
        let cancel = CancellationToken::new();
        self.address_check = Some(cancel.clone());
        self.shared.tasks.spawn(async move {
            let check = async {
                while let Err(error) = tokio::net::lookup_host(&address).await {
                    let trouble = format!("spec.serviceAddress {address} does not resolve: {error}. Correct it, or its DNS record");
                    sender.send_replace(Some(trouble));
                    tokio::time::sleep(Duration::from_secs(15)).await;
                }
                sender.send_if_modified(|trouble| trouble.take().is_some());
            };
            cancel.run_until_cancelled(check).await;
        });
    }

    // === the election ===

    fn step(&mut self, event: election::Event) {
        if let Some(member) = &mut self.member {
            let commands = member.step(now(), event, &mut rand::rng());
            self.carry_out(commands);
        }
    }

    fn carry_out(&mut self, commands: Vec<Command>) {
        // The claim comes first: a writer must see its end before anything that follows from it.
        self.publish_claim();
        for command in commands {
            match command {
                Command::Send { to, group, message } => self.send(&to, group, &message),
                Command::Persist { number, durable } => self.store.persist(number, durable),
                Command::Payload { number, order } => {
                    self.order = (number, order);
                    self.dirty = true;
                    self.send_order();
                }
                Command::Notify(notice) => self.take_notice(&notice),
            }
        }
    }

    fn publish_claim(&self) {
        let claim = self.member.as_ref().and_then(|member| member.claim(now()));
        let claim = claim.map(|claim| payload::Claim {
            term: claim.term,
            until: at(claim.until),
        });
        self.claim.send_if_modified(|current| {
            let changed = *current != claim;
            *current = claim;
            changed
        });
    }

    /// Whether the runner has answered the newest order by having removed everything.
    fn is_payload_gone(&self) -> bool {
        let status = self.runner_status.borrow();
        status.order == self.orders_given && status.phase == Phase::Stopped
    }

    fn send_order(&mut self) {
        let (_, order) = self.order;
        let group = self
            .member
            .as_ref()
            .and_then(Member::group)
            .map(|group| group.to_string());
        let order = match (order, &self.payload, group) {
            (Order::Run { term }, Some(payload), Some(group)) => {
                self.ordered_at.get_or_insert_with(Instant::now);
                payload::Order::Run {
                    term,
                    group,
                    payload: Arc::clone(payload),
                }
            }
            (Order::Stop, payload, _) => payload::Order::Stop {
                payload: payload.clone(),
            },
            // A payload that cannot be decoded leaves what there is in place.
            (Order::Run { .. } | Order::Hold, _, _) => payload::Order::Hold,
        };
        if !matches!(order, payload::Order::Run { .. }) {
            self.ordered_at = None;
        }
        self.orders_given += 1;
        self.orders.send_replace(NumberedOrder {
            number: self.orders_given,
            order,
        });
    }

    fn send(&self, to: &Destination, group: Option<election::GroupId>, message: &Message) {
        let (Some(ear), Some(member)) = (&self.ear, &self.member) else {
            return;
        };
        if matches!(message, Message::Heartbeat { .. }) {
            self.metrics.count_heartbeat_sent();
        }
        let body = match to_raw_value(&Parcel {
            memory: member.memory(),
            group,
            message,
        }) {
            Ok(body) => body,
            Err(error) => return tracing::error!(%error, "cannot encode a message"),
        };
        let to = match to {
            Destination::Address(address) => To {
                via: None,
                member: None,
                address: Some(Arc::from(address.as_str())),
            },
            Destination::Member(id, address) => To {
                via: None,
                member: Some(Arc::from(id.to_string())),
                address: address.as_deref().map(Arc::from),
            },
        };
        let message = peer::Message {
            group: GroupKey::of_callsign(&ear.callsign),
            from: Arc::clone(&self.from),
            incarnation: member.incarnation(),
            body: Arc::from(body),
        };
        if let Err(error) = self.shared.transport.send(&to, message) {
            tracing::debug!(%error, "cannot send a message");
        }
    }

    fn take_event(&mut self, event: Result<peer::Event, peer::Error>) {
        match event {
            Ok(peer::Event::Message(incoming)) => self.take_message(&incoming),
            Ok(peer::Event::Notice(notice)) => self.take_link(&notice),
            Err(error) => {
                tracing::debug!(%error, "listens no more");
                self.ear = None;
            }
        }
    }

    fn take_message(&mut self, incoming: &peer::Incoming) {
        let Ok(from) = incoming.from.parse::<MemberId>() else {
            return tracing::debug!(from = %incoming.from, "a message from something that is no member");
        };
        // A newer release may say what this one does not know; it is not answered, and repeated in vain.
        let parcel: OwnedParcel = match serde_json::from_str(incoming.body.get()) {
            Ok(parcel) => parcel,
            Err(error) => return tracing::debug!(%error, %from, "a message that this release does not know"),
        };
        if matches!(parcel.message, Message::Heartbeat { .. }) {
            self.metrics.count_heartbeat_received();
        }
        let received = Received {
            from,
            incarnation: incoming.incarnation,
            memory: parcel.memory,
            group: parcel.group,
            message: parcel.message,
        };
        self.step(election::Event::Received(received));
    }

    fn take_link(&mut self, notice: &peer::Notice) {
        let address = notice.address().to_string();
        self.dirty = true;
        if matches!(notice, peer::Notice::Connected { .. }) {
            self.unreachable.remove(&address);
        } else if self.unreachable.len() < UNREACHABLE_MAX || self.unreachable.contains_key(&address) {
            tracing::info!(object = self.object.name_any(), "{notice}");
            self.unreachable.insert(address, notice.to_string());
        }
    }

    fn take_runner_status(&mut self) {
        let status = self.runner_status.borrow_and_update().clone();
        self.dirty = true;
        self.metrics
            .count_payload_repairs(status.repairs.saturating_sub(self.repairs));
        self.repairs = status.repairs;
        let owned = status
            .objects
            .iter()
            .filter(|object| object.state == payload::ObjectState::Applied)
            .count();
        self.metrics
            .set_payload_objects(u64::try_from(owned).unwrap_or(u64::MAX));
        let ran = self.ran;
        self.ran |= !status.objects.is_empty();
        if status.order != self.orders_given {
            return;
        }
        match status.phase {
            Phase::Stopped => {
                self.ran = false;
                if ran {
                    self.tell(false, "Stopping", "PayloadStopped", report::stopped_note(&status));
                }
                self.step(election::Event::PayloadStopped(self.order.0));
            }
            Phase::Applied => {
                if let Some(took) = self.ordered_at.take().map(|at| at.elapsed()) {
                    self.metrics.observe_payload_apply(took);
                    let note = format!(
                        "{} objects in place after {} ms",
                        status.objects.len(),
                        took.as_millis()
                    );
                    self.tell(false, "Applying", "PayloadApplied", note);
                    if let Some(latest) = self.history.front_mut().filter(|latest| latest.took_ms.is_none()) {
                        latest.took_ms = i64::try_from(took.as_millis()).ok();
                    }
                }
            }
            phase => {
                let action = match self.order.1 {
                    Order::Stop => "Stopping",
                    Order::Run { .. } | Order::Hold => "Applying",
                };
                if let Some((reason, note)) = report::obstacle(&phase, &status.objects) {
                    self.tell(true, action, reason, note);
                }
            }
        }
    }

    // === telling ===

    fn take_notice(&mut self, notice: &Notice) {
        self.dirty = true;
        let roster = self.member.as_ref().and_then(Member::roster).cloned();
        let words = words::words(notice, roster.as_ref());
        let leader = match notice {
            Notice::Elected { term, .. } => Some((self.id, *term)),
            Notice::Following { leader, term } => Some((*leader, *term)),
            _ => None,
        };
        if let Some((leader, term)) = leader {
            let name = words::name_of(leader, roster.as_ref());
            if name != self.leader_name {
                self.metrics.count_transition();
                self.history.push_front(Move {
                    at: Time(jiff::Timestamp::now()),
                    term: i64::try_from(term).unwrap_or(i64::MAX),
                    from: std::mem::replace(&mut self.leader_name, name.clone()),
                    to: name,
                    reason: words.note.clone(),
                    took_ms: None,
                });
                self.history.truncate(HISTORY_MAX_ENTRIES);
            }
        }
        self.tell(words.warning, words.action, words.reason, words.note);
    }

    fn tell(&self, warning: bool, action: &'static str, reason: &'static str, note: String) {
        let object = format!(
            "{}/{}",
            self.object.namespace().unwrap_or_default(),
            self.object.name_any()
        );
        if warning {
            tracing::warn!(object, reason, "{note}");
        } else {
            tracing::info!(object, reason, "{note}");
        }
        self.shared.events.publish(events::Event {
            about: self.reference.clone(),
            warning,
            action,
            reason,
            note,
        });
    }

    /// Writes the status, if it says something new.
    fn inform(&mut self) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        let tick = now();
        let view = self.member.as_ref().map(|member| member.view(tick));
        let mut troubles = Vec::new();
        troubles.extend(self.listen_error.clone().map(|error| ("CannotListen", error)));
        troubles.extend(
            self.address_trouble
                .borrow()
                .clone()
                .map(|trouble| ("ServiceAddress", trouble)),
        );
        troubles.extend(
            self.memory_trouble
                .clone()
                .map(|trouble| ("MemoryLost", format!("{trouble}. {FORGOTTEN}"))),
        );
        if view.as_ref().is_some_and(|view| view.leader.is_some()) {
            self.memory_trouble = None;
        }
        let running = self
            .member
            .as_ref()
            .is_some_and(|member| member.claim(tick).is_some())
            && matches!(self.order.1, Order::Run { .. });
        let runner_status = self.runner_status.borrow().clone();
        let history: Vec<Move> = self.history.iter().cloned().collect();
        let status = report::status(&Knowledge {
            generation: self.object.metadata.generation,
            port: self.ear.as_ref().map(|ear| ear.address.port()),
            term: self.member.as_ref().map_or(0, Member::term),
            spec_problems: &self.spec_problems,
            troubles: &troubles,
            unreachable: &self.unreachable,
            waits_for: self.member.as_ref().map_or_else(Vec::new, |member| {
                member.waits_for(tick).into_iter().map(str::to_owned).collect()
            }),
            payload: &runner_status,
            payload_is_current: runner_status.order == self.orders_given,
            payload_error: self.payload_error.clone(),
            running,
            history: &history,
            conditions: self.conditions.clone(),
            tick,
            now: jiff::Timestamp::now(),
            view,
        });
        self.metrics.set_leading(running);
        self.metrics
            .set_term(self.member.as_ref().map_or(0, Member::term));
        if report::differs(&status, &self.informed) {
            self.conditions.clone_from(&status.conditions);
            self.informed = status.clone();
            self.store.inform(status);
        }
    }
}

/// What travels inside a frame.
#[derive(serde::Serialize)]
struct Parcel<'a> {
    memory: MemoryId,
    group: Option<election::GroupId>,
    message: &'a Message,
}

#[derive(serde::Deserialize)]
struct OwnedParcel {
    memory: MemoryId,
    #[serde(default)]
    group: Option<election::GroupId>,
    message: Message,
}

async fn receive(ear: &mut Option<Ear>) -> Result<peer::Event, peer::Error> {
    match ear {
        Some(ear) => ear.inbox.receive().await,
        None => std::future::pending().await,
    }
}
