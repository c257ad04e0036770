//! What a MultiCluster's spec proposes to its group.

use std::time::Duration;

use crate::api::{QuorumMode, TimingProfile, ValidSpec};
use crate::election::{self, InvalidSettings, Preemption, Settings};

/// The settings that the spec asks for.
///
/// # Errors
/// A relation between its times that does not hold.
pub(super) fn settings(spec: &ValidSpec) -> Result<Settings, InvalidSettings> {
    let profile = match spec.timing.profile {
        TimingProfile::Fast => Settings::FAST,
        TimingProfile::Balanced => Settings::BALANCED,
        TimingProfile::Wide => Settings::WIDE,
    };
    let quorum = match spec.quorum {
        QuorumMode::Auto => election::QuorumMode::Auto,
        QuorumMode::Majority => election::QuorumMode::Majority,
        QuorumMode::None => election::QuorumMode::None,
    };
    let preemption = match spec.preempt_after {
        Some(after) => Preemption::Always {
            after_ms: milliseconds(after),
        },
        None => Preemption::Never,
    };
    let or = |own: Option<Duration>, profile_ms| own.map_or(profile_ms, milliseconds);
    let settings = Settings {
        heartbeat_ms: or(spec.timing.heartbeat, profile.heartbeat_ms),
        lease_ms: or(spec.timing.lease, profile.lease_ms),
        stop_budget_ms: or(spec.timing.stop_budget, profile.stop_budget_ms),
        quorum,
        preemption,
        ..profile
    };
    settings.validate().map(|()| settings)
}

/// In what the group's settings are not a member's own, in the words of its spec.
pub(super) fn differences(own: &Settings, group: &Settings) -> Vec<String> {
    let times = [
        ("timing.heartbeat", own.heartbeat_ms, group.heartbeat_ms),
        ("timing.lease", own.lease_ms, group.lease_ms),
        ("timing.stopBudget", own.stop_budget_ms, group.stop_budget_ms),
    ];
    let mut found: Vec<String> = times
        .iter()
        .filter(|(_, own, group)| own != group)
        .map(|(name, own, group)| format!("{name} is {group}ms in the group and {own}ms here"))
        .collect();
    if own.quorum != group.quorum {
        found.push(format!(
            "quorum is {:?} in the group and {:?} here",
            group.quorum, own.quorum
        ));
    }
    if own.preemption != group.preemption {
        found.push(format!(
            "preemption is {} in the group and {} here",
            preemption(group.preemption),
            preemption(own.preemption)
        ));
    }
    found
}

fn preemption(preemption: Preemption) -> String {
    match preemption {
        Preemption::Always { after_ms } => format!("Always after {after_ms}ms"),
        Preemption::Never => "Never".to_owned(),
    }
}

/// Whole milliseconds; the longest period of a spec is a week.
pub(super) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_the_group_is_told_in_the_words_of_the_spec() {
        assert_eq!(
            differences(&Settings::FAST, &Settings::FAST),
            Vec::<String>::new()
        );
        let own = Settings {
            quorum: election::QuorumMode::Majority,
            preemption: Preemption::Never,
            ..Settings::BALANCED
        };
        let group = Settings {
            lease_ms: 1_500,
            ..Settings::BALANCED
        };
        assert_eq!(
            differences(&own, &group),
            [
                "timing.lease is 1500ms in the group and 3000ms here",
                "quorum is Auto in the group and Majority here",
                "preemption is Always after 0ms in the group and Never here",
            ]
        );
    }
}
