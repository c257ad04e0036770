//! Ctrl-C, for commands that clean up before they end.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

/// The result of `work`, or nothing if Ctrl-C or SIGTERM came first.
pub async fn unless_interrupted<T>(work: impl Future<Output = T>) -> Option<T> {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return Some(work.await);
    };
    tokio::select! {
        result = work => Some(result),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    }
}
