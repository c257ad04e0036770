//! The election's notices in words: Events, log lines and the history of moves.

use crate::election::{Hindrance, MemberId, MoveAbort, MoveReason, Notice, Obstacle, Roster, StepDown};

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
    let request = "Requesting";
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
        Notice::AskedUnderWay { .. } => say(
            false,
            request,
            "RequestUnderWay",
            "the leader has taken up what was asked for".to_owned(),
        ),
        Notice::AskedEnded { outcome: Ok(()), .. } => say(
            false,
            request,
            "RequestDone",
            "what was asked for is done".to_owned(),
        ),
        Notice::AskedEnded {
            outcome: Err(why), ..
        } => say(true, request, "RequestRefused", hindrance(*why).to_owned()),
    }
}

/// The name of a member, or its identity where the roster does not know it.
pub(super) fn name_of(id: MemberId, roster: Option<&Roster>) -> String {
    roster
        .and_then(|roster| roster.voter(id))
        .map_or_else(|| id.to_string(), |voter| voter.profile.name.to_string())
}

fn step_down(reason: StepDown) -> &'static str {
    match reason {
        StepDown::QuorumLost => "too few members acknowledged it in time",
        StepDown::Superseded => "another member leads",
        StepDown::HandedOver => "it handed over",
        StepDown::Yielded => "it yields to another group",
        StepDown::ApiServerLost => {
            "its API server is out of reach for longer than onApiServerLoss allows; its copy of the payload runs on beside the next leader's until that API server is back"
        }
    }
}

fn move_reason(reason: MoveReason) -> &'static str {
    match reason {
        MoveReason::Preemption => "its rank is higher",
        MoveReason::Leaving => "this MultiCluster is being deleted",
        MoveReason::Exiting => "this controller ends",
        MoveReason::Unfit => "the payload is not healthy here",
        MoveReason::Witness => "it is a Witness now, which leads only where nobody else can",
        MoveReason::Asked => "a person asked for it",
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

/// Why something that was asked for is not done, and what to do.
pub(super) fn hindrance(hindrance: Hindrance) -> &'static str {
    match hindrance {
        Hindrance::NoLeader => {
            "nobody leads the group, or its leader does not answer this member; see the condition QuorumReached of its members"
        }
        Hindrance::LeaderPaused => "the leader is paused: set spec.paused to false there first",
        Hindrance::NotAVoter => {
            "that member has no vote in this group; `flagship member list` names those that have"
        }
        Hindrance::Silent => {
            "the leader has not heard that member lately: see whether its controller runs and can be reached"
        }
        Hindrance::Behind => "that member does not hold the newest roster yet: try again in a moment",
        Hindrance::Obstacle { obstacle } => obstacle_words(obstacle),
        Hindrance::PayloadStuck => {
            "the payload did not stop in time and runs on where it was; status.payload.objects of the leader names what does not go"
        }
        Hindrance::SuccessorLost => {
            "that member fell silent while the payload was stopping; it runs on where it was"
        }
        Hindrance::Alive => {
            "a member that is to be gone is alive: delete its MultiCluster, and it leaves the group by itself"
        }
        Hindrance::Leads => "a leader is there: the group is not lost, and its leader is not removed",
        Hindrance::Overdue => {
            "it was not done within ten minutes and is not waited for any more; a move that has begun goes on. See the conditions of the leader, and ask again"
        }
        Hindrance::Faulty => {
            "this member found the protocol broken and takes no part: see its condition Degraded, and restart its controller"
        }
        Hindrance::Replaced => "something else was asked for since",
        Hindrance::Other => "the leader refused, for a reason that this release does not know: see its log",
    }
}

fn obstacle_words(obstacle: Obstacle) -> &'static str {
    match obstacle {
        Obstacle::NotAVoter => "that member is leaving its group",
        Obstacle::Witness => "that member is a Witness and never leads",
        Obstacle::CannotPersist => {
            "that member's API server takes no writes, so it can neither vote nor lead"
        }
        Obstacle::Leaving => "that member is being deleted, or its controller ends",
        Obstacle::Stopping => {
            "that member's own old copy of the payload is not gone yet; its status.payload.objects names what does not go"
        }
        Obstacle::Paused => "that member is paused: set spec.paused to false there first",
        Obstacle::Unfit => {
            "that member is not fit to lead, its condition Eligible says why; --force moves the payload there all the same"
        }
        Obstacle::Failed => "the payload failed there not long ago; --force moves it there all the same",
        Obstacle::Other => {
            "something keeps that member from leading that this release does not know: see its status"
        }
    }
}
