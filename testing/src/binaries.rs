//! Where the control planes' programs come from: `KUBEBUILDER_ASSETS`, or a build from pinned Go modules.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::process::{dying_with_parent, spawn_from_lasting_thread};

/// A program of the control plane or beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Etcd,
    ApiServer,
    ControllerManager,
    Scheduler,
    Kwok,
}

impl Program {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kwok => "kwok",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::ApiServer => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::ControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::Scheduler => "k8s.io/kubernetes/cmd/kube-scheduler",
            Self::Kwok => "sigs.k8s.io/kwok/cmd/kwok",
        }
    }

    /// What `go build` calls it: the last part of its package's path that is not a version.
    fn built_name(self) -> &'static str {
        match self {
            Self::Etcd => "server",
            other => other.name(),
        }
    }

    /// The folder with the `go.mod` that pins it.
    fn module(self) -> PathBuf {
        let controlplane = Path::new(env!("CARGO_MANIFEST_DIR")).join("controlplane");
        match self {
            Self::Kwok => controlplane.join("kwok"),
            _ => controlplane,
        }
    }
}

/// Finds the programs, and builds those that are missing; the first build of all takes about ten minutes and 3 GB of
/// Go's cache. Blocks.
pub(crate) fn find_or_build(programs: &[Program]) -> Result<Vec<PathBuf>> {
    if let Some(folder) = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from) {
        return programs
            .iter()
            .map(|program| find_asset(&folder, *program))
            .collect();
    }
    let mut folders = Vec::new();
    for program in programs {
        let module = program.module();
        let folder = target_folder().join("controlplane").join(module_digest(&module)?);
        folders.push((module, folder));
    }
    let mut missing: Vec<(&PathBuf, &PathBuf, Vec<Program>)> = Vec::new();
    for (program, (module, folder)) in programs.iter().zip(&folders) {
        if folder.join(program.name()).exists() {
            continue;
        }
        match missing.iter_mut().find(|(other, ..)| *other == module) {
            Some((.., group)) => group.push(*program),
            None => missing.push((module, folder, vec![*program])),
        }
    }
    for (module, folder, group) in missing {
        build(module, folder, &group)?;
    }
    Ok(programs
        .iter()
        .zip(&folders)
        .map(|(program, (_, folder))| folder.join(program.name()))
        .collect())
}

fn find_asset(folder: &Path, program: Program) -> Result<PathBuf> {
    let path = folder.join(program.name());
    match path.exists() {
        true => Ok(path),
        false => Err(Error::FindAsset {
            program: program.name(),
            folder: folder.to_owned(),
        }),
    }
}

/// Cargo's target folder, where everything that is built here goes.
pub fn target_folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target"),
        PathBuf::from,
    )
}

fn module_digest(module: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    for name in ["go.mod", "go.sum"] {
        let path = module.join(name);
        hash.update(fs::read(&path).map_err(Error::file("read", &path))?);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Builds `programs` of one module aside and moves each into `folder`, so that what stands there is whole.
fn build(module: &Path, folder: &Path, programs: &[Program]) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::file("create the folder", folder))?;
    let lock_path = folder.join("lock");
    let lock = File::create(&lock_path).map_err(Error::file("create", &lock_path))?;
    if lock.try_lock().is_err() {
        say(&format!("waiting for another build in {}", folder.display()));
        lock.lock().map_err(Error::file("lock", &lock_path))?;
    }
    let missing: Vec<_> = programs
        .iter()
        .filter(|program| !folder.join(program.name()).exists())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    check_go(module)?;
    let what = missing
        .iter()
        .map(|program| program.name())
        .collect::<Vec<_>>()
        .join(", ");
    // Only the holder of the lock builds: what an interrupted build left under this name is replaced.
    let aside = folder.join("building");
    // An orphan would go on to write where the next one builds.
    let mut command = dying_with_parent("go".as_ref());
    command
        .current_dir(module)
        .args([
            "build",
            "-v",
            "-trimpath",
            "-ldflags",
            &linker_flags(module)?,
            "-o",
        ])
        .arg(format!("{}/", absolute(&aside)?.display()))
        .args(missing.iter().map(|program| program.package()));
    run_build(command, &what)?;
    for program in missing {
        let built = aside.join(program.built_name());
        fs::rename(&built, folder.join(program.name())).map_err(Error::file("move into place", built))?;
    }
    fs::remove_dir_all(&aside).map_err(Error::file("remove", aside))
}

/// The `flagship` program: `FLAGSHIP_BIN`, or cargo builds it in the profile of this harness. Blocks.
pub(crate) fn find_or_build_flagship() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    if let Some(path) = env::var_os("FLAGSHIP_BIN") {
        return Ok(path.into());
    }
    // Whoever comes while it is being built waits; a build that failed is tried again.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = &*built {
        return Ok(path.clone());
    }
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(["build", "--quiet", "--package", "flagship", "--bin", "flagship"])
        .arg("--message-format=json-render-diagnostics")
        .args((!cfg!(debug_assertions)).then_some("--release"))
        .stdin(Stdio::null());
    // What cargo tells the program that it runs is not for the cargo that this program runs: build scripts that go by it
    // would be run again, and all that depends on them built again, at every change between the two.
    for (name, _) in env::vars_os() {
        let told = name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
        if told {
            command.env_remove(name);
        }
    }
    let output = command.output().map_err(|source| Error::Start {
        program: "cargo".into(),
        source,
    })?;
    let messages = String::from_utf8_lossy(&output.stdout);
    match executable(&messages).filter(|_| output.status.success()) {
        Some(path) => Ok(built.insert(path).clone()),
        None => Err(Error::Build {
            what: "flagship".into(),
            status: output.status,
            output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        }),
    }
}

/// The program that cargo's messages say it built.
fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| {
            let path = message["executable"].as_str()?;
            (message["target"]["name"] == "flagship").then(|| path.into())
        })
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::file("make absolute", path))
}

/// Without a version from outside, Kubernetes' programs report v0.0.0, and clients refuse them.
fn linker_flags(module: &Path) -> Result<String> {
    let path = module.join("go.mod");
    let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    let mut flags = "-s -w".to_owned();
    if let Some(version) = required_version(&text, "k8s.io/kubernetes") {
        let mut numbers = version.trim_start_matches('v').split('.');
        let (major, minor) = (
            numbers.next().unwrap_or_default(),
            numbers.next().unwrap_or_default(),
        );
        for (name, value) in [("gitVersion", version), ("gitMajor", major), ("gitMinor", minor)] {
            flags.push_str(&format!(" -X k8s.io/component-base/version.{name}={value}"));
        }
    }
    Ok(flags)
}

/// The version that a go.mod requires of `module`.
fn required_version<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let mut words = line.trim().trim_start_matches("require ").split_whitespace();
        (words.next()? == module)
            .then(|| words.next())
            .flatten()
            .filter(|version| version.starts_with('v'))
    })
}

/// Fails early, and in words, where `go` is missing or too old. A newer Go may fetch the toolchain that a module asks
/// for by itself, so Go is asked inside the module which version it would use.
fn check_go(module: &Path) -> Result<()> {
    let path = module.join("go.mod");
    let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    let minimum = text
        .lines()
        .find_map(|line| line.strip_prefix("go "))
        .unwrap_or("1.26")
        .trim()
        .to_owned();
    let output = Command::new("go")
        .current_dir(module)
        .args(["env", "GOVERSION"])
        .output()
        .map_err(|source| Error::FindGo {
            minimum: minimum.clone(),
            source,
        })?;
    let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        let found = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::UseGo { minimum, found });
    }
    match go_version(&found) >= go_version(&minimum) {
        true => Ok(()),
        false => Err(Error::UseGo { minimum, found }),
    }
}

/// Major and minor of `go1.26.8` or `1.26.0`; what cannot be read counts as old.
fn go_version(text: &str) -> (u32, u32) {
    let mut numbers = text.trim_start_matches("go").split('.').map(|number| {
        let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    });
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Runs a build whose stderr names one package a line, shows how far it is, and keeps the last lines for the error.
fn run_build(mut command: Command, what: &str) -> Result<()> {
    const KEPT_LINES: usize = 30;
    let start_error = |source| Error::Start {
        program: "go".into(),
        source,
    };
    say(&format!(
        "building {what} with Go; only the first time takes minutes"
    ));
    let started = Instant::now();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = spawn_from_lasting_thread(command).map_err(start_error)?;
    let mut last_lines = std::collections::VecDeque::with_capacity(KEPT_LINES);
    if let Some(stderr) = child.stderr.take() {
        let mut progress = Progress::new();
        for line in BufReader::new(stderr).lines().map_while(io::Result::ok) {
            progress.show(&line, started.elapsed());
            if last_lines.len() == KEPT_LINES {
                last_lines.pop_front();
            }
            last_lines.push_back(line);
        }
        progress.end();
    }
    let status = child.wait().map_err(start_error)?;
    if !status.success() {
        let output = Vec::from(last_lines).join("\n");
        return Err(Error::Build {
            what: what.to_owned(),
            status,
            output,
        });
    }
    say(&format!(
        "built {what} in {:.0} s",
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// One line that changes on a terminal, a line every few seconds elsewhere.
struct Progress {
    terminal: bool,
    packages: usize,
    shown: Option<Duration>,
}

impl Progress {
    fn new() -> Self {
        Self {
            terminal: io::stderr().is_terminal(),
            packages: 0,
            shown: None,
        }
    }

    fn show(&mut self, line: &str, elapsed: Duration) {
        let downloading = line.starts_with("go: ");
        self.packages += usize::from(!downloading);
        let interval = if self.terminal {
            Duration::from_millis(200)
        } else {
            Duration::from_secs(15)
        };
        if self.shown.is_some_and(|shown| elapsed < shown + interval) {
            return;
        }
        self.shown = Some(elapsed);
        let seconds = elapsed.as_secs();
        let doing = if downloading {
            line
        } else {
            &format!("{} packages compiled, now {line}", self.packages)
        };
        match self.terminal {
            true => write_stderr(&format!("\r\x1b[K  {seconds} s: {doing:.100}")),
            false => write_stderr(&format!("  {seconds} s: {doing}\n")),
        }
    }

    fn end(&self) {
        if self.terminal {
            write_stderr("\r\x1b[K");
        }
    }
}

/// Tells a person what takes long.
pub(crate) fn say(message: &str) {
    write_stderr(&format!("{message}\n"));
}

/// Written past the test runner's capture, since a person waits; nobody can be told that stderr is closed.
fn write_stderr(text: &str) {
    io::stderr().write_all(text.as_bytes()).ok();
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

    #[test]
    fn go_versions_are_compared_as_numbers() {
        assert_eq!(go_version("go1.26.8"), (1, 26));
        assert_eq!(go_version("go1.9"), (1, 9));
        assert_eq!(go_version("1.27rc1"), (1, 27));
        assert!(go_version("go1.100") > go_version("go1.26"));
        assert_eq!(go_version("devel +abc"), (0, 0));
    }

    #[test]
    fn the_version_is_read_from_the_module() {
        let go_mod = "require (\n\tk8s.io/kubernetes/x v9.9.9\n\tk8s.io/kubernetes v1.36.3\n)\n";
        assert_eq!(required_version(go_mod, "k8s.io/kubernetes"), Some("v1.36.3"));
        assert_eq!(
            required_version("require k8s.io/kubernetes v1.2.3", "k8s.io/kubernetes"),
            Some("v1.2.3")
        );
        assert_eq!(
            required_version("replace k8s.io/kubernetes => ../x", "k8s.io/kubernetes"),
            None
        );
    }

    #[test]
    fn the_pinned_module_gives_the_servers_their_version() {
        let flags = linker_flags(&Program::ApiServer.module()).unwrap();
        assert!(flags.contains("version.gitVersion=v1."), "{flags}");
        assert!(flags.contains("version.gitMajor=1 "), "{flags}");
        assert_eq!(linker_flags(&Program::Kwok.module()).unwrap(), "-s -w");
    }

    #[test]
    fn an_asset_that_is_missing_is_named_with_its_folder() {
        let error = find_asset(Path::new("/nowhere"), Program::Scheduler)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("kube-scheduler") && error.contains("/nowhere"),
            "{error}"
        );
    }
}
