//! Whole groups of the shipped state machine on a simulated network, from a seed that replays exactly.
//!
//! Time is simulated: an hour costs milliseconds. Every member's process can crash and restart with exactly what it
//! had made durable, freeze, and be cut off; its payload runs on without it, as a real one does.

#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a simulator belongs to tests: it fails by panicking, and traces a seed to the terminal"
)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use flagship::election::{
    Command, Config, Destination, Durable, Event, GroupId, Member, MemberId, MemoryId, Message, Notice,
    Order, Part, Problem, Profile, Received, Roster, Settings, Term, Tick,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// How the simulated network and API servers behave.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// One-way delay of a message, least and most, in milliseconds.
    pub delay_ms: (i64, i64),
    /// How many of a thousand messages are lost.
    pub loss_permille: u64,
    /// How many of a thousand messages arrive twice.
    pub duplicate_permille: u64,
    /// How long a write to an API server takes, least and most, in milliseconds.
    pub write_ms: (i64, i64),
    /// How long a payload takes to stop, least and most, in milliseconds.
    pub stop_ms: (i64, i64),
}

impl Default for Weather {
    fn default() -> Weather {
        Weather {
            delay_ms: (1, 5),
            loss_permille: 0,
            duplicate_permille: 0,
            write_ms: (3, 12),
            stop_ms: (5, 60),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Happening {
    Deliver {
        to: usize,
        received: Received,
    },
    Written {
        to: usize,
        process: u64,
        number: u64,
        durable: Box<Durable>,
        outcome: Outcome,
    },
    Gone {
        to: usize,
        number: u64,
    },
    Wake {
        to: usize,
        process: u64,
    },
}

/// How an API server treats writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// They succeed.
    #[default]
    Works,
    /// They are refused.
    Refuses,
    /// Nobody is told what became of them: half of them are durable.
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Durable,
    Failed,
    DurableUntold,
}

/// A copy of the payload in one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Running {
    term: Term,
    /// Its controller died or was frozen since it last ordered it, so that nobody could stop it in time.
    orphaned: bool,
}

/// One cluster with one controller.
struct Site {
    id: MemberId,
    config: Config,
    /// `None` while the process is dead.
    member: Option<Member>,
    /// Counts the processes, so that what a dead one waited for is told apart.
    process: u64,
    disk: Durable,
    /// The process whose write was the last to become durable.
    writer: u64,
    storage: Storage,
    writes: u64,
    frozen: bool,
    mailbox: VecDeque<Event>,
    running: Option<Running>,
    order: (u64, Order),
    /// The rate of its clock in thousandths.
    rate_permille: i64,
    notices: Vec<(i64, Notice)>,
    wake_at: Option<i64>,
}

/// Violations that are kept of one world.
const VIOLATIONS_MAX: usize = 10;

/// A violated promise, with when and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, in simulated milliseconds.
    pub at_ms: i64,
    /// What was seen.
    pub what: String,
}

/// A simulated world.
pub struct World {
    now_ms: i64,
    rng: SmallRng,
    weather: Weather,
    sites: Vec<Site>,
    queue: BinaryHeap<Reverse<(i64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    sequence: u64,
    /// Pairs (from, to) whose link is cut in that direction.
    cuts: Vec<(usize, usize)>,
    /// Further addresses of sites.
    aliases: BTreeMap<String, usize>,
    leaders: BTreeMap<(GroupId, Term), MemberId>,
    /// Whether two valid claims at once break a promise: not where each of two voters may lead alone.
    guarded: bool,
    /// What went wrong.
    pub violations: Vec<Violation>,
    /// Messages delivered.
    pub delivered: u64,
    /// Prints every event and command, for looking into a seed.
    pub traced: bool,
}

impl Site {
    fn orphan(&mut self) {
        if let Some(copy) = &mut self.running {
            copy.orphaned = true;
        }
    }
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64, weather: Weather) -> World {
        World {
            now_ms: 0,
            rng: SmallRng::seed_from_u64(seed),
            weather,
            sites: Vec::new(),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            sequence: 0,
            cuts: Vec::new(),
            aliases: BTreeMap::new(),
            leaders: BTreeMap::new(),
            guarded: true,
            violations: Vec::new(),
            delivered: 0,
            traced: false,
        }
    }

    /// Two claims at once are no violation in this world.
    #[must_use]
    pub fn unguarded(mut self) -> World {
        self.guarded = false;
        self
    }

    /// Adds a cluster whose controller is yet to be started. Its address is `site-N`.
    pub fn site(&mut self, rank: i64, ready: bool, fleet: &[usize], settings: Settings) -> usize {
        let index = self.sites.len();
        let number = u128::try_from(index).unwrap_or_default() + 1;
        let profile = Profile {
            name: format!("site-{index}"),
            address: format!("site-{index}"),
            rank,
        };
        let fleet = fleet.iter().map(|site| format!("site-{site}")).collect();
        let config = Config {
            profile,
            fleet,
            ready,
            found_without: Vec::new(),
            settings,
        };
        self.sites.push(Site {
            id: MemberId(number),
            config,
            member: None,
            process: 0,
            disk: Durable::new(MemoryId(number)),
            writer: 0,
            storage: Storage::Works,
            writes: 0,
            frozen: false,
            mailbox: VecDeque::new(),
            running: None,
            order: (0, Order::Hold),
            rate_permille: 1000,
            notices: Vec::new(),
            wake_at: None,
        });
        index
    }

    /// Sets the rate of a site's clock in thousandths of true time.
    pub fn set_clock_rate(&mut self, site: usize, permille: i64) {
        self.sites[site].rate_permille = permille;
    }

    /// A number below `bound` from the world's own randomness.
    pub fn draw(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound.max(1)
    }

    /// Simulated milliseconds since the beginning.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    fn tick(&self, site: usize) -> Tick {
        Tick(self.now_ms * self.sites[site].rate_permille / 1000)
    }

    /// Starts the controller of a site from what is on its disk.
    pub fn start(&mut self, site: usize) {
        let now = self.tick(site);
        let place = &mut self.sites[site];
        if place.member.is_some() {
            return;
        }
        place.process += 1;
        place.frozen = false;
        place.mailbox.clear();
        place.order = (0, Order::Hold);
        let (member, commands) = Member::start(place.id, place.disk.clone(), place.config.clone(), now);
        place.member = Some(member);
        self.carry_out(site, commands);
    }

    /// Ends the controller of a site without warning; its payload runs on.
    pub fn crash(&mut self, site: usize) {
        let place = &mut self.sites[site];
        place.member = None;
        place.wake_at = None;
        place.mailbox.clear();
        place.orphan();
    }

    /// The whole cluster goes dark: controller and payload.
    pub fn lose(&mut self, site: usize) {
        self.crash(site);
        self.sites[site].running = None;
    }

    /// The status of the site's object is lost, and with it its memory.
    pub fn forget(&mut self, site: usize) {
        let memory = MemoryId(u128::from(self.rng.next_u64()));
        self.sites[site].disk = Durable::new(memory);
    }

    /// A copy of the site's memory, for [`World::restore`].
    #[must_use]
    pub fn backup(&self, site: usize) -> Durable {
        self.sites[site].disk.clone()
    }

    /// The site's etcd is restored from a backup.
    pub fn restore(&mut self, site: usize, disk: Durable) {
        self.sites[site].disk = disk;
    }

    /// A second address of a site.
    pub fn alias(&mut self, address: &str, site: usize) {
        self.aliases.insert(address.to_owned(), site);
    }

    /// The site's object is deleted and created anew, under the same address: a new member without a past.
    pub fn recreate(&mut self, site: usize) {
        self.crash(site);
        self.sites[site].running = None;
        self.sites[site].id = MemberId(u128::from(self.rng.next_u64()));
        self.forget(site);
    }

    /// Changes how the site's API server treats writes that are begun from now on.
    pub fn set_storage(&mut self, site: usize, storage: Storage) {
        self.sites[site].storage = storage;
    }

    /// Changes how long writes take that are begun from now on, least and most, in milliseconds.
    pub fn set_write_time(&mut self, write_ms: (i64, i64)) {
        self.weather.write_ms = write_ms;
    }

    /// Stops the controller's process, as SIGSTOP does.
    pub fn freeze(&mut self, site: usize) {
        self.sites[site].frozen = true;
        self.sites[site].orphan();
    }

    /// Lets it go on.
    pub fn thaw(&mut self, site: usize) {
        if !std::mem::take(&mut self.sites[site].frozen) {
            return;
        }
        // The timers are looked at first, as a scheduler may well do; messages that waited come after.
        self.step(site, Event::Tick);
        while let Some(event) = self.sites[site].mailbox.pop_front() {
            self.step(site, event);
        }
    }

    /// Cuts the link in one direction.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.cuts.push((from, to));
    }

    /// Cuts a site off from all others, both ways.
    pub fn isolate(&mut self, site: usize) {
        for other in (0..self.sites.len()).filter(|other| *other != site) {
            self.cut(site, other);
            self.cut(other, site);
        }
    }

    /// Mends all links.
    pub fn heal(&mut self) {
        self.cuts.clear();
    }

    /// Gives an event to a site's member, as its user or its operating system would.
    pub fn tell(&mut self, site: usize, event: Event) {
        self.step(site, event);
    }

    /// Changes what the user wants of a member.
    pub fn configure(&mut self, site: usize, change: impl FnOnce(&mut Config)) {
        change(&mut self.sites[site].config);
        let config = self.sites[site].config.clone();
        self.step(site, Event::Configured(config));
    }

    /// Lets time pass.
    pub fn run(&mut self, ms: i64) {
        let end = self.now_ms + ms;
        while let Some(Reverse((at, sequence))) = self.queue.peek().copied() {
            if at > end {
                break;
            }
            self.queue.pop();
            self.now_ms = self.now_ms.max(at);
            let Some(happening) = self.happenings.remove(&sequence) else {
                continue;
            };
            self.happen(happening);
            self.check();
        }
        self.now_ms = end;
        self.check();
    }

    /// Lets time pass until `done` or `limit_ms` are over; tells how long it took.
    pub fn run_until(&mut self, limit_ms: i64, mut done: impl FnMut(&World) -> bool) -> Option<i64> {
        let start = self.now_ms;
        while self.now_ms - start < limit_ms {
            if done(self) {
                return Some(self.now_ms - start);
            }
            self.run(1);
        }
        done(self).then_some(limit_ms)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Deliver { to, received } => {
                self.delivered += 1;
                self.step(to, Event::Received(received));
            }
            Happening::Written {
                to,
                process,
                number,
                durable,
                outcome,
            } => {
                // The write reaches the API server whether or not its process still waits for it, but every write
                // names the version that it goes by: one that comes after a later process' write is refused.
                let place = &mut self.sites[to];
                if outcome != Outcome::Failed && process >= place.writer {
                    place.disk = *durable;
                    place.writer = process;
                }
                if place.process == process {
                    let durable = outcome == Outcome::Durable;
                    self.step(
                        to,
                        if durable {
                            Event::Persisted(number)
                        } else {
                            Event::PersistFailed(number)
                        },
                    );
                }
            }
            Happening::Gone { to, number } => {
                if self.sites[to].order == (number, Order::Stop) {
                    self.sites[to].running = None;
                    self.step(to, Event::PayloadStopped(number));
                }
            }
            Happening::Wake { to, process } => {
                if self.sites[to].process == process {
                    self.sites[to].wake_at = None;
                    self.step(to, Event::Tick);
                }
            }
        }
    }

    fn step(&mut self, site: usize, event: Event) {
        if self.traced {
            eprintln!(
                "{:>8} site {site} {:?} <- {event:?}",
                self.now_ms,
                self.part(site)
            );
        }
        let now = self.tick(site);
        let place = &mut self.sites[site];
        if place.frozen {
            if !matches!(event, Event::Tick) {
                place.mailbox.push_back(event);
            }
            return;
        }
        let Some(member) = &mut place.member else {
            return;
        };
        let is_tick = event == Event::Tick;
        let commands = member.step(now, event, &mut self.rng);
        // It may want to look once more after it changed its part, but not again and again: that would be a busy loop.
        let wants_again = |member: &Member| member.deadline().is_some_and(|deadline| deadline <= now);
        let restless = is_tick && wants_again(member) && {
            let mut again = member.clone();
            again.step(now, Event::Tick, &mut self.rng);
            wants_again(&again)
        };
        self.carry_out(site, commands);
        if restless {
            self.violate(format!("site {site} wants to be woken again and again"));
        }
        if self.part(site) == Some(Part::Faulty) {
            self.violate(format!("site {site} found the protocol broken"));
        }
    }

    fn carry_out(&mut self, site: usize, commands: Vec<Command>) {
        for command in commands {
            if self.traced {
                eprintln!("{:>8} site {site} -> {command:?}", self.now_ms);
            }
            match command {
                Command::Send { to, group, message } => self.send(site, &to, group, message),
                Command::Persist { number, durable } => {
                    let after = self.between(self.weather.write_ms);
                    let process = self.sites[site].process;
                    self.sites[site].writes += 1;
                    let storage = self.sites[site].storage;
                    let outcome = match storage {
                        Storage::Works => Outcome::Durable,
                        Storage::Refuses => Outcome::Failed,
                        Storage::Silent if self.draw(2) == 0 => Outcome::DurableUntold,
                        Storage::Silent => Outcome::Failed,
                    };
                    self.schedule(
                        after,
                        Happening::Written {
                            to: site,
                            process,
                            number,
                            durable,
                            outcome,
                        },
                    );
                }
                Command::Payload { number, order } => {
                    self.sites[site].order = (number, order);
                    match order {
                        Order::Run { term } => {
                            let orphaned = false;
                            self.sites[site].running = Some(Running { term, orphaned });
                        }
                        Order::Stop => {
                            let running = self.sites[site].running.is_some();
                            let after = if running {
                                self.between(self.weather.stop_ms)
                            } else {
                                0
                            };
                            self.schedule(after, Happening::Gone { to: site, number });
                        }
                        Order::Hold => {}
                    }
                }
                Command::Notify(notice) => self.sites[site].notices.push((self.now_ms, notice)),
            }
        }
        let place = &mut self.sites[site];
        let Some(deadline) = place.member.as_ref().and_then(Member::deadline) else {
            return;
        };
        let rate = place.rate_permille;
        // Rounded up, so that the member's clock has reached the deadline.
        let at = ((deadline.0 * 1000 + rate - 1) / rate).max(self.now_ms + 1);
        if place.wake_at.is_none_or(|wake| at < wake || wake < self.now_ms) {
            place.wake_at = Some(at);
            let process = place.process;
            self.schedule(at - self.now_ms, Happening::Wake { to: site, process });
        }
    }

    fn send(&mut self, from: usize, to: &Destination, group: Option<GroupId>, message: Message) {
        let target = match to {
            Destination::Address(address) => self.at_address(address),
            Destination::Member(id, _) => self.sites.iter().position(|site| site.id == *id),
        };
        let Some(to) = target else { return };
        // Every message crosses the real encoding.
        let wire = serde_json::to_string(&message).expect("every message can be encoded");
        let message = serde_json::from_str(&wire).expect("every encoded message can be decoded");
        let Some(member) = &self.sites[from].member else {
            return;
        };
        let received = Received {
            from: member.id(),
            memory: member.memory(),
            incarnation: member.incarnation(),
            group,
            message,
        };
        let copies = 1 + u32::from(self.draw(1000) < self.weather.duplicate_permille);
        for _ in 0..copies {
            if self.cuts.contains(&(from, to)) || self.draw(1000) < self.weather.loss_permille {
                continue;
            }
            let after = self.between(self.weather.delay_ms);
            self.schedule(
                after,
                Happening::Deliver {
                    to,
                    received: received.clone(),
                },
            );
        }
    }

    fn at_address(&self, address: &str) -> Option<usize> {
        let alias = self.aliases.get(address).copied();
        alias.or_else(|| {
            self.sites
                .iter()
                .position(|site| site.config.profile.address == address)
        })
    }

    fn between(&mut self, (least, most): (i64, i64)) -> i64 {
        let span = u64::try_from(most - least + 1).unwrap_or(1);
        least + i64::try_from(self.draw(span)).unwrap_or(0)
    }

    fn schedule(&mut self, after_ms: i64, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((self.now_ms + after_ms, self.sequence)));
        self.happenings.insert(self.sequence, happening);
    }

    // === promises ===

    fn check(&mut self) {
        let mut holders: BTreeMap<GroupId, Vec<usize>> = BTreeMap::new();
        for site in 0..self.sites.len() {
            let now = self.tick(site);
            let Some(member) = &self.sites[site].member else {
                continue;
            };
            let Some(group) = member.group() else {
                continue;
            };
            if let Some(claim) = member.claim(now) {
                holders.entry(group).or_default().push(site);
                let id = member.id();
                let leader = *self.leaders.entry((group, claim.term)).or_insert(id);
                if leader != id {
                    self.violate(format!("G1: {leader} and {id} both led in term {}", claim.term));
                }
            }
        }
        if self.guarded {
            for (group, holders) in holders {
                if holders.len() > 1 {
                    self.violate(format!(
                        "G2: sites {holders:?} hold claims of group {group} at once"
                    ));
                }
            }
        }
        self.check_copies();
    }

    /// Two copies that their controllers could both have stopped, in one group where that must not be.
    fn check_copies(&mut self) {
        let attended = |site: &usize| self.sites[*site].running.is_some_and(|copy| !copy.orphaned);
        let copies: Vec<usize> = (0..self.sites.len()).filter(attended).collect();
        if self.guarded && copies.len() > 1 {
            self.violate(format!("G3: the payload runs at sites {copies:?} at once"));
        }
    }

    fn violate(&mut self, what: String) {
        // One break of a promise lasts for many looks; the first ones tell.
        if self.violations.len() < VIOLATIONS_MAX {
            let at_ms = self.now_ms;
            self.violations.push(Violation { at_ms, what });
        }
    }

    // === looking ===

    /// How many sites there are.
    #[must_use]
    pub fn sites(&self) -> usize {
        self.sites.len()
    }

    /// The member of a site.
    #[must_use]
    pub fn member(&self, site: usize) -> Option<&Member> {
        self.sites[site].member.as_ref()
    }

    /// The part that the member of a site plays.
    #[must_use]
    pub fn part(&self, site: usize) -> Option<Part> {
        let now = self.tick(site);
        self.member(site).map(|member| member.view(now).part)
    }

    /// What keeps a site's member from doing its part.
    #[must_use]
    pub fn problem(&self, site: usize) -> Option<Problem> {
        let now = self.tick(site);
        self.member(site).and_then(|member| member.view(now).problem)
    }

    /// How many writes the site's API server was asked for since the beginning.
    #[must_use]
    pub fn writes(&self, site: usize) -> u64 {
        self.sites[site].writes
    }

    /// The sites whose live, unfrozen members lead.
    #[must_use]
    pub fn leaders(&self) -> Vec<usize> {
        let leads = |site: &usize| !self.sites[*site].frozen && self.part(*site) == Some(Part::Leader);
        (0..self.sites.len()).filter(leads).collect()
    }

    /// The sites at which a copy of the payload runs.
    #[must_use]
    pub fn running(&self) -> Vec<usize> {
        (0..self.sites.len())
            .filter(|site| self.sites[*site].running.is_some())
            .collect()
    }

    /// What a site's member told its user, with when.
    #[must_use]
    pub fn notices(&self, site: usize) -> &[(i64, Notice)] {
        &self.sites[site].notices
    }

    /// The roster that a site's member holds.
    #[must_use]
    pub fn roster(&self, site: usize) -> Option<&Roster> {
        self.member(site).and_then(Member::roster)
    }

    /// Whether exactly this site leads, its payload runs, none other does, and all running members are in one roster.
    #[must_use]
    pub fn is_settled_on(&self, leader: usize) -> bool {
        let live: Vec<usize> = (0..self.sites.len())
            .filter(|site| self.member(*site).is_some())
            .collect();
        let follows = |site: &usize| {
            *site == leader
                || self.part(*site) == Some(Part::Follower) && self.roster(*site) == self.roster(leader)
        };
        self.leaders() == [leader] && self.running() == [leader] && live.iter().all(follows)
    }
}
