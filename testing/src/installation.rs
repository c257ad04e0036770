//! What `manifests/install.yaml` installs, without its Deployment: here the controller is a process, not a container.

use std::fs;
use std::path::{Path, PathBuf};

use kube::core::DynamicObject;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::manifest;

/// The controller's LoadBalancer Service, whose address the other clusters dial.
pub(crate) const SERVICE: &str = "multi-cluster";

/// The install manifest, taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    /// Everything but the Deployment: CRDs, namespace, RBAC, Service.
    pub(crate) objects: Vec<DynamicObject>,
    /// The controller's namespace.
    pub(crate) namespace: String,
    /// The ServiceAccount that the controller runs as.
    pub(crate) service_account: String,
    /// The image that the Deployment runs.
    pub(crate) image: String,
    /// A Pod as the Deployment makes them, without a name.
    pub(crate) pod: Value,
}

impl Installation {
    /// The manifest that the project ships.
    pub(crate) fn shipped_manifest() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/install.yaml")
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let yaml = fs::read_to_string(path).map_err(Error::file("read", path))?;
        Self::parse(&path.display().to_string(), &yaml)
    }

    fn parse(name: &str, yaml: &str) -> Result<Self> {
        let wrong = |reason: &str| Error::Manifest {
            name: name.to_owned(),
            reason: reason.to_owned(),
        };
        let (mut deployments, objects): (Vec<_>, Vec<_>) =
            manifest::parse(name, yaml)?.into_iter().partition(|object| {
                object
                    .types
                    .as_ref()
                    .is_some_and(|types| types.kind == "Deployment")
            });
        let (Some(deployment), true) = (deployments.pop(), deployments.is_empty()) else {
            return Err(wrong("it must have exactly one Deployment, the controller's"));
        };
        let pod = &deployment.data["spec"]["template"]["spec"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(Self {
            objects,
            namespace: deployment
                .metadata
                .namespace
                .ok_or_else(|| wrong("its Deployment has no namespace"))?,
            service_account: text(&pod["serviceAccountName"])
                .ok_or_else(|| wrong("its Deployment names no ServiceAccount"))?,
            image: text(&pod["containers"][0]["image"])
                .ok_or_else(|| wrong("its Deployment has no image"))?,
            pod: deployment.data["spec"]["template"].clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a test fails by panicking"
    )]

    use super::*;

    const MANIFEST: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: captain, namespace: bridge}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: controller, namespace: bridge}
spec: {template: {spec: {serviceAccountName: captain, containers: [{image: 'flagship:1'}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: multi-cluster, namespace: bridge}
";

    #[test]
    fn the_deployment_says_as_whom_the_controller_runs_and_is_left_out() {
        let installation = Installation::parse("install.yaml", MANIFEST).unwrap();
        assert_eq!(installation.namespace, "bridge");
        assert_eq!(installation.service_account, "captain");
        assert_eq!(installation.image, "flagship:1");
        let objects: Vec<_> = installation.objects.iter().map(manifest::describe).collect();
        assert_eq!(
            objects,
            ["ServiceAccount bridge/captain", "Service bridge/multi-cluster"]
        );
    }

    #[test]
    fn a_manifest_without_a_deployment_is_refused() {
        let error = Installation::parse("install.yaml", "").unwrap_err().to_string();
        assert!(error.contains("exactly one Deployment"), "{error}");
    }
}
