#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use serde_json::json;

use super::*;

use Health::{Healthy, Progressing, Unhealthy};

fn check(group: &str, kind: &str, object: Value, health: Health, message: &str) {
    let key = ObjectKey {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: Some("shop".to_owned()),
        name: "web".to_owned(),
    };
    assert_eq!(
        examine(&key, &object),
        Finding::new(health, message),
        "{kind} {object}"
    );
}

fn said(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message})
}

#[test]
fn a_deployment_is_healthy_while_it_is_available() {
    let is = |replicas: i64, available: i64, conditions: Vec<Value>, health, message: &str| {
        let object = json!({"metadata": {"generation": 2}, "spec": {"replicas": replicas}, "status":
            {"observedGeneration": 2, "availableReplicas": available, "conditions": conditions}});
        check("apps", "Deployment", object, health, message);
    };
    let available = |status| said("Available", status, "x", "y");
    let progressing = |status, reason| said("Progressing", status, reason, "told");
    let done = progressing("True", "NewReplicaSetAvailable");
    is(3, 3, vec![available("True"), done.clone()], Healthy, "");
    // Enough of them, as its own controller counts.
    is(
        3,
        2,
        vec![available("True"), done.clone()],
        Healthy,
        "2 of 3 Pods are available",
    );
    is(
        1,
        0,
        vec![available("False"), done],
        Unhealthy,
        "0 of 1 Pods are available",
    );
    is(
        1,
        0,
        vec![available("False"), progressing("True", "ReplicaSetUpdated")],
        Progressing,
        "0 of 1 Pods are available",
    );
    is(1, 0, vec![], Progressing, "0 of 1 Pods are available");
    let late = progressing("False", "ProgressDeadlineExceeded");
    let late_message = "0 of 1 Pods are available; ProgressDeadlineExceeded: told";
    is(
        1,
        0,
        vec![available("False"), late.clone()],
        Unhealthy,
        late_message,
    );
    // The old Pods serve on while the new ones do not come.
    is(
        2,
        2,
        vec![available("True"), late],
        Healthy,
        "2 of 2 Pods are available; ProgressDeadlineExceeded: told",
    );
    let quota = said("ReplicaFailure", "True", "FailedCreate", "exceeded quota");
    is(
        1,
        0,
        vec![
            available("False"),
            progressing("True", "NewReplicaSetCreated"),
            quota,
        ],
        Unhealthy,
        "0 of 1 Pods are available; FailedCreate: exceeded quota",
    );
    is(0, 0, vec![available("False")], Healthy, "");
}

#[test]
fn what_its_controller_has_not_seen_is_not_judged() {
    let unseen =
        json!({"metadata": {"generation": 3}, "status": {"observedGeneration": 2, "availableReplicas": 1}});
    let message = "its controller has not seen its newest version yet";
    for (group, kind) in [
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("example.com", "Widget"),
    ] {
        check(group, kind, unseen.clone(), Progressing, message);
    }
}

#[test]
fn of_a_stateful_set_one_pod_may_be_missing() {
    let is = |wanted: i64, status: Value, health, message: &str| {
        let object = json!({"spec": {"replicas": wanted}, "status": status});
        check("apps", "StatefulSet", object, health, message);
    };
    let counts = |replicas: i64, updated: i64, available: i64| json!({"replicas": replicas, "updatedReplicas": updated, "availableReplicas": available});
    is(3, counts(3, 3, 3), Healthy, "");
    is(3, counts(3, 3, 2), Healthy, "2 of 3 Pods are available");
    is(3, counts(3, 3, 1), Unhealthy, "1 of 3 Pods are available");
    is(3, counts(2, 2, 1), Progressing, "1 of 3 Pods are available");
    is(3, counts(3, 1, 1), Progressing, "1 of 3 Pods are available");
    is(1, counts(1, 1, 0), Unhealthy, "0 of 1 Pods are available");
    is(
        1,
        json!({"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}),
        Healthy,
        "",
    );
    is(0, counts(0, 0, 0), Healthy, "");
}

#[test]
fn sets_serve_while_a_pod_does() {
    let set = |available: i64, replicas: i64| json!({"spec": {"replicas": 2}, "status": {"replicas": replicas, "availableReplicas": available}});
    check("apps", "ReplicaSet", set(2, 2), Healthy, "");
    check(
        "",
        "ReplicationController",
        set(1, 2),
        Healthy,
        "1 of 2 Pods are available",
    );
    check(
        "apps",
        "ReplicaSet",
        set(0, 1),
        Progressing,
        "0 of 2 Pods are available",
    );
    check(
        "apps",
        "ReplicaSet",
        set(0, 2),
        Unhealthy,
        "0 of 2 Pods are available",
    );
    let daemons = |wanted: i64, available: i64, updated: i64| {
        json!({"status": {"observedGeneration": 1,
        "desiredNumberScheduled": wanted, "numberAvailable": available, "updatedNumberScheduled": updated}})
    };
    check("apps", "DaemonSet", daemons(3, 3, 3), Healthy, "");
    check(
        "apps",
        "DaemonSet",
        daemons(3, 2, 3),
        Healthy,
        "2 of 3 Pods are available",
    );
    check(
        "apps",
        "DaemonSet",
        daemons(3, 0, 1),
        Progressing,
        "0 of 3 Pods are available",
    );
    check(
        "apps",
        "DaemonSet",
        daemons(3, 0, 3),
        Unhealthy,
        "0 of 3 Pods are available",
    );
    check(
        "apps",
        "DaemonSet",
        daemons(0, 0, 0),
        Healthy,
        "no node is to run it",
    );
    check(
        "apps",
        "DaemonSet",
        json!({"status": {}}),
        Progressing,
        "its controller has not seen it yet",
    );
}

#[test]
fn a_job_is_unhealthy_once_it_has_failed() {
    let job = |conditions: Vec<Value>| json!({"status": {"conditions": conditions}});
    check("batch", "Job", job(vec![]), Healthy, "");
    check(
        "batch",
        "Job",
        job(vec![said("Complete", "True", "", "")]),
        Healthy,
        "",
    );
    check(
        "batch",
        "Job",
        job(vec![said("Failed", "False", "", "")]),
        Healthy,
        "",
    );
    let failed = said("Failed", "True", "BackoffLimitExceeded", "too often");
    check(
        "batch",
        "Job",
        job(vec![failed]),
        Unhealthy,
        "BackoffLimitExceeded: too often",
    );
}

#[test]
fn a_pod_is_healthy_when_it_is_ready_or_done() {
    let is =
        |status: Value, health, message: &str| check("", "Pod", json!({"status": status}), health, message);
    let ready = |status| vec![said("Ready", status, "ContainersNotReady", "web")];
    is(json!({"phase": "Succeeded"}), Healthy, "");
    is(
        json!({"phase": "Running", "conditions": ready("True")}),
        Healthy,
        "",
    );
    is(
        json!({"phase": "Running", "conditions": ready("False")}),
        Unhealthy,
        "ContainersNotReady: web",
    );
    let waiting =
        |reason: &str| json!([{"name": "web", "state": {"waiting": {"reason": reason, "message": "no"}}}]);
    is(
        json!({"phase": "Running", "conditions": ready("False"), "containerStatuses": waiting("CrashLoopBackOff")}),
        Unhealthy,
        "container web: CrashLoopBackOff: no",
    );
    is(
        json!({"phase": "Pending", "initContainerStatuses": waiting("ImagePullBackOff")}),
        Unhealthy,
        "container web: ImagePullBackOff: no",
    );
    is(
        json!({"phase": "Pending", "containerStatuses": waiting("ContainerCreating")}),
        Progressing,
        "",
    );
    is(
        json!({"phase": "Pending", "conditions": [said("PodScheduled", "False", "Unschedulable", "0/3 nodes")]}),
        Progressing,
        "Unschedulable: 0/3 nodes",
    );
    is(
        json!({"phase": "Failed", "reason": "Evicted"}),
        Unhealthy,
        "Evicted",
    );
}

#[test]
fn claims_and_definitions_and_all_others_go_by_what_they_say() {
    let phase = |phase: &str| json!({"status": {"phase": phase}});
    check("", "PersistentVolumeClaim", phase("Bound"), Healthy, "");
    check(
        "",
        "PersistentVolumeClaim",
        phase("Lost"),
        Unhealthy,
        "its volume is lost",
    );
    check(
        "",
        "PersistentVolumeClaim",
        phase("Pending"),
        Healthy,
        "it is not bound to a volume yet",
    );

    let with =
        |conditions: Vec<Value>| json!({"metadata": {"generation": 2}, "status": {"conditions": conditions}});
    let definition = |conditions, health, message: &str| {
        check(
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            with(conditions),
            health,
            message,
        );
    };
    definition(vec![said("Established", "True", "", "")], Healthy, "");
    definition(vec![], Progressing, "it is not established yet");
    definition(
        vec![said("NamesAccepted", "False", "Conflict", "taken")],
        Unhealthy,
        "Conflict: taken",
    );

    let widget =
        |conditions, health, message: &str| check("example.com", "Widget", with(conditions), health, message);
    widget(vec![], Healthy, "");
    widget(vec![said("Synced", "False", "", "")], Healthy, "");
    widget(vec![said("Available", "True", "", "")], Healthy, "");
    widget(
        vec![said("Ready", "False", "Down", "gone")],
        Unhealthy,
        "Down: gone",
    );
    widget(
        vec![said("Ready", "Unknown", "Starting", "")],
        Progressing,
        "Starting",
    );
    // What is ready is asked first.
    widget(
        vec![
            said("Available", "True", "", ""),
            said("Ready", "False", "", "no"),
        ],
        Unhealthy,
        "no",
    );
    let mut old = said("Ready", "True", "", "");
    old["observedGeneration"] = 1.into();
    widget(
        vec![old],
        Progressing,
        "its controller has not judged its newest version yet",
    );
    check("", "ConfigMap", json!({"data": {}}), Healthy, "");
}

const PATIENCE: Patience = Patience {
    startup: Duration::from_secs(120),
    failure: Duration::from_secs(60),
};

/// What a monitor says after these observations, each at its second.
fn fails_at(observed: &[(u64, Option<Health>)]) -> Option<u64> {
    let mut monitor = FaultMonitor::default();
    for (second, health) in observed {
        monitor.observe(Duration::from_secs(*second), *health);
    }
    monitor.fails_at(PATIENCE).map(|time| time.as_secs())
}

#[test]
fn a_payload_that_starts_has_its_startup_time() {
    assert_eq!(fails_at(&[]), None);
    assert_eq!(fails_at(&[(10, Some(Progressing))]), Some(130));
    // What does not run yet looks unhealthy; that is no sooner end.
    let starting = [
        (10, Some(Progressing)),
        (20, Some(Unhealthy)),
        (30, Some(Progressing)),
    ];
    assert_eq!(fails_at(&starting), Some(130));
    assert_eq!(
        fails_at(&[(10, Some(Unhealthy)), (99, Some(Unhealthy))]),
        Some(130)
    );
    assert_eq!(fails_at(&[(10, Some(Unhealthy)), (99, Some(Healthy))]), None);
}

#[test]
fn a_payload_that_was_healthy_fails_when_it_stays_unhealthy() {
    let healthy = (0, Some(Healthy));
    assert_eq!(fails_at(&[healthy, (10, Some(Unhealthy))]), Some(70));
    assert_eq!(
        fails_at(&[healthy, (10, Some(Unhealthy)), (50, Some(Unhealthy))]),
        Some(70)
    );
    assert_eq!(
        fails_at(&[
            healthy,
            (10, Some(Unhealthy)),
            (50, Some(Healthy)),
            (60, Some(Unhealthy))
        ]),
        Some(120)
    );
    // A rollout has the startup time, and what breaks in it the failure time, but both together no longer.
    let rollout = [healthy, (10, Some(Progressing))];
    assert_eq!(fails_at(&rollout), Some(130));
    assert_eq!(
        fails_at(&[healthy, (10, Some(Progressing)), (30, Some(Unhealthy))]),
        Some(90)
    );
    assert_eq!(
        fails_at(&[healthy, (10, Some(Progressing)), (100, Some(Unhealthy))]),
        Some(130)
    );
}

#[test]
fn a_payload_that_is_run_anew_is_judged_anew() {
    let observed = [(0, Some(Healthy)), (10, Some(Unhealthy)), (20, None)];
    assert_eq!(fails_at(&observed), None);
    let again = [(0, Some(Healthy)), (20, None), (30, Some(Unhealthy))];
    assert_eq!(fails_at(&again), Some(150));
}
