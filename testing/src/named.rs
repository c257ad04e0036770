//! Local clusters with names, which go on running after the command that made them has ended.

use std::env;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, ClusterOptions, start_clusters};
use crate::controller::Controller;
use crate::error::{Error, Result};
use crate::files;
use crate::kubeconfig;
use crate::process_list::ProcessList;
use crate::service_address::loopback_for;

/// The folder with all named clusters of a user.
#[derive(Debug, Clone)]
pub struct NamedClusters {
    folder: PathBuf,
}

/// A named cluster, ready for MultiClusters.
#[derive(Debug)]
pub struct NamedCluster {
    /// The cluster, with nodes played by kwok.
    pub cluster: Cluster,
    /// Its running controller.
    pub controller: Controller,
}

/// What is remembered of a named cluster, beside its processes.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    ip: IpAddr,
    context: String,
    /// The user's files that it was merged into.
    #[serde(default)]
    merged_into: Vec<PathBuf>,
}

impl NamedClusters {
    /// Those of this user, in `${XDG_STATE_HOME:-~/.local/state}/flagship/clusters`.
    ///
    /// # Errors
    /// If neither that variable nor `HOME` is set.
    pub fn of_user() -> Result<Self> {
        Self::in_state("flagship/clusters")
    }

    /// Those that a demo left running for this user, beside the others: removing them touches nobody else's.
    ///
    /// # Errors
    /// As [`Self::of_user`].
    pub fn of_demo() -> Result<Self> {
        Self::in_state("flagship/demo")
    }

    fn in_state(folder: &str) -> Result<Self> {
        let set = |name| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let state = set("XDG_STATE_HOME")
            .or_else(|| set("HOME").map(|home| home.join(".local/state")))
            .ok_or_else(|| {
                Error::file("find", "$HOME")(io::Error::other("neither XDG_STATE_HOME nor HOME is set"))
            })?;
        Ok(Self::in_folder(state.join(folder)))
    }

    /// Those in a folder.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// Where the cluster of that name keeps everything.
    pub fn folder_of(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Creates a cluster that goes on running, with Flagship installed, its controller running, and a LoadBalancer
    /// Service `multi-cluster` with [`loopback_for`] the service address. Fails whole: what was started is ended.
    ///
    /// # Errors
    /// If there is a cluster of that name or address, or it cannot be started.
    pub async fn create(&self, name: &str, service_address: Ipv4Addr) -> Result<NamedCluster> {
        check_name(name)?;
        let ip = loopback_for(service_address);
        let folder = self.claim(name)?;
        let created = async {
            let cluster = self.start(name, ip, &folder).await?;
            let controller = cluster.start_controller().await?;
            cluster.publish_address().await?;
            Ok(NamedCluster { cluster, controller })
        }
        .await;
        match created {
            Ok(created) => Ok(created),
            Err(error) => {
                self.remove(name)?;
                // Its log goes with the rest.
                Err(match error {
                    Error::Ended {
                        process,
                        status,
                        tail,
                        ..
                    } => Error::Create {
                        name: name.to_owned(),
                        reason: format!("{process} ended with {status}; it said last:\n{tail}"),
                    },
                    other => other,
                })
            }
        }
    }

    async fn start(&self, name: &str, ip: Ipv4Addr, folder: &Path) -> Result<Cluster> {
        self.check_address(name, ip.into())?;
        let options = ClusterOptions::new(name).with_pods().on(ip).in_background(folder);
        let [cluster] = start_clusters([options]).await?;
        let description = Description {
            ip: ip.into(),
            context: cluster.context(),
            merged_into: Vec::new(),
        };
        description.write(folder)?;
        Ok(cluster)
    }

    /// Adds a cluster's context to a user's kubeconfig, and remembers it for the removal.
    ///
    /// # Errors
    /// If the file cannot be changed.
    pub fn merge_into(&self, name: &str, kubeconfig: &Path) -> Result<()> {
        let folder = self.folder_of(name);
        let own = folder.join("kubeconfig");
        let wrong = |reason: String| Error::Kubeconfig {
            path: own.clone(),
            reason,
        };
        let text = fs::read_to_string(&own).map_err(Error::file("read", &own))?;
        let config = serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let target = std::path::absolute(kubeconfig).map_err(Error::file("make absolute", kubeconfig))?;
        kubeconfig::merge_into_file(&target, &config)?;
        if let Some(mut description) = Description::read(&folder)?
            && !description.merged_into.contains(&target)
        {
            description.merged_into.push(target);
            description.write(&folder)?;
        }
        Ok(())
    }

    /// Ends a cluster's processes, and removes its files and its contexts; tells whether there was one. Only processes
    /// that were recorded, and that still are the same ones, are ended.
    ///
    /// # Errors
    /// If a process cannot be ended or a file not removed; what is left can be removed by another call.
    pub fn remove(&self, name: &str) -> Result<bool> {
        check_name(name)?;
        let folder = self.folder_of(name);
        if !folder.exists() {
            return Ok(false);
        }
        if let Some(processes) = ProcessList::read(&folder)? {
            processes.kill()?;
        }
        if let Some(description) = Description::read(&folder)? {
            for file in description.merged_into.iter().filter(|file| file.exists()) {
                kubeconfig::remove_from_file(file, &description.context)?;
            }
        }
        fs::remove_dir_all(&folder).map_err(Error::file("remove", &folder))?;
        Ok(true)
    }

    /// Takes a name: of two who try at once, one gets it.
    fn claim(&self, name: &str) -> Result<PathBuf> {
        files::create_private_folder(&self.folder)?;
        let folder = self.folder_of(name);
        match fs::create_dir(&folder) {
            Ok(()) => Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::Create {
                name: name.to_owned(),
                reason: "there is one already; remove it by --force-clean first".into(),
            }),
            Err(error) => Err(Error::file("create the folder", folder)(error)),
        }
    }

    /// Two clusters on one address would take each other for themselves.
    fn check_address(&self, name: &str, ip: IpAddr) -> Result<()> {
        let folders = fs::read_dir(&self.folder).map_err(Error::file("read", &self.folder))?;
        for folder in folders {
            let folder = folder.map_err(Error::file("read", &self.folder))?.path();
            if let Some(other) = Description::read(&folder)?
                && other.ip == ip
            {
                let reason = format!(
                    "{} has the address {ip}; choose another --service-address, whose last three numbers differ",
                    other.context
                );
                return Err(Error::Create {
                    name: name.to_owned(),
                    reason,
                });
            }
        }
        Ok(())
    }
}

/// A name becomes a folder's, a context's and a container's: what Kubernetes allows for a label is good for all.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match !name.is_empty() && name.len() <= 40 && name.bytes().all(allowed) && !name.starts_with('-') {
        true => Ok(()),
        false => Err(Error::Create {
            name: name.to_owned(),
            reason: "a name has 1 to 40 lowercase letters, digits and dashes, and does not begin with a dash"
                .into(),
        }),
    }
}

impl Description {
    fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join("cluster.json");
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::file("write", &path)(io::Error::other(error)))?;
        files::write_private(&path, &text)
    }

    fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join("cluster.json");
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| Error::file("read", path)(io::Error::other(error))),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(Error::file("read", path)(error)),
        }
    }
}

#[cfg(test)]
#[path = "named_tests.rs"]
mod tests;
