#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
use serde_json::value::RawValue;

use super::*;

fn message(from: u64, body: String, queued_at: Instant) -> Outgoing {
    Outgoing {
        from: SeatId(from),
        to: Some("receiver".into()),
        channel: None,
        incarnation: 1,
        body: RawValue::from_string(body).unwrap().into(),
        address: None,
        queued_at,
    }
}

fn drain(backlog: &mut Backlog, now: Instant) -> Vec<String> {
    std::iter::from_fn(|| backlog.pop(now))
        .map(|out| out.body.get().to_owned())
        .collect()
}

#[test]
fn messages_leave_in_order() {
    let now = Instant::now();
    let mut backlog = Backlog::default();
    for body in 0..5 {
        backlog.push(message(1, body.to_string(), now));
    }
    assert_eq!(drain(&mut backlog, now), ["0", "1", "2", "3", "4"]);
    assert_eq!(backlog.bytes, 0);
}

#[test]
fn a_sender_that_sends_more_than_leaves_displaces_its_own_oldest_and_nobody_elses() {
    let now = Instant::now();
    let mut backlog = Backlog::default();
    backlog.push(message(2, "-1".to_owned(), now));
    for body in 0..40 {
        backlog.push(message(1, body.to_string(), now));
    }
    let expected: Vec<_> = std::iter::once("-1".to_owned())
        .chain((24..40).map(|body| body.to_string()))
        .collect();
    assert_eq!(drain(&mut backlog, now), expected);
}

#[test]
fn many_senders_share_a_bound_and_the_oldest_go_first() {
    let now = Instant::now();
    let mut backlog = Backlog::default();
    for sender in 0..u64::try_from(TOTAL).unwrap() + 3 {
        backlog.push(message(sender, sender.to_string(), now));
    }
    let left = drain(&mut backlog, now);
    assert_eq!((left.len(), left[0].as_str()), (TOTAL, "3"));
}

#[test]
fn bytes_are_bounded_whatever_the_number() {
    let now = Instant::now();
    let mut backlog = Backlog::default();
    let large = format!("\"{}\"", "x".repeat(FRAME_MAX_BYTES / 2));
    for sender in 0..20 {
        backlog.push(message(sender, large.clone(), now));
        assert!(backlog.bytes <= TOTAL_BYTES);
    }
    assert_eq!(drain(&mut backlog, now).len(), 3);
}

#[test]
fn stale_messages_are_not_sent() {
    let start = Instant::now();
    let mut backlog = Backlog::default();
    backlog.push(message(1, "0".to_owned(), start));
    backlog.push(message(1, "1".to_owned(), start + AGE_MAX));
    assert_eq!(
        drain(&mut backlog, start + AGE_MAX + Duration::from_millis(1)),
        ["1"]
    );
}
