//! The witness's memory: one file, which is on disk before anything is said that rests on it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::election::{Durable, MemberId};

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Something could not be done with the file or its folder.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Another process has it.
    #[error("{} is in use by another witness: give each its own file by --state", path.display())]
    InUse {
        /// The lock's file.
        path: PathBuf,
    },
    /// It cannot be written as JSON.
    #[error("cannot encode the memory: {0}")]
    Encode(#[source] serde_json::Error),
}

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The witness's identity, drawn when the file was made.
    pub(super) id: MemberId,
    pub(super) durable: Durable,
}

/// The file, held by this process alone.
#[derive(Debug)]
pub(super) struct MemoryFile {
    path: PathBuf,
    folder: PathBuf,
    _lock: File,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Recalled {
    /// No file: the witness never ran here, or somebody removed it.
    Nothing,
    /// What it remembers.
    Record(Box<Record>),
    /// A file that is damaged; it is kept under this name, for people.
    Damaged(PathBuf),
}

impl MemoryFile {
    /// Takes the file for this process, and reads it.
    pub(super) fn open(path: &Path) -> Result<(MemoryFile, Recalled), MemoryError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| MemoryError::File { action, path, source }
        };
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        fs::create_dir_all(&folder).map_err(failed("make the folder", &folder))?;
        let lock_path = beside(path, "lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(failed("open", &lock_path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => MemoryError::InUse {
                path: lock_path.clone(),
            },
            TryLockError::Error(source) => failed("lock", &lock_path)(source),
        })?;
        let file = MemoryFile {
            path: path.to_owned(),
            folder,
            _lock: lock,
        };
        let recalled = match fs::read(path) {
            Ok(bytes) => match decode(&bytes) {
                Some(record) => Recalled::Record(Box::new(record)),
                None => {
                    let aside = beside(path, "damaged");
                    fs::rename(path, &aside).map_err(failed("put aside", path))?;
                    Recalled::Damaged(aside)
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Recalled::Nothing,
            // What cannot be read now may be read later, and must not be forgotten.
            Err(error) => return Err(failed("read", path)(error)),
        };
        Ok((file, recalled))
    }

    /// Makes the record durable: written aside, synced, renamed, and the folder synced.
    pub(super) fn write(&self, record: &Record) -> Result<(), MemoryError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| MemoryError::File { action, path, source }
        };
        let new = beside(&self.path, "new");
        let bytes = encode(record).map_err(MemoryError::Encode)?;
        let mut file = File::create(&new).map_err(failed("create", &new))?;
        file.write_all(&bytes).map_err(failed("write", &new))?;
        file.sync_all().map_err(failed("sync", &new))?;
        fs::rename(&new, &self.path).map_err(failed("replace", &self.path))?;
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed("sync the folder", &self.folder))
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// A line with the digest of what follows, and the record.
fn encode(record: &Record) -> Result<Vec<u8>, serde_json::Error> {
    let body = serde_json::to_vec(record)?;
    let mut bytes = digest(&body).into_bytes();
    bytes.push(b'\n');
    bytes.extend(body);
    bytes.push(b'\n');
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Option<Record> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (sum, body) = text.split_once('\n')?;
    let body = body.strip_suffix('\n')?;
    if sum != digest(body.as_bytes()) {
        return None;
    }
    serde_json::from_str(body).ok()
}

fn digest(body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::election::MemoryId;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn folder() -> Folder {
        let path = std::env::temp_dir().join(format!("flagship-witness-{:016x}", rand::random::<u64>()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn record(term: u64) -> Record {
        Record {
            id: MemberId(7),
            durable: Durable {
                term,
                vote: Some(MemberId(1)),
                ..Durable::new(MemoryId(8))
            },
        }
    }

    #[test]
    fn what_was_written_last_is_recalled() {
        let folder = folder();
        let path = folder.0.join("deep/witness");
        let (file, recalled) = MemoryFile::open(&path).unwrap();
        assert_eq!(recalled, Recalled::Nothing);
        file.write(&record(1)).unwrap();
        file.write(&record(2)).unwrap();
        drop(file);
        let (_, recalled) = MemoryFile::open(&path).unwrap();
        assert_eq!(recalled, Recalled::Record(Box::new(record(2))));
    }

    #[test]
    fn one_file_serves_one_witness() {
        let folder = folder();
        let path = folder.0.join("witness");
        let held = MemoryFile::open(&path).unwrap();
        assert!(matches!(MemoryFile::open(&path), Err(MemoryError::InUse { .. })));
        drop(held);
        assert!(MemoryFile::open(&path).is_ok());
    }

    #[test]
    fn a_damaged_file_is_put_aside_and_believed_in_nothing() {
        let folder = folder();
        let path = folder.0.join("witness");
        let (file, _) = MemoryFile::open(&path).unwrap();
        file.write(&record(3)).unwrap();
        drop(file);
        let whole = fs::read(&path).unwrap();
        let damages: [Vec<u8>; 4] = [
            whole[..whole.len() - 1].to_vec(),
            whole
                .iter()
                .map(|byte| if *byte == b'3' { b'4' } else { *byte })
                .collect(),
            Vec::new(),
            vec![0xff; 100],
        ];
        for damaged in damages {
            fs::write(&path, &damaged).unwrap();
            let (_, recalled) = MemoryFile::open(&path).unwrap();
            let aside = folder.0.join("witness.damaged");
            assert_eq!(recalled, Recalled::Damaged(aside.clone()));
            assert_eq!(fs::read(&aside).unwrap(), damaged);
            assert!(!path.exists());
        }
    }
}
