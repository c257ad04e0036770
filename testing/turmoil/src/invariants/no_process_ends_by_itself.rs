//! No process ends but by what is done to it, and no task of it panics, even where a panic ends that task only.

use std::cell::Cell;
use std::panic;
use std::sync::Once;

thread_local! {
    /// Panics on this thread, which has one simulation at a time.
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// Counts panics from here on.
pub(crate) fn watch_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            tell(panic);
        }));
    });
    PANICS.set(0);
}

/// What is wrong after a step of the world.
pub(crate) fn broken(step: turmoil::Result<bool>) -> Option<String> {
    match (step, PANICS.take()) {
        (Err(error), _) => Some(format!("a process ended by itself: {error}")),
        (Ok(_), 0) => None,
        (Ok(_), _) => Some("a task panicked; it is told above".to_owned()),
    }
}
