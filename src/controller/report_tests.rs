#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::controller::chronicle::Chronicle;
use crate::election::{Duty, MemberId, Profile};

/// What is known where nothing is, but for the payload.
fn knowledge(payload: &payload::Status, running: bool) -> Knowledge<'_> {
    static ALL_REACHED: BTreeMap<String, String> = BTreeMap::new();
    Knowledge {
        generation: None,
        port: None,
        view: None,
        term: 0,
        settings_differ: &[],
        spec_problems: &[],
        troubles: &[],
        unreachable: &ALL_REACHED,
        waits_for: Vec::new(),
        payload,
        payload_is_current: true,
        payload_error: None,
        verdict: Verdict::Untried,
        has_failed: false,
        keeps_payload: false,
        running,
        history: &[],
        request: None,
        conditions: Vec::new(),
        tick: Tick(90),
        now: jiff::Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn a_status_compares_equal_to_what_the_api_server_tells_of_it() {
    let now: jiff::Timestamp = "2026-01-01T00:00:00.123456789Z".parse().unwrap();
    let newyork = Peer {
        id: MemberId(1),
        profile: Profile {
            name: "newyork".into(),
            address: "10.0.0.1:9990".into(),
            rank: 5,
            duty: Duty::Candidate,
        },
        last_heard: Some(Tick(40)),
        alive: Some(true),
    };
    let view = View {
        part: Part::Leader,
        leader: Some(MemberId(1)),
        voters: vec![newyork],
        need: 1,
        have: 1,
        unguarded: false,
        problem: None,
    };
    let mut chronicle = Chronicle::default();
    chronicle.leads(
        MemberId(1),
        "newyork".to_owned(),
        3,
        "was elected".to_owned(),
        now,
    );
    let payload = payload::Status::default();
    let written = status(&Knowledge {
        generation: Some(1),
        port: Some(9990),
        view: Some(view),
        term: 3,
        history: &chronicle.moves(),
        now,
        ..knowledge(&payload, true)
    });
    let told: MultiClusterStatus = serde_json::from_value(serde_json::to_value(&written).unwrap()).unwrap();
    assert_eq!(told, written);
}

fn object(
    name: &str,
    state: payload::ObjectState,
    health: Option<(payload::Health, &str)>,
) -> payload::ObjectStatus {
    payload::ObjectStatus {
        key: crate::cluster::ObjectKey {
            group: String::new(),
            kind: "Pod".to_owned(),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
        },
        version: "v1".to_owned(),
        document: Some(1),
        state,
        message: String::new(),
        health: health.map(|(health, message)| payload::Finding {
            health,
            message: message.to_owned(),
        }),
    }
}

#[test]
fn the_worst_objects_are_named_first_and_a_failure_is_told() {
    use payload::Health::{Healthy, Progressing, Unhealthy};
    use payload::ObjectState::{Applied, Pending};
    let said = |health, objects: Vec<payload::ObjectStatus>, has_failed, running| {
        let payload = payload::Status {
            phase: payload::Phase::Applied,
            objects,
            health: Some(health),
            ..payload::Status::default()
        };
        health_condition(&Knowledge {
            has_failed,
            ..knowledge(&payload, running)
        })
    };
    let fine = object("fine", Applied, Some((Healthy, "2 of 3 Pods are available")));
    let starting = object("starting", Applied, Some((Progressing, "Unschedulable: no node")));
    let broken = object("broken", Applied, Some((Unhealthy, "Evicted")));
    let waiting = object("waiting", Pending, None);
    assert_eq!(
        said(Healthy, vec![fine.clone()], false, true),
        (
            Some(true),
            "Healthy",
            "every object does what it is there for".to_owned()
        )
    );
    let told = "Pod shop/broken: Evicted; Pod shop/starting: Unschedulable: no node; Pod shop/waiting is not in place yet";
    let all = vec![waiting, fine, starting, broken];
    assert_eq!(
        said(Unhealthy, all.clone(), false, true),
        (Some(false), "Unhealthy", told.to_owned())
    );
    assert_eq!(
        said(Progressing, all[..1].to_vec(), false, true),
        (
            Some(false),
            "Progressing",
            "Pod shop/waiting is not in place yet".to_owned()
        )
    );
    assert_eq!(
        said(Unhealthy, all.clone(), true, true),
        (
            Some(false),
            "Failed",
            format!("the payload has been unwell for longer than spec.health allows: {told}")
        )
    );
    assert_eq!(said(Unhealthy, all, true, false).1, "NotRunning");
}

#[test]
fn who_could_not_run_the_payload_is_degraded_and_keeping_it_makes_two_copies() {
    let payload = payload::Status::default();
    let refused = Knowledge {
        verdict: Verdict::Refused("Pod shop/web: no".to_owned()),
        ..knowledge(&payload, false)
    };
    let message = "this cluster could not run the payload: Pod shop/web: no".to_owned();
    assert_eq!(
        eligible_condition(&refused),
        (Some(false), "NotPermitted", message.clone())
    );
    assert_eq!(
        degraded_condition(&refused),
        (Some(true), "NotPermitted", message)
    );
    let leading = Knowledge {
        verdict: Verdict::Refused("Pod shop/web: no".to_owned()),
        ..knowledge(&payload, true)
    };
    assert_eq!(eligible_condition(&leading).1, "Leading");
    assert_eq!(eligible_condition(&knowledge(&payload, false)).0, None);
    assert_eq!(split_condition(&knowledge(&payload, false)).1, "Guarded");
    let keeping = Knowledge {
        keeps_payload: true,
        ..knowledge(&payload, false)
    };
    assert_eq!(split_condition(&keeping).1, "DemotionKeepsPayload");
}
