//! What one site's member costs its machine: its steps, and the encoding of what it says and hears.

use std::time::{Duration, Instant};

use super::World;

/// The cost of one site so far.
#[derive(Clone, Copy, Debug)]
pub struct Gauge {
    /// The site.
    pub site: usize,
    /// Time spent for it.
    pub spent: Duration,
    /// Messages to it and from it.
    pub messages: u64,
}

impl Gauge {
    /// Begins to count the time if this is the site.
    pub(super) fn begin(gauge: Option<&Gauge>, site: usize) -> Option<Instant> {
        gauge.filter(|gauge| gauge.site == site).map(|_| Instant::now())
    }

    pub(super) fn end(gauge: Option<&mut Gauge>, begun: Option<Instant>) {
        if let (Some(gauge), Some(begun)) = (gauge, begun) {
            gauge.spent += begun.elapsed();
        }
    }
}

impl World {
    /// From now on counts what this site costs; every message to it and from it crosses the real encoding.
    pub fn gauge(&mut self, site: usize) {
        self.gauge = Some(Gauge {
            site,
            spent: Duration::ZERO,
            messages: 0,
        });
    }

    /// What it has cost.
    #[must_use]
    pub fn gauged(&self) -> Option<Gauge> {
        self.gauge
    }

    pub(super) fn begin_gauging(&self, site: usize) -> Option<Instant> {
        Gauge::begin(self.gauge.as_ref(), site)
    }

    pub(super) fn end_gauging(&mut self, begun: Option<Instant>) {
        Gauge::end(self.gauge.as_mut(), begun);
    }
}
