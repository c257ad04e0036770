#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use serde_json::Value;

use super::*;
use crate::address::ReservedAddress;
use crate::run_folder::{RunFolder, TestResult};

fn contexts(kubeconfig: &Path) -> Vec<String> {
    let config: Value = serde_saphyr::from_str(&fs::read_to_string(kubeconfig).unwrap()).unwrap();
    let names = config["contexts"].as_array().unwrap().iter();
    names
        .map(|context| context["name"].as_str().unwrap().to_owned())
        .collect()
}

fn kubectl(kubeconfig: &Path) -> std::process::Output {
    std::process::Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args([
            "--context",
            "flagship-newyork",
            "get",
            "nodes",
            "-o",
            "name",
            "--request-timeout",
            "5s",
        ])
        .output()
        .unwrap()
}

#[tokio::test]
async fn a_named_cluster_outlives_its_handle_and_is_removed_by_name() -> TestResult {
    let home = RunFolder::get()?.cluster_folder("named")?;
    let users_file = home.join("kubeconfig");
    let clusters = NamedClusters::in_folder(home.join("clusters"));
    let IpAddr::V4(ip) = ReservedAddress::any()?.ip() else {
        panic!("loopback addresses here are of IPv4")
    };

    let folder = clusters.claim("newyork")?;
    let started = clusters.start("newyork", ip, &folder).await;
    clusters.merge_into("newyork", &users_file)?;
    drop(started?);
    assert_eq!(contexts(&users_file), ["flagship-newyork"]);
    let nodes = kubectl(&users_file);
    assert_eq!(
        String::from_utf8_lossy(&nodes.stdout),
        "node/node-1\nnode/node-2\n",
        "{nodes:?}"
    );

    let again = clusters.create("newyork", ip).await.unwrap_err().to_string();
    assert!(
        again.contains("newyork") && again.contains("--force-clean"),
        "{again}"
    );
    let same_address = clusters.create("sheffield", ip).await.unwrap_err().to_string();
    assert!(
        same_address.contains("flagship-newyork") && same_address.contains(&ip.to_string()),
        "{same_address}"
    );
    assert!(!clusters.folder_of("sheffield").exists());
    assert!(
        kubectl(&users_file).status.success(),
        "the refused ones must not harm it"
    );

    assert!(clusters.remove("newyork")?);
    assert!(!folder.exists());
    assert!(contexts(&users_file).is_empty());
    assert!(!clusters.remove("newyork")?);
    for entry in fs::read_dir("/proc")?.flatten() {
        let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        assert!(
            !command.contains(folder.to_str().unwrap()),
            "left behind: {command}"
        );
    }
    Ok(())
}
