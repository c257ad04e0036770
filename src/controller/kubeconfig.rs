//! A kubeconfig in a Secret: what of it is used, and what is refused.
//!
//! Whoever may write MultiClusters and Secrets of a namespace writes it, and the controller goes by it with its own rights
//! and in its own Pod. So it runs no program for it and reads no file for it: a token file of its own Pod, sent to a
//! server of the writer's choice, would be the controller's own token. And it must be sure of the server: one that is not
//! verified could say anything.

use kube::Config;
use kube::config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::secret::Reading;

/// The keys that are looked for where the spec names none.
const KEYS: [&str; 2] = ["kubeconfig", "value"];

/// How another cluster is reached.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub config: Config,
    /// The namespace that its context names, if it names one.
    pub namespace: Option<String>,
}

/// Why a kubeconfig is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("there is no Secret {0} in this namespace: create it")]
    Missing(String),
    #[error("the Secret {secret} cannot be read: {reason}. Let the controller get, list and watch it")]
    Unreadable { secret: String, reason: String },
    #[error("the Secret {secret} has no key {key}: add it")]
    NoKey { secret: String, key: String },
    #[error("the Secret {0} holds no kubeconfig in UTF-8")]
    NotText(String),
    #[error("the Secret {secret} holds no usable kubeconfig: {source}")]
    Parse {
        secret: String,
        source: Box<KubeconfigError>,
    },
    #[error("the kubeconfig in the Secret {secret} has {found}: {instead}")]
    Refused {
        secret: String,
        found: &'static str,
        instead: &'static str,
    },
}

/// The kubeconfig that the Secret of this name holds, if it may be used; none before the Secret was read.
///
/// # Errors
/// What is wrong with it, and what to do.
pub(super) fn parse(
    secret: &str,
    key: Option<&str>,
    reading: &Reading,
) -> Result<Option<Kubeconfig>, Unusable> {
    let data = match reading {
        Reading::Awaited => return Ok(None),
        Reading::Missing => return Err(Unusable::Missing(secret.to_owned())),
        Reading::Failed(reason) => {
            return Err(Unusable::Unreadable {
                secret: secret.to_owned(),
                reason: reason.clone(),
            });
        }
        Reading::Data(data) => data,
    };
    let found = match key {
        Some(key) => data.get(key),
        None => KEYS.iter().find_map(|key| data.get(*key)),
    };
    let text = found.ok_or_else(|| Unusable::NoKey {
        secret: secret.to_owned(),
        key: key.unwrap_or(KEYS[0]).to_owned(),
    })?;
    let text = std::str::from_utf8(text).map_err(|_| Unusable::NotText(secret.to_owned()))?;
    let kubeconfig = Kubeconfig::from_yaml(text).map_err(|source| Unusable::Parse {
        secret: secret.to_owned(),
        source: Box::new(source),
    })?;
    let clusters = kubeconfig
        .clusters
        .iter()
        .filter_map(|named| named.cluster.as_ref());
    let users = kubeconfig
        .auth_infos
        .iter()
        .filter_map(|named| named.auth_info.as_ref());
    let refused = clusters
        .filter_map(refused_of_cluster)
        .chain(users.filter_map(refused_of_user))
        .next();
    match refused {
        None => Ok(Some(kubeconfig)),
        Some((found, instead)) => Err(Unusable::Refused {
            secret: secret.to_owned(),
            found,
            instead,
        }),
    }
}

const WRITE_DATA: &str =
    "files are not read for it; write the data itself, as `kubectl config view --flatten` does";
const WRITE_CREDENTIALS: &str = "no program is run for it; write a token or a client certificate";

fn refused_of_cluster(cluster: &Cluster) -> Option<(&'static str, &'static str)> {
    let is_encrypted = |server: &String| server.starts_with("https://");
    if cluster.certificate_authority.is_some() {
        Some(("a certificate-authority", WRITE_DATA))
    } else if cluster.insecure_skip_tls_verify == Some(true) {
        Some((
            "insecure-skip-tls-verify",
            "write certificate-authority-data instead, since anybody could answer in its place",
        ))
    } else if cluster.proxy_url.is_some() {
        Some(("a proxy-url", "name a server that is reached without one"))
    } else if !cluster.server.as_ref().is_none_or(is_encrypted) {
        Some(("a server without https", "name one by https"))
    } else {
        None
    }
}

fn refused_of_user(user: &AuthInfo) -> Option<(&'static str, &'static str)> {
    if user.exec.is_some() {
        Some(("an exec plugin", WRITE_CREDENTIALS))
    } else if user.auth_provider.is_some() {
        Some(("an auth-provider", WRITE_CREDENTIALS))
    } else if user.token_file.is_some() {
        Some(("a tokenFile", WRITE_DATA))
    } else if user.client_certificate.is_some() || user.client_key.is_some() {
        Some(("a client-certificate or client-key", WRITE_DATA))
    } else {
        None
    }
}

/// How the cluster is reached that the kubeconfig's current context names. Each request is sent once, with kube's own time
/// limits.
///
/// # Errors
/// There is no such context, or it does not name what can be used.
pub(super) async fn access(secret: &str, kubeconfig: Kubeconfig) -> Result<Access, Unusable> {
    let current = kubeconfig.current_context.clone();
    let context = kubeconfig
        .contexts
        .iter()
        .find(|named| Some(&named.name) == current.as_ref())
        .and_then(|named| named.context.as_ref());
    let namespace = context.and_then(|context| context.namespace.clone());
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|source| Unusable::Parse {
            secret: secret.to_owned(),
            source: Box::new(source),
        })?;
    // What this process' environment says is about its own cluster.
    config.proxy_url = None;
    config.default_retry = false;
    Ok(Access { config, namespace })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::sync::Arc;

    use super::*;

    const USABLE: &str = "\
clusters: [{name: c, cluster: {server: 'https://10.1.2.3:6443', certificate-authority-data: ''}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u, namespace: shop}}]
current-context: x
";

    fn data(entries: &[(&str, &str)]) -> Reading {
        let entries = entries.iter();
        Reading::Data(Arc::new(
            entries
                .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
                .collect(),
        ))
    }

    fn told(reading: &Reading) -> String {
        parse("fence", None, reading).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_kubeconfig_is_found_by_its_key_or_by_the_usual_ones() {
        for (entry, key) in [("kubeconfig", None), ("value", None), ("other", Some("other"))] {
            let found = parse("fence", key, &data(&[(entry, USABLE)])).unwrap().unwrap();
            let access = access("fence", found).await.unwrap();
            assert_eq!(access.namespace.as_deref(), Some("shop"));
            assert_eq!(access.config.cluster_url, "https://10.1.2.3:6443/");
        }
        assert!(parse("fence", None, &Reading::Awaited).unwrap().is_none());
    }

    #[test]
    fn what_is_wrong_with_the_secret_is_told() {
        assert_eq!(
            told(&Reading::Missing),
            "there is no Secret fence in this namespace: create it"
        );
        assert_eq!(
            told(&Reading::Failed("no".to_owned())),
            "the Secret fence cannot be read: no. Let the controller get, list and watch it"
        );
        assert_eq!(
            told(&data(&[("config", USABLE)])),
            "the Secret fence has no key kubeconfig: add it"
        );
        let bytes = Reading::Data(Arc::new([("value".to_owned(), vec![0xff])].into()));
        assert_eq!(told(&bytes), "the Secret fence holds no kubeconfig in UTF-8");
        assert!(told(&data(&[("value", "clusters: 3")])).contains("no usable kubeconfig"));
    }

    #[tokio::test]
    async fn a_context_that_is_not_there_is_told() {
        let text = USABLE.replace("current-context: x", "current-context: y");
        let found = parse("fence", None, &data(&[("value", &text)])).unwrap().unwrap();
        let error = access("fence", found).await.unwrap_err().to_string();
        assert!(error.contains('y'), "{error}");
    }

    #[test]
    fn no_program_is_run_no_file_is_read_and_no_server_is_taken_on_trust() {
        let ca = "certificate-authority-data: ''";
        let files =
            "files are not read for it; write the data itself, as `kubectl config view --flatten` does";
        let programs = "no program is run for it; write a token or a client certificate";
        for (from, to, refusal) in [
            (
                "token: t",
                "exec: {command: /bin/sh, apiVersion: client.authentication.k8s.io/v1}",
                format!("an exec plugin: {programs}"),
            ),
            (
                "token: t",
                "auth-provider: {name: gcp}",
                format!("an auth-provider: {programs}"),
            ),
            (
                "token: t",
                "tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token",
                format!("a tokenFile: {files}"),
            ),
            (
                "token: t",
                "client-key: /key.pem",
                format!("a client-certificate or client-key: {files}"),
            ),
            (
                ca,
                "certificate-authority: /ca.pem",
                format!("a certificate-authority: {files}"),
            ),
            (
                ca,
                "insecure-skip-tls-verify: true",
                "insecure-skip-tls-verify: write certificate-authority-data instead, since anybody could answer in its \
                 place"
                    .to_owned(),
            ),
            (
                ca,
                "proxy-url: 'http://10.0.0.1:1'",
                "a proxy-url: name a server that is reached without one".to_owned(),
            ),
            (
                "https://",
                "http://",
                "a server without https: name one by https".to_owned(),
            ),
        ] {
            let text = USABLE.replace(from, to);
            assert_eq!(
                told(&data(&[("kubeconfig", &text)])),
                format!("the kubeconfig in the Secret fence has {refusal}")
            );
        }
    }
}
