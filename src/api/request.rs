//! What a person asks of a group through one of its MultiClusters: `flagship switch` and `flagship member` write it as
//! an annotation, and the controller answers in the status.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The annotation that a request stands in, as JSON.
pub const REQUEST_ANNOTATION: &str = "flagship.dev/request";

/// Something asked for.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Names it; drawn at random, a UUID. The same request is carried out once.
    pub id: String,
    /// When it was made. One that is not taken up within minutes is not carried out any more.
    pub at: Timestamp,
    /// What is asked for.
    #[serde(flatten)]
    pub wish: Wish,
}

/// What is asked for.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(tag = "do", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Wish {
    /// That a member leads.
    Switch {
        /// The name of its MultiCluster.
        to: String,
        /// Even if it does not seem fit, and however long the payload takes to stop.
        #[serde(default)]
        force: bool,
    },
    /// That a member which will not come back has no vote any more.
    Remove {
        /// The name of its MultiCluster, or its identity.
        member: String,
    },
    /// That this member goes on alone in a new group.
    Recover,
}

impl Request {
    /// A new request for `wish`.
    #[must_use]
    pub fn new(wish: Wish) -> Request {
        let random: u128 = rand::random();
        let hex = format!("{random:032x}");
        let id = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
        Request {
            id,
            at: Timestamp::now(),
            wish,
        }
    }
}

impl std::fmt::Display for Wish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wish::Switch { to, force: false } => write!(f, "switch to {to}"),
            Wish::Switch { to, force: true } => write!(f, "switch to {to} by force"),
            Wish::Remove { member } => write!(f, "remove {member}"),
            Wish::Recover => f.write_str("recover"),
        }
    }
}
