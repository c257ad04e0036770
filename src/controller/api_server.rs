//! Whether this cluster's API server answers, for members whose users want another to lead when it does not.

use std::sync::OnceLock;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How often it is asked: `onApiServerLoss.after` is told in seconds.
const PAUSE: Duration = Duration::from_secs(1);
/// An answer that takes longer is none: every write of the election would have failed by then.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Asks the API server whether it is ready, from the first time that somebody wants to know.
#[derive(Default)]
pub(super) struct ApiServer {
    lost_since: OnceLock<watch::Receiver<Option<Instant>>>,
}

impl ApiServer {
    /// For how long the API server has not answered, if it does not.
    pub(super) fn lost_for(&self, client: &Client, exit: &CancellationToken) -> Option<Duration> {
        let lost_since = self.lost_since.get_or_init(|| {
            let (sender, receiver) = watch::channel(None);
            let asking = ask(client.clone(), sender);
            let exit = exit.clone();
            tokio::spawn(async move { exit.run_until_cancelled(asking).await });
            receiver
        });
        lost_since.borrow().map(|since| since.elapsed())
    }
}

async fn ask(client: Client, lost_since: watch::Sender<Option<Instant>>) {
    loop {
        let asked_at = Instant::now();
        let answers = matches!(timeout(ANSWER_LIMIT, is_ready(&client)).await, Ok(Ok(())));
        lost_since.send_if_modified(|lost| {
            let was = *lost;
            *lost = if answers { None } else { lost.or(Some(asked_at)) };
            *lost != was
        });
        if lost_since.is_closed() {
            return;
        }
        sleep(PAUSE).await;
    }
}

/// Ready includes etcd: one without it answers, and can store nothing.
async fn is_ready(client: &Client) -> Result<(), kube::Error> {
    let request = hyper::Request::get("/readyz")
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    client.request_text(request).await.map(|_| ())
}
