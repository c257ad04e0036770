//! What a group agrees on besides its voters: timing and quorum.

use serde::{Deserialize, Serialize};

/// How many voters a leader needs behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum QuorumMode {
    /// `None` for two voters that never were more, `Majority` otherwise.
    Auto,
    /// More than half of the agreed roster.
    Majority,
    /// Two voters, each of which may lead alone: a partition between them makes two leaders.
    None,
}

/// Whether a higher-ranked member takes the lead from one that leads already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all_fields = "camelCase")]
pub enum Preemption {
    /// It does, once it has been able to lead for so long without a break.
    Always {
        /// Milliseconds.
        after_ms: i64,
    },
    /// It does not.
    Never,
}

impl Default for Preemption {
    fn default() -> Preemption {
        Preemption::Always { after_ms: 0 }
    }
}

/// The settings of a group, the leader's counts. All times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Settings {
    /// Between two heartbeats of a leader.
    pub heartbeat_ms: i64,
    /// How long a follower refuses other candidates after a heartbeat.
    pub lease_ms: i64,
    /// How long a leader that lost its claim may take until its payload is gone.
    pub stop_budget_ms: i64,
    /// By how much the *rates* of two members' clocks may differ, in thousandths.
    pub drift_permille: i64,
    /// How many voters a leader needs.
    pub quorum: QuorumMode,
    /// Whether rank alone takes the lead from a leader.
    #[serde(default)]
    pub preemption: Preemption,
}

/// A relation between settings that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    /// A lease that one lost heartbeat would end makes leaders come and go.
    #[error("heartbeat ({heartbeat_ms} ms) times three must not exceed lease ({lease_ms} ms)")]
    LeaseTooShort {
        /// The heartbeat given.
        heartbeat_ms: i64,
        /// The lease given.
        lease_ms: i64,
    },
    /// Zero or negative times.
    #[error("{name} must be positive")]
    NotPositive {
        /// The setting.
        name: &'static str,
    },
    /// A time before now.
    #[error("preemption.after must not be negative")]
    Preemption,
    /// The claim would vanish.
    #[error("the drift bound must lie between 0 and 499 thousandths")]
    Drift,
}

impl Settings {
    /// Clusters in one site.
    pub const FAST: Settings = Settings::of(100, 600, 200);
    /// Clusters in one region; the default.
    pub const BALANCED: Settings = Settings::of(500, 3_000, 2_000);
    /// Continents, or poor links.
    pub const WIDE: Settings = Settings::of(2_000, 15_000, 15_000);

    const fn of(heartbeat_ms: i64, lease_ms: i64, stop_budget_ms: i64) -> Settings {
        // Quartz keeps to 0.01 %, NTP slews by 0.05 % at most; 2 % leaves room for the clocks of poor hypervisors.
        Settings {
            heartbeat_ms,
            lease_ms,
            stop_budget_ms,
            drift_permille: 20,
            quorum: QuorumMode::Auto,
            preemption: Preemption::Always { after_ms: 0 },
        }
    }

    /// Checks the relations that the protocol rests on.
    ///
    /// # Errors
    /// The first relation that does not hold.
    pub fn validate(&self) -> Result<(), InvalidSettings> {
        let positive = [
            ("heartbeat", self.heartbeat_ms),
            ("lease", self.lease_ms),
            ("stopBudget", self.stop_budget_ms),
        ];
        if let Some((name, _)) = positive.into_iter().find(|(_, ms)| *ms <= 0) {
            return Err(InvalidSettings::NotPositive { name });
        }
        if matches!(self.preemption, Preemption::Always { after_ms } if after_ms < 0) {
            return Err(InvalidSettings::Preemption);
        }
        if !(0..500).contains(&self.drift_permille) {
            return Err(InvalidSettings::Drift);
        }
        if self.heartbeat_ms.saturating_mul(3) > self.lease_ms {
            return Err(InvalidSettings::LeaseTooShort {
                heartbeat_ms: self.heartbeat_ms,
                lease_ms: self.lease_ms,
            });
        }
        Ok(())
    }

    /// How long a claim lasts that rests on a promise of `lease_ms`: shorter by the drift bound, so that it ends on the
    /// leader's clock before the promise ends on any follower's.
    #[must_use]
    pub fn claim_ms(&self, lease_ms: i64) -> i64 {
        lease_ms.saturating_mul(1000) / (1000 + self.drift_permille)
    }

    /// `ms` on another member's clock are over for sure when this many have passed on ours.
    #[must_use]
    pub fn stretched_ms(&self, ms: i64) -> i64 {
        ms.saturating_add(ms.saturating_mul(self.drift_permille) / 1000)
            .saturating_add(1)
    }

    /// How long one round of an election may take before it is begun anew: two exchanges and two writes to API servers,
    /// which one heartbeat covers on links that the profile fits.
    #[must_use]
    pub fn round_ms(&self) -> i64 {
        self.heartbeat_ms.saturating_mul(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_valid_and_its_claim_ends_before_its_lease() {
        for settings in [Settings::FAST, Settings::BALANCED, Settings::WIDE] {
            assert_eq!(settings.validate(), Ok(()));
            assert!(settings.stretched_ms(settings.claim_ms(settings.lease_ms)) <= settings.lease_ms + 1);
        }
    }

    #[test]
    fn relations_that_do_not_hold_are_named() {
        let short = Settings {
            heartbeat_ms: 201,
            ..Settings::FAST
        };
        let error = InvalidSettings::LeaseTooShort {
            heartbeat_ms: 201,
            lease_ms: 600,
        };
        assert_eq!(short.validate(), Err(error));
        let zero = Settings {
            stop_budget_ms: 0,
            ..Settings::FAST
        };
        assert_eq!(
            zero.validate(),
            Err(InvalidSettings::NotPositive { name: "stopBudget" })
        );
        assert_eq!(
            Settings {
                drift_permille: 500,
                ..Settings::FAST
            }
            .validate(),
            Err(InvalidSettings::Drift)
        );
    }
}
