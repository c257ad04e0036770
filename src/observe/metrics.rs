//! Metrics for Prometheus, in the OpenMetrics text format.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::process::ProcessCollector;

/// Upper bounds of the buckets for the time that a payload takes to apply, in seconds: from a few round trips to
/// images that are pulled and definitions that are waited for.
const APPLY_BUCKETS_SECONDS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Which MultiCluster a metric is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MemberLabels {
    namespace: String,
    name: String,
}

/// Which requests failed, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiErrorLabels {
    verb: &'static str,
    code: &'static str,
}

/// The metrics of one process. Clones share one registry.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    families: Families,
}

#[derive(Clone, Debug)]
struct Families {
    leading: Family<MemberLabels, Gauge>,
    term: Family<MemberLabels, Gauge<u64, AtomicU64>>,
    transitions: Family<MemberLabels, Counter>,
    heartbeats_sent: Family<MemberLabels, Counter>,
    heartbeats_received: Family<MemberLabels, Counter>,
    payload_apply_seconds: Family<MemberLabels, Histogram, fn() -> Histogram>,
    payload_objects: Family<MemberLabels, Gauge<u64, AtomicU64>>,
    payload_repairs: Family<MemberLabels, Counter>,
    active: Gauge<u64, AtomicU64>,
    peers_connected: Gauge<u64, AtomicU64>,
    proofs_failed: Gauge<u64, AtomicU64>,
    api_errors: Family<ApiErrorLabels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers every metric.
    #[must_use]
    pub fn new() -> Self {
        let apply_histogram: fn() -> Histogram = || Histogram::new(APPLY_BUCKETS_SECONDS);
        let families = Families {
            leading: Family::default(),
            term: Family::default(),
            transitions: Family::default(),
            heartbeats_sent: Family::default(),
            heartbeats_received: Family::default(),
            payload_apply_seconds: Family::new_with_constructor(apply_histogram),
            payload_objects: Family::default(),
            payload_repairs: Family::default(),
            active: Gauge::default(),
            peers_connected: Gauge::default(),
            proofs_failed: Gauge::default(),
            api_errors: Family::default(),
        };
        let mut registry = Registry::default();
        let ours = registry.sub_registry_with_prefix("flagship");
        // A counter's name gets the suffix `_total`, and each description its full stop, from the encoder.
        ours.register(
            "leading",
            "1 while this cluster runs the payload, otherwise 0",
            families.leading.clone(),
        );
        ours.register(
            "term",
            "Term of the election that the member knows of",
            families.term.clone(),
        );
        ours.register(
            "transitions",
            "Changes of leader that the member saw",
            families.transitions.clone(),
        );
        ours.register(
            "heartbeats_sent",
            "Heartbeats that the member sent as leader",
            families.heartbeats_sent.clone(),
        );
        ours.register(
            "heartbeats_received",
            "Heartbeats that the member received from its leader",
            families.heartbeats_received.clone(),
        );
        ours.register(
            "payload_apply_seconds",
            "Time from becoming leader to the payload applied, in seconds",
            families.payload_apply_seconds.clone(),
        );
        ours.register(
            "payload_objects",
            "Objects of the payload in this cluster",
            families.payload_objects.clone(),
        );
        ours.register(
            "payload_repairs",
            "Objects of the payload put back after others changed or deleted them",
            families.payload_repairs.clone(),
        );
        ours.register(
            "active",
            "Whether this is the active one of the cluster's controllers",
            families.active.clone(),
        );
        ours.register(
            "peers_connected",
            "Controllers of other clusters that are connected",
            families.peers_connected.clone(),
        );
        ours.register(
            "proofs_failed",
            "Proofs of a callsign that others began and did not finish, since this controller was started",
            families.proofs_failed.clone(),
        );
        ours.register(
            "api_errors",
            "Requests to the API server that failed, by verb and class of status code (none without an answer)",
            families.api_errors.clone(),
        );
        registry.register_collector(Box::new(ProcessCollector));
        Self {
            registry: Arc::new(registry),
            families,
        }
    }

    /// The metrics of one MultiCluster, which are there until the last clone of what is returned goes. Let the old
    /// one go before asking for a MultiCluster of the same name again.
    #[must_use]
    pub fn member(&self, namespace: &str, name: &str) -> MemberMetrics {
        let labels = MemberLabels {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let families = &self.families;
        MemberMetrics {
            inner: Arc::new(Inner {
                leading: families.leading.get_or_create_owned(&labels),
                term: families.term.get_or_create_owned(&labels),
                transitions: families.transitions.get_or_create_owned(&labels),
                heartbeats_sent: families.heartbeats_sent.get_or_create_owned(&labels),
                heartbeats_received: families.heartbeats_received.get_or_create_owned(&labels),
                payload_apply_seconds: families.payload_apply_seconds.get_or_create_owned(&labels),
                payload_objects: families.payload_objects.get_or_create_owned(&labels),
                payload_repairs: families.payload_repairs.get_or_create_owned(&labels),
                families: families.clone(),
                labels,
            }),
        }
    }

    /// This controller has become the active one.
    pub fn set_active(&self) {
        self.families.active.set(1);
    }

    /// How many controllers of other clusters are connected.
    pub fn set_peers_connected(&self, peers: u64) {
        self.families.peers_connected.set(peers);
    }

    /// How many proofs of a callsign have failed.
    pub fn set_proofs_failed(&self, proofs: u64) {
        self.families.proofs_failed.set(proofs);
    }

    /// Counts a request that failed. `verb` is `get`, `list`, `watch`, `create`, `patch`, `update` or `delete`; `code`
    /// is the HTTP status, if there was an answer.
    pub fn count_api_error(&self, verb: &'static str, code: Option<u16>) {
        let code = match code {
            Some(409) => "409",
            Some(429) => "429",
            Some(400..=499) => "4xx",
            Some(500..=599) => "5xx",
            Some(_) => "other",
            None => "none",
        };
        self.families
            .api_errors
            .get_or_create(&ApiErrorLabels { verb, code })
            .inc();
    }

    /// All metrics, as [`CONTENT_TYPE`] says.
    ///
    /// # Errors
    /// A metric could not be written as text.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of one MultiCluster.
#[derive(Clone, Debug)]
pub struct MemberMetrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    leading: Gauge,
    term: Gauge<u64, AtomicU64>,
    transitions: Counter,
    heartbeats_sent: Counter,
    heartbeats_received: Counter,
    payload_apply_seconds: Histogram,
    payload_objects: Gauge<u64, AtomicU64>,
    payload_repairs: Counter,
    families: Families,
    labels: MemberLabels,
}

impl MemberMetrics {
    /// Whether this cluster runs the payload.
    pub fn set_leading(&self, leading: bool) {
        self.inner.leading.set(leading.into());
    }

    /// The term of the election that the member knows of.
    pub fn set_term(&self, term: u64) {
        self.inner.term.set(term);
    }

    /// Counts a change of leader.
    pub fn count_transition(&self) {
        self.inner.transitions.inc();
    }

    /// Counts a heartbeat sent as leader.
    pub fn count_heartbeat_sent(&self) {
        self.inner.heartbeats_sent.inc();
    }

    /// Counts a heartbeat received from the leader.
    pub fn count_heartbeat_received(&self) {
        self.inner.heartbeats_received.inc();
    }

    /// Records the time from becoming leader to the payload applied.
    pub fn observe_payload_apply(&self, took: Duration) {
        self.inner.payload_apply_seconds.observe(took.as_secs_f64());
    }

    /// How many objects of the payload are in this cluster.
    pub fn set_payload_objects(&self, objects: u64) {
        self.inner.payload_objects.set(objects);
    }

    /// Counts objects that were put back after others changed or deleted them.
    pub fn count_payload_repairs(&self, repairs: u64) {
        self.inner.payload_repairs.inc_by(repairs);
    }
}

impl Drop for Inner {
    /// Takes the MultiCluster's metrics away: a gauge that stays would claim a leader that is gone.
    fn drop(&mut self) {
        let Families {
            leading,
            term,
            transitions,
            heartbeats_sent,
            heartbeats_received,
            payload_apply_seconds,
            payload_objects,
            payload_repairs,
            active: _,
            peers_connected: _,
            proofs_failed: _,
            api_errors: _,
        } = &self.families;
        leading.remove(&self.labels);
        term.remove(&self.labels);
        transitions.remove(&self.labels);
        heartbeats_sent.remove(&self.labels);
        heartbeats_received.remove(&self.labels);
        payload_apply_seconds.remove(&self.labels);
        payload_objects.remove(&self.labels);
        payload_repairs.remove(&self.labels);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    /// The lines that are about a MultiCluster of this name.
    fn about(metrics: &Metrics, name: &str) -> Vec<String> {
        let needle = format!("name=\"{name}\"");
        metrics
            .text()
            .unwrap()
            .lines()
            .filter(|line| line.contains(&needle))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn a_multicluster_is_measured_until_it_goes() {
        let metrics = Metrics::new();
        let newyork = metrics.member("shop", "newyork");
        newyork.set_leading(true);
        newyork.set_term(7);
        newyork.count_transition();
        newyork.count_heartbeat_sent();
        newyork.count_heartbeat_received();
        newyork.set_payload_objects(3);
        newyork.count_payload_repairs(2);
        newyork.observe_payload_apply(Duration::from_millis(30));
        let sheffield = metrics.member("shop", "sheffield");

        let labels = r#"{namespace="shop",name="newyork"}"#;
        let lines = about(&metrics, "newyork");
        for line in [
            format!("flagship_leading{labels} 1"),
            format!("flagship_term{labels} 7"),
            format!("flagship_transitions_total{labels} 1"),
            format!("flagship_heartbeats_sent_total{labels} 1"),
            format!("flagship_heartbeats_received_total{labels} 1"),
            format!("flagship_payload_objects{labels} 3"),
            format!("flagship_payload_repairs_total{labels} 2"),
            format!("flagship_payload_apply_seconds_count{labels} 1"),
            format!("flagship_payload_apply_seconds_sum{labels} 0.03"),
        ] {
            assert!(lines.contains(&line), "{line} is not among {lines:#?}");
        }

        let kept = newyork.clone();
        drop(newyork);
        assert!(!about(&metrics, "newyork").is_empty());
        drop(kept);
        assert_eq!(about(&metrics, "newyork"), Vec::<String>::new());
        drop(sheffield);
    }

    #[test]
    fn failed_requests_are_counted_by_verb_and_class() {
        let metrics = Metrics::new();
        for code in [Some(404), Some(422), Some(409), Some(503), None] {
            metrics.count_api_error("patch", code);
        }
        metrics.set_peers_connected(2);
        metrics.set_proofs_failed(3);
        let text = metrics.text().unwrap();
        for line in [
            "flagship_api_errors_total{verb=\"patch\",code=\"4xx\"} 2",
            "flagship_proofs_failed 3",
            "flagship_api_errors_total{verb=\"patch\",code=\"409\"} 1",
            "flagship_api_errors_total{verb=\"patch\",code=\"5xx\"} 1",
            "flagship_api_errors_total{verb=\"patch\",code=\"none\"} 1",
            "flagship_peers_connected 2",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
        assert!(text.contains("process_cpu_seconds_total "), "{text}");
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
