//! The promises that are held against whole processes, one file for each. Those of the election itself, one leader in a
//! term, one claim at a time, no lower term over a higher and one payload at a time, are the simulation's own: see
//! [`flagship_simulation::world::invariants`].

pub mod a_leader_after_healing;
pub mod no_process_ends_by_itself;
pub mod nothing_leaks;
