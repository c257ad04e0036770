//! The election's notices in words: Events, log lines and the history of moves.

use crate::election::{MemberId, MoveAbort, MoveReason, Notice, Roster, StepDown};

/// A notice for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub warning: bool,
    pub action: &'static str,
    pub reason: &'static str,
    pub note: String,
}

/// What a notice means, with names in place of identities.
pub(super) fn words(notice: &Notice, roster: Option<&Roster>) -> Words {
    let name = |id: MemberId| name_of(id, roster);
    let say = |warning, action, reason, note| Words {
        warning,
        action,
        reason,
        note,
    };
    match notice {
        Notice::Founded => say(false, "Electing", "GroupFounded", "founded the group".to_owned()),
        Notice::Joined => say(false, "Electing", "Joined", "joined the group".to_owned()),
        Notice::Elected { term, from: None } => say(
            false,
            "Electing",
            "BecameLeader",
            format!("was elected leader in term {term}"),
        ),
        Notice::Elected {
            term,
            from: Some(from),
        } => say(
            false,
            "Electing",
            "BecameLeader",
            format!("took over from {} in term {term}", name(*from)),
        ),
        Notice::Following { leader, term } => say(
            false,
            "Electing",
            "Following",
            format!("follows {} in term {term}", name(*leader)),
        ),
        Notice::SteppedDown { term, reason } => say(
            !matches!(reason, StepDown::HandedOver),
            "Electing",
            "SteppedDown",
            format!("leads no longer, after term {term}: {}", step_down(*reason)),
        ),
        Notice::MoveStarted { to, reason } => say(
            false,
            "Moving",
            "MoveStarted",
            format!(
                "stops the payload in order to hand over to {}: {}",
                name(*to),
                move_reason(*reason)
            ),
        ),
        Notice::MoveAborted { to, reason } => say(
            true,
            "Moving",
            "MoveAborted",
            format!(
                "keeps leading, the move to {} was given up: {}",
                name(*to),
                move_abort(*reason)
            ),
        ),
        Notice::Admitted { name } => say(
            false,
            "Electing",
            "MemberAdmitted",
            format!("admitted {name} to the group"),
        ),
        Notice::Removed { name } => say(
            false,
            "Electing",
            "MemberRemoved",
            format!("removed {name} from the group"),
        ),
        Notice::AddressClash {
            asker,
            voter,
            address,
        } => say(
            true,
            "Electing",
            "AddressClash",
            format!(
                "refused {asker}: its address {address} is that of {voter}, which is alive. Give each member its own"
            ),
        ),
        Notice::Dropped => say(
            true,
            "Electing",
            "Dropped",
            "was taken out of the group and asks for admission again".to_owned(),
        ),
        Notice::Yielded => say(
            true,
            "Electing",
            "Yielded",
            "gives up the group that it founded for one with the same callsign that it met".to_owned(),
        ),
    }
}

/// The name of a member, or its identity where the roster does not know it.
pub(super) fn name_of(id: MemberId, roster: Option<&Roster>) -> String {
    roster
        .and_then(|roster| roster.voter(id))
        .map_or_else(|| id.to_string(), |voter| voter.profile.name.clone())
}

fn step_down(reason: StepDown) -> &'static str {
    match reason {
        StepDown::QuorumLost => "too few members acknowledged it in time",
        StepDown::Superseded => "another member leads",
        StepDown::HandedOver => "it handed over",
        StepDown::Yielded => "it yields to another group",
    }
}

fn move_reason(reason: MoveReason) -> &'static str {
    match reason {
        MoveReason::Preemption => "its rank is higher",
        MoveReason::Leaving => "this MultiCluster is being deleted",
        MoveReason::Exiting => "this controller ends",
    }
}

fn move_abort(reason: MoveAbort) -> &'static str {
    match reason {
        MoveAbort::PayloadStuck => {
            "the payload did not stop in time; status.payload.objects names what does not go"
        }
        MoveAbort::SuccessorLost => "the successor fell silent",
    }
}
