//! The `MultiCluster` resource: one member of a group, and the application that the group's leader runs.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fencing::Fencing;
use super::payload::{Demotion, HealthTimeouts, PayloadSource};
use super::period::Period;
use super::status::MultiClusterStatus;

/// What this member is to be in its group, and the application that the group's leader runs.
// Fields shared with kube-vip-multi-cluster keep their names and meaning. The numbers are wider than their valid
// range, so that an object stored under an older schema can be read and answered with a condition.
#[allow(
    clippy::duplicated_attributes,
    reason = "each printer column has a type of its own"
)]
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "kube-vip.io",
    version = "v1alpha1",
    kind = "MultiCluster",
    plural = "multiclusters",
    shortname = "mc",
    namespaced,
    status = "MultiClusterStatus",
    derive = "PartialEq",
    label("app.kubernetes.io/name", "flagship"),
    label("app.kubernetes.io/part-of", "flagship"),
    doc = "A MultiCluster makes this cluster a member of a group, of which exactly one member runs the payload.",
    printcolumn(
        name = "Rank",
        type_ = "integer",
        json_path = ".spec.rank",
        description = "Who is preferred: higher is preferred."
    ),
    printcolumn(
        name = "Role",
        type_ = "string",
        json_path = ".status.role",
        description = "What this member is in its group now."
    ),
    printcolumn(
        name = "Leading",
        type_ = "boolean",
        json_path = ".status.leading",
        description = "Whether this cluster runs the payload."
    ),
    printcolumn(
        name = "Leader",
        type_ = "string",
        json_path = ".status.leader.name",
        description = "The member that leads, as far as this one knows."
    ),
    printcolumn(
        name = "Term",
        type_ = "integer",
        json_path = ".status.term",
        description = "The term of the election: it grows with every change of leader."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether this member does its part in a group that has a leader."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Payload",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="PayloadApplied")].reason"#,
        description = "What has become of the payload here; its condition says more",
        priority = 1
    ),
    printcolumn(
        name = "Degraded",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Degraded")].status"#,
        description = "Whether something needs a person; its condition says what",
        priority = 1
    )
)]
#[x_kube(validation = Rule::new("has(self.callsign) != has(self.callsignFrom)").message(
    "write either callsign or callsignFrom"
))]
#[serde(rename_all = "camelCase")]
pub struct MultiClusterSpec {
    /// TCP port on which this member listens for the others, and the port of every address that names none.
    /// Several MultiClusters of one cluster may share a port: they are told apart by callsign.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i64,

    /// The group's name and its secret. Members with the same callsign form one group; whoever reaches the port and knows
    /// it can take part. It never travels, so a few random words are enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new(r"!self.matches(r'^\s|\s$')").message(
        "callsign must not be blank, nor begin or end with white space: members with different callsigns never meet"
    ))]
    pub callsign: Option<String>,

    /// Where the callsign stands, instead of callsign. It may be replaced there at any time, in one cluster after the
    /// other: the former one is accepted for an hour, and as long as it stands in the same Secret under the key with
    /// "-previous" behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callsign_from: Option<CallsignFrom>,

    /// Certificates, in addition to the callsign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,

    /// Who is preferred: the highest-ranked member that is able to leads. Of equals, whoever leads goes on.
    pub rank: i64,

    /// Whether this member may found the group. Set it on one member; a member that remembers a group rejoins that
    /// group and never founds a second one, whatever stands here.
    #[serde(default)]
    pub ready: bool,

    /// IP address on which the controller listens, unless it was started with --listen-address.
    #[serde(default = "default_address")]
    #[schemars(length(max = 45))]
    #[x_kube(validation = Rule::new("self == '' || self.matches('^[0-9A-Fa-f:.]+$')").message(
        "address must be an IP address without a port, such as 0.0.0.0 or ::; the port stands in port"
    ))]
    pub address: String,

    /// How the other members reach this one: host or host:port, usually the address of a LoadBalancer Service.
    /// IPv6 addresses are written in brackets. Without a port, port counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 260))]
    #[x_kube(
        validation = Rule::new(format!("self == '' || {}", address_rule("self"))).message(
            "serviceAddress must be host or host:port, with an IPv6 address in brackets and a port from 1 to 65535"
        ),
        validation = Rule::new("!self.startsWith('0.0.0.0') && !self.startsWith('[::]')").message(
            "serviceAddress must be an address that the other clusters can reach, not the one to listen on"
        )
    )]
    pub service_address: Option<String>,

    /// Addresses of other members through which to join: host or host:port. One that answers is enough; it names
    /// the rest. Without a port, port counts.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(max = 260)))]
    #[x_kube(
        validation = Rule::new(format!("self.all(entry, {})", address_rule("entry"))).message(
            "each entry of fleet must be host or host:port, with an IPv6 address in brackets and a port from 1 to 65535"
        ),
        validation = Rule::new("self.all(one, self.exists_one(other, other == one))").message(
            "fleet must not name an address twice"
        )
    )]
    pub fleet: Vec<String>,

    /// Manifests in YAML, several documents allowed, that the leader applies to its cluster, keeps as they are
    /// written here, and deletes when it leads no longer. A namespaced object without a namespace goes to the
    /// namespace of the MultiCluster.
    #[serde(default)]
    #[schemars(length(max = 1_048_576))]
    pub payload: String,

    /// More manifests, read from keys of ConfigMaps and Secrets in the namespace of the MultiCluster. Their documents follow
    /// those of payload, in this order; an edit of them is followed like one of payload. While one of them cannot be read,
    /// what was applied last stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.all(one, self.exists_one(other, other == one))").message(
        "payloadFrom must not name a key twice"
    ))]
    pub payload_from: Vec<PayloadSource>,

    /// ServiceAccount in the namespace of the MultiCluster as which the payload is applied, read and deleted, so that it can
    /// contain only what that account may do. The controller must be allowed to impersonate it. Without it, the payload is
    /// applied as the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(r"self == '' || self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message(
        "serviceAccountName must be the name of a ServiceAccount, without a namespace"
    ))]
    pub service_account_name: Option<String>,

    /// What becomes of the payload when this cluster leads no longer.
    #[serde(default)]
    pub demotion: Demotion,

    /// How long the payload may be unhealthy here before another member is to run it.
    #[serde(default)]
    pub health: HealthTimeouts,

    /// How many members it takes to lead. Majority takes more than half of the agreed members: a minority that is cut
    /// off stops its payload. None takes one: a partition makes two leaders, and two copies of the payload, until the
    /// members meet again. Auto is None for two members that never were more, and Majority otherwise. The group keeps
    /// to its leader's setting.
    #[serde(default)]
    pub quorum: QuorumMode,

    /// How quickly a silent leader is replaced. The group keeps to its leader's setting.
    #[serde(default)]
    pub timing: Timing,

    /// What this member takes part for: a Candidate votes and leads when it is elected, a Witness votes and never leads.
    #[serde(default)]
    pub role: MemberRole,

    /// Whether a higher-ranked member takes the lead from one that leads well. The group keeps to its leader's setting.
    #[serde(default)]
    pub preemption: Preemption,

    /// What a leader does whose own API server does not answer.
    #[serde(default)]
    pub on_api_server_loss: ApiServerLoss,

    /// Members whose copy of the payload this one removes, when it leads after a failure and they are silent, through the API
    /// servers of their clusters.
    #[serde(default, skip_serializing_if = "Fencing::is_empty")]
    pub fencing: Fencing,

    /// Keep doing what it does: a leader hands over to nobody, unless its MultiCluster is deleted or its controller ends,
    /// and another member takes the lead from nobody. A leader that loses its claim stops its payload all the same.
    #[serde(default)]
    pub paused: bool,
}

/// What a member takes part for.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MemberRole {
    /// Votes, and leads when it is elected.
    #[default]
    Candidate,
    /// Votes and never leads.
    Witness,
}

/// Whether a higher-ranked member takes the lead from one that leads well.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Preemption {
    /// Always: it does. Never: the lead changes only when the leader fails, leaves, or a person asks for it.
    #[serde(default)]
    pub policy: PreemptionPolicy,
    /// For how long the higher-ranked member must have been able to lead, without a break, before it does.
    #[serde(default = "at_once")]
    pub after: Period,
}

/// Whether rank alone takes the lead from a leader.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PreemptionPolicy {
    /// It does.
    #[default]
    Always,
    /// It does not.
    Never,
}

impl Default for Preemption {
    fn default() -> Preemption {
        Preemption {
            policy: PreemptionPolicy::Always,
            after: at_once(),
        }
    }
}

/// What a leader does whose own API server does not answer.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ApiServerLoss {
    /// Keep: it leads on, since its Pods run on, and says Degraded. Failover: another member leads after a while, and a
    /// second copy of the payload runs beside the old one, which nobody can stop, until the API server is back.
    #[serde(default)]
    pub action: ApiServerLossAction,
    /// With Failover: for how long the API server must not have answered.
    #[serde(default = "a_minute")]
    pub after: Period,
}

/// What a leader does whose own API server does not answer.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ApiServerLossAction {
    /// It leads on.
    #[default]
    Keep,
    /// Another leads, and two copies may run.
    Failover,
}

impl Default for ApiServerLoss {
    fn default() -> ApiServerLoss {
        ApiServerLoss {
            action: ApiServerLossAction::Keep,
            after: a_minute(),
        }
    }
}

/// An expression that holds when `variable` is `host` or `host:port`, as far as a pattern tells;
/// [`super::Address::parse`] tells it exactly.
fn address_rule(variable: &str) -> String {
    let host = r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z]([-0-9A-Za-z.]*[0-9A-Za-z])?\.?)";
    let port = "(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})";
    format!("{variable}.matches(r'^{host}(:{port})?$')")
}

/// Certificates that an organisation issues to members.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// The name of a Secret in the namespace of the MultiCluster, as cert-manager writes them: tls.crt, tls.key and ca.crt.
    /// This member shows the certificate and accepts those only that show one of the authorities in ca.crt. All members
    /// of a group have it, or none. It may be renewed there at any time.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
}

/// Where a callsign stands.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CallsignFrom {
    /// A key of a Secret in the namespace of the MultiCluster.
    pub secret_key_ref: SecretKeyRef,
}

/// A key of a Secret.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// How many members it takes to lead.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum QuorumMode {
    /// `None` for two members that never were more, `Majority` otherwise.
    #[default]
    Auto,
    /// More than half of the agreed members.
    Majority,
    /// One member, itself.
    None,
}

/// How quickly a silent leader is replaced.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.heartbeat) || !has(self.lease) || duration(self.heartbeat) + duration(self.heartbeat) + \
     duration(self.heartbeat) <= duration(self.lease)"
).message("timing.lease must be at least three times timing.heartbeat: one lost heartbeat would end it"))]
pub struct Timing {
    /// Intervals of the election that fit together. Fast is for clusters in one site: heartbeat 100 ms, lease 600 ms,
    /// stop budget 200 ms. Balanced is for one region: 500 ms, 3 s, 2 s. Wide is for continents and poor links: 2 s,
    /// 15 s, 15 s.
    #[serde(default)]
    pub profile: TimingProfile,
    /// Between two heartbeats of the leader, instead of the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Period>,
    /// For how long members refuse other candidates after a heartbeat, instead of the profile's: at least three
    /// heartbeats. A silent leader is replaced after this and a moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Period>,
    /// How long a leader that lost its claim may take until its payload is gone, grace periods of its Pods included,
    /// instead of the profile's: after a failure the next leader waits for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_budget: Option<Period>,
}

/// A set of intervals that fit together.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimingProfile {
    /// Clusters in one site: heartbeat 100 ms, lease 600 ms, stop budget 200 ms.
    Fast,
    /// Clusters in one region: heartbeat 500 ms, lease 3 s, stop budget 2 s.
    #[default]
    Balanced,
    /// Continents and poor links: heartbeat 2 s, lease 15 s, stop budget 15 s.
    Wide,
}

fn at_once() -> Period {
    Period::new("0s")
}

fn a_minute() -> Period {
    Period::new("1m")
}

/// Every IPv4 address of the cluster's host, as kube-vip-multi-cluster listens.
fn default_address() -> String {
    "0.0.0.0".to_owned()
}
