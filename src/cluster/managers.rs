//! Who owns which field of an object.
//!
//! A creation must fail if the object exists, which a server-side apply cannot do; so objects are created by POST, and the
//! API server notes their fields as *updated* by our field manager. A later apply by the same manager would own them a
//! second time and could never remove one. So before its first apply an object's note is changed from `Update` to `Apply`,
//! as client-go's `csaupgrade` does.

use serde_json::{Map, Value, json};

/// Whether an entry of `managedFields` notes what this manager has done by this operation to the object itself.
fn is_of(entry: &Value, manager: &str, operation: &str) -> bool {
    entry["manager"] == manager
        && entry["operation"] == operation
        && entry["subresource"].as_str().is_none_or(str::is_empty)
}

/// Whether fields of the object are noted as updated by this manager.
pub(crate) fn need_upgrade(object: &Value, manager: &str) -> bool {
    let entries = object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten();
    entries.into_iter().any(|entry| is_of(entry, manager, "Update"))
}

/// Whether this manager has set a field of the object, such as `["f:spec", "f:replicas"]`.
pub(crate) fn owns(object: &Value, manager: &str, field: [&str; 2]) -> bool {
    let entries = object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten();
    entries.into_iter().any(|entry| {
        (is_of(entry, manager, "Update") || is_of(entry, manager, "Apply"))
            && entry["fieldsV1"][field[0]][field[1]].is_object()
    })
}

/// The JSON patch that notes them as applied instead. It holds for the object as it is here only, by its UID and resource
/// version.
pub(crate) fn upgrade_patch(object: &Value, manager: &str) -> Value {
    let metadata = &object["metadata"];
    let entries = metadata["managedFields"].as_array().cloned().unwrap_or_default();
    let (ours, mut others): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .partition(|entry| is_of(entry, manager, "Update") || is_of(entry, manager, "Apply"));
    let mut fields = Map::new();
    let mut applied = ours.last().cloned().unwrap_or_default();
    for entry in &ours {
        if let Value::Object(owned) = &entry["fieldsV1"] {
            merge(&mut fields, owned);
        }
    }
    applied["operation"] = "Apply".into();
    applied["fieldsV1"] = fields.into();
    others.push(applied);
    json!([
        {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        {"op": "replace", "path": "/metadata/managedFields", "value": others},
    ])
}

fn merge(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (field, value) in from {
        match (into.get_mut(field), value) {
            (Some(Value::Object(known)), Value::Object(more)) => merge(known, more),
            _ => {
                into.insert(field.clone(), value.clone());
            }
        }
    }
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

    fn object(entries: Value) -> Value {
        json!({"metadata": {"uid": "u", "resourceVersion": "5", "managedFields": entries}})
    }

    #[test]
    fn only_our_own_updates_need_an_upgrade() {
        assert!(need_upgrade(
            &object(json!([{"manager": "flagship", "operation": "Update"}])),
            "flagship"
        ));
        for other in [
            json!({"manager": "flagship", "operation": "Apply"}),
            json!({"manager": "kubectl", "operation": "Update"}),
            json!({"manager": "flagship", "operation": "Update", "subresource": "status"}),
        ] {
            assert!(!need_upgrade(&object(json!([other])), "flagship"), "{other}");
        }
        assert!(!need_upgrade(&json!({"metadata": {}}), "flagship"));
    }

    #[test]
    fn a_field_is_owned_by_either_operation_and_by_nobody_else() {
        let noted = |manager: &str, operation: &str, fields: Value| {
            let entry = json!([{"manager": manager, "operation": operation, "fieldsV1": fields}]);
            owns(&object(entry), "flagship", ["f:spec", "f:replicas"])
        };
        let replicas = json!({"f:spec": {"f:replicas": {}}});
        assert!(noted("flagship", "Update", replicas.clone()));
        assert!(noted("flagship", "Apply", replicas.clone()));
        assert!(!noted("kubectl", "Update", replicas));
        assert!(!noted("flagship", "Update", json!({"f:spec": {"f:paused": {}}})));
        assert!(!owns(
            &json!({"metadata": {}}),
            "flagship",
            ["f:spec", "f:replicas"]
        ));
    }

    #[test]
    fn updates_and_applies_of_ours_become_one_apply() {
        let other = json!({"manager": "kcm", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}});
        let object = object(json!([
            {"manager": "flagship", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {"f:data": {"f:a": {}}}},
            other,
            {"manager": "flagship", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:data": {"f:b": {}}, "f:x": {}}},
        ]));
        assert_eq!(
            upgrade_patch(&object, "flagship"),
            json!([
                {"op": "test", "path": "/metadata/uid", "value": "u"},
                {"op": "replace", "path": "/metadata/resourceVersion", "value": "5"},
                {"op": "replace", "path": "/metadata/managedFields", "value": [
                    other,
                    {"manager": "flagship", "operation": "Apply", "apiVersion": "v1",
                     "fieldsV1": {"f:data": {"f:a": {}, "f:b": {}}, "f:x": {}}},
                ]},
            ])
        );
    }
}
