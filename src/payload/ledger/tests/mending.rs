//! Drift and refusals: what is done about them, and how it is told.

use super::*;

#[test]
fn drift_is_repaired_and_news_without_drift_is_not() {
    let mut desk = Desk::running(&manifest("ConfigMap", "a"));
    let mut object = desk.object("ConfigMap a");
    object["status"]["ready"] = 1.into();
    object["spec"]["other"] = "theirs".into();
    desk.watched("ConfigMap a", &object);
    assert_eq!(desk.plan(), NOTHING);
    let mut older = object.clone();
    older["spec"]["size"] = 7.into();
    older["metadata"]["resourceVersion"] = "5".into();
    desk.watched("ConfigMap a", &older);
    assert_eq!(desk.plan(), NOTHING);
    let mut changed = desk.object("ConfigMap a");
    changed["spec"]["size"] = 7.into();
    changed["metadata"]["managedFields"] = json!([{"manager": "flagship", "operation": "Update"}]);
    desk.watched("ConfigMap a", &changed);
    assert_eq!(desk.plan(), ["Upgrade u-a@13 ConfigMap a"]);
    changed["metadata"]["managedFields"] = json!([{"manager": "flagship", "operation": "Apply"}]);
    changed["metadata"]["resourceVersion"] = "14".into();
    desk.answer("ConfigMap a", Outcome::Object(changed));
    assert_eq!(desk.plan(), ["Apply u-a@14 ConfigMap a"]);
    // Its status has changed meanwhile.
    desk.answer("ConfigMap a", Outcome::Changed);
    assert_eq!(desk.plan(), ["Look ConfigMap a"]);
    let mut current = desk.object("ConfigMap a");
    current["spec"]["size"] = 7.into();
    current["metadata"]["resourceVersion"] = "15".into();
    desk.answer("ConfigMap a", Outcome::Object(current));
    assert_eq!(desk.plan(), ["Apply u-a@15 ConfigMap a"]);
    desk.revision = 15;
    desk.succeed("ConfigMap a");
    assert_eq!(desk.plan(), NOTHING);
    assert_eq!((desk.status().phase, desk.status().repairs), (Phase::Applied, 1));
}

#[test]
fn a_deleted_object_is_created_again_when_it_is_gone() {
    let mut desk = Desk::running(&manifest("ConfigMap", "a"));
    let mut object = desk.object("ConfigMap a");
    let (key, _) = desk.key("ConfigMap a");
    // Gone, or without our label: only a look can tell.
    desk.ledger.unwatched(desk.now, &key, &object);
    assert_eq!(desk.plan(), ["Look ConfigMap a"]);
    desk.answer("ConfigMap a", Outcome::Gone);
    assert_eq!(desk.plan(), ["Create ConfigMap a"]);
    desk.succeed("ConfigMap a");
    // With a finalizer it goes in two steps, and the second one leaves no doubt.
    desk.revision = 50;
    object = desk.object("ConfigMap a");
    object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    desk.watched("ConfigMap a", &object);
    assert_eq!(desk.state("ConfigMap a"), ObjectState::Terminating);
    assert_eq!(desk.plan(), NOTHING);
    desk.ledger.unwatched(desk.now, &key, &object);
    assert_eq!(desk.plan(), ["Create ConfigMap a"]);
    desk.succeed("ConfigMap a");
    assert_eq!(desk.status().repairs, 2);
}

#[test]
fn a_deletion_seen_during_a_write_is_not_forgotten() {
    let mut desk = Desk::running(&manifest("ConfigMap", "a"));
    let mut changed = desk.object("ConfigMap a");
    changed["spec"]["size"] = 7.into();
    desk.watched("ConfigMap a", &changed);
    assert_eq!(desk.plan(), ["Apply u-a@12 ConfigMap a"]);
    let (key, _) = desk.key("ConfigMap a");
    desk.ledger.unwatched(desk.now, &key, &changed);
    desk.succeed("ConfigMap a");
    assert_eq!(desk.plan(), ["Look ConfigMap a"]);
    desk.answer("ConfigMap a", Outcome::Gone);
    assert_eq!(desk.plan(), ["Create ConfigMap a"]);
}

#[test]
fn an_object_missing_from_a_list_is_looked_at() {
    let mut desk = Desk::running(&["a", "b"].map(|name| manifest("ConfigMap", name)).concat());
    let watched = desk.ledger.watches().first().unwrap().clone();
    desk.ledger.listed(&watched, |key| key.name == "a");
    assert_eq!(desk.plan(), ["Look ConfigMap a"]);
    desk.succeed("ConfigMap a");
    assert_eq!(desk.plan(), NOTHING);
    assert_eq!(desk.status().repairs, 0);
}

#[test]
fn what_may_not_be_watched_is_said_to_be_blind_until_it_may() {
    let mut desk = Desk::running(&manifest("ConfigMap", "a"));
    let watched = desk.ledger.watches().first().unwrap().clone();
    desk.ledger
        .watch_refused(watched.clone(), "User x cannot watch resource".to_owned());
    let status = desk.status();
    assert_eq!(
        (status.phase, status.objects[0].state),
        (Phase::Applied, ObjectState::Applied)
    );
    assert_eq!(
        status.objects[0].message,
        "in place, but if others change it that is not noticed: User x cannot watch resource: \
         grant this to that account"
    );
    desk.ledger.listed(&watched, |_| false);
    assert_eq!(desk.status().objects[0].message, "");
}

#[test]
fn who_keeps_changing_it_back_slows_the_repairs_down() {
    let mut desk = Desk::running(&manifest("ConfigMap", "a"));
    let mut waits = Vec::new();
    for _ in 0..14 {
        let mut changed = desk.object("ConfigMap a");
        changed["spec"]["size"] = 7.into();
        desk.watched("ConfigMap a", &changed);
        let plan = desk.ledger.plan(desk.now, 8, true);
        if let Some(time) = plan.again_at.filter(|_| plan.actions.is_empty()) {
            assert_eq!(desk.state("ConfigMap a"), ObjectState::Contested);
            waits.push((time - desk.now).as_millis());
            desk.now = time;
            desk.plan();
        } else {
            waits.push(0);
            plan.actions
                .into_iter()
                .for_each(|action| drop(desk.note(action)));
        }
        desk.succeed("ConfigMap a");
    }
    assert_eq!(waits[..3], [0, 0, 0]);
    assert!(
        waits[3] >= 250 && waits[3..].is_sorted_by(|a, b| a < b || *a >= 30_000),
        "{waits:?}"
    );
    assert!(waits[13] <= 37_500, "{waits:?}");
    // Left alone for a while, it is repaired at once again.
    desk.wait(Duration::from_secs(100));
    let mut changed = desk.object("ConfigMap a");
    changed["spec"]["size"] = 7.into();
    desk.watched("ConfigMap a", &changed);
    assert_eq!(desk.plan().len(), 1);
}

#[test]
fn a_mark_that_was_taken_away_is_drift_while_running() {
    let mut desk = Desk::running(&manifest("ConfigMap", "a"));
    let mut unmarked = desk.object("ConfigMap a");
    unmarked["metadata"]["labels"] = json!({});
    let (key, _) = desk.key("ConfigMap a");
    desk.ledger.unwatched(desk.now, &key, &unmarked);
    assert_eq!(desk.plan(), ["Look ConfigMap a"]);
    desk.answer("ConfigMap a", Outcome::Object(unmarked));
    assert_eq!(desk.plan(), ["Apply u-a@12 ConfigMap a"]);
}

#[test]
fn conflicts_are_met_with_ever_longer_waits_and_told() {
    let mut desk = Desk::running(&manifest("ConfigMap", "a"));
    let mut live = desk.object("ConfigMap a");
    desk.run(2, &manifest("ConfigMap", "a"));
    let mut waits = Vec::new();
    for _ in 0..9 {
        let plan = desk.plan();
        assert!(plan[0].starts_with("Apply u-a@"), "{plan:?}");
        desk.answer("ConfigMap a", Outcome::Changed);
        let time = desk.ledger.plan(desk.now, 0, true).again_at.unwrap_or(desk.now);
        waits.push((time - desk.now).as_millis());
        desk.now = time;
        assert_eq!(desk.plan(), ["Look ConfigMap a"]);
        desk.revision += 1;
        live["metadata"]["resourceVersion"] = desk.revision.to_string().into();
        desk.answer("ConfigMap a", Outcome::Object(live.clone()));
    }
    assert!(waits[1] >= 20 && waits[8] >= 1_000, "{waits:?}");
    assert_eq!(desk.state("ConfigMap a"), ObjectState::Unavailable);
    let message = &desk.status().objects[0].message;
    assert!(message.contains("9 times in a row"), "{message}");
    desk.plan();
    desk.succeed("ConfigMap a");
    assert_eq!(desk.state("ConfigMap a"), ObjectState::Applied);
}

#[test]
fn a_long_refusal_is_cut() {
    let mut desk = Desk::new(Inventory::default());
    desk.run(1, &manifest("ConfigMap", "a"));
    desk.plan();
    desk.plan();
    let refusal = format!("Invalid value: {}", "ä".repeat(100_000));
    desk.answer("ConfigMap a", failure(Failure::Rejected(refusal)));
    let message = &desk.status().objects[0].message;
    assert!(
        message.starts_with("Invalid value: ää") && message.len() < 610,
        "{}",
        message.len()
    );
}

#[test]
fn refusals_are_told_and_tried_again_ever_later() {
    let mut desk = Desk::new(Inventory::default());
    desk.run(
        1,
        &["a", "b", "c"].map(|name| manifest("ConfigMap", name)).concat(),
    );
    desk.plan();
    desk.plan();
    desk.answer(
        "ConfigMap a",
        failure(Failure::Forbidden(
            "User x cannot create resource configmaps".to_owned(),
        )),
    );
    desk.answer(
        "ConfigMap b",
        failure(Failure::Unavailable(
            "busy".to_owned(),
            Some(Duration::from_secs(3)),
        )),
    );
    desk.succeed("ConfigMap c");
    assert_eq!(desk.status().phase, Phase::Incomplete);
    assert_eq!(
        desk.status().objects[0].message,
        "User x cannot create resource configmaps: grant this to that account"
    );
    let plan = desk.ledger.plan(desk.now, 8, true);
    desk.wait(Duration::from_millis(2_999));
    assert!(plan.actions.is_empty() && !desk.plan().contains(&"Create ConfigMap b".to_owned()));
    desk.wait(Duration::from_millis(1));
    assert_eq!(desk.plan(), ["Create ConfigMap b"]);
    desk.succeed("ConfigMap b");
    desk.wait(Duration::from_millis(600));
    assert_eq!(desk.plan(), ["Save [ConfigMap a, ConfigMap b, ConfigMap c]"]);
    let mut waits = Vec::new();
    for _ in 0..6 {
        let plan = desk.ledger.plan(desk.now, 8, true);
        let time = plan.again_at.expect("it is tried again");
        waits.push((time - desk.now).as_secs());
        desk.now = time;
        assert_eq!(desk.plan(), ["Create ConfigMap a"]);
        desk.answer("ConfigMap a", failure(Failure::Forbidden("no".to_owned())));
    }
    assert!(waits[1] >= 10 && waits[5] >= 60 && waits[5] <= 75, "{waits:?}");
}

#[test]
fn an_object_that_is_created_without_our_marks_is_ours_all_the_same() {
    let mut desk = Desk::new(Inventory::default());
    desk.run(1, &manifest("ConfigMap", "a"));
    desk.plan();
    desk.plan();
    let mut waits = Vec::new();
    for _ in 0..6 {
        let mut stripped = desk.object("ConfigMap a");
        stripped["metadata"]["labels"] = json!({});
        stripped["metadata"]["annotations"] = json!({});
        desk.answer("ConfigMap a", Outcome::Object(stripped));
        assert_eq!(desk.state("ConfigMap a"), ObjectState::Contested);
        let answered_at = desk.now;
        loop {
            desk.plan();
            if !desk.under_way.is_empty() {
                break;
            }
            let plan = desk.ledger.plan(desk.now, 8, true);
            desk.now = plan.again_at.expect("it is written again");
        }
        waits.push((desk.now - answered_at).as_millis());
    }
    assert!(waits[0] >= 250 && waits[5] >= 8_000, "{waits:?}");
    let message = &desk.status().objects[0].message;
    assert!(message.contains("webhook"), "{message}");
    // So it goes with the rest.
    let mut stripped = desk.object("ConfigMap a");
    stripped["metadata"]["labels"] = json!({});
    desk.stop();
    desk.answer("ConfigMap a", Outcome::Object(stripped));
    assert_eq!(desk.plan()[0], "Delete u-a@17 ConfigMap a");
}

#[test]
fn a_creation_that_finds_what_cannot_be_found_is_repeated_ever_later() {
    let mut desk = Desk::new(Inventory::default());
    desk.run(1, &manifest("ConfigMap", "a"));
    desk.plan();
    let mut waits = Vec::new();
    for _ in 0..8 {
        assert_eq!(desk.plan(), ["Create ConfigMap a"]);
        desk.answer("ConfigMap a", Outcome::Exists);
        let time = desk.ledger.plan(desk.now, 0, true).again_at.unwrap_or(desk.now);
        waits.push((time - desk.now).as_millis());
        desk.now = time;
        assert_eq!(desk.plan(), ["Look ConfigMap a"]);
        desk.answer("ConfigMap a", Outcome::Gone);
    }
    assert!(waits[0] == 0 && waits[1] >= 20 && waits[7] >= 1_000, "{waits:?}");
    assert_eq!(desk.state("ConfigMap a"), ObjectState::Unavailable);
}
