//! Two controllers of one cluster, and what stands for the load balancer in front of them.

use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::address::ReservedAddress;
use crate::cluster::{ClusterOptions, start_clusters};
use crate::controller::{Controller, Place};
use crate::error::{Error, Result};
use crate::installation::Installation;
use crate::site::{PATIENCE, Site};

/// The port on which the MultiClusters of tests listen.
const PORT: u16 = 9990;
/// The Service's selector adds this to the labels of the Deployment's Pods.
const ACTIVE: &str = "flagship.dev/active=true";
/// kube-proxy follows a change of endpoints within about a second; this is no slower.
const FOLLOW_PAUSE: Duration = Duration::from_millis(200);

/// A site whose cluster has two controllers, one active and one standing by.
///
/// Their Pods are objects without containers: each controller is a process that bears its Pod's name, and writes its
/// labels. The cluster's address leads to the one that the Service would select.
#[derive(Debug)]
pub struct Replicated {
    site: Site,
    second: Controller,
    _addresses: [ReservedAddress; 2],
    balancer: JoinHandle<()>,
}

impl Deref for Replicated {
    type Target = Site;
    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Drop for Replicated {
    fn drop(&mut self) {
        self.balancer.abort();
    }
}

impl Replicated {
    /// Starts a cluster with two controllers, the first of which is active.
    ///
    /// # Errors
    /// If it does not become ready.
    pub async fn start(name: &str) -> Result<Replicated> {
        let [cluster] = start_clusters([ClusterOptions::new(name)]).await?;
        let installation = cluster
            .install_manifest(&Installation::shipped_manifest())
            .await?;
        let pods = Api::<Pod>::namespaced(cluster.client()?, &installation.namespace);
        let addresses = [ReservedAddress::any()?, ReservedAddress::any()?];
        let mut backends = Vec::new();
        let mut controllers = Vec::new();
        for (address, pod) in addresses.iter().zip(["flagship-0", "flagship-1"]) {
            let mut object = installation.pod.clone();
            object["metadata"]["name"] = json!(pod);
            let object: Pod = serde_json::from_value(object).map_err(|error| Error::Manifest {
                name: "the Deployment's Pod".into(),
                reason: error.to_string(),
            })?;
            pods.create(&PostParams::default(), &object)
                .await
                .map_err(Error::request(format!("create Pod {pod}"), name))?;
            let place = Place {
                listen: address.ip(),
                nsenter_arguments: None,
                pod: Some(pod.into()),
            };
            let controller = cluster.spawn_controller(&place, &[]).await?;
            controller.wait_until_ready().await?;
            backends.push((pod, SocketAddr::new(address.ip(), PORT)));
            controllers.push(controller);
            cluster
                .wait_until("one controller is active", PATIENCE, async |_| {
                    Ok::<_, kube::Error>(active(&pods).await?.as_deref() == Some("flagship-0"))
                })
                .await?;
        }
        let listener = TcpListener::bind((cluster.ip(), PORT))
            .await
            .map_err(|source| Error::Reserve {
                on: format!("{}:{PORT}", cluster.ip()),
                source,
            })?;
        let balancer = tokio::spawn(balance(listener, pods, backends));
        let address = cluster.ip();
        let mut controllers = controllers.into_iter();
        let (Some(first), Some(second)) = (controllers.next(), controllers.next()) else {
            return Err(Error::Wait {
                what: "two controllers".into(),
                on: name.into(),
                within: PATIENCE,
                last: "fewer were started".into(),
            });
        };
        Ok(Replicated {
            site: Site::new(cluster, first, address),
            second,
            _addresses: addresses,
            balancer,
        })
    }

    /// The controller that was not active at first. [`Site::controller`] is the other one.
    #[must_use]
    pub fn second(&self) -> &Controller {
        &self.second
    }
}

/// The Pod that the Service leads to.
async fn active(pods: &Api<Pod>) -> kube::Result<Option<String>> {
    let selected = pods.list_metadata(&ListParams::default().labels(ACTIVE)).await?;
    Ok(selected.items.first().map(ResourceExt::name_any))
}

/// Leads new connections to the Pod that is selected when they are made, and lets those that stand be, as kube-proxy does.
async fn balance(listener: TcpListener, pods: Api<Pod>, backends: Vec<(&'static str, SocketAddr)>) {
    let (sender, receiver) = tokio::sync::watch::channel(None);
    let following = async {
        loop {
            // While the API server does not answer the endpoints stay as they are.
            if let Ok(active) = active(&pods).await {
                let backend = backends.iter().find(|(pod, _)| Some(*pod) == active.as_deref());
                sender.send_replace(backend.map(|(_, address)| *address));
            }
            sleep(FOLLOW_PAUSE).await;
        }
    };
    let accepting = async {
        loop {
            let Ok((mut client, _)) = listener.accept().await else {
                sleep(FOLLOW_PAUSE).await;
                continue;
            };
            let Some(backend) = *receiver.borrow() else {
                continue;
            };
            tokio::spawn(async move {
                if let Ok(mut server) = TcpStream::connect(backend).await {
                    // Either end may break off at any time.
                    tokio::io::copy_bidirectional(&mut client, &mut server).await.ok();
                }
            });
        }
    };
    tokio::join!(following, accepting);
}
