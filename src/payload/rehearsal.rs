//! Whether the API server would take a payload, without giving it one: a dry run of what the leader does first.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use serde_json::{Map, Value};

use super::{
    decode::{Document, Payload},
    ledger::{Failure, Outcome, scope_in_payload},
    mark::{self, FIELD_MANAGER, Mark, Owner},
    write::object,
};
use crate::cluster::{Access, Call, Catalog, CatalogError, Kinds, ObjectKey, Place};

/// So many requests are under way at once: few, since nobody waits for a rehearsal.
const REQUESTS_AT_ONCE: usize = 4;

/// A rehearsal that takes longer tells nothing. A payload of 1,000 objects takes some 10 s.
const LIMIT: Duration = Duration::from_secs(60);

/// What came of a rehearsal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rehearsal {
    /// The API server would take every object, as far as it can tell: what depends on a Namespace or a definition that the
    /// payload itself brings cannot be told beforehand.
    Permitted,
    /// It would not take this object.
    Refused {
        /// The first one that it would not take.
        object: ObjectKey,
        /// Why, and what to do.
        cause: String,
    },
    /// It did not answer, or not in time.
    Unknown(String),
}

/// Makes sure, ahead of time, that the kinds of a payload are known: a member that may have to start the payload does not want
/// to ask then.
///
/// # Errors
/// The API server did not tell its kinds. A kind that it does not know is no error here.
pub async fn prepare(catalog: &Catalog, payload: &Payload) -> Result<(), CatalogError> {
    let kinds = catalog.kinds();
    let is_known = |document: &Document| kinds.get(&document.key, &document.version).is_some();
    if !kinds.is_empty() && payload.documents().iter().all(is_known) {
        return Ok(());
    }
    catalog.refresh().await
}

/// Asks the API server whether it would take the payload of this MultiCluster as `access`: each object is created, or
/// applied where it is ours already, with `dryRun=All`.
pub async fn rehearse(access: &Access, catalog: &Catalog, owner: &Owner, payload: &Payload) -> Rehearsal {
    if let Err(error) = prepare(catalog, payload).await {
        return Rehearsal::Unknown(error.to_string());
    }
    let kinds = catalog.kinds();
    let rehearsed = async {
        let each: Vec<_> = payload
            .documents()
            .iter()
            .map(|document| rehearse_document(access, &kinds, owner, payload, document))
            .collect();
        let mut verdicts = stream::iter(each).buffered(REQUESTS_AT_ONCE);
        while let Some(verdict) = verdicts.next().await {
            if verdict != Rehearsal::Permitted {
                return verdict;
            }
        }
        Rehearsal::Permitted
    };
    tokio::time::timeout(LIMIT, rehearsed).await.unwrap_or_else(|_| {
        let message = format!("a dry run of the payload took longer than {} s", LIMIT.as_secs());
        Rehearsal::Unknown(message)
    })
}

async fn rehearse_document(
    access: &Access,
    kinds: &Kinds,
    owner: &Owner,
    payload: &Payload,
    document: &Document,
) -> Rehearsal {
    let Some(kind) = kinds.get(&document.key, &document.version) else {
        return judge_unknown_kind(payload, document);
    };
    let key = ObjectKey {
        namespace: kind.namespaced.then(|| {
            let namespace = document.key.namespace.as_ref();
            namespace.unwrap_or(&owner.namespace).clone()
        }),
        ..document.key.clone()
    };
    let place = Place::of(&key, &document.version, kind);
    // A dry run is of no term and no group.
    let body = mark::stamp(document, &key, owner, "", 0);
    // Looked for first: a creation is refused for ports, addresses and quotas that are taken, by the very object that a stop
    // has kept perhaps, before it is for the object's being there.
    let outcome = match look(access, &place).await {
        Outcome::Object(found) => match mark::read(owner, &found) {
            Mark::Ours(_) => apply(access, &place, &body).await,
            _ if key.is_shareable() => return Rehearsal::Permitted,
            _ => {
                return Rehearsal::Refused {
                    object: key,
                    cause: "it existed before and is not of this payload: delete it or rename one of the two"
                        .to_owned(),
                };
            }
        },
        Outcome::Gone => create(access, &place, &body).await,
        other => other,
    };
    judge(payload, key, outcome)
}

async fn create(access: &Access, place: &Place, body: &Map<String, Value>) -> Outcome {
    let call = Call::create(place.collection.clone())
        .with_query("dryRun", "All")
        .with_query("fieldManager", FIELD_MANAGER)
        .with_query("fieldValidation", "Strict")
        .with_body("application/json", to_bytes(body));
    match access.send(call).await {
        Ok(answer) => object(&answer),
        Err(error) if error.is_already_exists() => Outcome::Exists,
        Err(error) => error.into(),
    }
}

async fn look(access: &Access, place: &Place) -> Outcome {
    match access.send(Call::get(place.object.clone())).await {
        Ok(answer) => object(&answer),
        Err(error) if error.code() == Some(404) => Outcome::Gone,
        Err(error) => error.into(),
    }
}

async fn apply(access: &Access, place: &Place, body: &Map<String, Value>) -> Outcome {
    let call = Call::patch(place.object.clone())
        .with_query("dryRun", "All")
        .with_query("fieldManager", FIELD_MANAGER)
        .with_query("force", "true")
        .with_body("application/apply-patch+yaml", to_bytes(body));
    match access.send(call).await {
        Ok(answer) => object(&answer),
        Err(error) => error.into(),
    }
}

fn to_bytes(body: &Map<String, Value>) -> Vec<u8> {
    Value::Object(body.clone()).to_string().into_bytes()
}

fn judge_unknown_kind(payload: &Payload, document: &Document) -> Rehearsal {
    match scope_in_payload(&document.key, payload) {
        Some(_) => Rehearsal::Permitted,
        None => Rehearsal::Refused {
            object: document.key.clone(),
            cause: format!(
                "the API server knows no {} of version {}: install what defines it",
                document.key.group_kind(),
                document.version
            ),
        },
    }
}

fn judge(payload: &Payload, key: ObjectKey, outcome: Outcome) -> Rehearsal {
    let failure = match outcome {
        Outcome::Failed { failure, .. } => failure,
        // What has come, gone or changed meanwhile is looked at the next time.
        _ => return Rehearsal::Permitted,
    };
    let cause = failure.to_string();
    match failure {
        Failure::Unavailable(..) | Failure::Unclaimed => Rehearsal::Unknown(format!("{key}: {cause}")),
        Failure::Missing(text) | Failure::Rejected(text) if is_unknowable(payload, &key, &text) => {
            Rehearsal::Permitted
        }
        Failure::Missing(_) | Failure::Rejected(_) | Failure::Forbidden(_) | Failure::NotImpersonated(_) => {
            Rehearsal::Refused { object: key, cause }
        }
    }
}

/// Whether the refusal says no more than that this is a dry run: an admission webhook takes no part in one, or it lacks what
/// the payload itself brings.
fn is_unknowable(payload: &Payload, key: &ObjectKey, refusal: &str) -> bool {
    let brings = |document: &Document| {
        let is_other = document.key.kind != key.kind || document.key.name != key.name;
        is_other && refusal.contains(&format!("\"{}\" not found", document.key.name))
    };
    refusal.contains("does not support dry run") || payload.documents().iter().any(brings)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a test fails by panicking"
    )]

    use super::*;
    use crate::payload::write::failed;

    const PAYLOAD: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: own}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec: {group: example.com, scope: Namespaced, names: {kind: Widget, plural: widgets}}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: w}
---
apiVersion: example.com/v1
kind: Gadget
metadata: {name: g}
";

    fn judged(outcome: Outcome) -> Rehearsal {
        let payload = Payload::decode(PAYLOAD).unwrap();
        judge(&payload, payload.documents()[2].key.clone(), outcome)
    }

    fn refused(failure: Failure) -> Rehearsal {
        let cause = failure.to_string();
        match judged(failed(failure)) {
            Rehearsal::Refused { object, cause: told } if told == cause && object.name == "w" => {
                Rehearsal::Refused { object, cause }
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_the_payload_cannot_mend_itself_refuses_it() {
        for fine in [
            Outcome::Object(Value::Null),
            Outcome::Gone,
            failed(Failure::Missing("namespaces \"own\" not found".to_owned())),
            failed(Failure::Rejected(
                "admission webhook \"x\" does not support dry run".to_owned(),
            )),
        ] {
            assert_eq!(judged(fine), Rehearsal::Permitted);
        }
        refused(Failure::Missing("namespaces \"other\" not found".to_owned()));
        refused(Failure::Missing("widgets \"w\" not found".to_owned()));
        refused(Failure::Rejected("spec: Required value".to_owned()));
        refused(Failure::Forbidden("User x cannot create resource".to_owned()));
        assert!(matches!(
            judged(failed(Failure::Unavailable("no answer".to_owned(), None))),
            Rehearsal::Unknown(_)
        ));
    }

    #[test]
    fn a_kind_that_the_payload_defines_is_taken_on_trust() {
        let payload = Payload::decode(PAYLOAD).unwrap();
        let judged = |index: usize| judge_unknown_kind(&payload, &payload.documents()[index]);
        assert_eq!(judged(2), Rehearsal::Permitted);
        let Rehearsal::Refused { object, cause } = judged(3) else {
            panic!("{:?}", judged(3))
        };
        assert_eq!(
            (object.kind.as_str(), cause.as_str()),
            (
                "Gadget",
                "the API server knows no Gadget.example.com of version v1: install what defines it"
            )
        );
    }
}
