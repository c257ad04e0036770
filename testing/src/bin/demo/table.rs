//! One row for each cluster: what its MultiCluster says, and what is really there.

use std::fmt;

use flagship::api::MultiCluster;
use flagship_testing::Sights;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;

/// One cluster, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    cluster: String,
    /// Nothing while the API server does not answer.
    seen: Option<Seen>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// Rank, role and term, once there is a MultiCluster with a status.
    member: Option<(i64, String, i64)>,
    /// Objects of the payload.
    objects: usize,
    ready_pods: usize,
    pods: usize,
}

pub(crate) fn rows(
    order: &[&str],
    members: &Sights<MultiCluster>,
    deployments: &Sights<Deployment>,
    pods: &Sights<Pod>,
) -> Vec<Row> {
    let seen = |cluster: &str| {
        let members = members.get(cluster).filter(|sight| sight.answers)?;
        let pods = &pods.get(cluster)?.objects;
        let member = members.objects.get(cluster).and_then(|member| {
            let status = member.status.as_ref()?;
            Some((member.spec.rank, format!("{:?}", status.role?), status.term?))
        });
        Some(Seen {
            member,
            objects: deployments.get(cluster)?.objects.len(),
            ready_pods: pods.values().filter(|pod| is_ready(pod)).count(),
            pods: pods.len(),
        })
    };
    let row = |cluster: &&str| Row {
        cluster: (*cluster).to_owned(),
        seen: seen(cluster),
    };
    order.iter().map(row).collect()
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions
        .into_iter()
        .any(|one| one.type_ == "Ready" && one.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

pub(crate) fn heading() -> String {
    line("CLUSTER", "RANK", "ROLE", "TERM", "PAYLOAD OBJECTS", "READY PODS")
}

fn line(cluster: &str, rank: &str, role: &str, term: &str, objects: &str, pods: &str) -> String {
    format!("{cluster:12}{rank:>5}  {role:14}{term:>5}{objects:>18}{pods:>13}")
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(seen) = &self.seen else {
            return f.write_str(&line(&self.cluster, "-", "no answer", "-", "-", "-"));
        };
        let (rank, role, term) = match &seen.member {
            Some((rank, role, term)) => (rank.to_string(), role.as_str(), term.to_string()),
            None => ("-".to_owned(), "-", "-".to_owned()),
        };
        let pods = format!("{} of {}", seen.ready_pods, seen.pods);
        f.write_str(&line(
            &self.cluster,
            &rank,
            role,
            &term,
            &seen.objects.to_string(),
            &pods,
        ))
    }
}

impl Row {
    /// The same for a place without columns.
    pub(crate) fn sentence(&self) -> String {
        let Some(seen) = &self.seen else {
            return format!("{} does not answer", self.cluster);
        };
        let member = match &seen.member {
            Some((rank, role, term)) => format!("rank {rank}, {role}, term {term}"),
            None => "no member yet".to_owned(),
        };
        format!(
            "{}: {member}, {} payload objects, {} of {} pods ready",
            self.cluster, seen.objects, seen.ready_pods, seen.pods
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use flagship_testing::Sight;
    use serde_json::{Value, json};

    use super::*;

    fn sights<K: serde::de::DeserializeOwned>(answers: bool, object: Value) -> Sights<K> {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let objects = [(name, serde_json::from_value(object).unwrap())].into();
        [("newyork".to_owned(), Sight { answers, objects })].into()
    }

    fn row(answers: bool, role: Value) -> Row {
        let member = json!({
            "apiVersion": "kube-vip.io/v1alpha1", "kind": "MultiCluster", "metadata": {"name": "newyork"},
            "spec": {"port": 9990, "callsign": "federation", "rank": 5},
            "status": {"role": role, "term": 7},
        });
        let pod = json!({
            "metadata": {"name": "nginx-1"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        let deployment = json!({"metadata": {"name": "nginx"}});
        let (members, deployments, pods) = (
            sights(answers, member),
            sights(answers, deployment),
            sights(answers, pod),
        );
        rows(&["newyork"], &members, &deployments, &pods).remove(0)
    }

    #[test]
    fn a_row_has_what_the_member_says_and_what_is_there() {
        let row = row(true, json!("Leader"));
        assert_eq!(
            format!("{}\n{row}", heading()),
            "CLUSTER      RANK  ROLE           TERM   PAYLOAD OBJECTS   READY PODS\n\
             newyork         5  Leader            7                 1       1 of 1"
        );
        assert_eq!(
            row.sentence(),
            "newyork: rank 5, Leader, term 7, 1 payload objects, 1 of 1 pods ready"
        );
    }

    #[test]
    fn a_cluster_that_does_not_answer_shows_nothing_of_what_it_had() {
        let row = row(false, json!("Leader"));
        assert_eq!(
            row.to_string(),
            "newyork         -  no answer         -                 -            -"
        );
    }

    #[test]
    fn a_pod_that_is_being_deleted_is_not_ready() {
        let pod = json!({
            "metadata": {"name": "nginx-1", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        assert!(!is_ready(&serde_json::from_value(pod).unwrap()));
    }
}
