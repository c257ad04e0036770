//! What the member tells its users: Events, and the status.

use tokio::time::Instant;

use super::{FORGOTTEN, Shell, now};
use crate::api::{DemotionPolicy, MemberRole, QuorumMode};
use crate::controller::group_settings::{differences, settings};
use crate::controller::report::Knowledge;
use crate::controller::{report, words};
use crate::election::{Member, Notice, Order, Part};

impl Shell {
    pub(super) fn take_notice(&mut self, notice: &Notice) {
        self.dirty = true;
        match notice {
            Notice::AskedUnderWay { request } => self.petition.under_way(*request, jiff::Timestamp::now()),
            Notice::AskedEnded { request, outcome } => {
                self.petition.ended(*request, *outcome, jiff::Timestamp::now());
            }
            _ => {}
        }
        let roster = self.member.as_ref().and_then(Member::roster).cloned();
        let words = words::words(notice, roster.as_ref());
        let leader = match notice {
            Notice::Elected { term, .. } => Some((self.id, *term)),
            Notice::Following { leader, term } => Some((*leader, *term)),
            _ => None,
        };
        if let Some((leader, term)) = leader {
            self.elected_at = (leader == self.id).then(Instant::now);
            let name = words::name_of(leader, roster.as_ref());
            let now = jiff::Timestamp::now();
            if self.chronicle.leads(leader, name, term, words.note.clone(), now) {
                self.metrics.count_transition();
            }
        }
        self.tell(words.warning, words.action, words.reason, words.note);
    }

    pub(super) fn tell(&mut self, warning: bool, action: &'static str, reason: &'static str, note: String) {
        self.announcer.tell(warning, action, reason, note);
    }

    /// Tells when the API server does not take writes in time, and when it does again.
    pub(super) fn tell_of_silence(&mut self) {
        let may_act = self.shared.mandate.holds();
        if let Some(news) = self.silence.look(may_act, Instant::now()) {
            let note = news.note(jiff::Timestamp::now());
            self.tell(true, "Serving", news.reason(), note);
        }
    }

    /// Writes the status, if it says something new.
    pub(super) fn inform(&mut self) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        self.eligibility.tend(self.application.in_waiting());
        let tick = now();
        let view = self.member.as_ref().map(|member| member.view(tick));
        self.tend_fences(view.as_ref());
        let mut troubles = Vec::new();
        troubles.extend(self.silence.trouble());
        troubles.extend(self.ear.error().map(|error| ("CannotListen", error.to_owned())));
        let secrets = [self.callsign.trouble(), self.certificate.trouble()];
        let secrets = secrets.into_iter().flatten();
        troubles.extend(secrets.map(|(reason, text)| (reason, text.to_owned())));
        troubles.extend(
            self.own_address
                .trouble()
                .map(|trouble| ("ServiceAddress", trouble)),
        );
        troubles.extend(
            self.memory_trouble
                .clone()
                .map(|trouble| ("MemoryLost", format!("{trouble}. {FORGOTTEN}"))),
        );
        if view.as_ref().is_some_and(|view| view.leader.is_some()) {
            self.memory_trouble = None;
        }
        let fences = self.fencing.troubles(self.id, view.as_ref()).into_iter();
        troubles.extend(fences.map(|trouble| ("FencingUnready", trouble)));
        let asks_for_none = self
            .spec
            .as_ref()
            .is_some_and(|spec| spec.quorum == QuorumMode::None);
        if let Some(view) = view
            .as_ref()
            .filter(|view| asks_for_none && view.voters.len() > 2)
        {
            let note = format!(
                "quorum None is for two members and is not followed: this group has {}, of which a leader needs {}. Set \
                 quorum Auto or Majority",
                view.voters.len(),
                view.need
            );
            troubles.push(("QuorumNotFollowed", note));
        }
        let is_witness = self
            .spec
            .as_ref()
            .is_some_and(|spec| spec.role == MemberRole::Witness);
        let leads = view
            .as_ref()
            .is_some_and(|view| matches!(view.part, Part::Leader | Part::Waiting));
        if is_witness && leads {
            let note = "spec.role is Witness, and yet it leads, since no other member can take over now; it hands over \
                        to the first that can"
                .to_owned();
            troubles.push(("WitnessLeads", note));
        }
        let running = self
            .member
            .as_ref()
            .is_some_and(|member| member.claim(tick).is_some())
            && matches!(self.order.1, Order::Run { .. });
        let settings_differ = match (&self.member, view.as_ref().map(|view| view.part)) {
            // A leader has its group agree to its own in a moment.
            (_, Some(Part::Leader | Part::HandingOver | Part::Waiting)) | (None, _) => Vec::new(),
            (Some(member), _) => match self.spec.as_ref().map(settings) {
                Some(Ok(own)) if member.group().is_some() => differences(&own, member.settings()),
                _ => Vec::new(),
            },
        };
        let runner_status = self.application.status();
        let history = self.chronicle.moves();
        let status = report::status(&Knowledge {
            generation: self.object.metadata.generation,
            port: self.ear.port(),
            term: self.member.as_ref().map_or(0, Member::term),
            settings_differ: &settings_differ,
            spec_problems: &self.spec_problems,
            troubles: &troubles,
            unreachable: self.unreachable.failures(),
            waits_for: self.member.as_ref().map_or_else(Vec::new, |member| {
                member.waits_for(tick).into_iter().map(str::to_owned).collect()
            }),
            payload: &runner_status,
            payload_is_current: self.application.is_current(),
            payload_error: self.payload_error(),
            verdict: self.verdict(),
            has_failed: self.has_failed(),
            keeps_payload: self.object.spec.demotion.policy == DemotionPolicy::Keep,
            running,
            history: &history,
            request: self.petition.status(),
            conditions: self.conditions.clone(),
            tick,
            now: jiff::Timestamp::now(),
            view,
        });
        self.metrics.set_leading(running);
        self.metrics
            .set_term(self.member.as_ref().map_or(0, Member::term));
        if report::differs(&status, &self.informed) {
            self.conditions.clone_from(&status.conditions);
            self.informed = status.clone();
            self.store.inform(status);
        }
    }
}
