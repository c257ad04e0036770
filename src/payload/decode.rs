//! From the text of a payload to its objects.
//!
//! The text is read as kubectl reads it, YAML 1.1 scalars included: `defaultMode: 0644` is an octal number and
//! `hostNetwork: yes` a boolean, so a manifest that works with `kubectl apply` works unchanged. Stricter than kubectl
//! is only this: a key that occurs twice in one mapping is an error.
//!
//! What the API server sets itself (`status`, `metadata.uid`, `metadata.resourceVersion`, …) is dropped from a
//! document, so the output of `kubectl get -o yaml` can be used as a payload.

use std::collections::HashMap;

use k8s_openapi::ByteString;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::{fate, inventory::OBJECTS_MAX, mark::ON_DEMOTION_ANNOTATION};
use crate::cluster::ObjectKey;

/// The largest payload text. etcd takes 1.5 MB for one object, and the MultiCluster that holds the text keeps its
/// status, inventory included, in the same object.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// How many times the payload's own size its aliases may blow it up to, in nodes: more than any manifest needs, and
/// far less than it takes to exhaust the controller's memory.
const ALIAS_REPLAYS_MAX: usize = 20_000;

/// Metadata that only the API server sets.
const SERVER_SET_METADATA: [&str; 8] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// A decoded payload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payload {
    documents: Vec<Document>,
}

// JSON values compare exactly; the only number that does not equal itself, NaN, is refused by the decoder.
impl Eq for Payload {}

/// One object of a payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Which document of the text it comes from, from one. The objects of a `List` share their document's number.
    pub number: usize,
    /// The object as written; its namespace is none if the document does not give one.
    pub key: ObjectKey,
    /// The version of its API.
    pub version: String,
    body: Map<String, Value>,
    digest: String,
}

impl Payload {
    /// Reads all documents of a text. An empty text, or one of comments only, is an empty payload.
    ///
    /// # Errors
    /// The first document that cannot be used, and what to do about it. The messages quote names and kinds but no
    /// other values, which may be secret.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        Self::decode_all(text, &[])
    }

    /// Reads all documents of a text and of other texts that follow it, each with where it stands. Documents are counted
    /// through all of them, but an error in another text counts from its beginning.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_all(text: &str, others: &[(String, String)]) -> Result<Self, DecodeError> {
        let bytes = text.len() + others.iter().map(|(_, text)| text.len()).sum::<usize>();
        if bytes > TEXT_BYTES_MAX {
            return Err(DecodeError::TooLong { bytes });
        }
        let mut documents = decode_text(text)?;
        for (place, text) in others {
            let before = documents.last().map_or(0, |document| document.number);
            let more = decode_text(text).map_err(|error| DecodeError::Elsewhere {
                place: place.clone(),
                error: Box::new(error),
            })?;
            documents.extend(more.into_iter().map(|document| Document {
                number: before + document.number,
                ..document
            }));
        }
        if documents.len() > OBJECTS_MAX / 2 {
            return Err(DecodeError::TooMany {
                objects: documents.len(),
            });
        }
        let mut numbers = HashMap::with_capacity(documents.len());
        for document in &documents {
            if let Some(first) = numbers.insert(&document.key, document.number) {
                return Err(DecodeError::Duplicate {
                    first,
                    second: document.number,
                    object: document.key.clone(),
                });
            }
        }
        Ok(Self { documents })
    }

    /// The objects, in the order of the text.
    #[must_use]
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }
}

impl Document {
    /// The object's fields as written.
    pub(crate) fn body(&self) -> &Map<String, Value> {
        &self.body
    }

    /// A digest of the object as written, which changes whenever the document's meaning does.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }
}

fn decode_text(text: &str) -> Result<Vec<Document>, DecodeError> {
    let mut documents = Vec::new();
    for (number, body) in read_yaml(text)? {
        decode_document(number, body, &mut documents)?;
    }
    Ok(documents)
}

fn read_yaml(text: &str) -> Result<Vec<(usize, Value)>, DecodeError> {
    let options = serde_saphyr::options! {
        strict_booleans: false,
        legacy_octal_numbers: true,
        // A snippet in an error could show a Secret's value.
        with_snippet: false,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: ALIAS_REPLAYS_MAX },
    };
    let mut read = Vec::new();
    for (index, chunk) in split_documents(text).into_iter().enumerate() {
        let number = index + 1;
        match serde_saphyr::from_multiple_with_options::<Value>(chunk.text, options.clone()) {
            Ok(values) => read.extend(values.into_iter().map(|value| (number, value))),
            Err(error) => {
                return Err(DecodeError::NotYaml {
                    document: number,
                    line: error.location().map_or(0, |location| location.line()) + chunk.lines_before,
                    reason: error.without_snippet().to_string(),
                });
            }
        }
    }
    Ok(read)
}

struct Chunk<'a> {
    lines_before: u64,
    text: &'a str,
}

/// Splits a text at its document separators, so that an error can tell which document it is in. What comes before the
/// first separator without being content, such as a comment or a `%YAML` directive, belongs to the first document;
/// documents without content are left out, as people do not count them.
fn split_documents(text: &str) -> Vec<Chunk<'_>> {
    let mut chunks = Vec::new();
    let (mut start, mut start_line, mut has_content, mut separated) = (0, 0, false, false);
    let mut offset = 0;
    for (line_number, line) in (0..).zip(text.split_inclusive('\n')) {
        let separator = line
            .strip_prefix("---")
            .filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if separator.is_some() && (has_content || separated) {
            if has_content {
                chunks.push(Chunk {
                    lines_before: start_line,
                    text: &text[start..offset],
                });
            }
            (start, start_line, has_content) = (offset, line_number, false);
        }
        separated |= separator.is_some();
        let content = separator.unwrap_or(line).trim();
        has_content |= !content.is_empty() && !content.starts_with(['#', '%']);
        offset += line.len();
    }
    if has_content {
        chunks.push(Chunk {
            lines_before: start_line,
            text: &text[start..],
        });
    }
    chunks
}

fn decode_document(number: usize, value: Value, documents: &mut Vec<Document>) -> Result<(), DecodeError> {
    let Value::Object(mut body) = value else {
        return Err(DecodeError::NotAnObject { document: number });
    };
    let kind = take_text(&body, "kind").ok_or_else(|| DecodeError::NoKind {
        document: number,
        name: body
            .get("metadata")
            .and_then(|metadata| metadata.get("name"))
            .and_then(Value::as_str)
            .map(str::to_owned),
    })?;
    let api_version = take_text(&body, "apiVersion").ok_or_else(|| DecodeError::NoApiVersion {
        document: number,
        kind: kind.clone(),
    })?;
    if kind.ends_with("List")
        && let Some(Value::Array(items)) = body.get_mut("items")
    {
        for item in std::mem::take(items) {
            // A list of one kind may leave the kind of its items out.
            decode_document(number, with_type_of_list(item, &kind, &api_version), documents)?;
        }
        return Ok(());
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let (group, version) = (group.to_owned(), version.to_owned());
    body.remove("status");
    let metadata = match body.get_mut("metadata") {
        Some(Value::Object(metadata)) => metadata,
        Some(_) => {
            return Err(DecodeError::MetadataNotAMap {
                document: number,
                kind,
            });
        }
        None => {
            return Err(DecodeError::NoName {
                document: number,
                kind,
            });
        }
    };
    for field in SERVER_SET_METADATA {
        metadata.remove(field);
    }
    let Some(name) = take_text(metadata, "name") else {
        return Err(match metadata.get("name") {
            None | Some(Value::Null) => DecodeError::NoName {
                document: number,
                kind,
            },
            Some(_) => DecodeError::NameNotText {
                document: number,
                kind,
            },
        });
    };
    let namespace = take_text(metadata, "namespace");
    for field in ["labels", "annotations"] {
        match metadata.get(field) {
            None => {}
            Some(Value::Null) => {
                metadata.remove(field);
            }
            Some(Value::Object(entries)) if entries.values().all(Value::is_string) => {}
            Some(_) => {
                return Err(DecodeError::NotText {
                    document: number,
                    object: format!("{kind} {name}"),
                    field,
                });
            }
        }
    }
    let on_demotion = metadata
        .get("annotations")
        .and_then(|annotations| annotations.get(ON_DEMOTION_ANNOTATION)?.as_str());
    // Taken for none, a word that was to keep the object would have it deleted.
    if on_demotion.is_some_and(|value| fate::policy_of(value).is_none()) {
        return Err(DecodeError::UnknownOnDemotion {
            document: number,
            object: format!("{kind} {name}"),
        });
    }
    if kind == "Secret" && group.is_empty() {
        move_string_data(&mut body);
    }
    let digest = digest_of(&body);
    let key = ObjectKey {
        group,
        kind,
        namespace,
        name,
    };
    documents.push(Document {
        number,
        key,
        version,
        body,
        digest,
    });
    Ok(())
}

/// `stringData` can be written but never be read back, so a change of it by others could not be seen. It is written as
/// what the API server makes of it.
///
/// Anything but texts is left for the API server to reject.
fn move_string_data(body: &mut Map<String, Value>) {
    let Some(Value::Object(texts)) = body.get("stringData") else {
        return;
    };
    let mut data = match body.get("data") {
        Some(Value::Object(data)) => data.clone(),
        None | Some(Value::Null) => Map::new(),
        Some(_) => return,
    };
    for (field, text) in texts {
        let Some(Ok(encoded)) = text
            .as_str()
            .map(|text| serde_json::to_value(ByteString(text.into())))
        else {
            return;
        };
        data.insert(field.clone(), encoded);
    }
    body.remove("stringData");
    body.insert("data".to_owned(), data.into());
}

fn with_type_of_list(mut item: Value, list_kind: &str, api_version: &str) -> Value {
    let item_kind = list_kind.strip_suffix("List").unwrap_or_default();
    if let Value::Object(fields) = &mut item
        && !item_kind.is_empty()
        && !fields.contains_key("kind")
        && !fields.contains_key("apiVersion")
    {
        fields.insert("kind".to_owned(), item_kind.into());
        fields.insert("apiVersion".to_owned(), api_version.into());
    }
    item
}

fn take_text(map: &Map<String, Value>, field: &str) -> Option<String> {
    map.get(field)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

fn digest_of(body: &Map<String, Value>) -> String {
    // Maps are sorted by key, so equal documents have equal text.
    let text = Value::Object(body.clone()).to_string();
    Sha256::digest(text.as_bytes())
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Why a payload cannot be used. Nothing of it is applied, and what is applied already stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A text that `payloadFrom` names cannot be used.
    #[error("{place}: {error}")]
    Elsewhere {
        /// Where it stands.
        place: String,
        /// What is wrong with it.
        error: Box<DecodeError>,
    },
    /// The text is too long.
    #[error(
        "the payload has {bytes} bytes, and at most {TEXT_BYTES_MAX} are possible: split it over several MultiClusters"
    )]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// There are too many objects.
    #[error(
        "the payload has {objects} objects, and at most {} are possible: split it over several MultiClusters",
        OBJECTS_MAX / 2
    )]
    TooMany {
        /// How many.
        objects: usize,
    },
    /// A document is no YAML.
    #[error("document {document} of the payload is not valid YAML (line {line}): {reason}")]
    NotYaml {
        /// The document's number, from one.
        document: usize,
        /// The line of the text, from one; zero if unknown.
        line: u64,
        /// What the parser says.
        reason: String,
    },
    /// A document is a scalar or a list.
    #[error("document {document} of the payload is not an object: write `apiVersion`, `kind` and `metadata`")]
    NotAnObject {
        /// The document's number, from one.
        document: usize,
    },
    /// A document has no kind.
    #[error("document {document} of the payload{} has no `kind`: add one", name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default())]
    NoKind {
        /// The document's number, from one.
        document: usize,
        /// The object's name, if it has one.
        name: Option<String>,
    },
    /// A document has no apiVersion.
    #[error("document {document} of the payload ({kind}) has no `apiVersion`: add one, such as `v1`")]
    NoApiVersion {
        /// The document's number, from one.
        document: usize,
        /// The object's kind.
        kind: String,
    },
    /// A document's metadata is not a mapping.
    #[error("document {document} of the payload ({kind}): `metadata` must be a mapping with a `name`")]
    MetadataNotAMap {
        /// The document's number, from one.
        document: usize,
        /// The object's kind.
        kind: String,
    },
    /// A document has no name.
    #[error(
        "document {document} of the payload ({kind}) has no `metadata.name`: add one (`generateName` makes a new object each time, so it cannot be used)"
    )]
    NoName {
        /// The document's number, from one.
        document: usize,
        /// The object's kind.
        kind: String,
    },
    /// A name is a number or a boolean.
    #[error("document {document} of the payload ({kind}): `metadata.name` must be a text; quote it")]
    NameNotText {
        /// The document's number, from one.
        document: usize,
        /// The object's kind.
        kind: String,
    },
    /// A label or annotation is not a text.
    #[error(
        "document {document} of the payload ({object}): `metadata.{field}` must map texts to texts; quote numbers and booleans"
    )]
    NotText {
        /// The document's number, from one.
        document: usize,
        /// Kind and name.
        object: String,
        /// `labels` or `annotations`.
        field: &'static str,
    },
    /// The annotation that tells what becomes of an object at a demotion says something else than it may.
    #[error(
        "document {document} of the payload ({object}): the annotation {ON_DEMOTION_ANNOTATION} must be `Delete`, `ScaleToZero` or `Keep`, written so; correct it or leave it out"
    )]
    UnknownOnDemotion {
        /// The document's number, from one.
        document: usize,
        /// Kind and name.
        object: String,
    },
    /// An object occurs twice.
    #[error("documents {first} and {second} of the payload are the same object, {object}: remove one")]
    Duplicate {
        /// The first document's number, from one.
        first: usize,
        /// The second document's number.
        second: usize,
        /// The object.
        object: ObjectKey,
    },
}

#[cfg(test)]
mod tests;
