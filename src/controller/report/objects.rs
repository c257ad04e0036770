//! What a member's status says of its payload.

use super::{Knowledge, Said, counted, named};
use crate::api::{ObjectHealth, ObjectState, PayloadObject, PayloadStatus};
use crate::controller::eligibility::Verdict;
use crate::payload::{self, Health, ObjectStatus, Phase};

pub(super) fn payload_status(status: &payload::Status) -> PayloadStatus {
    let object = |object: &ObjectStatus| PayloadObject {
        group: object.key.group.clone(),
        version: object.version.clone(),
        kind: object.key.kind.clone(),
        namespace: object.key.namespace.clone().unwrap_or_default(),
        name: object.key.name.clone(),
        uid: String::new(),
        owned: false,
        state: object_state(object.state),
        message: told(object).to_owned(),
        health: object.health.as_ref().map(|finding| health(finding.health)),
    };
    PayloadStatus {
        healthy: status.health.map(|health| health == Health::Healthy),
        term: status.term.and_then(|term| i64::try_from(term).ok()),
        objects: status.objects.iter().map(object).collect(),
    }
}

fn health(health: Health) -> ObjectHealth {
    match health {
        Health::Healthy => ObjectHealth::Healthy,
        Health::Progressing => ObjectHealth::Progressing,
        Health::Unhealthy => ObjectHealth::Unhealthy,
    }
}

/// What is to be said of an object: what is wrong with having it, or else with how it does.
fn told(object: &ObjectStatus) -> &str {
    match (&object.health, object.message.as_str()) {
        (Some(finding), "") => &finding.message,
        (_, message) => message,
    }
}

fn object_state(state: payload::ObjectState) -> ObjectState {
    match state {
        payload::ObjectState::Pending => ObjectState::Pending,
        payload::ObjectState::Establishing => ObjectState::Establishing,
        payload::ObjectState::Applied => ObjectState::Applied,
        payload::ObjectState::Used => ObjectState::Used,
        payload::ObjectState::Terminating => ObjectState::Terminating,
        payload::ObjectState::Contested => ObjectState::Contested,
        payload::ObjectState::UnknownKind => ObjectState::UnknownKind,
        payload::ObjectState::Superseded => ObjectState::Superseded,
        payload::ObjectState::Foreign => ObjectState::Foreign,
        payload::ObjectState::Rejected => ObjectState::Rejected,
        payload::ObjectState::Forbidden => ObjectState::Forbidden,
        payload::ObjectState::Unavailable => ObjectState::Unavailable,
        payload::ObjectState::Pruning => ObjectState::Pruning,
        payload::ObjectState::Deleting => ObjectState::Deleting,
        payload::ObjectState::ScalingDown => ObjectState::ScalingDown,
        payload::ObjectState::Stuck => ObjectState::Stuck,
        payload::ObjectState::Kept => ObjectState::Kept,
        payload::ObjectState::Released => ObjectState::Released,
    }
}

pub(super) fn payload_condition(known: &Knowledge<'_>) -> Said {
    if let Some((reason, message)) = &known.payload_error {
        return (Some(false), *reason, message.clone());
    }
    let phase = match known.running && !known.payload_is_current {
        true => &Phase::Applying,
        false => &known.payload.phase,
    };
    match phase {
        Phase::CannotStop { .. } => running_said(phase, &known.payload.objects),
        Phase::Stopping if !known.running => {
            (Some(false), "Stopping", "the payload is being removed".to_owned())
        }
        _ if !known.running => (
            None,
            "NotLeading",
            "the payload runs where the leader is".to_owned(),
        ),
        phase => running_said(phase, &known.payload.objects),
    }
}

/// How far a payload is that is to run here.
fn running_said(phase: &Phase, objects: &[ObjectStatus]) -> Said {
    match phase {
        Phase::Applied => {
            let remarks: Vec<String> = objects
                .iter()
                .filter(|object| object.state == payload::ObjectState::Applied && !object.message.is_empty())
                .map(|object| format!("; {}: {}", object.key, object.message))
                .take(1)
                .collect();
            let message = format!(
                "{} {} in place{}",
                counted(objects.len(), "object"),
                if objects.len() == 1 { "is" } else { "are" },
                remarks.concat()
            );
            (Some(true), "Applied", message)
        }
        Phase::Held | Phase::Applying | Phase::Stopping | Phase::Stopped => (
            Some(false),
            "Applying",
            "the payload is being put in place".to_owned(),
        ),
        phase => match obstacle(phase, objects) {
            Some((reason, message)) => (Some(false), reason, message),
            None => (
                Some(false),
                "Unclaimed",
                "this member's claim to lead has just ended".to_owned(),
            ),
        },
    }
}

/// What keeps a payload from being in place, if an operator should look.
pub(in crate::controller) fn obstacle(
    phase: &Phase,
    objects: &[ObjectStatus],
) -> Option<(&'static str, String)> {
    match phase {
        Phase::Incomplete => Some(("ObjectsFailed", failures(objects))),
        Phase::Superseded { object, term } => Some((
            "Superseded",
            format!(
                "{object} bears the higher term {term} of this group, so nothing is written; see status.payload.objects"
            ),
        )),
        Phase::InventoryUnsaved { reason } => Some(("InventoryUnsaved", reason.clone())),
        Phase::TooLarge { objects } => Some((
            "PayloadTooLarge",
            format!("{objects} objects are more than one MultiCluster can hold: split the payload"),
        )),
        Phase::CannotStop { reason } => Some(("CannotStop", format!("the payload does not stop: {reason}"))),
        Phase::Held
        | Phase::Applying
        | Phase::Applied
        | Phase::Unclaimed
        | Phase::Stopping
        // Of another member's payload its own status tells.
        | Phase::WarnedOff { .. }
        | Phase::Stopped => None,
    }
}

/// The objects that are not as they should be, and why.
fn failures(objects: &[ObjectStatus]) -> String {
    use payload::ObjectState::{Applied, Deleting, Kept, Pending, Pruning, Released, ScalingDown, Used};
    let failed = objects.iter().filter(|object| {
        !matches!(
            object.state,
            Applied | Used | Kept | Released | Pruning | Deleting | ScalingDown | Pending
        )
    });
    named(
        &failed
            .map(|object| format!("{}: {}", object.key, object.message))
            .collect::<Vec<_>>(),
    )
}

/// What to tell when the payload is gone: what of it is left, and why.
pub(in crate::controller) fn stopped_note(status: &payload::Status) -> String {
    let left: Vec<String> = status
        .objects
        .iter()
        .map(|object| format!("{}: {}", object.key, object.message))
        .collect();
    match left.is_empty() {
        true => "the payload is gone".to_owned(),
        false => format!("the payload is gone but for {}", named(&left)),
    }
}

pub(super) fn health_condition(known: &Knowledge<'_>) -> Said {
    let health = known
        .payload
        .health
        .filter(|_| known.running && known.payload_is_current);
    let Some(health) = health else {
        return (None, "NotRunning", "the payload does not run here now".to_owned());
    };
    let mut unwell: Vec<&ObjectStatus> = known
        .payload
        .objects
        .iter()
        .filter(|object| is_unwell(object))
        .collect();
    // The worst first: they are named.
    unwell.sort_by_key(|object| std::cmp::Reverse(object.health.as_ref().map(|finding| finding.health)));
    let unwell: Vec<String> = unwell.iter().map(|object| said_of(object)).collect();
    match health {
        Health::Healthy => (
            Some(true),
            "Healthy",
            "every object does what it is there for".to_owned(),
        ),
        _ if known.has_failed => {
            let message = format!(
                "the payload has been unwell for longer than spec.health allows: {}",
                named(&unwell)
            );
            (Some(false), "Failed", message)
        }
        Health::Progressing => (Some(false), "Progressing", named(&unwell)),
        Health::Unhealthy => (Some(false), "Unhealthy", named(&unwell)),
    }
}

/// Whether an object keeps the payload from being healthy.
fn is_unwell(object: &ObjectStatus) -> bool {
    use payload::ObjectState::{Applied, Contested, Superseded, Used};
    match object.state {
        Used => false,
        Applied | Contested | Superseded => {
            !matches!(&object.health, Some(finding) if finding.health == Health::Healthy)
        }
        _ => object.document.is_some(),
    }
}

fn said_of(object: &ObjectStatus) -> String {
    match told(object) {
        "" => format!("{} is not in place yet", object.key),
        told => format!("{}: {told}", object.key),
    }
}

pub(super) fn eligible_condition(known: &Knowledge<'_>) -> Said {
    if known.running {
        return (Some(true), "Leading", "this cluster runs the payload".to_owned());
    }
    match &known.verdict {
        Verdict::Untried => (
            None,
            "NotTried",
            "no dry run of the payload has been made yet".to_owned(),
        ),
        Verdict::Permitted => (
            Some(true),
            "Permitted",
            "a dry run says that this cluster's API server would take the payload".to_owned(),
        ),
        Verdict::Refused(why) => (
            Some(false),
            "NotPermitted",
            format!("this cluster could not run the payload: {why}"),
        ),
    }
}
