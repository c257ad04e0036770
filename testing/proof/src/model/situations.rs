//! The situations that are checked, with the bounds that make each of them small enough.

use super::super::election::{Event, Preemption, QuorumMode, Settings};
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

/// The shortest timings with room for an election within a lease, where a message takes a unit; the clocks are equal.
const TIMINGS: Settings = Settings {
    heartbeat_ms: 3,
    lease_ms: 9,
    stop_budget_ms: 3,
    drift_permille: 0,
    quorum: QuorumMode::Majority,
    preemption: Preemption::Always { after_ms: 0 },
};

/// All of them.
#[must_use]
pub fn all() -> Vec<Situation> {
    let situation = |name, build| Situation { name, build };
    vec![
        situation("three voters without a leader", leaderless),
        situation(
            "three voters without a leader, two of which cannot hear each other",
            deaf,
        ),
        situation("three voters without a leader, one of which starts late", late),
        situation("three voters with a leader", led),
        situation("three voters with a leader, one of which cannot hear it", cut_off),
        situation("three voters with a leader that stalls", stalled),
        situation("three voters with a payload that stops slowly", slow_payload),
        situation("three voters with a payload that others may remove", fenced),
        situation("a leader hands over", handover),
        situation("a voter leaves", leaving),
        situation("a third member joins a pair", joining),
        situation("clocks at different rates", clocks),
        situation("two voters that need each other", pair),
        situation("two voters that may each lead alone", unguarded_pair),
        situation(
            "two voters that may each lead alone, cut off from each other",
            split_pair,
        ),
        situation("three members found a group at once", founding),
        situation("a voter is restored from a backup", restoring),
        situation("three voters with a leader that has two controllers", replicated),
        situation(
            "three voters with a leader that has two controllers and is not heard by one of them",
            replicated_cut_off,
        ),
        situation(
            "a leader that has two controllers hands over",
            replicated_handover,
        ),
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

/// So much may go wrong, each of these kinds as often.
fn only(bounds: Bounds, mishaps: u8, kinds: &[Mishap]) -> Bounds {
    let kinds: Vec<(Mishap, u8)> = kinds.iter().map(|kind| (*kind, mishaps)).collect();
    Bounds {
        misfortunes: Misfortunes::of(mishaps, &kinds),
        ..bounds
    }
}

const THREE: [i64; 3] = [30, 20, 10];

fn three(name: &'static str, bounds: Bounds) -> Opening {
    Opening::new(name, &THREE, 3, TIMINGS, bounds)
}

fn leaderless(name: &'static str, more: i64) -> Group {
    three(name, bounds(14 + more, 3, 2)).leaderless()
}

fn deaf(name: &'static str, more: i64) -> Group {
    // A leader that nobody has acknowledged yet leads for a lease, in which another can be elected.
    let settings = Settings {
        heartbeat_ms: 2,
        ..TIMINGS
    };
    let kinds = [(Mishap::Cut, 1), (Mishap::SlowWrite, 2)];
    let bounds = Bounds {
        misfortunes: Misfortunes::of(3, &kinds),
        ..bounds(17 + more, 3, 3)
    };
    Opening::new(name, &THREE, 3, settings, bounds)
        .cut(0, 1)
        .cut(1, 0)
        .leaderless()
}

fn late(name: &'static str, more: i64) -> Group {
    let bounds = only(bounds(20 + more, 2, 2), 2, &[Mishap::Crash]);
    three(name, bounds).cut(0, 1).dead(1).leaderless()
}

fn led(name: &'static str, more: i64) -> Group {
    three(name, bounds(16 + more, 4, 2)).led_by_first()
}

fn cut_off(name: &'static str, more: i64) -> Group {
    let bounds = only(bounds(19 + more, 3, 2), 2, &[Mishap::Cut, Mishap::Crash]);
    three(name, bounds).cut(0, 1).led_by_first()
}

fn stalled(name: &'static str, more: i64) -> Group {
    let bounds = only(bounds(22 + more, 3, 2), 2, &[Mishap::Cut, Mishap::Pause]);
    three(name, bounds).cut(0, 1).led_by_first()
}

fn slow_payload(name: &'static str, more: i64) -> Group {
    // Longer than an election and the first acknowledgement take.
    let settings = Settings {
        lease_ms: 3,
        heartbeat_ms: 1,
        stop_budget_ms: 8,
        ..TIMINGS
    };
    let bounds = only(bounds(18 + more, 3, 2), 2, &[Mishap::Cut]);
    Opening::new(name, &THREE, 3, settings, bounds).led_by_first()
}

fn fenced(name: &'static str, more: i64) -> Group {
    // Longer than two elections take, so that the first of two leaders that failed may be running its payload yet.
    let settings = Settings {
        lease_ms: 3,
        heartbeat_ms: 1,
        stop_budget_ms: 16,
        ..TIMINGS
    };
    let bounds = only(bounds(18 + more, 3, 1), 1, &[Mishap::Cut]);
    Opening::new(name, &THREE, 3, settings, bounds)
        .with_fencing()
        .cut(0, 1)
        .cut(0, 2)
        .led_by_first()
}

fn handover(name: &'static str, more: i64) -> Group {
    three(name, bounds(10 + more, 4, 2))
        .wish(0, Event::Resign)
        .led_by_first()
}

fn leaving(name: &'static str, more: i64) -> Group {
    three(name, bounds(20 + more, 3, 1))
        .wish(1, Event::Leave)
        .led_by_first()
}

fn joining(name: &'static str, more: i64) -> Group {
    Opening::new(name, &THREE, 2, TIMINGS, bounds(20 + more, 3, 1))
        .configure(2, |config| config.fleet = vec![address(0), address(1)])
        .with_strangers()
        .led_by_first()
}

fn clocks(name: &'static str, more: i64) -> Group {
    let settings = Settings {
        heartbeat_ms: 1,
        lease_ms: 5,
        stop_budget_ms: 1,
        drift_permille: 250,
        ..TIMINGS
    };
    let (slow, fast) = (Clock { ticks: 1, units: 5 }, Clock { ticks: 1, units: 4 });
    let bounds = only(bounds(45 + more, 4, 2), 2, &[Mishap::Cut, Mishap::Pause]);
    Opening::new(name, &THREE, 3, settings, bounds)
        .clocks(vec![vec![slow, fast, fast], vec![fast, slow, slow]])
        .led_by_first()
}

fn pair(name: &'static str, more: i64) -> Group {
    Opening::new(name, &THREE[..2], 2, TIMINGS, bounds(26 + more, 4, 2)).led_by_first()
}

fn unguarded_pair(name: &'static str, more: i64) -> Group {
    let settings = Settings {
        quorum: QuorumMode::None,
        ..TIMINGS
    };
    let bounds = bounds(24 + more, 8, 2);
    let opening = Opening::new(name, &THREE[..2], 2, settings, bounds);
    opening.unguarded().led_by_first()
}

fn split_pair(name: &'static str, more: i64) -> Group {
    let settings = Settings {
        heartbeat_ms: 1,
        quorum: QuorumMode::None,
        ..TIMINGS
    };
    let bounds = only(bounds(24 + more, 8, 1), 1, &[Mishap::Crash]);
    let opening = Opening::new(name, &THREE[..2], 2, settings, bounds);
    opening.unguarded().cut(0, 1).cut(1, 0).leaderless()
}

fn founding(name: &'static str, more: i64) -> Group {
    let all = || (0..3).map(address).collect();
    let mut opening = Opening::new(name, &THREE, 0, TIMINGS, bounds(26 + more, 2, 0)).with_strangers();
    for seat in 0..3 {
        opening = opening.configure(seat, |config| {
            config.ready = true;
            config.fleet = all();
        });
    }
    opening.from_the_start()
}

fn restoring(name: &'static str, more: i64) -> Group {
    let kinds = [(Mishap::Crash, 2), (Mishap::Restore, 1)];
    let bounds = Bounds {
        misfortunes: Misfortunes::of(3, &kinds),
        ..bounds(24 + more, 3, 3)
    };
    three(name, bounds).cut(0, 1).led_by_first()
}

/// One that stands by takes over when the first was at rest for so long: there is time for an election within a lease.
const STANDBY: i64 = 3;

fn replicated(name: &'static str, more: i64) -> Group {
    let kinds = [Mishap::Pause, Mishap::Crash, Mishap::Cut, Mishap::Haunting];
    let bounds = only(bounds(16 + more, 4, 3), 2, &kinds);
    three(name, bounds).standby(0, STANDBY).led_by_first()
}

fn replicated_cut_off(name: &'static str, more: i64) -> Group {
    let kinds = [Mishap::Pause, Mishap::Cut, Mishap::Haunting];
    let bounds = only(bounds(17 + more, 4, 3), 2, &kinds);
    three(name, bounds).standby(0, STANDBY).cut(0, 1).led_by_first()
}

fn replicated_handover(name: &'static str, more: i64) -> Group {
    let bounds = only(bounds(16 + more, 4, 1), 1, &[Mishap::Pause]);
    let opening = three(name, bounds).standby(0, STANDBY).wish(0, Event::Resign);
    opening.cut(1, 2).led_by_first()
}
