//! What happens to sites and links from outside: starts, losses, cuts, edits.

use rand::Rng;

use super::connection::SILENCE_MAX_MS;
use super::{Happening, Storage, Weather, World};
use crate::election::{Config, Durable, Event, Member, MemberId, MemoryId, Order};

/// How long writes to an API server take that is well.
const WRITE_MS: (i64, i64) = (3, 12);

impl World {
    /// Starts the controller of a site from what is on its disk.
    pub fn start(&mut self, site: usize) {
        let now = self.tick(site);
        let place = &mut self.sites[site];
        if place.member.is_some() {
            return;
        }
        place.process += 1;
        place.frozen = false;
        place.dark = false;
        place.mailbox.clear();
        place.order = (0, Order::Hold);
        let (member, commands) = Member::start(place.id, place.disk.clone(), place.config.clone(), None, now);
        let deadline = member.deadline();
        place.member = Some(member);
        self.carry_out(site, commands, deadline);
    }

    /// Ends the controller of a site without warning; its payload runs on.
    pub fn crash(&mut self, site: usize) {
        let place = &mut self.sites[site];
        place.member = None;
        place.wake_at = None;
        place.mailbox.clear();
        place.orphan();
        self.break_connections(site);
    }

    /// The whole cluster goes dark: controller and payload.
    pub fn lose(&mut self, site: usize) {
        self.crash(site);
        self.sites[site].dark = true;
        self.sites[site].running = None;
    }

    /// The status of the site's object is lost, and with it its memory.
    pub fn forget(&mut self, site: usize) {
        let memory = MemoryId(u128::from(self.rng.next_u64()));
        self.sites[site].disk = Durable::new(memory);
    }

    /// A copy of the site's memory, for [`World::restore`].
    #[must_use]
    pub fn backup(&self, site: usize) -> Durable {
        self.sites[site].disk.clone()
    }

    /// The site's etcd is restored from a backup.
    pub fn restore(&mut self, site: usize, disk: Durable) {
        self.sites[site].disk = disk;
    }

    /// A second address of a site.
    pub fn alias(&mut self, address: &str, site: usize) {
        self.aliases.insert(address.to_owned(), site);
    }

    /// The site's object is deleted and created anew, under the same address: a new member without a past.
    pub fn recreate(&mut self, site: usize) {
        self.crash(site);
        self.sites[site].running = None;
        self.sites[site].id = MemberId(u128::from(self.rng.next_u64()));
        self.forget(site);
    }

    /// Changes how the site's API server treats writes that are begun from now on.
    pub fn set_storage(&mut self, site: usize, storage: Storage) {
        self.sites[site].storage = storage;
    }

    /// Changes how long writes take that are begun from now on, least and most, in milliseconds.
    pub fn set_write_time(&mut self, write_ms: (i64, i64)) {
        self.weather.write_ms = write_ms;
    }

    /// All API servers take writes, and fast.
    pub fn mend_storage(&mut self) {
        for site in &mut self.sites {
            site.storage = Storage::Works;
        }
        self.set_write_time(WRITE_MS);
    }

    /// Changes loss and delay of what is sent from now on.
    pub fn set_weather(&mut self, change: impl FnOnce(&mut Weather)) {
        let network = self.weather.network;
        change(&mut self.weather);
        self.weather.network = network;
    }

    /// Sets the rate of a site's clock in thousandths of true time.
    pub fn set_clock_rate(&mut self, site: usize, permille: i64) {
        let now_ms = self.now_ms;
        self.sites[site].clock.set_rate(now_ms, permille);
        self.sites[site].wake_at = None;
        let deadline = self.member(site).and_then(Member::deadline);
        self.arm(site, deadline);
        self.look_at_claim(site);
    }

    /// Stops the controller's process, as SIGSTOP does.
    pub fn freeze(&mut self, site: usize) {
        let since_ms = self.now_ms;
        let place = &mut self.sites[site];
        place.orphan();
        if !std::mem::replace(&mut place.frozen, true) {
            place.frozen_since_ms = since_ms;
            self.schedule(SILENCE_MAX_MS, Happening::Dumb { site, since_ms });
        }
    }

    /// Lets it go on.
    pub fn thaw(&mut self, site: usize) {
        if !std::mem::take(&mut self.sites[site].frozen) {
            return;
        }
        // The timers are looked at first, as a scheduler may well do; messages that waited come after.
        self.step(site, Event::Tick);
        while let Some(event) = self.sites[site].mailbox.pop_front() {
            self.step(site, event);
        }
    }

    /// Cuts the link in one direction.
    pub fn cut(&mut self, from: usize, to: usize) {
        if !self.is_cut(from, to) {
            let since_ms = self.now_ms;
            self.cuts.push((from, to, since_ms));
            self.schedule(SILENCE_MAX_MS, Happening::Silent { from, to, since_ms });
        }
    }

    /// Cuts a site off from all others, both ways.
    pub fn isolate(&mut self, site: usize) {
        for other in (0..self.sites.len()).filter(|other| *other != site) {
            self.cut(site, other);
            self.cut(other, site);
        }
    }

    /// Mends all links.
    pub fn heal(&mut self) {
        self.cuts.clear();
    }

    /// Gives an event to a site's member, as its user or its operating system would.
    pub fn tell(&mut self, site: usize, event: Event) {
        self.step(site, event);
    }

    /// Changes what the user wants of a member.
    pub fn configure(&mut self, site: usize, change: impl FnOnce(&mut Config)) {
        change(&mut self.sites[site].config);
        let config = self.sites[site].config.clone();
        self.step(site, Event::Configured(config));
    }
}
