//! Reads MultiClusters whose status somebody may have garbled.

use kube::api::DynamicObject;
use kube::core::dynamic::ParseDynamicObjectError;
use serde_json::json;

use crate::api::MultiCluster;

/// The object, and why its status had to be cut down: what users are told may be lost, but not the election's memory, nor
/// the list of what is ours, where they can be read.
pub(super) fn readable(
    object: DynamicObject,
) -> Result<(MultiCluster, Option<ParseDynamicObjectError>), ParseDynamicObjectError> {
    let error = match object.clone().try_parse::<MultiCluster>() {
        Ok(object) => return Ok((object, None)),
        Err(error) => error,
    };
    let status = object.data["status"].clone();
    let memory = &status["memory"];
    let needed = [
        json!({"memory": memory, "payload": status["payload"]}),
        json!({"memory": memory}),
        json!({"payload": status["payload"]}),
        json!({}),
    ];
    for status in needed {
        let mut reduced = object.clone();
        reduced.data["status"] = status;
        if let Ok(object) = reduced.try_parse::<MultiCluster>() {
            return Ok((object, Some(error)));
        }
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn object(status: serde_json::Value) -> DynamicObject {
        let object = json!({
            "apiVersion": "kube-vip.io/v1alpha1", "kind": "MultiCluster", "metadata": {"name": "newyork"},
            "spec": {"port": 9990, "callsign": "federation", "rank": 5}, "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn what_cannot_be_read_of_a_status_takes_nothing_else_with_it() {
        let (memory, payload) = (json!({"record": "r", "digest": "d"}), json!({"objects": []}));
        let bad = json!([{"at": "2026-01-01T00:00:00+99:00", "term": 1}]);
        let read = |status| readable(object(status)).unwrap();
        let (whole, error) = read(json!({"memory": memory, "payload": payload, "term": 3}));
        assert!(error.is_none());
        assert_eq!(whole.status.unwrap().term, Some(3));

        let (object, error) = read(json!({"memory": memory, "payload": payload, "term": 3, "history": bad}));
        let status = object.status.unwrap();
        assert!(error.is_some());
        assert!(status.memory.is_some() && status.payload.is_some() && status.term.is_none());
        let status = read(json!({"memory": memory, "payload": 3})).0.status.unwrap();
        assert!(status.memory.is_some() && status.payload.is_none());
        let status = read(json!({"memory": 3, "payload": payload})).0.status.unwrap();
        assert!(status.memory.is_none() && status.payload.is_some());
        assert!(read(json!("garbled")).1.is_some());
    }
}
