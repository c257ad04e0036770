//! Which loopback address stands for a cluster's LoadBalancer.
//!
//! Samples name addresses such as 172.18.100.100, which nobody on a developer's machine has. A local cluster has the
//! address with the first number replaced by 127 instead: anyone can see which it is, and no privilege is needed.

use std::net::{Ipv4Addr, SocketAddrV4};

use serde_json::Value;

use crate::error::{Error, Result};

/// The loopback address that stands for `address`: itself in 127.0.0.0/8, else with 127 in front.
pub fn loopback_for(address: Ipv4Addr) -> Ipv4Addr {
    let [_, second, third, fourth] = address.octets();
    Ipv4Addr::new(127, second, third, fourth)
}

/// A manifest with the addresses of its MultiClusters replaced by those of the local clusters that stand for them.
/// Host names and other documents stay as they are; comments are lost.
///
/// # Errors
/// If it is not YAML.
pub fn with_loopback_addresses(name: &str, yaml: &str) -> Result<String> {
    let wrong = |reason: String| Error::Manifest {
        name: name.to_owned(),
        reason,
    };
    let mut documents: Vec<Value> =
        serde_saphyr::from_multiple(yaml).map_err(|error| wrong(error.to_string()))?;
    documents.retain(|document| !document.is_null());
    for document in documents
        .iter_mut()
        .filter(|document| document["kind"] == "MultiCluster")
    {
        let Some(spec) = document.get_mut("spec").and_then(Value::as_object_mut) else {
            continue;
        };
        if let Some(address) = spec.get_mut("serviceAddress") {
            replace(address);
        }
        spec.get_mut("fleet")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .for_each(replace);
    }
    serde_saphyr::to_string_multiple(&documents).map_err(|error| wrong(error.to_string()))
}

/// An address as MultiClusters have it: with a port or without.
fn replace(address: &mut Value) {
    let Some(text) = address.as_str() else { return };
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        *address = loopback_for(ip).to_string().into();
    } else if let Ok(socket) = text.parse::<SocketAddrV4>() {
        *address = SocketAddrV4::new(loopback_for(*socket.ip()), socket.port())
            .to_string()
            .into();
    }
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
    fn an_address_keeps_its_last_three_numbers() {
        assert_eq!(
            loopback_for(Ipv4Addr::new(172, 18, 100, 100)),
            Ipv4Addr::new(127, 18, 100, 100)
        );
        assert_eq!(
            loopback_for(Ipv4Addr::new(127, 1, 0, 10)),
            Ipv4Addr::new(127, 1, 0, 10)
        );
    }

    #[test]
    fn only_the_addresses_of_multiclusters_are_replaced() {
        let yaml = r#"
# A comment.
apiVersion: kube-vip.io/v1alpha1
kind: MultiCluster
metadata: {name: newyork}
spec:
  port: 9990
  address: 0.0.0.0
  serviceAddress: 172.18.100.100
  fleet: ["172.18.100.200:9990", "sheffield.example.org:9990", "172.18.100.201"]
  payload: |
    # 172.18.100.100 stays
    kind: Service
    spec: {externalIPs: ["172.18.100.100"]}
---
kind: Service
spec: {serviceAddress: 172.18.100.100}
"#;
        let before: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
        let printed = with_loopback_addresses("newyork.yaml", yaml).unwrap();
        let after: Vec<Value> = serde_saphyr::from_multiple(&printed).unwrap();
        let mut expected = before;
        expected[0]["spec"]["serviceAddress"] = "127.18.100.100".into();
        expected[0]["spec"]["fleet"] = serde_json::json!([
            "127.18.100.200:9990",
            "sheffield.example.org:9990",
            "127.18.100.201"
        ]);
        assert_eq!(after, expected, "{printed}");
    }
}
