//! What is seen of the world from outside.

use super::{VIOLATIONS_MAX, Violation, World};
use crate::election::{Member, Notice, Part, Problem, Roster};

impl World {
    pub(super) fn violate(&mut self, what: String) {
        // One break of a promise lasts for many looks; the first ones tell.
        if self.violations.len() < VIOLATIONS_MAX {
            let at_ms = self.now_ms;
            self.violations.push(Violation { at_ms, what });
        }
    }

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
        self.member(site).map(|member| member.part(now))
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

    /// Whether the live, unfrozen member of a site leads.
    #[must_use]
    pub fn leads(&self, site: usize) -> bool {
        !self.sites[site].frozen && self.part(site) == Some(Part::Leader)
    }

    /// Whether a copy of the payload runs at a site.
    #[must_use]
    pub fn runs(&self, site: usize) -> bool {
        self.sites[site].running.is_some()
    }

    /// The sites whose live, unfrozen members lead.
    #[must_use]
    pub fn leaders(&self) -> Vec<usize> {
        (0..self.sites.len()).filter(|site| self.leads(*site)).collect()
    }

    /// The sites at which a copy of the payload runs.
    #[must_use]
    pub fn running(&self) -> Vec<usize> {
        (0..self.sites.len()).filter(|site| self.runs(*site)).collect()
    }

    /// What a site's member told its user, with when; the newest few thousand.
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
        let follows = |site: usize| {
            site == leader
                || self.part(site) == Some(Part::Follower) && self.roster(site) == self.roster(leader)
        };
        self.leads(leader)
            && self.is_led()
            && (0..self.sites.len())
                .filter(|site| self.member(*site).is_some())
                .all(follows)
    }
}
