//! Serves one MultiCluster, by one member after the other, until it is gone or the controller ends.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use tokio::time::Instant;

use super::announcer::Announcer;
use super::member::{End, Shell};
use super::shared::{Objects, Shared};
use super::turns::Turn;
use super::{finalizer, lifecycle};
use crate::api::MultiCluster;

/// After a finalizer could not be written, or a member not be started from the newest memory.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// Before a member is started again from newer memory than it was, at first: nobody stops its payload meanwhile.
const OUTDATED_PAUSE: Duration = Duration::from_millis(50);

/// Serves one MultiCluster until it is gone or the controller ends. A former one of the same name ends first.
pub(super) async fn serve(shared: Arc<Shared>, mut objects: Objects, turn: Turn) {
    let Some(_turn) = shared.exit.run_until_cancelled(turn.begin()).await else {
        return;
    };
    let Some(first) = objects.borrow().clone() else {
        return;
    };
    let mut announcer = Announcer::new(&first, shared.events.clone());
    let mut deference = Deference::default();
    let mut outdated_pause = OUTDATED_PAUSE;
    // What a member that gave way to newer memory may have left.
    let mut unfinished = None;
    while !shared.exit.is_cancelled() {
        let object = match next(&shared, &mut objects, &mut announcer).await {
            Next::Serve(object) => object,
            Next::Gone => {
                if let Some(Ok(shell)) = unfinished.map(|object| Shell::start(Arc::clone(&shared), object)) {
                    shell.clear_away().await;
                }
                return;
            }
            Next::Nothing => return,
        };
        let begun = Instant::now();
        let ended = match Shell::start(Arc::clone(&shared), Arc::clone(&object)) {
            Ok(shell) => shell.run(&mut objects).await,
            Err(error) => return tracing::error!(%error, "cannot serve a MultiCluster"),
        };
        match ended {
            End::Done => {
                // Somebody else's finalizer may keep an object that has left: nothing is to be done for it any more.
                let gone = objects.wait_for(Option::is_none);
                shared.exit.run_until_cancelled(gone).await;
                return;
            }
            End::Outdated => {
                unfinished = objects.borrow().clone().or(Some(object));
                pause(&shared, &mut objects, outdated_pause).await;
                outdated_pause = (outdated_pause * 2).min(RETRY_PAUSE);
            }
            End::Superseded => {
                unfinished = None;
                // Another replica has taken over everything, unless this one turns out to be the active one yet.
                shared.exit.run_until_cancelled(shared.mandate.regained()).await;
                let time = deference.after(begun.elapsed());
                announcer.tell(true, "Serving", "SecondController", second_controller(time));
                leave_alone(&shared, &mut objects, time).await;
            }
        }
    }
}

/// What is to be done next.
enum Next {
    /// This version is to be served: it has the finalizer, or is being deleted already.
    Serve(Arc<MultiCluster>),
    /// The object is gone.
    Gone,
    /// This controller ends, or has done its part.
    Nothing,
}

async fn next(shared: &Shared, objects: &mut Objects, announcer: &mut Announcer) -> Next {
    loop {
        let Some(object) = objects.borrow_and_update().clone() else {
            return Next::Gone;
        };
        if lifecycle::is_over(&object) {
            return Next::Nothing;
        }
        if !lifecycle::lacks_finalizer(&object) {
            return Next::Serve(object);
        }
        match finalizer::add(&shared.client, &object).await {
            Ok(object) => return Next::Serve(Arc::new(object)),
            Err(error) => match finalizer::trouble(&error) {
                Some(trouble) => announcer.tell(
                    true,
                    "Starting",
                    "CannotAddFinalizer",
                    format!("this member does not begin: {trouble}"),
                ),
                None => tracing::debug!(%error, object = object.name_any(), "cannot write the finalizer yet"),
            },
        }
        tokio::select! {
            () = shared.exit.cancelled() => return Next::Nothing,
            () = tokio::time::sleep(RETRY_PAUSE) => {}
            changed = objects.changed() => if changed.is_err() {
                return Next::Nothing;
            },
        }
    }
}

/// Waits; less when the object goes or the controller ends.
async fn pause(shared: &Shared, objects: &mut Objects, time: Duration) {
    tokio::select! {
        () = shared.exit.cancelled() => {}
        () = tokio::time::sleep(time) => {}
        _ = objects.wait_for(Option::is_none) => {}
    }
}

/// Waits until nobody has written the status for this time.
async fn leave_alone(shared: &Shared, objects: &mut Objects, time: Duration) {
    let status = |objects: &Objects| objects.borrow().as_ref().map(|object| object.status.clone());
    loop {
        let before = status(objects);
        pause(shared, objects, time).await;
        let after = status(objects);
        if shared.exit.is_cancelled() || after.is_none() || after == before {
            return;
        }
    }
}

fn second_controller(time: Duration) -> String {
    format!(
        "another controller has taken over this MultiCluster, and this one leaves it alone for {} s at least. Replicas of \
         one Deployment agree which of them is active: see that none was started by hand for a part of the namespaces",
        time.as_secs()
    )
}

/// How long an object is left to another controller that took it over. That one may be about to end, in a rolling
/// upgrade; if it is not, the two must not take turns, since each turn is an election and may be a move.
#[derive(Debug, Default)]
struct Deference {
    last: Option<Duration>,
}

impl Deference {
    const SHORTEST: Duration = Duration::from_secs(30);
    const LONGEST: Duration = Duration::from_secs(600);
    /// Who served for longer than another may have waited was not taking turns with it.
    const FORGOTTEN_AFTER: Duration = Duration::from_secs(3 * 600);

    /// Doubles with each turn; `served` is how long the one that has ended took.
    fn after(&mut self, served: Duration) -> Duration {
        let last = self.last.filter(|_| served < Self::FORGOTTEN_AFTER);
        let time = last.map_or(Self::SHORTEST, |last| (last * 2).min(Self::LONGEST));
        self.last = Some(time);
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_controllers_take_turns_ever_more_slowly() {
        let mut deference = Deference::default();
        let minute = Duration::from_secs(60);
        let pauses: Vec<_> = (0..7).map(|_| deference.after(minute).as_secs()).collect();
        assert_eq!(pauses, [30, 60, 120, 240, 480, 600, 600]);
        assert_eq!(
            deference.after(minute * 30).as_secs(),
            30,
            "that was another matter"
        );
        assert_eq!(deference.after(minute * 29).as_secs(), 60);
    }
}
