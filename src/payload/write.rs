//! Carries out the steps with single objects.

use serde_json::{Map, Value, json};

use super::{
    ledger::{Failure, Outcome, Step},
    mark::FIELD_MANAGER,
};
use crate::cluster::{Access, Call, Catalog, Guard, ObjectKey, Place, RequestError, managers};

/// Requests about objects, with what they need to know.
#[derive(Clone)]
pub(super) struct Writer {
    /// As the account that the payload is applied as.
    pub(super) access: Access,
    /// As the controller, for what is no part of a payload: definitions, and Pods that must have ended.
    pub(super) own: Access,
}

impl Writer {
    /// The same, with the controller's own rights.
    pub(super) fn as_controller(&self) -> Self {
        Self {
            access: self.own.clone(),
            own: self.own.clone(),
        }
    }

    /// Carries out one step. `body` is the object to write, for steps that write it whole.
    pub(super) async fn step(
        &self,
        catalog: &Catalog,
        key: &ObjectKey,
        version: &str,
        step: &Step,
        body: Option<Map<String, Value>>,
        guard: Option<Guard>,
    ) -> Outcome {
        let kinds = catalog.kinds();
        let Some(kind) = kinds.get(key, version) else {
            return failed(Failure::Missing(format!(
                "the API server knows no {} any more",
                key.group_kind()
            )));
        };
        let place = Place::of(key, version, kind);
        match (step, body, guard) {
            (Step::Look, ..) => self.look(&place).await,
            (Step::Create, Some(body), Some(guard)) => self.create(&place, body, &guard).await,
            (
                Step::Apply {
                    uid,
                    resource_version,
                },
                Some(body),
                Some(guard),
            ) => self.apply(&place, body, uid, resource_version, &guard).await,
            (
                Step::Upgrade {
                    uid,
                    resource_version,
                },
                _,
                Some(guard),
            ) => self.upgrade(&place, uid, resource_version, &guard).await,
            (
                Step::Delete {
                    uid,
                    resource_version,
                    foreground,
                },
                ..,
            ) => self.delete(&place, uid, resource_version, *foreground).await,
            (Step::Scale { resource_version }, ..) => self.scale_to_zero(&place, resource_version).await,
            (Step::ListContents, ..) => self.list_contents(catalog, &key.name).await,
            (Step::ListCustomResources, ..) => self.list_custom_resources(&place).await,
            // The order has changed since the step was planned.
            (Step::Create | Step::Apply { .. } | Step::Upgrade { .. }, ..) => failed(Failure::Unclaimed),
        }
    }

    async fn look(&self, place: &Place) -> Outcome {
        match self.access.send(Call::get(place.object.clone())).await {
            Ok(answer) => object(&answer),
            Err(error) if error.code() == Some(404) => Outcome::Gone,
            Err(error) => error.into(),
        }
    }

    async fn create(&self, place: &Place, body: Map<String, Value>, guard: &Guard) -> Outcome {
        let call = Call::create(place.collection.clone())
            .with_query("fieldManager", FIELD_MANAGER)
            .with_query("fieldValidation", "Strict")
            .with_body("application/json", Value::Object(body).to_string().into_bytes());
        match self.access.send_guarded(call, guard).await {
            Ok(answer) => object(&answer),
            Err(error) if error.is_already_exists() => Outcome::Exists,
            Err(error) => error.into(),
        }
    }

    async fn apply(
        &self,
        place: &Place,
        mut body: Map<String, Value>,
        uid: &str,
        resource_version: &str,
        guard: &Guard,
    ) -> Outcome {
        if let Some(Value::Object(metadata)) = body.get_mut("metadata") {
            metadata.insert("uid".to_owned(), uid.into());
            metadata.insert("resourceVersion".to_owned(), resource_version.into());
        }
        let call = Call::patch(place.object.clone())
            .with_query("fieldManager", FIELD_MANAGER)
            .with_query("force", "true")
            // JSON is YAML.
            .with_body(
                "application/apply-patch+yaml",
                Value::Object(body).to_string().into_bytes(),
            );
        match self.access.send_guarded(call, guard).await {
            Ok(answer) => object(&answer),
            Err(error) => error.into(),
        }
    }

    async fn upgrade(&self, place: &Place, uid: &str, resource_version: &str, guard: &Guard) -> Outcome {
        let current = match self.look(place).await {
            Outcome::Object(current) => current,
            other => return other,
        };
        // What has changed since may bear a higher term by now: that is for the ledger to see.
        let metadata = &current["metadata"];
        let is_as_seen = metadata["uid"] == uid && metadata["resourceVersion"] == resource_version;
        if !is_as_seen || !managers::need_upgrade(&current, FIELD_MANAGER) {
            return Outcome::Object(current);
        }
        let patch = managers::upgrade_patch(&current, FIELD_MANAGER);
        let call = Call::patch(place.object.clone())
            .with_query("fieldManager", FIELD_MANAGER)
            .with_body("application/json-patch+json", patch.to_string().into_bytes());
        match self.access.send_guarded(call, guard).await {
            Ok(answer) => object(&answer),
            Err(error) => error.into(),
        }
    }

    /// Allowed at any time, as a deletion is: there are fewer Pods afterwards. Its resource version tells the object from any
    /// other of its name, too.
    async fn scale_to_zero(&self, place: &Place, resource_version: &str) -> Outcome {
        let patch = json!([
            {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version},
            {"op": "add", "path": "/spec/replicas", "value": 0},
        ]);
        let call = Call::patch(place.object.clone())
            .with_query("fieldManager", FIELD_MANAGER)
            .with_body("application/json-patch+json", patch.to_string().into_bytes());
        match self.access.send(call).await {
            Ok(answer) => object(&answer),
            Err(error) if error.code() == Some(404) => Outcome::Gone,
            Err(error) => error.into(),
        }
    }

    async fn delete(&self, place: &Place, uid: &str, resource_version: &str, foreground: bool) -> Outcome {
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": if foreground { "Foreground" } else { "Background" },
            "preconditions": {"uid": uid, "resourceVersion": resource_version},
        });
        let call = Call::delete(place.object.clone())
            .with_body("application/json", options.to_string().into_bytes());
        match self.access.send(call).await {
            Ok(answer) => match object(&answer) {
                Outcome::Object(answer) if answer["kind"] == "Status" => Outcome::Gone,
                other => other,
            },
            Err(error) if error.code() == Some(404) => Outcome::Gone,
            Err(error) => error.into(),
        }
    }
}

pub(super) fn object(answer: &[u8]) -> Outcome {
    match serde_json::from_slice(answer) {
        Ok(object) => Outcome::Object(object),
        Err(error) => failed(Failure::Unavailable(
            format!("the API server's answer is no object: {error}"),
            None,
        )),
    }
}

pub(super) fn failed(failure: Failure) -> Outcome {
    Outcome::Failed {
        failure,
        maybe_until: None,
    }
}

impl From<RequestError> for Outcome {
    fn from(error: RequestError) -> Self {
        if error.code() == Some(409) {
            return Self::Changed;
        }
        let maybe_until = error.maybe_until();
        Self::Failed {
            failure: error.into(),
            maybe_until,
        }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        let text = error.to_string();
        match error {
            RequestError::Unclaimed => Self::Unclaimed,
            RequestError::Unsendable { .. } => Self::Rejected(text),
            RequestError::Unanswered { .. } => Self::Unavailable(text, None),
            RequestError::Refused {
                status, retry_after, ..
            } => match status.code {
                404 => Self::Missing(text),
                403 if has_cause(&status, "NamespaceTerminating") => Self::Unavailable(text, None),
                403 if text.contains(" cannot impersonate") => Self::NotImpersonated(text),
                // Admission says "forbidden" too; only authorization says who cannot do what.
                403 if text.contains(" cannot ") && text.contains(" resource ") => Self::Forbidden(text),
                // A server-side apply with a field that its kind does not have is answered as if the server had failed.
                500.. if text.starts_with("failed to create typed patch object") => Self::Rejected(text),
                401 | 408 | 429 | 500.. => Self::Unavailable(text, retry_after),
                _ => Self::Rejected(text),
            },
        }
    }
}

fn has_cause(status: &kube::core::Status, reason: &str) -> bool {
    status
        .details
        .iter()
        .flat_map(|details| &details.causes)
        .any(|cause| cause.reason == reason)
}
