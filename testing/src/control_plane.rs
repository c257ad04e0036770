//! The command lines of a control plane's programs, tuned to be cheap when idle: many run beside timing-sensitive tests.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::binaries::Program;
use crate::pki::Pki;
use crate::process::CommandLine;

/// A part of a cluster that can be harmed by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The database: without it the API server answers no consistent read and no write.
    Etcd,
    /// The API server.
    ApiServer,
    /// The controllers of Deployments, garbage collection, namespaces and so on.
    ControllerManager,
    /// Assigns pods to nodes.
    Scheduler,
    /// Plays the nodes: pods become ready, and nothing runs.
    Kwok,
}

impl Part {
    pub(crate) fn program(self) -> Program {
        match self {
            Self::Etcd => Program::Etcd,
            Self::ApiServer => Program::ApiServer,
            Self::ControllerManager => Program::ControllerManager,
            Self::Scheduler => Program::Scheduler,
            Self::Kwok => Program::Kwok,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.program().name()
    }
}

/// Where a control plane lives.
pub(crate) struct Site<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) folder: &'a Path,
    pub(crate) ip: IpAddr,
    pub(crate) ports: Ports,
    pub(crate) pki: &'a Pki,
}

/// The ports of a control plane, all on its address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) etcd_clients: u16,
    pub(crate) etcd_peers: u16,
    pub(crate) api_server: u16,
}

/// The controllers that a payload can notice. Left out are those of clouds, real volumes, autoscaling, certificate
/// requests and real nodes.
const CONTROLLERS: &[&str] = &[
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemonset-controller",
    "deployment-controller",
    "disruption-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "node-lifecycle-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-protection-controller",
    "persistentvolumeclaim-protection-controller",
    "replicaset-controller",
    "replicationcontroller-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "statefulset-controller",
    "taint-eviction-controller",
    "ttl-after-finished-controller",
];

impl Site<'_> {
    pub(crate) fn etcd(&self, program: PathBuf) -> CommandLine {
        let Ports {
            etcd_clients,
            etcd_peers,
            ..
        } = self.ports;
        let clients = format!("http://{}:{etcd_clients}", self.ip);
        let peers = format!("http://{}:{etcd_peers}", self.ip);
        self.command(
            Part::Etcd,
            program,
            vec![
                format!("--data-dir={}", self.folder.join("etcd").display()),
                format!("--listen-client-urls={clients}"),
                format!("--advertise-client-urls={clients}"),
                format!("--listen-peer-urls={peers}"),
                format!("--initial-advertise-peer-urls={peers}"),
                format!("--initial-cluster=default={peers}"),
                // The data need not survive a power cut, and fsync is most of what a write costs.
                "--unsafe-no-fsync".into(),
                "--log-level=warn".into(),
            ],
        )
    }

    pub(crate) fn api_server(&self, program: PathBuf) -> CommandLine {
        let Ports {
            etcd_clients,
            api_server,
            ..
        } = self.ports;
        let file = |flag: &str, path: PathBuf| format!("--{flag}={}", path.display());
        self.command(
            Part::ApiServer,
            program,
            vec![
                format!("--etcd-servers=http://{}:{etcd_clients}", self.ip),
                format!("--bind-address={}", self.ip),
                format!("--advertise-address={}", self.ip),
                format!("--secure-port={api_server}"),
                file("tls-cert-file", self.pki.server_certificate_file()),
                file("tls-private-key-file", self.pki.server_key_file()),
                file("client-ca-file", self.pki.authority_certificate_file()),
                "--service-account-issuer=https://kubernetes.default.svc".into(),
                file("service-account-key-file", self.pki.token_public_key_file()),
                file("service-account-signing-key-file", self.pki.token_key_file()),
                "--authorization-mode=RBAC".into(),
                "--service-cluster-ip-range=10.0.0.0/24".into(),
                "--allow-privileged=true".into(),
                // Endpoints refuse loopback addresses, and the `kubernetes` Service leads nowhere here.
                "--endpoint-reconciler-type=none".into(),
                "--etcd-count-metric-poll-period=0".into(),
                "--etcd-db-metric-poll-interval=0".into(),
                "--profiling=false".into(),
            ],
        )
    }

    pub(crate) fn controller_manager(&self, program: PathBuf) -> CommandLine {
        self.command(
            Part::ControllerManager,
            program,
            vec![
                format!("--kubeconfig={}", self.administrator_kubeconfig().display()),
                format!(
                    "--root-ca-file={}",
                    self.pki.authority_certificate_file().display()
                ),
                format!("--controllers={}", CONTROLLERS.join(",")),
                "--leader-elect=false".into(),
                "--secure-port=0".into(),
                // The defaults are for a cluster that must be shared; here they would only slow deletion down.
                "--kube-api-qps=200".into(),
                "--kube-api-burst=400".into(),
                "--profiling=false".into(),
            ],
        )
    }

    pub(crate) fn scheduler(&self, program: PathBuf) -> CommandLine {
        self.command(
            Part::Scheduler,
            program,
            vec![
                format!("--kubeconfig={}", self.administrator_kubeconfig().display()),
                "--leader-elect=false".into(),
                "--secure-port=0".into(),
                "--profiling=false".into(),
            ],
        )
    }

    /// The file by which every part but etcd reaches the API server, as an administrator.
    pub(crate) fn administrator_kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    pub(crate) fn command(&self, part: Part, program: PathBuf, arguments: Vec<String>) -> CommandLine {
        CommandLine {
            role: format!("{} of {}", part.name(), self.cluster),
            program,
            arguments,
            environment: vec![],
            log: self.folder.join(format!("{}.log", part.name())),
        }
    }
}
