//! With everything mended there is a leader, and one payload (promise L1).

use super::super::World;

impl World {
    /// Heals every link, thaws and starts every process, mends every API server, and demands that one member leads and
    /// runs the only payload within `limit_ms`. Tells how long that took; what is wrong if it did not come about is told
    /// as a violation.
    pub fn heal_and_demand_a_leader(&mut self, limit_ms: i64) -> Option<i64> {
        self.heal();
        self.mend_storage();
        for site in 0..self.sites() {
            self.thaw(site);
            self.start(site);
        }
        let took_ms = self.run_until(limit_ms, World::is_led);
        if took_ms.is_none() {
            let parts: Vec<_> = (0..self.sites()).map(|site| self.part(site)).collect();
            self.violate(format!(
                "L1: {limit_ms} ms after everything was mended the leaders are {:?}, the payload runs at {:?}, and the \
                 members are {parts:?}",
                self.leaders(),
                self.running()
            ));
        }
        took_ms
    }

    /// Whether one member leads and runs the only payload.
    #[must_use]
    pub fn is_led(&self) -> bool {
        let mut leaders = (0..self.sites()).filter(|site| self.leads(*site));
        let leader = leaders.next();
        let mut running = (0..self.sites()).filter(|site| self.runs(*site));
        leader.is_some() && leaders.next().is_none() && running.next() == leader && running.next().is_none()
    }
}
