//! With everything mended there is a leader that hears all voters, and one payload (promise L1).

use std::time::Duration;

use crate::election::Part;
use crate::world::World;

impl World {
    /// Mends every link, disk and process, and demands that within `limit` one member leads, hears all others, and runs the
    /// only payload, and that all others follow it. Tells how long that took; what is wrong if it did not come about is told
    /// as a violation.
    pub fn heal_and_demand_a_leader(&mut self, limit: Duration) -> Option<Duration> {
        self.mend();
        let took = self.run_until(limit, World::is_settled);
        if took.is_none() {
            let seen: Vec<_> = (0..self.sites()).map(|site| self.seen(site)).collect();
            let running = self.watch().running();
            self.violate(format!(
                "L1: {limit:?} after everything was mended the payload runs at {running:?}, and the members are {seen:#?}"
            ));
        }
        took
    }

    /// Whether one member leads, hears all others, and runs the only payload, and all others follow it.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let seen: Vec<_> = self.candidates().filter_map(|site| self.seen(site)).collect();
        if seen.len() != self.candidates().count() {
            return false;
        }
        let Some(leader) = self.leader() else {
            return false;
        };
        let Some(leads) = self.seen(leader) else {
            return false;
        };
        let holds_all = leads
            .roster
            .as_ref()
            .is_some_and(|roster| roster.voters.len() == self.sites());
        let follows = |part: Part| part == Part::Follower || part == Part::Leader;
        holds_all
            && leads.have == self.sites()
            && self.watch().running() == [leader]
            && seen
                .iter()
                .all(|seen| follows(seen.part) && seen.roster == leads.roster)
    }

    /// The only member that leads.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        let leads = |site: &usize| {
            self.seen(*site)
                .is_some_and(|seen| matches!(seen.part, Part::Leader | Part::HandingOver))
        };
        let mut leaders = self.candidates().filter(leads);
        let leader = leaders.next();
        leader.filter(|_| leaders.next().is_none())
    }
}
