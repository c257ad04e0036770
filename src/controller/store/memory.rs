//! The election's memory as it stands in the status: written, read back, and judged.

use sha2::{Digest, Sha256};

use super::listing::inventory_of;
use crate::api::{Memory, MultiClusterStatus};
use crate::election::Durable;

/// Why a member cannot go by what stands in its status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::controller) enum MemoryError {
    /// The record is not what was written.
    #[error("status.memory was changed by somebody else than Flagship: its digest does not fit")]
    Altered,
    /// The record cannot be read.
    #[error("status.memory cannot be read: {0}")]
    Unreadable(String),
}

/// What the member remembers, if it ever ran.
///
/// # Errors
/// The record was altered: the member must not go by it.
pub(in crate::controller) fn recall(status: &MultiClusterStatus) -> Result<Option<Durable>, MemoryError> {
    let Some(memory) = &status.memory else {
        return Ok(None);
    };
    if digest(&memory.record) != memory.digest {
        return Err(MemoryError::Altered);
    }
    serde_json::from_str(&memory.record)
        .map(Some)
        .map_err(|error| MemoryError::Unreadable(error.to_string()))
}

/// The memory as a writer of this name writes it.
pub(super) fn remember(durable: &Durable, writer: &str) -> Result<Memory, serde_json::Error> {
    let record = serde_json::to_string(durable)?;
    Ok(Memory {
        digest: digest(&record),
        record,
        writer: writer.to_owned(),
    })
}

/// What a memory that was found means to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// It is what this store knows.
    Ours,
    /// This store knows better: a write of its own that was thought to have failed, or somebody's hand.
    Forged,
    /// It was written after this store read its own, so that holds votes that this store does not know.
    Outdated,
    /// Another controller serves the object.
    TakenOver,
}

/// Each start takes the next incarnation, on top of exactly what it read: of two that start at once the first counts,
/// and nothing that a former one wrote at the last moment is forgotten.
pub(super) fn trust(
    found: &MultiClusterStatus,
    known: &MultiClusterStatus,
    writer: &str,
    incarnation: u64,
) -> Trust {
    let is_ours = |memory: &Option<Memory>| memory.as_ref().is_some_and(|memory| memory.writer == writer);
    // A former one may also have saved what it was about to create, and nothing else.
    if !is_ours(&known.memory) && !is_ours(&found.memory) && inventory_of(found) != inventory_of(known) {
        return Trust::Outdated;
    }
    if found.memory == known.memory {
        return Trust::Ours;
    }
    if is_ours(&found.memory) {
        return Trust::Forged;
    }
    if !is_ours(&known.memory) {
        return Trust::Outdated;
    }
    match recall(found) {
        Ok(Some(durable)) if durable.incarnation >= incarnation => Trust::TakenOver,
        Ok(_) | Err(_) => Trust::Forged,
    }
}

fn digest(record: &str) -> String {
    Sha256::digest(record.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::cluster::ObjectKey;
    use crate::controller::store::listing::list;
    use crate::election::MemoryId;
    use crate::payload::{Entry, Inventory};

    #[test]
    fn memory_reads_back_and_an_altered_one_is_told() {
        let durable = Durable {
            term: 7,
            ..Durable::new(MemoryId(5))
        };
        let mut status = MultiClusterStatus {
            memory: Some(remember(&durable, "a").unwrap()),
            ..Default::default()
        };
        assert_eq!(recall(&status), Ok(Some(durable)));
        let memory = status.memory.as_mut().unwrap();
        memory.record = memory.record.replace("\"term\":7", "\"term\":8");
        assert_eq!(recall(&status), Err(MemoryError::Altered));
        assert_eq!(recall(&MultiClusterStatus::default()), Ok(None));
    }

    #[test]
    fn of_two_controllers_one_gives_way_and_what_was_written_last_is_never_forgotten() {
        let written = |writer: &str, incarnation, term| {
            let durable = Durable {
                incarnation,
                term,
                ..Durable::new(MemoryId(5))
            };
            MultiClusterStatus {
                memory: Some(remember(&durable, writer).unwrap()),
                ..Default::default()
            }
        };
        let read = written("former", 3, 7);
        assert_eq!(trust(&read, &read, "a", 4), Trust::Ours);
        // The former controller has voted since.
        assert_eq!(trust(&written("former", 3, 8), &read, "a", 4), Trust::Outdated);
        // Another started at the same time and was first.
        assert_eq!(trust(&written("b", 4, 7), &read, "a", 4), Trust::Outdated);

        // The former controller has saved its inventory since.
        let key = ObjectKey {
            group: "apps".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "a".to_owned(),
        };
        let entry = Entry {
            key,
            version: "v1".to_owned(),
            uid: None,
            kept: false,
        };
        let inventory = Inventory { entries: vec![entry] };
        let mut saved = read.clone();
        list(&mut saved, &inventory);
        assert_eq!(trust(&saved, &read, "a", 4), Trust::Outdated);
        assert_eq!(trust(&read, &saved, "a", 4), Trust::Outdated);
        let mut told = saved.clone();
        told.term = Some(7);
        assert_eq!(
            trust(&told, &saved, "a", 4),
            Trust::Ours,
            "the inventory is the same"
        );

        let ours = written("a", 4, 7);
        let mut edited = ours.clone();
        list(&mut edited, &inventory);
        assert_eq!(trust(&edited, &ours, "a", 4), Trust::Ours, "and is put back");
        assert_eq!(trust(&written("b", 5, 7), &ours, "a", 4), Trust::TakenOver);
        assert_eq!(trust(&written("b", 4, 7), &ours, "a", 4), Trust::TakenOver);
        assert_eq!(trust(&written("a", 4, 8), &ours, "a", 4), Trust::Forged);
        assert_eq!(trust(&read, &ours, "a", 4), Trust::Forged);
        assert_eq!(
            trust(&MultiClusterStatus::default(), &ours, "a", 4),
            Trust::Forged
        );
    }
}
