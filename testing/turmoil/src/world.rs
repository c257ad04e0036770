//! A few machines, the network between them, and what may befall them.

use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng};
use tokio_util::sync::CancellationToken;
use turmoil::{Builder, Sim};

use crate::candidate::{self, CALLSIGN, LISTEN, Seen, Site};
use crate::election::{Config, Duty, Event, Profile, Settings};
use crate::invariants::no_process_ends_by_itself;
use crate::machine::{DISK_MS, Machine, TRUE_PERMILLE};
use crate::payload::Payload;
use crate::peer::Callsign;
use crate::watch::Watch;
use crate::witness::{self, Options};

/// Segments of a connection, and connections that nobody has accepted, which the simulated network holds at most: what comes
/// together behind a link that is held for minutes. Above it the simulation itself gives up.
const NETWORK_CAPACITY: usize = 16_384;

/// The simulated network forgets no port of an attempt to connect that was given up, so there have to be many.
const EPHEMERAL_PORTS: std::ops::RangeInclusive<u16> = 10_000..=65_535;

/// How a world is made.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// How much time passes at once; nothing travels faster than this.
    pub tick: Duration,
    /// One-way delay of a segment at most.
    pub latency_max: Duration,
    /// How long a payload takes to stop, least and most, in milliseconds.
    pub stop_ms: (u64, u64),
}

/// What keeps two machines from talking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// What is sent is lost.
    Cut,
    /// What is sent waits until the link is mended.
    Held,
}

/// A folder of its own, which goes with this.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        // A disk would take longer to sync than everything else together.
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let path = parent.join(format!("flagship-turmoil-{:016x}", rand::random::<u64>()));
        fs::create_dir(&path).expect("the folder of a simulation can be made");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Machines and their network.
pub struct World {
    // Dropped first: its processes hold files in the folder.
    sim: Sim<'static>,
    sites: Vec<Rc<Site>>,
    watch: Rc<RefCell<Watch>>,
    faults: BTreeMap<(usize, usize), Fault>,
    weather: Weather,
    rng: SmallRng,
    _folder: Folder,
}

impl World {
    /// Machines whose processes start with the first step. Each has the others for its fleet; the first is to found the group.
    #[must_use]
    pub fn new(seed: u64, weather: Weather, members: &[(i64, Duty)], settings: Settings) -> World {
        no_process_ends_by_itself::watch_panics();
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut sim = Builder::new()
            .rng_seed(rng.random())
            .enable_random_order()
            .tick_duration(weather.tick)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(weather.latency_max)
            .tcp_capacity(NETWORK_CAPACITY)
            .ephemeral_ports(EPHEMERAL_PORTS)
            .simulation_duration(Duration::MAX)
            .build();
        let folder = Folder::new();
        let watch = Rc::<RefCell<Watch>>::default();
        let name = |index: usize| format!("site-{index}");
        let address = |index: usize| format!("{}:{}", name(index), LISTEN.port());
        let mut sites = Vec::new();
        for (index, (rank, duty)) in members.iter().enumerate() {
            watch
                .borrow_mut()
                .add(Payload::new(rng.random(), weather.stop_ms));
            let fleet = (0..members.len())
                .filter(|other| *other != index && members[*other].1 == Duty::Candidate)
                .map(address)
                .collect();
            let config = Config {
                profile: Profile {
                    name: name(index).into(),
                    address: address(index).into(),
                    rank: *rank,
                    duty: *duty,
                },
                fleet,
                ready: index == 0,
                found_without: Vec::new(),
                settings,
                paused: false,
                stop_timeout_ms: 30_000,
            };
            let site = Rc::new(Site {
                index,
                name: name(index),
                machine: Rc::new(Machine::new(rng.random())),
                config: RefCell::new(config),
                state: folder.0.join(name(index)),
                watch: Rc::clone(&watch),
                told: RefCell::new(None),
                exit: RefCell::new(CancellationToken::new()),
                seen: RefCell::new(None),
            });
            sites.push(Rc::clone(&site));
            sim.host(name(index), move || {
                let site = Rc::clone(&site);
                async move {
                    let duty = site.config.borrow().profile.duty;
                    match duty {
                        Duty::Candidate => candidate::run(site).await,
                        Duty::Witness => bear_witness(site).await,
                    }
                }
            });
        }
        World {
            sim,
            sites,
            watch,
            faults: BTreeMap::new(),
            weather,
            rng,
            _folder: folder,
        }
    }

    // Time.

    /// True time since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.sim.elapsed()
    }

    /// Lets time pass, or ends at the first broken promise.
    pub fn run(&mut self, time: Duration) {
        let end = self.elapsed() + time;
        while self.elapsed() < end && !self.is_broken() {
            self.step();
        }
    }

    /// Starts whoever has ended, and lets time pass until `done` or `limit` is over; tells how long it took.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&World) -> bool) -> Option<Duration> {
        let start = self.elapsed();
        while !done(self) {
            if self.elapsed() - start >= limit || self.is_broken() {
                return None;
            }
            self.start_all();
            self.step();
        }
        Some(self.elapsed() - start)
    }

    fn step(&mut self) {
        let step = self.sim.step();
        if let Some(what) = no_process_ends_by_itself::broken(step) {
            self.violate(what);
        }
    }

    // What is seen.

    /// How many machines there are.
    #[must_use]
    pub fn sites(&self) -> usize {
        self.sites.len()
    }

    /// Those that may lead.
    pub fn candidates(&self) -> impl Iterator<Item = usize> {
        let duty = |site: &Site| site.config.borrow().profile.duty;
        let candidates = self
            .sites
            .iter()
            .filter(move |site| duty(site) == Duty::Candidate);
        candidates.map(|site| site.index)
    }

    /// What the process of a site shows of itself.
    #[must_use]
    pub fn seen(&self, site: usize) -> Option<Seen> {
        self.sites[site].seen.borrow().clone()
    }

    /// What was seen of all clusters.
    #[must_use]
    pub fn watch(&self) -> Ref<'_, Watch> {
        self.watch.borrow()
    }

    /// Whether a promise was broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        !self.watch().violations.is_empty()
    }

    /// Takes note of a broken promise.
    pub fn violate(&mut self, what: String) {
        let at = self.elapsed();
        self.watch.borrow_mut().violate(at, what);
    }

    /// Chance, from the seed.
    pub fn chance(&mut self) -> &mut SmallRng {
        &mut self.rng
    }

    // Processes.

    /// Whether the process of a site runs.
    pub fn is_up(&mut self, site: usize) -> bool {
        self.sim.is_host_running(self.sites[site].name.as_str())
    }

    /// Starts the process of a site, if it does not run.
    pub fn start(&mut self, site: usize) {
        if !self.is_up(site) {
            self.sim.bounce(self.sites[site].name.as_str());
        }
    }

    fn start_all(&mut self) {
        for site in 0..self.sites() {
            self.start(site);
        }
    }

    /// Kills the process of a site. The payload runs on.
    pub fn crash(&mut self, site: usize) {
        self.sim.crash(self.sites[site].name.as_str());
        self.watch.borrow_mut().see_end(site);
        *self.sites[site].seen.borrow_mut() = None;
    }

    /// The whole cluster goes dark, payload and all: nothing leaves it, not even the end of a connection.
    pub fn lose(&mut self, site: usize) {
        self.isolate(site);
        self.crash(site);
        self.watch.borrow_mut().payload_mut(site).vanish();
    }

    /// Tells the process of a site to end, as SIGTERM does.
    pub fn end(&mut self, site: usize) {
        self.sites[site].exit.borrow().cancel();
    }

    /// Tells the member of a site something, as its user would; nobody hears it where none runs.
    pub fn tell(&mut self, site: usize, event: Event) {
        if let Some(told) = &*self.sites[site].told.borrow() {
            // A process that does not listen has ended, or has enough to do.
            drop(told.try_send(event));
        }
    }

    /// Removes a member as its user would, who creates it anew: another identity at the same address. It comes up with the
    /// next start.
    pub fn recreate(&mut self, site: usize) {
        self.crash(site);
        self.watch.borrow_mut().payload_mut(site).vanish();
        drop(fs::remove_file(&self.sites[site].state));
    }

    // Disks.

    /// What the memory of a site says now.
    #[must_use]
    pub fn backup(&self, site: usize) -> Option<Vec<u8>> {
        fs::read(&self.sites[site].state).ok()
    }

    /// Kills the process of a site and puts an older memory in the place of its own.
    pub fn restore(&mut self, site: usize, memory: &[u8]) {
        self.crash(site);
        fs::write(&self.sites[site].state, memory).expect("a memory can be put back");
    }

    /// Writes and lookups at a site take up to `most_ms`.
    pub fn slow_down(&mut self, site: usize, most_ms: u64) {
        self.sites[site].machine.set_blocking_ms((0, most_ms));
    }

    /// Writes at a site fail.
    pub fn refuse_writes(&mut self, site: usize) {
        // A folder in the place of the file that is written aside.
        let aside = self.aside(site);
        drop(fs::remove_file(&aside));
        drop(fs::create_dir(&aside));
    }

    /// Writes at a site succeed, and fast.
    pub fn mend_disk(&mut self, site: usize) {
        drop(fs::remove_dir(self.aside(site)));
        self.sites[site].machine.set_blocking_ms(DISK_MS);
    }

    fn aside(&self, site: usize) -> PathBuf {
        self.sites[site].state.with_extension("new")
    }

    /// The clock of a site runs at this rate, in thousandths of true time.
    pub fn set_clock_rate(&mut self, site: usize, permille: u32) {
        let now = self.elapsed();
        self.sites[site].machine.set_rate(now, permille);
    }

    // Links.

    fn names(&self, one: usize, other: usize) -> (&str, &str) {
        (&self.sites[one].name, &self.sites[other].name)
    }

    fn befall(&mut self, one: usize, other: usize, fault: Fault) {
        // Faults of different kinds do not mix.
        self.mend_link(one, other);
        self.faults.insert((one.min(other), one.max(other)), fault);
    }

    /// What two machines send each other is lost, from what is on its way now.
    pub fn cut(&mut self, one: usize, other: usize) {
        self.befall(one, other, Fault::Cut);
        let (one, other) = self.names(one, other);
        self.sim.partition(one, other);
    }

    /// The same in one direction.
    pub fn cut_one_way(&mut self, from: usize, to: usize) {
        self.befall(from, to, Fault::Cut);
        let (from, to) = self.names(from, to);
        self.sim.partition_oneway(from, to);
    }

    /// What is on its way between two machines is lost, and no more: the connections have a gap that nobody fills.
    pub fn blink(&mut self, one: usize, other: usize) {
        self.cut(one, other);
        self.mend_link(one, other);
    }

    /// What two machines send each other waits until the link is mended, as TCP has it wait that repeats what was lost.
    pub fn hold(&mut self, one: usize, other: usize) {
        self.befall(one, other, Fault::Held);
        let (one, other) = self.names(one, other);
        self.sim.hold(one, other);
    }

    /// Cuts a machine off from all others.
    pub fn isolate(&mut self, site: usize) {
        for other in (0..self.sites()).filter(|other| *other != site) {
            self.cut(site, other);
        }
    }

    /// Mends a link.
    pub fn mend_link(&mut self, one: usize, other: usize) {
        if self.faults.remove(&(one.min(other), one.max(other))).is_some() {
            let (one, other) = self.names(one, other);
            self.sim.release(one, other);
        }
    }

    /// Mends all links.
    pub fn mend_links(&mut self) {
        for (one, other) in self.faults.keys().copied().collect::<Vec<_>>() {
            self.mend_link(one, other);
        }
    }

    /// The one-way delay between two machines is this much at most from now on.
    pub fn set_latency_max(&mut self, one: usize, other: usize, latency_max: Duration) {
        let (one, other) = self.names(one, other);
        self.sim.set_link_max_message_latency(one, other, latency_max);
    }

    /// Mends every link and disk, and starts every process.
    pub fn mend(&mut self) {
        self.mend_links();
        for site in 0..self.sites() {
            self.mend_disk(site);
            for other in 0..site {
                self.set_latency_max(site, other, self.weather.latency_max);
            }
        }
        self.start_all();
    }

    /// Every clock keeps true time again.
    pub fn mend_clocks(&mut self) {
        for site in 0..self.sites() {
            self.set_clock_rate(site, TRUE_PERMILLE);
        }
    }
}

/// Runs a witness until it is told to end.
async fn bear_witness(site: Rc<Site>) -> turmoil::Result {
    site.machine.run_here();
    let exit = CancellationToken::new();
    *site.exit.borrow_mut() = exit.clone();
    let config = site.config.borrow().clone();
    let options = Options {
        listen: LISTEN,
        service_address: config.profile.address.to_string(),
        join: config.fleet,
        callsign: Callsign::new(CALLSIGN),
        certificate: None,
        name: site.name.clone(),
        state: site.state.clone(),
        metrics_address: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080),
    };
    Ok(witness::run_until(exit.cancelled_owned(), options).await?)
}
