//! Walking through a model, and what is told of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

use super::actions::Action;
use super::group::Group;
use super::state::{Mishap, State};

/// What a walk through a model found.
#[derive(Clone, Debug)]
pub struct Findings {
    /// What was checked, with its bounds.
    pub title: String,
    /// States reached, each time they were.
    pub states: usize,
    /// Different ones.
    pub unique_states: usize,
    /// The most steps in a row.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// Invariants that were broken, each with how.
    pub broken: BTreeMap<&'static str, String>,
    /// What ought to be possible and is not within the bounds.
    pub impossible: Vec<&'static str>,
}

/// How a model is walked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// All of it, in little memory.
    Whole,
    /// Until an invariant is broken, by as few steps as possible.
    Shortest,
}

/// Walks through a model on so many threads.
#[must_use]
pub fn check(group: Group, walk: Walk, threads: usize) -> Findings {
    let began = Instant::now();
    let title = title(&group);
    let properties = group.properties();
    let builder = group
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures);
    let (states, unique_states, depth, discoveries, broken);
    match walk {
        Walk::Whole => {
            let checker = builder.spawn_dfs().join();
            (states, unique_states, depth) = (
                checker.state_count(),
                checker.unique_state_count(),
                checker.max_depth(),
            );
            discoveries = checker.discoveries();
            broken = tell(checker.model(), &properties, &discoveries);
        }
        Walk::Shortest => {
            let checker = builder.spawn_bfs().join();
            (states, unique_states, depth) = (
                checker.state_count(),
                checker.unique_state_count(),
                checker.max_depth(),
            );
            discoveries = checker.discoveries();
            broken = tell(checker.model(), &properties, &discoveries);
        }
    }
    let is_missing = |property: &&stateright::Property<Group>| {
        property.expectation == Expectation::Sometimes && !discoveries.contains_key(property.name)
    };
    Findings {
        title,
        states,
        unique_states,
        depth,
        took: began.elapsed(),
        broken,
        impossible: properties
            .iter()
            .filter(is_missing)
            .map(|property| property.name)
            .collect(),
    }
}

type Discoveries = std::collections::HashMap<&'static str, Path<State, Action>>;

fn tell(
    group: &Group,
    properties: &[stateright::Property<Group>],
    discoveries: &Discoveries,
) -> BTreeMap<&'static str, String> {
    let failures = properties
        .iter()
        .filter(|property| property.expectation.discovery_is_failure());
    failures
        .filter_map(|property| {
            let path = discoveries.get(property.name)?;
            Some((property.name, story(group, path.clone())))
        })
        .collect()
}

fn title(group: &Group) -> String {
    let bounds = &group.bounds;
    let mishaps = &bounds.misfortunes;
    let kinds = [
        (Mishap::Crash, "crashes"),
        (Mishap::Pause, "pauses"),
        (Mishap::Cut, "cuts"),
        (Mishap::Loss, "losses"),
        (Mishap::Delay, "delays"),
        (Mishap::Disorder, "changes of order"),
        (Mishap::Repetition, "repetitions"),
        (Mishap::SlowWrite, "slow writes"),
        (Mishap::FailedWrite, "failed writes"),
        (Mishap::Restore, "restored backups"),
    ];
    let kinds: Vec<String> = kinds
        .into_iter()
        .map(|(kind, name)| (mishaps.each[kind as usize], name))
        .filter(|(most, _)| *most > 0)
        .map(|(most, name)| format!("{most} {name}"))
        .collect();
    format!(
        "{}: {} units of time, terms to {}, {} messages a link at an instant, {} mishaps of {}",
        group.name,
        bounds.units,
        bounds.term,
        bounds.per_link,
        mishaps.any,
        kinds.join(", "),
    )
}

/// How it came to this, a line for each step.
fn story(group: &Group, path: Path<State, Action>) -> String {
    let mut story = String::new();
    for (state, action) in path.into_vec() {
        let Some(action) = action else { continue };
        let parts: Vec<String> = (0..state.seats.len())
            .map(|seat| match state.seats[seat].member() {
                Some(member) => {
                    let now = group.now(&state, seat);
                    let claim = member
                        .claim(now)
                        .map_or(String::new(), |claim| format!("!{}", claim.until.0));
                    format!("{}:{:?}{claim}", now.0, member.view(now).part)
                }
                None => "down".to_owned(),
            })
            .collect();
        let what = match action {
            Action::Deliver(place) | Action::Repeat(place) | Action::Delay(place) | Action::Lose(place) => {
                let flight = &state.flights[place];
                format!("{action:?} from {}: {:?}", flight.from, flight.received.message)
            }
            Action::Pass => continue,
            other => format!("{other:?}"),
        };
        story.push_str(&format!(
            "{:>4} [{}] at {}: {what}\n",
            state.instant,
            parts.join(" "),
            state.turn
        ));
    }
    story
}
