//! Clusters in containers, by the `kind`, `docker` and `kubectl` of the user's machine.
//!
//! Which commands run is decided here as values; running them is all that is left.

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::binaries::say;
use crate::error::{Error, Result};
use crate::installation::{Installation, SERVICE};
use crate::named::check_name;

/// One command, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    doing: String,
    program: &'static str,
    arguments: Vec<String>,
    input: Option<String>,
}

/// What a cluster in containers is made from.
#[derive(Debug, Clone)]
pub struct KindCluster {
    name: String,
    kubeconfig: PathBuf,
}

impl KindCluster {
    /// Describes a cluster; its context goes into `kubeconfig`.
    ///
    /// # Errors
    /// If the name will not do.
    pub fn new(name: &str, kubeconfig: impl Into<PathBuf>) -> Result<Self> {
        check_name(name)?;
        Ok(Self {
            name: name.to_owned(),
            kubeconfig: kubeconfig.into(),
        })
    }

    /// The context's name.
    pub fn context(&self) -> String {
        format!("kind-{}", self.name)
    }

    /// Creates it: one node, the image built from this project's Dockerfile, Flagship installed, and the
    /// LoadBalancer Service reachable at `service_address` from the other clusters. Blocks for minutes.
    ///
    /// # Errors
    /// If a program is missing or fails; what was made then stays for inspection.
    pub fn create(&self, service_address: Ipv4Addr) -> Result<()> {
        for program in ["kind", "docker", "kubectl"] {
            find(program)?;
        }
        let manifest = Installation::shipped_manifest();
        let installation = Installation::read(&manifest)?;
        for step in self.cluster_steps(&installation.image) {
            run(&step)?;
        }
        let network = run(&self.network_step())?;
        check_network(
            &self.name,
            &String::from_utf8_lossy(&network.stdout),
            service_address,
        )?;
        for step in self.installation_steps(&installation.namespace, &manifest, service_address) {
            run(&step)?;
        }
        Ok(())
    }

    /// Removes it, if it is there, and its context.
    ///
    /// # Errors
    /// If kind is missing or fails.
    pub fn remove(&self) -> Result<()> {
        find("kind")?;
        run(&self.removal_step()).map(|_| ())
    }

    fn cluster_steps(&self, image: &str) -> Vec<Step> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .display()
            .to_string();
        vec![
            step(
                format!("building the image {image}"),
                "docker",
                &["build", "--tag", image, &project],
            ),
            Step {
                input: Some(self.configuration().to_string()),
                ..step(
                    format!("creating the kind cluster {}", self.name),
                    "kind",
                    &[
                        "create",
                        "cluster",
                        "--kubeconfig",
                        &self.kubeconfig.display().to_string(),
                        "--wait",
                        "120s",
                        "--config",
                        "-",
                    ],
                )
            },
            step(
                "loading the image into the node".into(),
                "kind",
                &["load", "docker-image", image, "--name", &self.name],
            ),
        ]
    }

    fn configuration(&self) -> Value {
        json!({
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "kind": "Cluster",
            "name": self.name,
            "nodes": [{ "role": "control-plane" }],
        })
    }

    fn network_step(&self) -> Step {
        let arguments = ["network", "inspect", "kind", "--format", "{{json .IPAM.Config}}"];
        step("looking at docker's network".into(), "docker", &arguments)
    }

    /// kind has no load balancer. Instead the node takes the address on docker's network, where the other nodes find it
    /// by ARP, and kube-proxy leads it to the controller, since the Service's status names it.
    fn installation_steps(&self, namespace: &str, manifest: &Path, address: Ipv4Addr) -> Vec<Step> {
        let node = format!("{}-control-plane", self.name);
        let spec = json!({ "spec": { "loadBalancerIP": address } }).to_string();
        let status = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": address }] } } }).to_string();
        vec![
            step(
                format!("giving the node the address {address}"),
                "docker",
                &[
                    "exec",
                    &node,
                    "ip",
                    "address",
                    "replace",
                    &format!("{address}/32"),
                    "dev",
                    "eth0",
                ],
            ),
            self.kubectl(
                "installing Flagship",
                &["apply", "--server-side", "-f", &manifest.display().to_string()],
            ),
            self.kubectl(
                "giving the Service its address",
                &[
                    "patch", "service", SERVICE, "-n", namespace, "--type", "merge", "-p", &spec,
                ],
            ),
            self.kubectl(
                "giving the Service its address",
                &[
                    "patch",
                    "service",
                    SERVICE,
                    "-n",
                    namespace,
                    "--subresource",
                    "status",
                    "--type",
                    "merge",
                    "-p",
                    &status,
                ],
            ),
            self.kubectl(
                "waiting for the controller",
                &[
                    "wait",
                    "--for=condition=Available",
                    "deployment",
                    "--all",
                    "-n",
                    namespace,
                    "--timeout",
                    "180s",
                ],
            ),
        ]
    }

    fn removal_step(&self) -> Step {
        let kubeconfig = self.kubeconfig.display().to_string();
        let arguments = [
            "delete",
            "cluster",
            "--name",
            &self.name,
            "--kubeconfig",
            &kubeconfig,
        ];
        step(
            format!("removing the kind cluster {}", self.name),
            "kind",
            &arguments,
        )
    }

    fn kubectl(&self, doing: &str, arguments: &[&str]) -> Step {
        let (kubeconfig, context) = (self.kubeconfig.display().to_string(), self.context());
        let where_ = ["--kubeconfig", &kubeconfig, "--context", &context];
        step(doing.to_owned(), "kubectl", &[&where_, arguments].concat())
    }
}

fn step(doing: String, program: &'static str, arguments: &[&str]) -> Step {
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Step {
        doing,
        program,
        arguments,
        input: None,
    }
}

/// The other clusters reach the address only if it belongs to the network that the nodes share.
fn check_network(name: &str, networks: &str, address: Ipv4Addr) -> Result<()> {
    let networks: Value = serde_json::from_str(networks).unwrap_or_default();
    let subnets: Vec<_> = networks
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["Subnet"].as_str())
        .collect();
    match subnets.iter().any(|subnet| contains(subnet, address)) {
        true => Ok(()),
        false => Err(Error::Create {
            name: name.to_owned(),
            reason: format!(
                "the service address {address} is not in docker's network `kind` ({}); remove the cluster by \
                 --force-clean and choose an address there that docker has not given away",
                subnets.join(", ")
            ),
        }),
    }
}

fn contains(subnet: &str, address: Ipv4Addr) -> bool {
    let parsed = subnet.split_once('/').and_then(|(network, length)| {
        Some((
            network.parse::<Ipv4Addr>().ok()?,
            length.parse::<u32>().ok().filter(|length| *length <= 32)?,
        ))
    });
    parsed.is_some_and(|(network, length)| {
        let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
        u32::from(network) & mask == u32::from(address) & mask
    })
}

fn find(program: &'static str) -> Result<()> {
    let version = if program == "kubectl" {
        ["version", "--client"].as_slice()
    } else {
        &["version"]
    };
    // Whether docker's daemon runs shows in the first step; here only a missing program counts.
    Command::new(program)
        .args(version)
        .stdin(Stdio::null())
        .output()
        .map(|_| ())
        .map_err(|source| Error::Start {
            program: program.into(),
            source,
        })
}

fn run(step: &Step) -> Result<Output> {
    say(&step.doing);
    let failed = |source: io::Error| Error::Start {
        program: step.program.into(),
        source,
    };
    let mut child = Command::new(step.program)
        .args(&step.arguments)
        .stdin(if step.input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        // What takes long tells on stderr how far it is.
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed)?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), &step.input) {
        stdin.write_all(input.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    match output.status.success() {
        true => Ok(output),
        false => Err(Error::Command {
            command: format!("{} {}", step.program, step.arguments.join(" ")),
            status: output.status,
            output: format!("{} failed, see above", step.doing),
        }),
    }
}

#[cfg(test)]
#[path = "kind_tests.rs"]
mod tests;
