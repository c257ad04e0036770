use super::*;
use crate::election::{Duty, Profile};

const OWN: MemberId = MemberId(1);

fn peer(id: u128, alive: Option<bool>) -> Peer {
    Peer {
        id: MemberId(id),
        profile: Profile {
            name: format!("m{id}").into(),
            address: format!("m{id}:1").into(),
            rank: 1,
            duty: Duty::Candidate,
        },
        last_heard: None,
        alive,
    }
}

/// The first leads, the second is silent, the third is heard, the fourth was never.
fn view(part: Part) -> View {
    View {
        part,
        leader: Some(OWN),
        voters: vec![
            peer(1, Some(true)),
            peer(2, Some(false)),
            peer(3, Some(true)),
            peer(4, None),
        ],
        need: 3,
        have: 2,
        unguarded: false,
        problem: None,
    }
}

fn all() -> BTreeSet<&'static str> {
    ["m1", "m2", "m3", "m4"].into()
}

fn due(names: &BTreeSet<&str>, part: Part, waits_for: &[u128], settled: bool) -> Vec<u128> {
    let waits_for: Vec<MemberId> = waits_for.iter().map(|id| MemberId(*id)).collect();
    let targets = targets(OWN, names, &view(part), &waits_for, settled);
    targets.into_iter().map(|(member, _)| member.0).collect()
}

#[test]
fn whoever_is_waited_for_is_fenced_at_once_and_other_silent_ones_after_a_lease() {
    assert_eq!(due(&all(), Part::Waiting, &[2], false), [2]);
    assert_eq!(due(&all(), Part::Leader, &[], false), [0; 0]);
    assert_eq!(due(&all(), Part::Leader, &[], true), [2, 4]);
}

#[test]
fn nobody_is_fenced_that_is_heard_or_not_named_and_nobody_by_a_follower() {
    assert_eq!(due(&all(), Part::Waiting, &[3], true), [2, 4]);
    assert_eq!(due(&["m3", "m4"].into(), Part::Leader, &[2], true), [4]);
    for part in [Part::Follower, Part::Candidate, Part::Leaderless, Part::Faulty] {
        assert_eq!(due(&all(), part, &[2], true), [0; 0], "{part:?}");
    }
}

#[test]
fn what_came_of_it_is_said_in_words() {
    let words = |outcome| {
        let report = Report {
            member: MemberId(2),
            name: "newyork".to_owned(),
            before: 5,
            outcome,
        };
        report.words()
    };
    let removed = |term, kept| {
        let took = Duration::from_millis(640);
        Outcome::Removed(Removed { term, kept, took })
    };
    assert_eq!(
        words(removed(Some(5), 0)),
        "removed the copy of the payload that newyork left in term 5, through its API server, in 640 ms"
    );
    assert_eq!(
        words(removed(Some(5), 2)),
        "removed the copy of the payload that newyork left in term 5, but for 2 objects that stay by their policy, through its \
         API server, in 640 ms"
    );
    assert_eq!(
        words(removed(None, 0)),
        "nothing was left of the payload of newyork, as its API server shows"
    );
    assert_eq!(
        words(Outcome::Impossible("connection refused".to_owned())),
        "the copy that newyork may have left was not removed: connection refused"
    );
}
