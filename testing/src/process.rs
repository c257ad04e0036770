//! A child process with the handles that a fault test needs.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::error::{Error, Result};
use crate::files;

/// How long a process may take to be gone after SIGKILL: the kernel has to free its memory, on a busy machine.
pub(crate) const DEATH_TIMEOUT: Duration = Duration::from_secs(10);
/// A process that waits for a disk stops only when that has answered.
const FREEZE_TIMEOUT: Duration = Duration::from_secs(10);
/// A compromise between noticing an exit at once and polling a busy machine.
const EXIT_POLL: Duration = Duration::from_millis(5);

/// Who outlives whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// The children die with this process, however it ends, and leave no files behind.
    Process,
    /// The children go on running after this process has ended.
    Background,
}

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct CommandLine {
    /// The role, as errors name it: `kube-apiserver of newyork`.
    pub(crate) role: String,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    /// Where its output is appended.
    pub(crate) log: PathBuf,
}

/// A process that can be told apart from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pub(crate) pid: i32,
    /// In clock ticks since the machine started, as the kernel tells it.
    pub(crate) start_ticks: u64,
}

/// A process that is started, harmed and started again, by the same arguments.
#[derive(Debug)]
pub(crate) struct Process {
    command: CommandLine,
    /// What it runs instead from its next start on.
    replacement: Mutex<Option<PathBuf>>,
    lifetime: Lifetime,
    child: Mutex<Option<Child>>,
}

impl Process {
    /// Describes a process; it does not run yet.
    pub(crate) fn new(command: CommandLine, lifetime: Lifetime) -> Self {
        Self {
            command,
            replacement: Mutex::new(None),
            lifetime,
            child: Mutex::new(None),
        }
    }

    pub(crate) fn role(&self) -> &str {
        &self.command.role
    }

    pub(crate) fn log(&self) -> &Path {
        &self.command.log
    }

    /// Starts it; an error if it runs already.
    pub(crate) fn start(&self) -> Result<()> {
        let mut child = self.child();
        if let Some(running) = child.as_mut()
            && self.exit_status(running)?.is_none()
        {
            return Err(Error::AlreadyRunning {
                process: self.command.role.clone(),
            });
        }
        let mut command = self.command.clone();
        if let Some(program) = &*self.replacement.lock().unwrap_or_else(PoisonError::into_inner) {
            command.program.clone_from(program);
        }
        *child = Some(spawn(&command, self.lifetime)?);
        Ok(())
    }

    /// Runs another program by the same arguments from the next start on.
    pub(crate) fn replace_program(&self, program: PathBuf) {
        *self.replacement.lock().unwrap_or_else(PoisonError::into_inner) = Some(program);
    }

    /// How it ended, if it was started and has.
    pub(crate) fn ended(&self) -> Result<Option<ExitStatus>> {
        self.child()
            .as_mut()
            .map_or(Ok(None), |child| self.exit_status(child))
    }

    pub(crate) fn is_running(&self) -> Result<bool> {
        self.child()
            .as_mut()
            .map_or(Ok(false), |child| Ok(self.exit_status(child)?.is_none()))
    }

    /// An error with the end of the log if it has ended.
    pub(crate) fn check_running(&self) -> Result<()> {
        match self.ended()? {
            Some(status) => Err(self.ended_error(status)),
            None => Ok(()),
        }
    }

    pub(crate) fn ended_error(&self, status: ExitStatus) -> Error {
        Error::Ended {
            process: self.command.role.clone(),
            status,
            log: self.command.log.clone(),
            tail: files::tail(&self.command.log),
        }
    }

    /// Number and start time, if it runs.
    pub(crate) fn id(&self) -> Result<Option<ProcessId>> {
        let mut child = self.child();
        let Some(child) = child.as_mut() else {
            return Ok(None);
        };
        if self.exit_status(child)?.is_some() {
            return Ok(None);
        }
        let pid = Pid::from_child(child).as_raw_nonzero().get();
        Ok(start_ticks(pid)?.map(|start_ticks| ProcessId { pid, start_ticks }))
    }

    /// Stops it in its tracks, and waits until it stands still: its threads stop one after the other.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        let deadline = Instant::now() + FREEZE_TIMEOUT;
        while let Some(ProcessId { pid, .. }) = self.id()? {
            if state(pid)?.is_none_or(|state| state == "T") {
                break;
            }
            if Instant::now() > deadline {
                return Err(self.signal_error(io::ErrorKind::TimedOut.into()));
            }
            thread::sleep(EXIT_POLL);
        }
        Ok(())
    }

    /// Sends a signal; an error if it does not run.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let mut child = self.child();
        // The child is not reaped while the lock is held, so its number cannot be another process's by now.
        if let Some(child) = child.as_mut()
            && self.exit_status(child)?.is_none()
        {
            return kill_process(Pid::from_child(child), signal)
                .map_err(|error| self.signal_error(error.into()));
        }
        Err(Error::NotRunning {
            process: self.command.role.clone(),
        })
    }

    /// Waits until it has ended, by whatever cause.
    pub(crate) async fn wait(&self, within: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            let ended = match self.child().as_mut() {
                Some(child) => self.exit_status(child)?,
                None => {
                    return Err(Error::NotRunning {
                        process: self.command.role.clone(),
                    });
                }
            };
            if let Some(status) = ended {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(Error::Wait {
                    what: "its end".into(),
                    on: self.command.role.clone(),
                    within,
                    last: format!("still running; its log is {}", self.command.log.display()),
                });
            }
            sleep(EXIT_POLL).await;
        }
    }

    /// Kills it and waits until it is gone; an error if it does not run.
    pub(crate) async fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.wait(DEATH_TIMEOUT).await.map(|_| ())
    }

    fn exit_status(&self, child: &mut Child) -> Result<Option<ExitStatus>> {
        child.try_wait().map_err(|source| self.signal_error(source))
    }

    fn signal_error(&self, source: io::Error) -> Error {
        Error::Signal {
            process: self.command.role.clone(),
            source,
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        // A panic elsewhere leaves the handle as good as it was.
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// Ends it for good. Blocks until it is gone.
    pub(crate) fn end(&self) {
        if let Some(mut child) = self.child().take() {
            // It may have ended by itself, and nobody is left to tell.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.lifetime == Lifetime::Process {
            self.end();
        }
    }
}

fn spawn(line: &CommandLine, lifetime: Lifetime) -> Result<Child> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&line.log)
        .map_err(Error::file("open the log", &line.log))?;
    let errors = log.try_clone().map_err(Error::file("open the log", &line.log))?;
    let mut command = match lifetime {
        Lifetime::Background => Command::new(&line.program),
        Lifetime::Process => dying_with_parent(line.program.as_ref()),
    };
    command
        .args(&line.arguments)
        .envs(line.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        // Ctrl-C on the terminal is for this process, which decides what it means for its children.
        .process_group(0);
    let program = match lifetime {
        Lifetime::Background => line.program.display().to_string(),
        Lifetime::Process => "setpriv".into(),
    };
    spawn_from_lasting_thread(command).map_err(|source| Error::Start { program, source })
}

/// A command that runs `program` such that the kernel kills it when the thread that spawned it ends: to be spawned by
/// [`spawn_from_lasting_thread`].
///
/// Only exec keeps this setting, so `setpriv` makes it and execs. Had this process died before that, nobody would be
/// left to be told of: hence the shell's look whether the parent is still the one that is meant.
pub(crate) fn dying_with_parent(program: &OsStr) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args([
            "--pdeathsig",
            "KILL",
            "sh",
            "-c",
            r#"[ "$PPID" = "$0" ] && exec "$@""#,
        ])
        .arg(std::process::id().to_string())
        .arg(program);
    command
}

type SpawnRequest = (Command, mpsc::SyncSender<io::Result<Child>>);

/// Spawns from a thread that lasts as long as the process: a child is killed when *the thread* that spawned it ends,
/// and threads of test runners and async runtimes come and go.
pub(crate) fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    static REQUESTS: OnceLock<mpsc::SyncSender<SpawnRequest>> = OnceLock::new();
    let requests = REQUESTS.get_or_init(|| {
        // Nobody gains from queueing: each caller waits for its child anyway.
        let (sender, receiver) = mpsc::sync_channel::<SpawnRequest>(0);
        thread::spawn(move || {
            for (mut command, reply) in receiver {
                // Whoever asked waits for the reply, unless it died of a panic elsewhere.
                reply.send(command.spawn()).ok();
            }
        });
        sender
    });
    let (reply, child) = mpsc::sync_channel(1);
    let gone = || io::Error::other("the spawning thread has ended");
    requests.send((command, reply)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

/// When a process started, or nothing if there is none of that number.
fn start_ticks(pid: i32) -> Result<Option<u64>> {
    Ok(stat(pid)?.and_then(|stat| parse_start_ticks(&stat)))
}

/// The state of a process, as one letter, if there is one of that number.
fn state(pid: i32) -> Result<Option<String>> {
    Ok(stat(pid)?.and_then(|stat| after_name(&stat).next().map(str::to_owned)))
}

fn stat(pid: i32) -> Result<Option<String>> {
    let path = PathBuf::from(format!("/proc/{pid}/stat"));
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // It ended between the opening and the reading.
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(None),
        Err(error) => Err(Error::file("read", path)(error)),
    }
}

/// The fields of /proc/PID/stat from the third. The second is the program's name and may hold anything, even parentheses.
fn after_name(stat: &str) -> impl Iterator<Item = &str> {
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace()
}

/// The 22nd field of /proc/PID/stat, unless the third says that the process is dead and only not yet reaped.
fn parse_start_ticks(stat: &str) -> Option<u64> {
    let mut fields = after_name(stat);
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.nth(18)?.parse().ok(),
    }
}

impl ProcessId {
    /// Kills the process if it still is the one that was recorded, and waits until it is gone.
    pub(crate) fn kill(self, role: &str) -> Result<()> {
        let error = |source: io::Error| Error::Signal {
            process: role.to_owned(),
            source,
        };
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(());
        };
        let deadline = Instant::now() + DEATH_TIMEOUT;
        while start_ticks(self.pid)? == Some(self.start_ticks) {
            match kill_process(pid, Signal::KILL) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(error(errno.into())),
            }
            if Instant::now() > deadline {
                return Err(error(io::ErrorKind::TimedOut.into()));
            }
            thread::sleep(EXIT_POLL);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
