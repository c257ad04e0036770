//! Times of many runs, and what is told of them.

use std::time::Duration;

use serde::Serialize;

use crate::progress::Progress;

/// The times of one run in milliseconds, each with its name.
pub(crate) type Sample = Vec<(&'static str, f64)>;

/// What a time is to be at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) figure: &'static str,
    pub(crate) percentile: u32,
    pub(crate) at_most_ms: f64,
}

/// The samples of one kind, as they are gathered.
#[derive(Debug)]
pub(crate) struct Figures {
    wanted: usize,
    samples: Vec<Sample>,
    progress: Progress,
}

/// How a time is distributed over the runs, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Distribution {
    pub(crate) figure: &'static str,
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// A goal and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Goal {
    pub(crate) figure: String,
    pub(crate) unit: &'static str,
    pub(crate) at_most: f64,
    pub(crate) measured: f64,
    pub(crate) met: bool,
}

impl Goal {
    pub(crate) fn new(figure: String, unit: &'static str, at_most: f64, measured: f64) -> Self {
        Self {
            figure,
            unit,
            at_most,
            measured,
            met: measured <= at_most,
        }
    }
}

impl Figures {
    pub(crate) fn new(name: &'static str, wanted: usize) -> Self {
        Self {
            wanted,
            samples: Vec::with_capacity(wanted),
            progress: Progress::new(name, wanted),
        }
    }

    pub(crate) fn wants_more(&self) -> bool {
        self.samples.len() < self.wanted
    }

    pub(crate) fn take(&mut self, sample: Sample) {
        self.samples.push(sample);
        let times = self.samples.last().into_iter().flatten();
        let said: Vec<_> = times.map(|(name, ms)| format!("{name} {ms:.0} ms")).collect();
        self.progress.show(self.samples.len(), &said.join(", "));
    }

    pub(crate) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// One distribution for each name, in the samples' order.
    pub(crate) fn distributions(&self) -> Vec<Distribution> {
        let names = self.samples.first().into_iter().flatten();
        names
            .enumerate()
            .map(|(index, (figure, _))| {
                let of_run = |sample: &Sample| sample.get(index).map(|(_, ms)| *ms);
                let mut times: Vec<f64> = self.samples.iter().filter_map(of_run).collect();
                times.sort_by(f64::total_cmp);
                Distribution {
                    figure,
                    p50: percentile(&times, 50),
                    p95: percentile(&times, 95),
                    p99: percentile(&times, 99),
                    max: percentile(&times, 100),
                }
            })
            .collect()
    }

    /// What became of the limits.
    pub(crate) fn goals(&self, limits: &[Limit]) -> Vec<Goal> {
        let judge = |limit: &Limit| {
            let of_run = |sample: &Sample| {
                sample
                    .iter()
                    .find(|(name, _)| *name == limit.figure)
                    .map(|(_, ms)| *ms)
            };
            let mut times: Vec<f64> = self.samples.iter().filter_map(of_run).collect();
            times.sort_by(f64::total_cmp);
            let figure = format!("{} p{}", limit.figure, limit.percentile);
            Goal::new(
                figure,
                "ms",
                limit.at_most_ms,
                percentile(&times, limit.percentile),
            )
        };
        self.samples
            .first()
            .into_iter()
            .flat_map(|_| limits.iter().map(judge))
            .collect()
    }
}

/// The least time that `percent` of the runs did not exceed; of `sorted` times.
fn percentile(sorted: &[f64], percent: u32) -> f64 {
    let percent = usize::try_from(percent).unwrap_or(100);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

/// With microseconds as decimals: clocks tell more than watches mean.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::float_cmp,
        reason = "percentiles are elements of the list, not computed"
    )]

    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(
            [50, 95, 99, 100].map(|percent| percentile(&hundred, percent)),
            [50.0, 95.0, 99.0, 100.0]
        );
        let five = [10.0, 20.0, 30.0, 40.0, 50.0];
        assert_eq!(
            [50, 95, 99, 100].map(|percent| percentile(&five, percent)),
            [30.0, 50.0, 50.0, 50.0]
        );
        assert_eq!(percentile(&[7.0], 50), 7.0);
    }

    #[test]
    fn a_goal_is_missed_by_the_figure_and_percentile_that_it_names() {
        let mut figures = Figures::new("runs", 2);
        figures.take(vec![("first", 10.0), ("last", 20.0)]);
        figures.take(vec![("first", 12.0), ("last", 40.0)]);
        let limit = |figure, percentile, at_most_ms| Limit {
            figure,
            percentile,
            at_most_ms,
        };
        let goals = figures.goals(&[limit("first", 50, 10.0), limit("last", 99, 39.0)]);
        let judged: Vec<_> = goals.iter().map(|goal| (goal.measured, goal.met)).collect();
        assert_eq!(judged, [(10.0, true), (40.0, false)]);
        assert!(!figures.wants_more());
    }
}
