//! At most one member holds a valid claim at any instant (promise G2). Claims begin and grow in steps of those who hold
//! them and end by themselves, so that two at once are seen at one of those steps.

use super::Sight;

pub(super) fn beside(sight: Sight, rival: Option<usize>) -> Option<String> {
    let Sight { site, group, .. } = sight;
    rival.map(|rival| format!("G2: sites {site} and {rival} hold claims of group {group} at once"))
}
