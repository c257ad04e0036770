//! Removing what another member left.

use super::*;

const TWO: [&str; 2] = ["a", "b"];

/// A removal of what ran in term 1 of the group, and the objects as that member wrote them.
fn fence() -> (Desk, Value, Value) {
    let text = TWO.map(|name| manifest("ConfigMap", name)).concat();
    let mut before = Desk::running(&text);
    let (a, b) = (before.object("ConfigMap a"), before.object("ConfigMap b"));
    let mut desk = Desk::new(before.ledger.inventory());
    desk.order(Order::Fence {
        term: 3,
        group: "g".to_owned(),
        policy: DemotionPolicy::Delete,
        payload: None,
    });
    assert_eq!(desk.plan(), ["Look ConfigMap b", "Look ConfigMap a"]);
    (desk, a, b)
}

fn marked(object: &Value, annotation: &str, value: &str) -> Value {
    let mut object = object.clone();
    object["metadata"]["annotations"][annotation] = value.into();
    object
}

#[test]
fn what_another_left_is_removed_and_the_term_that_it_bore_is_told() {
    let (mut desk, a, b) = fence();
    let term = a["metadata"]["annotations"][TERM_ANNOTATION].as_str().unwrap();
    let term = term.parse::<u64>().unwrap();
    desk.answer("ConfigMap a", Outcome::Object(a));
    desk.answer("ConfigMap b", Outcome::Object(b));
    assert_eq!(
        desk.plan(),
        ["Delete u-b@14 ConfigMap b", "Delete u-a@13 ConfigMap a"]
    );
    desk.succeed("ConfigMap a");
    desk.succeed("ConfigMap b");
    assert_eq!(desk.plan(), ["Sweep [ConfigMap a, ConfigMap b]"]);
    assert_eq!(desk.status().phase, Phase::Stopping);
    desk.ledger.swept(desk.now, Swept::Clean);
    let status = desk.status();
    assert_eq!((status.phase, status.term), (Phase::Stopped, Some(term)));
}

#[test]
fn what_is_gone_already_is_not_waited_for_and_bears_no_term() {
    let (mut desk, ..) = fence();
    desk.succeed("ConfigMap a");
    desk.succeed("ConfigMap b");
    assert_eq!(desk.plan(), ["Sweep [ConfigMap a, ConfigMap b]"]);
    desk.ledger.swept(desk.now, Swept::Clean);
    let status = desk.status();
    assert_eq!((status.phase, status.term), (Phase::Stopped, None));
}

#[test]
fn what_is_kept_tells_of_no_term() {
    // It may be there since long ago, of any group, or written by hand.
    for (group, term) in [("g", "2"), ("g", "9"), ("h", "2")] {
        let (mut desk, a, b) = fence();
        let kept = marked(&b, ON_DEMOTION_ANNOTATION, "Keep");
        let kept = marked(&marked(&kept, TERM_ANNOTATION, term), GROUP_ANNOTATION, group);
        desk.answer("ConfigMap a", Outcome::Object(a));
        desk.answer("ConfigMap b", Outcome::Object(kept));
        assert_eq!(desk.plan(), ["Delete u-a@13 ConfigMap a"]);
        desk.succeed("ConfigMap a");
        assert_eq!(desk.plan(), ["Sweep [ConfigMap a]"]);
        desk.ledger.swept(desk.now, Swept::Clean);
        let status = desk.status();
        assert_eq!(
            (status.phase, status.term),
            (Phase::Stopped, Some(1)),
            "{group} {term}"
        );
    }
}

#[test]
fn what_bears_a_higher_term_or_another_groups_mark_ends_the_removal() {
    let shows = [
        (TERM_ANNOTATION, "4", "ConfigMap shop/b bears the higher term 4"),
        (
            GROUP_ANNOTATION,
            "h",
            "ConfigMap shop/b bears the mark of another group",
        ),
    ];
    for (annotation, value, reason) in shows {
        let (mut desk, a, b) = fence();
        desk.answer("ConfigMap a", Outcome::Object(a));
        desk.answer("ConfigMap b", Outcome::Object(marked(&b, annotation, value)));
        desk.wait(Duration::from_secs(60));
        assert_eq!(desk.plan(), NOTHING, "{annotation}");
        let reason = reason.to_owned();
        assert_eq!(desk.status().phase, Phase::WarnedOff { reason });
    }
}

#[test]
fn what_is_not_of_the_payload_stays() {
    let (mut desk, a, b) = fence();
    let foreign = marked(&b, MULTICLUSTER_ANNOTATION, "shop/another");
    desk.answer("ConfigMap a", Outcome::Object(a));
    desk.answer("ConfigMap b", Outcome::Object(foreign));
    assert_eq!(desk.plan(), ["Delete u-a@13 ConfigMap a"]);
}

#[test]
fn what_comes_back_is_left_to_whoever_brings_it_back() {
    // While the rest is being removed.
    let (mut desk, a, b) = fence();
    desk.answer("ConfigMap a", Outcome::Object(a.clone()));
    desk.answer("ConfigMap b", Outcome::Object(b.clone()));
    desk.plan();
    let mut again = a.clone();
    again["metadata"]["uid"] = "another".into();
    again["metadata"]["resourceVersion"] = "99".into();
    desk.answer("ConfigMap a", Outcome::Object(again));
    desk.succeed("ConfigMap b");
    desk.wait(Duration::from_secs(60));
    assert_eq!(desk.plan(), NOTHING);
    let warned_off = Phase::WarnedOff {
        reason: "ConfigMap shop/a is there again after it was removed".to_owned(),
    };
    assert_eq!(desk.status().phase, warned_off);

    // When all seemed to be gone.
    let (mut desk, a, b) = fence();
    let (key, _) = desk.key("ConfigMap a");
    desk.answer("ConfigMap a", Outcome::Object(a));
    desk.answer("ConfigMap b", Outcome::Object(b));
    desk.plan();
    desk.succeed("ConfigMap a");
    desk.succeed("ConfigMap b");
    desk.plan();
    desk.ledger.swept(desk.now, Swept::Objects(vec![key]));
    desk.wait(Duration::from_secs(60));
    assert_eq!(desk.plan(), NOTHING);
    assert_eq!(desk.status().phase, warned_off);
}
