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

/// Whole milliseconds; the longest period of a spec is a week.
pub(super) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
