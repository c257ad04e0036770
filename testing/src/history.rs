//! When each object existed in which cluster, computed from what watches told.
//!
//! All times are on one monotonic clock, from the start of the recording. Presence begins when a watch first tells of an
//! object and ends when it tells that the object is gone: both are some milliseconds after the fact.
//!
//! A cluster that gives no sign of life tells nothing. From its last sign of life on, each object that it had counts as
//! [`Certainty::Unknown`], until the cluster answers again and either has the object or not. So every question
//! has two answers: by what is known, and by what is possible.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// What tells one object from the others of a cluster, and makes it the same object in another cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The kind, `Deployment` for example.
    pub kind: String,
    /// The namespace; empty for objects that have none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// Whether an object was seen to be there, or could not be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// The API server had it.
    Known,
    /// The API server had it when it last gave a sign of life.
    Unknown,
}

/// Which times count as presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Only those when the object was seen to be there.
    Known,
    /// Also those when nobody could see that it was gone.
    Possible,
}

/// A stretch of time in which one object was in one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Which object.
    pub key: ObjectKey,
    /// Where.
    pub cluster: String,
    /// Tells an object from one of the same name that was there before.
    pub uid: String,
    /// When it began.
    pub from: Duration,
    /// When it ended; for what is still there, the recording's end.
    pub to: Duration,
    /// Whether the object was seen.
    pub certainty: Certainty,
    /// When its deletion was first seen to have been asked for.
    pub terminating_from: Option<Duration>,
}

/// Two clusters had one object at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// Which object.
    pub key: ObjectKey,
    /// Where.
    pub clusters: [String; 2],
    /// When it began.
    pub from: Duration,
    /// When it ended.
    pub to: Duration,
}

/// No cluster had an object that one had before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Which object.
    pub key: ObjectKey,
    /// When it began.
    pub from: Duration,
    /// When the object was there again, if it ever was.
    pub to: Option<Duration>,
}

/// What happened, as it was noticed. The clusters are numbered as they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// A watch or list told of an object.
    Seen {
        at: Duration,
        cluster: usize,
        key: ObjectKey,
        uid: String,
        terminating: bool,
    },
    /// A watch told that an object was deleted, or a list no longer had it.
    Gone {
        at: Duration,
        cluster: usize,
        key: ObjectKey,
    },
    /// The cluster stopped answering; its last sign of life was at `since`.
    Lost { since: Duration, cluster: usize },
    /// The test did something.
    Mark { at: Duration, text: String },
}

/// The whole recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    spans: Vec<Span>,
    marks: Vec<(Duration, String)>,
    end: Duration,
}

impl History {
    /// Computes the history from records in the order in which they were made.
    pub(crate) fn new(clusters: &[String], records: &[Record], end: Duration) -> Self {
        let mut open: BTreeMap<(usize, ObjectKey), Span> = BTreeMap::new();
        let mut spans = Vec::new();
        let mut marks = Vec::new();
        for record in records {
            match record {
                Record::Seen {
                    at,
                    cluster,
                    key,
                    uid,
                    terminating,
                } => {
                    let entry = (*cluster, key.clone());
                    let mut span = match open.remove(&entry) {
                        Some(span) if span.uid == *uid && span.certainty == Certainty::Known => span,
                        earlier => {
                            spans.extend(earlier.map(|span| Span { to: *at, ..span }));
                            Span {
                                key: key.clone(),
                                cluster: clusters.get(*cluster).cloned().unwrap_or_default(),
                                uid: uid.clone(),
                                from: *at,
                                to: end,
                                certainty: Certainty::Known,
                                terminating_from: None,
                            }
                        }
                    };
                    span.terminating_from = span.terminating_from.or(terminating.then_some(*at));
                    open.insert(entry, span);
                }
                Record::Gone { at, cluster, key } => {
                    spans.extend(
                        open.remove(&(*cluster, key.clone()))
                            .map(|span| Span { to: *at, ..span }),
                    );
                }
                Record::Lost { since, cluster } => {
                    let known = |span: &&mut Span| span.certainty == Certainty::Known;
                    let lost = open
                        .iter_mut()
                        .filter(|((other, _), _)| other == cluster)
                        .map(|(_, span)| span);
                    for span in lost.filter(known) {
                        // What was first seen after the last sign of life was one itself.
                        let since = (*since).max(span.from);
                        spans.push(Span {
                            to: since,
                            ..span.clone()
                        });
                        span.from = since;
                        span.certainty = Certainty::Unknown;
                    }
                }
                Record::Mark { at, text } => marks.push((*at, text.clone())),
            }
        }
        spans.extend(open.into_values());
        spans.sort_by(|a, b| (&a.key, a.from, &a.cluster).cmp(&(&b.key, b.from, &b.cluster)));
        Self { spans, marks, end }
    }

    /// All stretches of presence, by object and then by time.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The objects that were ever there.
    pub fn keys(&self) -> BTreeSet<&ObjectKey> {
        self.spans.iter().map(|span| &span.key).collect()
    }

    /// How long was recorded.
    pub fn end(&self) -> Duration {
        self.end
    }

    /// When the test did what it marked by this text, for the first time.
    pub fn marked(&self, text: &str) -> Option<Duration> {
        self.marks
            .iter()
            .find(|(_, mark)| mark == text)
            .map(|(at, _)| *at)
    }

    /// When two clusters had the same object. A test that demands no second copy demands that this is empty.
    ///
    /// Overlaps by [`Presence::Known`] happened. Those by [`Presence::Possible`] include the times when a
    /// cluster gave no sign of life and may have had the object or not.
    pub fn overlaps(&self, presence: Presence) -> Vec<Overlap> {
        let mut overlaps = Vec::new();
        for key in self.keys() {
            let clusters: Vec<_> = self.presence_by_cluster(key, presence).into_iter().collect();
            for (index, (first, mine)) in clusters.iter().enumerate() {
                for (second, theirs) in &clusters[index + 1..] {
                    let common = mine
                        .iter()
                        .flat_map(|a| theirs.iter().map(move |b| (a.0.max(b.0), a.1.min(b.1))));
                    overlaps.extend(common.filter(|(from, to)| from < to).map(|(from, to)| Overlap {
                        key: key.clone(),
                        clusters: [(*first).to_owned(), (*second).to_owned()],
                        from,
                        to,
                    }));
                }
            }
        }
        overlaps
    }

    /// When no cluster had an object that one had before.
    ///
    /// By [`Presence::Known`] a gap is as long as it can have been: it counts the times when nobody could see the
    /// object. By [`Presence::Possible`] it is as long as it must have been.
    pub fn gaps(&self, presence: Presence) -> Vec<Gap> {
        let mut gaps = Vec::new();
        for key in self.keys() {
            let everywhere = merge(
                self.presence_by_cluster(key, presence)
                    .into_values()
                    .flatten()
                    .collect(),
            );
            let starts_after = everywhere
                .iter()
                .skip(1)
                .map(|(from, _)| Some(*from))
                .chain([None]);
            for ((_, ended), next) in everywhere.iter().zip(starts_after) {
                if next.is_some() || *ended < self.end {
                    gaps.push(Gap {
                        key: key.clone(),
                        from: *ended,
                        to: next,
                    });
                }
            }
        }
        gaps
    }

    /// The times in which each cluster had the object, without those that touch or overlap.
    fn presence_by_cluster(
        &self,
        key: &ObjectKey,
        presence: Presence,
    ) -> BTreeMap<&str, Vec<(Duration, Duration)>> {
        let mut clusters: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for span in self.spans.iter().filter(|span| span.key == *key) {
            if presence == Presence::Possible || span.certainty == Certainty::Known {
                clusters
                    .entry(&span.cluster)
                    .or_default()
                    .push((span.from, span.to));
            }
        }
        clusters
            .into_iter()
            .map(|(cluster, times)| (cluster, merge(times)))
            .collect()
    }
}

/// Joins intervals that touch or overlap.
fn merge(mut intervals: Vec<(Duration, Duration)>) -> Vec<(Duration, Duration)> {
    intervals.sort();
    let mut merged: Vec<(Duration, Duration)> = Vec::with_capacity(intervals.len());
    for (from, to) in intervals {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

/// The time line, for the message of a test that fails.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, text) in &self.marks {
            writeln!(f, "{:10.3} s  {text}", at.as_secs_f64())?;
        }
        let mut key = None;
        for span in &self.spans {
            if key.replace(&span.key) != Some(&span.key) {
                writeln!(f, "{}", span.key)?;
            }
            let (from, to) = (span.from.as_secs_f64(), span.to.as_secs_f64());
            write!(f, "{from:10.3} s {to:10.3} s  {:12}", span.cluster)?;
            match (span.certainty, span.terminating_from) {
                (Certainty::Known, None) => writeln!(f, "there")?,
                (Certainty::Known, Some(at)) => {
                    writeln!(f, "there, being deleted from {:.3} s", at.as_secs_f64())?
                }
                (Certainty::Unknown, _) => writeln!(f, "unknown: no sign of life of the cluster")?,
            }
        }
        writeln!(f, "{:10.3} s  end", self.end.as_secs_f64())
    }
}

#[cfg(test)]
mod tests;
