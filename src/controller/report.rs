//! What a member's status says: a pure function of what its controller knows.

mod objects;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use self::objects::{eligible_condition, health_condition, payload_condition, payload_status};
pub(super) use self::objects::{obstacle, stopped_note};
use super::eligibility::Verdict;
use super::sources;
use crate::api::{
    ConditionType, LeaderStatus, MemberState, MemberStatus, Move, MultiClusterStatus, QuorumMode,
    QuorumStatus, RequestStatus, Role, set_condition, whole_seconds,
};
use crate::election::{Fault, Part, Peer, Problem, Refusal, Tick, View};
use crate::payload;

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
    /// In what the group's settings are not those of the spec.
    pub settings_differ: &'a [String],
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
            .map(|peer| peer.profile.address.to_string())
            .unwrap_or_default(),
        ready,
        leading,
        port: known.port.map_or(0, i64::from),
        role: Some(role),
        term: i64::try_from(known.term).ok(),
        leader: leader.map(|peer| LeaderStatus {
            name: peer.profile.name.to_string(),
            address: peer.profile.address.to_string(),
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
    set(
        ConditionType::SettingsDiffer,
        settings_condition(known.settings_differ),
    );
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
        name: peer.profile.name.to_string(),
        id: peer.id.to_string(),
        address: peer.profile.address.to_string(),
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
        mode: if view.need * 2 <= view.voters.len() {
            QuorumMode::None
        } else {
            QuorumMode::Majority
        },
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
        && !matches!(reason, "Applying" | "Stopping" | "Unclaimed" | sources::PENDING)
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

fn settings_condition(differences: &[String]) -> Said {
    if differences.is_empty() {
        return (Some(false), "AsInGroup", String::new());
    }
    let message = format!(
        "the group keeps to its leader's settings: {}. They change when this member leads; write the same into all members",
        differences.join(", ")
    );
    (Some(true), "LeadersCount", message)
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
