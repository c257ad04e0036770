//! What a MultiCluster reports: its part in the group, its payload, and the memory that it must not lose.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::multicluster::QuorumMode;

/// How many moves `status.history` keeps: enough to see a flapping group, little enough to read.
pub const HISTORY_MAX_ENTRIES: usize = 10;

/// What this member is in its group, as its controller sees it.
// No field is required by the schema, so that a partial update does not fail for what it leaves out. Empty fields are
// left out when the status is serialized, so it must be written whole: a merge patch would not clear them.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MultiClusterStatus {
    /// Where the group's leader is reached, host:port; empty while none is known.
    #[serde(default)]
    pub leader_address: String,
    /// Whether this member does its part in a group that has a leader.
    #[serde(default)]
    pub ready: bool,
    /// Whether this cluster runs the payload now.
    #[serde(default)]
    pub leading: bool,
    /// The TCP port on which this member listens; 0 while it does not.
    #[serde(default)]
    pub port: i64,

    /// What this member is in its group now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Term of the election that this member knows of: it grows with every change of leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<i64>,
    /// The member that leads, as far as this one knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<LeaderStatus>,
    /// The members that have a vote, this one among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberStatus>,
    /// How many members are heard, and how many it takes to lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<QuorumStatus>,
    /// The payload's objects in this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<PayloadStatus>,
    /// The latest changes of leader that this member saw, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub history: Vec<Move>,
    /// What a person asked for last through this member, and what has become of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestStatus>,
    /// The generation of the spec that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Leading, PayloadApplied, PayloadHealthy, Eligible, QuorumReached, SplitBrainPossible, SettingsDiffer, Degraded and InvalidSpec,
    /// each with a reason and a message that says what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// What this member must remember over a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
}

/// What a member is in its group. A Leader runs the payload, or is about to. A Follower knows the leader and stands by. A
/// Candidate knows none and asks for votes. Joining looks for the group through the fleet, Bootstrapping is about to
/// found one. Waiting cannot go on before something else happens, Stopped takes no part; the conditions say why.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Runs the payload, or is about to.
    Leader,
    /// Knows a leader and stands by.
    Follower,
    /// Knows no leader and asks the others for their votes.
    Candidate,
    /// Looks for its group through the addresses of its fleet.
    Joining,
    /// Is about to found a group.
    Bootstrapping,
    /// Cannot go on before something else happens; the conditions say what.
    Waiting,
    /// Takes no part: its spec is invalid, it is being deleted, or its controller has left.
    Stopped,
}

/// What has become of something that a person asked for.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RequestStatus {
    /// The request, as its annotation names it.
    pub id: String,
    /// What was asked for: `switch to sheffield`.
    pub what: String,
    /// How far it is.
    pub state: RequestState,
    /// What is waited for, or why it was refused and what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Since when it is in that state.
    pub at: Time,
    /// When it was made, by the clock of whoever made it: earlier ones are not carried out any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Time>,
}

/// How far something is that was asked for.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestState {
    /// The leader is asked, and has not answered yet.
    Asked,
    /// The leader has taken it up.
    UnderWay,
    /// It is so.
    Done,
    /// It will not be; the message says why.
    Refused,
}

/// The member that leads.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LeaderStatus {
    /// Name of the leader's MultiCluster.
    #[serde(default)]
    pub name: String,
    /// Where the leader is reached, host:port; empty when it has not said.
    #[serde(default)]
    pub address: String,
    /// The leader's rank.
    #[serde(default)]
    pub rank: i64,
}

/// A member that has a vote.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Name of the member's MultiCluster.
    pub name: String,
    /// The member's identity: the UID of its MultiCluster.
    pub id: String,
    /// Where the member is reached, host:port; empty when it has not said.
    #[serde(default)]
    pub address: String,
    /// The member's rank.
    #[serde(default)]
    pub rank: i64,
    /// What the member is, as it said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Whether the member is heard. Alive: within the last lease. Silent: not for a lease or longer. Unknown: not since
    /// this controller started.
    pub state: MemberState,
    /// When the member was heard last, by this controller's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Time>,
}

/// Whether a member is heard.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemberState {
    /// Heard within the last lease, or this member itself.
    Alive,
    /// Not heard for a lease or longer.
    Silent,
    /// Not heard since this controller started.
    Unknown,
}

/// How many members are heard, and how many it takes to lead.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct QuorumStatus {
    /// Voting members that are heard, this one included.
    pub have: i64,
    /// Voting members that it takes to lead.
    pub need: i64,
    /// The mode that the group has agreed on: Majority or None.
    pub mode: QuorumMode,
}

/// The payload's objects in this cluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PayloadStatus {
    /// The term that the objects are written in, as the annotation flagship.dev/term says; none while this cluster does not
    /// lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<i64>,
    /// Whether every object of the payload is in place and does what it is there for; left out while this cluster does not
    /// lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<bool>,
    /// Every object of the payload that is, or may be, in this cluster, in the order in which they are applied.
    /// It is also what Flagship goes by to delete them: do not edit it.
    #[serde(default)]
    #[schemars(length(max = 2000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub objects: Vec<PayloadObject>,
}

/// One object of the payload.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PayloadObject {
    /// API group; empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// API version, without the group.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for a cluster-scoped object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID of the object that Flagship wrote; empty before its first write was answered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Whether the object is Flagship's to change and to delete, or may be: it is listed before it is first written.
    /// False for what existed before and for what is not written yet.
    #[serde(default)]
    pub owned: bool,
    /// How the object stands. Applied is as the payload has it; Used is a Namespace or CustomResourceDefinition that
    /// existed before; Kept was left in place on demotion; Superseded bears a higher term; Foreign existed before and is neither changed nor deleted.
    /// For the others the message says what is wrong or waited for.
    pub state: ObjectState,
    /// How the object does, by its own status. Healthy does what it is there for; Progressing is about to; Unhealthy does
    /// not. Left out for what is not in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<ObjectHealth>,
    /// What is wrong with it and what to do, or what is waited for; empty when there is nothing to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// How an object of the payload does.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectHealth {
    /// Does what it is there for.
    Healthy,
    /// Is about to, or is changing.
    Progressing,
    /// Does not.
    Unhealthy,
}

/// How an object of the payload stands.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectState {
    /// Waits for its turn.
    Pending,
    /// Written, and others wait until it serves: a Namespace or a CustomResourceDefinition.
    Establishing,
    /// In place as written.
    Applied,
    /// Existed before: a Namespace or CustomResourceDefinition that is used as it is and not owned.
    Used,
    /// Somebody deleted it, and it is awaited until it can be created again.
    Terminating,
    /// Somebody keeps changing it back; repairs are slowed down.
    Contested,
    /// The API server does not know its kind yet.
    UnknownKind,
    /// Bears a higher term of this group: a later leader wrote it, and nothing is written over it.
    Superseded,
    /// Existed before and is not ours: neither changed nor deleted.
    Foreign,
    /// The API server rejects it as written, or its document cannot be used.
    Rejected,
    /// The controller may not write it.
    Forbidden,
    /// The API server does not answer, or asks for patience.
    Unavailable,
    /// The payload no longer has it; it is removed when the payload is in place.
    Pruning,
    /// Being deleted.
    Deleting,
    /// Being taken to no replicas.
    ScalingDown,
    /// Does not go.
    Stuck,
    /// Left in place on demotion, as it is or without replicas; still ours.
    Kept,
    /// Lost its mark or was replaced by somebody's, so it was left alone and is ours no more.
    Released,
}

/// A change of leader.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Move {
    /// When this member saw it.
    pub at: Time,
    /// The term that began.
    pub term: i64,
    /// Name of the member that led before; empty when none was known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// Name of the member that leads since.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub to: String,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Milliseconds from the end of the old leadership, as far as it was seen, to the new payload applied; only the
    /// new leader knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<i64>,
    /// What became of the copy that the member before left, where spec.fencing of the new leader names it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fencing: String,
}

/// What a member must remember over a restart: its term, its vote, its group. Written by Flagship, never by hand:
/// a member whose memory was changed loses its vote.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// The record, in a form of Flagship's own.
    // A roster of 1,000 voters at 300 bytes each, and as much again for growth, within etcd's 1.5 MiB beside a payload.
    #[schemars(length(max = 524_288))]
    pub record: String,
    /// SHA-256 of the record, in hexadecimal.
    #[schemars(length(max = 64))]
    pub digest: String,
    /// Who wrote it: another value for each start of a member, so that two that serve one object are noticed.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub writer: String,
}
