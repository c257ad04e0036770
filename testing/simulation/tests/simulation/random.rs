//! Groups under random faults: no promise is broken, and once all is mended one member leads.
//!
//! `SIMULATION_SEEDS=2000 cargo test -p flagship-simulation --test simulation random` tries more seeds than the usual ones.

use std::collections::BTreeSet;

use flagship_simulation::election::{Event, Fitness, MemberId, Part, QuorumMode, RequestId, Settings, Wish};
use flagship_simulation::world::{Storage, Weather, World};

/// Seeds of each test, unless more are asked for.
const SEEDS: u64 = 100;
/// Any two differ by less than the drift bound of 20.
const RATES: [i64; 5] = [1000, 990, 1008, 995, 1003];

fn seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("SIMULATION_SEEDS").ok();
    0..asked.and_then(|text| text.parse().ok()).unwrap_or(SEEDS)
}

struct Trial {
    seed: u64,
    world: World,
    /// Sites whose objects are being deleted.
    leaving: BTreeSet<usize>,
    /// Members other than the founder come and go.
    churns: bool,
    /// People move the lead about, payloads fail, and API servers are out of reach.
    meddled: bool,
}

impl Trial {
    fn new(seed: u64, ranks: &[i64], quorum: QuorumMode) -> Trial {
        let weather = Weather {
            // Some links are slow enough to tell a lease that is counted from its arrival, and some payloads slow
            // enough to tell a leader that does not wait for the former one's.
            delay_ms: (1, if seed.is_multiple_of(3) { 300 } else { 40 }),
            stop_ms: (5, if seed.is_multiple_of(2) { 1_900 } else { 60 }),
            loss_permille: seed % 10 * 20,
            duplicate_permille: 20,
            ..Weather::default()
        };
        let settings = Settings {
            quorum,
            ..Settings::BALANCED
        };
        let mut world = World::new(seed, weather);
        if ranks.len() == 2 && quorum != QuorumMode::Majority {
            world = world.unguarded();
        }
        for (site, rank) in ranks.iter().enumerate() {
            let fleet: Vec<usize> = (0..site).collect();
            world.site(*rank, site == 0, &fleet, settings);
            world.set_clock_rate(site, RATES[site]);
        }
        Trial {
            seed,
            world,
            leaving: BTreeSet::new(),
            churns: false,
            meddled: false,
        }
    }

    fn number(&mut self, bound: usize) -> usize {
        usize::try_from(self.world.draw(u64::try_from(bound).unwrap())).unwrap()
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
            to: MemberId(u128::try_from(to).unwrap() + 1),
            force,
        };
        let request = RequestId(u128::from(self.world.draw(u64::MAX)));
        self.world.tell(through, Event::Asked(request, wish));
    }

    fn meddle(&mut self) {
        let sites = self.world.sites();
        let (through, to) = (self.number(sites), self.number(sites));
        match self.number(5) {
            0 | 1 => {
                let force = self.number(3) == 0;
                self.ask(through, to, force);
            }
            2 => self.world.tell(to, Event::Fitness(Fitness::Unfit)),
            3 => self.world.tell(to, Event::Fitness(Fitness::CutOff)),
            _ => self.world.tell(to, Event::Fitness(Fitness::Fit)),
        }
    }

    fn fault(&mut self) {
        if self.meddled {
            self.meddle();
        }
        let sites = self.world.sites();
        let site = self.number(sites);
        let other = (site + 1 + self.number(sites - 1)) % sites;
        match self.number(18) {
            0 | 1 => self.world.crash(site),
            2 | 3 => self.start(site),
            4 => self.world.freeze(site),
            5 | 6 => self.world.thaw(site),
            7 => self.world.isolate(site),
            8 => self.world.cut(site, other),
            9 => {
                // A stall: too short to be replaced, or just long enough.
                self.world.freeze(site);
                let pause = i64::try_from(self.number(4_000)).unwrap();
                self.world.run(pause);
                self.world.thaw(site);
            }
            10 => {
                // A restart storm.
                for site in 0..sites {
                    self.world.crash(site);
                    self.start(site);
                }
            }
            11 => self.world.set_storage(site, Storage::Refuses),
            12 => self.world.set_storage(site, Storage::Silent),
            13 => self.mend_storage(),
            14 => {
                let most = i64::try_from(self.number(3_000)).unwrap();
                self.world.set_write_time((3, 3 + most));
            }
            15 if self.churns && site > 0 && self.world.member(site).is_some() => {
                self.leaving.insert(site);
                self.world.tell(site, Event::Leave);
            }
            _ => self.world.heal(),
        }
        let pause = i64::try_from(self.number(8_000)).unwrap();
        self.world.run(pause);
        self.tend_leavers();
        assert_eq!(self.world.violations, [], "seed {}", self.seed);
    }

    fn mend_storage(&mut self) {
        for site in 0..self.world.sites() {
            self.world.set_storage(site, Storage::Works);
        }
        self.world.set_write_time((3, 12));
    }

    /// Mends everything and demands that the preferred member leads all of them.
    fn ends_well(mut self, leader: usize) {
        self.world.heal();
        self.mend_storage();
        for site in 0..self.world.sites() {
            self.world.thaw(site);
            self.start(site);
        }
        let sites = self.world.sites();
        for round in 0..400 {
            if self.meddled && round % 40 == 0 {
                for site in 0..sites {
                    self.world.tell(site, Event::Fitness(Fitness::Fit));
                }
                self.ask(leader, leader, true);
            }
            self.world.run(500);
            self.tend_leavers();
            let voters = self.world.roster(leader).map_or(0, |roster| roster.voters.len());
            if self.world.leaders() == [leader] && self.world.running() == [leader] && voters == sites {
                assert_eq!(self.world.violations, [], "seed {}", self.seed);
                return;
            }
        }
        let parts: Vec<Option<Part>> = (0..sites).map(|site| self.world.part(site)).collect();
        let rosters: Vec<_> = (0..sites).map(|site| self.world.roster(site)).collect();
        panic!(
            "seed {}: leaders {:?}, running {:?}, {parts:?}, leaving {:?}, violations {:?}, {rosters:#?}",
            self.seed,
            self.world.leaders(),
            self.world.running(),
            self.leaving,
            self.world.violations,
        );
    }

    fn suffers(&mut self, faults: usize) {
        for site in 0..self.world.sites() {
            self.start(site);
        }
        self.world.run(20_000);
        for _ in 0..faults {
            self.fault();
        }
    }
}

#[test]
fn three_members_keep_their_promises_under_random_faults() {
    for seed in seeds() {
        let mut trial = Trial::new(seed, &[5, 10, 3], QuorumMode::Auto);
        trial.suffers(60);
        trial.ends_well(1);
    }
}

#[test]
fn members_that_come_and_go_under_random_faults_keep_their_promises() {
    for seed in seeds() {
        let mut trial = Trial::new(seed, &[5, 10, 3, 7], QuorumMode::Majority);
        trial.churns = true;
        trial.suffers(60);
        trial.ends_well(1);
    }
}

#[test]
fn people_who_move_the_lead_about_break_no_promise() {
    for seed in seeds() {
        let mut trial = Trial::new(seed, &[5, 10, 3], QuorumMode::Auto);
        trial.meddled = true;
        trial.suffers(60);
        trial.ends_well(1);
    }
}

#[test]
fn five_members_keep_their_promises_under_random_faults() {
    for seed in seeds().step_by(2) {
        let mut trial = Trial::new(seed, &[5, 10, 3, 7, 5], QuorumMode::Majority);
        trial.suffers(60);
        trial.ends_well(1);
    }
}

#[test]
fn a_pair_in_majority_keeps_its_promises_under_random_faults() {
    for seed in seeds() {
        let mut trial = Trial::new(seed, &[5, 10], QuorumMode::Majority);
        trial.suffers(60);
        trial.ends_well(1);
    }
}

#[test]
fn two_that_may_each_lead_alone_never_share_a_term_and_meet_again() {
    for seed in seeds() {
        let mut trial = Trial::new(seed, &[5, 10], QuorumMode::None);
        trial.suffers(60);
        trial.ends_well(1);
    }
}
