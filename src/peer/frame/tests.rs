#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
use proptest::prelude::*;

use super::*;

fn data() -> Data {
    Data {
        channel: 7,
        opener: true,
        incarnation: 3,
        body: RawValue::from_string(r#"{"heartbeat":[1,2]}"#.to_owned())
            .unwrap()
            .into(),
    }
}

fn open(target: Target) -> Open {
    Open {
        channel: 1,
        target,
        former: false,
        share: Share([0x41; 33]),
    }
}

fn refusal() -> Refusal {
    let channel = ChannelKey {
        number: 7,
        is_ours: true,
    };
    Refusal::of_channel(Code::WrongCallsign, channel)
}

fn encoded(frame: &Frame) -> BytesMut {
    let mut buffer = BytesMut::new();
    Codec {
        limit_bytes: FRAME_MAX_BYTES,
    }
    .encode(frame, &mut buffer)
    .unwrap();
    buffer
}

fn decoded(json: &str) -> Result<Option<Frame>, CodecError> {
    let mut buffer = BytesMut::new();
    buffer.put_u32(u32::try_from(json.len()).unwrap());
    buffer.put_slice(json.as_bytes());
    Codec {
        limit_bytes: FRAME_MAX_BYTES,
    }
    .decode(&mut buffer)
}

#[test]
fn every_frame_comes_back_as_it_was() {
    let hello = |endpoint| Hello {
        protocol: Versions { min: 1, max: 2 },
        endpoint,
    };
    let endpoint = Some(Endpoint(1));
    let frames = [
        Frame::Hello(hello(None)),
        Frame::Hello(hello(endpoint)),
        Frame::Find(Find {
            endpoint,
            after: SeatNumber(9),
        }),
        Frame::Found(Found {
            endpoint,
            seats: vec![SeatNumber(10), SeatNumber(12)],
        }),
        Frame::Open(open(Target::Member("sheffield".into()))),
        Frame::Open(Open {
            former: true,
            ..open(Target::Seat(SeatNumber(10)))
        }),
        Frame::Offer(Offer {
            channel: 1,
            share: Share([0x42; 33]),
            tag: Tag([0xff; 32]),
            has_former: true,
        }),
        Frame::Confirm(Confirm {
            channel: 1,
            tag: Tag([0; 32]),
            member: "newyork".into(),
            endpoint: Endpoint(2),
            seat: SeatNumber(3),
            certificate: Some(Signed {
                chain: vec![vec![1, 255].into(), vec![].into()],
                scheme: 0x0403,
                signature: vec![7].into(),
            }),
        }),
        Frame::Accept(Accept {
            channel: 1,
            member: "sheffield".into(),
            endpoint: Endpoint(1),
            seat: SeatNumber(10),
            certificate: None,
        }),
        Frame::Data(data()),
        Frame::Error(refusal()),
        Frame::Error(Refusal {
            endpoint,
            ..Refusal::new(Code::ClosedPort, "closed")
        }),
        Frame::Ping,
        Frame::Pong,
        Frame::Goodbye,
    ];
    let mut buffer = BytesMut::new();
    let mut codec = Codec {
        limit_bytes: FRAME_MAX_BYTES,
    };
    for frame in &frames {
        codec.encode(frame, &mut buffer).unwrap();
    }
    for frame in &frames {
        assert_eq!(codec.decode(&mut buffer).unwrap().as_ref(), Some(frame));
    }
    assert_eq!(codec.decode(&mut buffer).unwrap(), None);
}

#[test]
fn the_bytes_of_a_message_are_fixed() {
    let json = r#"{"type":"data","channel":7,"opener":true,"incarnation":3,"body":{"heartbeat":[1,2]}}"#;
    let bytes = encoded(&Frame::Data(data()));
    assert_eq!(&bytes[..4], u32::try_from(json.len()).unwrap().to_be_bytes());
    assert_eq!(std::str::from_utf8(&bytes[4..]).unwrap(), json);
    let share = "41".repeat(33);
    let json = format!(
        r#"{{"type":"open","channel":1,"target":{{"member":"sheffield"}},"former":false,"share":"{share}"}}"#
    );
    let bytes = encoded(&Frame::Open(open(Target::Member("sheffield".into()))));
    assert_eq!(std::str::from_utf8(&bytes[4..]).unwrap(), json);
}

#[test]
fn unknown_fields_are_ignored_and_unknown_types_are_kept_apart() {
    assert_eq!(
        decoded(r#"{"type":"ping","later":{"a":1}}"#).unwrap(),
        Some(Frame::Ping)
    );
    assert_eq!(
        decoded(r#"{"x":1,"type":"teleport"}"#).unwrap(),
        Some(Frame::Unknown("teleport".to_owned()))
    );
    let refusal = decoded(r#"{"type":"error","code":"a-later-code","detail":"d"}"#).unwrap();
    assert_eq!(refusal, Some(Frame::Error(Refusal::new(Code::Other, "d"))));
}

#[test]
fn an_unknown_type_is_never_sent() {
    let mut buffer = BytesMut::from(&b"before"[..]);
    let error = Codec { limit_bytes: 100 }
        .encode(&Frame::Unknown("x".to_owned()), &mut buffer)
        .unwrap_err();
    assert!(matches!(error, CodecError::Encode(_)));
    assert_eq!(&buffer[..], b"before");
}

#[test]
fn what_is_malformed_is_refused_with_its_kind() {
    for json in [
        "",
        "[]",
        "{}",
        "7",
        r#"{"type":7}"#,
        "{\"type\":\"ping\"",
        "\u{0}",
    ] {
        assert!(matches!(decoded(json), Err(CodecError::Type(_))), "{json}");
    }
    let long = "x".repeat(MEMBER_MAX_BYTES + 1);
    let share = "00".repeat(33);
    let many = "1,".repeat(SEATS_MAX) + "1";
    for (kind, fields) in [
        (
            "data",
            r#""channel":-1,"opener":true,"incarnation":1,"body":{}"#.to_owned(),
        ),
        (
            "data",
            r#""channel":4294967296,"opener":true,"incarnation":1,"body":{}"#.to_owned(),
        ),
        (
            "data",
            r#""channel":1,"opener":true,"incarnation":-1,"body":{}"#.to_owned(),
        ),
        ("data", r#""channel":1,"opener":true,"incarnation":1"#.to_owned()),
        (
            "open",
            format!(r#""channel":1,"target":{{"member":""}},"share":"{share}""#),
        ),
        (
            "open",
            format!(r#""channel":1,"target":{{"member":"{long}"}},"share":"{share}""#),
        ),
        (
            "open",
            format!(r#""channel":1,"target":{{"seat":1}},"share":"{share}0""#),
        ),
        (
            "open",
            format!(
                r#""channel":1,"target":{{"seat":1}},"share":"{}""#,
                "zz".repeat(33)
            ),
        ),
        (
            "open",
            format!(
                r#""channel":1,"target":{{"seat":1}},"share":"{}""#,
                "é".repeat(33)
            ),
        ),
        ("found", format!(r#""endpoint":1,"seats":[{many}]"#)),
        ("hello", r#""protocol":{"min":1}"#.to_owned()),
    ] {
        let json = format!(r#"{{"type":"{kind}",{fields}}}"#);
        let error = decoded(&json).unwrap_err();
        assert!(
            matches!(&error, CodecError::Body { kind: named, .. } if *named == kind),
            "{json}: {error}"
        );
    }
}

#[test]
fn deep_nesting_in_a_body_costs_no_stack() {
    let depth = 400_000;
    let body = "[".repeat(depth) + &"]".repeat(depth);
    let json = format!(r#"{{"type":"data","channel":1,"opener":true,"incarnation":1,"body":{body}}}"#);
    assert!(matches!(decoded(&json), Ok(Some(Frame::Data(_)))));
}

#[test]
fn a_frame_above_the_limit_is_refused_at_its_length_and_at_its_encoding() {
    let mut buffer = BytesMut::from(&[0, 0, 0, 101][..]);
    let error = Codec { limit_bytes: 100 }.decode(&mut buffer).unwrap_err();
    assert!(matches!(
        error,
        CodecError::TooLong {
            bytes: 101,
            limit_bytes: 100
        }
    ));
    let mut out = BytesMut::new();
    assert!(matches!(
        Codec { limit_bytes: 50 }.encode(&Frame::Data(data()), &mut out),
        Err(CodecError::TooLong { .. })
    ));
    assert!(out.is_empty());
}

#[test]
fn an_announced_length_allocates_nothing_until_bytes_arrive() {
    let mut codec = Codec {
        limit_bytes: FRAME_MAX_BYTES,
    };
    let mut buffer = BytesMut::from(&u32::try_from(FRAME_MAX_BYTES).unwrap().to_be_bytes()[..]);
    assert_eq!(codec.decode(&mut buffer).unwrap(), None);
    assert!(buffer.capacity() <= 2 * READ_AHEAD_BYTES, "{}", buffer.capacity());
}

#[test]
fn a_large_frame_leaves_no_large_buffer_behind() {
    let body = RawValue::from_string(format!("\"{}\"", "x".repeat(500_000)))
        .unwrap()
        .into();
    let mut buffer = encoded(&Frame::Data(Data { body, ..data() }));
    assert!(
        Codec {
            limit_bytes: FRAME_MAX_BYTES
        }
        .decode(&mut buffer)
        .unwrap()
        .is_some()
    );
    assert!(buffer.capacity() <= READ_AHEAD_BYTES, "{}", buffer.capacity());
}

#[test]
fn the_newest_common_version_is_used_and_a_gap_is_none() {
    let versions = |min, max| Versions { min, max };
    for (ours, theirs, common) in [
        (versions(1, 1), versions(1, 1), Some(1)),
        (versions(1, 2), versions(2, 3), Some(2)),
        (versions(2, 3), versions(1, 2), Some(2)),
        (versions(1, 5), versions(2, 3), Some(3)),
        (versions(1, 1), versions(2, 2), None),
        (versions(3, 4), versions(1, 2), None),
        (versions(2, 1), versions(1, 2), None),
    ] {
        assert_eq!(ours.common(theirs), common, "{ours} and {theirs}");
    }
}

#[test]
fn what_a_message_weighs_beside_its_body_is_never_less_than_what_is_written() {
    let longest = Data {
        channel: u32::MAX,
        opener: false,
        incarnation: u64::MAX,
        ..data()
    };
    let body_bytes = longest.body.get().len();
    let written = encoded(&Frame::Data(longest)).len();
    assert!(written <= DATA_OVERHEAD_BYTES + body_bytes, "{written} bytes");
}

/// Feeds bytes as they would arrive, and returns how many frames came out before the first error.
fn feed(bytes: &[u8], pieces: usize, limit_bytes: usize) -> (usize, bool) {
    let mut codec = Codec { limit_bytes };
    let mut buffer = BytesMut::new();
    let mut frames = 0;
    for piece in bytes.chunks(pieces.max(1)) {
        buffer.extend_from_slice(piece);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(_)) => frames += 1,
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
        // At most what has arrived, doubled by the growing buffer, and one read ahead.
        assert!(buffer.capacity() <= 2 * (bytes.len() + LENGTH_BYTES + READ_AHEAD_BYTES));
    }
    (frames, false)
}

proptest! {
    #[test]
    fn random_bytes_never_panic_and_never_allocate_ahead(
        bytes in proptest::collection::vec(any::<u8>(), 0..2_000),
        pieces in 1_usize..100,
    ) {
        feed(&bytes, pieces, FRAME_MAX_BYTES);
        feed(&bytes, pieces, STRANGER_MAX_BYTES);
    }

    #[test]
    fn random_json_of_the_right_length_never_panics(text in "[{}\\[\\]\":,a-z0-9 ]{0,200}") {
        let mut bytes = u32::try_from(text.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        feed(&bytes, 7, FRAME_MAX_BYTES);
    }

    #[test]
    fn mutated_frames_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        pieces in 1_usize..300,
    ) {
        let mut bytes = encoded(&Frame::Data(data())).to_vec();
        bytes.extend_from_slice(&encoded(&Frame::Error(refusal())));
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        feed(&bytes, pieces, FRAME_MAX_BYTES);
    }

    #[test]
    fn whole_frames_survive_any_fragmentation(
        channel: u32, opener: bool, incarnation: u64, text in "\\PC{0,300}",
        pieces in 1_usize..50,
    ) {
        let body = RawValue::from_string(serde_json::to_string(&text).unwrap()).unwrap().into();
        let sent = Data { channel, opener, incarnation, body };
        let bytes = encoded(&Frame::Data(sent.clone()));
        prop_assert_eq!(feed(&bytes, pieces, FRAME_MAX_BYTES), (1, false));
        let mut whole = bytes;
        let back = Codec { limit_bytes: FRAME_MAX_BYTES }.decode(&mut whole).unwrap();
        prop_assert_eq!(back, Some(Frame::Data(sent)));
    }
}
