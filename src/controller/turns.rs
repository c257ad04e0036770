//! Objects of one name are served one after the other: what their payloads are known by is that name, so that a former
//! one that is still being cleared away would delete what the next one applies.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// The turns of all names.
#[derive(Debug, Default)]
pub(super) struct Turns {
    names: HashMap<String, Weak<Mutex<()>>>,
}

/// One turn, which comes when the former ones of its name are over.
#[derive(Debug)]
pub(super) struct Turn {
    name: Arc<Mutex<()>>,
}

impl Turns {
    /// A turn of `namespace/name`.
    pub(super) fn of(&mut self, name: String) -> Turn {
        self.names.retain(|_, turn| turn.strong_count() > 0);
        let turn = self.names.get(&name).and_then(Weak::upgrade).unwrap_or_default();
        self.names.insert(name, Arc::downgrade(&turn));
        Turn { name: turn }
    }
}

impl Turn {
    /// Waits until it comes; it is over when what is returned is dropped.
    pub(super) async fn begin(self) -> OwnedMutexGuard<()> {
        self.name.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_next_of_a_name_waits_and_others_do_not() {
        let mut turns = Turns::default();
        let first = turns
            .of("shop/newyork".to_owned())
            .begin()
            .now_or_never()
            .unwrap();
        let second = turns.of("shop/newyork".to_owned()).begin();
        tokio::pin!(second);
        assert!(second.as_mut().now_or_never().is_none());
        assert!(
            turns
                .of("shop/sheffield".to_owned())
                .begin()
                .now_or_never()
                .is_some()
        );
        drop(first);
        assert!(second.now_or_never().is_some());
        drop(turns.of("other/newyork".to_owned()));
        assert_eq!(
            turns.names.len(),
            1,
            "names that are served no longer are forgotten"
        );
    }
}
