//! Planned handover: a change of rank makes another member the preferred one.

use std::time::Duration;

use flagship_testing::{Certainty, Error, History, Presence, Result, Span};

use crate::figures::{Figures, Sample, milliseconds};
use crate::group::{Group, OBJECTS};

/// Moves the payload to and fro between two members, as often as asked; it ends where it began.
pub(crate) async fn measure(group: &Group, figures: &mut Figures) -> Result<()> {
    let mut leader = 0;
    while figures.wants_more() {
        figures.take(hand_over(group, leader, 1 - leader).await?);
        leader = 1 - leader;
    }
    group.prefer(0).await?;
    group.settled(0).await
}

async fn hand_over(group: &Group, from: usize, to: usize) -> Result<Sample> {
    let asked = group.recorder.mark("the rank is changed");
    group.prefer(to).await?;
    group.settled(to).await?;
    let history = group.recorder.so_far();
    let [old, new] = [from, to].map(|index| group.sites[index].name());
    let gone = last(&history, |span| {
        (span.cluster == old && span.to > asked).then_some(span.to)
    });
    let new_spans = |span: &Span| (span.cluster == new && span.from > asked).then_some(span.from);
    let there = last(&history, new_spans);
    let first = history
        .spans()
        .iter()
        .filter(|span| span.certainty == Certainty::Known)
        .filter_map(new_spans)
        .min();
    let (Some(gone), Some(first), Some(there)) = (gone, first, there) else {
        return Err(incomplete(&history));
    };
    let twice = history
        .overlaps(Presence::Possible)
        .iter()
        .filter(|overlap| overlap.to > asked)
        .count();
    if twice > 0 || first < gone {
        return Err(Error::See {
            what: format!("one copy at a time, of which {twice} of {OBJECTS} objects had two"),
            history: history.to_string(),
        });
    }
    Ok(Sample::from([
        ("asked to last gone", milliseconds(gone - asked)),
        ("last gone to first there", milliseconds(first - gone)),
        ("last gone to last there", milliseconds(there - gone)),
        ("asked to last there", milliseconds(there - asked)),
    ]))
}

fn last(history: &History, time: impl Fn(&Span) -> Option<Duration>) -> Option<Duration> {
    history
        .spans()
        .iter()
        .filter(|span| span.certainty == Certainty::Known)
        .filter_map(time)
        .max()
}

fn incomplete(history: &History) -> Error {
    Error::See {
        what: "a payload that moves".into(),
        history: history.to_string(),
    }
}
