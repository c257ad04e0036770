//! What is told of a measurement: a table for people, JSON for programs.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use flagship_testing::{Error, Result, target_folder};
use serde::Serialize;

use crate::figures::{Distribution, Figures, Goal, Limit, Sample};
use crate::idle::{Cost, Scene};
use crate::machine::Machine;

/// All that is told of one kind of measurement.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    kind: &'static str,
    title: String,
    machine: Machine,
    goals: Vec<Goal>,
    #[serde(flatten)]
    measured: Measured,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Measured {
    Moves {
        unit: &'static str,
        distributions: Vec<Distribution>,
        samples: Vec<serde_json::Map<String, serde_json::Value>>,
    },
    Idle {
        controllers: Vec<Cost>,
    },
}

impl Report {
    pub(crate) fn of_moves(
        kind: &'static str,
        cause: &str,
        figures: &Figures,
        limits: &[Limit],
        machine: Machine,
    ) -> Self {
        let runs = figures.samples().len();
        let of_run = |sample: &Sample| {
            sample
                .iter()
                .map(|(name, ms)| ((*name).to_owned(), (*ms).into()))
                .collect()
        };
        Self {
            kind,
            title: format!("{kind}: {cause}, {runs} runs"),
            machine,
            goals: figures.goals(limits),
            measured: Measured::Moves {
                unit: "ms",
                distributions: figures.distributions(),
                samples: figures.samples().iter().map(of_run).collect(),
            },
        }
    }

    pub(crate) fn of_idle<const N: usize>(
        kind: &'static str,
        scene: &Scene<N>,
        costs: Vec<Cost>,
        machine: Machine,
    ) -> Self {
        Self {
            kind,
            title: format!(
                "{kind}: {} groups of {N} at profile Balanced; the first controller leads",
                scene.groups
            ),
            machine,
            goals: scene.goals(&costs),
            measured: Measured::Idle { controllers: costs },
        }
    }

    /// Writes it as JSON where cargo builds, and tells where.
    pub(crate) fn write(&self) -> Result<PathBuf> {
        let folder = target_folder().join("bench");
        let path = folder.join(format!("{}.json", self.kind));
        let error = |source| Error::File {
            operation: "write",
            path: path.clone(),
            source,
        };
        fs::create_dir_all(&folder).map_err(error)?;
        let text = serde_json::to_string_pretty(self).map_err(|source| error(source.into()))?;
        fs::write(&path, text + "\n").map_err(error)?;
        Ok(path)
    }
}

/// All reports as one list.
pub(crate) fn json(reports: &[Report]) -> Result<String> {
    serde_json::to_string_pretty(reports).map_err(|source| Error::File {
        operation: "write",
        path: "standard output".into(),
        source: source.into(),
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}\n{}", self.title, self.machine)?;
        match &self.measured {
            Measured::Moves {
                unit, distributions, ..
            } => {
                writeln!(
                    f,
                    "\n  {:26}{:>10}{:>10}{:>10}{:>10}",
                    unit, "p50", "p95", "p99", "max"
                )?;
                for one in distributions {
                    let Distribution {
                        figure,
                        p50,
                        p95,
                        p99,
                        max,
                    } = one;
                    writeln!(f, "  {figure:26}{p50:10.0}{p95:10.0}{p99:10.0}{max:10.0}")?;
                }
            }
            Measured::Idle { controllers } => {
                writeln!(
                    f,
                    "\n  {:26}{:>14}{:>18}{:>14}",
                    "controller", "resident MB", "% CPU of a core", "connections"
                )?;
                for Cost {
                    controller,
                    resident_mb,
                    cpu_percent,
                    connections,
                } in controllers
                {
                    writeln!(
                        f,
                        "  {controller:26}{resident_mb:14.1}{cpu_percent:18.2}{connections:14}"
                    )?;
                }
            }
        }
        writeln!(f)?;
        for Goal {
            figure,
            unit,
            at_most,
            measured,
            met,
        } in &self.goals
        {
            let verdict = if *met { "met" } else { "MISSED" };
            writeln!(
                f,
                "  goal: {figure} at most {at_most} {unit}: {measured:.1} {unit}, {verdict}"
            )?;
        }
        Ok(())
    }
}
