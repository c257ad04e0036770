//! The `clusters` command, where it needs no cluster.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::process::{Command, Output};

fn clusters(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_clusters"))
        .args(arguments)
        .env(
            "XDG_STATE_HOME",
            std::env::temp_dir().join("flagship-testing-no-such-folder"),
        )
        .env("PATH", "/nowhere")
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_manifest_is_printed_with_the_addresses_of_local_clusters() {
    let file = std::env::temp_dir().join(format!("flagship-testing-manifest-{}.yaml", std::process::id()));
    std::fs::write(
        &file,
        "kind: MultiCluster\nspec: {serviceAddress: 172.18.100.100, port: 9990}\n",
    )
    .unwrap();
    let output = clusters(&["--manifest", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed: serde_json::Value =
        serde_saphyr::from_str(std::str::from_utf8(&output.stdout).unwrap()).unwrap();
    assert_eq!(
        printed["spec"],
        serde_json::json!({ "serviceAddress": "127.18.100.100", "port": 9990 })
    );
}

#[test]
fn a_missing_program_is_named_with_where_to_get_it() {
    let output = clusters(&[
        "--name",
        "newyork",
        "--service-address",
        "172.18.100.100",
        "--provider",
        "kind",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(
        message.contains("start kind") && message.contains("https://kind.sigs.k8s.io"),
        "{message}"
    );
    assert!(message.contains("--provider local"), "{message}");
}

#[test]
fn removing_what_is_not_there_is_no_error() {
    let output = clusters(&["--name", "newyork", "--force-clean"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(stderr(&output), "there is no cluster newyork\n");
}

#[test]
fn a_name_that_would_leave_the_folder_is_refused() {
    let output = clusters(&["--name", "../newyork", "--force-clean"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("lowercase letters"), "{output:?}");
}

#[test]
fn a_manifest_that_cannot_be_read_is_named() {
    let output = clusters(&["--manifest", "/nowhere/newyork.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("read /nowhere/newyork.yaml"),
        "{output:?}"
    );
}
