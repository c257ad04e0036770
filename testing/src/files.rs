//! Files that only their owner may read, written whole or not at all.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Creates a folder and its parents; only the owner may enter the ones that are new.
pub(crate) fn create_private_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(Error::file("create the folder", path))
}

/// Writes a file aside and renames it into place: whoever reads it sees the old content or the new, never half.
pub(crate) fn write_private(path: &Path, content: &str) -> Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}.new", std::process::id()));
    let aside = PathBuf::from(aside);
    let write = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)?;
        file.write_all(content.as_bytes())?;
        fs::rename(&aside, path)
    };
    write().map_err(Error::file("write", path))
}

/// The last lines of a log, for an error message; what cannot be read is said instead.
pub(crate) fn tail(path: &Path) -> String {
    // Enough to see the reason under a Go stack trace's first frames, and bounded on a terminal.
    const LINES: usize = 12;
    match fs::read_to_string(path) {
        Ok(text) => {
            let lines: Vec<_> = text.lines().collect();
            lines[lines.len().saturating_sub(LINES)..].join("\n")
        }
        Err(error) => format!("(cannot be read: {error})"),
    }
}
