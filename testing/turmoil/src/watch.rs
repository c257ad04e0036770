//! Who watches all clusters at once: which claims are held, where a copy of the payload runs, and what is wrong with that.

use std::time::Duration;

use flagship_simulation::world::invariants::{Copy, Invariants, Sight, one_payload_at_a_time};

use crate::election::{GroupId, Settings};
use crate::payload::Payload;

/// Violations that are kept: one break of a promise lasts for many looks, and the first ones tell.
const VIOLATIONS_MAX: usize = 10;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, in simulated time.
    pub at: Duration,
    /// What was seen.
    pub what: String,
}

/// What is seen of one cluster.
#[derive(Debug)]
struct Cluster {
    payload: Payload,
    /// The group of the claim that its member holds.
    claims: Option<GroupId>,
    /// When the last claim that its member held ends, in true time.
    claim_ends: Duration,
}

/// All clusters, and what was seen of them.
#[derive(Default)]
pub struct Watch {
    invariants: Invariants,
    clusters: Vec<Cluster>,
    /// What went wrong.
    pub violations: Vec<Violation>,
}

impl Watch {
    /// Takes note of a broken promise.
    pub fn violate(&mut self, at: Duration, what: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { at, what });
        }
    }

    pub(crate) fn add(&mut self, payload: Payload) {
        self.clusters.push(Cluster {
            payload,
            claims: None,
            claim_ends: Duration::ZERO,
        });
    }

    /// The payload of a cluster.
    #[must_use]
    pub fn payload(&self, site: usize) -> &Payload {
        &self.clusters[site].payload
    }

    pub(crate) fn payload_mut(&mut self, site: usize) -> &mut Payload {
        &mut self.clusters[site].payload
    }

    /// The clusters in which a copy runs.
    #[must_use]
    pub fn running(&self) -> Vec<usize> {
        let sites = 0..self.clusters.len();
        sites.filter(|site| self.clusters[*site].payload.runs()).collect()
    }

    /// The process of a site has ended: its claim goes with it, its payload runs on.
    pub(crate) fn see_end(&mut self, site: usize) {
        self.see_no_claim(site);
        self.clusters[site].payload.orphan();
    }

    pub(crate) fn see_no_claim(&mut self, site: usize) {
        self.clusters[site].claims = None;
    }

    /// A member holds a claim that lasts until then.
    pub(crate) fn see_claim(&mut self, now: Duration, sight: Sight, until: Duration) {
        let cluster = &mut self.clusters[sight.site];
        (cluster.claims, cluster.claim_ends) = (Some(sight.group), until);
        let mut others = self.clusters.iter().enumerate();
        let rival = others.find(|(site, other)| {
            *site != sight.site && other.claims == Some(sight.group) && other.claim_ends > now
        });
        let rival = rival.map(|(site, _)| site);
        if let Some(what) = self.invariants.see_claim(sight, rival) {
            self.violate(now, what);
        }
    }

    /// A copy starts in a cluster.
    pub(crate) fn see_start(&mut self, now: Duration, sight: Sight, settings: &Settings) {
        let others = self.clusters.iter().enumerate();
        let others = others.filter(|(site, other)| *site != sight.site && other.payload.runs());
        let copies = others.map(|(site, other)| Copy {
            site,
            orphaned: other.payload.is_orphaned(),
            claim_ended_ago_ms: milliseconds(now) - milliseconds(other.claim_ends),
        });
        let beside = one_payload_at_a_time::beside(sight.site, copies, settings.stop_budget_ms);
        let lower = self.invariants.see_run(sight);
        for what in [beside, lower].into_iter().flatten() {
            self.violate(now, what);
        }
        self.clusters[sight.site].payload.start(sight.term);
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
