//! However a test process ends, its clusters end with it, and so do their files, except the logs of a test that failed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use flagship_testing::{SharedClusters, TestResult, clusters};
use rustix::process::{Pid, Signal, kill_process};

/// Killing and deleting takes some 100 ms on an idle machine.
const CLEAN_WITHIN: Duration = Duration::from_secs(15);

static SHARED: SharedClusters<1> = SharedClusters::new(["newyork"]);

/// What the child processes do: this file's own tests, run by name.
mod child {
    use super::*;

    async fn start() -> TestResult {
        let [newyork] = SHARED.get().await?;
        // A cluster of the test's own, and one in a static, which is never dropped.
        let [sheffield] = clusters(["sheffield"]).await?;
        println!("\nstarted {}", newyork.folder().parent().unwrap().display());
        tokio::time::sleep(Duration::from_secs(1)).await;
        match std::env::var("FLAGSHIP_TEST_ENDS_BY").as_deref() {
            Ok("return") => Ok(()),
            Ok("panic") => panic!("as the parent asked, while {} runs", sheffield.name()),
            Ok("error") => Err("as the parent asked".into()),
            _ => {
                tokio::time::sleep(Duration::from_secs(600)).await;
                Ok(())
            }
        }
    }

    #[tokio::test]
    #[ignore = "the other tests run it as a process of its own"]
    async fn starts_clusters_and_ends_as_told() -> TestResult {
        start().await
    }
}

struct Running {
    process: Child,
    output: BufReader<ChildStdout>,
    folder: PathBuf,
}

fn run_child(ends_by: &str) -> Running {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "child::starts_clusters_and_ends_as_told",
            "--ignored",
            "--nocapture",
        ])
        .env("FLAGSHIP_TEST_ENDS_BY", ends_by)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("started ") {
        line.clear();
        assert_ne!(
            output.read_line(&mut line).unwrap(),
            0,
            "the child ended before it had started its clusters"
        );
    }
    let folder = PathBuf::from(line.trim_start_matches("started ").trim());
    assert!(processes_of(&folder).len() >= 6, "{:?}", processes_of(&folder));
    assert!(folder.exists());
    Running {
        process,
        output,
        folder,
    }
}

/// The command lines that name the folder: all parts of a cluster do, and so does whoever removes the folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let command_lines = fs::read_dir("/proc").unwrap().flatten().map(|entry| {
        let command_line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        command_line.replace('\0', " ")
    });
    command_lines
        .filter(|line| line.contains(folder.to_str().unwrap()))
        .collect()
}

fn until_no_process_is_left(folder: &Path) {
    let deadline = Instant::now() + CLEAN_WITHIN;
    while !processes_of(folder).is_empty() {
        assert!(
            Instant::now() < deadline,
            "still there: {:?}",
            processes_of(folder)
        );
        sleep(Duration::from_millis(50));
    }
}

impl Running {
    /// The exit code and everything printed.
    fn ended(mut self) -> (Option<i32>, String, PathBuf) {
        let mut printed = String::new();
        self.output.read_to_string(&mut printed).unwrap();
        let output = self.process.wait_with_output().unwrap();
        printed.push_str(&String::from_utf8_lossy(&output.stderr));
        until_no_process_is_left(&self.folder);
        (output.status.code(), printed, self.folder)
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

#[test]
fn a_test_that_passes_leaves_nothing() {
    let (code, printed, folder) = run_child("return").ended();
    assert_eq!(code, Some(0), "{printed}");
    assert!(!folder.exists());
}

#[test]
fn a_test_that_panics_leaves_its_logs_and_says_where() {
    logs_are_left(run_child("panic"));
}

#[test]
fn a_test_that_returns_an_error_leaves_its_logs_and_says_where() {
    logs_are_left(run_child("error"));
}

fn logs_are_left(child: Running) {
    let (code, printed, folder) = child.ended();
    assert_eq!(code, Some(101), "{printed}");
    assert!(printed.contains("as the parent asked"), "{printed}");
    assert!(
        printed.contains(&format!("kept in {}", folder.display())),
        "{printed}"
    );
    for cluster in ["newyork-0", "sheffield-1"] {
        assert!(
            fs::metadata(folder.join(cluster).join("kube-apiserver.log"))
                .unwrap()
                .len()
                > 0
        );
        assert!(
            !folder.join(cluster).join("etcd").exists(),
            "the data is large and explains nothing"
        );
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn ctrl_c_leaves_nothing() {
    let child = run_child("signal");
    child.send(Signal::INT);
    let (code, printed, folder) = child.ended();
    assert_eq!(code, None, "{printed}");
    assert!(!folder.exists());
}

#[test]
fn a_killed_test_leaves_nothing() {
    let child = run_child("signal");
    child.send(Signal::KILL);
    let (code, printed, folder) = child.ended();
    assert_eq!(code, None, "{printed}");
    assert!(!folder.exists());
}
