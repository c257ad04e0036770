//! Reads the parts of a payload that stand in ConfigMaps and Secrets: one watch for each, of that object only.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::Api;
use kube::core::NamespaceResourceScope;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::shared::WATCH_SECONDS;
use crate::api::{Source, SourceKind};

/// Nothing is wrong yet: it is being read for the first time.
pub(super) const PENDING: &str = "PayloadSourcePending";

/// What is known of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reading {
    /// It has not been read yet; why not, once that failed.
    Pending(Option<String>),
    /// What stands there.
    Text(String),
    /// There is no such thing: why, and what to do.
    Missing(String),
}

type Readings = BTreeMap<Source, Reading>;

/// The sources of one MultiCluster.
pub(super) struct Sources {
    client: Client,
    namespace: String,
    /// In the order of the spec.
    wanted: Vec<Source>,
    watches: BTreeMap<Source, AbortOnDropHandle<()>>,
    readings: watch::Sender<Readings>,
    news: watch::Receiver<Readings>,
}

impl Sources {
    pub(super) fn new(client: Client, namespace: String) -> Sources {
        let (readings, news) = watch::channel(Readings::new());
        Sources {
            client,
            namespace,
            wanted: Vec::new(),
            watches: BTreeMap::new(),
            readings,
            news,
        }
    }

    /// Reads these from now on, and no others.
    pub(super) fn keep(&mut self, wanted: &[Source]) {
        if self.wanted == wanted {
            return;
        }
        self.wanted = wanted.to_vec();
        let wanted: BTreeSet<&Source> = wanted.iter().collect();
        self.watches.retain(|source, _| wanted.contains(source));
        self.readings.send_modify(|readings| {
            readings.retain(|source, _| wanted.contains(source));
            for source in &wanted {
                readings
                    .entry((*source).clone())
                    .or_insert(Reading::Pending(None));
            }
        });
        for source in wanted {
            if !self.watches.contains_key(source) {
                let (client, namespace) = (self.client.clone(), &self.namespace);
                let (source, readings) = (source.clone(), self.readings.clone());
                let task = match source.kind {
                    SourceKind::ConfigMap => {
                        let api = Api::<ConfigMap>::namespaced(client, namespace);
                        tokio::spawn(follow(api, source.clone(), readings, text_of_config_map))
                    }
                    SourceKind::Secret => {
                        let api = Api::<Secret>::namespaced(client, namespace);
                        tokio::spawn(follow(api, source.clone(), readings, text_of_secret))
                    }
                };
                self.watches.insert(source, AbortOnDropHandle::new(task));
            }
        }
    }

    /// Waits for news of them.
    pub(super) async fn changed(&mut self) {
        // This holds a sender itself.
        if self.news.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// What stands in them, in the order of the spec, each with its place; or why that is not known, in one word and in
    /// many.
    pub(super) fn texts(&self) -> Result<Vec<(String, String)>, (&'static str, String)> {
        texts(&self.wanted, &self.readings.borrow())
    }
}

fn texts(wanted: &[Source], readings: &Readings) -> Result<Vec<(String, String)>, (&'static str, String)> {
    let (mut texts, mut pending) = (Vec::new(), None);
    for source in wanted {
        match readings.get(source) {
            Some(Reading::Text(text)) => texts.push((source.to_string(), text.clone())),
            Some(Reading::Missing(why)) => {
                let message = format!("{why}. Until then the payload stays as it was read last");
                return Err(("PayloadSourceMissing", message));
            }
            Some(Reading::Pending(Some(why))) => {
                let message =
                    format!("{source} cannot be read: {why}. Until then the payload stays as it is");
                return Err(("PayloadSourceUnreadable", message));
            }
            Some(Reading::Pending(None)) | None => {
                pending.get_or_insert((PENDING, format!("{source} is being read")));
            }
        }
    }
    pending.map_or(Ok(texts), Err)
}

/// Watches one object for ever.
async fn follow<K>(
    api: Api<K>,
    source: Source,
    readings: watch::Sender<Readings>,
    text: fn(&K, &Source) -> Reading,
) where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let config = watcher::Config::default()
        .fields(&format!("metadata.name={}", source.name))
        .timeout(WATCH_SECONDS);
    let mut events = watcher(api, config).default_backoff().boxed();
    let mut is_listed = false;
    while let Some(event) = events.next().await {
        let reading = match event {
            Ok(watcher::Event::Init) => {
                is_listed = false;
                continue;
            }
            Ok(watcher::Event::InitApply(object)) => {
                is_listed = true;
                text(&object, &source)
            }
            Ok(watcher::Event::InitDone) if is_listed => continue,
            Ok(watcher::Event::InitDone | watcher::Event::Delete(_)) => Reading::Missing(format!(
                "there is no {} {}: create it with the key {}, or correct spec.payloadFrom",
                source.kind, source.name, source.key
            )),
            Ok(watcher::Event::Apply(object)) => text(&object, &source),
            Err(error) => {
                tracing::debug!(%source, %error, "a watch failed and is begun again");
                Reading::Pending(Some(trouble(&error)))
            }
        };
        readings.send_if_modified(|readings| {
            let Some(known) = readings.get_mut(&source) else {
                return false;
            };
            // What was read before counts while the API server does not answer.
            let changes = match (&reading, &*known) {
                (Reading::Pending(_), Reading::Text(_) | Reading::Missing(_)) => false,
                (reading, known) => reading != known,
            };
            if changes {
                *known = reading;
            }
            changes
        });
    }
}

/// What an operator should know of a watch that failed.
fn trouble(error: &watcher::Error) -> String {
    let refusal = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        _ => None,
    };
    match refusal {
        Some(status) if status.code == 403 => format!(
            "{}: grant that account get, list and watch on this object",
            status.message
        ),
        Some(status) => status.message.clone(),
        None => error.to_string(),
    }
}

fn text_of_config_map(object: &ConfigMap, source: &Source) -> Reading {
    let data = object.data.as_ref();
    match data.and_then(|data| data.get(&source.key)) {
        Some(text) => Reading::Text(text.clone()),
        None => no_key(source, data.into_iter().flatten().map(|(key, _)| key.as_str())),
    }
}

fn text_of_secret(object: &Secret, source: &Source) -> Reading {
    let data = object.data.as_ref();
    match data.and_then(|data| data.get(&source.key)) {
        Some(bytes) => match String::from_utf8(bytes.0.clone()) {
            Ok(text) => Reading::Text(text),
            Err(_) => Reading::Missing(format!(
                "{source} is not a text in UTF-8: put manifests in YAML there"
            )),
        },
        None => no_key(source, data.into_iter().flatten().map(|(key, _)| key.as_str())),
    }
}

fn no_key<'a>(source: &Source, keys: impl Iterator<Item = &'a str>) -> Reading {
    // Some keys are enough to see a mistyped one.
    let keys: Vec<&str> = keys.take(5).collect();
    let has = match keys.is_empty() {
        true => "it has none".to_owned(),
        false => format!("it has {}", keys.join(", ")),
    };
    Reading::Missing(format!(
        "{} {} has no key {} ({has}): add it, or correct spec.payloadFrom",
        source.kind, source.name, source.key
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use k8s_openapi::ByteString;

    use super::*;

    fn source(kind: SourceKind, key: &str) -> Source {
        Source {
            kind,
            name: "app".to_owned(),
            key: key.to_owned(),
        }
    }

    #[test]
    fn texts_are_known_when_all_are_and_in_the_order_of_the_spec() {
        let (second, first) = (
            source(SourceKind::ConfigMap, "a"),
            source(SourceKind::Secret, "b"),
        );
        let wanted = [first.clone(), second.clone()];
        let told = |second_reading: Reading| {
            let readings = [
                (first.clone(), Reading::Text("1".to_owned())),
                (second.clone(), second_reading),
            ];
            texts(&wanted, &readings.into())
        };
        assert_eq!(
            told(Reading::Text("2".to_owned())),
            Ok(vec![
                ("key b of Secret app".to_owned(), "1".to_owned()),
                ("key a of ConfigMap app".to_owned(), "2".to_owned())
            ])
        );
        assert_eq!(
            told(Reading::Missing("there is no ConfigMap app".to_owned())),
            Err((
                "PayloadSourceMissing",
                "there is no ConfigMap app. Until then the payload stays as it was read last".to_owned()
            ))
        );
        assert_eq!(
            told(Reading::Pending(Some("no answer".to_owned()))),
            Err((
                "PayloadSourceUnreadable",
                "key a of ConfigMap app cannot be read: no answer. Until then the payload stays as it is"
                    .to_owned()
            ))
        );
        let pending = (PENDING, "key a of ConfigMap app is being read".to_owned());
        assert_eq!(told(Reading::Pending(None)), Err(pending));
        assert_eq!(texts(&[], &Readings::new()), Ok(vec![]));
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is() {
        let wanted = source(SourceKind::Secret, "b");
        let mut secret = Secret::default();
        let missing = |secret: &Secret| match text_of_secret(secret, &wanted) {
            Reading::Missing(why) => why,
            other => format!("{other:?}"),
        };
        assert_eq!(
            missing(&secret),
            "Secret app has no key b (it has none): add it, or correct spec.payloadFrom"
        );
        let mut put = |key: &str, bytes: &[u8]| {
            let data = secret.data.get_or_insert_default();
            data.insert(key.to_owned(), ByteString(bytes.to_vec()));
            secret.clone()
        };
        assert_eq!(
            missing(&put("a", b"1")),
            "Secret app has no key b (it has a): add it, or correct spec.payloadFrom"
        );
        assert_eq!(
            missing(&put("b", b"\xff")),
            "key b of Secret app is not a text in UTF-8: put manifests in YAML there"
        );
        let full = put("b", b"kind: Pod");
        assert_eq!(
            text_of_secret(&full, &wanted),
            Reading::Text("kind: Pod".to_owned())
        );
    }
}
