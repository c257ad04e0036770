//! The folder of this process' clusters, gone with the process unless a test failed.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::binaries::say;
use crate::error::{Error, Result};
use crate::files;

static FOLDER: OnceLock<RunFolder> = OnceLock::new();
static CREATION: Mutex<()> = Mutex::new(());

/// Waits for the end of the process that started it, which closes the pipe, and then removes its folder. Told "keep", it
/// removes only etcd's data, which is large and explains nothing.
///
/// The dying children may still write for a moment: hence the second tries.
const CARETAKER: &str = r#"
trap '' HUP INT TERM
failed=
while read -r word; do failed=$word; done
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
  if [ -n "$failed" ]; then rm -rf "$0"/*/etcd && exit; else rm -rf "$0" && exit; fi
  sleep 0.1
done
"#;

/// A temporary folder that goes with the process, however that ends: by returning, a panic, Ctrl-C or SIGKILL.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    caretaker: Mutex<ChildStdin>,
    failed: AtomicBool,
    clusters: AtomicU64,
}

impl RunFolder {
    /// The one of this process, created when it is first asked for.
    pub(crate) fn get() -> Result<&'static Self> {
        let _one_at_a_time = CREATION.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = FOLDER.get() {
            return Ok(folder);
        }
        let folder = Self::create()?;
        let earlier_hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            earlier_hook(info);
            keep_logs();
        }));
        Ok(FOLDER.get_or_init(|| folder))
    }

    fn create() -> Result<Self> {
        let name = format!("flagship-{}-{:08x}", std::process::id(), rand::random::<u32>());
        let path = std::env::temp_dir().join(name);
        files::create_private_folder(&path)?;
        let failed = |source| Error::Start {
            program: "sh".into(),
            source,
        };
        let mut caretaker = Command::new("sh")
            .args(["-c", CARETAKER])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let stdin = caretaker
            .stdin
            .take()
            .ok_or_else(|| failed(std::io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self {
            path,
            caretaker: Mutex::new(stdin),
            failed: AtomicBool::new(false),
            clusters: AtomicU64::new(0),
        })
    }

    /// A new folder for a cluster of that name; names may repeat.
    pub(crate) fn cluster_folder(&self, name: &str) -> Result<PathBuf> {
        let number = self.clusters.fetch_add(1, Ordering::Relaxed);
        let path = self.path.join(format!("{name}-{number}"));
        files::create_private_folder(&path)?;
        Ok(path)
    }

    fn keep(&self) {
        if self.failed.swap(true, Ordering::Relaxed) {
            return;
        }
        // Without the caretaker nobody removes the folder either.
        self.caretaker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(b"keep\n")
            .ok();
        say(&format!(
            "the logs of the clusters are kept in {}",
            self.path.display()
        ));
    }
}

/// Says where the logs are, and keeps them beyond the end of this process. A panic does this by itself.
pub fn keep_logs() {
    if let Some(folder) = FOLDER.get() {
        folder.keep();
    }
}

/// Removes the folder of a cluster that is gone, unless a test of this process has failed.
pub(crate) fn discard(path: &Path) {
    if FOLDER
        .get()
        .is_some_and(|folder| folder.failed.load(Ordering::Relaxed))
    {
        return;
    }
    // What cannot be removed now goes with the whole folder.
    fs::remove_dir_all(path).ok();
}

/// Why a test failed: any error, shown with its causes. As the error of a test's `Result` it also keeps the logs, which
/// an `Err` that a test returns would not do, as the clusters are dropped before anybody sees it.
pub struct Failure(Box<dyn std::error::Error>);

impl<E: Into<Box<dyn std::error::Error>>> From<E> for Failure {
    fn from(error: E) -> Self {
        keep_logs();
        Self(error.into())
    }
}

impl std::fmt::Debug for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, "\n  caused by: {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// What a test returns that uses clusters.
pub type TestResult = Result<(), Failure>;
