//! Kubeconfig files: written for a cluster, merged into a user's file and taken out again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::files;
use crate::pki::Identity;

/// How a client proves who it is.
pub(crate) enum Credential<'a> {
    Certificate(&'a Identity),
    Token(&'a str),
}

/// A kubeconfig of one cluster, one user and one context, all called `name`.
pub(crate) fn kubeconfig(
    name: &str,
    server: &str,
    authority_pem: &str,
    credential: &Credential<'_>,
) -> Value {
    let user = match credential {
        Credential::Certificate(identity) => json!({
            "client-certificate-data": base64(&identity.certificate),
            "client-key-data": base64(&identity.key),
        }),
        Credential::Token(token) => json!({ "token": token }),
    };
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": name,
            "cluster": { "server": server, "certificate-authority-data": base64(authority_pem) },
        }],
        "users": [{ "name": name, "user": user }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
        "current-context": name,
    })
}

fn base64(pem: &str) -> Value {
    // Serialization of bytes to JSON cannot fail; `json!` needs no Result for it.
    json!(ByteString(pem.as_bytes().to_vec()))
}

/// Writes a kubeconfig that only its owner may read.
pub(crate) fn write(path: &Path, config: &Value) -> Result<()> {
    let text = serde_saphyr::to_string(config).map_err(|error| Error::Kubeconfig {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    files::write_private(path, &text)
}

/// Adds what `addition` has to the file, in place of entries of the same names. The current context is left as it is,
/// unless there is none.
pub(crate) fn merge_into_file(path: &Path, addition: &Value) -> Result<()> {
    edit(path, |config| merge(config, addition))
}

/// Takes the cluster, user and context called `name` out of the file, if they are there.
pub(crate) fn remove_from_file(path: &Path, name: &str) -> Result<()> {
    edit(path, |config| {
        remove(config, name);
        Ok(())
    })
}

/// Changes a file that `kubectl config` may change at the same time, by the lock file that kubectl takes too.
fn edit(path: &Path, change: impl FnOnce(&mut Value) -> Result<(), String>) -> Result<()> {
    // A link to the file stays a link.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        files::create_private_folder(folder)?;
    }
    let _lock = LockFile::take(path)?;
    let mut config = read_or_empty(path)?;
    let before = config.clone();
    change(&mut config).map_err(|reason| Error::Kubeconfig {
        path: path.clone(),
        reason,
    })?;
    match config == before {
        true => Ok(()),
        false => write(path, &config),
    }
}

struct LockFile(PathBuf);

impl LockFile {
    fn take(path: &Path) -> Result<Self> {
        // An edit takes milliseconds: who waits longer waits for a holder that died.
        const ATTEMPTS: usize = 50;
        const INTERVAL: Duration = Duration::from_millis(100);
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        for _ in 0..ATTEMPTS {
            match fs::OpenOptions::new().write(true).create_new(true).open(&lock) {
                Ok(_) => return Ok(Self(lock)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => thread::sleep(INTERVAL),
                Err(error) => return Err(Error::file("create", lock)(error)),
            }
        }
        let reason = format!(
            "another program holds {}; if none runs, remove that file",
            lock.display()
        );
        Err(Error::Kubeconfig {
            path: path.to_owned(),
            reason,
        })
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // If it cannot be removed, the next one that wants the lock says so.
        fs::remove_file(&self.0).ok();
    }
}

fn read_or_empty(path: &Path) -> Result<Value> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Ok(json!({})),
        Ok(text) => serde_saphyr::from_str(&text).map_err(|error| Error::Kubeconfig {
            path: path.to_owned(),
            reason: error.to_string(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(json!({})),
        Err(error) => Err(Error::file("read", path)(error)),
    }
}

const LISTS: [&str; 3] = ["clusters", "users", "contexts"];

fn merge(config: &mut Value, addition: &Value) -> Result<(), String> {
    let Some(fields) = config.as_object_mut() else {
        return Err("it is not a YAML mapping".into());
    };
    fields.entry("apiVersion").or_insert_with(|| json!("v1"));
    fields.entry("kind").or_insert_with(|| json!("Config"));
    for list in LISTS {
        let entries = fields.entry(list).or_insert_with(|| json!([]));
        // kubectl writes an empty list as null.
        if entries.is_null() {
            *entries = json!([]);
        }
        let Some(entries) = entries.as_array_mut() else {
            return Err(format!("its field {list} is not a list"));
        };
        for entry in addition[list].as_array().into_iter().flatten() {
            entries.retain(|existing| existing["name"] != entry["name"]);
            entries.push(entry.clone());
        }
    }
    let current = fields.entry("current-context").or_insert_with(|| json!(""));
    if current.as_str().is_none_or(str::is_empty) {
        *current = addition["current-context"].clone();
    }
    Ok(())
}

fn remove(config: &mut Value, name: &str) {
    for list in LISTS {
        if let Some(entries) = config.get_mut(list).and_then(Value::as_array_mut) {
            entries.retain(|entry| entry["name"] != name);
        }
    }
    if config["current-context"] == name {
        config["current-context"] = json!("");
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

    fn example(name: &str, token: &str) -> Value {
        kubeconfig(name, "https://127.9.8.7:1", "PEM", &Credential::Token(token))
    }

    #[test]
    fn a_merged_file_keeps_what_it_had_and_its_current_context() {
        let mut config: Value = serde_saphyr::from_str(
            "{clusters: null, contexts: [{name: work, context: {cluster: c, user: u, extra: 1}}], users: [], \
             current-context: work, preferences: {colors: true}}",
        )
        .unwrap();
        merge(&mut config, &example("flagship-newyork", "old")).unwrap();
        merge(&mut config, &example("flagship-newyork", "new")).unwrap();
        assert_eq!(config["current-context"], "work");
        assert_eq!(config["preferences"]["colors"], true);
        assert_eq!(config["contexts"][0]["context"]["extra"], 1);
        assert_eq!(config["contexts"].as_array().unwrap().len(), 2);
        assert_eq!(
            config["users"],
            json!([{ "name": "flagship-newyork", "user": { "token": "new" } }])
        );
    }

    #[test]
    fn merging_into_nothing_and_removing_leaves_no_entry() {
        let mut config = json!({});
        merge(&mut config, &example("a", "t")).unwrap();
        assert_eq!(config, example("a", "t"));
        remove(&mut config, "a");
        assert_eq!(
            config,
            json!({ "apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": [],
                    "current-context": "" })
        );
    }

    #[test]
    fn a_file_that_is_no_kubeconfig_is_refused() {
        assert_eq!(
            merge(&mut json!([]), &example("a", "t")),
            Err("it is not a YAML mapping".into())
        );
        assert!(
            merge(&mut json!({ "users": 3 }), &example("a", "t"))
                .unwrap_err()
                .contains("users")
        );
    }
}
