//! What follows from one event: the member's step, its commands, and what they set off.

use super::invariants::{Copy, Sight, one_payload_at_a_time};
use super::{Gauge, Happening, NOTICES_MAX, Outcome, Running, Storage, World};
use crate::election::{Command, Event, Member, Notice, Order, StepDown, Term, Tick};

impl World {
    pub(super) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Deliver { to, received } => {
                self.delivered += 1;
                self.step(to, Event::Received(received));
            }
            Happening::Written {
                to,
                process,
                number,
                durable,
                outcome,
            } => {
                // The write reaches the API server whether or not its process still waits for it, but every write
                // names the version that it goes by: one that comes after a later process' write is refused.
                let place = &mut self.sites[to];
                if outcome != Outcome::Failed && process >= place.writer {
                    place.disk = *durable;
                    place.writer = process;
                }
                if place.process == process {
                    let durable = outcome == Outcome::Durable;
                    self.step(
                        to,
                        if durable {
                            Event::Persisted(number)
                        } else {
                            Event::PersistFailed(number)
                        },
                    );
                }
            }
            Happening::Gone { to, number } => {
                if self.sites[to].order == (number, Order::Stop) {
                    self.sites[to].running = None;
                    self.step(to, Event::PayloadStopped(number));
                }
            }
            Happening::Wake { to, process, at_ms } => {
                let place = &self.sites[to];
                // It may have been set to another time since.
                if place.process == process && place.wake_at == Some(at_ms) {
                    self.sites[to].wake_at = None;
                    self.step(to, Event::Tick);
                }
            }
            Happening::Connection {
                pair,
                generation,
                stage,
            } => self.go_on_with_connection(pair, generation, stage),
            Happening::Silent { from, to, since_ms } => self.grow_silent(from, to, since_ms),
            Happening::Dumb { site, since_ms } => self.grow_dumb(site, since_ms),
        }
    }

    pub(super) fn step(&mut self, site: usize, event: Event) {
        if self.traced {
            eprintln!(
                "{:>8} site {site} {:?} <- {event:?}",
                self.now_ms,
                self.part(site)
            );
        }
        let now = self.tick(site);
        let place = &mut self.sites[site];
        if place.frozen {
            if !matches!(event, Event::Tick) {
                place.mailbox.push_back(event);
            }
            return;
        }
        let Some(member) = &mut place.member else {
            return;
        };
        let is_tick = event == Event::Tick;
        let begun = Gauge::begin(self.gauge.as_ref(), site);
        let commands = member.step(now, event, &mut self.rng);
        let deadline = member.deadline();
        Gauge::end(self.gauge.as_mut(), begun);
        // It may want to look once more after it changed its part, but not again and again: that would be a busy loop.
        let is_due = |deadline: Option<Tick>| deadline.is_some_and(|deadline| deadline <= now);
        let restless = is_tick && is_due(deadline) && {
            let mut again = member.clone();
            again.step(now, Event::Tick, &mut self.rng);
            is_due(again.deadline())
        };
        let is_faulty = member.is_faulty();
        self.mix(site, commands.len());
        self.carry_out(site, commands, deadline);
        if restless {
            self.violate(format!("site {site} wants to be woken again and again"));
        }
        if is_faulty {
            self.violate(format!("site {site} found the protocol broken"));
        }
        self.look_at_claim(site);
    }

    /// Takes the step into the digest.
    fn mix(&mut self, site: usize, commands: usize) {
        let term = self.sites[site].member.as_ref().map_or(0, Member::term);
        let now = u64::try_from(self.now_ms).unwrap_or(0);
        let place = u64::try_from((site << 8) | commands).unwrap_or(0);
        for word in [now, place, term] {
            // FNV-1a, a word at a time.
            self.digest = (self.digest ^ word)
                .wrapping_mul(0x0100_0000_01b3)
                .rotate_left(23);
        }
    }

    /// Carries out what a member says after a step, and sees to it that it is woken in time.
    pub(super) fn carry_out(&mut self, site: usize, commands: Vec<Command>, deadline: Option<Tick>) {
        for command in commands {
            if self.traced {
                eprintln!("{:>8} site {site} -> {command:?}", self.now_ms);
            }
            match command {
                Command::Send { to, group, message } => self.send(site, &to, group, message),
                Command::Persist { number, durable } => {
                    let after = self.between(self.weather.write_ms);
                    let process = self.sites[site].process;
                    self.sites[site].writes += 1;
                    let storage = self.sites[site].storage;
                    let outcome = match storage {
                        Storage::Works => Outcome::Durable,
                        Storage::Refuses => Outcome::Failed,
                        Storage::Silent if self.draw(2) == 0 => Outcome::DurableUntold,
                        Storage::Silent => Outcome::Failed,
                    };
                    self.schedule(
                        after,
                        Happening::Written {
                            to: site,
                            process,
                            number,
                            durable,
                            outcome,
                        },
                    );
                }
                Command::Payload { number, order } => {
                    self.sites[site].order = (number, order);
                    match order {
                        Order::Run { term } => {
                            let orphaned = false;
                            self.sites[site].running = Some(Running { term, orphaned });
                            self.look_at_claim(site);
                            self.look_at_payloads(site, term);
                        }
                        Order::Stop => {
                            let running = self.sites[site].running.is_some();
                            let after = if running {
                                self.between(self.weather.stop_ms)
                            } else {
                                0
                            };
                            self.schedule(after, Happening::Gone { to: site, number });
                        }
                        Order::Hold => {}
                    }
                }
                Command::Notify(notice) => self.take_notice(site, notice),
            }
        }
        self.arm(site, deadline);
    }

    fn take_notice(&mut self, site: usize, notice: Notice) {
        if let Notice::SteppedDown {
            reason: StepDown::QuorumLost | StepDown::Superseded,
            ..
        } = notice
        {
            self.falls += 1;
        }
        let place = &mut self.sites[site];
        if place.notices.len() == NOTICES_MAX {
            place.notices.drain(..NOTICES_MAX / 2);
        }
        place.notices.push((self.now_ms, notice));
    }

    pub(super) fn arm(&mut self, site: usize, deadline: Option<Tick>) {
        let Some(deadline) = deadline else { return };
        let place = &mut self.sites[site];
        let at = place.clock.when(deadline).max(self.now_ms + 1);
        if place.wake_at.is_none_or(|wake| at < wake || wake < self.now_ms) {
            place.wake_at = Some(at);
            let process = place.process;
            let (to, at_ms) = (site, at);
            self.schedule_at(at, Happening::Wake { to, process, at_ms });
        }
    }

    /// Holds the claim of a site that took a step against the promises.
    pub(super) fn look_at_claim(&mut self, site: usize) {
        let now = self.tick(site);
        let place = &mut self.sites[site];
        let Some(member) = &place.member else { return };
        let (Some(claim), Some(group)) = (member.claim(now), member.group()) else {
            return;
        };
        place.claim_ends_ms = place.clock.when(claim.until);
        let sight = Sight {
            site,
            id: place.id,
            group,
            term: claim.term,
        };
        let rival = if self.guarded { self.rival(sight) } else { None };
        if let Some(what) = self.invariants.see_claim(sight, rival) {
            self.violate(what);
        }
    }

    /// Another site that holds a claim of the same group.
    fn rival(&self, sight: Sight) -> Option<usize> {
        let holds = |(index, site): &(usize, &super::Site)| {
            let member = site.member.as_ref().filter(|_| *index != sight.site);
            member.is_some_and(|member| {
                member.claim(site.clock.tick(self.now_ms)).is_some() && member.group() == Some(sight.group)
            })
        };
        self.sites.iter().enumerate().find(holds).map(|(index, _)| index)
    }

    /// Holds an order to run the payload against the promises.
    fn look_at_payloads(&mut self, site: usize, term: Term) {
        if !self.guarded {
            return;
        }
        let place = &self.sites[site];
        let Some(group) = place.member.as_ref().and_then(Member::group) else {
            return;
        };
        let sight = Sight {
            site,
            id: place.id,
            group,
            term,
        };
        let stop_budget_ms = place
            .member
            .as_ref()
            .map_or(0, |member| member.settings().stop_budget_ms);
        let others = self.sites.iter().enumerate().filter(|(index, _)| *index != site);
        let copies = others.filter_map(|(index, other)| {
            Some(Copy {
                site: index,
                orphaned: other.running?.orphaned,
                claim_ended_ago_ms: self.now_ms - other.claim_ends_ms,
            })
        });
        let beside = one_payload_at_a_time::beside(site, copies, stop_budget_ms);
        let lower = self.invariants.see_run(sight);
        for what in [beside, lower].into_iter().flatten() {
            self.violate(what);
        }
    }
}
