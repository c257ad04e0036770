//! What is told: a table for people, JSON for programs.

use std::fmt;

use flagship_simulation::crowd::Load;
use serde::Serialize;

use crate::lives::Lives;
use crate::tolerances::Borne;
use crate::unrest::Unrest;

/// A leader of a thousand members may use so much of a core.
const LEADER_CPU_PERCENT_MAX: f64 = 5.0;

/// Everything that was simulated.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tolerances: Vec<Borne>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) lives: Vec<Lives>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unrest: Vec<Unrest>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) crowds: Vec<Load>,
}

impl Report {
    /// Whether all promises and bounds were kept.
    pub(crate) fn is_well(&self) -> bool {
        self.tolerances
            .iter()
            .flat_map(|borne| &borne.changes)
            .all(|(_, changes)| *changes == 0)
            && self.lives.iter().all(|lives| lives.broken.is_empty())
            && self.unrest.iter().all(|unrest| unrest.broken.is_empty())
            && self
                .crowds
                .iter()
                .all(|load| load.leader_cpu_percent < LEADER_CPU_PERCENT_MAX)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.tolerances.is_empty() {
            tell_tolerances(f, &self.tolerances)?;
        }
        if !self.lives.is_empty() {
            tell_lives(f, &self.lives)?;
        }
        if !self.unrest.is_empty() {
            tell_unrest(f, &self.unrest)?;
        }
        if !self.crowds.is_empty() {
            tell_crowds(f, &self.crowds)?;
        }
        Ok(())
    }
}

fn tell_tolerances(f: &mut fmt::Formatter<'_>, tolerances: &[Borne]) -> fmt::Result {
    writeln!(
        f,
        "\nWhat three members bear without a change of leader (derived; each tried by simulation)\n"
    )?;
    writeln!(
        f,
        "  {:10}{:>10}{:>16}{:>12}{:>18}{:>14}",
        "profile", "room ms", "delay ms a way", "stall ms", "losses in a row", "loss % *"
    )?;
    for Borne {
        profile, tolerance, ..
    } in tolerances
    {
        writeln!(
            f,
            "  {profile:10}{:>10}{:>16}{:>12}{:>18}{:>14.2}",
            tolerance.room_ms,
            tolerance.delay_ms,
            tolerance.stall_ms,
            tolerance.losses_in_a_row,
            tolerance.loss_percent
        )?;
    }
    writeln!(f, "  * less than one change expected in 10,000 hours\n")?;
    for Borne { profile, changes, .. } in tolerances {
        for (name, changes) in changes {
            writeln!(
                f,
                "  {profile:10} at its bound of {name}: {changes} leader changes"
            )?;
        }
    }
    Ok(())
}

fn tell_lives(f: &mut fmt::Formatter<'_>, lives: &[Lives]) -> fmt::Result {
    writeln!(
        f,
        "\nYears of faults, and milliseconds from their mending to one leader with the only payload\n"
    )?;
    writeln!(
        f,
        "  {:10}{:>8}{:>10}{:>12}{:>12}{:>12}{:>10}{:>10}{:>10}{:>10}",
        "profile", "years", "groups", "faults", "mendings", "leaderless", "p50", "p99", "max", "broken"
    )?;
    for one in lives {
        let after = &one.leader_after_ms;
        writeln!(
            f,
            "  {:10}{:>8.2}{:>10}{:>12}{:>12}{:>12}{:>10}{:>10}{:>10}{:>10}",
            one.profile,
            one.years,
            one.groups,
            one.faults,
            one.mendings,
            after.count,
            after.p50,
            after.p99,
            after.max,
            one.broken.len()
        )?;
    }
    for (seed, what) in lives.iter().flat_map(|one| &one.broken) {
        writeln!(f, "  seed {seed}, {what}")?;
    }
    Ok(())
}

fn tell_unrest(f: &mut fmt::Formatter<'_>, unrest: &[Unrest]) -> fmt::Result {
    writeln!(
        f,
        "\nLeader changes without cause in 10,000 hours, three members, over TCP\n"
    )?;
    writeln!(
        f,
        "  {:10}{:>8}{:>12}{:>12}{:>18}",
        "profile", "loss %", "hours", "changes", "in 10,000 hours"
    )?;
    for one in unrest {
        writeln!(
            f,
            "  {:10}{:>8}{:>12.0}{:>12}{:>18.2}",
            one.profile, one.loss_percent, one.hours, one.changes, one.changes_per_10000_hours
        )?;
    }
    for what in unrest.iter().flat_map(|one| &one.broken) {
        writeln!(f, "  {what}")?;
    }
    Ok(())
}

fn tell_crowds(f: &mut fmt::Formatter<'_>, crowds: &[Load]) -> fmt::Result {
    writeln!(
        f,
        "\nWhat leading costs at profile Balanced: the member's steps and the encoding of its messages\n"
    )?;
    writeln!(
        f,
        "  {:>8}{:>14}{:>18}{:>16}",
        "members", "messages/s", "% CPU of a core", "us a message"
    )?;
    for one in crowds {
        writeln!(
            f,
            "  {:>8}{:>14.0}{:>18.3}{:>16.2}",
            one.members, one.messages_per_second, one.leader_cpu_percent, one.microseconds_per_message
        )?;
    }
    Ok(())
}
