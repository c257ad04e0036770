//! Network namespaces: made, entered, and gone with the last handle.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Output, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::error::{Error, Result};

/// A network namespace. It has no name and no process: this handle keeps it, and when the handle goes, or the process
/// that has it ends in any way, the kernel takes the namespace with all its links away, once its last socket is closed.
#[derive(Debug)]
pub(super) struct Namespace {
    handle: File,
}

impl Namespace {
    /// The one that the calling thread is in.
    pub(super) fn current() -> Result<Self> {
        Self::open("/proc/thread-self/ns/net")
    }

    /// Makes an empty one, whose loopback link is down.
    pub(super) async fn create() -> Result<Self> {
        let failed = |source| Error::Start {
            program: "unshare".into(),
            source,
        };
        // What cat says comes from the new namespace. It ends when its input does, so not even a kill leaves it behind.
        let mut child = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let missing = || failed(io::Error::other("it has no pipes"));
        let mut input = child.stdin.take().ok_or_else(missing)?;
        let mut output = child.stdout.take().ok_or_else(missing)?;
        let pid = child
            .id()
            .ok_or_else(|| failed(io::Error::other("it has ended")))?;
        input.write_all(b"\n").await.map_err(failed)?;
        output.read_exact(&mut [0]).await.map_err(failed)?;
        let namespace = Self::open(&format!("/proc/{pid}/ns/net"))?;
        drop(input);
        child.wait().await.map_err(failed)?;
        Ok(namespace)
    }

    fn open(path: &str) -> Result<Self> {
        File::open(path)
            .map(|handle| Self { handle })
            .map_err(Error::file("open", path))
    }

    /// Where other processes find it, for as long as this handle lives.
    pub(super) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.handle.as_raw_fd())
    }

    /// The arguments by which `nsenter` runs a command inside, in its own process.
    pub(super) fn nsenter_arguments(&self) -> [String; 2] {
        [format!("--net={}", self.path()), "--".into()]
    }

    /// Moves the calling thread, and the sockets that it makes from now on, into it.
    pub(super) fn enter(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(
            self.handle.as_fd(),
            Some(LinkNameSpaceType::Network),
        )?)
    }

    /// Carries out commands of `ip`, one a line, up to the first that fails.
    pub(super) async fn ip(&self, commands: &str) -> Result<()> {
        self.run(&["ip", "-batch", "-"], commands).await
    }

    /// Lets it pass packets on between its links.
    pub(super) async fn forward(&self) -> Result<()> {
        self.run(&["tee", "/proc/sys/net/ipv4/ip_forward"], "1\n").await
    }

    async fn run(&self, command: &[&str], input: &str) -> Result<()> {
        let failed = |source| Error::Start {
            program: "nsenter".into(),
            source,
        };
        let mut child = Command::new("nsenter")
            .args(self.nsenter_arguments())
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that ends early does not read on, and says why itself.
            stdin.write_all(input.as_bytes()).await.ok();
        }
        let Output { status, stderr, .. } = child.wait_with_output().await.map_err(failed)?;
        match status.success() {
            true => Ok(()),
            false => Err(Error::Command {
                command: format!("{} with the input {input:?}", command.join(" ")),
                status,
                output: String::from_utf8_lossy(&stderr).trim().to_owned(),
            }),
        }
    }
}
