#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
mod addresses;
mod channels;
mod connections;
mod proofs;

use std::net::IpAddr;

use super::super::certificate::CertificateError;
use super::super::certificate::tests::Authority;
use super::super::frame::{Accept, Confirm, Find, Found, Open, SeatNumber, Share, Tag, Target};
use super::super::pair::Job;
use super::super::proof::{Callsign, Judged};
use super::*;

const OURS: Instance = Instance([100; 32]);
const SMALLER: Instance = Instance([50; 32]);
const LARGER: Instance = Instance([200; 32]);
const OTHER: Instance = Instance([201; 32]);
const HERE: Endpoint = Endpoint(0);
const THERE: Endpoint = Endpoint(9);
const FIRST: ConnectionId = ConnectionId(1);
const SECOND: ConnectionId = ConnectionId(2);
const TAG: Tag = Tag([7; 32]);
const NOTHING: [&str; 0] = [];
const REMOTE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7));

fn credentials(word: &str) -> Credentials {
    Credentials::new(Callsign::new(word))
}

fn body(body: u32) -> Arc<RawValue> {
    RawValue::from_string(body.to_string()).unwrap().into()
}

fn at(address: &str) -> To {
    To {
        address: Some(address.into()),
        ..To::default()
    }
}

fn to_them() -> To {
    To {
        member: Some("them".into()),
        ..To::default()
    }
}

/// A channel that the other side opened.
fn theirs(number: u32) -> ChannelKey {
    ChannelKey {
        number,
        is_ours: false,
    }
}

fn open(channel: u32, member: &str) -> Open {
    Open {
        channel,
        target: Target::Member(member.into()),
        former: false,
        share: Share([0x41; 33]),
    }
}

fn confirm(channel: u32, member: &str) -> Confirm {
    Confirm {
        channel,
        tag: TAG,
        member: member.into(),
        endpoint: THERE,
        seat: SeatNumber(1),
        certificate: None,
    }
}

fn accept(channel: u32, member: &str) -> Accept {
    Accept {
        channel,
        member: member.into(),
        endpoint: THERE,
        seat: SeatNumber(1),
        certificate: None,
    }
}

fn judged() -> Judged {
    Judged {
        tag: TAG,
        message: Vec::new(),
        theirs: Vec::new(),
    }
}

/// A switchboard with member `us`, and a clock that goes when told.
struct Desk {
    switchboard: Switchboard,
    us: SeatId,
    now: Instant,
}

impl Desk {
    fn new() -> Self {
        let mut switchboard = Switchboard::new(OURS);
        let registered = switchboard.register(HERE, &"us".into(), credentials("federation"));
        Self {
            switchboard,
            us: registered.unwrap().0,
            now: Instant::now(),
        }
    }

    fn later(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    fn opened(
        &mut self,
        id: ConnectionId,
        instance: Instance,
        dialled: Option<(Arc<str>, Option<Endpoint>)>,
    ) {
        let opened = Opened {
            instance,
            remote: REMOTE,
            dialled,
        };
        let (_, dials) = self.switchboard.opened(self.now, id, opened);
        assert_eq!(dials, []);
    }

    fn accept(&mut self, id: ConnectionId, instance: Instance) {
        self.opened(id, instance, None);
    }

    fn dialled(&mut self, id: ConnectionId, instance: Instance, address: &str) {
        self.opened(id, instance, Some((address.into(), Some(THERE))));
    }

    /// The other side proves the callsign of `us` and opens a channel.
    fn joined(&mut self, id: ConnectionId, channel: u32, member: &str) {
        let asked = self
            .switchboard
            .asked(self.now, id, &open(channel, "us"))
            .unwrap();
        self.switchboard
            .proven(id, &asked, &confirm(channel, member), None);
        assert!(
            matches!(self.work(id), Work::Frames(frames) if matches!(frames.last(), Some(Frame::Accept(_))))
        );
    }

    /// What `us` asks for over a connection is found and accepted by `member`.
    fn join(&mut self, id: ConnectionId, member: &str) {
        let job = self.job(id).unwrap();
        assert_eq!(self.confirmed(id, job.channel).as_deref(), Some("us"));
        assert!(
            self.switchboard
                .accepted(self.now, id, accept(job.channel, member), false)
        );
    }

    /// The other side knows the callsign that was asked for: who is to confirm it?
    fn confirmed(&mut self, id: ConnectionId, channel: u32) -> Option<Arc<str>> {
        Some(self.switchboard.confirmed(id, channel, &judged())?.0.member)
    }

    /// The next proof to begin; whoever is asked for is at one seat.
    fn job(&mut self, id: ConnectionId) -> Option<Job> {
        if let Some(job) = self.switchboard.take_job(self.now, id) {
            return Some(job);
        }
        let Work::Frames(frames) = self.work(id) else {
            return None;
        };
        let find = frames.into_iter().find_map(|frame| match frame {
            Frame::Find(find) => Some(find),
            _ => None,
        })?;
        self.found(id, find.endpoint);
        self.switchboard.take_job(self.now, id)
    }

    fn found(&mut self, id: ConnectionId, endpoint: Option<Endpoint>) {
        let seats = vec![SeatNumber(1)];
        self.switchboard.found(self.now, id, &Found { endpoint, seats });
    }

    fn send(&mut self, to: &To, content: u32) -> Option<Dial> {
        self.try_send(to, content).unwrap()
    }

    fn try_send(&mut self, to: &To, content: u32) -> Result<Option<Dial>, Error> {
        self.switchboard.send(self.now, self.us, to, 1, body(content))
    }

    fn receive(&mut self, id: ConnectionId, key: ChannelKey) {
        let data = Data {
            channel: key.number,
            opener: !key.is_ours,
            incarnation: 1,
            body: body(0),
        };
        self.switchboard.received(self.now, id, data, Duration::ZERO);
    }

    /// The other side refuses what `us` asked for.
    fn refuse(&mut self, id: ConnectionId, code: Code, channel: u32) {
        self.switchboard
            .refused(self.now, id, &Refusal::of_channel(code, theirs(channel)));
    }

    fn work(&mut self, id: ConnectionId) -> Work {
        self.switchboard.take_work(self.now, id)
    }

    /// The bodies of the messages that a connection should write.
    fn bodies(&mut self, id: ConnectionId) -> Vec<String> {
        let Work::Frames(frames) = self.work(id) else {
            return Vec::new();
        };
        let bodies = frames.into_iter().filter_map(|frame| match frame {
            Frame::Data(data) => Some(data.body.get().to_owned()),
            _ => None,
        });
        bodies.collect()
    }

    fn notices(&mut self) -> Vec<Notice> {
        let mut notices = Vec::new();
        while let Ok(Some(event)) = self.switchboard.take_event(self.us) {
            match event {
                Event::Notice(notice) => notices.push(notice),
                Event::Message(_) => {}
            }
        }
        notices
    }
}

fn dial(address: &str, wait_ms: u64) -> Option<Dial> {
    Some(Dial {
        address: address.into(),
        wait: Duration::from_millis(wait_ms),
    })
}

fn connected(address: &str) -> Notice {
    Notice::Connected {
        address: address.into(),
    }
}

fn unknown_group(address: &str) -> Notice {
    Notice::UnknownGroup {
        address: address.into(),
    }
}
