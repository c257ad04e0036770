//! The wiring: watches MultiClusters, and runs one member for each.
//!
//! `replica` tells which of a cluster's controllers is active. In that one `supervisor` watches the objects and starts a task for each of them; `service` is that task, which runs one `member`
//! after the other: the asynchronous shell around [`crate::election::Member`]. It goes by `lifecycle`, hears by `ear`
//! under the callsign that `callsign` keeps and the certificate of `certificate`, has the payload run by `application`,
//! reads parts of it by `sources`, tries it by `eligibility`, removes what silent members left by `fencing`, and writes the
//! status by `store`. `report`, `words` and
//! `chronicle` say what it tells users, `announcer` tells it.

mod announcer;
mod api_server;
mod application;
mod callsign;
mod certificate;
mod chronicle;
mod ear;
mod eligibility;
mod fencing;
mod finalizer;
mod group_settings;
mod kubeconfig;
mod lifecycle;
mod load_balancer;
mod member;
mod own_address;
mod petition;
mod reading;
mod replica;
mod report;
mod secret;
mod service;
mod shared;
mod silence;
mod sources;
mod store;
mod supervisor;
mod turns;
mod unreachable;
mod words;

pub(crate) use load_balancer::SERVICE;
pub(crate) use replica::ACTIVE_LABEL;
pub use supervisor::{Error, run};

use std::net::{IpAddr, SocketAddr};

use crate::peer::Versions;

/// Names the addresses of the fleet, separated by commas, that need not answer before a member founds a group.
pub const FOUND_WITHOUT_ANNOTATION: &str = "flagship.dev/found-without";

/// How a controller is to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster and the credentials.
    pub config: kube::Config,
    /// Watch this namespace only; all without it.
    pub namespace: Option<String>,
    /// Listen for members here instead of at `spec.address`.
    pub listen_address: Option<IpAddr>,
    /// Where health and metrics are served.
    pub metrics_address: SocketAddr,
    /// Leave the payload running when the process ends, instead of handing over.
    pub keep_payload_on_exit: bool,
    /// Tells controllers apart, in Events too: the Pod's name.
    pub instance: Option<String>,
    /// The protocol versions to speak with other controllers.
    pub protocol: Versions,
}
