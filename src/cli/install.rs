//! `flagship install`.

mod manifest;
mod rbac;

pub(super) use manifest::{CONTROLLER, Object, PART_OF, Settings, is_ours};

use std::net::IpAddr;

use super::Error;
use super::output::{Format, print, render};

/// Namespace that the manifests use unless another is asked for.
pub(super) const DEFAULT_NAMESPACE: &str = "flagship-system";

/// What a reader of the manifests must know before applying them.
const PREFACE: &str = "\
# Flagship for one cluster: apply it to each. Printed by `flagship install`; edit src/cli/install, then run `make fix`.
#
# The controller holds three sets of rights. flagship-controller is what it needs for itself: its MultiClusters and
# Events. flagship-secrets lets it read Secrets, for callsigns and certificates; where it must not read others, bind that
# by RoleBindings in the namespaces of those MultiClusters, or not at all.
# flagship-payload is what it may do with the objects of payloads. It aggregates every ClusterRole that is labelled
# flagship.dev/payload=true; two such come along, and either may be deleted:
#   flagship-payload-workloads    the usual kinds: Deployments, Services, ConfigMaps, Secrets, Ingresses, ...
#   flagship-payload-namespaces   Namespaces and CustomResourceDefinitions
# A payload of other kinds, such as your own custom resources, needs a ClusterRole of yours with that label and the
# verbs get, list, watch, create, patch and delete. Kubernetes lets nobody grant more than they hold: a payload with
# Roles needs all the rights which these contain, or the verb escalate on roles; one with RoleBindings needs the rights
# of the role that they name, or the verb bind on it. Whoever may write a MultiCluster can do all that flagship-payload
# allows, in every namespace: grant that right with the same care. Payloads that are applied as a ServiceAccount need a Role that
# lets the controller impersonate it; none is granted here.
";

/// Print the manifests that install Flagship into a cluster
///
/// Namespace, CustomResourceDefinitions, RBAC, the controller's Deployment, and a LoadBalancer Service through which
/// the other clusters reach it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flagship install | kubectl apply --server-side -f -
  flagship install --service-address 172.18.100.100 | kubectl apply --server-side -f -
  flagship install --image registry.example/flagship:0.1.0 > flagship.yaml
  flagship install --port 9990 --port 9991    when MultiClusters of this cluster listen on two ports")]
pub(super) struct Args {
    /// Image of the controller
    #[arg(long, value_name = "IMAGE", default_value = concat!("flagship:", env!("CARGO_PKG_VERSION")), value_parser = parse_image)]
    image: String,
    /// Namespace of the controller
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAMESPACE, value_parser = parse_namespace)]
    namespace: String,
    /// Port on which MultiClusters listen; may be given several times
    #[arg(long, value_name = "PORT", default_value = "9990", value_parser = clap::value_parser!(u16).range(1..))]
    port: Vec<u16>,
    /// IP address to ask the load balancer for
    #[arg(long, value_name = "IP")]
    service_address: Option<IpAddr>,
    /// Format of the output
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    output: Format,
}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        let settings = Settings {
            image: self.image,
            namespace: self.namespace,
            ports: self.port,
            service_address: self.service_address,
        };
        print(&text(&settings, self.output)?)
    }
}

fn text(settings: &Settings, format: Format) -> Result<String, Error> {
    render("the manifests", &settings.objects(), PREFACE, format)
}

/// Takes what Kubernetes takes as the name of a Namespace (RFC 1123 label).
pub(super) fn parse_namespace(text: &str) -> Result<String, String> {
    let fits = (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    if fits {
        Ok(text.to_owned())
    } else {
        Err("write up to 63 lower-case letters, digits and dashes, with no dash at either end".to_owned())
    }
}

fn parse_image(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("write an image reference, such as registry.example/flagship:0.1.0".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
