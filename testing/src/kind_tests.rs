#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use super::*;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 18, 100, 100);

fn newyork() -> KindCluster {
    KindCluster::new("newyork", "/home/u/.kube/config").unwrap()
}

fn lines(steps: &[Step]) -> Vec<String> {
    steps
        .iter()
        .map(|step| format!("{} {}", step.program, step.arguments.join(" ")))
        .collect()
}

#[test]
fn the_cluster_is_made_with_the_image_that_the_manifest_names() {
    let steps = newyork().cluster_steps("flagship:0.1.0");
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    assert_eq!(
        lines(&steps),
        [
            format!("docker build --tag flagship:0.1.0 {}", project.display()),
            "kind create cluster --kubeconfig /home/u/.kube/config --wait 120s --config -".into(),
            "kind load docker-image flagship:0.1.0 --name newyork".into(),
        ]
    );
    let configuration: Value = serde_json::from_str(steps[1].input.as_ref().unwrap()).unwrap();
    assert_eq!(
        configuration,
        json!({ "apiVersion": "kind.x-k8s.io/v1alpha4", "kind": "Cluster", "name": "newyork",
                "nodes": [{ "role": "control-plane" }] })
    );
    assert!(steps[0].input.is_none() && steps[2].input.is_none());
}

#[test]
fn flagship_is_installed_and_its_service_gets_the_address() {
    let kubectl = "kubectl --kubeconfig /home/u/.kube/config --context kind-newyork";
    assert_eq!(
        lines(&newyork().installation_steps("flagship-system", Path::new("/install.yaml"), ADDRESS)),
        [
            "docker exec newyork-control-plane ip address replace 172.18.100.100/32 dev eth0".to_owned(),
            format!("{kubectl} apply --server-side -f /install.yaml"),
            format!(
                "{kubectl} patch service multi-cluster -n flagship-system --type merge -p \
             {{\"spec\":{{\"loadBalancerIP\":\"172.18.100.100\"}}}}"
            ),
            format!(
                "{kubectl} patch service multi-cluster -n flagship-system --subresource status --type merge -p \
             {{\"status\":{{\"loadBalancer\":{{\"ingress\":[{{\"ip\":\"172.18.100.100\"}}]}}}}}}"
            ),
            format!(
                "{kubectl} wait --for=condition=Available deployment --all -n flagship-system --timeout 180s"
            ),
        ]
    );
}

#[test]
fn removal_names_the_cluster_and_the_file() {
    assert_eq!(
        lines(&[newyork().removal_step()]),
        ["kind delete cluster --name newyork --kubeconfig /home/u/.kube/config"]
    );
}

#[test]
fn an_address_outside_dockers_network_is_refused_with_the_network() {
    let networks =
        r#"[{"Subnet":"fc00:f853:ccd:e793::/64"},{"Subnet":"172.18.0.0/16","Gateway":"172.18.0.1"}]"#;
    check_network("newyork", networks, ADDRESS).unwrap();
    let error = check_network("newyork", networks, Ipv4Addr::new(172, 19, 0, 1))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("172.19.0.1") && error.contains("172.18.0.0/16"),
        "{error}"
    );
    assert!(check_network("newyork", "null", ADDRESS).is_err());
}

#[test]
fn subnets_are_compared_by_their_prefix() {
    assert!(contains("0.0.0.0/0", ADDRESS));
    assert!(contains("172.18.100.100/32", ADDRESS));
    assert!(!contains("172.18.100.101/32", ADDRESS));
    assert!(!contains("172.18.0.0/33", ADDRESS));
    assert!(!contains("fc00::/7", ADDRESS));
}

#[test]
fn names_that_could_leave_the_folder_or_look_like_a_flag_are_refused() {
    for name in ["", "../x", "-x", "New", "a/b", "a b"] {
        assert!(KindCluster::new(name, "/k").is_err(), "{name}");
    }
    KindCluster::new("new-york2", "/k").unwrap();
}
