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
        let answer = timeout(ANSWER_LIMIT, ask_whether_ready(&client)).await;
        let answers = answer.is_ok_and(|answer| is_there(&answer));
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

/// Whether this is the answer of an API server that is not lost. One that knows this controller and does not let it ask is
/// there; only what it says of etcd is not to be had. One that knows it no more lets it write nothing either.
fn is_there(answer: &Result<(), kube::Error>) -> bool {
    match answer {
        Ok(()) => true,
        Err(kube::Error::Api(status)) => status.code == 403,
        Err(_) => false,
    }
}

/// Ready includes etcd: one without it answers, and can store nothing.
async fn ask_whether_ready(client: &Client) -> Result<(), kube::Error> {
    let request = hyper::Request::get("/readyz")
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    client.request_text(request).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn an_api_server_that_does_not_let_us_ask_is_not_lost_and_one_without_etcd_is() {
        let refused = |code| {
            Err(kube::Error::Api(Box::new(
                Status::failure("no", "No").with_code(code),
            )))
        };
        assert!(is_there(&Ok(())));
        assert!(is_there(&refused(403)));
        for code in [401, 429, 500, 503] {
            assert!(!is_there(&refused(code)), "{code}");
        }
        assert!(!is_there(&Err(kube::Error::LinesCodecMaxLineLengthExceeded)));
    }
}
