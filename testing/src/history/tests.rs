#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use super::*;

const NEWYORK: usize = 0;
const SHEFFIELD: usize = 1;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn key(name: &str) -> ObjectKey {
    ObjectKey {
        kind: "ConfigMap".into(),
        namespace: "shop".into(),
        name: name.into(),
    }
}

fn seen(at: u64, cluster: usize, name: &str, uid: &str) -> Record {
    Record::Seen {
        at: ms(at),
        cluster,
        key: key(name),
        uid: uid.into(),
        terminating: false,
    }
}

fn terminating(at: u64, cluster: usize, name: &str, uid: &str) -> Record {
    Record::Seen {
        at: ms(at),
        cluster,
        key: key(name),
        uid: uid.into(),
        terminating: true,
    }
}

fn gone(at: u64, cluster: usize, name: &str) -> Record {
    Record::Gone {
        at: ms(at),
        cluster,
        key: key(name),
    }
}

fn lost(since: u64, cluster: usize) -> Record {
    Record::Lost {
        since: ms(since),
        cluster,
    }
}

fn history(records: &[Record]) -> History {
    History::new(&["newyork".into(), "sheffield".into()], records, ms(1000))
}

/// From, to, certainty and cluster of each span.
fn spans(history: &History) -> Vec<(u128, u128, Certainty, &str)> {
    let times = |span: &Span| (span.from.as_millis(), span.to.as_millis());
    history
        .spans()
        .iter()
        .map(|span| {
            (
                times(span).0,
                times(span).1,
                span.certainty,
                span.cluster.as_str(),
            )
        })
        .collect()
}

fn overlaps(history: &History, presence: Presence) -> Vec<(u128, u128)> {
    history
        .overlaps(presence)
        .iter()
        .map(|one| (one.from.as_millis(), one.to.as_millis()))
        .collect()
}

fn gaps(history: &History, presence: Presence) -> Vec<(u128, Option<u128>)> {
    history
        .gaps(presence)
        .iter()
        .map(|gap| (gap.from.as_millis(), gap.to.map(|to| to.as_millis())))
        .collect()
}

use Certainty::{Known, Unknown};

#[test]
fn a_clean_move_has_a_gap_and_no_overlap() {
    let history = history(&[
        seen(10, NEWYORK, "web", "a"),
        seen(20, NEWYORK, "web", "a"),
        terminating(300, NEWYORK, "web", "a"),
        gone(320, NEWYORK, "web"),
        seen(350, SHEFFIELD, "web", "b"),
    ]);
    assert_eq!(
        spans(&history),
        [(10, 320, Known, "newyork"), (350, 1000, Known, "sheffield")]
    );
    assert_eq!(history.spans()[0].terminating_from, Some(ms(300)));
    assert_eq!(history.spans()[1].terminating_from, None);
    assert_eq!(overlaps(&history, Presence::Known), []);
    assert_eq!(overlaps(&history, Presence::Possible), []);
    assert_eq!(gaps(&history, Presence::Known), [(320, Some(350))]);
    assert_eq!(gaps(&history, Presence::Possible), [(320, Some(350))]);
}

#[test]
fn two_copies_overlap_for_as_long_as_both_are_there() {
    let history = history(&[
        seen(10, NEWYORK, "web", "a"),
        seen(300, SHEFFIELD, "web", "b"),
        gone(450, NEWYORK, "web"),
        seen(10, NEWYORK, "other", "c"),
    ]);
    let overlap = &history.overlaps(Presence::Known)[0];
    assert_eq!(overlap.key, key("web"));
    assert_eq!(overlap.clusters, ["newyork".to_owned(), "sheffield".to_owned()]);
    assert_eq!(overlaps(&history, Presence::Known), [(300, 450)]);
    assert_eq!(gaps(&history, Presence::Known), []);
}

#[test]
fn one_ends_as_the_other_begins_without_overlap_or_gap() {
    let history = history(&[
        seen(10, NEWYORK, "web", "a"),
        gone(300, NEWYORK, "web"),
        seen(300, SHEFFIELD, "web", "b"),
    ]);
    assert_eq!(overlaps(&history, Presence::Possible), []);
    assert_eq!(gaps(&history, Presence::Known), []);
}

#[test]
fn a_silent_cluster_is_unknown_from_its_last_sign_of_life_until_it_answers() {
    let history = history(&[
        seen(10, NEWYORK, "web", "a"),
        seen(10, NEWYORK, "late", "b"),
        lost(200, NEWYORK),
        // Told again while it is still silent: nothing changes.
        lost(200, NEWYORK),
        seen(500, SHEFFIELD, "web", "c"),
        seen(700, NEWYORK, "web", "a"),
        gone(700, NEWYORK, "late"),
        gone(800, NEWYORK, "web"),
    ]);
    let (late, web): (Vec<_>, Vec<_>) = history.spans().iter().partition(|span| span.key.name == "late");
    assert_eq!(
        late.iter()
            .map(|span| (span.from, span.to, span.certainty))
            .collect::<Vec<_>>(),
        [(ms(10), ms(200), Known), (ms(200), ms(700), Unknown)]
    );
    assert_eq!(
        web.iter()
            .map(|span| (span.from, span.to, span.certainty))
            .collect::<Vec<_>>(),
        [
            (ms(10), ms(200), Known),
            (ms(200), ms(700), Unknown),
            (ms(500), ms(1000), Known),
            (ms(700), ms(800), Known),
        ]
    );
    assert_eq!(overlaps(&history, Presence::Known), [(700, 800)]);
    assert_eq!(overlaps(&history, Presence::Possible), [(500, 800)]);
    // "late" was last seen at 200, and for certain gone at 700.
    assert_eq!(gaps(&history, Presence::Known), [(200, None), (200, Some(500))]);
    assert_eq!(gaps(&history, Presence::Possible), [(700, None)]);
}

#[test]
fn a_cluster_that_never_comes_back_stays_possible_to_the_end() {
    let history = history(&[
        seen(10, NEWYORK, "web", "a"),
        lost(200, NEWYORK),
        seen(500, SHEFFIELD, "web", "b"),
    ]);
    assert_eq!(overlaps(&history, Presence::Known), []);
    assert_eq!(overlaps(&history, Presence::Possible), [(500, 1000)]);
    assert_eq!(gaps(&history, Presence::Known), [(200, Some(500))]);
    assert_eq!(gaps(&history, Presence::Possible), []);
}

#[test]
fn an_object_first_seen_after_the_last_sign_of_life_was_seen_all_the_same() {
    let history = history(&[seen(300, NEWYORK, "web", "a"), lost(200, NEWYORK)]);
    assert_eq!(
        spans(&history),
        [(300, 300, Known, "newyork"), (300, 1000, Unknown, "newyork")]
    );
    assert_eq!(overlaps(&history, Presence::Known), []);
}

#[test]
fn an_object_of_the_same_name_with_another_uid_is_another_object() {
    let history = history(&[seen(10, NEWYORK, "web", "a"), seen(200, NEWYORK, "web", "b")]);
    assert_eq!(
        history
            .spans()
            .iter()
            .map(|span| span.uid.as_str())
            .collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(
        spans(&history),
        [(10, 200, Known, "newyork"), (200, 1000, Known, "newyork")]
    );
    assert_eq!(gaps(&history, Presence::Known), []);
}

#[test]
fn losing_one_cluster_says_nothing_of_the_other() {
    let history = history(&[seen(10, SHEFFIELD, "web", "a"), lost(200, NEWYORK)]);
    assert_eq!(spans(&history), [(10, 1000, Known, "sheffield")]);
}

#[test]
fn the_time_line_names_marks_objects_and_what_is_unknown() {
    let history = history(&[
        seen(10, NEWYORK, "web", "a"),
        Record::Mark {
            at: ms(150),
            text: "newyork lost".into(),
        },
        lost(200, NEWYORK),
    ]);
    assert_eq!(history.marked("newyork lost"), Some(ms(150)));
    let text = history.to_string();
    for part in [
        "0.150 s  newyork lost",
        "ConfigMap shop/web",
        "0.010 s      0.200 s  newyork",
        "unknown",
        "1.000 s  end",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}
