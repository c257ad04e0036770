//! The Lease by which the controllers of one cluster agree which of them is active.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::vigil::{Claims, Reading};
use crate::cluster::Claim;

/// For how long a renewal holds: the Lease's own field counts whole seconds.
const LENGTH: &str = "flagship.dev/lease-milliseconds";
/// Which members' claims there were, and how much was left of them: `identity=term:milliseconds`, separated by blanks.
const CLAIMS: &str = "flagship.dev/claims";
/// Set by a holder that gives it up, so that it is not taken for one that somebody's hand has emptied.
const GIVEN_UP: &str = "flagship.dev/given-up";
/// Who stands by, and how often it has said so.
const STANDBY: &str = "flagship.dev/standby";
/// The label of what belongs to an installation, and goes with it.
const PART_OF: (&str, &str) = ("app.kubernetes.io/part-of", "flagship");
/// Where the Lease does not say: the default of Kubernetes' own leader elections.
const LENGTH_UNSAID: Duration = Duration::from_secs(15);

/// One Lease, as one replica sees it.
pub(super) struct Handle {
    api: Api<Lease>,
    name: String,
    /// `namespace/name`, for people.
    pub title: String,
    pub identity: String,
}

/// What became of a write.
pub(super) enum Written {
    Done(Box<Lease>),
    /// The Lease is not what it was, or is no more.
    Changed,
}

impl Handle {
    pub(super) fn new(client: Client, namespace: &str, name: String, identity: String) -> Handle {
        Handle {
            api: Api::namespaced(client, namespace),
            title: format!("{namespace}/{name}"),
            name,
            identity,
        }
    }

    pub(super) async fn read(&self) -> Result<Option<Lease>, kube::Error> {
        self.api.get_opt(&self.name).await
    }

    /// Takes the Lease, if it is still what was found.
    pub(super) async fn take(
        &self,
        found: Option<&Lease>,
        length: Duration,
        claims: &Claims,
        now: Timestamp,
    ) -> Result<Written, kube::Error> {
        let spec = found.and_then(|lease| lease.spec.as_ref());
        let transitions = spec.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        let mut body = self.renewal(length, claims, now);
        body["spec"]["acquireTime"] = body["spec"]["renewTime"].clone();
        body["spec"]["leaseTransitions"] = json!(transitions.saturating_add(i32::from(found.is_some())));
        let Some(found) = found else {
            body["metadata"]["name"] = json!(self.name);
            body["metadata"]["labels"] = json!({PART_OF.0: PART_OF.1});
            if let Some(annotations) = body["metadata"]["annotations"].as_object_mut() {
                annotations.remove(GIVEN_UP);
            }
            let lease: Lease = serde_json::from_value(body).map_err(kube::Error::SerdeError)?;
            return outcome(self.api.create(&PostParams::default(), &lease).await);
        };
        self.write(found.resource_version().as_deref(), body).await
    }

    /// Renews the Lease that this replica holds in this version.
    pub(super) async fn renew(
        &self,
        version: &str,
        length: Duration,
        claims: &Claims,
        now: Timestamp,
    ) -> Result<Written, kube::Error> {
        self.write(Some(version), self.renewal(length, claims, now)).await
    }

    /// Gives it up.
    pub(super) async fn give_up(
        &self,
        version: &str,
        length: Duration,
        claims: &Claims,
        now: Timestamp,
    ) -> Result<Written, kube::Error> {
        let mut body = self.renewal(length, claims, now);
        body["spec"]["holderIdentity"] = Value::Null;
        body["metadata"]["annotations"][GIVEN_UP] = "true".into();
        self.write(Some(version), body).await
    }

    /// Says, for the `count`th time, that this replica stands by.
    pub(super) async fn announce(&self, count: u64) -> Result<Written, kube::Error> {
        let standby = format!("{} {count}", self.identity);
        self.write(None, json!({"metadata": {"annotations": {STANDBY: standby}}}))
            .await
    }

    fn renewal(&self, length: Duration, claims: &Claims, now: Timestamp) -> Value {
        let claims: Vec<_> = claims
            .iter()
            .map(|(member, claim)| format!("{member}={}:{}", claim.term, claim.until.as_millis()))
            .collect();
        json!({
            "metadata": {"annotations": {
                LENGTH: length.as_millis().to_string(),
                CLAIMS: claims.join(" "),
                GIVEN_UP: null,
            }},
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": length.as_secs() + u64::from(length.subsec_nanos() > 0),
                // The API server takes microseconds, and no other number of digits.
                "renewTime": format!("{now:.6}"),
            },
        })
    }

    async fn write(&self, version: Option<&str>, mut body: Value) -> Result<Written, kube::Error> {
        if let Some(version) = version {
            body["metadata"]["resourceVersion"] = json!(version);
        }
        let patch = Patch::Merge(body);
        outcome(self.api.patch(&self.name, &PatchParams::default(), &patch).await)
    }
}

fn outcome(result: Result<Lease, kube::Error>) -> Result<Written, kube::Error> {
    match result {
        Ok(lease) => Ok(Written::Done(Box::new(lease))),
        // 404 of a Lease that was deleted; 409 of one that another has written or made.
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {
            Ok(Written::Changed)
        }
        Err(error) if matches!(&error, kube::Error::Api(status) if status.is_already_exists()) => {
            Ok(Written::Changed)
        }
        Err(error) => Err(error),
    }
}

pub(super) fn holder(lease: &Lease) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref()?;
    (!holder.is_empty()).then_some(holder)
}

/// What is said of the replica that stands by.
pub(super) fn standby(lease: &Lease) -> Option<&str> {
    lease.annotations().get(STANDBY).map(String::as_str)
}

pub(super) fn reading(lease: &Lease) -> Reading {
    let spec = lease.spec.as_ref();
    let told = lease.annotations().get(LENGTH).and_then(|ms| ms.parse().ok());
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
    let length = told
        .map(Duration::from_millis)
        .or_else(|| Some(Duration::from_secs(u64::try_from(seconds?).ok()?)));
    Reading {
        holder: holder(lease).map(str::to_owned),
        renewal: spec.and_then(|spec| Some(spec.renew_time.as_ref()?.0.to_string())),
        is_given_up: lease.annotations().contains_key(GIVEN_UP),
        length: length.unwrap_or(LENGTH_UNSAID),
        claims: lease
            .annotations()
            .get(CLAIMS)
            .map_or_else(Claims::new, |text| claims(text)),
    }
}

/// What cannot be read is not there: nothing is spared for it.
fn claims(text: &str) -> Claims {
    let claim = |text: &str| {
        let (member, claim) = text.split_once('=')?;
        let (term, left) = claim.split_once(':')?;
        let claim = Claim {
            term: term.parse().ok()?,
            until: Duration::from_millis(left.parse().ok()?),
        };
        Some((member.parse().ok()?, claim))
    };
    text.split_whitespace().filter_map(claim).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::election::MemberId;

    #[test]
    fn a_lease_is_read_as_it_stands() {
        let read = |value: Value| reading(&serde_json::from_value(value).unwrap());
        let ours = json!({
            "metadata": {"annotations": {
                LENGTH: "1500",
                CLAIMS: "00000000-0000-0000-0000-000000000007=5:2200 00000000-0000-0000-0000-000000000008=5 x=1:1",
            }},
            "spec": {"holderIdentity": "a", "leaseDurationSeconds": 2, "renewTime": "2026-01-01T00:00:00.500000Z"},
        });
        let claim = Claim {
            term: 5,
            until: Duration::from_millis(2_200),
        };
        let expected = Reading {
            holder: Some("a".to_owned()),
            renewal: Some("2026-01-01T00:00:00.5Z".to_owned()),
            is_given_up: false,
            length: Duration::from_millis(1_500),
            claims: [(MemberId(7), claim)].into(),
        };
        assert_eq!(read(ours), expected);
        let given_up = json!({GIVEN_UP: "true"});
        let bare = read(
            json!({"metadata": {"annotations": given_up}, "spec": {"holderIdentity": "", "leaseDurationSeconds": 4}}),
        );
        let free = Reading {
            holder: None,
            renewal: None,
            is_given_up: true,
            length: Duration::from_secs(4),
            claims: Claims::new(),
        };
        assert_eq!(bare, free);
        assert_eq!(read(json!({"metadata": {}})).length, LENGTH_UNSAID);
    }
}
