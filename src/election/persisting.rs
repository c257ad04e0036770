//! Making the memory durable: one write at a time, and nothing is said that rests on one that is under way.

use super::command::{Command, Problem};
use super::durable::Durable;
use super::member::{Context, Member, Role, Staged};

impl Member {
    /// Begins to make `durable` durable. Only one write is under way at a time: a wish that comes meanwhile comes again,
    /// since every message of the protocol is repeated until it has its effect.
    pub(super) fn stage(&mut self, durable: Durable, out: &mut Vec<Command>) -> bool {
        if self.staged.is_some() {
            return false;
        }
        self.writes += 1;
        let version = self.recalled.saturating_add(self.writes);
        let durable = Durable { version, ..durable };
        out.push(Command::Persist {
            number: self.writes,
            durable: Box::new(durable.clone()),
        });
        self.staged = Some(Staged {
            number: self.writes,
            durable,
        });
        true
    }

    /// Whether a write is under way by which this member leaves its group for another.
    pub(super) fn changes_group(&self) -> bool {
        let written = self.staged.as_ref().map(|staged| &staged.durable.group);
        written.is_some_and(|next| next.as_ref().map(|group| group.id) != self.group())
    }

    pub(super) fn on_persisted(&mut self, number: u64, context: &mut Context<'_>) {
        let Some(staged) = self.staged.take_if(|staged| staged.number == number) else {
            return;
        };
        let before = std::mem::replace(&mut self.durable, staged.durable);
        self.persist_failed = false;
        if self.problem == Some(Problem::CannotPersist) {
            self.problem = None;
        }
        if let Some(membership) = &self.durable.group {
            let former = before.group.as_ref().map(|group| group.id);
            if former != Some(membership.id) {
                self.problem = None;
            }
            // What was promised to the leader of one group is nothing to another.
            if former.is_some_and(|former| former != membership.id) {
                (self.promise, self.heard, self.ballot) = (None, None, None);
                (self.handover, self.vote_in_hand, self.chosen) = (None, None, false);
            }
            let voters = &membership.roster.voters;
            self.starts
                .retain(|start| voters.iter().any(|voter| voter.id == start.id));
        }
        match &self.role {
            Role::Starting => self.enter(context),
            Role::Outside(_) if self.durable.group.is_some() => self.enter_group(context),
            Role::Standing(_) if before.term != self.durable.term => self.on_term_persisted(context),
            Role::Leading(_) => {
                self.on_roster_persisted(before.group.map(|group| group.roster).as_deref(), context)
            }
            _ if self.durable.group.is_none() && before.group.is_some() => self.enter(context),
            Role::Outside(_) | Role::Follower | Role::Standing(_) => {}
        }
        self.cast_ballot(context);
        self.acknowledge_again(context);
    }

    pub(super) fn on_persist_failed(&mut self, number: u64, context: &mut Context<'_>) {
        if self.staged.take_if(|staged| staged.number == number).is_none() {
            return;
        }
        self.persist_failed = true;
        self.problem.get_or_insert(Problem::CannotPersist);
        self.ballot = None;
        self.not_before = self.not_before.max(context.now + self.settings().heartbeat_ms);
        if let Role::Standing(_) = self.role {
            self.become_follower(context);
        }
    }

    pub(super) fn stage_incarnation(&mut self, out: &mut Vec<Command>) {
        let next = Durable {
            incarnation: self.durable.incarnation + 1,
            ..self.durable.clone()
        };
        self.stage(next, out);
    }

    /// After a write that failed the same is written again, whether or not something new is to be: only that shows that
    /// the member can vote and lead again.
    pub(super) fn try_writing_again(&mut self, context: &mut Context<'_>) {
        let idle = self.staged.is_none() && context.now >= self.not_before;
        if self.persist_failed && idle && !self.dissolving && !matches!(self.role, Role::Starting) {
            let same = self.durable.clone();
            self.stage(same, context.out);
        }
    }

    pub(super) fn restart_if_idle(&mut self, context: &mut Context<'_>) {
        if self.staged.is_none() && context.now >= self.not_before {
            self.stage_incarnation(context.out);
        }
    }
}
