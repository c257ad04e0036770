//! What can go wrong in the harness, in words that say what to do.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// A failed operation of the harness.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `KUBEBUILDER_ASSETS` names a folder without a program that is needed.
    #[error(
        "find {program} in KUBEBUILDER_ASSETS={}: it is not there; add it, or unset KUBEBUILDER_ASSETS to have it built by Go",
        folder.display()
    )]
    FindAsset {
        /// The missing program.
        program: &'static str,
        /// The value of `KUBEBUILDER_ASSETS`.
        folder: PathBuf,
    },
    /// The Go toolchain is not on the PATH.
    #[error(
        "run go: {source}; the control planes are built from Go modules: install Go {minimum} or later \
         (https://go.dev/dl) and put it on the PATH, or set KUBEBUILDER_ASSETS to a folder with the binaries"
    )]
    FindGo {
        /// The oldest version that will do.
        minimum: String,
        /// Why it could not be run.
        source: std::io::Error,
    },
    /// The Go toolchain is older than the modules need.
    #[error(
        "use go: {found}, but the control planes need Go {minimum} or later: install it from https://go.dev/dl"
    )]
    UseGo {
        /// The oldest version that will do.
        minimum: String,
        /// What the installed one says.
        found: String,
    },
    /// A build ended with an error.
    #[error("build {what}: {status}; its last lines:\n{output}")]
    Build {
        /// What was built.
        what: String,
        /// How the compiler ended.
        status: ExitStatus,
        /// The last lines that it printed.
        output: String,
    },
    /// A file, folder or socket operation failed.
    #[error("{operation} {}: {source}", path.display())]
    File {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// No free address or port was found.
    #[error("reserve a loopback address or port on {on}: {source}")]
    Reserve {
        /// The address or range that was asked.
        on: String,
        /// Why the last one was refused.
        source: std::io::Error,
    },
    /// A key or certificate could not be made.
    #[error("make the certificate of {subject}: {source}")]
    Certificate {
        /// Whose certificate.
        subject: String,
        /// Why it failed.
        source: rcgen::Error,
    },
    /// A program could not be started.
    #[error("start {program}: {source}{}", remedy(program))]
    Start {
        /// The program.
        program: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A signal could not be sent.
    #[error("signal {process}: {source}")]
    Signal {
        /// The process, by its role.
        process: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The operation needs a running process, and it is not running.
    #[error("signal {process}: it is not running; start it first")]
    NotRunning {
        /// The process, by its role.
        process: String,
    },
    /// The operation needs a stopped process, and it is running.
    #[error("start {process}: it is running already; kill it first")]
    AlreadyRunning {
        /// The process, by its role.
        process: String,
    },
    /// A process ended that should run.
    #[error("run {process}: it ended with {status}; its log {} ends with:\n{tail}", log.display())]
    Ended {
        /// The process, by its role.
        process: String,
        /// How it ended.
        status: ExitStatus,
        /// Its whole log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// The cluster was started without this part.
    #[error("find {part} in cluster {cluster}: it was started without; ask for it in the cluster's options")]
    NoSuchPart {
        /// The cluster.
        cluster: String,
        /// The part.
        part: &'static str,
    },
    /// Something did not happen in time.
    #[error("wait for {what} in {on}: not within {within:?}; last seen: {last}")]
    Wait {
        /// What was awaited.
        what: String,
        /// The cluster or process.
        on: String,
        /// How long.
        within: Duration,
        /// The last answer or error.
        last: String,
    },
    /// A recording shows something else than it must.
    #[error("see {what}: the recording shows something else:\n{history}")]
    See {
        /// What it must show.
        what: String,
        /// The recording.
        history: String,
    },
    /// A request to an API server failed.
    #[error("{operation} in {cluster}: {source}")]
    Request {
        /// What was asked.
        operation: String,
        /// Which cluster.
        cluster: String,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// A kubeconfig could not be used.
    #[error("use the kubeconfig {}: {reason}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A manifest is not what it should be.
    #[error("read the manifest {name}: {reason}")]
    Manifest {
        /// Its file or what it is for.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A network between sites could not be built or harmed.
    #[error("{operation} in the network of the sites: {reason}")]
    Network {
        /// What was tried, as a verb.
        operation: String,
        /// What stands against it.
        reason: String,
    },
    /// A named cluster cannot be created.
    #[error("create cluster {name}: {reason}")]
    Create {
        /// Its name.
        name: String,
        /// What stands against it, and what to do.
        reason: String,
    },
    /// A command of the user's machine failed.
    #[error("run `{command}`: {status}: {output}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        output: String,
    },
}

fn remedy(program: &str) -> &'static str {
    match program {
        "setpriv" | "nsenter" | "unshare" => "; it is part of util-linux: install that package",
        "kubectl" => "; install it from https://kubernetes.io/docs/tasks/tools",
        "kind" => {
            "; install it from https://kind.sigs.k8s.io, or use `--provider local`, which needs no containers"
        }
        "docker" => "; install Docker Engine, or use `--provider local`, which needs no containers",
        _ => "",
    }
}

/// The result of an operation of the harness.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// For `map_err` on file operations.
    pub(crate) fn file(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            operation,
            path,
            source,
        }
    }

    /// For `map_err` on requests to an API server.
    pub(crate) fn request(
        operation: impl Into<String>,
        cluster: impl Into<String>,
    ) -> impl FnOnce(kube::Error) -> Self {
        let (operation, cluster) = (operation.into(), cluster.into());
        move |source| Self::Request {
            operation,
            cluster,
            source: Box::new(source),
        }
    }
}
