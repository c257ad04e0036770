#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::election::{Duty, GroupId, Membership, MemoryId, Profile, Roster, Settings, Voter};

fn profile() -> Profile {
    Profile {
        name: "newyork".into(),
        address: "10.0.0.1:9990".into(),
        rank: 5,
        duty: Duty::Candidate,
    }
}

fn config() -> Config {
    Config {
        profile: profile(),
        fleet: Vec::new(),
        ready: true,
        found_without: Vec::new(),
        settings: Settings::BALANCED,
        paused: false,
        stop_timeout_ms: 30_000,
    }
}

const UNSERVED: Standing = Standing {
    has_member: false,
    awaits_address: false,
    is_deleted: false,
    is_leaving: false,
    is_alone: false,
    order: Order::Hold,
};
const DELETED: Standing = Standing {
    is_deleted: true,
    ..UNSERVED
};

#[test]
fn a_member_begins_with_its_address_and_nothing_stops_while_that_is_asked_for() {
    for unserved in [UNSERVED, DELETED] {
        let asking = Standing {
            awaits_address: true,
            ..unserved
        };
        assert_eq!(asks(asking, Some(config())), []);
        assert_eq!(asks(asking, None), []);
    }
    // Once it takes part, an address that is to be had no more changes nothing else.
    let served = Standing {
        has_member: true,
        awaits_address: true,
        ..UNSERVED
    };
    assert_eq!(asks(served, Some(config())), [Ask::Configure(config())]);
}

#[test]
fn without_a_valid_spec_a_payload_stops_that_may_run_elsewhere() {
    assert_eq!(asks(UNSERVED, None), [Ask::Stop]);
    let ordered = Standing {
        order: Order::Stop,
        ..UNSERVED
    };
    assert_eq!(asks(ordered, None), [], "once is enough");
    let alone = Standing {
        is_alone: true,
        ..UNSERVED
    };
    assert_eq!(asks(alone, None), [], "nobody else can have started it");
    let served = Standing {
        has_member: true,
        order: Order::Run { term: 3 },
        ..UNSERVED
    };
    assert_eq!(asks(served, None), []);
    assert_eq!(asks(UNSERVED, Some(config())), [Ask::Start(config())]);
    assert_eq!(asks(served, Some(config())), [Ask::Configure(config())]);
}

#[test]
fn a_deleted_object_leaves_once_even_where_its_spec_is_mended_late() {
    let alone = Standing {
        is_alone: true,
        ..DELETED
    };
    assert_eq!(asks(alone, None), [Ask::Stop]);
    let stopping = Standing {
        is_leaving: true,
        order: Order::Stop,
        ..DELETED
    };
    assert_eq!(asks(stopping, None), []);
    assert_eq!(asks(stopping, Some(config())), [Ask::Start(config()), Ask::Leave]);
    let served = Standing {
        has_member: true,
        ..DELETED
    };
    assert_eq!(asks(served, None), [Ask::Leave]);
    assert_eq!(
        asks(served, Some(config())),
        [Ask::Configure(config()), Ask::Leave]
    );
    let leaving = Standing {
        is_leaving: true,
        ..served
    };
    assert_eq!(asks(leaving, Some(config())), [Ask::Configure(config())]);
}

#[test]
fn only_who_is_the_whole_group_is_alone() {
    let voter = |id| Voter {
        id: MemberId(id),
        memory: MemoryId(id),
        profile: profile(),
    };
    let mut durable = Durable::new(MemoryId(1));
    assert!(
        !is_alone(None, MemberId(1)),
        "a memory that was lost had a group, perhaps"
    );
    assert!(!is_alone(Some(&durable), MemberId(1)));
    let mut roster = Roster::founded(voter(1), Settings::BALANCED);
    let group = |roster: &Roster| {
        Some(Membership {
            id: GroupId(9),
            roster: Arc::new(roster.clone()),
        })
    };
    durable.group = group(&roster);
    assert!(is_alone(Some(&durable), MemberId(1)));
    assert!(!is_alone(Some(&durable), MemberId(2)), "a copied memory");
    roster.voters.push(voter(2));
    durable.group = group(&roster);
    assert!(!is_alone(Some(&durable), MemberId(1)));
}

fn object(metadata: Value, states: &[&str]) -> MultiCluster {
    let objects: Vec<Value> = states
        .iter()
        .map(|state| json!({"version": "v1", "kind": "ConfigMap", "name": state, "owned": true, "state": state}))
        .collect();
    serde_json::from_value(json!({
        "apiVersion": "kube-vip.io/v1alpha1", "kind": "MultiCluster", "metadata": metadata,
        "spec": {"port": 9990, "callsign": "federation", "rank": 5},
        "status": {"payload": {"objects": objects}},
    }))
    .unwrap()
}

#[test]
fn a_deleted_object_that_somebody_else_keeps_is_served_until_nothing_of_ours_is_left() {
    let theirs = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/backup"]});
    let ours =
        json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/backup", FINALIZER]});
    assert!(is_over(&object(theirs.clone(), &[])));
    assert!(is_over(&object(theirs.clone(), &["Kept"])));
    assert!(
        !is_over(&object(theirs, &["Kept", "Applied"])),
        "somebody took our finalizer off, and the payload is there"
    );
    assert!(!is_over(&object(ours, &[])));
    assert!(!is_over(&object(
        json!({"finalizers": ["example.com/backup"]}),
        &[]
    )));
}

#[test]
fn a_finalizer_that_was_dropped_is_missed_until_the_deletion() {
    assert!(lacks_finalizer(&object(
        json!({"finalizers": ["example.com/backup"]}),
        &[]
    )));
    assert!(!lacks_finalizer(&object(json!({"finalizers": [FINALIZER]}), &[])));
    assert!(!lacks_finalizer(&object(
        json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        &[]
    )));
}

#[test]
fn a_member_that_its_leader_still_needs_stays_however_long_that_takes() {
    let seconds = Duration::from_secs;
    let asked = Leaving {
        has_left: Some(false),
        is_gone: true,
        asked_for: seconds(14),
        unled_for: None,
        was_needed: false,
    };
    assert_eq!(departure(asked), Departure::Awaited);
    let long = Leaving {
        asked_for: seconds(9_000),
        ..asked
    };
    assert_eq!(departure(long), Departure::Needed);
    assert!(!departure(long).is_final());
    // The leader is started anew.
    let unled = |was_needed, unled_for| Leaving {
        was_needed,
        unled_for: Some(seconds(unled_for)),
        ..long
    };
    assert_eq!(departure(unled(true, 290)), Departure::Awaited);
    assert_eq!(departure(unled(true, 301)), Departure::Unanswered);
    assert_eq!(departure(unled(false, 14)), Departure::Awaited);
    assert_eq!(departure(unled(false, 16)), Departure::Unanswered);
    let running = Leaving {
        is_gone: false,
        ..unled(false, 16)
    };
    assert_eq!(
        departure(running),
        Departure::Awaited,
        "its payload is to stop first"
    );
    for has_left in [Some(true), None] {
        assert_eq!(departure(Leaving { has_left, ..asked }), Departure::Free);
    }
}
