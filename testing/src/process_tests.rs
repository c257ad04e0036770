#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::os::unix::process::ExitStatusExt;

use super::*;

fn sleeper(name: &str) -> CommandLine {
    CommandLine {
        role: name.into(),
        program: "sleep".into(),
        arguments: vec!["600".into()],
        environment: vec![],
        log: std::env::temp_dir().join(format!("flagship-{name}-{}.log", std::process::id())),
    }
}

fn state(id: ProcessId) -> char {
    let stat = fs::read_to_string(format!("/proc/{}/stat", id.pid)).unwrap();
    stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}

async fn until_state(id: ProcessId, wanted: char) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while state(id) != wanted {
        assert!(
            Instant::now() < deadline,
            "the process is {} instead of {wanted}",
            state(id)
        );
        sleep(EXIT_POLL).await;
    }
}

#[tokio::test]
async fn a_process_is_frozen_thawed_killed_and_started_again() {
    let process = Process::new(sleeper("handles"), Lifetime::Process);
    assert!(matches!(
        process.signal(Signal::STOP),
        Err(Error::NotRunning { .. })
    ));
    process.start().unwrap();
    assert!(matches!(process.start(), Err(Error::AlreadyRunning { .. })));
    let first = process.id().unwrap().unwrap();
    process.signal(Signal::STOP).unwrap();
    until_state(first, 'T').await;
    process.signal(Signal::CONT).unwrap();
    until_state(first, 'S').await;
    process.signal(Signal::STOP).unwrap();
    process.kill().await.unwrap();
    assert_eq!(process.ended().unwrap().unwrap().signal(), Some(9));
    process.start().unwrap();
    assert_ne!(process.id().unwrap().unwrap(), first);
    fs::remove_file(process.log()).unwrap();
}

#[test]
fn a_process_outlives_the_thread_that_started_it() {
    let process = Process::new(sleeper("threads"), Lifetime::Process);
    thread::scope(|scope| scope.spawn(|| process.start().unwrap()).join().unwrap());
    // The kernel sends the parent-death signal while the thread ends, so it would have been seen by now.
    thread::sleep(Duration::from_millis(100));
    assert!(process.is_running().unwrap());
    fs::remove_file(process.log()).unwrap();
}

#[test]
fn a_recorded_process_is_killed_only_if_it_still_is_the_same() {
    let process = Process::new(sleeper("recorded"), Lifetime::Process);
    process.start().unwrap();
    let id = process.id().unwrap().unwrap();
    ProcessId {
        start_ticks: id.start_ticks + 1,
        ..id
    }
    .kill("another")
    .unwrap();
    assert!(process.is_running().unwrap());
    id.kill("it").unwrap();
    assert!(!process.is_running().unwrap());
    fs::remove_file(process.log()).unwrap();
}

#[test]
fn the_start_time_is_read_past_a_strange_name() {
    let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
    assert_eq!(parse_start_ticks(&format!("7 (a) b (c)) {fields}")), Some(4711));
    assert_eq!(
        parse_start_ticks(&format!("7 (a) {}", fields.replace('S', "Z"))),
        None
    );
}
