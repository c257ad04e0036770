//! How the payload does, told from what is seen of it.

use super::*;
use crate::payload::health::Health;

fn of(desk: &Desk) -> (Option<Health>, Vec<Option<(Health, String)>>) {
    let status = desk.status();
    let each = status.objects.iter().map(|object| {
        let finding = object.health.as_ref()?;
        Some((finding.health, finding.message.clone()))
    });
    (status.health, each.collect())
}

#[test]
fn a_payload_does_as_the_worst_of_its_objects() {
    let mut desk = Desk::running(&(manifest("ConfigMap", "a") + &manifest("Deployment", "b")));
    let fine = || Some((Health::Healthy, String::new()));
    let unseen = (Health::Progressing, "0 of 1 Pods are available".to_owned());
    assert_eq!(of(&desk), (Some(Health::Progressing), vec![fine(), Some(unseen)]));
    let mut serving = desk.object("Deployment b");
    serving["status"] =
        json!({"availableReplicas": 1, "conditions": [{"type": "Available", "status": "True"}]});
    desk.watched("Deployment b", &serving);
    assert_eq!(of(&desk), (Some(Health::Healthy), vec![fine(), fine()]));
    let mut failing = desk.object("Deployment b");
    failing["status"] = json!({"conditions": [
        {"type": "Available", "status": "False"},
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
    ]});
    desk.watched("Deployment b", &failing);
    assert_eq!(of(&desk).0, Some(Health::Unhealthy));
    // Where it is not run, nothing is told about it.
    desk.stop();
    assert_eq!(of(&desk), (None, vec![None, None]));
}

#[test]
fn what_is_not_in_place_is_not_well() {
    let mut desk = Desk::new(Inventory::default());
    desk.run(1, &manifest("ConfigMap", "a"));
    desk.plan();
    desk.plan();
    assert_eq!(of(&desk), (Some(Health::Progressing), vec![None]));
    // An API server that does not answer says nothing about the payload.
    let unanswered = Failure::Unavailable("no answer".to_owned(), None);
    desk.answer("ConfigMap a", failure(unanswered));
    assert_eq!(of(&desk), (Some(Health::Progressing), vec![None]));
    desk.wait(Duration::from_secs(1));
    desk.plan();
    desk.answer("ConfigMap a", failure(Failure::Rejected("no".to_owned())));
    assert_eq!(of(&desk), (Some(Health::Unhealthy), vec![None]));
    assert_eq!(of(&Desk::running("")), (Some(Health::Healthy), vec![]));
}
