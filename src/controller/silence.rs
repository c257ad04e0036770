//! Whether this cluster's API server takes this controller's writes in time, as people are told of it.
//!
//! A replica acts within its tenure only, which it renews by a write. Where that is not answered in time, nothing of the
//! payload is written and no leader is acknowledged, and that is to be read on the object: while it lasts, if the API
//! server is slow rather than gone, and in any case afterwards.

use std::time::Duration;

use tokio::time::Instant;

/// A shorter one is no news: the next write may be on its way.
const NEWS_AFTER: Duration = Duration::from_secs(1);

const SILENT: &str = "this cluster's API server does not take this controller's writes in time: until it does, nothing of the \
     payload is written, repaired or removed here, and this member acknowledges no leader. See whether the API server and etcd \
     are slow, overloaded or gone";

/// Since when the API server has not answered in time, and whether that was told.
#[derive(Debug, Default)]
pub(super) struct Silence {
    since: Option<Instant>,
    is_told: bool,
}

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It has begun.
    Begun,
    /// It has ended, after this time.
    Ended(Duration),
}

impl Silence {
    /// Takes whether this replica may act now.
    pub(super) fn look(&mut self, may_act: bool, now: Instant) -> Option<News> {
        let Some(since) = self.since else {
            self.since = (!may_act).then_some(now);
            return None;
        };
        let lasted = now.duration_since(since);
        if may_act {
            self.since = None;
            return std::mem::take(&mut self.is_told).then_some(News::Ended(lasted));
        }
        let is_news = !self.is_told && lasted >= NEWS_AFTER;
        self.is_told |= is_news;
        is_news.then_some(News::Begun)
    }

    /// What is not as it should be, with a reason in one word.
    pub(super) fn trouble(&self) -> Option<(&'static str, String)> {
        self.is_told.then(|| (News::Begun.reason(), SILENT.to_owned()))
    }
}

impl News {
    pub(super) fn reason(self) -> &'static str {
        match self {
            News::Begun => "ApiServerSilent",
            News::Ended(_) => "ApiServerAnswers",
        }
    }

    /// In words that an operator acts on, at this time.
    pub(super) fn note(self, now: jiff::Timestamp) -> String {
        match self {
            News::Begun => SILENT.to_owned(),
            News::Ended(after) => format!(
                "for {} s until {:.0} this cluster's API server did not take this controller's writes in time: nothing of the \
                 payload was written, repaired or removed here, and this member acknowledged no leader",
                after.as_secs(),
                now
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_told_when_it_has_begun_and_when_it_has_ended() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut silence = Silence::default();
        assert_eq!(silence.look(true, at(0)), None);
        assert_eq!(silence.look(false, at(1_000)), None);
        assert_eq!(silence.trouble(), None);
        assert_eq!(silence.look(false, at(2_000)), Some(News::Begun));
        assert_eq!(silence.look(false, at(3_000)), None);
        assert_eq!(
            silence.trouble().map(|(reason, _)| reason),
            Some("ApiServerSilent")
        );
        let ended = News::Ended(Duration::from_secs(12));
        assert_eq!(silence.look(true, at(13_000)), Some(ended));
        let note = ended.note(jiff::Timestamp::UNIX_EPOCH);
        assert!(
            note.starts_with("for 12 s until 1970-01-01T00:00:00Z this cluster's"),
            "{note}"
        );
        assert_eq!(silence.trouble(), None);
        assert_eq!(silence.look(true, at(14_000)), None);
    }

    #[test]
    fn what_does_not_last_is_no_news() {
        let start = Instant::now();
        let mut silence = Silence::default();
        assert_eq!(silence.look(false, start), None);
        assert_eq!(silence.look(true, start + Duration::from_secs(2)), None);
        assert_eq!(silence.trouble(), None);
    }
}
