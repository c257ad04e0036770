//! Groups of many members.

use flagship_simulation::crowd::{Load, load};
use flagship_simulation::election::Settings;

/// Sizes of groups.
const MEMBERS: [usize; 4] = [10, 100, 300, 1_000];

/// One after the other, so that they do not disturb one another.
pub(crate) fn measure() -> Vec<Load> {
    MEMBERS
        .map(|members| {
            eprintln!("a group of {members}");
            load(members, Settings::BALANCED)
        })
        .to_vec()
}
