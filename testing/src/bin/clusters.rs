//! Named test clusters, ready for Flagship.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command prints")]

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use flagship_testing::{
    KindCluster, NamedClusters, Result, loopback_for, unless_interrupted, with_loopback_addresses,
};

const EXAMPLES: &str = "\
Examples:
  clusters --name newyork --service-address 172.18.100.100 --kubeconfig kc
  clusters --name sheffield --service-address 172.18.100.200 --kubeconfig kc
  clusters --manifest newyork.yaml | kubectl --kubeconfig kc --context flagship-newyork apply -f -
  kubectl --kubeconfig kc --context flagship-newyork get multiclusters -A
  clusters --name newyork --force-clean

Addresses:
  A local cluster stands on this machine's loopback network, where nobody has an address like 172.18.100.100. It \
gets 127.18.100.100 instead: the first number becomes 127, the others stay. An address that begins with 127 is \
taken as it is. --manifest prints a manifest with the addresses of its MultiClusters replaced in the same way.

Limits:
  The nodes of local clusters are played by kwok: pods become ready, and nothing runs in them. Local clusters are \
for tests: every user of this machine can reach their databases. They do not survive a restart of the machine.";

/// Create and remove named test clusters with Flagship installed and its controller running.
///
/// The cluster goes on running when the command ends. Context and kubeconfig are printed on standard output, everything
/// else on standard error.
#[derive(Debug, Parser)]
#[command(name = "clusters", after_help = EXAMPLES, arg_required_else_help = true)]
struct Arguments {
    /// The cluster's name
    #[arg(long, required_unless_present = "manifest")]
    name: Option<String>,

    /// The address at which the other clusters reach this one's LoadBalancer Service `multi-cluster`
    #[arg(long, value_name = "IP", required_unless_present_any = ["force_clean", "manifest"])]
    service_address: Option<Ipv4Addr>,

    /// What the cluster is made of
    #[arg(long, value_enum, default_value_t = Provider::Local)]
    provider: Provider,

    /// Add the cluster's context to this file too [default: a file of the cluster's own]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Remove the cluster: its processes, its files, and its context from the kubeconfig that it was added to
    #[arg(long)]
    force_clean: bool,

    /// Print this manifest with the addresses of local clusters
    #[arg(long, value_name = "FILE", exclusive = true)]
    manifest: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Provider {
    /// Processes of etcd, kube-apiserver, kube-controller-manager and kube-scheduler, and nodes played by kwok
    Local,
    /// A container for each cluster, by the kind, docker and kubectl on your PATH
    Kind,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: start the async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(arguments));
    // After an interruption a build may still run, which ends with this process.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    let Arguments {
        name,
        service_address,
        provider,
        kubeconfig,
        force_clean,
        manifest,
    } = arguments;
    if let Some(path) = manifest {
        let yaml = fs::read_to_string(&path).map_err(|source| flagship_testing::Error::File {
            operation: "read",
            path: path.clone(),
            source,
        })?;
        print!("{}", with_loopback_addresses(&path.display().to_string(), &yaml)?);
        return Ok(ExitCode::SUCCESS);
    }
    let name = name.unwrap_or_default();
    let clusters = NamedClusters::of_user()?;
    match (provider, service_address.filter(|_| !force_clean)) {
        (Provider::Local, None) => {
            match clusters.remove(&name)? {
                true => eprintln!("removed cluster {name}"),
                false => eprintln!("there is no cluster {name}"),
            }
            Ok(ExitCode::SUCCESS)
        }
        (Provider::Local, Some(address)) => create_local(&clusters, &name, address, kubeconfig).await,
        (Provider::Kind, address) => {
            let file =
                kubeconfig.unwrap_or_else(|| clusters.folder_of(&name).with_extension("kind.kubeconfig"));
            let cluster = KindCluster::new(&name, &file)?;
            match address {
                None => cluster.remove()?,
                Some(address) => {
                    cluster.create(address)?;
                    println!(
                        "context     {}\nkubeconfig  {}",
                        cluster.context(),
                        file.display()
                    );
                }
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn create_local(
    clusters: &NamedClusters,
    name: &str,
    address: Ipv4Addr,
    kubeconfig: Option<PathBuf>,
) -> Result<ExitCode> {
    let ip = loopback_for(address);
    eprintln!("building flagship if it has changed, and starting cluster {name} on {ip}");
    let Some(created) = unless_interrupted(clusters.create(name, address)).await else {
        clusters.remove(name)?;
        eprintln!("interrupted: nothing of cluster {name} is left");
        // As shells report a command that Ctrl-C ended.
        return Ok(ExitCode::from(130));
    };
    let created = created?;
    let file = match kubeconfig {
        None => created.cluster.kubeconfig(),
        Some(file) => {
            clusters.merge_into(name, &file)?;
            file
        }
    };
    if ip != address {
        eprintln!(
            "{ip} stands for {address}; `clusters --manifest FILE` prints manifests with such addresses replaced"
        );
    }
    eprintln!(
        "logs are in {}; remove the cluster by `clusters --name {name} --force-clean`",
        created.cluster.folder().display()
    );
    if let Some(pid) = created.controller.pid()? {
        eprintln!(
            "the controller is process {pid}, with metrics at http://{}/metrics",
            created.controller.metrics_address()
        );
    }
    println!(
        "context     {}\nkubeconfig  {}",
        created.cluster.context(),
        file.display()
    );
    Ok(ExitCode::SUCCESS)
}
