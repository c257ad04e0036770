#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::controller::chronicle::Chronicle;
use crate::election::{Duty, MemberId, Profile};

#[test]
fn a_status_compares_equal_to_what_the_api_server_tells_of_it() {
    let now: jiff::Timestamp = "2026-01-01T00:00:00.123456789Z".parse().unwrap();
    let newyork = Peer {
        id: MemberId(1),
        profile: Profile {
            name: "newyork".to_owned(),
            address: "10.0.0.1:9990".to_owned(),
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
    let written = status(&Knowledge {
        generation: Some(1),
        port: Some(9990),
        view: Some(view),
        term: 3,
        spec_problems: &[],
        troubles: &[],
        unreachable: &BTreeMap::new(),
        waits_for: Vec::new(),
        payload: &payload::Status::default(),
        payload_is_current: true,
        payload_error: None,
        verdict: Verdict::Untried,
        has_failed: false,
        keeps_payload: false,
        running: true,
        history: &chronicle.moves(),
        request: None,
        conditions: Vec::new(),
        tick: Tick(90),
        now,
    });
    let told: MultiClusterStatus = serde_json::from_value(serde_json::to_value(&written).unwrap()).unwrap();
    assert_eq!(told, written);
}
