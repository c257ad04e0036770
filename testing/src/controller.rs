//! Flagship's controller as a process of a cluster, under the ServiceAccount that it ships with.

use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::address::free_ports;
use crate::binaries;
use crate::cluster::{Cluster, blocking};
use crate::error::{Error, Result};
use crate::installation::{Installation, SERVICE};
use crate::kubeconfig::{self, Credential};
use crate::manifest;
use crate::process::{CommandLine, Process};

/// The controller's token outlives every test, and clusters in the background go on for weeks.
const TOKEN_SECONDS: i64 = 365 * 24 * 3600;
/// A controller is ready in well under a second on an idle machine.
const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// The health endpoint answers from memory; a frozen controller never does.
const HTTP_TIMEOUT: Duration = Duration::from_secs(2);

/// A controller process, to use and to harm. Clones are handles of the same process, which ends with its cluster.
#[derive(Debug, Clone)]
pub struct Controller {
    process: Arc<Process>,
    metrics: SocketAddr,
}

/// Where a controller runs.
#[derive(Debug)]
pub(crate) struct Place {
    /// The address on which it listens for other members.
    pub(crate) listen: IpAddr,
    /// How `nsenter` brings it into its network namespace; none where it stays in this process's.
    pub(crate) nsenter_arguments: Option<[String; 2]>,
    /// The Pod that it is to take itself for, if it is to be in one.
    pub(crate) pod: Option<String>,
}

impl Controller {
    /// Kills it at once (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn kill(&self) -> Result<()> {
        self.process.kill().await
    }

    /// Stops it in its tracks (SIGSTOP): its connections stay open, and it says nothing.
    ///
    /// # Errors
    /// If it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.process.freeze()
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// If it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// Asks it to end (SIGTERM), waits, and tells how it ended.
    ///
    /// # Errors
    /// If it does not run, or has not ended in time; then it runs on.
    pub async fn terminate(&self, within: Duration) -> Result<ExitStatus> {
        self.process.signal(Signal::TERM)?;
        self.process.wait(within).await
    }

    /// Starts it again by the same command line, after it has ended, and does not wait for it to be ready.
    ///
    /// # Errors
    /// If it runs already or cannot be started.
    pub fn start(&self) -> Result<()> {
        self.process.start()
    }

    /// From its next start on it is another release of Flagship: this program, by the same arguments.
    pub fn upgrade(&self, program: impl Into<PathBuf>) {
        self.process.replace_program(program.into());
    }

    /// Whether it runs; a frozen one does.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn is_running(&self) -> Result<bool> {
        self.process.is_running()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn ended(&self) -> Result<Option<ExitStatus>> {
        self.process.ended()
    }

    /// Its process number while it runs, to measure it by.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn pid(&self) -> Result<Option<i32>> {
        Ok(self.process.id()?.map(|id| id.pid))
    }

    /// Where all its starts have logged.
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// Where it serves `/metrics`, `/livez` and `/readyz`.
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics
    }

    /// Reads a page of its HTTP server, `/metrics` for example.
    ///
    /// # Errors
    /// If there is no answer, or it is not 200.
    pub async fn get(&self, path: &str) -> Result<String> {
        let failed = |last: String| Error::Wait {
            what: format!("an answer to GET {path}"),
            on: self.process.role().to_owned(),
            within: HTTP_TIMEOUT,
            last,
        };
        match timeout(HTTP_TIMEOUT, http_get(self.metrics, path)).await {
            Ok(Ok((200, body))) => Ok(body),
            Ok(Ok((status, body))) => Err(failed(format!("status {status}: {}", body.trim()))),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("nothing".into())),
        }
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// If it has ended, or is not ready after a minute.
    pub async fn wait_until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let error = match self.get("/readyz").await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            self.process.check_running()?;
            if Instant::now() >= deadline {
                return Err(error);
            }
            sleep(POLL).await;
        }
    }
}

impl Cluster {
    /// Installs what `manifests/install.yaml` has, except its Deployment.
    ///
    /// # Errors
    /// If the manifest cannot be read or the API server refuses it.
    pub async fn install(&self) -> Result<()> {
        self.install_manifest(&Installation::shipped_manifest())
            .await
            .map(|_| ())
    }

    pub(crate) async fn install_manifest(&self, path: &Path) -> Result<Installation> {
        let installation = Installation::read(path)?;
        manifest::apply(
            &self.client()?,
            self.name(),
            &installation.namespace,
            &installation.objects,
        )
        .await?;
        Ok(installation)
    }

    /// Installs Flagship, starts its controller as the ServiceAccount that ships, listening on the cluster's own
    /// address, and waits until it is ready. The program is `FLAGSHIP_BIN`, or cargo builds it.
    ///
    /// # Errors
    /// If the installation is refused, the program cannot be built, or does not become ready.
    pub async fn start_controller(&self) -> Result<Controller> {
        self.start_controller_with(&[]).await
    }

    /// As [`Self::start_controller`], with further arguments of `flagship controller`.
    ///
    /// # Errors
    /// As [`Self::start_controller`].
    pub async fn start_controller_with(&self, arguments: &[&str]) -> Result<Controller> {
        let place = Place {
            listen: self.ip(),
            nsenter_arguments: None,
            pod: None,
        };
        let controller = self.spawn_controller(&place, arguments).await?;
        controller.wait_until_ready().await?;
        Ok(controller)
    }

    /// As [`Self::start_controller_with`], at a place of the caller's choice and without waiting for it to be ready.
    pub(crate) async fn spawn_controller(&self, place: &Place, arguments: &[&str]) -> Result<Controller> {
        let program = blocking(binaries::find_or_build_flagship).await?;
        let installation = self.install_manifest(&Installation::shipped_manifest()).await?;
        let kubeconfig_file = self
            .service_account_kubeconfig(&installation.namespace, &installation.service_account)
            .await?;
        let [metrics_port] = free_ports(self.ip())?;
        let metrics = SocketAddr::new(self.ip(), metrics_port);
        let number = self.controllers().len();
        let suffix = if number == 0 {
            String::new()
        } else {
            format!("-{number}")
        };
        let mut command = CommandLine {
            role: format!("flagship{suffix} of {}", self.name()),
            program,
            arguments: controller_arguments(&kubeconfig_file, place.listen, metrics),
            environment: place
                .pod
                .iter()
                .map(|pod| ("HOSTNAME".to_owned(), pod.clone()))
                .collect(),
            log: self.folder().join(format!("flagship{suffix}.log")),
        };
        command
            .arguments
            .extend(arguments.iter().map(|argument| (*argument).to_owned()));
        if let Some(nsenter_arguments) = &place.nsenter_arguments {
            let program = mem::replace(&mut command.program, "nsenter".into());
            let inside = nsenter_arguments
                .iter()
                .cloned()
                .chain([program.display().to_string()]);
            command.arguments.splice(..0, inside);
        }
        let controller = Controller {
            process: Arc::new(Process::new(command, self.lifetime())),
            metrics,
        };
        self.controllers().push(controller.process.clone());
        controller.start()?;
        self.record_processes()?;
        Ok(controller)
    }

    /// Gives the controller's LoadBalancer Service the cluster's address, as a cloud's load balancer does.
    ///
    /// # Errors
    /// If Flagship is not installed or the API server refuses it.
    pub async fn publish_address(&self) -> Result<()> {
        let namespace = Installation::read(&Installation::shipped_manifest())?.namespace;
        let ip = self.ip();
        let services = Api::<Service>::namespaced(self.client()?, &namespace);
        let operation = format!("give Service {namespace}/{SERVICE} the address {ip}");
        let params = PatchParams::default();
        let spec = Patch::Merge(json!({ "spec": { "type": "LoadBalancer", "loadBalancerIP": ip } }));
        services
            .patch(SERVICE, &params, &spec)
            .await
            .map_err(Error::request(&operation, self.name()))?;
        let status = Patch::Merge(json!({ "status": { "loadBalancer": { "ingress": [{ "ip": ip }] } } }));
        services
            .patch_status(SERVICE, &params, &status)
            .await
            .map_err(Error::request(&operation, self.name()))?;
        Ok(())
    }

    /// Lets the controller's ServiceAccount do more than it ships with, for payloads of unusual kinds.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn grant(&self, rules: &[PolicyRule]) -> Result<()> {
        let installation = Installation::read(&Installation::shipped_manifest())?;
        self.grant_to(&installation.namespace, &installation.service_account, rules)
            .await
    }

    async fn grant_to(&self, namespace: &str, service_account: &str, rules: &[PolicyRule]) -> Result<()> {
        // Each grant stands beside those of other tests on the same cluster.
        let name = format!("flagship-testing-{:08x}", rand::random::<u32>());
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": name }, "rules": rules,
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
            "subjects": [{ "kind": "ServiceAccount", "namespace": namespace, "name": service_account }],
        });
        // JSON is YAML.
        self.apply(&format!("{role}\n---\n{binding}")).await
    }

    /// Writes a kubeconfig with a token by the TokenRequest API, as the kubelet gets one for a pod.
    async fn service_account_kubeconfig(&self, namespace: &str, service_account: &str) -> Result<PathBuf> {
        let spec = TokenRequestSpec {
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest {
            spec: Some(spec),
            ..TokenRequest::default()
        };
        let operation = format!("request a token of ServiceAccount {namespace}/{service_account}");
        let answer = Api::<ServiceAccount>::namespaced(self.client()?, namespace)
            .create_token_request(service_account, &PostParams::default(), &request)
            .await
            .map_err(Error::request(&operation, self.name()))?;
        let token = answer
            .status
            .and_then(|status| status.token)
            .ok_or_else(|| Error::Wait {
                what: operation,
                on: self.name().to_owned(),
                within: Duration::ZERO,
                last: "an answer without a token".into(),
            })?;
        let path = self.folder().join(format!("{service_account}.kubeconfig"));
        let credential = Credential::Token(&token);
        let mut config =
            kubeconfig::kubeconfig(&self.context(), &self.server(), self.authority(), &credential);
        // Where the account's own things are kept, as a pod learns it from its mounted token.
        config["contexts"][0]["context"]["namespace"] = json!(namespace);
        kubeconfig::write(&path, &config)?;
        Ok(path)
    }
}

/// The command line by which a user would run the controller outside the cluster.
fn controller_arguments(kubeconfig: &Path, listen: IpAddr, metrics: SocketAddr) -> Vec<String> {
    vec![
        "controller".into(),
        "--kubeconfig".into(),
        kubeconfig.display().to_string(),
        "--listen-address".into(),
        listen.to_string(),
        "--metrics-address".into(),
        metrics.to_string(),
    ]
}

/// Status and body of a page, by the least of HTTP: the connection ends with the body.
async fn http_get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split_whitespace()
        .nth(1)
        .and_then(|status| status.parse().ok());
    status
        .map(|status| (status, body.to_owned()))
        .ok_or_else(|| std::io::Error::other(format!("not HTTP: {head:.100}")))
}

#[cfg(test)]
#[path = "controller_tests.rs"]
mod tests;
