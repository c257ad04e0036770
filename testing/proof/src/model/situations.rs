//! The situations that are checked, with the bounds that make each of them small enough.

use super::super::election::{Event, QuorumMode, Settings};
use super::group::{Bounds, Clock, Group};
use super::opening::Opening;
use super::state::{Misfortunes, Mishap};
use super::steps::address;

/// A situation, and how to build it with so many more units of time.
#[derive(Clone, Copy)]
pub struct Situation {
    /// What it is about.
    pub name: &'static str,
    /// Builds it.
    pub build: fn(&'static str, i64) -> Group,
}

/// The shortest timings that the relations between them allow; the clocks are equal.
const TIMINGS: Settings = Settings {
    heartbeat_ms: 1,
    lease_ms: 3,
    stop_budget_ms: 1,
    drift_permille: 0,
    quorum: QuorumMode::Majority,
};

/// All of them.
#[must_use]
pub fn all() -> Vec<Situation> {
    let situation = |name, build| Situation { name, build };
    vec![
        situation("three voters without a leader", leaderless),
        situation("three voters with a leader", led),
        situation(
            "three voters with a leader and a payload that stops slowly",
            slow_payload,
        ),
        situation("a leader hands over", handover),
        situation("a voter leaves", leaving),
        situation("a third member joins a pair", joining),
        situation("clocks at different rates", clocks),
        situation("two voters that need each other", pair),
        situation("two voters that may each lead alone", unguarded_pair),
        situation("three members found a group at once", founding),
        situation("a voter is restored from a backup", restoring),
    ]
}

/// What may go wrong in most of them.
const USUAL: [(Mishap, u8); 7] = [
    (Mishap::Crash, 2),
    (Mishap::Pause, 1),
    (Mishap::Cut, 2),
    (Mishap::Loss, 2),
    (Mishap::Delay, 2),
    (Mishap::Disorder, 1),
    (Mishap::SlowWrite, 1),
];

fn bounds(units: i64, term: u64, mishaps: u8) -> Bounds {
    Bounds {
        units,
        term,
        per_link: 1,
        misfortunes: Misfortunes::of(mishaps, &USUAL),
    }
}

const THREE: [i64; 3] = [30, 20, 10];

fn leaderless(name: &'static str, more: i64) -> Group {
    Opening::new(name, &THREE, 3, TIMINGS, bounds(10 + more, 3, 2)).leaderless()
}

fn led(name: &'static str, more: i64) -> Group {
    Opening::new(name, &THREE, 3, TIMINGS, bounds(10 + more, 4, 2)).led_by_first()
}

fn slow_payload(name: &'static str, more: i64) -> Group {
    // Longer than an election and the first acknowledgement take.
    let settings = Settings {
        stop_budget_ms: 8,
        ..TIMINGS
    };
    let kinds = [(Mishap::Cut, 2)];
    let bounds = Bounds {
        misfortunes: Misfortunes::of(2, &kinds),
        ..bounds(18 + more, 3, 2)
    };
    Opening::new(name, &THREE, 3, settings, bounds).led_by_first()
}

fn handover(name: &'static str, more: i64) -> Group {
    let opening = Opening::new(name, &THREE, 3, TIMINGS, bounds(8 + more, 4, 2));
    opening.wish(0, Event::Resign).led_by_first()
}

fn leaving(name: &'static str, more: i64) -> Group {
    let opening = Opening::new(name, &THREE, 3, TIMINGS, bounds(8 + more, 4, 2));
    opening.wish(1, Event::Leave).led_by_first()
}

fn joining(name: &'static str, more: i64) -> Group {
    Opening::new(name, &THREE, 2, TIMINGS, bounds(8 + more, 4, 2))
        .configure(2, |config| config.fleet = vec![address(0), address(1)])
        .with_strangers()
        .led_by_first()
}

fn clocks(name: &'static str, more: i64) -> Group {
    let settings = Settings {
        lease_ms: 5,
        drift_permille: 250,
        ..TIMINGS
    };
    let (slow, fast) = (Clock { ticks: 1, units: 5 }, Clock { ticks: 1, units: 4 });
    Opening::new(name, &THREE, 3, settings, bounds(45 + more, 4, 2))
        .clocks(vec![vec![slow, fast, fast], vec![fast, slow, slow]])
        .led_by_first()
}

fn pair(name: &'static str, more: i64) -> Group {
    Opening::new(name, &THREE[..2], 2, TIMINGS, bounds(12 + more, 4, 3)).led_by_first()
}

fn unguarded_pair(name: &'static str, more: i64) -> Group {
    let settings = Settings {
        quorum: QuorumMode::None,
        ..TIMINGS
    };
    let opening = Opening::new(name, &THREE[..2], 2, settings, bounds(12 + more, 8, 3));
    opening.unguarded().led_by_first()
}

fn founding(name: &'static str, more: i64) -> Group {
    let all = || (0..3).map(address).collect();
    let mut opening = Opening::new(name, &THREE, 0, TIMINGS, bounds(10 + more, 2, 1)).with_strangers();
    for seat in 0..3 {
        opening = opening.configure(seat, |config| {
            config.ready = true;
            config.fleet = all();
        });
    }
    opening.from_the_start()
}

fn restoring(name: &'static str, more: i64) -> Group {
    let kinds = [(Mishap::Crash, 1), (Mishap::Restore, 1), (Mishap::Cut, 1)];
    let bounds = Bounds {
        misfortunes: Misfortunes::of(3, &kinds),
        ..bounds(10 + more, 4, 3)
    };
    Opening::new(name, &THREE, 3, TIMINGS, bounds).led_by_first()
}
