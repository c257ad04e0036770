//! What a member's status says: a pure function of what its controller knows.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::eligibility::Verdict;
use crate::api::{
    ConditionType, LeaderStatus, MemberState, MemberStatus, Move, MultiClusterStatus, ObjectHealth,
    ObjectState, PayloadObject, PayloadStatus, QuorumMode, QuorumStatus, RequestStatus, Role, set_condition,
    whole_seconds,
};
use crate::election::{Fault, Part, Peer, Problem, Refusal, Tick, View};
use crate::payload::{self, Health, ObjectStatus, Phase};

/// Objects named in a condition's message at most: what a person reads; the rest stands in the object list.
const NAMED_MAX: usize = 3;

/// Everything that a status is made of.
pub(super) struct Knowledge<'a> {
    /// The generation of the spec that is acted on.
    pub generation: Option<i64>,
    /// The port that is listened on.
    pub port: Option<u16>,
    /// What the election knows, once it runs.
    pub view: Option<View>,
    pub term: u64,
    /// What is wrong with the spec.
    pub spec_problems: &'a [String],
    /// What is not as it should be, with a reason in one word.
    pub troubles: &'a [(&'static str, String)],
    /// Addresses that cannot be reached, and why.
    pub unreachable: &'a BTreeMap<String, String>,
    /// Addresses that a founder waits for.
    pub waits_for: Vec<String>,
    pub payload: &'a payload::Status,
    /// Whether that is about the newest order, and not about the payload as it was before an edit.
    pub payload_is_current: bool,
    /// Why what is to run is not what the spec says, in one word and in many.
    pub payload_error: Option<(&'static str, String)>,
    /// Whether this cluster would take the payload.
    pub verdict: Verdict,
    /// Whether the payload has been unwell for longer than it may be.
    pub has_failed: bool,
    /// Whether the payload runs on where it is not led any more.
    pub keeps_payload: bool,
    /// Whether the payload is to run here now.
    pub running: bool,
    pub history: &'a [Move],
    /// What a person asked for last.
    pub request: Option<RequestStatus>,
    /// The conditions as they were.
    pub conditions: Vec<Condition>,
    pub tick: Tick,
    pub now: jiff::Timestamp,
}

/// The status. What the store keeps itself, the memory and which objects are owned, is left out.
pub(super) fn status(known: &Knowledge<'_>) -> MultiClusterStatus {
    let view = known.view.as_ref();
    let leader = view.and_then(|view| {
        view.leader
            .and_then(|id| view.voters.iter().find(|peer| peer.id == id))
    });
    let role = role(known);
    let part = view.map(|view| view.part);
    let ready = matches!(
        part,
        Some(Part::Leader | Part::HandingOver | Part::Waiting | Part::Follower)
    );
    let leading = known.running;
    let mut status = MultiClusterStatus {
        leader_address: leader
            .map(|peer| peer.profile.address.clone())
            .unwrap_or_default(),
        ready,
        leading,
        port: known.port.map_or(0, i64::from),
        role: Some(role),
        term: i64::try_from(known.term).ok(),
        leader: leader.map(|peer| LeaderStatus {
            name: peer.profile.name.clone(),
            address: peer.profile.address.clone(),
            rank: peer.profile.rank,
        }),
        members: view.map_or_else(Vec::new, |view| members(view, known)),
        quorum: view.filter(|view| !view.voters.is_empty()).map(quorum),
        payload: Some(payload_status(known.payload)),
        history: known.history.to_vec(),
        request: known.request.clone(),
        observed_generation: known.generation,
        conditions: known.conditions.clone(),
        memory: None,
    };
    let mut set = |kind, (state, reason, message): (Option<bool>, &str, String)| {
        set_condition(
            &mut status.conditions,
            kind,
            state,
            reason,
            &message,
            known.generation,
            known.now,
        );
    };
    set(ConditionType::Ready, ready_condition(known, ready));
    set(ConditionType::Leading, leading_condition(known, leader));
    set(ConditionType::PayloadApplied, payload_condition(known));
    set(ConditionType::PayloadHealthy, health_condition(known));
    set(ConditionType::Eligible, eligible_condition(known));
    set(ConditionType::QuorumReached, quorum_condition(known));
    set(ConditionType::SplitBrainPossible, split_condition(known));
    set(ConditionType::Degraded, degraded_condition(known));
    set(ConditionType::InvalidSpec, invalid_condition(known.spec_problems));
    status
}

fn role(known: &Knowledge<'_>) -> Role {
    match known.view.as_ref().map(|view| view.part) {
        None | Some(Part::Faulty) => Role::Stopped,
        Some(Part::Starting | Part::Leaderless) => Role::Waiting,
        Some(Part::Joining) => Role::Joining,
        Some(Part::Founding) => Role::Bootstrapping,
        Some(Part::Follower) => Role::Follower,
        Some(Part::Candidate) => Role::Candidate,
        Some(Part::Waiting | Part::Leader | Part::HandingOver) => Role::Leader,
    }
}

fn members(view: &View, known: &Knowledge<'_>) -> Vec<MemberStatus> {
    let seen = |at: Tick| {
        let ago = jiff::SignedDuration::from_millis(known.tick.since(at));
        known.now.checked_sub(ago).ok().map(whole_seconds)
    };
    let member = |peer: &Peer| MemberStatus {
        name: peer.profile.name.clone(),
        id: peer.id.to_string(),
        address: peer.profile.address.clone(),
        rank: peer.profile.rank,
        role: match view.leader {
            Some(leader) if leader == peer.id => Some(Role::Leader),
            Some(_) => Some(Role::Follower),
            None => None,
        },
        state: match peer.alive {
            Some(true) => MemberState::Alive,
            Some(false) => MemberState::Silent,
            None => MemberState::Unknown,
        },
        last_seen: peer.last_heard.and_then(seen),
    };
    view.voters.iter().map(member).collect()
}

fn quorum(view: &View) -> QuorumStatus {
    QuorumStatus {
        have: i64::try_from(view.have).unwrap_or(i64::MAX),
        need: i64::try_from(view.need).unwrap_or(i64::MAX),
        mode: if view.unguarded {
            QuorumMode::None
        } else {
            QuorumMode::Majority
        },
    }
}

fn payload_status(status: &payload::Status) -> PayloadStatus {
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

type Said = (Option<bool>, &'static str, String);

fn ready_condition(known: &Knowledge<'_>, ready: bool) -> Said {
    let why = |reason, message: String| (Some(ready), reason, message);
    let Some(view) = &known.view else {
        return why(
            "SpecInvalid",
            "the spec cannot be carried out; see InvalidSpec".to_owned(),
        );
    };
    match view.part {
        Part::Leader => why("Leading", "this member leads".to_owned()),
        Part::HandingOver => why(
            "HandingOver",
            "this member stops its payload in order to hand over".to_owned(),
        ),
        Part::Waiting => why(
            "WaitingForOldPayload",
            "this member was elected and waits until the former leader's payload must have stopped"
                .to_owned(),
        ),
        Part::Follower => why(
            "Following",
            "this member follows the leader and stands by".to_owned(),
        ),
        Part::Candidate | Part::Leaderless => why(
            "NoLeader",
            format!(
                "no leader is known; {} of {} voters that a leader needs were heard",
                view.have, view.need
            ),
        ),
        Part::Starting => why(
            "Starting",
            "this member makes its start durable in its status".to_owned(),
        ),
        Part::Joining => why("Joining", joining_message(known)),
        Part::Founding => why("Founding", founding_message(known)),
        Part::Faulty => why(
            "Faulty",
            "this member takes no part any more; see Degraded".to_owned(),
        ),
    }
}

/// Why a leader did not let this member in.
fn refusal<'a>(known: &'a Knowledge<'_>) -> Option<&'a Refusal> {
    match known.view.as_ref()?.problem.as_ref()? {
        Problem::Refused(refusal) => Some(refusal),
        _ => None,
    }
}

fn joining_message(known: &Knowledge<'_>) -> String {
    if let Some(refusal) = refusal(known) {
        return refusal_message(refusal);
    }
    if known.unreachable.is_empty() {
        return "asks the addresses of its fleet for their group; no leader among them has admitted it yet: a group that has \
                none, for want of members, admits nobody. A member with no fleet and without ready: true waits until \
                others name it"
            .to_owned();
    }
    format!(
        "cannot join: {}. See that these are the serviceAddress and port of members, and that their controllers run",
        unreachable_message(known.unreachable)
    )
}

fn founding_message(known: &Knowledge<'_>) -> String {
    if let Some(refusal) = refusal(known) {
        return refusal_message(refusal);
    }
    if known.waits_for.is_empty() {
        return "is about to found the group; it first listens, so that two groups are never made".to_owned();
    }
    let mut message = format!(
        "founds the group when every address of its fleet has answered that there is none; waiting for {}",
        known.waits_for.join(", ")
    );
    if !known.unreachable.is_empty() {
        message.push_str(&format!(" ({})", unreachable_message(known.unreachable)));
    }
    message.push_str(&format!(
        ". If you know that no group exists there, go on without them: kubectl annotate multicluster NAME {}={}",
        super::FOUND_WITHOUT_ANNOTATION,
        known.waits_for.join(",")
    ));
    message
}

fn unreachable_message(unreachable: &BTreeMap<String, String>) -> String {
    named(&unreachable.values().cloned().collect::<Vec<_>>())
}

fn refusal_message(refusal: &Refusal) -> String {
    match refusal {
        Refusal::AddressTaken { by } => format!(
            "the leader refuses this member: its serviceAddress is that of member {by}, which is alive. Give each member an \
             address of its own"
        ),
        Refusal::TwoVotersOnly => {
            "the leader refuses this member: quorum None is for two members. Set quorum: Majority on the leader".to_owned()
        }
        Refusal::Full => "the leader refuses this member: the group has as many members as one may have".to_owned(),
        Refusal::Busy => "the leader is changing the group and will be asked again".to_owned(),
    }
}

fn leading_condition(known: &Knowledge<'_>, leader: Option<&Peer>) -> Said {
    if known.running {
        return (
            Some(true),
            "Leading",
            format!("this cluster runs the payload, in term {}", known.term),
        );
    }
    match leader {
        Some(peer) => (Some(false), "NotLeading", format!("{} leads", peer.profile.name)),
        None => (Some(false), "NoLeader", "no leader is known".to_owned()),
    }
}

fn payload_condition(known: &Knowledge<'_>) -> Said {
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
pub(super) fn obstacle(phase: &Phase, objects: &[ObjectStatus]) -> Option<(&'static str, String)> {
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
pub(super) fn stopped_note(status: &payload::Status) -> String {
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

/// How many, in words.
pub(super) fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

/// The first few, and how many more there are.
fn named(texts: &[String]) -> String {
    let first = texts[..texts.len().min(NAMED_MAX)].join("; ");
    match texts.len().saturating_sub(NAMED_MAX) {
        0 => first,
        more => format!("{first}; and {more} more"),
    }
}

fn health_condition(known: &Knowledge<'_>) -> Said {
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

fn eligible_condition(known: &Knowledge<'_>) -> Said {
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

fn quorum_condition(known: &Knowledge<'_>) -> Said {
    let Some(view) = known.view.as_ref().filter(|view| !view.voters.is_empty()) else {
        return (None, "NoGroup", "this member is in no group yet".to_owned());
    };
    // A follower hears the leader only, and a leader there is stands for a quorum.
    let reached = view.leader.is_some();
    let counted = format!(
        "{} of {} voters heard, {} needed",
        view.have,
        view.voters.len(),
        view.need
    );
    (
        Some(reached),
        if reached { "Reached" } else { "NotReached" },
        counted,
    )
}

fn split_condition(known: &Knowledge<'_>) -> Said {
    if known.view.as_ref().is_some_and(|view| view.unguarded) {
        let message = "with two members a partition makes two leaders, and two copies of the payload, until they meet \
                       again: add a third member, or set quorum: Majority";
        return (Some(true), "TwoMembersWithoutQuorum", message.to_owned());
    }
    if known.keeps_payload {
        let message = "demotion.policy is Keep: where this member led, the payload runs on beside the next leader's copy after \
                       every move";
        return (Some(true), "DemotionKeepsPayload", message.to_owned());
    }
    (
        Some(false),
        "Guarded",
        "a member leads only with a majority behind it, or alone".to_owned(),
    )
}

fn degraded_condition(known: &Knowledge<'_>) -> Said {
    let mut troubles: Vec<(&'static str, String)> = known.troubles.to_vec();
    match known.view.as_ref().and_then(|view| view.problem.as_ref()) {
        Some(Problem::OtherGroup { group }) => troubles.push((
            "OtherGroup",
            format!(
                "another group ({group}) has the same callsign and is not merged: delete the MultiClusters of the group \
                 that is not wanted and let them join again, or give it another callsign"
            ),
        )),
        Some(Problem::CannotPersist) => troubles.push((
            "CannotPersist",
            "this member cannot write its status, so it neither votes nor can be elected: see the controller's log".to_owned(),
        )),
        Some(Problem::Faulty(Fault::TwoLeadersInOneTerm { other, term })) => troubles.push((
            "Faulty",
            format!(
                "member {other} leads in this member's own term {term}, which cannot be: it has stopped its payload and takes no \
                 part until its controller is restarted. Please report it"
            ),
        )),
        Some(Problem::Refused(refusal)) => troubles.push(("Refused", refusal_message(refusal))),
        None => {}
    }
    if let (Some(false), reason, message) = payload_condition(known)
        && !matches!(
            reason,
            "Applying" | "Stopping" | "Unclaimed" | "PayloadSourcePending"
        )
    {
        troubles.push((reason, message));
    }
    if let (Some(false), reason, message) = eligible_condition(known) {
        troubles.push((reason, message));
    }
    if known.running && known.has_failed {
        let (_, _, message) = health_condition(known);
        troubles.push(("PayloadFailed", message));
    }
    match troubles.first() {
        Some((reason, _)) => {
            let messages: Vec<&str> = troubles.iter().map(|(_, message)| message.as_str()).collect();
            (Some(true), reason, messages.join("; "))
        }
        None => (Some(false), "AsExpected", String::new()),
    }
}

fn invalid_condition(problems: &[String]) -> Said {
    if problems.is_empty() {
        return (Some(false), "Valid", String::new());
    }
    (Some(true), "Invalid", problems.join("; "))
}

/// Whether two statuses differ in what is worth a write of its own: not in when a member was heard last.
pub(super) fn differs(new: &MultiClusterStatus, old: &MultiClusterStatus) -> bool {
    let quiet = |status: &MultiClusterStatus| {
        let mut status = status.clone();
        for member in &mut status.members {
            member.last_seen = None;
        }
        status
    };
    quiet(new) != quiet(old)
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
