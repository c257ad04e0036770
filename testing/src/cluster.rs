//! One cluster: its control plane, and what a test does with it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{ObjectMeta, PostParams, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::params::GetParams;
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout};

use crate::address::{ReservedAddress, free_ports};
use crate::binaries;
use crate::control_plane::{Part, Ports, Site};
use crate::error::{Error, Result};
use crate::kubeconfig::{self, Credential};
use crate::kwok;
use crate::manifest;
use crate::pki::Pki;
use crate::process::{Lifetime, Process};
use crate::process_list::ProcessList;
use crate::proxy::Proxy;
use crate::run_folder::{self, RunFolder};

mod faults;

/// A control plane is ready in three seconds on an idle machine; builds and other tests may share the cores.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// Between two looks at something that is awaited: far below what a test measures, far above what it costs.
const POLL: Duration = Duration::from_millis(50);
/// One request of a wait: a frozen API server never answers, and the wait must go on.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// What a cluster consists of and where it lives.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    name: String,
    pods: bool,
    ip: Option<Ipv4Addr>,
    /// Where a cluster that outlives this process keeps its files.
    background: Option<PathBuf>,
    proxy: bool,
}

impl ClusterOptions {
    /// A cluster with an API server and the controllers of the built-in kinds. It has no nodes: pods stay pending.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            pods: false,
            ip: None,
            background: None,
            proxy: false,
        }
    }

    /// Adds a scheduler, and nodes played by kwok: pods become ready, though nothing runs in them.
    #[must_use]
    pub fn with_pods(mut self) -> Self {
        self.pods = true;
        self
    }

    /// Puts the cluster on a certain loopback address, instead of a random one.
    #[must_use]
    pub fn on(mut self, ip: Ipv4Addr) -> Self {
        self.ip = Some(ip);
        self
    }

    /// Lets Flagship's controllers reach the API server through a proxy only, whose answers a test may spoil by
    /// [`Cluster::set_answers`].
    #[must_use]
    pub fn behind_proxy(mut self) -> Self {
        self.proxy = true;
        self
    }

    /// Has the cluster go on running after this process, with its files in `folder`.
    #[must_use]
    pub(crate) fn in_background(mut self, folder: impl Into<PathBuf>) -> Self {
        self.background = Some(folder.into());
        self
    }

    fn parts(&self) -> &'static [Part] {
        match self.pods {
            false => &[Part::Etcd, Part::ApiServer, Part::ControllerManager],
            true => &[
                Part::Etcd,
                Part::ApiServer,
                Part::ControllerManager,
                Part::Scheduler,
                Part::Kwok,
            ],
        }
    }
}

/// A running cluster. Dropped, it is gone with all its files, unless it runs in the background or a test failed.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    ip: IpAddr,
    // Held for its lifetime only: while the cluster exists nobody else gets the address.
    _reservation: ReservedAddress,
    folder: PathBuf,
    lifetime: Lifetime,
    config: kube::Config,
    server: SocketAddr,
    /// What Flagship's controllers have before the API server.
    proxy: Option<Proxy>,
    authority: String,
    parts: Vec<(Part, Arc<Process>)>,
    controllers: Mutex<Vec<Arc<Process>>>,
    /// The controllers that went down with the cluster and come back with it.
    lost_controllers: Mutex<Vec<Arc<Process>>>,
}

/// Starts clusters of these names side by side.
///
/// ```no_run
/// # async fn example() -> flagship_testing::TestResult {
/// let [newyork, sheffield] = flagship_testing::clusters(["newyork", "sheffield"]).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If a program is missing and cannot be built, or a cluster does not become ready.
pub async fn clusters<const N: usize>(names: [&str; N]) -> Result<[Cluster; N]> {
    start_clusters(names.map(ClusterOptions::new)).await
}

/// Starts clusters side by side.
///
/// # Errors
/// If a program is missing and cannot be built, or a cluster does not become ready.
pub async fn start_clusters<const N: usize>(options: [ClusterOptions; N]) -> Result<[Cluster; N]> {
    let started = try_join_all(options.map(Cluster::start)).await?;
    // As many come out as went in.
    started.try_into().map_err(|_| Error::Wait {
        what: "every cluster".into(),
        on: "this machine".into(),
        within: READY_WITHIN,
        last: "some are missing".into(),
    })
}

impl Cluster {
    async fn start(options: ClusterOptions) -> Result<Self> {
        // A free port may be another's before the server binds it. That is rare, and thrice in a row is a fault.
        const ATTEMPTS: usize = 3;
        let parts = options.parts();
        let wanted: Vec<_> = parts.iter().map(|part| part.program()).collect();
        let programs = blocking(move || binaries::find_or_build(&wanted)).await?;
        let mut attempt = 1;
        loop {
            match Self::start_once(&options, parts, &programs).await {
                Err(Error::Ended { tail, .. })
                    if attempt < ATTEMPTS && tail.contains("address already in use") =>
                {
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    async fn start_once(options: &ClusterOptions, parts: &[Part], programs: &[PathBuf]) -> Result<Self> {
        let name = &options.name;
        // A cluster in the background outlives its reservation: its name keeps others off.
        let reservation = match options.ip {
            Some(ip) => ReservedAddress::of(ip)?,
            None => ReservedAddress::any()?,
        };
        let ip = reservation.ip();
        let (folder, lifetime) = match &options.background {
            Some(folder) => (folder.clone(), Lifetime::Background),
            None => (RunFolder::get()?.cluster_folder(name)?, Lifetime::Process),
        };
        let pki = Pki::create(&folder.join("pki"), ip)?;
        let [etcd_clients, etcd_peers, api_server] = free_ports(ip)?;
        let ports = Ports {
            etcd_clients,
            etcd_peers,
            api_server,
        };
        let site = Site {
            cluster: name,
            folder: &folder,
            ip,
            ports,
            pki: &pki,
        };

        let administrator = pki.client("administrator", &["system:masters"])?;
        let kubeconfig_file = site.administrator_kubeconfig();
        let server = SocketAddr::new(ip, api_server);
        let proxy = options.proxy.then(|| Proxy::start(server, &pki)).transpose()?;
        let credential = Credential::Certificate(&administrator);
        let context = context_name(name);
        let config = kubeconfig::kubeconfig(
            &context,
            &server_url(server),
            &pki.authority_certificate(),
            &credential,
        );
        kubeconfig::write(&kubeconfig_file, &config)?;

        let parts = parts
            .iter()
            .zip(programs)
            .map(|(part, program)| {
                let command = match part {
                    Part::Etcd => site.etcd(program.clone()),
                    Part::ApiServer => site.api_server(program.clone()),
                    Part::ControllerManager => site.controller_manager(program.clone()),
                    Part::Scheduler => site.scheduler(program.clone()),
                    Part::Kwok => site.kwok(program.clone()),
                };
                (*part, Arc::new(Process::new(command, lifetime)))
            })
            .collect();
        let cluster = Self {
            name: name.clone(),
            ip,
            _reservation: reservation,
            config: client_config(&kubeconfig_file).await?,
            folder,
            lifetime,
            server,
            proxy,
            authority: pki.authority_certificate(),
            parts,
            controllers: Mutex::default(),
            lost_controllers: Mutex::default(),
        };
        match cluster.bring_up(options.pods).await {
            Ok(()) => Ok(cluster),
            Err(error) => {
                cluster.processes().iter().for_each(|process| process.end());
                // A second attempt has other ports, and etcd would not accept them.
                fs::remove_dir_all(cluster.folder.join("etcd")).ok();
                Err(error)
            }
        }
    }

    async fn bring_up(&self, pods: bool) -> Result<()> {
        self.start_parts().await?;
        // The controller manager has no port to ask; its first visible deed is a ServiceAccount.
        self.wait_for_service_account("default").await?;
        if pods {
            kwok::add_nodes(self).await?;
        }
        Ok(())
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster's own loopback address: its servers listen there, and it stands for its LoadBalancer.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The file by which an administrator reaches it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The context's name in that file.
    pub fn context(&self) -> String {
        context_name(&self.name)
    }

    /// The folder with its logs, one for each part.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// An administrator's client. It belongs to the async runtime that it was made on: make one for each test.
    ///
    /// # Errors
    /// If the TLS configuration is refused.
    pub fn client(&self) -> Result<Client> {
        Client::try_from(self.config.clone()).map_err(Error::request("make a client", &self.name))
    }

    /// Applies a manifest of any number of documents, server-side and with force; namespaced objects that name no
    /// namespace go to `default`.
    ///
    /// # Errors
    /// If it is no manifest, or the API server refuses an object: those before it are applied by then.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        self.apply_in("default", yaml).await
    }

    /// As [`Self::apply`], with another namespace for the objects that name none.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub async fn apply_in(&self, namespace: &str, yaml: &str) -> Result<()> {
        let objects = manifest::parse(&format!("for {}", self.name), yaml)?;
        manifest::apply(&self.client()?, &self.name, namespace, &objects).await
    }

    /// Runs the real `kubectl` as an administrator and returns what it printed.
    ///
    /// # Errors
    /// If there is no kubectl on the PATH, or it fails.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let output = tokio::process::Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(arguments)
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|source| Error::Start {
                program: "kubectl".into(),
                source,
            })?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(Error::Command {
                command: format!("kubectl {}", arguments.join(" ")),
                status: output.status,
                output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            }),
        }
    }

    /// Waits until `condition` holds; `what` says in an error what was awaited. An answer of the API server that is an
    /// error counts as "not yet", so that one can wait through faults.
    ///
    /// # Errors
    /// If it did not hold within the given time.
    pub async fn wait_until<E: std::fmt::Display>(
        &self,
        what: &str,
        within: Duration,
        mut condition: impl AsyncFnMut(Client) -> Result<bool, E>,
    ) -> Result<()> {
        let deadline = Instant::now() + within;
        let client = self.client()?;
        loop {
            let last = match timeout(REQUEST_TIMEOUT, condition(client.clone())).await {
                Ok(Ok(true)) => return Ok(()),
                Ok(Ok(false)) => "it does not hold".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {REQUEST_TIMEOUT:?}"),
            };
            if Instant::now() >= deadline {
                return Err(Error::Wait {
                    what: what.to_owned(),
                    on: self.name.clone(),
                    within,
                    last,
                });
            }
            sleep(POLL).await;
        }
    }

    /// Creates a namespace that nobody else uses, so that tests can share a cluster; its name begins with `purpose`.
    ///
    /// # Errors
    /// If the API server refuses it or the `default` ServiceAccount, without which no pod is admitted, does not come.
    pub async fn fresh_namespace(&self, purpose: &str) -> Result<String> {
        let request = Namespace {
            metadata: ObjectMeta {
                generate_name: Some(format!("{purpose}-")),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let created = Api::<Namespace>::all(self.client()?)
            .create(&PostParams::default(), &request)
            .await
            .map_err(Error::request(
                format!("create a namespace for {purpose}"),
                &self.name,
            ))?;
        let namespace = created.metadata.name.unwrap_or_default();
        self.wait_for_service_account(&namespace).await?;
        Ok(namespace)
    }

    /// Starts the parts that do not run: those that need the API server once it is ready.
    async fn start_parts(&self) -> Result<()> {
        for (_, process) in self
            .parts
            .iter()
            .filter(|(part, _)| matches!(part, Part::Etcd | Part::ApiServer))
        {
            if !process.is_running()? {
                process.start()?;
            }
        }
        self.record_processes()?;
        self.wait_for_api_server().await?;
        for (part, process) in &self.parts {
            if !process.is_running()? {
                if *part == Part::Kwok {
                    kwok::release_nodes(self).await?;
                }
                process.start()?;
            }
        }
        self.record_processes()
    }

    fn processes(&self) -> Vec<Arc<Process>> {
        // Controllers first: a cluster that dies or freezes leaves its controller no time to notice.
        self.controllers()
            .iter()
            .chain(self.parts.iter().map(|(_, process)| process))
            .cloned()
            .collect()
    }

    pub(crate) fn controllers(&self) -> MutexGuard<'_, Vec<Arc<Process>>> {
        lock(&self.controllers)
    }

    pub(crate) fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// How an administrator's clients are made.
    pub(crate) fn config(&self) -> &kube::Config {
        &self.config
    }

    /// The address by which controllers reach the API server, as a kubeconfig has it.
    pub(crate) fn server(&self) -> String {
        server_url(self.proxy.as_ref().map_or(self.server, Proxy::address))
    }

    /// Where the API server listens.
    pub(crate) fn server_address(&self) -> SocketAddr {
        self.server
    }

    /// The certificate by which clients know the API server.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Writes down what runs, so that a cluster in the background can be removed by another process.
    pub(crate) fn record_processes(&self) -> Result<()> {
        match self.lifetime {
            Lifetime::Process => Ok(()),
            Lifetime::Background => ProcessList::of(&self.processes())?.write(&self.folder),
        }
    }

    fn part(&self, part: Part) -> Result<&Process> {
        let found = self.parts.iter().find(|(other, _)| *other == part);
        found
            .map(|(_, process)| &**process)
            .ok_or_else(|| Error::NoSuchPart {
                cluster: self.name.clone(),
                part: part.name(),
            })
    }

    async fn wait_for_api_server(&self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        let client = self.client()?;
        let failed = |last| Error::Wait {
            what: "the API server's readiness".into(),
            on: self.name.clone(),
            within: READY_WITHIN,
            last,
        };
        loop {
            // kube builds requests for objects only; the object called `readyz` at the root is the health endpoint.
            let request = Request::new("")
                .get("readyz", &GetParams::default())
                .map_err(|error| failed(error.to_string()))?;
            let last = match timeout(REQUEST_TIMEOUT, client.request_text(request)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {REQUEST_TIMEOUT:?}"),
            };
            self.part(Part::Etcd)?.check_running()?;
            self.part(Part::ApiServer)?.check_running()?;
            if Instant::now() >= deadline {
                return Err(failed(last));
            }
            sleep(POLL).await;
        }
    }

    async fn wait_for_service_account(&self, namespace: &str) -> Result<()> {
        let what = format!("the ServiceAccount default in namespace {namespace}");
        self.wait_until(&what, READY_WITHIN, async |client| {
            let accounts = Api::<ServiceAccount>::namespaced(client, namespace);
            accounts.get_opt("default").await.map(|account| account.is_some())
        })
        .await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.lifetime == Lifetime::Process {
            self.processes().iter().for_each(|process| process.end());
            run_folder::discard(&self.folder);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A list is whole whatever panicked beside it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The context of a cluster of this name, in every kubeconfig.
fn context_name(cluster: &str) -> String {
    format!("flagship-{cluster}")
}

fn server_url(address: SocketAddr) -> String {
    format!("https://{address}")
}

pub(crate) async fn client_config(kubeconfig: &Path) -> Result<kube::Config> {
    let wrong = |error: &dyn std::fmt::Display| Error::Kubeconfig {
        path: kubeconfig.to_owned(),
        reason: error.to_string(),
    };
    let file = Kubeconfig::read_from(kubeconfig).map_err(|error| wrong(&error))?;
    let mut config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .map_err(|error| wrong(&error))?;
    // A frozen API server accepts connections and never completes the handshake.
    config.connect_timeout = Some(REQUEST_TIMEOUT);
    Ok(config)
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Error::Start {
                program: "a build".into(),
                source: std::io::Error::other(error),
            }),
        },
    }
}
