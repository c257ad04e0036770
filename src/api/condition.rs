//! Conditions: what of a MultiCluster's state a user waits for or is alarmed by.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Longest `reason` and `message` that the API conventions for conditions allow, in bytes.
const MESSAGE_MAX_BYTES: usize = 32_768;

/// The types of condition in a MultiCluster's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// This member does its part in a group that has a leader.
    Ready,
    /// This cluster runs the payload.
    Leading,
    /// Every object of the payload is as the payload has it. Unknown while another cluster leads.
    PayloadApplied,
    /// Every object of the payload does what it is there for. Unknown while it does not run here.
    PayloadHealthy,
    /// This cluster's API server takes the payload, or would, as far as a dry run tells.
    Eligible,
    /// Enough members are heard for someone to lead.
    QuorumReached,
    /// A partition would make two leaders, and two copies of the payload.
    SplitBrainPossible,
    /// The group keeps to settings of its leader that differ from this member's spec.
    SettingsDiffer,
    /// This member goes on, but something is not as it should be.
    Degraded,
    /// The spec cannot be carried out as it is written.
    InvalidSpec,
}

impl ConditionType {
    /// The `type` of the condition.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Leading => "Leading",
            Self::PayloadApplied => "PayloadApplied",
            Self::PayloadHealthy => "PayloadHealthy",
            Self::Eligible => "Eligible",
            Self::QuorumReached => "QuorumReached",
            Self::SplitBrainPossible => "SplitBrainPossible",
            Self::SettingsDiffer => "SettingsDiffer",
            Self::Degraded => "Degraded",
            Self::InvalidSpec => "InvalidSpec",
        }
    }
}

/// A point in time as the API server keeps it: in whole seconds, so that what is written compares equal to what is read.
#[must_use]
pub fn whole_seconds(time: jiff::Timestamp) -> Time {
    Time(jiff::Timestamp::from_second(time.as_second()).unwrap_or(time))
}

/// Sets a condition, adding it when it is missing.
///
/// `status` of `None` means unknown. `lastTransitionTime` becomes `now` only when the status changes; a message
/// longer than the API conventions allow is cut.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    condition_type: ConditionType,
    status: Option<bool>,
    reason: &str,
    message: &str,
    observed_generation: Option<i64>,
    now: jiff::Timestamp,
) {
    let status = match status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let existing = conditions
        .iter_mut()
        .find(|condition| condition.type_ == condition_type.as_str());
    let last_transition_time = match &existing {
        Some(condition) if condition.status == status => condition.last_transition_time.clone(),
        _ => whole_seconds(now),
    };
    let condition = Condition {
        type_: condition_type.as_str().to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message[..message.floor_char_boundary(MESSAGE_MAX_BYTES)].to_owned(),
        observed_generation,
        last_transition_time,
    };
    match existing {
        Some(slot) => *slot = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn at(second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        let mut set = |status, message: &str, second| {
            set_condition(
                &mut conditions,
                ConditionType::Leading,
                status,
                "Why",
                message,
                Some(3),
                at(second),
            );
            assert_eq!(conditions.len(), 1);
            let condition = conditions[0].clone();
            (
                condition.status,
                condition.message,
                condition.last_transition_time.0.as_second(),
            )
        };
        assert_eq!(set(Some(false), "a", 1), ("False".into(), "a".into(), 1));
        assert_eq!(set(Some(false), "b", 2), ("False".into(), "b".into(), 1));
        assert_eq!(set(Some(true), "b", 3), ("True".into(), "b".into(), 3));
        assert_eq!(set(None, "b", 4), ("Unknown".into(), "b".into(), 4));
    }

    #[test]
    fn other_conditions_stay_and_long_messages_are_cut_between_characters() {
        let mut conditions = Vec::new();
        set_condition(
            &mut conditions,
            ConditionType::Ready,
            Some(true),
            "R",
            "fine",
            None,
            at(1),
        );
        let ready = conditions[0].clone();
        set_condition(
            &mut conditions,
            ConditionType::Degraded,
            Some(true),
            "R",
            &"é".repeat(20_000),
            None,
            at(2),
        );
        assert_eq!(conditions[0], ready);
        assert_eq!(conditions[1].message, "é".repeat(16_384));
    }
}
