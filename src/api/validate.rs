//! What is wrong with a spec, in words that say what to write instead.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::address::{Address, Host};
use super::fencing::FencedMember;
use super::multicluster::{
    ApiServerLossAction, MemberRole, MultiClusterSpec, PreemptionPolicy, QuorumMode, TimingProfile,
};
use super::payload::{DemotionPolicy, PayloadSource, Source, SourceKind};
use super::period::Period;

/// Longest callsign, in characters: a word or a passphrase, not a document.
const CALLSIGN_MAX_CHARS: usize = 256;
/// Addresses through which to join: one that answers is enough, so more would only be dialled in vain.
const FLEET_MAX_ENTRIES: usize = 64;
/// Largest payload, in bytes: etcd takes objects of 1.5 MiB, and the status needs its share.
const PAYLOAD_MAX_BYTES: usize = 1 << 20;
/// Sources of the payload: each is a watch of its own.
const SOURCES_MAX_ENTRIES: usize = 16;
/// Members that one may fence: each is a watch on a Secret.
const FENCED_MAX_ENTRIES: usize = 64;
/// Longest name of an object, and longest key of its data, in bytes.
const NAME_MAX_BYTES: usize = 253;

/// A spec that can be carried out. The payload stays in the [`MultiClusterSpec`]: it has a parser of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidSpec {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The group's callsign.
    pub callsign: CallsignSource,
    /// The Secret with a certificate, where there is one.
    pub tls_secret: Option<String>,
    /// Higher is preferred.
    pub rank: i64,
    /// Whether this member may found the group.
    pub ready: bool,
    /// How the others reach this member.
    pub service_address: Option<Address>,
    /// Where to join, in the order of the spec, each address once. This member's own may be among them, since one list for
    /// all manifests is convenient.
    pub fleet: Vec<Address>,
    /// How many members it takes to lead.
    pub quorum: QuorumMode,
    /// How quickly a silent leader is replaced.
    pub timing: ValidTiming,
    /// What the member takes part for.
    pub role: MemberRole,
    /// How long a higher-ranked member must have been able to lead before it takes the lead; none if it never does.
    pub preempt_after: Option<Duration>,
    /// After how long without its API server a leader lets another lead; none if it leads on.
    pub fail_over_after: Option<Duration>,
    /// Whose copy of the payload this member removes when it leads and they are silent, in the order of the spec.
    pub fencing: Vec<FencedMember>,
    /// Whether the lead is to stay where it is.
    pub paused: bool,
    /// Where the rest of the payload is read, in the order of the spec.
    pub payload_from: Vec<Source>,
    /// ServiceAccount in the MultiCluster's namespace as which the payload is applied; the controller's own without it.
    pub service_account: Option<String>,
    /// What becomes of the payload when its cluster leads no longer.
    pub demotion: DemotionPolicy,
    /// How long a planned move waits for the payload to stop.
    pub demotion_timeout: Duration,
    /// How long the payload may take to become healthy.
    pub startup_timeout: Duration,
    /// How long the payload may be unhealthy once it was healthy.
    pub failure_timeout: Duration,
}

/// A profile, and what is to be different from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidTiming {
    /// Where the rest comes from.
    pub profile: TimingProfile,
    /// Between two heartbeats.
    pub heartbeat: Option<Duration>,
    /// For how long other candidates are refused after a heartbeat.
    pub lease: Option<Duration>,
    /// How long a payload may take to stop.
    pub stop_budget: Option<Duration>,
}

/// Where a member has its callsign from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallsignSource {
    /// The spec.
    Word(String),
    /// A Secret in the same namespace.
    Secret {
        /// Its name.
        name: String,
        /// The key in its data.
        key: String,
    },
}

/// Something wrong with a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, such as `spec.fleet[2]`.
    pub field: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl MultiClusterSpec {
    /// Checks the spec, also against what the installed schema may have been too old to refuse.
    ///
    /// # Errors
    /// Every problem at once, in the order of the fields.
    pub fn validate(&self) -> Result<ValidSpec, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut report = |field: &str, message: String| {
            problems.push(Problem {
                field: field.to_owned(),
                message,
            })
        };

        let port = u16::try_from(self.port).ok().filter(|port| *port != 0);
        if port.is_none() {
            report(
                "spec.port",
                format!("{} is not a TCP port: write a number from 1 to 65535", self.port),
            );
        }
        // Addresses are checked even where the port that completes them is wrong.
        let default_port = port.unwrap_or(1);

        let mut callsign = None;
        match (&self.callsign, &self.callsign_from) {
            (Some(word), None) => match callsign_problem(word) {
                Some(message) => report("spec.callsign", message),
                None => callsign = Some(CallsignSource::Word(word.clone())),
            },
            (None, Some(from)) => {
                let (name, key) = (from.secret_key_ref.name.clone(), from.secret_key_ref.key.clone());
                callsign = Some(CallsignSource::Secret { name, key });
            }
            (None, None) => report(
                "spec.callsign",
                "is missing: write the callsign that all members of the group share, or callsignFrom and where it stands"
                    .to_owned(),
            ),
            (Some(_), Some(_)) => report(
                "spec.callsign",
                "stands beside spec.callsignFrom: remove one of them".to_owned(),
            ),
        }

        // The seed's manifests leave the field empty to say "everywhere".
        let bind = if self.address.is_empty() {
            "0.0.0.0"
        } else {
            &self.address
        };
        let bind_ip = bind.parse::<IpAddr>();
        if bind_ip.is_err() {
            report(
                "spec.address",
                format!(
                    "{bind:?} is not an IP address: write the one to listen on, or 0.0.0.0 for all; the port stands in spec.port"
                ),
            );
        }

        let mut service_address = None;
        if let Some(text) = self.service_address.as_deref().filter(|text| !text.is_empty()) {
            match Address::parse(text, default_port) {
                Ok(address) if matches!(address.host, Host::Ip(ip) if ip.is_unspecified()) => report(
                    "spec.serviceAddress",
                    format!(
                        "{text} is no address that other clusters can reach: write that of this cluster's LoadBalancer Service"
                    ),
                ),
                Ok(address) => service_address = Some(address),
                Err(error) => report("spec.serviceAddress", error.to_string()),
            }
        }

        if self.fleet.len() > FLEET_MAX_ENTRIES {
            report(
                "spec.fleet",
                format!(
                    "{} addresses are more than {FLEET_MAX_ENTRIES}: name a few, they tell the rest",
                    self.fleet.len()
                ),
            );
        }
        let mut fleet = Vec::new();
        for (index, text) in self.fleet.iter().take(FLEET_MAX_ENTRIES).enumerate() {
            match Address::parse(text, default_port) {
                Ok(address) if fleet.contains(&address) => {}
                Ok(address) => fleet.push(address),
                Err(error) => report(&format!("spec.fleet[{index}]"), error.to_string()),
            }
        }

        if self.payload.len() > PAYLOAD_MAX_BYTES {
            report(
                "spec.payload",
                format!(
                    "{} bytes are more than {PAYLOAD_MAX_BYTES}: let another tool bring what is large, or split the payload over several MultiClusters",
                    self.payload.len()
                ),
            );
        }

        if self.payload_from.len() > SOURCES_MAX_ENTRIES {
            report(
                "spec.payloadFrom",
                format!(
                    "{} sources are more than {SOURCES_MAX_ENTRIES}: put more documents into each",
                    self.payload_from.len()
                ),
            );
        }
        let mut payload_from = Vec::new();
        for (index, source) in self.payload_from.iter().take(SOURCES_MAX_ENTRIES).enumerate() {
            match read_source(source) {
                Ok(source) if payload_from.contains(&source) => report(
                    &format!("spec.payloadFrom[{index}]"),
                    format!("{source} is named twice: remove one"),
                ),
                Ok(source) => payload_from.push(source),
                Err(message) => report(&format!("spec.payloadFrom[{index}]"), message),
            }
        }

        let service_account = self
            .service_account_name
            .as_deref()
            .filter(|name| !name.is_empty());
        if let Some(name) = service_account.filter(|name| !is_object_name(name)) {
            report(
                "spec.serviceAccountName",
                format!(
                    "{name:?} is not the name of a ServiceAccount: write its name only, without a namespace"
                ),
            );
        }

        if self.fencing.members.len() > FENCED_MAX_ENTRIES {
            report(
                "spec.fencing.members",
                format!(
                    "{} entries are more than {FENCED_MAX_ENTRIES}: name those members only that may run the payload",
                    self.fencing.members.len()
                ),
            );
        }
        for (index, member) in self.fencing.members.iter().enumerate() {
            let field = format!("spec.fencing.members[{index}]");
            if self.fencing.members[..index]
                .iter()
                .any(|other| other.name == member.name)
            {
                report(&field, format!("{:?} is named twice: remove one", member.name));
            }
            if !is_object_name(&member.name) {
                let message = format!(
                    "{:?} is not the name of a MultiCluster: write one that status.members names",
                    member.name
                );
                report(&field, message);
            }
            let secret = &member.kube_config_secret_ref.name;
            if !is_object_name(secret) {
                report(
                    &format!("{field}.kubeConfigSecretRef"),
                    format!("{secret:?} is not the name of a Secret: write that of one in this namespace"),
                );
            }
        }

        let mut period = |field: &str, period: &Period| {
            let read = period.duration();
            if let Err(message) = &read {
                report(field, message.clone());
            }
            read.unwrap_or_default()
        };
        let mut timing = |name: &str, value: &Option<Period>| {
            let value = value.as_ref()?;
            Some(period(&format!("spec.timing.{name}"), value))
        };
        let timing = ValidTiming {
            profile: self.timing.profile,
            heartbeat: timing("heartbeat", &self.timing.heartbeat),
            lease: timing("lease", &self.timing.lease),
            stop_budget: timing("stopBudget", &self.timing.stop_budget),
        };
        let preempt_after = period("spec.preemption.after", &self.preemption.after);
        let fail_over_after = period("spec.onApiServerLoss.after", &self.on_api_server_loss.after);
        let demotion_timeout = period("spec.demotion.timeout", &self.demotion.timeout);
        let startup_timeout = period("spec.health.startupTimeout", &self.health.startup_timeout);
        let failure_timeout = period("spec.health.failureTimeout", &self.health.failure_timeout);
        for (field, period) in [
            ("spec.demotion.timeout", &self.demotion.timeout),
            ("spec.health.startupTimeout", &self.health.startup_timeout),
            ("spec.health.failureTimeout", &self.health.failure_timeout),
        ] {
            if period.duration() == Ok(Duration::ZERO) {
                report(field, "is no time at all: write more than 0".to_owned());
            }
        }
        if self.on_api_server_loss.action == ApiServerLossAction::Failover
            && self.on_api_server_loss.after.duration() == Ok(Duration::ZERO)
        {
            report(
                "spec.onApiServerLoss.after",
                "is no time at all, and one request that is lost would move the payload: write more than 0"
                    .to_owned(),
            );
        }
        if self.role == MemberRole::Witness && self.ready {
            report(
                "spec.ready",
                "a Witness never leads, so it cannot found the group: set ready on a Candidate".to_owned(),
            );
        }

        match (port, bind_ip, callsign) {
            (Some(port), Ok(bind_ip), Some(callsign)) if problems.is_empty() => Ok(ValidSpec {
                listen: SocketAddr::new(bind_ip, port),
                callsign,
                tls_secret: self.tls.as_ref().map(|tls| tls.secret_name.clone()),
                rank: self.rank,
                ready: self.ready,
                service_address,
                fleet,
                quorum: self.quorum,
                timing,
                role: self.role,
                preempt_after: (self.preemption.policy == PreemptionPolicy::Always).then_some(preempt_after),
                fail_over_after: (self.on_api_server_loss.action == ApiServerLossAction::Failover)
                    .then_some(fail_over_after),
                fencing: self.fencing.members.clone(),
                paused: self.paused,
                payload_from,
                service_account: service_account.map(str::to_owned),
                demotion: self.demotion.policy,
                demotion_timeout,
                startup_timeout,
                failure_timeout,
            }),
            _ => Err(problems),
        }
    }
}

/// The key that an entry of `payloadFrom` names, or what is wrong with it.
fn read_source(source: &PayloadSource) -> Result<Source, String> {
    let (kind, reference) = match (&source.config_map_key_ref, &source.secret_key_ref) {
        (Some(reference), None) => (SourceKind::ConfigMap, reference),
        (None, Some(reference)) => (SourceKind::Secret, reference),
        _ => return Err("write either configMapKeyRef or secretKeyRef".to_owned()),
    };
    if !is_object_name(&reference.name) {
        return Err(format!(
            "{:?} is not the name of a {kind}: write up to {NAME_MAX_BYTES} lower-case letters, digits, dashes and dots",
            reference.name
        ));
    }
    let is_key_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !(1..=NAME_MAX_BYTES).contains(&reference.key.len()) || !reference.key.bytes().all(is_key_byte) {
        return Err(format!(
            "{:?} is not a key of a {kind}: write up to {NAME_MAX_BYTES} letters, digits, dashes, dots and underscores",
            reference.key
        ));
    }
    Ok(Source {
        kind,
        name: reference.name.clone(),
        key: reference.key.clone(),
    })
}

/// Whether Kubernetes takes this as the name of an object (RFC 1123 subdomain, as far as it matters here).
fn is_object_name(name: &str) -> bool {
    let is_end = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=NAME_MAX_BYTES).contains(&name.len())
        && name
            .bytes()
            .all(|byte| is_end(byte) || byte == b'-' || byte == b'.')
        && name.bytes().next().is_some_and(is_end)
        && name.bytes().last().is_some_and(is_end)
}

/// What is wrong with a callsign, if anything.
pub fn callsign_problem(callsign: &str) -> Option<String> {
    let chars = callsign.chars().count();
    if callsign.trim().is_empty() {
        Some("is blank: write the word that all members of the group share".to_owned())
    } else if callsign.trim() != callsign {
        Some("begins or ends with white space, so it would not match the other members': remove it (a block scalar `|` ends with a line break)".to_owned())
    } else if chars > CALLSIGN_MAX_CHARS {
        Some(format!(
            "{chars} characters are more than {CALLSIGN_MAX_CHARS}: shorten it"
        ))
    } else {
        None
    }
}
