//! What happens to one group at random, from a seed: stretches of faults, each of which ends by healing and demanding a
//! leader, and quiet times between them, after which nothing may have leaked and nobody may have moved.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt as _;

use crate::election::{Duty, Event, Fitness, QuorumMode, RequestId, Settings, Wish};
use crate::invariants::nothing_leaks::FORGOTTEN_AFTER;
use crate::watch::Violation;
use crate::world::{Weather, World};

/// Rates of clocks in thousandths, any two of which differ by less than the drift bound of 20.
const RATES: (u32, u32) = (991, 1_010);

/// With everything mended, a group that has no leader after this long has none for a reason: connections are given up and
/// dialled again within seconds, and members come from restarts and from writes that hang.
const LEADER_WITHIN: Duration = Duration::from_secs(60);

/// After this long in peace the member that is preferred by rank has the lead: a leader tries a move that failed again after a
/// minute.
const CALM_WITHIN: Duration = Duration::from_secs(90);

/// The slowest links that connections are meant for take a second for a round trip.
const SLOWEST: Duration = Duration::from_millis(450);

/// Faults of one stretch at most.
const FAULTS_MAX: usize = 30;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// Who is in the group: ranks, the last one a witness or not, and the quorum.
const GROUPS: [(&[i64], bool, QuorumMode); 7] = [
    (&[5, 10, 3], false, QuorumMode::Auto),
    (&[5, 10, 0], true, QuorumMode::Auto),
    (&[5, 10, 3], false, QuorumMode::Auto),
    (&[5, 10], false, QuorumMode::Majority),
    (&[5, 10, 0], true, QuorumMode::Auto),
    (&[5, 10, 3, 7], false, QuorumMode::Auto),
    (&[5, 10, 3, 7, 5], false, QuorumMode::Auto),
];

/// What became of a group.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// From which it can be lived again.
    pub seed: u64,
    /// Simulated time.
    pub lived: Duration,
    /// Faults that happened to it.
    pub faults: u64,
    /// Of each stretch of faults, how long after its end one member led all others and ran the only payload.
    pub leader_after: Vec<Duration>,
    /// Promises that were broken.
    pub violations: Vec<Violation>,
}

struct Life {
    world: World,
    lease: Duration,
    /// Members that are told to leave.
    leaving: BTreeSet<usize>,
    /// Whether a payload failed: its member is passed over for a while that grows, and leads again when that is over.
    has_failed: bool,
    faults: u64,
}

/// Lets a group live for so long from a seed, or until a promise is broken.
#[must_use]
pub fn live(seed: u64, time: Duration) -> Outcome {
    let mut life = Life::begin(seed);
    let mut leader_after = Vec::new();
    leader_after.extend(life.world.heal_and_demand_a_leader(LEADER_WITHIN));
    while life.world.elapsed() < time && !life.world.is_broken() {
        for _ in 0..life.number(FAULTS_MAX) {
            life.fault();
        }
        leader_after.extend(life.heal());
        life.rest();
    }
    Outcome {
        seed,
        lived: life.world.elapsed(),
        faults: life.faults,
        leader_after,
        violations: life.world.watch().violations.clone(),
    }
}

impl Life {
    fn begin(seed: u64) -> Life {
        // Group, profile and weather follow from the seed's number, so that few seeds show each together with each.
        let pick = |of: u64| usize::try_from(seed % of).unwrap_or(0);
        let (ranks, has_witness, quorum) = GROUPS[pick(7)];
        let profile = [Settings::BALANCED, Settings::BALANCED, Settings::FAST][pick(3)];
        let settings = Settings { quorum, ..profile };
        let heartbeat_ms = settings.heartbeat_ms.unsigned_abs();
        let slowest_ms = settings.stop_budget_ms.unsigned_abs() - 100;
        let weather = Weather {
            tick: Duration::from_millis([10, 3][pick(2)]),
            latency_max: Duration::from_millis([heartbeat_ms / 12, heartbeat_ms / 3][pick(5) / 4]),
            stop_ms: (5, [60, slowest_ms][pick(2)]),
        };
        let members: Vec<_> = ranks
            .iter()
            .zip(1..)
            .map(|(rank, nth)| {
                let is_witness = has_witness && nth == ranks.len();
                (
                    *rank,
                    if is_witness {
                        Duty::Witness
                    } else {
                        Duty::Candidate
                    },
                )
            })
            .collect();
        let mut life = Life {
            world: World::new(seed, weather, &members, settings),
            lease: Duration::from_millis(settings.lease_ms.unsigned_abs()),
            leaving: BTreeSet::new(),
            has_failed: false,
            faults: 0,
        };
        (0..life.world.sites()).for_each(|site| life.drift(site));
        life
    }

    fn number(&mut self, bound: usize) -> usize {
        self.world.chance().random_range(0..bound)
    }

    fn within(&mut self, most: Duration) -> Duration {
        self.world.chance().random_range(Duration::ZERO..=most)
    }

    fn drift(&mut self, site: usize) {
        let permille = self.world.chance().random_range(RATES.0..=RATES.1);
        self.world.set_clock_rate(site, permille);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.world.elapsed() + time;
        while self.world.elapsed() < end && !self.world.is_broken() {
            self.tend_leavers();
            let left = end - self.world.elapsed();
            self.world.run(left.min(Duration::from_secs(1)));
        }
    }

    /// What the user or Kubernetes does for members that are deleted: they are told, also after a restart; when they have left
    /// they go, and are created anew.
    fn tend_leavers(&mut self) {
        for site in self.leaving.clone() {
            self.world.tell(site, Event::Leave);
            if !self.world.seen(site).is_some_and(|seen| seen.has_left) {
                continue;
            }
            if self.world.watch().payload(site).runs() {
                self.world
                    .violate(format!("site {site} has left its group, and its payload runs"));
            }
            self.leaving.remove(&site);
            self.world.recreate(site);
            self.world.start(site);
        }
    }

    /// One fault, and a while until the next.
    fn fault(&mut self) {
        self.faults += 1;
        let sites = self.world.sites();
        let site = self.number(sites);
        let other = (site + 1 + self.number(sites - 1)) % sites;
        let fault = self.number(29);
        tracing::info!(fault, site, other, at = ?self.world.elapsed(), "a fault");
        match fault {
            0 | 1 => self.world.crash(site),
            2 => self.world.lose(site),
            3..=5 => self.world.start(site),
            6 => self.world.isolate(site),
            7 | 8 => self.world.cut(site, other),
            9 | 10 => self.world.cut_one_way(site, other),
            11 => self.world.hold(site, other),
            12 => self.world.blink(site, other),
            13 => self.flap(site, other),
            14 => self.stutter(site, other),
            15 => {
                let latency_max = self.within(SLOWEST.min(self.lease / 6));
                self.world
                    .set_latency_max(site, other, latency_max.max(Duration::from_millis(1)));
            }
            16 => self.world.refuse_writes(site),
            17 => {
                let most = self.within(2 * self.lease);
                self.world
                    .slow_down(site, u64::try_from(most.as_millis()).unwrap_or(0));
            }
            18 => self.world.mend_disk(site),
            19 => self.world.end(site),
            20 => self.restart_all(),
            21 => self.ask(site, other),
            22 => {
                self.has_failed = true;
                self.world.tell(site, Event::Fitness(Fitness::Unfit));
            }
            23 => self.world.tell(site, Event::Fitness(Fitness::Fit)),
            24 => self.drift(site),
            25 if self.leaving.is_empty() && self.world.candidates().any(|candidate| candidate == site) => {
                self.leaving.insert(site);
            }
            _ => self.world.mend_links(),
        }
        let most = match self.number(4) {
            0 => self.lease / 3,
            1 | 2 => 3 * self.lease,
            _ => MINUTE,
        };
        let pause = self.within(most);
        self.pass(pause);
    }

    /// A link that comes and goes.
    fn flap(&mut self, site: usize, other: usize) {
        for _ in 0..self.number(20) {
            self.world.cut(site, other);
            let cut = self.within(self.lease);
            self.pass(cut);
            self.world.mend_link(site, other);
            let whole = self.within(self.lease);
            self.pass(whole);
        }
    }

    /// A link that loses much, as TCP shows it: everything behind a loss waits for its repetition.
    fn stutter(&mut self, site: usize, other: usize) {
        for _ in 0..self.number(20) {
            self.world.hold(site, other);
            let repeated = Duration::from_millis(200 * (1 << self.number(4)));
            self.pass(repeated);
            self.world.mend_link(site, other);
            let whole = self.within(self.lease);
            self.pass(whole);
        }
    }

    fn restart_all(&mut self) {
        for site in 0..self.world.sites() {
            self.world.crash(site);
            self.world.start(site);
        }
    }

    /// Somebody asks a member for the lead of another.
    fn ask(&mut self, through: usize, to: usize) {
        let force = self.number(3) == 0;
        let request = RequestId(u128::from(self.world.chance().random::<u64>()));
        if let Some(to) = self.world.seen(to).map(|seen| seen.id) {
            let wish = Wish::Move { to, force };
            self.world.tell(through, Event::Asked(request, wish));
        }
    }

    /// Everything is mended, and one member has to lead.
    fn heal(&mut self) -> Option<Duration> {
        self.world.mend();
        // Whoever was told to leave does so first; a group that all but one have left has to be joined again.
        let gone = self.world.elapsed() + LEADER_WITHIN;
        while !self.leaving.is_empty() && self.world.elapsed() < gone {
            self.world.mend();
            self.pass(Duration::from_secs(1));
        }
        for site in 0..self.world.sites() {
            self.world.tell(site, Event::Fitness(Fitness::Fit));
        }
        self.world.heal_and_demand_a_leader(LEADER_WITHIN)
    }

    /// Nothing happens for a while: nobody moves, and nothing is kept that is needed no more.
    fn rest(&mut self) {
        self.pass(CALM_WITHIN);
        let before = self.world.leader().and_then(|leader| self.world.seen(leader));
        self.pass(FORGOTTEN_AFTER.saturating_sub(CALM_WITHIN));
        let after = self.world.leader().and_then(|leader| self.world.seen(leader));
        let led = |seen: &Option<crate::candidate::Seen>| seen.as_ref().map(|seen| (seen.id, seen.term));
        if led(&before) != led(&after) && !self.has_failed && !self.world.is_broken() {
            self.world.violate(format!(
                "L2: the lead moved in peace, from {before:#?} to {after:#?}"
            ));
        }
        self.world.demand_that_nothing_leaked();
        let quiet = self.within(HOUR / 12);
        self.pass(quiet);
    }
}
