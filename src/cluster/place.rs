//! Where objects are served.

use super::access::encode_uri_part;
use super::catalog::Kind;
use super::object::ObjectKey;

/// Where the objects of a kind are served: in one namespace, or in all of them.
pub(crate) fn collection_path(group: &str, version: &str, plural: &str, namespace: Option<&str>) -> String {
    let root = if group.is_empty() {
        "/api".to_owned()
    } else {
        format!("/apis/{}", encode_uri_part(group))
    };
    let (version, plural) = (encode_uri_part(version), encode_uri_part(plural));
    match namespace {
        Some(namespace) => format!(
            "{root}/{version}/namespaces/{}/{plural}",
            encode_uri_part(namespace)
        ),
        None => format!("{root}/{version}/{plural}"),
    }
}

/// Where one object is served.
pub(crate) struct Place {
    pub(crate) collection: String,
    pub(crate) object: String,
}

impl Place {
    pub(crate) fn of(key: &ObjectKey, version: &str, kind: &Kind) -> Self {
        let namespace = key.namespace.as_deref().filter(|_| kind.namespaced);
        let collection = collection_path(&key.group, version, &kind.plural, namespace);
        let object = format!("{collection}/{}", encode_uri_part(&key.name));
        Self { collection, object }
    }
}
