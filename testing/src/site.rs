//! A cluster with a Flagship controller, and the MultiClusters that tests put into it.

use std::fmt::Write;
use std::net::IpAddr;
use std::ops::Deref;
use std::time::Duration;

use flagship::api::{MultiCluster, MultiClusterStatus};
use futures::future::try_join_all;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, ClusterOptions, start_clusters};
use crate::controller::Controller;
use crate::error::{Error, Result};

/// How long a test waits for something that is to happen at all. What it measures is another matter.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A payload: what a web server shows.
pub const CONTENT: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: web-content}
data: {index.html: hello}
";

/// A payload: what a web server shows, and the web server.
pub const WEB: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: web-content}
data: {index.html: hello}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx}]}
";

/// A cluster with a Flagship controller, installed as it ships.
#[derive(Debug)]
pub struct Site {
    cluster: Cluster,
    /// The controller.
    pub controller: Controller,
    address: IpAddr,
}

impl Deref for Site {
    type Target = Cluster;
    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

/// Starts clusters with a controller each, side by side.
///
/// # Errors
/// If one of them does not become ready.
pub async fn sites<const N: usize>(names: [&str; N]) -> Result<[Site; N]> {
    sites_with(names.map(ClusterOptions::new)).await
}

/// As [`sites`], of clusters with options.
///
/// # Errors
/// If one of them does not become ready.
pub async fn sites_with<const N: usize>(options: [ClusterOptions; N]) -> Result<[Site; N]> {
    let clusters = start_clusters(options).await?;
    let starts = clusters.map(|cluster| async {
        let controller = cluster.start_controller().await?;
        let address = cluster.ip();
        Ok::<Site, Error>(Site::new(cluster, controller, address))
    });
    let started: Vec<Site> = try_join_all(starts).await?;
    started.try_into().map_err(|started: Vec<Site>| Error::Wait {
        what: format!("{N} controllers"),
        on: "the clusters".to_owned(),
        within: PATIENCE,
        last: format!("{} started", started.len()),
    })
}

impl Site {
    pub(crate) fn new(cluster: Cluster, controller: Controller, address: IpAddr) -> Site {
        Site {
            cluster,
            controller,
            address,
        }
    }

    /// Where other sites reach the controller.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Lets everything run again that a test has frozen, killed, removed or spoiled.
    ///
    /// # Errors
    /// If something does not become ready.
    pub async fn mend(&self) -> Result<()> {
        self.answer_promptly();
        self.thaw_all()?;
        self.bring_back().await?;
        self.install().await?;
        if !self.controller.is_running()? {
            self.controller.start()?;
        }
        self.controller.wait_until_ready().await
    }

    /// The MultiCluster of a namespace with this site's name, as it is now.
    ///
    /// # Errors
    /// If the API server does not tell.
    pub async fn multicluster(&self, namespace: &str) -> kube::Result<MultiCluster> {
        Api::namespaced(
            self.client()
                .map_err(|error| kube::Error::Service(error.into()))?,
            namespace,
        )
        .get(self.name())
        .await
    }

    /// Its status; empty before the controller has written one.
    ///
    /// # Errors
    /// If the API server does not tell.
    pub async fn status(&self, namespace: &str) -> kube::Result<MultiClusterStatus> {
        Ok(self.multicluster(namespace).await?.status.unwrap_or_default())
    }

    /// Waits until the site's MultiCluster says that this cluster runs the payload, completely.
    ///
    /// # Errors
    /// If it does not in [`PATIENCE`].
    pub async fn wait_until_leading(&self, namespace: &str) -> Result<()> {
        let what = format!("{} leads with its payload in place", self.name());
        self.wait_until(&what, PATIENCE, async |_| {
            let status = self.status(namespace).await?;
            Ok::<_, kube::Error>(status.leading && condition(&status, "PayloadApplied") == Some("True"))
        })
        .await
    }

    /// Waits until the site's MultiCluster goes by this leader, in another cluster, and this cluster runs no payload.
    ///
    /// # Errors
    /// If it does not in [`PATIENCE`].
    pub async fn wait_until_following(&self, namespace: &str, leader: &Site) -> Result<()> {
        let what = format!("{} follows {} and runs nothing", self.name(), leader.name());
        self.wait_until(&what, PATIENCE, async |_| {
            let status = self.status(namespace).await?;
            let follows = status.leader.is_some_and(|known| known.name == leader.name());
            Ok::<_, kube::Error>(
                follows
                    && !status.leading
                    && status
                        .payload
                        .is_none_or(|payload| payload.objects.iter().all(|object| !object.owned)),
            )
        })
        .await
    }

    /// Waits until a condition of the site's MultiCluster has this status and reason.
    ///
    /// # Errors
    /// If it does not in [`PATIENCE`].
    pub async fn wait_for_condition(
        &self,
        namespace: &str,
        kind: &str,
        state: &str,
        reason: &str,
    ) -> Result<String> {
        let what = format!("{kind} of {} is {state} with reason {reason}", self.name());
        self.wait_until(&what, PATIENCE, async |_| {
            let status = self.status(namespace).await?;
            let found = status.conditions.iter().find(|c| c.type_ == kind);
            Ok::<_, kube::Error>(found.is_some_and(|c| c.status == state && c.reason == reason))
        })
        .await?;
        let status = self
            .status(namespace)
            .await
            .map_err(Error::request(&what, self.name()))?;
        Ok(status
            .conditions
            .iter()
            .find(|c| c.type_ == kind)
            .map(|c| c.message.clone())
            .unwrap_or_default())
    }

    /// The manifest of a MultiCluster of this site.
    #[must_use]
    pub fn manifest(&self, callsign: &str, rank: i64) -> Manifest {
        Manifest {
            name: self.name().to_owned(),
            address: format!("{}:9990", self.address),
            callsign: callsign.to_owned(),
            rank,
            ready: false,
            fleet: Vec::new(),
            extra: String::new(),
            payload: String::new(),
        }
    }
}

impl Cluster {
    /// What the Events of a namespace say that have this reason.
    ///
    /// # Errors
    /// If the API server does not tell.
    pub async fn events(&self, namespace: &str, reason: &str) -> Result<Vec<String>> {
        let events = Api::<Event>::namespaced(self.client()?, namespace)
            .list(&ListParams::default())
            .await
            .map_err(Error::request("list Events", self.name()))?;
        let is_it = |event: &Event| event.reason.as_deref() == Some(reason);
        let told = events.items.into_iter().filter(is_it);
        Ok(told.map(|event| event.note.unwrap_or_default()).collect())
    }

    /// Waits for an Event with this reason that says this, among other things.
    ///
    /// # Errors
    /// If there is none in [`PATIENCE`].
    pub async fn wait_for_event(&self, namespace: &str, reason: &str, said: &str) -> Result<()> {
        let what = format!("an Event {reason} in {namespace} that says {said:?}");
        self.wait_until(&what, PATIENCE, async |_| {
            let told = self.events(namespace, reason).await?;
            Ok::<_, Error>(told.iter().any(|told| told.contains(said)))
        })
        .await
    }

    /// Changes fields of the spec of the MultiCluster with this cluster's name, as `kubectl patch` does.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn patch_spec(&self, namespace: &str, spec: Value) -> Result<()> {
        let api = Api::<MultiCluster>::namespaced(self.client()?, namespace);
        let operation = format!("patch the spec of MultiCluster {namespace}/{}", self.name());
        let patch = Patch::Merge(json!({ "spec": spec }));
        api.patch(self.name(), &PatchParams::default(), &patch)
            .await
            .map(|_| ())
            .map_err(Error::request(operation, self.name()))
    }
}

/// The status of a condition.
#[must_use]
pub fn condition<'a>(status: &'a MultiClusterStatus, kind: &str) -> Option<&'a str> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == kind)
        .map(|condition| condition.status.as_str())
}

/// The manifest of a MultiCluster, as a user writes one.
#[derive(Clone, Debug)]
pub struct Manifest {
    name: String,
    address: String,
    callsign: String,
    rank: i64,
    ready: bool,
    fleet: Vec<String>,
    extra: String,
    payload: String,
}

impl Manifest {
    /// The member may found the group.
    #[must_use]
    pub fn ready(mut self) -> Manifest {
        self.ready = true;
        self
    }

    /// The member joins through these.
    #[must_use]
    pub fn joins(mut self, sites: &[&Site]) -> Manifest {
        self.fleet = sites
            .iter()
            .map(|site| format!("{}:9990", site.address))
            .collect();
        self
    }

    /// Another field of the spec, as YAML.
    #[must_use]
    pub fn with(mut self, field: &str) -> Manifest {
        self.extra.push_str(&format!("  {field}\n"));
        self
    }

    /// What the leader runs.
    #[must_use]
    pub fn payload(mut self, yaml: &str) -> Manifest {
        yaml.clone_into(&mut self.payload);
        self
    }

    /// As YAML.
    #[must_use]
    pub fn yaml(&self) -> String {
        let Manifest {
            name,
            address,
            callsign,
            rank,
            ready,
            fleet,
            extra,
            payload,
        } = self;
        let mut yaml = format!(
            "apiVersion: kube-vip.io/v1alpha1\nkind: MultiCluster\nmetadata:\n  name: {name}\nspec:\n  port: 9990\n  \
             callsign: {callsign}\n  rank: {rank}\n  ready: {ready}\n  serviceAddress: {address:?}\n  fleet: {fleet:?}\n{extra}"
        );
        yaml.push_str("  payload: |\n");
        for line in payload.lines() {
            // A String takes whatever is written to it.
            writeln!(yaml, "    {line}").ok();
        }
        yaml
    }
}
