//! Fencing through the other side's API server: removes what members that fell silent left of their payloads.
//!
//! A controller that was killed leaves its payload running, and its API server with it. Whoever leads next removes that copy
//! there, by the same careful rules by which a member stops its own, if `spec.fencing` says how that cluster is reached:
//! - It begins when this member is elected, with the member for whose payload it waits, so that the copy is gone before the
//!   next one starts where time allows. It delays no start: who wants to be sure gives the payload a longer
//!   `timing.stopBudget`, which a receipt ends early ([`crate::election`]: obligations).
//! - Any other member that was not heard for a lease since is looked after as well, and whoever could not be reached is
//!   tried again for as long as this member leads: a copy that is removed late is better than one that runs on.
//! - A member that is heard stops its own, and is left alone.
//! - Whether it would be let in is looked at beforehand, every few minutes: an expired token is told before it is needed.
//! - Only what bears a term of this group from before this member's is touched, and nothing that comes back: then that
//!   member's controller is at work, as it may be in a pair with quorum `None`.

mod removal;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use self::removal::{Removed, Source, Target};
use super::kubeconfig;
use super::secret::{Followed, Reading};
use crate::api::FencedMember;
use crate::election::{GroupId, MemberId, Part, Peer, Term, View};

/// Reports that wait to be taken: each of the removals, 64 at most, waits until there is room.
const REPORTS_MAX: usize = 16;

/// What came of a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub member: MemberId,
    pub name: String,
    /// The highest term that was to be removed.
    before: Term,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Removed(Removed),
    /// Why not, or not yet.
    Impossible(String),
}

impl Report {
    /// The highest term of what was removed, where something was.
    pub(super) fn term(&self) -> Option<Term> {
        match &self.outcome {
            Outcome::Removed(removed) => removed.term,
            Outcome::Impossible(_) => None,
        }
    }

    /// For people.
    pub(super) fn words(&self) -> String {
        let name = &self.name;
        match &self.outcome {
            Outcome::Impossible(why) => format!("the copy that {name} may have left was not removed: {why}"),
            Outcome::Removed(Removed { term: None, .. }) => {
                format!("nothing was left of the payload of {name}, as its API server shows")
            }
            Outcome::Removed(Removed {
                term: Some(term),
                kept,
                took,
            }) => {
                let but = match kept {
                    0 => String::new(),
                    1 => ", but for 1 object that stays by its policy".to_owned(),
                    _ => format!(", but for {kept} objects that stay by their policy"),
                };
                format!(
                    "removed the copy of the payload that {name} left in term {term}{but}, through its API server, in {} ms",
                    took.as_millis()
                )
            }
        }
    }
}

/// The lead that this member holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lead {
    pub group: GroupId,
    pub term: Term,
    pub lease: Duration,
}

/// One entry of `spec.fencing`.
struct Entry {
    key: Option<String>,
    secret: Followed,
    /// The reading that was judged last, and what is wrong with it.
    judged: (Reading, Option<String>),
    look: Option<Look>,
}

/// A look at that member's cluster, now and then.
struct Look {
    member: MemberId,
    trouble: watch::Receiver<Option<String>>,
    /// It ends with this.
    _task: AbortOnDropHandle<()>,
}

impl Entry {
    fn source(&self) -> Source {
        Source {
            secret: self.secret.name().to_owned(),
            key: self.key.clone(),
            readings: self.secret.readings(),
        }
    }

    /// What is wrong with the way to this member's cluster, as far as its API server has told.
    fn refusal(&mut self, name: &str, member: MemberId) -> Option<String> {
        if self.look.as_ref().is_none_or(|look| look.member != member) {
            let (troubles, trouble) = watch::channel(None);
            let looking = removal::keep_looking(self.source(), name.to_owned(), member, troubles);
            self.look = Some(Look {
                member,
                trouble,
                _task: AbortOnDropHandle::new(tokio::spawn(looking)),
            });
        }
        self.look.as_ref().and_then(|look| look.trouble.borrow().clone())
    }

    fn trouble(&mut self) -> Option<&str> {
        let reading = self.secret.reading();
        if self.judged.0 != reading {
            let parsed = kubeconfig::parse(self.secret.name(), self.key.as_deref(), &reading);
            self.judged = (reading, parsed.err().map(|error| error.to_string()));
        }
        self.judged.1.as_deref()
    }
}

/// What this member may remove elsewhere, and what of it is under way.
pub(super) struct Fencing {
    spec: Vec<FencedMember>,
    /// By the member's name.
    entries: BTreeMap<String, Entry>,
    /// The term in which this member leads, and since when it has.
    led: Option<(Term, Instant)>,
    /// Under way or done in that term; each ends with its handle.
    removals: BTreeMap<MemberId, AbortOnDropHandle<()>>,
    sender: mpsc::Sender<Report>,
    reports: mpsc::Receiver<Report>,
}

impl Fencing {
    pub(super) fn new() -> Fencing {
        let (sender, reports) = mpsc::channel(REPORTS_MAX);
        Fencing {
            spec: Vec::new(),
            entries: BTreeMap::new(),
            led: None,
            removals: BTreeMap::new(),
            sender,
            reports,
        }
    }

    /// Goes by these entries from now on.
    pub(super) fn follow(
        &mut self,
        spec: &[FencedMember],
        client: &Client,
        namespace: &str,
        tasks: &TaskTracker,
    ) {
        if self.spec == spec {
            return;
        }
        self.spec = spec.to_vec();
        // A removal goes on with what it has begun by; its next attempt is by the new entry.
        self.removals.clear();
        let mut former = std::mem::take(&mut self.entries);
        for member in spec {
            let (name, key) = (
                &member.kube_config_secret_ref.name,
                &member.kube_config_secret_ref.key,
            );
            let known = former.remove(&member.name);
            let secret = known
                .filter(|known| known.secret.name() == name)
                .map(|known| known.secret);
            let entry = Entry {
                key: key.clone(),
                secret: secret.unwrap_or_else(|| Followed::begin(client, namespace, name, tasks)),
                judged: (Reading::Awaited, None),
                look: None,
            };
            self.entries.insert(member.name.clone(), entry);
        }
    }

    /// Begins the removals that are called for, and ends those that are no more. `lead` is what this member holds, if it
    /// leads, `waits_for` whose payload keeps it from starting its own.
    pub(super) fn tend(
        &mut self,
        own: MemberId,
        lead: Option<Lead>,
        view: Option<&View>,
        waits_for: &[MemberId],
    ) {
        let (Some(lead), Some(view)) = (lead.filter(|_| !self.entries.is_empty()), view) else {
            (self.led, self.removals) = (None, BTreeMap::new());
            return;
        };
        let since = match self.led {
            Some((term, since)) if term == lead.term => since,
            _ => {
                self.removals.clear();
                Instant::now()
            }
        };
        self.led = Some((lead.term, since));
        let names: BTreeSet<&str> = self.entries.keys().map(String::as_str).collect();
        let targets = targets(own, &names, view, waits_for, since.elapsed() >= lead.lease);
        self.removals.retain(|member, _| {
            view.voters
                .iter()
                .any(|peer| peer.id == *member && is_silent(peer))
        });
        for (member, name) in targets {
            if self.removals.contains_key(&member) {
                continue;
            }
            let Some(entry) = self.entries.get(&name) else {
                continue;
            };
            let target = Target {
                member,
                name,
                group: lead.group,
                term: lead.term.saturating_sub(1),
            };
            let task = tokio::spawn(removal::keep_removing(
                entry.source(),
                target,
                self.sender.clone(),
            ));
            self.removals.insert(member, AbortOnDropHandle::new(task));
        }
    }

    /// Waits for what comes of the removals of the present term.
    pub(super) async fn reported(&mut self) -> Report {
        loop {
            match self.reports.recv().await {
                Some(report) if self.is_current(&report) => return report,
                Some(_) => {}
                // This holds a sender itself.
                None => std::future::pending().await,
            }
        }
    }

    fn is_current(&self, report: &Report) -> bool {
        let term = self.led.map(|(term, _)| term.saturating_sub(1));
        term == Some(report.before) && self.removals.contains_key(&report.member)
    }

    /// What is wrong with the entries, as far as that can be told before they are needed.
    pub(super) fn troubles(&mut self, own: MemberId, view: Option<&View>) -> Vec<String> {
        let mut troubles = Vec::new();
        for (name, entry) in &mut self.entries {
            if let Some(trouble) = entry.trouble() {
                troubles.push(format!("spec.fencing, {name}: {trouble}"));
                continue;
            }
            let Some(view) = view.filter(|view| view.leader.is_some()) else {
                // Who is in the group is not known yet.
                continue;
            };
            let named = |peer: &&Peer| *peer.profile.name == **name;
            let other = view.voters.iter().filter(named).find(|peer| peer.id != own);
            match other {
                Some(peer) => {
                    let refusal = entry.refusal(name, peer.id);
                    troubles.extend(refusal.map(|why| format!("spec.fencing, {name}: {why}")));
                }
                None if view.voters.iter().any(|peer| named(&peer)) => troubles.push(format!(
                    "spec.fencing names {name}, which is this member: it stops its own payload. Take it out"
                )),
                None => troubles.push(format!(
                    "spec.fencing names {name}, which is no member of the group: correct it, or let that member join"
                )),
            }
        }
        troubles
    }
}

fn is_silent(peer: &Peer) -> bool {
    peer.alive != Some(true)
}

/// The silent members whose copy is to be removed, with their names: those for whose payload this one waits, and all of
/// them once it has led for a lease, in which everyone who can be heard was.
fn targets(
    own: MemberId,
    names: &BTreeSet<&str>,
    view: &View,
    waits_for: &[MemberId],
    has_led_for_a_lease: bool,
) -> Vec<(MemberId, String)> {
    if !matches!(view.part, Part::Waiting | Part::Leader | Part::HandingOver) {
        return Vec::new();
    }
    let is_due = |peer: &&Peer| {
        peer.id != own
            && names.contains(&*peer.profile.name)
            && is_silent(peer)
            && (has_led_for_a_lease || waits_for.contains(&peer.id))
    };
    let due = view.voters.iter().filter(is_due);
    due.map(|peer| (peer.id, peer.profile.name.to_string())).collect()
}

#[cfg(test)]
mod tests;
