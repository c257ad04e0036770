//! A process that may lead: the witness's shell around a member, with a payload.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use flagship_simulation::world::invariants::Sight;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::election::{Config, Event, GroupId, MemberId, Order, Part, Roster, Term};
use crate::machine::Machine;
use crate::observe::metrics::Metrics;
use crate::peer::{self, Callsign, Credentials, Transport};
use crate::watch::Watch;
use crate::witness::{Outcome, Shell, now};

/// Where every process listens.
pub const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 9990);
/// The secret of the only group.
pub const CALLSIGN: &str = "federation";
/// What people tell one process at a time is one event.
const TOLD_MAX: usize = 16;
/// How long a process that is told to end may take.
const GRACE: Duration = Duration::from_secs(30);
/// How often it looks meanwhile whether it may.
const END_PAUSE: Duration = Duration::from_millis(200);
/// What is queued for the others when the process ends leaves within this.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);
/// How soon a payload that may not be applied yet is tried again.
const APPLY_PAUSE: Duration = Duration::from_millis(100);
/// Turns at one instant that are many, and yet no endless loop: a burst of messages may be that long.
const TURNS_MAX: u32 = 10_000;

/// A cluster with its process, as the world knows it.
pub struct Site {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) machine: Rc<Machine>,
    pub(crate) config: RefCell<Config>,
    /// The file with the member's memory.
    pub(crate) state: PathBuf,
    pub(crate) watch: Rc<RefCell<Watch>>,
    /// To the process that runs here, or ran last.
    pub(crate) told: RefCell<Option<mpsc::Sender<Event>>>,
    pub(crate) exit: RefCell<CancellationToken>,
    /// What the process that runs here shows of itself.
    pub(crate) seen: RefCell<Option<Seen>>,
}

/// What a process shows of itself.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its member.
    pub id: MemberId,
    /// The part that this plays.
    pub part: Part,
    /// Its group.
    pub group: Option<GroupId>,
    /// The newest term that it knows.
    pub term: Term,
    /// The roster that it holds.
    pub roster: Option<Roster>,
    /// How many voters it has heard within a lease.
    pub have: usize,
    /// Whether it has left its group.
    pub has_left: bool,
    /// What its transport keeps.
    pub kept: Kept,
}

/// What a transport keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Connections.
    pub connections: usize,
    /// Other processes that are connected.
    pub peers: usize,
    /// Processes, addresses, channels and guessers that it remembers.
    pub remembered: usize,
    /// Tasks.
    pub tasks: usize,
}

/// An order that is being carried out.
struct Due {
    at: Instant,
    number: u64,
    order: Order,
}

struct Candidate {
    site: Rc<Site>,
    transport: Transport,
    shell: Shell,
    due: Option<Due>,
    resigned_at: Option<Instant>,
    /// Turns since this instant.
    turns: (Instant, u32),
}

/// Runs a candidate until it is told to end.
///
/// # Errors
/// What the process would have ended with.
pub async fn run(site: Rc<Site>) -> turmoil::Result {
    site.machine.run_here();
    let (told_sender, told) = mpsc::channel(TOLD_MAX);
    *site.told.borrow_mut() = Some(told_sender);
    let exit = CancellationToken::new();
    *site.exit.borrow_mut() = exit.clone();

    let transport = Transport::start(peer::Config::default())?;
    let listener = transport.listen(LISTEN)?;
    let config = site.config.borrow().clone();
    let metrics = Metrics::new().member("", &site.name);
    let credentials = Credentials::new(Callsign::new(CALLSIGN));
    let (shell, outcomes) = Shell::start(&site.state, config, &transport, &listener, credentials, metrics)?;
    let mut candidate = Candidate {
        site: Rc::clone(&site),
        transport: transport.clone(),
        shell,
        due: None,
        resigned_at: None,
        turns: (Instant::now(), 0),
    };
    candidate.take(outcomes);
    candidate.serve(told, exit).await?;
    drop((candidate, listener));
    site.watch.borrow_mut().see_end(site.index);
    *site.seen.borrow_mut() = None;
    if let Err(error) = transport.shut_down(FLUSH_LIMIT).await {
        tracing::debug!(%error, "some messages could not be sent any more");
    }
    Ok(())
}

impl Candidate {
    async fn serve(
        &mut self,
        mut told: mpsc::Receiver<Event>,
        exit: CancellationToken,
    ) -> Result<(), crate::witness::Error> {
        loop {
            self.look();
            if let Some(resigned_at) = self.resigned_at
                && (self.shell.member().may_exit(now()) || resigned_at.elapsed() >= GRACE)
            {
                return Ok(());
            }
            self.count_turn();
            let due_at = self.due.as_ref().map(|due| due.at);
            tokio::select! {
                biased;
                () = sleep_until(due_at.unwrap_or_else(Instant::now)), if due_at.is_some() => self.carry_out(),
                Some(event) = told.recv() => self.step(event),
                () = exit.cancelled(), if self.resigned_at.is_none() => {
                    self.resigned_at = Some(Instant::now());
                    self.step(Event::Resign);
                }
                () = sleep(END_PAUSE), if self.resigned_at.is_some() => {}
                outcomes = self.shell.turn() => {
                    let outcomes = outcomes?;
                    self.take(outcomes);
                }
            }
        }
    }

    fn count_turn(&mut self) {
        let instant = Instant::now();
        if self.turns.0 != instant {
            self.turns = (instant, 0);
        }
        self.turns.1 += 1;
        assert!(
            self.turns.1 < TURNS_MAX,
            "{} wants to be woken again and again: due {:?} at {:?}, {:?}",
            self.site.name,
            self.shell.member().deadline(),
            now(),
            self.shell.member()
        );
    }

    fn step(&mut self, event: Event) {
        let outcomes = self.shell.step(event);
        self.take(outcomes);
    }

    fn take(&mut self, outcomes: Vec<Outcome>) {
        for outcome in outcomes {
            match outcome {
                Outcome::Order { number, order } => {
                    let takes = self
                        .site
                        .watch
                        .borrow_mut()
                        .payload_mut(self.site.index)
                        .draw(order);
                    let at = Instant::now() + takes;
                    self.due = Some(Due { at, number, order });
                }
                Outcome::Notice(notice) => tracing::info!(?notice, "notes"),
            }
        }
    }

    /// The time has come for what was ordered last.
    fn carry_out(&mut self) {
        let Some(Due { number, order, .. }) = self.due.take() else {
            return;
        };
        match order {
            Order::Hold => {}
            Order::Run { term } => {
                let member = self.shell.member();
                let claim = member.claim(now()).filter(|claim| claim.term == term);
                let (Some(_), Some(group)) = (claim, member.group()) else {
                    // It stands until another one comes.
                    let at = Instant::now() + APPLY_PAUSE;
                    self.due = Some(Due { at, number, order });
                    return;
                };
                let sight = Sight {
                    site: self.site.index,
                    id: member.id(),
                    group,
                    term,
                };
                let mut watch = self.site.watch.borrow_mut();
                watch.see_start(elapsed(), sight, member.settings());
            }
            Order::Stop => {
                self.site.watch.borrow_mut().payload_mut(self.site.index).vanish();
                self.step(Event::PayloadStopped(number));
            }
        }
    }

    /// Shows what has become of the member, and holds its claim against the promises.
    fn look(&self) {
        let (member, now) = (self.shell.member(), now());
        let mut watch = self.site.watch.borrow_mut();
        match (member.claim(now), member.group()) {
            (Some(claim), Some(group)) => {
                let sight = Sight {
                    site: self.site.index,
                    id: member.id(),
                    group,
                    term: claim.term,
                };
                watch.see_claim(elapsed(), sight, self.site.machine.when(claim.until));
            }
            _ => watch.see_no_claim(self.site.index),
        }
        let part = member.part(now);
        if part == Part::Faulty {
            watch.violate(
                elapsed(),
                format!("{} found the protocol broken: {member:?}", self.site.name),
            );
        }
        *self.site.seen.borrow_mut() = Some(Seen {
            id: member.id(),
            part,
            group: member.group(),
            term: member.term(),
            roster: member.roster().cloned(),
            have: member.view(now).have,
            has_left: member.has_left(),
            kept: Kept {
                connections: self.transport.connections(),
                peers: self.transport.peers(),
                remembered: self.transport.remembered(),
                tasks: Handle::current().metrics().num_alive_tasks(),
            },
        });
    }
}

/// True time.
fn elapsed() -> Duration {
    turmoil::sim_elapsed().expect("called within a simulation")
}
