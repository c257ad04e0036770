//! A group of many members: what it costs its leader.

use std::sync::Arc;
use std::time::Duration;

use crate::election::{
    Durable, Duty, GroupId, MemberId, Membership, MemoryId, Profile, QuorumMode, Roster, Settings, Stamp,
    Voter,
};
use crate::world::{Weather, World};

/// Simulated time between two looks.
const SLICE_MS: i64 = 5_000;
/// The median of so many slices counts, since the machine has other things to do.
const SLICES: usize = 5;

/// What a leader had to do.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Load {
    /// Members of the group.
    pub members: usize,
    /// Messages that the leader sent and received, in a second.
    pub messages_per_second: f64,
    /// Time for its steps and for encoding and decoding what it says and hears; not for TLS and sockets.
    pub leader_cpu_percent: f64,
    /// The same for one message.
    pub microseconds_per_message: f64,
}

/// Lets a group of so many members that know one another already elect a leader, and measures what leading costs.
#[must_use]
pub fn load(members: usize, settings: Settings) -> Load {
    let mut world = World::new(1, Weather::default());
    let settings = Settings {
        quorum: QuorumMode::Majority,
        ..settings
    };
    for site in 0..members {
        let rank = if site == 0 { 10 } else { 5 };
        world.site(rank, false, &[], settings);
    }
    let roster = Arc::new(roster(members, settings));
    for site in 0..members {
        let group = Some(Membership {
            id: GroupId(1),
            roster: Arc::clone(&roster),
        });
        let durable = Durable {
            term: 1,
            group,
            ..Durable::new(MemoryId(number(site)))
        };
        world.restore(site, durable);
        world.start(site);
    }
    let settled = world.run_until(20 * settings.lease_ms, |world| world.leads(0) && world.is_led());
    assert!(settled.is_some(), "{members} members elect nobody");
    // All have heard of the leader's own roster by then.
    world.run(3 * settings.lease_ms);
    let mut slices: Vec<(Duration, u64)> = (0..SLICES)
        .map(|_| {
            world.gauge(0);
            world.run(SLICE_MS);
            world
                .gauged()
                .map_or((Duration::ZERO, 0), |gauge| (gauge.spent, gauge.messages))
        })
        .collect();
    slices.sort();
    let (spent, messages) = slices[SLICES / 2];
    let slice = Duration::from_millis(SLICE_MS.unsigned_abs()).as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "a few thousand messages")]
    let messages = messages as f64;
    Load {
        members,
        messages_per_second: messages / slice,
        leader_cpu_percent: spent.as_secs_f64() / slice * 100.0,
        microseconds_per_message: spent.as_secs_f64() * 1e6 / messages,
    }
}

fn number(site: usize) -> u128 {
    u128::try_from(site).unwrap_or_default() + 1
}

fn roster(members: usize, settings: Settings) -> Roster {
    let voter = |site: usize| Voter {
        id: MemberId(number(site)),
        memory: MemoryId(number(site)),
        profile: Profile {
            name: format!("site-{site}").into(),
            address: format!("site-{site}").into(),
            rank: if site == 0 { 10 } else { 5 },
            duty: Duty::Candidate,
        },
    };
    Roster {
        stamp: Stamp {
            term: 1,
            version: u64::try_from(members).unwrap_or(0),
        },
        settings,
        voters: (0..members).map(voter).collect(),
        peak: members,
        chosen: None,
    }
}
