//! What happens to one group at random, from a seed: stretches of faults, each of which ends by healing and demanding a
//! leader, and quiet times between them.

use std::collections::BTreeSet;

use crate::election::{Duty, Event, Fitness, MemberId, Preemption, QuorumMode, RequestId, Settings, Wish};
use crate::world::{Network, Storage, Violation, Weather, World};

/// Rates of clocks in thousandths, any two of which differ by less than the drift bound of 20.
const RATES: (i64, i64) = (991, 1_010);

/// With everything mended, a group that has no leader after so many leases has none for a reason. That is several times
/// what promise L1 says, since members come from restarts and from writes that hang.
const LEADER_WITHIN_LEASES: i64 = 20;

/// Or after this long, where leases are short: connections are given up and dialled again within seconds.
const LEADER_WITHIN_MS: i64 = MINUTE_MS;

/// The slowest links that connections are meant for take a second for a round trip.
const SLOWEST_MS: i64 = 450;

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Who is in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Three,
    /// The lead is not taken by rank.
    ThreeWithoutPreemption,
    TwoAndAWitness,
    /// Members other than the founder come and go.
    FourThatComeAndGo,
    Five,
    PairInMajority,
    /// Each may lead alone.
    PairInNone,
}

/// Of twenty groups.
const KINDS: [(Kind, u64); 7] = [
    (Kind::Three, 9),
    (Kind::ThreeWithoutPreemption, 2),
    (Kind::TwoAndAWitness, 3),
    (Kind::FourThatComeAndGo, 2),
    (Kind::Five, 1),
    (Kind::PairInMajority, 1),
    (Kind::PairInNone, 2),
];

/// What became of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// From which it can be lived again.
    pub seed: u64,
    /// Simulated time.
    pub lived_ms: i64,
    /// Faults that happened to it.
    pub faults: u64,
    /// Steps and messages, in one number.
    pub digest: u64,
    /// Messages that arrived.
    pub delivered: u64,
    /// Of each stretch of faults, how long after its end one member led and ran the only payload.
    pub leader_after_ms: Vec<i64>,
    /// Promises that were broken.
    pub violations: Vec<Violation>,
}

/// A group and what is happening to it.
struct Life {
    world: World,
    kind: Kind,
    ranks: Vec<i64>,
    lease_ms: i64,
    weather: Weather,
    /// Sites whose objects are being deleted.
    leaving: BTreeSet<usize>,
    faults: u64,
}

/// Lets a group live for `hours` from a seed, at these settings.
#[must_use]
pub fn live(seed: u64, hours: i64, settings: Settings, traced: bool) -> Outcome {
    let mut life = Life::begin(seed, settings);
    life.world.traced = traced;
    let end_ms = hours * HOUR_MS;
    let mut leader_after_ms = Vec::new();
    for site in 0..life.world.sites() {
        life.world.start(site);
    }
    life.gather();
    while life.world.now_ms() < end_ms && life.world.violations.is_empty() {
        for _ in 0..life.number(30) {
            life.fault();
        }
        leader_after_ms.extend(life.heal());
        let quiet_ms = life.world.between((0, HOUR_MS / 2));
        life.pass(quiet_ms);
    }
    let Life { world, faults, .. } = life;
    Outcome {
        seed,
        lived_ms: world.now_ms(),
        faults,
        digest: world.digest(),
        delivered: world.delivered,
        leader_after_ms,
        violations: world.violations,
    }
}

impl Life {
    fn begin(seed: u64, settings: Settings) -> Life {
        // Kind and weather follow from the seed's number, so that few seeds show each together with each.
        let of_twenty = seed % 20;
        let mut below = 0;
        let fits = |(_, share): &&(Kind, u64)| {
            below += share;
            of_twenty < below
        };
        let kind = KINDS.iter().find(fits).map_or(Kind::Three, |(kind, _)| *kind);
        let heartbeat_ms = settings.heartbeat_ms;
        let weather = Weather {
            // Every fourth group has a harsher network than there is.
            network: if (seed / 20).is_multiple_of(4) {
                Network::Datagrams
            } else {
                Network::Connections
            },
            // Some links are slow enough to tell a lease that is counted from its arrival.
            delay_ms: (
                1,
                if (seed / 80).is_multiple_of(3) {
                    (heartbeat_ms * 3 / 5).min(SLOWEST_MS)
                } else {
                    heartbeat_ms / 12
                },
            ),
            // Some payloads are slow enough to tell a leader that does not wait for the former one's.
            stop_ms: (
                5,
                if seed.is_multiple_of(2) {
                    settings.stop_budget_ms - 100
                } else {
                    60
                },
            ),
            loss_permille: (seed / 240) % 3 * 10,
            duplicate_permille: 20,
            ..Weather::default()
        };
        let (ranks, settings): (&[i64], Settings) = match kind {
            Kind::Three | Kind::TwoAndAWitness => (&[5, 10, 3], settings),
            Kind::ThreeWithoutPreemption => (
                &[5, 10, 3],
                Settings {
                    preemption: Preemption::Never,
                    ..settings
                },
            ),
            Kind::FourThatComeAndGo => (&[5, 10, 3, 7], settings),
            Kind::Five => (&[5, 10, 3, 7, 5], settings),
            Kind::PairInMajority => (
                &[5, 10],
                Settings {
                    quorum: QuorumMode::Majority,
                    ..settings
                },
            ),
            Kind::PairInNone => (
                &[5, 10],
                Settings {
                    quorum: QuorumMode::None,
                    ..settings
                },
            ),
        };
        let mut world = World::new(seed, weather);
        if kind == Kind::PairInNone {
            world = world.unguarded();
        }
        for (site, rank) in ranks.iter().enumerate() {
            let fleet: Vec<usize> = (0..site).collect();
            world.site(*rank, site == 0, &fleet, settings);
        }
        if kind == Kind::TwoAndAWitness {
            world.configure(2, |config| config.profile.duty = Duty::Witness);
        }
        let mut life = Life {
            world,
            kind,
            ranks: ranks.to_vec(),
            lease_ms: settings.lease_ms,
            weather,
            leaving: BTreeSet::new(),
            faults: 0,
        };
        for site in 0..ranks.len() {
            life.drift(site);
        }
        life
    }

    fn number(&mut self, bound: usize) -> usize {
        usize::try_from(self.world.draw(u64::try_from(bound).unwrap_or(1))).unwrap_or(0)
    }

    fn pass(&mut self, ms: i64) {
        self.world.run(ms);
        self.tend_leavers();
    }

    /// Waits until all are in the roster: until then a group of three is a pair, in which each may lead alone.
    fn gather(&mut self) {
        let sites = self.world.sites();
        let holds =
            |world: &World, site: usize| world.roster(site).is_some_and(|held| held.voters.len() == sites);
        let limit_ms = LEADER_WITHIN_MS.max(LEADER_WITHIN_LEASES * self.lease_ms);
        self.world
            .run_until(limit_ms, |world| (0..sites).all(|site| holds(world, site)));
    }

    /// The rate of a site's clock changes.
    fn drift(&mut self, site: usize) {
        let rate = self.world.between(RATES);
        self.world.set_clock_rate(site, rate);
    }

    fn start(&mut self, site: usize) {
        if self.world.member(site).is_some() {
            return;
        }
        self.world.start(site);
        if self.leaving.contains(&site) {
            self.world.tell(site, Event::Leave);
        }
    }

    /// What the user or Kubernetes does for those that have left: their objects go, and are created anew.
    fn tend_leavers(&mut self) {
        for site in self.leaving.clone() {
            if self.world.member(site).is_some_and(|member| member.has_left()) {
                self.leaving.remove(&site);
                self.world.recreate(site);
                self.world.start(site);
            }
        }
    }

    /// Somebody asks a member for the lead of another.
    fn ask(&mut self, through: usize, to: usize, force: bool) {
        let wish = Wish::Move {
            to: self.identity(to),
            force,
        };
        let request = RequestId(u128::from(self.world.draw(u64::MAX)));
        self.world.tell(through, Event::Asked(request, wish));
    }

    fn identity(&self, site: usize) -> MemberId {
        let member = self.world.member(site);
        member.map_or(MemberId(0), |member| member.id())
    }

    /// One fault, and a while until the next.
    fn fault(&mut self) {
        self.faults += 1;
        let sites = self.world.sites();
        let site = self.number(sites);
        let other = (site + 1 + self.number(sites - 1)) % sites;
        match self.number(30) {
            0 | 1 => self.world.crash(site),
            2 => self.world.lose(site),
            3 | 4 => self.start(site),
            5 => self.world.freeze(site),
            6 | 7 => self.world.thaw(site),
            8 | 9 => self.world.isolate(site),
            10 => self.world.cut(site, other),
            11 => self.flap(site, other),
            12 => self.stall(site),
            13 => self.restart_all(),
            14 => self.world.set_storage(site, Storage::Refuses),
            15 => self.world.set_storage(site, Storage::Silent),
            16 => self.world.mend_storage(),
            17 => {
                let most = self.world.between((0, self.lease_ms));
                self.world.set_write_time((3, 3 + most));
            }
            18 if self.kind == Kind::FourThatComeAndGo && site > 0 => self.leave(site),
            18 => self.restart(site),
            19 => self.rerank(site),
            20 => {
                let force = self.number(3) == 0;
                self.ask(site, other, force);
            }
            21 => self.world.tell(site, Event::Fitness(Fitness::Unfit)),
            22 => self.world.tell(site, Event::Fitness(Fitness::CutOff)),
            23 => self.world.tell(site, Event::Fitness(Fitness::Fit)),
            24 if self.world.member(site).is_some() => self.drift(site),
            25 => {
                let loss_permille = self.world.draw(301);
                self.world
                    .set_weather(|weather| weather.loss_permille = loss_permille);
            }
            26 => {
                let most = self.world.between((1, self.lease_ms));
                self.world.set_weather(|weather| weather.delay_ms.1 = most);
            }
            27 => self.clear_up(),
            _ => self.world.heal(),
        }
        let pause_ms = match self.number(4) {
            0 => (0, self.lease_ms / 3),
            1 | 2 => (0, 3 * self.lease_ms),
            _ => (0, 40 * self.lease_ms),
        };
        let pause_ms = self.world.between(pause_ms);
        self.pass(pause_ms);
    }

    /// Loss and delay are again what they usually are here.
    fn clear_up(&mut self) {
        let usual = self.weather;
        self.world.set_weather(|weather| {
            weather.loss_permille = usual.loss_permille;
            weather.delay_ms = usual.delay_ms;
        });
    }

    /// A link that comes and goes.
    fn flap(&mut self, site: usize, other: usize) {
        let both = self.number(2) == 0;
        for _ in 0..self.number(20) {
            self.world.cut(site, other);
            if both {
                self.world.cut(other, site);
            }
            let cut_ms = self.world.between((10, self.lease_ms));
            self.world.run(cut_ms);
            self.world.heal();
            let whole_ms = self.world.between((10, self.lease_ms));
            self.world.run(whole_ms);
        }
    }

    /// Too short to be replaced, or just long enough.
    fn stall(&mut self, site: usize) {
        self.world.freeze(site);
        let pause_ms = self.world.between((0, self.lease_ms * 3 / 2));
        self.world.run(pause_ms);
        self.world.thaw(site);
    }

    /// A process is told to end, and has a while for that.
    fn restart(&mut self, site: usize) {
        self.world.tell(site, Event::Resign);
        let grace_ms = self.world.between((0, 2 * self.lease_ms));
        self.world.run(grace_ms);
        self.world.crash(site);
        self.start(site);
    }

    fn restart_all(&mut self) {
        for site in 0..self.world.sites() {
            self.world.crash(site);
            self.start(site);
        }
    }

    fn leave(&mut self, site: usize) {
        if self.world.member(site).is_some() {
            self.leaving.insert(site);
            self.world.tell(site, Event::Leave);
        }
    }

    /// A user changes the rank of a member, or back.
    fn rerank(&mut self, site: usize) {
        let usual = self.ranks[site];
        let rank = if self.number(2) == 0 {
            usual
        } else {
            self.world.between((1, 12))
        };
        self.world.configure(site, |config| config.profile.rank = rank);
    }

    /// Everything is mended, and one member has to lead. Those that were told to end are started again.
    fn heal(&mut self) -> Option<i64> {
        self.clear_up();
        for site in 0..self.world.sites() {
            self.world.tell(site, Event::Fitness(Fitness::Fit));
        }
        let limit_ms = LEADER_WITHIN_MS.max(LEADER_WITHIN_LEASES * self.lease_ms);
        let took_ms = self.world.heal_and_demand_a_leader(limit_ms);
        self.tend_leavers();
        took_ms
    }
}
