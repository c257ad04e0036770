//! Whether a member could lead: what stands in its way, and what a payload that failed under it costs it.

use super::command::StepDown;
use super::member::{Context, Member, Resignation};
use super::obstacle::{Fitness, Obstacle};
use super::roster::Duty;
use super::types::Tick;

/// For how long a member under which the payload failed is not chosen again by a planned move; twice as long each time.
const PENALTY_MS: i64 = 300_000;
/// About five hours.
const PENALTY_MAX_MS: i64 = PENALTY_MS << 6;

/// After a failure the member is not chosen for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Penalty {
    pub until: Tick,
    pub length_ms: i64,
}

impl Member {
    /// What keeps this member from taking the lead from another. One whose own old copy is still stopping could not start
    /// the payload before that is gone, and nobody would run it meanwhile.
    pub(super) fn obstacle(&self, now: Tick) -> Option<Obstacle> {
        [
            (!self.is_voter() || self.dissolving).then_some(Obstacle::NotAVoter),
            self.is_witness().then_some(Obstacle::Witness),
            self.persist_failed.then_some(Obstacle::CannotPersist),
            self.resignation.is_some().then_some(Obstacle::Leaving),
            (!self.payload_gone).then_some(Obstacle::Stopping),
            self.config.paused.then_some(Obstacle::Paused),
            // It could not write the payload, nor its memory: nobody is to be moved there, by force either.
            (self.fitness == Fitness::CutOff).then_some(Obstacle::CannotPersist),
            (self.fitness == Fitness::Unfit).then_some(Obstacle::Unfit),
            self.is_penalized(now).then_some(Obstacle::Failed),
        ]
        .into_iter()
        .flatten()
        .next()
    }

    /// Whether this member stands where nobody leads. A payload that failed under it is no reason not to: a broken one
    /// is broken everywhere, and somebody has to run it.
    pub(super) fn may_stand(&self) -> bool {
        let able = self.fitness == Fitness::Fit && !self.config.paused;
        // A lone voter has nobody to leave the lead to.
        self.is_voter() && (able && !self.is_witness() || self.is_only_voter())
    }

    pub(super) fn is_witness(&self) -> bool {
        self.config.profile.duty == Duty::Witness
    }

    pub(super) fn is_penalized(&self, now: Tick) -> bool {
        self.penalty.is_some_and(|penalty| now < penalty.until)
    }

    /// The payload failed under this leader. Having led well for as long as it was last kept from it earns a fresh start.
    pub(super) fn penalize(&mut self, led_since: Tick, now: Tick) {
        let length_ms = match self.penalty {
            Some(last) if now.since(led_since) < last.length_ms => (last.length_ms * 2).min(PENALTY_MAX_MS),
            _ => PENALTY_MS,
        };
        self.penalty = Some(Penalty {
            until: now + length_ms,
            length_ms,
        });
    }

    pub(super) fn on_fitness(&mut self, fitness: Fitness, context: &mut Context<'_>) {
        self.fitness = fitness;
        let forsaken = fitness == Fitness::CutOff && self.claim.is_some() && !self.is_only_voter();
        // One that is leaving stops its payload first, and says so.
        if forsaken && self.resignation != Some(Resignation::Leaving) {
            self.claim = None;
            self.step_down(StepDown::ApiServerLost, context);
            self.become_follower(context);
        }
        self.on_tick(context);
    }
}

#[cfg(test)]
mod tests;
