//! Sites on a network of their own, whose links a test cuts.
//!
//! Each site's controller lives in a network namespace of its own. Its only link leads to a router, one more namespace,
//! which passes packets on between the sites or, where a test has cut, drops them: no RST, no FIN, no ICMP, as if a
//! cable had been cut somewhere on the way. API servers stay in the machine's own namespace, and a relay leads each
//! controller to its own, so that a cut comes between the sites and never between a controller and its cluster.
//!
//! Nothing appears in the machine's own namespace, and all is gone when the process ends. It takes root.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::Arc;

use futures::future::try_join_all;
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use crate::cluster::{Cluster, ClusterOptions, start_clusters};
use crate::controller::Place;
use crate::error::{Error, Result};
use crate::site::Site;

mod namespace;
mod relay;

use namespace::Namespace;
use relay::Relay;

/// Sites, and the network between them.
#[derive(Debug)]
pub struct Networked<const N: usize> {
    /// The sites.
    pub sites: [Site; N],
    /// The network that joins their controllers.
    pub network: Network,
}

/// The links between sites. Faults add up until they are healed. A cut takes effect at once, also on connections that
/// are open, and nobody is told of it.
#[derive(Debug)]
pub struct Network {
    router: Namespace,
    /// The sites' addresses in the network.
    addresses: Vec<IpAddr>,
    cuts: Mutex<BTreeSet<Link>>,
    _relays: Vec<Relay>,
    // Held for its lifetime only: a controller that is started again enters its namespace again.
    _namespaces: Vec<Arc<Namespace>>,
}

/// One direction between two sites, which are told by their place in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Link {
    from: usize,
    to: usize,
}

/// Starts clusters side by side, each with a controller in a network namespace of its own.
///
/// # Errors
/// If one of them does not become ready, or the network cannot be built: see [`can_build_networks`].
pub async fn networked_sites<const N: usize>(names: [&str; N]) -> Result<Networked<N>> {
    let clusters = start_clusters(names.map(ClusterOptions::new)).await?;
    let machine = Arc::new(Namespace::current()?);
    let router = Namespace::create().await?;
    router.forward().await?;
    router.ip("link set lo up").await?;
    let mut namespaces = Vec::with_capacity(N);
    let mut starts = Vec::with_capacity(N);
    for (cluster, number) in clusters.into_iter().zip(1..=u8::MAX) {
        let namespace = Arc::new(Namespace::create().await?);
        connect(number, &router, &namespace).await?;
        namespaces.push(Arc::clone(&namespace));
        starts.push(start_site(cluster, number, &machine, namespace));
    }
    let mut sites = Vec::with_capacity(N);
    let mut relays = Vec::with_capacity(2 * N);
    for (site, of_site) in try_join_all(starts).await? {
        sites.push(site);
        relays.extend(of_site);
    }
    let network = Network {
        router,
        addresses: sites.iter().map(Site::address).collect(),
        cuts: Mutex::default(),
        _relays: relays,
        _namespaces: namespaces,
    };
    let sites = sites.try_into().map_err(|_| Error::Network {
        operation: format!("join {N} sites"),
        reason: format!("there are addresses for {} only", u8::MAX),
    })?;
    Ok(Networked { sites, network })
}

async fn start_site(
    cluster: Cluster,
    number: u8,
    machine: &Arc<Namespace>,
    namespace: Arc<Namespace>,
) -> Result<(Site, [Relay; 2])> {
    let address = address_of(number);
    let api_server = Relay::start(cluster.server_address(), &namespace, machine)?;
    let place = Place {
        listen: address,
        nsenter_arguments: Some(namespace.nsenter_arguments()),
        pod: None,
    };
    let controller = cluster.spawn_controller(&place, &[]).await?;
    let metrics = Relay::start(controller.metrics_address(), machine, &namespace)?;
    controller.wait_until_ready().await?;
    Ok((Site::new(cluster, controller, address), [api_server, metrics]))
}

/// Lays a link between the router and a site.
async fn connect(number: u8, router: &Namespace, site: &Namespace) -> Result<()> {
    let (link, address, gateway) = (link_of(number), address_of(number), gateway_of(number));
    let path = site.path();
    let at_router = format!(
        "link add name {link} type veth peer name eth0 netns {path}\naddress add {gateway}/24 dev {link}\nlink set {link} up"
    );
    router.ip(&at_router).await?;
    let at_site = format!(
        "link set lo up\naddress add {address}/24 dev eth0\nlink set eth0 up\nroute add default via {gateway}"
    );
    site.ip(&at_site).await
}

/// The router's end of the link to a site.
fn link_of(number: u8) -> String {
    format!("site{number}")
}

fn address_of(number: u8) -> IpAddr {
    IpAddr::from(Ipv4Addr::new(10, 0, number, 2))
}

fn gateway_of(number: u8) -> IpAddr {
    IpAddr::from(Ipv4Addr::new(10, 0, number, 1))
}

impl Network {
    /// Cuts a site off from all others, both ways.
    ///
    /// # Errors
    /// If the site is not in this network, or the router refuses.
    pub async fn cut_off(&self, site: &Site) -> Result<()> {
        self.deafen(site).await?;
        self.silence(site).await
    }

    /// Lets nothing through to a site; what it sends arrives.
    ///
    /// # Errors
    /// If the site is not in this network, or the router refuses.
    pub async fn deafen(&self, site: &Site) -> Result<()> {
        let to = self.number(site)?;
        self.cut(self.others(to).map(|from| Link { from, to })).await
    }

    /// Lets nothing through that a site sends; what is sent to it arrives.
    ///
    /// # Errors
    /// If the site is not in this network, or the router refuses.
    pub async fn silence(&self, site: &Site) -> Result<()> {
        let from = self.number(site)?;
        self.cut(self.others(from).map(|to| Link { from, to })).await
    }

    /// Cuts the network in two, between these sites and those.
    ///
    /// # Errors
    /// If a site is not in this network, or the router refuses.
    pub async fn part(&self, these: &[&Site], those: &[&Site]) -> Result<()> {
        let mut links = Vec::with_capacity(2 * these.len() * those.len());
        for a in these {
            for b in those {
                let (a, b) = (self.number(a)?, self.number(b)?);
                links.extend([Link { from: a, to: b }, Link { from: b, to: a }]);
            }
        }
        self.cut(links).await
    }

    /// Mends all links.
    ///
    /// # Errors
    /// If the router refuses.
    pub async fn heal(&self) -> Result<()> {
        let mut cuts = self.cuts.lock().await;
        self.router.ip(&self.rules("del", &cuts)).await?;
        cuts.clear();
        Ok(())
    }

    async fn cut(&self, links: impl IntoIterator<Item = Link>) -> Result<()> {
        let mut cuts = self.cuts.lock().await;
        let new = links.into_iter().filter(|link| !cuts.contains(link)).collect();
        self.router.ip(&self.rules("add", &new)).await?;
        cuts.extend(new);
        Ok(())
    }

    /// The commands that make or unmake cuts. Rules come before the routes that they are about, as their preference is
    /// below that of the main table. A packet that meets a blackhole is dropped without an answer.
    fn rules(&self, operation: &str, links: &BTreeSet<Link>) -> String {
        let mut commands = String::new();
        for link in links {
            let (from, to) = (self.addresses[link.from], self.addresses[link.to]);
            // A String takes whatever is written to it.
            writeln!(
                commands,
                "rule {operation} preference 100 from {from} to {to} blackhole"
            )
            .ok();
        }
        commands
    }

    fn others(&self, site: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.addresses.len()).filter(move |other| *other != site)
    }

    fn number(&self, site: &Site) -> Result<usize> {
        let address = site.address();
        let found = self.addresses.iter().position(|other| *other == address);
        found.ok_or_else(|| Error::Network {
            operation: format!("find {}", site.name()),
            reason: format!("no site of this network has its address {address}"),
        })
    }
}

/// Networked sites that the tests of one binary share, one test at a time: a cut is felt by all groups of a site.
#[derive(Debug)]
pub struct SharedNetwork<const N: usize> {
    names: [&'static str; N],
    networked: Mutex<Option<Networked<N>>>,
}

impl<const N: usize> SharedNetwork<N> {
    /// Names the sites; none is started yet.
    pub const fn new(names: [&'static str; N]) -> Self {
        Self {
            names,
            networked: Mutex::const_new(None),
        }
    }

    /// Waits until no other test has the network, and hands it over with all links whole. The first who asks starts it.
    ///
    /// # Errors
    /// If it cannot be started or healed; whoever asks next tries again.
    pub async fn take(&self) -> Result<MappedMutexGuard<'_, Networked<N>>> {
        let mut networked = self.networked.lock().await;
        match &*networked {
            Some(used) => used.network.heal().await?,
            None => *networked = Some(networked_sites(self.names).await?),
        }
        MutexGuard::try_map(networked, Option::as_mut).map_err(|_| Error::Network {
            operation: format!("take {}", self.names.join(", ")),
            reason: "they are gone".into(),
        })
    }
}

/// Whether networks can be built here. If not, it says on the standard error that the test is skipped, and why.
#[must_use]
pub fn can_build_networks() -> bool {
    let Err(reason) = check_machine() else {
        return true;
    };
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Printing by a macro would be captured, and nobody sees the captured words of a test that passes.
    writeln!(std::io::stderr(), "{test} is SKIPPED: {reason}").ok();
    false
}

/// What network namespaces need.
fn check_machine() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("network namespaces are for root only; run the tests as root to have it".into());
    }
    for (program, package) in [
        ("ip", "iproute2"),
        ("nsenter", "util-linux"),
        ("unshare", "util-linux"),
    ] {
        if let Err(error) = Command::new(program).arg("-V").output() {
            return Err(format!(
                "cannot run {program}: {error}; install the package {package}"
            ));
        }
    }
    match Command::new("unshare").args(["--net", "true"]).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "this machine lets root make no network namespace, as in a container without CAP_SYS_ADMIN: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("cannot run unshare: {error}")),
    }
}

#[cfg(test)]
mod tests;
