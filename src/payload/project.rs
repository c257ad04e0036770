//! Whether an object is as it was written, told without keeping it.
//!
//! The API server adds defaults and others add fields of their own, so an object is compared on the fields that we wrote
//! only. What these fields are right after our own write is remembered as a digest; a later digest that differs is drift.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// A digest of an object's fields that we wrote.
pub(super) type Projection = [u8; 16];

/// The digest of `live`, of the fields that `written` has.
pub(super) fn project(live: &Value, written: &Map<String, Value>) -> Projection {
    let mut hasher = Sha256::new();
    hash_fields(live, fields_of(written), &mut hasher);
    let mut digest = [0; 16];
    digest.copy_from_slice(&hasher.finalize()[..16]);
    digest
}

/// The fields to compare. Its kind tells an object from others, not its states; and a list leaves the kinds of its items
/// out.
fn fields_of(written: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    written
        .iter()
        .filter(|(field, _)| !["apiVersion", "kind"].contains(&field.as_str()))
}

fn hash_fields<'a>(
    live: &Value,
    written: impl Iterator<Item = (&'a String, &'a Value)>,
    hasher: &mut Sha256,
) {
    for (field, value) in written {
        // A length before each text keeps two different sets of fields from having the same bytes.
        hasher.update(field.len().to_le_bytes());
        hasher.update(field);
        hash_value(live.get(field), value, hasher);
    }
}

fn hash_value(live: Option<&Value>, written: &Value, hasher: &mut Sha256) {
    let Some(live) = live else {
        return hasher.update([0]);
    };
    match written {
        Value::Object(fields) if live.is_object() => {
            hasher.update([1]);
            hash_fields(live, fields.iter(), hasher);
        }
        Value::Array(elements)
            if live.is_array() && elements.iter().all(|element| name_of(element).is_some()) =>
        {
            hasher.update([2]);
            for element in elements {
                let same_name = |candidate: &&Value| name_of(candidate) == name_of(element);
                let found = live
                    .as_array()
                    .and_then(|candidates| candidates.iter().find(same_name));
                hash_value(found, element, hasher);
            }
        }
        _ => {
            hasher.update([3]);
            let text = live.to_string();
            hasher.update(text.len().to_le_bytes());
            hasher.update(text);
        }
    }
}

/// What tells the elements of most lists of maps apart, such as containers and volumes. Lists with other keys are
/// compared whole.
fn name_of(element: &Value) -> Option<&str> {
    element.get("name")?.as_str()
}

/// Whether `live` has every field of `written` with the same value. Used when the digest of the last write is not known,
/// after a restart: an object that has them needs no write. One that the API server wrote down differently (`1000m` as
/// `1`) is written again, which changes nothing.
pub(super) fn contains(live: &Value, written: &Map<String, Value>) -> bool {
    fields_of(written).all(|(field, value)| contains_field(live, field, value))
}

fn contains_field(live: &Value, field: &str, written: &Value) -> bool {
    live.get(field)
        .map_or(written.is_null(), |live| contains_value(live, written))
}

fn contains_value(live: &Value, written: &Value) -> bool {
    match (live, written) {
        (Value::Object(_), Value::Object(written)) => written
            .iter()
            .all(|(field, value)| contains_field(live, field, value)),
        (Value::Array(live), Value::Array(written)) => {
            live.len() == written.len()
                && live
                    .iter()
                    .zip(written)
                    .all(|(live, written)| contains_value(live, written))
        }
        _ => live == written,
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

    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else {
            panic!("not a map: {value}")
        };
        map
    }

    #[test]
    fn only_what_we_wrote_counts() {
        let written = map(json!({
            "spec": {"replicas": 2, "template": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "args": ["1"]}]}},
            "data": {"k": "v"}
        }));
        let live = json!({
            "spec": {"replicas": 2, "paused": false,
                     "template": {"containers": [{"name": "a", "image": "x", "pull": "Always"}, {"name": "b", "args": ["1"]}]}},
            "data": {"k": "v"}
        });
        let right = project(&live, &written);
        let unaffected = [
            ("/status", json!({"ready": 1})),
            ("/spec/paused", json!(true)),
            ("/data/other", json!("x")),
            ("/spec/template/containers/0/pull", json!("Never")),
        ];
        for (pointer, value) in unaffected {
            assert_eq!(
                project(&with(&live, pointer, value), &written),
                right,
                "{pointer}"
            );
        }
        let injected =
            json!([{"name": "sidecar"}, {"name": "b", "args": ["1"]}, {"name": "a", "image": "x"}]);
        assert_eq!(
            project(&with(&live, "/spec/template/containers", injected), &written),
            right
        );
        let drifts = [
            ("/spec/replicas", json!(3)),
            ("/data/k", json!("w")),
            ("/data", Value::Null),
            ("/spec/template/containers/1/args", json!(["1", "2"])),
            ("/spec/template/containers/0/image", json!("y")),
            ("/spec/template/containers", json!([{"name": "a", "image": "x"}])),
        ];
        for (pointer, value) in drifts {
            assert_ne!(
                project(&with(&live, pointer, value), &written),
                right,
                "{pointer}"
            );
        }
    }

    fn with(value: &Value, pointer: &str, new: Value) -> Value {
        let mut value = value.clone();
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
        value.pointer_mut(parent).expect("a parent")[field] = new;
        value
    }

    #[test]
    fn an_object_is_the_same_in_a_list_which_leaves_its_kind_out() {
        let written = map(json!({"apiVersion": "v1", "kind": "A", "spec": {"kind": "x"}}));
        let alone = json!({"apiVersion": "v1", "kind": "A", "spec": {"kind": "x"}});
        let listed = json!({"spec": {"kind": "x"}});
        assert_eq!(project(&alone, &written), project(&listed, &written));
        assert!(contains(&listed, &written));
        let other = json!({"spec": {"kind": "y"}});
        assert_ne!(project(&other, &written), project(&listed, &written));
        assert!(!contains(&other, &written));
    }

    #[test]
    fn lists_without_names_are_compared_whole() {
        let written = map(json!({"ports": [{"port": 80}]}));
        let right = project(&json!({"ports": [{"port": 80, "protocol": "TCP"}]}), &written);
        assert_ne!(
            project(&json!({"ports": [{"port": 80, "protocol": "UDP"}]}), &written),
            right
        );
        assert_ne!(
            project(
                &json!({"ports": [{"port": 80, "protocol": "TCP"}, {"port": 81}]}),
                &written
            ),
            right
        );
    }

    #[test]
    fn a_missing_field_is_not_an_empty_one() {
        let written = map(json!({"data": {"k": "v"}}));
        assert_ne!(
            project(&json!({}), &written),
            project(&json!({"data": {}}), &written)
        );
        assert_ne!(
            project(&json!({"data": {}}), &written),
            project(&json!({"data": null}), &written)
        );
    }

    #[test]
    fn containment_allows_defaults_but_no_other_value() {
        let written = map(json!({"a": {"b": 1}, "list": [{"x": 1}], "gone": null}));
        assert!(contains(
            &json!({"a": {"b": 1, "c": 2}, "list": [{"x": 1, "y": 2}], "d": 1}),
            &written
        ));
        assert!(!contains(&json!({"a": {"b": 2}, "list": [{"x": 1}]}), &written));
        assert!(!contains(
            &json!({"a": {"b": 1}, "list": [{"x": 1}, {"x": 2}]}),
            &written
        ));
        assert!(!contains(&json!({"list": [{"x": 1}]}), &written));
    }
}
