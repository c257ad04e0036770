//! `flagship uninstall`.

mod foreign;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::{self, BufRead, IsTerminal};
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions,
    PropagationPolicy,
};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use super::Error;
use super::connect::ClusterArgs;
use super::install::{CONTROLLER, DEFAULT_NAMESPACE, Object, PART_OF, Settings, is_ours, parse_namespace};
use super::output::say;
use crate::api::{FINALIZER, MultiCluster, PayloadObject};

/// How often to look whether what was deleted is gone: what is awaited takes seconds.
const POLL: Duration = Duration::from_millis(500);
/// How long to wait for an object of the installation itself: a Deployment may take its grace period of 60 s, and a
/// Namespace what its content takes.
const OBJECT_TIMEOUT: Duration = Duration::from_secs(120);

/// Remove Flagship from a cluster, its MultiClusters first
///
/// Every MultiCluster is deleted and awaited, so that its controller can stop the payload and leave the group. Then
/// go the CustomResourceDefinitions, the controller, its rights, and its namespace unless it holds something else.
/// The command can be repeated: it goes on where it stopped.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flagship uninstall --context newyork
  flagship uninstall --context newyork --yes
  flagship uninstall --yes --force --timeout 0    when the controller is gone for good: leaves the payload running")]
pub(super) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Namespace of the controller
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAMESPACE, value_parser = parse_namespace)]
    namespace: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// How long the MultiClusters may take to stop their payloads, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    timeout: u64,
    /// Drop the MultiClusters that are still there after the timeout, and leave their payloads as they are
    #[arg(long)]
    force: bool,
}

impl Args {
    pub(super) async fn run(self) -> Result<(), Error> {
        let config = self.cluster.config().await?;
        let cluster = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|source| Error::BuildClient(Box::new(source)))?;
        let found = members(&client).await?;
        if !self.yes {
            confirm(&question(&cluster, &self.namespace, &found))?;
        }
        self.remove_members(&client).await?;
        self.remove_installation(&client).await
    }

    /// Deletes all MultiClusters, also those that appear meanwhile, until none is left.
    async fn remove_members(&self, client: &Client) -> Result<(), Error> {
        let start = Instant::now();
        let deadline = start + Duration::from_secs(self.timeout);
        let mut told = BTreeSet::new();
        let mut warned = false;
        loop {
            let left = members(client).await?;
            let names: BTreeSet<_> = left.iter().map(full_name).collect();
            if names != told && !names.is_empty() {
                say(&format!(
                    "waiting for {} to stop and leave: {}",
                    count(names.len(), "MultiCluster"),
                    list(&names)
                ));
                told = names;
            }
            if !warned
                && left.iter().any(awaits_controller)
                && !controller_is_available(client, &self.namespace).await?
            {
                say(&format!(
                    "the controller (Deployment {}/{CONTROLLER}) is not available: if none runs elsewhere, they will not go",
                    self.namespace
                ));
                warned = true;
            }
            if left.is_empty() {
                return Ok(());
            }
            for member in left
                .iter()
                .filter(|member| member.metadata.deletion_timestamp.is_none())
            {
                let title = format!("MultiCluster {}", full_name(member));
                // What a MultiCluster stands for is removed by its controller; Kubernetes knows of no dependents.
                delete(
                    &member_api(client, member),
                    member,
                    PropagationPolicy::Background,
                    &title,
                )
                .await?;
            }
            if Instant::now() >= deadline {
                return self.give_up_or_force(client, &left).await;
            }
            sleep(POLL).await;
        }
    }

    /// After the timeout: says what is still there, or lets it go and says what stays behind.
    async fn give_up_or_force(&self, client: &Client, left: &[DynamicObject]) -> Result<(), Error> {
        if !self.force {
            return Err(Error::StillThere(still_there(
                left,
                self.timeout,
                &self.namespace,
            )));
        }
        for member in left.iter().filter(|member| awaits_controller(member)) {
            if let Some(dropped) = drop_finalizer(client, member).await? {
                say(&left_behind(&dropped));
            }
        }
        let start = Instant::now();
        loop {
            let left = members(client).await?;
            let Some(first) = left.first() else { return Ok(()) };
            if start.elapsed() >= OBJECT_TIMEOUT {
                return Err(stuck(&format!("MultiCluster {}", full_name(first))));
            }
            sleep(POLL).await;
        }
    }

    /// Removes what `flagship install` made. The definitions go first: were a MultiCluster created at this moment,
    /// the controller would still be there to let it go.
    async fn remove_installation(&self, client: &Client) -> Result<(), Error> {
        // The image, the ports and the address make no difference to what the objects are called.
        let installed = Settings {
            image: String::new(),
            namespace: self.namespace.clone(),
            ports: vec![],
            service_address: None,
        }
        .objects();
        let (definitions, others): (Vec<_>, Vec<_>) = installed
            .into_iter()
            .partition(|object| matches!(object, Object::CustomResourceDefinition(_)));
        for object in definitions.iter().chain(others.iter().rev()) {
            match object {
                Object::CustomResourceDefinition(object) => {
                    remove(&Api::all(client.clone()), &**object).await?
                }
                Object::ClusterRole(object) => remove(&Api::all(client.clone()), object).await?,
                Object::ClusterRoleBinding(object) => remove(&Api::all(client.clone()), object).await?,
                Object::Role(object) => remove(&self.namespaced(client), object).await?,
                Object::RoleBinding(object) => remove(&self.namespaced(client), object).await?,
                Object::Deployment(object) => remove(&self.namespaced(client), &**object).await?,
                Object::Service(object) => remove(&self.namespaced(client), &**object).await?,
                Object::ServiceAccount(object) => remove(&self.namespaced(client), object).await?,
                Object::Namespace(object) => self.remove_namespace(client, object).await?,
            }
        }
        Ok(())
    }

    fn namespaced<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(client.clone(), &self.namespace)
    }

    async fn remove_namespace(&self, client: &Client, namespace: &Namespace) -> Result<(), Error> {
        let foreign = foreign::objects(client, &self.namespace).await?;
        if foreign.is_empty() {
            return remove(&Api::all(client.clone()), namespace).await;
        }
        say(&format!(
            "left Namespace {}: it also holds {}. Delete it yourself once they may go",
            self.namespace,
            list(&foreign)
        ));
        Ok(())
    }
}

/// Whether a MultiCluster that is being deleted waits for its controller to let it go.
fn awaits_controller(member: &DynamicObject) -> bool {
    member.metadata.deletion_timestamp.is_some()
        && member.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

fn member_kind() -> ApiResource {
    ApiResource::erase::<MultiCluster>(&())
}

/// All MultiClusters, read without regard to their schema: one that is malformed must go too.
async fn members(client: &Client) -> Result<Vec<DynamicObject>, Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &member_kind());
    match api.list(&ListParams::default()).await {
        Ok(list) => Ok(list.items),
        // The definition is gone, and with it the last of them.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(vec![]),
        Err(source) => Err(request("list MultiClusters", source)),
    }
}

fn member_api(client: &Client, member: &DynamicObject) -> Api<DynamicObject> {
    Api::namespaced_with(
        client.clone(),
        &member.namespace().unwrap_or_default(),
        &member_kind(),
    )
}

async fn controller_is_available(client: &Client, namespace: &str) -> Result<bool, Error> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let deployment = api
        .get_opt(CONTROLLER)
        .await
        .map_err(|source| request(&format!("read Deployment {namespace}/{CONTROLLER}"), source))?;
    Ok(deployment
        .and_then(|deployment| deployment.status?.available_replicas)
        .is_some_and(|replicas| replicas > 0))
}

/// Takes our finalizer, and no other, off a MultiCluster, and returns it as it was dropped; `None` if somebody else let
/// it go meanwhile. Each attempt goes by the newest version, since a controller that is alive may be writing to it.
async fn drop_finalizer(client: &Client, member: &DynamicObject) -> Result<Option<DynamicObject>, Error> {
    let (api, name) = (member_api(client, member), member.name_any());
    let failed = |source| {
        let action = format!("take the finalizer off MultiCluster {}", full_name(member));
        request(&action, source)
    };
    let start = Instant::now();
    loop {
        let Some(newest) = api.get_opt(&name).await.map_err(failed)? else {
            return Ok(None);
        };
        if newest.uid() != member.uid() || !awaits_controller(&newest) {
            return Ok(None);
        }
        let patch = Patch::Merge(without_finalizer(&newest));
        match api.patch_metadata(&name, &PatchParams::default(), &patch).await {
            Ok(_) => return Ok(Some(newest)),
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
            Err(kube::Error::Api(status)) if status.code == 409 && start.elapsed() < OBJECT_TIMEOUT => {}
            Err(source) => return Err(failed(source)),
        }
        sleep(POLL).await;
    }
}

/// The change that takes our finalizer off exactly this version.
fn without_finalizer(member: &DynamicObject) -> serde_json::Value {
    let kept: Vec<_> = member
        .finalizers()
        .iter()
        .filter(|finalizer| *finalizer != FINALIZER)
        .collect();
    serde_json::json!({"metadata": {"resourceVersion": member.resource_version(), "finalizers": kept}})
}

/// Deletes an object of the installation and waits until it is gone. One that does not bear its mark is left.
async fn remove<K>(api: &Api<K>, object: &K) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let name = object.name_any();
    let kind = K::kind(&());
    let title = match object.namespace() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    };
    let get = || async {
        api.get_metadata_opt(&name)
            .await
            .map_err(|source| request(&format!("read {title}"), source))
    };
    let Some(found) = get().await? else { return Ok(()) };
    if !is_ours(found.meta()) {
        say(&format!(
            "left {title}: it does not bear the label {PART_OF}={CONTROLLER}"
        ));
        return Ok(());
    }
    // In the foreground, so that the controller's Pod has stopped before its rights go.
    let propagation = if kind == "Deployment" {
        PropagationPolicy::Foreground
    } else {
        PropagationPolicy::Background
    };
    delete(api, &found, propagation, &title).await?;
    let start = Instant::now();
    while get().await?.is_some_and(|now| now.uid() == found.uid()) {
        if start.elapsed() >= OBJECT_TIMEOUT {
            return Err(stuck(&title));
        }
        sleep(POLL).await;
    }
    say(&format!("removed {title}"));
    Ok(())
}

/// Deletes exactly the object that was seen. One that is gone already is no failure.
async fn delete<K>(
    api: &Api<K>,
    seen: &impl ResourceExt,
    propagation: PropagationPolicy,
    title: &str,
) -> Result<(), Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let params = DeleteParams {
        propagation_policy: Some(propagation),
        preconditions: Some(Preconditions {
            uid: seen.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api.delete(&seen.name_any(), &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        Err(source) => Err(request(&format!("delete {title}"), source)),
    }
}

fn confirm(question: &str) -> Result<(), Error> {
    if !io::stdin().is_terminal() {
        return Err(Error::ConfirmWithoutTerminal);
    }
    say(question);
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(Error::ReadAnswer)?;
    if matches!(answer.trim(), "y" | "yes") {
        Ok(())
    } else {
        Err(Error::Declined)
    }
}

fn question(cluster: &str, namespace: &str, members: &[DynamicObject]) -> String {
    let names: BTreeSet<_> = members.iter().map(full_name).collect();
    let first = if names.is_empty() {
        "There are no MultiClusters.".to_owned()
    } else {
        format!(
            "{} will be deleted, and {} in this cluster stopped: {}.",
            count(names.len(), "MultiCluster"),
            if names.len() == 1 {
                "its payload"
            } else {
                "their payloads"
            },
            list(&names)
        )
    };
    format!("Remove Flagship (namespace {namespace}) from {cluster}?\n{first}\nType y to go on:")
}

fn still_there(left: &[DynamicObject], seconds: u64, namespace: &str) -> String {
    let names: BTreeSet<_> = left.iter().map(full_name).collect();
    format!(
        "{} still there after {seconds} s: {}. Only a controller can stop their payloads and let them go: see that \
         `kubectl -n {namespace} get deployment {CONTROLLER}` is available, and what `kubectl describe multicluster` \
         says, then run the command again. If no controller is to come back, --force drops them and leaves their \
         payloads as they are. Nothing else was removed",
        count(names.len(), "MultiCluster"),
        list(&names)
    )
}

/// What a MultiCluster that is dropped by force leaves in the cluster and in its group.
fn left_behind(member: &DynamicObject) -> String {
    let objects: Vec<PayloadObject> = member
        .data
        .pointer("/status/payload/objects")
        .and_then(|objects| objects.as_array())
        .into_iter()
        .flatten()
        .filter_map(|object| serde_json::from_value(object.clone()).ok())
        .collect();
    let objects: BTreeSet<_> = objects
        .iter()
        .filter(|object| object.owned)
        .map(|object| match object.namespace.as_str() {
            "" => format!("{} {}", object.kind, object.name),
            namespace => format!("{} {namespace}/{}", object.kind, object.name),
        })
        .collect();
    let payload = if objects.is_empty() {
        "its status lists no objects of its payload here".to_owned()
    } else {
        format!("stays behind and runs on: {}", list(&objects))
    };
    format!(
        "dropped MultiCluster {}: {payload}; the other members of its group still count it",
        full_name(member)
    )
}

fn full_name(member: &DynamicObject) -> String {
    format!("{}/{}", member.namespace().unwrap_or_default(), member.name_any())
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

/// Names, in order, cut off where they would no longer be read.
fn list(names: &BTreeSet<String>) -> String {
    const SHOWN: usize = 20;
    let mut text = names
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

fn stuck(object: &str) -> Error {
    Error::DeletionStuck {
        object: object.to_owned(),
        seconds: OBJECT_TIMEOUT.as_secs(),
    }
}

fn request(action: &str, source: kube::Error) -> Error {
    Error::Request {
        action: action.to_owned(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests;
