//! The asynchronous shell around one election member: it carries events in and commands out, and decides nothing.

mod fences;
mod mail;
mod provision;
mod telling;

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::announcer::Announcer;
use super::application::{Answer, Application};
use super::chronicle::Chronicle;
use super::ear::Ear;
use super::eligibility::Eligibility;
use super::fencing::Fencing;
use super::group_settings::{milliseconds, settings};
use super::lifecycle::{self, Ask};
use super::load_balancer::Found;
use super::own_address::OwnAddress;
use super::petition::Petition;
use super::replica::Stake;
use super::shared::{Objects, Shared};
use super::silence::Silence;
use super::sources::Sources;
use super::store::{self, Store, Target, Written};
use super::unreachable::Unreachable;
use super::{FOUND_WITHOUT_ANNOTATION, finalizer};
use super::{callsign, certificate};
use crate::api::{MemberRole, MultiCluster, MultiClusterStatus, REQUEST_ANNOTATION, ValidSpec};
use crate::clock::boottime;
use crate::cluster;
use crate::election::{
    self, Command, Config, Durable, Duty, Fitness, Member, MemberId, MemoryId, Message, Order, Part, Profile,
    Tick,
};
use crate::observe::metrics::MemberMetrics;
use crate::payload::{Inventory, Owner};
use crate::peer::Credentials;

/// Written memories that wait to be heard of: one is under way at a time.
const WRITTEN_MAX: usize = 4;
/// How often the status is looked at when nothing happens, so that silent members are shown as silent.
const REVIEW_PAUSE: Duration = Duration::from_secs(1);
/// After a finalizer could not be taken off.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// How long the payload of an object that is gone already may take to stop before it is left to its inventory's loss.
const GONE_LIMIT: Duration = Duration::from_secs(120);

/// What is logged of the election, which does not log itself.
const ELECTION: &str = "flagship::election";
const FORGOTTEN: &str = "This member has forgotten its votes and asks to be admitted anew";

/// Why a member is served no longer.
pub(super) enum End {
    /// Its object is gone, or the process ends.
    Done,
    /// Another controller serves it.
    Superseded,
    /// It started from what was no longer the newest.
    Outdated,
}

/// A member and all that is around it.
pub(super) struct Shell {
    shared: Arc<Shared>,
    object: Arc<MultiCluster>,
    announcer: Announcer,
    id: MemberId,
    store: Store,
    written: mpsc::Receiver<Written>,
    durable: Option<Durable>,
    /// Not started before the first valid spec.
    member: Option<Member>,
    callsign: callsign::Keeper,
    certificate: certificate::Keeper,
    ear: Ear,
    own_address: OwnAddress,
    /// Whether the member waits for the controller's address before it takes part.
    awaits_address: bool,
    spec: Option<ValidSpec>,
    spec_problems: Vec<String>,
    memory_trouble: Option<String>,
    unreachable: Unreachable,
    application: Application,
    sources: Sources,
    /// Why a part of the payload is not known, in one word and in many.
    source_trouble: Option<(&'static str, String)>,
    eligibility: Eligibility,
    fencing: Fencing,
    /// The election's newest order, and its number.
    order: (u64, Order),
    /// Whether it waits until the payload was read.
    owes_order: bool,
    chronicle: Chronicle,
    elected_at: Option<Instant>,
    petition: Petition,
    fitness: Fitness,
    conditions: Vec<Condition>,
    informed: MultiClusterStatus,
    dirty: bool,
    leaving_since: Option<Instant>,
    /// Since when it has heard no leader, while it is leaving.
    unled_since: Option<Instant>,
    /// Whether a leader did not let it go.
    was_needed: bool,
    finalizer: finalizer::Keeper,
    silence: Silence,
    metrics: MemberMetrics,
}

/// Why an object cannot be served at all.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("MultiCluster {0} has no UID that an election could go by: {1}")]
    Identity(String, election::NotAnIdentity),
}

fn now() -> Tick {
    tick(boottime())
}

fn tick(time: Duration) -> Tick {
    Tick(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

fn at(tick: Tick) -> Duration {
    Duration::from_millis(u64::try_from(tick.0).unwrap_or(0))
}

/// By CLOCK_BOOTTIME.
fn claim(claim: election::Claim) -> cluster::Claim {
    cluster::Claim {
        term: claim.term,
        until: at(claim.until),
    }
}

impl Shell {
    pub(super) fn start(shared: Arc<Shared>, object: Arc<MultiCluster>) -> Result<Shell, StartError> {
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
        shared.tasks.spawn(shared.vital(writer.run()));
        let metrics = shared.metrics.member(&namespace, &name);
        let sources = Sources::new(shared.watching.clone(), namespace.clone());
        let owner = Owner { namespace, name };
        let eligibility = Eligibility::start(Arc::clone(&shared.catalog), owner.clone());
        let mut inventory = store::inventory_of(&status);
        if memory_trouble.is_some() {
            // Whoever changed the memory may have changed the list as well: only our mark tells what is ours.
            for entry in &mut inventory.entries {
                entry.uid = None;
            }
        }
        let application = Application::start(&shared, owner, inventory, store.clone());
        Ok(Shell {
            metrics,
            announcer: Announcer::new(&object, shared.events.clone()),
            id,
            store,
            written,
            durable,
            member: None,
            callsign: callsign::Keeper::default(),
            certificate: certificate::Keeper::default(),
            ear: Ear::new(Arc::from(id.to_string())),
            own_address: OwnAddress::new(),
            awaits_address: false,
            spec: None,
            spec_problems: Vec::new(),
            memory_trouble,
            unreachable: Unreachable::default(),
            application,
            sources,
            source_trouble: None,
            eligibility,
            fencing: Fencing::new(),
            order: (0, Order::Hold),
            owes_order: false,
            chronicle: Chronicle::recall(&status),
            elected_at: None,
            petition: Petition::recall(status.request.clone()),
            fitness: Fitness::Fit,
            conditions: status.conditions.clone(),
            informed: MultiClusterStatus::default(),
            dirty: true,
            leaving_since: None,
            unled_since: None,
            was_needed: false,
            finalizer: finalizer::Keeper::default(),
            silence: Silence::default(),
            shared,
            object,
        })
    }

    pub(super) async fn run(mut self, objects: &mut Objects) -> End {
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
                        None => {
                            self.clear_away().await;
                            return End::Done;
                        }
                    }
                }
                () = sleep_until(deadline) => {
                    if Instant::now() >= review_at {
                        review_at = Instant::now() + REVIEW_PAUSE;
                        self.dirty = true;
                        if self.certificate.look(Instant::now()) {
                            self.take_credentials();
                        }
                        self.tell_of_silence();
                        self.listen_anew();
                        self.finalizer.keep(&self.shared, &self.object);
                        self.take_petition();
                        self.follow_load_balancer();
                        self.judge_fitness();
                    }
                    self.step(election::Event::Tick);
                }
                Some(written) = self.written.recv() => match written {
                    Written::Durable(number) => self.step(election::Event::Persisted(number)),
                    Written::Failed(number) => self.step(election::Event::PersistFailed(number)),
                    Written::Superseded => {
                        self.end();
                        return End::Superseded;
                    }
                    Written::Outdated => {
                        self.end();
                        return End::Outdated;
                    }
                },
                () = self.application.changed() => self.take_answer(),
                () = self.sources.changed() => {
                    self.take_payload();
                    self.judge_fitness();
                }
                () = self.eligibility.changed() => {
                    self.dirty = true;
                    self.judge_fitness();
                }
                report = self.fencing.reported() => self.take_report(&report),
                () = self.own_address.changed() => self.dirty = true,
                () = self.shared.load_balancer.answered(), if self.awaits_address => {
                    self.follow_load_balancer();
                    self.pursue();
                }
                () = self.callsign.changed() => self.take_credentials(),
                () = self.certificate.changed() => self.take_credentials(),
                trouble = self.finalizer.failed() => {
                    let note = format!("a deletion would not wait for this member to leave its group: {trouble}");
                    self.tell(true, "Serving", "CannotAddFinalizer", note);
                }
                () = exit.cancelled(), if !resigned => {
                    resigned = true;
                    if !self.shared.options.keep_payload_on_exit {
                        self.step(election::Event::Resign);
                    }
                }
                // Last, since a flood of messages must not hold back anything else; the inbox keeps the newest.
                event = self.ear.receive() => self.take_event(&event),
            }
        }
        self.end();
        End::Done
    }

    fn end(&mut self) {
        self.inform();
        self.shared.mandate.forget(self.id);
        self.application.end();
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
        let is_led = |member: &Member| member.view(now()).leader.is_some();
        if self.member.as_ref().is_some_and(is_led) {
            self.unled_since = None;
        } else {
            self.unled_since.get_or_insert_with(Instant::now);
        }
        let departure = lifecycle::departure(lifecycle::Leaving {
            has_left: self.member.as_ref().map(Member::has_left),
            is_gone: self.application.is_gone(),
            asked_for: since.elapsed(),
            unled_for: self.unled_since.map(|since| since.elapsed()),
            was_needed: self.was_needed,
        });
        self.was_needed |= departure == lifecycle::Departure::Needed;
        if let Some(note) = departure.note() {
            self.tell(true, "Leaving", departure.reason(), note);
        }
        if !departure.is_final() {
            return false;
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
    pub(super) async fn clear_away(mut self) {
        self.ear.close();
        self.shared.mandate.forget(self.id);
        self.member = None;
        if let Err(left) = self.application.remove(GONE_LIMIT).await {
            tracing::error!(
                object = self.object.name_any(),
                "the MultiCluster was removed by force and its payload does not stop; what is left bears the label {left}"
            );
        }
        self.application.end();
        self.store.close();
    }

    fn deadline(&self, review_at: Instant) -> Instant {
        let due = self.member.as_ref().and_then(Member::deadline);
        let due = due.map(|tick| Instant::now() + at(tick).saturating_sub(boottime()));
        due.map_or(review_at, |due| due.min(review_at))
    }

    // === the object ===

    fn take_object(&mut self, object: Arc<MultiCluster>) {
        self.object = object;
        let version = self.object.resource_version().unwrap_or_default();
        self.store
            .seen(version, self.object.status.clone().unwrap_or_default());
        self.dirty = true;
        let spec = self.object.spec.validate().map_err(|problems| {
            let problems = problems.iter().map(ToString::to_string);
            problems.collect::<Vec<_>>()
        });
        let spec = spec.and_then(|spec| match settings(&spec) {
            Ok(_) => Ok(spec),
            Err(problem) => Err(vec![format!("spec.timing: {problem}")]),
        });
        self.spec_problems = spec.as_ref().err().cloned().unwrap_or_default();
        // With a spec that became invalid the member goes on by the last valid one.
        if let Ok(spec) = spec {
            self.spec = Some(spec);
        }
        self.finalizer.keep(&self.shared, &self.object);
        self.take_payload();
        self.follow_credentials();
        self.follow_fences();
        self.listen();
        if let Some(spec) = &self.spec
            && let Some(address) = self.service_address(spec)
        {
            self.own_address.check(address, &self.shared.tasks);
        }
        self.pursue();
    }

    /// Does what the object, as it stands, asks for.
    fn pursue(&mut self) {
        let is_deleted = self.object.metadata.deletion_timestamp.is_some();
        let is_asked_for = |spec: &ValidSpec| self.service_address(spec).is_none();
        self.awaits_address = self.member.is_none() && self.spec.as_ref().is_some_and(is_asked_for);
        let standing = lifecycle::Standing {
            has_member: self.member.is_some(),
            awaits_address: self.awaits_address,
            is_deleted,
            is_leaving: self.leaving_since.is_some(),
            is_alone: lifecycle::is_alone(self.durable.as_ref(), self.id),
            order: self.order.1,
        };
        if is_deleted && !self.awaits_address {
            self.leaving_since.get_or_insert_with(Instant::now);
        }
        let config = self.config();
        if let Some(config) = &config {
            let roster = self.member.as_ref().and_then(Member::roster);
            self.unreachable.keep_used(config, roster);
        }
        for ask in lifecycle::asks(standing, config) {
            match ask {
                Ask::Start(config) => self.start_member(config),
                Ask::Configure(config) => self.step(election::Event::Configured(config)),
                Ask::Leave => self.step(election::Event::Leave),
                Ask::Stop => {
                    self.order.1 = Order::Stop;
                    self.send_order();
                }
            }
        }
        self.take_petition();
    }

    /// How the others reach this member: as the spec says, else by the controller's LoadBalancer Service.
    /// Nothing for the moment in which that is asked for; else why there is none.
    fn service_address(&self, spec: &ValidSpec) -> Option<Result<String, String>> {
        if let Some(address) = &spec.service_address {
            return Some(Ok(address.to_string()));
        }
        let namespace = &self.shared.options.config.default_namespace;
        let found = self
            .shared
            .load_balancer
            .found(&self.shared.client, namespace, &self.shared.exit);
        match found {
            Found::Asked => None,
            Found::Nothing(why) => Some(Err(why)),
            Found::Host(host) => Some(Ok(match host.parse::<Ipv6Addr>() {
                Ok(ip) => format!("[{ip}]:{}", spec.listen.port()),
                Err(_) => format!("{host}:{}", spec.listen.port()),
            })),
        }
    }

    /// A load balancer may get its address late, and another one later.
    fn follow_load_balancer(&mut self) {
        let Some(spec) = self.spec.as_ref().filter(|spec| spec.service_address.is_none()) else {
            return;
        };
        if let Some(address) = self.service_address(spec)
            && self.own_address.check(address, &self.shared.tasks)
            && let Some(config) = self.config()
        {
            self.step(election::Event::Configured(config));
        }
    }

    /// Tells the election how well this member could lead, when that changes.
    fn judge_fitness(&mut self) {
        let patience = self.spec.as_ref().and_then(|spec| spec.fail_over_after);
        let is_cut_off = patience.is_some_and(|patience| {
            let lost_for = self
                .shared
                .api_server
                .lost_for(&self.shared.client, &self.shared.exit);
            lost_for.is_some_and(|lost_for| lost_for >= patience)
        });
        let fitness = if is_cut_off {
            Fitness::CutOff
        } else if self.is_unfit() {
            Fitness::Unfit
        } else {
            Fitness::Fit
        };
        if self.member.is_some() && fitness != self.fitness {
            self.fitness = fitness;
            self.step(election::Event::Fitness(fitness));
        }
    }

    /// Takes up what a person asks for by an annotation.
    fn take_petition(&mut self) {
        if self.awaits_address {
            // Nobody could carry it out yet.
            return;
        }
        let text = self.object.annotations().get(REQUEST_ANNOTATION);
        let roster = self.member.as_ref().and_then(Member::roster);
        let taken = self
            .petition
            .take(text.map(String::as_str), roster, jiff::Timestamp::now());
        match taken {
            Ok(None) => {}
            Ok(Some((request, wish))) => {
                self.dirty = true;
                self.step(election::Event::Asked(request, wish));
            }
            Err(problem) => self.tell(
                true,
                "Requesting",
                "RequestInvalid",
                format!("annotation {REQUEST_ANNOTATION} {problem}. `flagship switch` and `flagship member` write it"),
            ),
        }
    }

    fn start_member(&mut self, config: Config) {
        let durable = self
            .durable
            .take()
            .unwrap_or_else(|| Durable::new(MemoryId(rand::random())));
        let former = self.shared.mandate.former(self.id).map(|claim| election::Claim {
            term: claim.term,
            until: tick(claim.until),
        });
        let (member, commands) = Member::start(self.id, durable, config, former, now());
        self.member = Some(member);
        self.carry_out(commands);
    }

    /// For a replica that stands by: how quick it must be, and what it may leave in peace.
    fn tell_stake(&self) {
        if let Some(member) = &self.member {
            let runs = matches!(self.order.1, Order::Run { .. });
            let stake = Stake {
                lease: Duration::from_millis(member.settings().lease_ms.unsigned_abs()),
                claim: member.claim(now()).filter(|_| runs).map(claim),
            };
            self.shared.mandate.take_stake(self.id, stake);
        }
    }

    fn config(&self) -> Option<Config> {
        let spec = self.spec.as_ref()?;
        // A spec whose settings do not hold together was not taken.
        let settings = settings(spec).ok()?;
        // Without an address the others cannot dial this member, but they can answer it.
        let unnamed = || format!("{}.invalid:{}", self.id, spec.listen.port());
        let address = self
            .service_address(spec)
            .and_then(Result::ok)
            .unwrap_or_else(unnamed);
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
                name: self.object.name_any().into(),
                address: address.into(),
                rank: spec.rank,
                duty: match spec.role {
                    MemberRole::Candidate => Duty::Candidate,
                    MemberRole::Witness => Duty::Witness,
                },
            },
            fleet: spec.fleet.iter().map(ToString::to_string).collect(),
            // Who cannot be heard must not found a group: it may exist already.
            ready: spec.ready && self.ear.is_open(),
            found_without: without,
            settings,
            paused: spec.paused,
            stop_timeout_ms: milliseconds(spec.demotion_timeout),
        })
    }

    /// Goes by the callsign and the certificate that the spec says.
    fn follow_credentials(&mut self) {
        let Some(spec) = &self.spec else { return };
        let namespace = self.object.namespace().unwrap_or_default();
        let shared = &self.shared;
        self.callsign
            .follow(&spec.callsign, &shared.watching, &namespace, &shared.watches);
        let secret = spec.tls_secret.as_deref();
        self.certificate
            .follow(secret, &shared.watching, &namespace, &shared.watches);
    }

    /// The Secret of the callsign or of the certificate has changed.
    fn take_credentials(&mut self) {
        self.dirty = true;
        let troubles = [self.callsign.trouble(), self.certificate.trouble()];
        for (reason, note) in troubles.into_iter().flatten() {
            self.announcer.tell(true, "Listening", reason, note.to_owned());
        }
        self.listen_anew();
    }

    /// Listens as it should by now, and founds a group only if it does.
    fn listen_anew(&mut self) {
        let heard = self.ear.is_open();
        self.listen();
        if heard != self.ear.is_open()
            && let Some(config) = self.config()
        {
            self.step(election::Event::Configured(config));
        }
    }

    /// Listens where the spec says, for the callsign that is known.
    fn listen(&mut self) {
        let Some(spec) = &self.spec else { return };
        let trouble = self.ear.error().map(str::to_owned);
        let identity = self.certificate.identity();
        if identity.is_none() && spec.tls_secret.is_some() {
            // Without the certificate that is asked for it must not go on as if none were.
            if self.certificate.is_lacking() && (self.ear.is_open() || self.ear.error().is_some()) {
                self.ear.close();
                self.dirty = true;
            }
            return;
        }
        let Some(credentials) = self.callsign.credentials(Instant::now()) else {
            return;
        };
        let credentials = Credentials {
            identity,
            ..credentials
        };
        let ip = self.shared.options.listen_address;
        let group = self.callsign.group();
        if !self
            .ear
            .listen(&self.shared.transport, spec, ip, credentials, group)
        {
            return;
        }
        self.dirty = true;
        if let Some(error) = self.ear.error().filter(|error| trouble.as_deref() != Some(error)) {
            self.tell(true, "Listening", "CannotListen", error.to_owned());
        }
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
            log(&self.object, &command);
            match command {
                Command::Send { to, group, message } => self.send(&to, group, &message),
                Command::Persist { number, durable } => {
                    let foreseen = self.foreseen(&durable);
                    self.store.persist(number, durable, foreseen);
                }
                Command::Payload { number, order } => {
                    self.order = (number, order);
                    self.dirty = true;
                    self.send_order();
                }
                Command::Notify(notice) => self.take_notice(&notice),
            }
        }
        self.tell_stake();
    }

    /// What this member will save of its payload first, if the vote for itself is won.
    fn foreseen(&self, durable: &Durable) -> Option<Inventory> {
        let part = self.member.as_ref().map(|member| member.view(now()).part);
        let may_start = durable.vote == Some(self.id)
            && matches!(part, Some(Part::Candidate | Part::Waiting))
            && !matches!(self.order.1, Order::Run { .. });
        may_start
            .then(|| {
                self.application
                    .foresee(&self.shared.catalog, self.store.inventory())
            })
            .flatten()
    }

    fn publish_claim(&self) {
        let held = self.member.as_ref().and_then(|member| member.claim(now()));
        self.application.set_claim(held.map(claim));
    }

    fn send_order(&mut self) {
        self.owes_order = self.waits_for_payload();
        if self.owes_order {
            return;
        }
        let group = self.member.as_ref().and_then(Member::group);
        self.application.order(self.order.1, group);
    }

    fn take_answer(&mut self) {
        self.dirty = true;
        match self.application.take_answer(&self.metrics) {
            Answer::Stopped(note) => {
                if let Some(note) = note {
                    self.tell(false, "Stopping", "PayloadStopped", note);
                }
                self.step(election::Event::PayloadStopped(self.order.0));
            }
            Answer::Applied(told) => {
                if let Some(elected_at) = self.elected_at.take() {
                    self.chronicle.applied_after(elected_at.elapsed());
                }
                if let Some(note) = told {
                    self.tell(false, "Applying", "PayloadApplied", note);
                }
            }
            Answer::Obstacle(reason, note) => {
                let action = match self.order.1 {
                    Order::Stop => "Stopping",
                    Order::Run { .. } | Order::Hold => "Applying",
                };
                self.tell(true, action, reason, note);
            }
            Answer::Nothing => {}
        }
    }
}

/// The election's moves, for who follows it; heartbeats, which are many, one level below.
fn log(object: &MultiCluster, command: &Command) {
    let object = object.name_any();
    match command {
        Command::Send {
            message: Message::Heartbeat { .. } | Message::Ack { .. },
            to,
            ..
        } => {
            tracing::trace!(target: ELECTION, object, ?to, "a heartbeat or its answer");
        }
        Command::Send { message, to, .. } => {
            tracing::debug!(target: ELECTION, object, ?to, ?message, "sends")
        }
        Command::Persist { durable, .. } => {
            let vote = durable.vote.map(|vote| vote.to_string());
            tracing::debug!(target: ELECTION, object, term = durable.term, vote, "makes its memory durable");
        }
        Command::Payload { order, .. } => {
            tracing::debug!(target: ELECTION, object, ?order, "orders the payload")
        }
        Command::Notify(notice) => tracing::debug!(target: ELECTION, object, ?notice, "tells"),
    }
}
