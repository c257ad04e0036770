//! The payload's inventory as it stands in the status, among the payload's objects.

use crate::api::{MultiClusterStatus, ObjectState, PayloadObject};
use crate::cluster::ObjectKey;
use crate::payload::{Entry, Inventory};

/// Which inventory the status lists, and which it is to list.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// What the payload's runner saved last.
    saved: Inventory,
    /// What it will save first if this member is elected.
    foreseen: Option<Inventory>,
    /// What the status lists; unknown after a write that may have failed.
    durable: Option<Inventory>,
    /// What the write under way lists, and whether the runner asked for it.
    under_way: Option<(Inventory, bool)>,
}

impl Listing {
    /// The listing of a status that was read.
    pub(super) fn begin(listed: Inventory) -> Listing {
        Listing {
            saved: listed.clone(),
            durable: Some(listed),
            ..Listing::default()
        }
    }

    pub(super) fn saved(&self) -> &Inventory {
        &self.saved
    }

    /// Lists what the runner will save first, until it saves or another memory is written.
    pub(super) fn foresee(&mut self, foreseen: Option<Inventory>) {
        self.foreseen = foreseen;
    }

    /// Whether `inventory`, which the runner wants to save, is listed already and stays so; it then counts as saved.
    pub(super) fn adopt(&mut self, inventory: &Inventory) -> bool {
        self.foreseen = None;
        let stays = self
            .under_way
            .as_ref()
            .is_none_or(|(listed, _)| listed == inventory);
        let is_listed = self.durable.as_ref() == Some(inventory) && stays;
        if is_listed {
            self.saved.clone_from(inventory);
        }
        is_listed
    }

    /// A write begins: what it lists, if the runner asks for `wish`.
    pub(super) fn write(&mut self, wish: Option<&Inventory>) -> Inventory {
        let listed = wish.or(self.foreseen.as_ref()).unwrap_or(&self.saved).clone();
        self.under_way = Some((listed.clone(), wish.is_some()));
        listed
    }

    /// The write has come to its end.
    pub(super) fn written(&mut self, is_durable: bool) {
        let Some((listed, is_wish)) = self.under_way.take() else {
            return;
        };
        if is_durable && is_wish {
            self.saved.clone_from(&listed);
        }
        self.durable = is_durable.then_some(listed);
    }
}

/// What is ours, as the status lists it.
pub(in crate::controller) fn inventory_of(status: &MultiClusterStatus) -> Inventory {
    let objects = status
        .payload
        .as_ref()
        .map_or(&[][..], |payload| &payload.objects);
    let entry = |object: &PayloadObject| Entry {
        key: ObjectKey {
            group: object.group.clone(),
            kind: object.kind.clone(),
            namespace: Some(object.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            name: object.name.clone(),
        },
        version: object.version.clone(),
        uid: Some(object.uid.clone()).filter(|uid| !uid.is_empty()),
        kept: object.state == ObjectState::Kept,
    };
    Inventory {
        entries: objects.iter().filter(|object| object.owned).map(entry).collect(),
    }
}

/// Lists the inventory among the payload's objects, whose states are there already.
pub(super) fn list(status: &mut MultiClusterStatus, inventory: &Inventory) {
    let payload = status.payload.get_or_insert_default();
    for object in &mut payload.objects {
        object.owned = false;
        object.uid.clear();
    }
    for entry in &inventory.entries {
        let same = |object: &&mut PayloadObject| {
            object.kind == entry.key.kind
                && object.name == entry.key.name
                && object.group == entry.key.group
                && object.namespace == entry.key.namespace.as_deref().unwrap_or_default()
        };
        let uid = entry.uid.clone().unwrap_or_default();
        if let Some(object) = payload.objects.iter_mut().find(same) {
            (object.owned, object.uid) = (true, uid);
            object.version.clone_from(&entry.version);
            object.state = match (entry.kept, object.state) {
                (true, _) => ObjectState::Kept,
                (false, ObjectState::Kept) => ObjectState::Pending,
                (false, state) => state,
            };
        } else {
            payload.objects.push(PayloadObject {
                group: entry.key.group.clone(),
                version: entry.version.clone(),
                kind: entry.key.kind.clone(),
                namespace: entry.key.namespace.clone().unwrap_or_default(),
                name: entry.key.name.clone(),
                uid,
                owned: true,
                state: if entry.kept {
                    ObjectState::Kept
                } else {
                    ObjectState::Pending
                },
                health: None,
                message: String::new(),
            });
        }
    }
    // What is neither ours nor told of is an entry that has been dropped since.
    payload
        .objects
        .retain(|object| object.owned || object.state != ObjectState::Pending);
}

/// Leaves of the payload's objects what a restart needs: those that are ours.
pub(super) fn without_explanations(status: &mut MultiClusterStatus) {
    if let Some(payload) = &mut status.payload {
        payload.objects.retain(|object| object.owned);
        for object in &mut payload.objects {
            object.message.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, uid: Option<&str>, kept: bool) -> Entry {
        Entry {
            key: ObjectKey {
                group: "apps".to_owned(),
                kind: "Deployment".to_owned(),
                namespace: Some("shop".to_owned()),
                name: name.to_owned(),
            },
            version: "v1".to_owned(),
            uid: uid.map(str::to_owned),
            kept,
        }
    }

    fn inventory(names: &[&str]) -> Inventory {
        Inventory {
            entries: names.iter().map(|name| entry(name, None, false)).collect(),
        }
    }

    #[test]
    fn the_inventory_survives_in_the_status() {
        let inventory = Inventory {
            entries: vec![entry("a", Some("u1"), false), entry("b", None, true)],
        };
        let mut status = MultiClusterStatus::default();
        list(&mut status, &inventory);
        assert_eq!(inventory_of(&status), inventory);
        let fewer = Inventory {
            entries: vec![entry("b", Some("u2"), false)],
        };
        list(&mut status, &fewer);
        assert_eq!(inventory_of(&status), fewer);
    }

    #[test]
    fn what_is_foreseen_is_listed_with_the_vote_and_saved_without_another_write() {
        let mut listing = Listing::begin(inventory(&[]));
        listing.foresee(Some(inventory(&["a", "b"])));
        assert!(!listing.adopt(&inventory(&["a", "b"])), "it is not written yet");

        listing.foresee(Some(inventory(&["a", "b"])));
        assert_eq!(listing.write(None), inventory(&["a", "b"]));
        assert!(!listing.adopt(&inventory(&["a", "b"])), "the write may fail");
        listing.foresee(Some(inventory(&["a", "b"])));
        listing.written(true);
        assert!(listing.adopt(&inventory(&["a", "b"])));
        assert_eq!(listing.saved(), &inventory(&["a", "b"]));
        assert_eq!(listing.write(None), inventory(&["a", "b"]), "and stays listed");
    }

    #[test]
    fn what_was_foreseen_in_vain_is_listed_no_more() {
        let mut listing = Listing::begin(inventory(&["z"]));
        listing.foresee(Some(inventory(&["z", "a"])));
        listing.write(None);
        listing.written(true);
        listing.foresee(None);
        assert_eq!(listing.write(None), inventory(&["z"]));
        // The write that takes it back may come first.
        assert!(!listing.adopt(&inventory(&["z", "a"])));
        listing.written(false);
        assert!(
            !listing.adopt(&inventory(&["z", "a"])),
            "nobody knows what is listed"
        );
        assert_eq!(listing.write(Some(&inventory(&["a"]))), inventory(&["a"]));
        listing.written(true);
        assert_eq!(listing.saved(), &inventory(&["a"]));
    }

    #[test]
    fn an_object_that_is_too_large_keeps_what_a_restart_needs() {
        let mut status = MultiClusterStatus::default();
        list(&mut status, &inventory(&["a"]));
        let objects = &mut status.payload.get_or_insert_default().objects;
        objects[0].message = "why".to_owned();
        objects.push(PayloadObject {
            owned: false,
            ..objects[0].clone()
        });
        without_explanations(&mut status);
        assert_eq!(inventory_of(&status), inventory(&["a"]));
        let objects = status.payload.map_or_else(Vec::new, |payload| payload.objects);
        assert_eq!(objects.len(), 1);
        assert_eq!(objects[0].message, "");
    }
}
