//! What follows from one event: the member's step, its commands, and what they set off.

use std::cmp::Reverse;

use flagship::election::{Command, Destination, Event, GroupId, Member, Message, Order, Part, Received};

use super::{Happening, Outcome, Running, Storage, World};

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
            Happening::Wake { to, process } => {
                if self.sites[to].process == process {
                    self.sites[to].wake_at = None;
                    self.step(to, Event::Tick);
                }
            }
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
        let commands = member.step(now, event, &mut self.rng);
        // It may want to look once more after it changed its part, but not again and again: that would be a busy loop.
        let wants_again = |member: &Member| member.deadline().is_some_and(|deadline| deadline <= now);
        let restless = is_tick && wants_again(member) && {
            let mut again = member.clone();
            again.step(now, Event::Tick, &mut self.rng);
            wants_again(&again)
        };
        self.carry_out(site, commands);
        if restless {
            self.violate(format!("site {site} wants to be woken again and again"));
        }
        if self.part(site) == Some(Part::Faulty) {
            self.violate(format!("site {site} found the protocol broken"));
        }
    }

    pub(super) fn carry_out(&mut self, site: usize, commands: Vec<Command>) {
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
                Command::Notify(notice) => self.sites[site].notices.push((self.now_ms, notice)),
            }
        }
        let place = &mut self.sites[site];
        let Some(deadline) = place.member.as_ref().and_then(Member::deadline) else {
            return;
        };
        let rate = place.rate_permille;
        // Rounded up, so that the member's clock has reached the deadline.
        let at = ((deadline.0 * 1000 + rate - 1) / rate).max(self.now_ms + 1);
        if place.wake_at.is_none_or(|wake| at < wake || wake < self.now_ms) {
            place.wake_at = Some(at);
            let process = place.process;
            self.schedule(at - self.now_ms, Happening::Wake { to: site, process });
        }
    }

    pub(super) fn send(&mut self, from: usize, to: &Destination, group: Option<GroupId>, message: Message) {
        let target = match to {
            Destination::Address(address) => self.at_address(address),
            Destination::Member(id, _) => self.sites.iter().position(|site| site.id == *id),
        };
        let Some(to) = target else { return };
        // Every message crosses the real encoding.
        let wire = serde_json::to_string(&message).expect("every message can be encoded");
        let message = serde_json::from_str(&wire).expect("every encoded message can be decoded");
        let Some(member) = &self.sites[from].member else {
            return;
        };
        let received = Received {
            from: member.id(),
            memory: member.memory(),
            incarnation: member.incarnation(),
            group,
            message,
        };
        let copies = 1 + u32::from(self.draw(1000) < self.weather.duplicate_permille);
        for _ in 0..copies {
            if self.cuts.contains(&(from, to)) || self.draw(1000) < self.weather.loss_permille {
                continue;
            }
            let after = self.between(self.weather.delay_ms);
            self.schedule(
                after,
                Happening::Deliver {
                    to,
                    received: received.clone(),
                },
            );
        }
    }

    pub(super) fn at_address(&self, address: &str) -> Option<usize> {
        let alias = self.aliases.get(address).copied();
        alias.or_else(|| {
            self.sites
                .iter()
                .position(|site| *site.config.profile.address == *address)
        })
    }

    pub(super) fn between(&mut self, (least, most): (i64, i64)) -> i64 {
        let span = u64::try_from(most - least + 1).unwrap_or(1);
        least + i64::try_from(self.draw(span)).unwrap_or(0)
    }

    pub(super) fn schedule(&mut self, after_ms: i64, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((self.now_ms + after_ms, self.sequence)));
        self.happenings.insert(self.sequence, happening);
    }

    // === promises ===
}
