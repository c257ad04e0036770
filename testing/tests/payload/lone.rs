//! A MultiCluster that leads alone, in a namespace of its own, as the API server shows it.
#![allow(
    dead_code,
    reason = "several test programs use this file, and not every one uses all of it"
)]

use flagship::api::{MultiCluster, MultiClusterStatus, ObjectState};
use flagship_testing::{Error, Manifest, PATIENCE, Result, Site};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt};

pub(crate) struct Lone<'a> {
    pub(crate) site: &'a Site,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) manifest: Manifest,
}

impl<'a> Lone<'a> {
    /// Applies a MultiCluster that founds a group of its own in this namespace, which is also its callsign.
    pub(crate) async fn launch(site: &'a Site, namespace: &str, payload: &str) -> Result<Lone<'a>> {
        let manifest = site.manifest(namespace, 5).ready();
        let lone = Lone {
            site,
            name: site.name().to_owned(),
            namespace: namespace.to_owned(),
            manifest,
        };
        lone.edit(payload).await?;
        Ok(lone)
    }

    /// Applies a MultiCluster of any name and spec.
    pub(crate) async fn of_yaml(site: &'a Site, namespace: &str, name: &str, yaml: &str) -> Result<Lone<'a>> {
        let lone = Lone {
            site,
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            manifest: site.manifest(namespace, 5),
        };
        lone.write_yaml(yaml).await?;
        Ok(lone)
    }

    /// Gives it another payload.
    pub(crate) async fn edit(&self, payload: &str) -> Result<()> {
        self.write(&self.manifest.clone().payload(payload)).await
    }

    /// Applies another manifest for it.
    pub(crate) async fn write(&self, manifest: &Manifest) -> Result<()> {
        self.write_yaml(&manifest.yaml()).await
    }

    pub(crate) async fn write_yaml(&self, yaml: &str) -> Result<()> {
        self.site.apply_in(&self.namespace, yaml).await
    }

    /// Waits until it says of its newest spec that the payload is in place.
    pub(crate) async fn until_applied(&self) -> Result<()> {
        self.until_condition("PayloadApplied", "True", "Applied")
            .await
            .map(drop)
    }

    /// Waits until it says this of its newest spec, and returns the message.
    pub(crate) async fn until_condition(&self, kind: &str, status: &str, reason: &str) -> Result<String> {
        let mut message = String::new();
        let what = format!("{kind}={status} ({reason}) in {}", self.namespace);
        self.until(&what, async |_| {
            let object = self.object().await?;
            let said = condition(&object, kind);
            let holds = said.is_some_and(|c| {
                c.status == status
                    && c.reason == reason
                    && c.observed_generation == object.metadata.generation
            });
            message = said.map(|c| c.message.clone()).unwrap_or_default();
            match holds {
                true => Ok::<_, Refused>(true),
                false => Err(Refused::Not(format!(
                    "{said:?} of {:?}",
                    object.metadata.generation
                ))),
            }
        })
        .await?;
        Ok(message)
    }

    /// Waits until a condition's message contains this text, and returns it.
    pub(crate) async fn until_told(&self, kind: &str, text: &str) -> Result<String> {
        let mut message = String::new();
        let what = format!("{kind} tells {text:?} in {}", self.namespace);
        self.until(&what, async |_| {
            let object = self.object().await?;
            message = condition(&object, kind)
                .map(|said| said.message.clone())
                .unwrap_or_default();
            match message.contains(text) {
                true => Ok::<_, Refused>(true),
                false => Err(Refused::Not(message.clone())),
            }
        })
        .await?;
        Ok(message)
    }

    /// Waits until status.payload shows an object in this state, and returns its message.
    pub(crate) async fn until_state(&self, kind: &str, name: &str, state: ObjectState) -> Result<String> {
        let mut message = String::new();
        let what = format!("{kind} {name} is {state:?} in the status of {}", self.namespace);
        self.until(&what, async |_| {
            let objects = self.status().await?.payload.unwrap_or_default().objects;
            let found = objects
                .iter()
                .find(|object| object.kind == kind && object.name == name);
            message = found.map(|object| object.message.clone()).unwrap_or_default();
            match found.is_some_and(|object| object.state == state) {
                true => Ok::<_, Refused>(true),
                false => Err(Refused::Not(format!("{found:?}"))),
            }
        })
        .await?;
        Ok(message)
    }

    /// Waits for an Event about it with this reason whose note contains this text.
    pub(crate) async fn until_event(&self, reason: &str, text: &str) -> Result<()> {
        self.site.wait_for_event(&self.namespace, reason, text).await
    }

    /// Waits until there is no such object.
    pub(crate) async fn until_gone(&self, api_version: &str, kind: &str, name: &str) -> Result<()> {
        self.until(&format!("{kind} {name} is gone"), async |_| {
            Ok::<_, Refused>(self.get(api_version, kind, name).await?.is_none())
        })
        .await
    }

    /// Deletes it, and waits until it has left.
    pub(crate) async fn delete(&self) -> Result<()> {
        let members: Api<MultiCluster> = Api::namespaced(self.site.client()?, &self.namespace);
        members
            .delete(&self.name, &DeleteParams::default())
            .await
            .map_err(|error| self.failed("delete the MultiCluster", &error))?;
        self.until("the MultiCluster is gone", async |_| {
            Ok::<_, Refused>(members.get_opt(&self.name).await?.is_none())
        })
        .await
    }

    /// It, as it is.
    pub(crate) async fn object(&self) -> kube::Result<MultiCluster> {
        self.members()?.get(&self.name).await
    }

    pub(crate) fn members(&self) -> kube::Result<Api<MultiCluster>> {
        let client = self.site.client().map_err(|e| kube::Error::Service(e.into()))?;
        Ok(Api::namespaced(client, &self.namespace))
    }

    pub(crate) async fn status(&self) -> kube::Result<MultiClusterStatus> {
        Ok(self.object().await?.status.unwrap_or_default())
    }

    /// An object of its namespace or, if its kind has none, of the cluster.
    pub(crate) async fn get(
        &self,
        api_version: &str,
        kind: &str,
        name: &str,
    ) -> kube::Result<Option<DynamicObject>> {
        let client = self.site.client().map_err(|e| kube::Error::Service(e.into()))?;
        api(client, api_version, kind, &self.namespace)
            .get_opt(name)
            .await
    }

    /// A field of an object of its namespace as text; none if there is no such object or field.
    pub(crate) async fn field(
        &self,
        api_version: &str,
        kind: &str,
        name: &str,
        path: &str,
    ) -> kube::Result<Option<String>> {
        let object = self.get(api_version, kind, name).await?;
        Ok(object.and_then(|object| {
            let value = serde_json::to_value(object).ok()?;
            value.pointer(path).map(|found| match found.as_str() {
                Some(text) => text.to_owned(),
                None => found.to_string(),
            })
        }))
    }

    /// Waits until a field of a ConfigMap's data has this value.
    pub(crate) async fn until_data(&self, config_map: &str, field: &str, value: Option<&str>) -> Result<()> {
        let what = format!(
            "ConfigMap {config_map} has {field}={value:?} in {}",
            self.namespace
        );
        self.until(&what, async |_| {
            let found = self
                .field("v1", "ConfigMap", config_map, &format!("/data/{field}"))
                .await?;
            match found.as_deref() == value {
                true => Ok::<_, Refused>(true),
                false => Err(Refused::Not(format!("{found:?}"))),
            }
        })
        .await
    }

    /// Waits with the site's patience.
    pub(crate) async fn until<E: std::fmt::Display>(
        &self,
        what: &str,
        holds: impl AsyncFnMut(Client) -> std::result::Result<bool, E>,
    ) -> Result<()> {
        self.site.wait_until(what, PATIENCE, holds).await
    }

    /// A metric of it, as the controller serves it.
    pub(crate) async fn metric(&self, name: &str) -> Result<Option<f64>> {
        let page = self.site.controller.get("/metrics").await?;
        let labels = format!("{{namespace=\"{}\",name=\"{}\"}}", self.namespace, self.name);
        let value = |line: &str| {
            line.strip_prefix(name)?
                .strip_prefix(&labels)?
                .trim()
                .parse()
                .ok()
        };
        Ok(page.lines().find_map(value))
    }

    fn failed(&self, what: &str, error: &dyn std::fmt::Display) -> Error {
        Error::Wait {
            what: what.to_owned(),
            on: self.site.name().to_owned(),
            within: PATIENCE,
            last: error.to_string(),
        }
    }
}

/// Why something does not hold yet, for the message of a test that fails.
#[derive(Debug)]
pub(crate) enum Refused {
    Api(kube::Error),
    Not(String),
}

impl From<kube::Error> for Refused {
    fn from(error: kube::Error) -> Self {
        Self::Api(error)
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Api(error) => error.fmt(f),
            Self::Not(found) => write!(f, "found {found}"),
        }
    }
}

/// The kind and its plural, as English makes it.
pub(crate) fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// Where objects of a kind are served: for this namespace, unless the kind has none.
pub(crate) fn api(client: Client, api_version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let resource = resource(api_version, kind);
    match kind {
        "Namespace" | "CustomResourceDefinition" | "PersistentVolume" | "PriorityClass" => {
            Api::all_with(client, &resource)
        }
        _ => Api::namespaced_with(client, namespace, &resource),
    }
}

pub(crate) fn condition<'a>(object: &'a MultiCluster, kind: &str) -> Option<&'a Condition> {
    let conditions = &object.status.as_ref()?.conditions;
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// The manifest of a ConfigMap with one entry.
pub(crate) fn config_map(name: &str, field: &str, value: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{{field}: {value:?}}}\n"
    )
}

/// The names of the objects of a kind that bear a payload's label, in all namespaces.
pub(crate) async fn labelled(
    client: Client,
    api_version: &str,
    kind: &str,
    label: &str,
) -> kube::Result<Vec<String>> {
    let all: Api<DynamicObject> = Api::all_with(client, &resource(api_version, kind));
    let selector = format!("{}={label}", flagship::payload::PAYLOAD_LABEL);
    let mut names: Vec<_> = all
        .list(&ListParams::default().labels(&selector))
        .await?
        .items
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    names.sort();
    Ok(names)
}
