//! The harness: real control planes for tests, the demo and benchmarks, with handles to break them.
//!
//! No mock API server and no container engine: each cluster is its own etcd, kube-apiserver and kube-controller-manager
//! (with [`ClusterOptions::with_pods`] also a scheduler, and nodes that kwok plays), all on an address of its own in
//! 127.0.0.0/8. The programs come from `KUBEBUILDER_ASSETS`, or Go builds them once from the modules that
//! `testing/controlplane` pins.

mod address;
mod binaries;
mod cluster;
mod command_line;
mod control_plane;
mod controller;
mod error;
mod files;
mod history;
mod installation;
mod interrupt;
mod kind;
mod kubeconfig;
mod kwok;
mod manifest;
mod named;
mod network;
mod observed;
mod pki;
mod process;
mod process_list;
mod proxy;
mod recorder;
mod replicas;
mod run_folder;
mod server;
mod service_address;
mod shared;
mod shared_sites;
mod site;
mod witness;

pub use binaries::target_folder;
pub use cluster::{Cluster, ClusterOptions, clusters, start_clusters};
pub use control_plane::Part;
pub use controller::Controller;
pub use error::{Error, Result};
pub use history::{Certainty, Gap, History, ObjectKey, Overlap, Presence, Span};
pub use interrupt::unless_interrupted;
pub use kind::KindCluster;
pub use named::{NamedCluster, NamedClusters};
pub use network::{Network, Networked, SharedNetwork, can_build_networks, networked_sites};
pub use observed::{Observed, Sight, Sights};
pub use proxy::Answers;
pub use recorder::{Recorder, Selection};
pub use replicas::Replicated;
pub use run_folder::{Failure, TestResult, keep_logs};
pub use service_address::{loopback_for, with_loopback_addresses};
pub use shared::SharedClusters;
pub use shared_sites::{SharedSites, Turn};
pub use site::{CONTENT, Manifest, PATIENCE, Site, WEB, condition, sites, sites_with};
pub use witness::Witness;
