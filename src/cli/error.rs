//! Why a command failed, in words for the one who typed it.

use std::path::PathBuf;

/// A command failed. Usage errors are reported by the parser of the command line, and are not among these.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The asynchronous runtime did not start.
    #[error("cannot start the runtime: {0}")]
    StartRuntime(#[source] std::io::Error),
    /// Logging could not be set up.
    #[error(transparent)]
    Log(#[from] crate::observe::logs::LogError),
    /// The controller could not start, or could not go on.
    #[error(transparent)]
    Controller(#[from] crate::controller::Error),
    /// The witness could not start, or could not go on.
    #[error(transparent)]
    Witness(#[from] crate::witness::Error),
    /// The file with the callsign could not be read.
    #[error("cannot read the callsign from {}: {source}", path.display())]
    ReadCallsign {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The callsign is blank.
    #[error("the callsign in {} is blank: write the word that all members of the group share", path.display())]
    BlankCallsign {
        /// The file.
        path: PathBuf,
    },
    /// An object could not be turned into YAML.
    #[error("cannot write {object} as YAML: {source}")]
    WriteYaml {
        /// What was to be written.
        object: &'static str,
        /// The serializer's words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An object could not be turned into JSON.
    #[error("cannot write {object} as JSON: {source}")]
    WriteJson {
        /// What was to be written.
        object: &'static str,
        /// The serializer's words.
        source: serde_json::Error,
    },
    /// The output could not be written.
    #[error("cannot write to standard output: {0}")]
    Print(#[source] std::io::Error),
    /// The kubeconfig file could not be used.
    #[error("cannot use the kubeconfig {}: {source}", path.display())]
    ReadKubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: kube::config::KubeconfigError,
    },
    /// A context could not be used.
    #[error(
        "cannot use the context {context:?}: {source}. `kubectl config get-contexts` lists those that there are"
    )]
    UseContext {
        /// The context asked for.
        context: String,
        /// What is wrong with it.
        source: kube::config::KubeconfigError,
    },
    /// There is neither a kubeconfig nor a pod's service account.
    #[error("found no cluster to talk to: {0}. Name a kubeconfig by --kubeconfig or $KUBECONFIG")]
    FindCluster(#[source] Box<kube::config::InferConfigError>),
    /// A client could not be built from the configuration.
    #[error("cannot set up a client for the cluster: {0}")]
    BuildClient(#[source] Box<kube::Error>),
    /// A request to the API server failed.
    #[error("cannot {action}: {source}")]
    Request {
        /// What was attempted, with the object's name.
        action: String,
        /// The API server's words, or the connection's.
        source: Box<kube::Error>,
    },
    /// A question could not be put to the user.
    #[error("nobody is there to confirm: run the command in a terminal, or with --yes")]
    ConfirmWithoutTerminal,
    /// The user's answer could not be read.
    #[error("cannot read the answer: {0}")]
    ReadAnswer(#[source] std::io::Error),
    /// The user said no.
    #[error("nothing was changed")]
    Declined,
    /// The user did not type what a dangerous command asks for.
    #[error("nothing was changed: the words `{words}` were not given, in a terminal or by --confirm")]
    NotConfirmed {
        /// The words.
        words: &'static str,
    },
    /// The group will not do what was asked for.
    #[error("the group does not {what}: {message}")]
    Refused {
        /// What was asked for.
        what: String,
        /// Why, and what to do.
        message: String,
    },
    /// No controller looked at the request.
    #[error(
        "no controller has taken the request up within {seconds} s: see whether the one that serves {object} runs"
    )]
    NotTakenUp {
        /// The MultiCluster.
        object: String,
        /// How long was waited.
        seconds: u64,
    },
    /// Something else was asked for through the same MultiCluster.
    #[error("cannot say whether the group will {what}: {by} was asked for since, which takes its place")]
    Replaced {
        /// What was asked for.
        what: String,
        /// What was asked for since.
        by: String,
    },
    /// It is not done in time; it may be done later.
    #[error(
        "cannot say yet whether the group will {what}: {seconds} s have passed. It may still come; status.request of {object} tells"
    )]
    Unanswered {
        /// What was asked for.
        what: String,
        /// The MultiCluster.
        object: String,
        /// How long was waited.
        seconds: u64,
    },
    /// MultiClusters did not go in time.
    #[error("{0}")]
    StillThere(String),
    /// An object did not go in time.
    #[error(
        "{object} is still there after {seconds} s: see its finalizers and conditions, then run the command again"
    )]
    DeletionStuck {
        /// The object.
        object: String,
        /// How long it was awaited.
        seconds: u64,
    },
}
