//! A while after the last fault, a process keeps no more than the group needs: one connection to each other process at
//! most, a handful of tasks, and of others what it has to remember.

use std::time::Duration;

use crate::candidate::Kept;
use crate::world::World;

/// Idle connections are kept for a minute, what was proven to a process that is gone for another, and a source has all its
/// guesses again after 160 s; each is looked at every 15 s.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(200);

/// Of each other process: itself, its address, a channel in each direction, the way to its member, and, for an hour, that
/// proofs with it were broken off.
const REMEMBERED_OF_EACH: usize = 6;

/// Housekeeping, accepting, and a write; and for each other process a connection.
const TASKS: usize = 3;

impl World {
    /// Demands that no process keeps what it needs no more. To be called when nothing has happened for
    /// [`FORGOTTEN_AFTER`].
    pub fn demand_that_nothing_leaked(&mut self) {
        let others = self.sites() - 1;
        let is_modest = |kept: Kept| {
            kept.connections <= others
                && kept.peers <= others
                && kept.tasks <= TASKS + others
                && kept.remembered <= REMEMBERED_OF_EACH * others
        };
        let kept = self
            .candidates()
            .filter_map(|site| Some((site, self.seen(site)?.kept)));
        let leaks: Vec<_> = kept.filter(|(_, kept)| !is_modest(*kept)).collect();
        if !leaks.is_empty() {
            self.violate(format!(
                "{FORGOTTEN_AFTER:?} after the last fault, processes keep too much: {leaks:?}"
            ));
        }
    }
}
