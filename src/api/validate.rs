//! What is wrong with a spec, in words that say what to write instead.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::address::{Address, Host};
use super::multicluster::{MultiClusterSpec, QuorumMode, TimingProfile};

/// Longest callsign, in characters: a word or a passphrase, not a document.
const CALLSIGN_MAX_CHARS: usize = 256;
/// Addresses through which to join: one that answers is enough, so more would only be dialled in vain.
const FLEET_MAX_ENTRIES: usize = 64;
/// Largest payload, in bytes: etcd takes objects of 1.5 MiB, and the status needs its share.
const PAYLOAD_MAX_BYTES: usize = 1 << 20;

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
    pub timing: TimingProfile,
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
                timing: self.timing.profile,
            }),
            _ => Err(problems),
        }
    }
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
