//! The processes of a cluster that runs in the background, written down so that another process can end them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files;
use crate::process::{Process, ProcessId};

/// Which processes there are, and during which run of the machine they were started: afterwards their numbers and
/// start times can be anyone's.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessList {
    boot_id: String,
    processes: Vec<Entry>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    role: String,
    #[serde(flatten)]
    id: ProcessId,
}

impl ProcessList {
    pub(crate) fn of(processes: &[Arc<Process>]) -> Result<Self> {
        let mut entries = Vec::with_capacity(processes.len());
        for process in processes {
            if let Some(id) = process.id()? {
                entries.push(Entry {
                    role: process.role().to_owned(),
                    id,
                });
            }
        }
        Ok(Self {
            boot_id: boot_id()?,
            processes: entries,
        })
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let path = Self::file(folder);
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::file("write", &path)(io::Error::other(error)))?;
        files::write_private(&path, &text)
    }

    /// What was written into the folder, or nothing if nothing was.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = Self::file(folder);
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| Error::file("read", path)(io::Error::other(error))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("read", path)(error)),
        }
    }

    /// Kills those that still are the ones that were written down, and waits until they are gone. Blocks.
    pub(crate) fn kill(&self) -> Result<()> {
        if self.boot_id != boot_id()? {
            return Ok(());
        }
        self.processes
            .iter()
            .try_for_each(|entry| entry.id.kill(&entry.role))
    }

    fn file(folder: &Path) -> PathBuf {
        folder.join("processes.json")
    }
}

/// Differs from one run of the machine to the next.
fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(Error::file("read", path))
}
