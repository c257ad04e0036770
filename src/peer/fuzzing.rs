//! What a fuzzer, and the corpus that it left, do with bytes from a stranger.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use super::frame::{Codec, Endpoint, FRAME_MAX_BYTES, Frame, Instance, STRANGER_MAX_BYTES};
use super::link::{ConnectionId, Opened};
use super::members::Credentials;
use super::proof::Callsign;
use super::switchboard::{Switchboard, To};

const ID: ConnectionId = ConnectionId(1);

/// Takes bytes as a connection does, with a member that looks for its like at the other end. Nothing but what is known to
/// be ours may come of them, and what was understood must read the same when it is written again.
pub fn wire(bytes: &[u8]) {
    let now = Instant::now();
    let mut desk = Switchboard::new(Instance([1; 32]));
    let credentials = Credentials::new(Callsign::new("federation"));
    let registered = desk.register(Endpoint(0), &"us".into(), credentials);
    let Ok((seat, _filled)) = registered else {
        return;
    };
    let address: Arc<str> = "a:1".into();
    let to = To {
        address: Some(Arc::clone(&address)),
        ..To::default()
    };
    // Whether it is under way makes no difference here.
    let send = |desk: &mut Switchboard| {
        if let Ok(body) = serde_json::value::to_raw_value(&1) {
            desk.send(now, seat, &to, 1, Arc::from(body)).ok();
        }
    };
    send(&mut desk);
    let opened = Opened {
        instance: Instance([2; 32]),
        remote: IpAddr::V4(Ipv4Addr::LOCALHOST),
        dialled: Some((address, Some(Endpoint(9)))),
    };
    let (signals, _dials) = desk.opened(now, ID, opened);
    let mut buffer = BytesMut::from(bytes);
    loop {
        let is_trusted = signals.is_trusted.load(std::sync::atomic::Ordering::Relaxed);
        let limit_bytes = if is_trusted {
            FRAME_MAX_BYTES
        } else {
            STRANGER_MAX_BYTES
        };
        let Ok(Some(frame)) = (Codec { limit_bytes }).decode(&mut buffer) else {
            break;
        };
        reads_the_same(&frame);
        while desk.take_job(now, ID).is_some() {}
        match frame {
            Frame::Data(data) => desk.received(now, ID, data, Duration::ZERO),
            Frame::Find(find) => desk.asked_for_seats(now, ID, &find),
            Frame::Found(found) => desk.found(now, ID, &found),
            Frame::Accept(accept) => assert!(!desk.accepted(now, ID, accept, true), "nobody has confirmed"),
            Frame::Error(refusal) => desk.refused(now, ID, &refusal),
            Frame::Open(open) => {
                if let Ok(asked) = desk.asked(now, ID, &open) {
                    desk.unproven(now, ID, &asked);
                }
            }
            _ => desk.heard(now, ID),
        }
        send(&mut desk);
        desk.take_work(now, ID);
    }
    assert!(
        !signals.is_trusted.load(std::sync::atomic::Ordering::Relaxed),
        "nothing was proven"
    );
    drop(desk.closed(now, ID));
    desk.sweep(now + Duration::from_secs(120));
}

fn reads_the_same(frame: &Frame) {
    let mut codec = Codec {
        limit_bytes: 2 * FRAME_MAX_BYTES,
    };
    let mut written = BytesMut::new();
    if codec.encode(frame, &mut written).is_ok() {
        assert!(matches!(codec.decode(&mut written), Ok(Some(again)) if again == *frame));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    #[test]
    fn the_corpus_is_taken_without_harm() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/wire");
        let mut seeds = 0;
        for file in std::fs::read_dir(corpus).unwrap() {
            super::wire(&std::fs::read(file.unwrap().path()).unwrap());
            seeds += 1;
        }
        assert!(seeds >= 10, "{seeds} seeds in {corpus}");
    }
}
