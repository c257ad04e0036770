//! What is seen of the world, and which promises it has broken.

use std::collections::BTreeMap;

use flagship::election::{GroupId, Member, Notice, Part, Problem, Roster};

use super::{VIOLATIONS_MAX, Violation, World};

impl World {
    pub(super) fn check(&mut self) {
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
    pub(super) fn check_copies(&mut self) {
        let attended = |site: &usize| self.sites[*site].running.is_some_and(|copy| !copy.orphaned);
        let copies: Vec<usize> = (0..self.sites.len()).filter(attended).collect();
        if self.guarded && copies.len() > 1 {
            self.violate(format!("G3: the payload runs at sites {copies:?} at once"));
        }
    }

    pub(super) fn violate(&mut self, what: String) {
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
