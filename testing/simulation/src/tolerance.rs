//! What a group bears without changing its leader (promise L2), derived from its settings.
//!
//! A claim lasts for a time C, the lease less the drift bound, from the *sending* of the newest heartbeat that a majority
//! acknowledged, and heartbeats leave at most H apart. Let every acknowledgement of a heartbeat come back no later than X
//! after the heartbeat left, from all of one majority. Then at each instant a heartbeat is acknowledged that left no
//! longer ago than X + H, and the claim does not end as long as X + H < C. As long as the leader has its claim, a majority
//! has promised to elect nobody else. So all that keeps acknowledgements away, on the way there, on the way back or in a
//! process that stalls, has the *room* C - H together. It is told in true time for a leader whose clock is fast by the
//! whole drift bound.
//!
//! A connection that is silent for too long is given up besides, and the next takes its round trips. That bounds what a
//! profile bears whose lease is longer than that.

use crate::election::Settings;
use crate::world::{ROUND_TRIPS, SILENCE_MAX_MS, Weather};

const HOUR_MS: f64 = 3_600_000.0;

/// Rates of leader changes are told for so many hours.
pub const HOURS: f64 = 10_000.0;

/// Each of these is borne where the others are as usual.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Tolerance {
    /// By when the acknowledgement of a heartbeat has to be back, in milliseconds.
    pub room_ms: i64,
    /// The greatest delay of a message each way, jitter included, in milliseconds.
    pub delay_ms: i64,
    /// For how long the leader's process, or those of all others at once, may stall, in milliseconds.
    pub stall_ms: i64,
    /// How often one segment of a connection may be lost in a row, each way.
    pub losses_in_a_row: u32,
    /// The share of segments that may be lost, in percent, so that three voters are expected to change their leader less
    /// than once in ten thousand hours.
    pub loss_percent: f64,
}

/// What three voters bear at these settings on links with these delays.
#[must_use]
pub fn tolerance(settings: &Settings, weather: &Weather) -> Tolerance {
    let claim_ms = settings.claim_ms(settings.lease_ms);
    let room_ms = (claim_ms - settings.heartbeat_ms) * 1000 / (1000 + settings.drift_permille) - 1;
    let round_trip_ms = 2 * weather.delay_ms.1;
    // The acknowledgement of the first heartbeat after a stall, over a new connection if the stall ended the former.
    let in_time_ms = room_ms - round_trip_ms;
    let reconnected_ms = in_time_ms - i64::from(ROUND_TRIPS) * round_trip_ms;
    let losses_in_a_row = losses_in_a_row(room_ms, weather);
    Tolerance {
        room_ms,
        delay_ms: room_ms.min(SILENCE_MAX_MS - 1) / 2,
        stall_ms: in_time_ms.min(reconnected_ms.max(SILENCE_MAX_MS - 1)),
        losses_in_a_row,
        loss_percent: loss_percent(settings, room_ms, losses_in_a_row),
    }
}

/// A segment that is lost k times in a row arrives after 2^k - 1 retransmission timeouts, and what was sent behind it
/// arrives with it; that may happen each way.
fn losses_in_a_row(room_ms: i64, weather: &Weather) -> u32 {
    let held_back_ms = |losses: u32| weather.rto_ms() * ((1 << losses) - 1);
    let is_borne = |losses: &u32| {
        let late_ms = held_back_ms(*losses);
        late_ms < SILENCE_MAX_MS && 2 * (late_ms + weather.delay_ms.1) <= room_ms
    };
    (1..20).take_while(is_borne).last().unwrap_or(0)
}

/// A leader of three loses its claim only when both others' acknowledgements are late at once, each since a segment was
/// lost more often in a row than is borne: of each heartbeat, on either way, with the loss's power of that. Two are late at
/// once when they left within the room of each other.
fn loss_percent(settings: &Settings, room_ms: i64, losses_in_a_row: u32) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of a lease")]
    let (heartbeat_ms, room_ms) = (settings.heartbeat_ms as f64, room_ms as f64);
    let heartbeats = HOURS * HOUR_MS / heartbeat_ms;
    let at_once = 2.0 * room_ms / heartbeat_ms + 1.0;
    let late_once = (1.0 / (heartbeats * at_once)).sqrt() / 2.0;
    let power = f64::from(losses_in_a_row) + 1.0;
    late_once.powf(1.0 / power) * 100.0
}
