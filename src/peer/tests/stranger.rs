//! The other end of a connection, by hand.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsStream;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use super::super::frame::{
    Accept, ChannelKey, Code, Codec, Confirm, Endpoint, Found, Frame, Hello, Offer, Open, Refusal,
    SeatNumber, Target,
};
use super::super::handshake::read_frame;
use super::super::proof::{Binding, Opener};
use super::super::tls::{Secured, Tls};
use super::*;
use crate::system::{TcpListener, TcpStream};

pub(super) struct Stranger {
    stream: TlsStream<TcpStream>,
    codec: Codec,
    buffer: BytesMut,
    pub(super) binding: Binding,
}

impl Stranger {
    fn new(tls: &Tls, secured: Secured) -> Self {
        Self {
            stream: secured.stream,
            codec: Codec {
                limit_bytes: FRAME_MAX_BYTES,
            },
            buffer: BytesMut::new(),
            binding: Binding {
                exporter: secured.exporter,
                version: Versions::SPOKEN.max,
                ours: tls.instance,
                theirs: secured.peer,
            },
        }
    }

    /// Connects up to the end of the TLS handshake.
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let tls = Tls::new().unwrap();
        let secured = tls.connect(stream).await.unwrap();
        Self::new(&tls, secured)
    }

    /// Accepts one connection on a port of its own, and says hello.
    pub(super) async fn accept(listener: &TcpListener, hello: &Hello) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        let tls = Tls::new().unwrap();
        let secured = tls.accept(stream).await.unwrap();
        let mut stranger = Self::new(&tls, secured);
        stranger.send(&Frame::Hello(hello.clone())).await;
        stranger
    }

    pub(super) fn hello(protocol: Versions) -> Hello {
        Hello {
            protocol,
            endpoint: Some(Endpoint(0)),
        }
    }

    /// Connects, exchanges hellos, and returns the one of the other side.
    pub(super) async fn greet(address: SocketAddr) -> (Self, Hello) {
        let mut stranger = Self::connect(address).await;
        stranger.send(&Frame::Hello(Self::hello(Versions::SPOKEN))).await;
        match stranger.read().await {
            Some(Frame::Hello(hello)) => (stranger, hello),
            other => panic!("{other:?} instead of a hello"),
        }
    }

    /// Asks for a proof of a callsign.
    pub(super) async fn open(&mut self, channel: u32, word: &str, target: Target) -> Opener {
        let (opener, share) = self.binding.open(&Callsign::new(word), channel).unwrap();
        let open = Open {
            channel,
            target,
            former: false,
            share,
        };
        self.send(&Frame::Open(open)).await;
        opener
    }

    /// Proves that it knows a callsign, and opens a channel by the name of `member`.
    pub(super) async fn prove(&mut self, channel: u32, word: &str, target: &str, member: &str) -> Accept {
        let opener = self.open(channel, word, Target::Member(target.into())).await;
        let Some(Frame::Offer(Offer { share, tag, .. })) = self.answer().await else {
            panic!("no offer");
        };
        let confirm = Confirm {
            channel,
            tag: opener.judge(share, tag).expect("the right callsign").tag,
            member: member.into(),
            endpoint: Endpoint(0),
            seat: SeatNumber(1),
            certificate: None,
        };
        self.send(&Frame::Confirm(confirm)).await;
        match self.answer().await {
            Some(Frame::Accept(accept)) => accept,
            other => panic!("{other:?} instead of an acceptance"),
        }
    }

    /// A member of the federation that is connected with another.
    pub(super) async fn member(address: SocketAddr, other: &str) -> Self {
        let (mut stranger, _) = Self::greet(address).await;
        stranger.prove(1, "federation", other, "stranger").await;
        stranger
    }

    /// Serves one proof to whoever dialled it, and accepts.
    pub(super) async fn serve_proof(&mut self, word: &str, member: &str) {
        let open = loop {
            match self.answer().await {
                Some(Frame::Find(find)) => {
                    let seats = vec![SeatNumber(1)];
                    let endpoint = find.endpoint;
                    self.send(&Frame::Found(Found { endpoint, seats })).await;
                }
                Some(Frame::Open(open)) => break open,
                other => panic!("{other:?} instead of a proof"),
            }
        };
        let channel = open.channel;
        let answer = self.binding.answer(&Callsign::new(word), channel, open.share);
        let (share, tag, expected) = answer.unwrap();
        let has_former = false;
        self.send(&Frame::Offer(Offer {
            channel,
            share,
            tag,
            has_former,
        }))
        .await;
        let Some(Frame::Confirm(confirm)) = self.answer().await else {
            panic!("no confirmation");
        };
        assert!(expected.is_met_by(confirm.tag));
        let accept = Accept {
            channel,
            member: member.into(),
            endpoint: Endpoint(0),
            seat: SeatNumber(1),
            certificate: None,
        };
        self.send(&Frame::Accept(accept)).await;
    }

    /// Says that the callsign was not the one of the other side.
    pub(super) async fn withdraw(&mut self, channel: u32) {
        self.send(&Self::withdrawal(channel)).await;
    }

    pub(super) fn withdrawal(channel: u32) -> Frame {
        let channel = ChannelKey {
            number: channel,
            is_ours: true,
        };
        Frame::Error(Refusal::of_channel(Code::WrongCallsign, channel))
    }

    pub(super) async fn send(&mut self, frame: &Frame) {
        self.send_at_once(std::slice::from_ref(frame)).await;
    }

    /// Sends frames that arrive together.
    pub(super) async fn send_at_once(&mut self, frames: &[Frame]) {
        let mut bytes = BytesMut::new();
        for frame in frames {
            self.codec.encode(frame, &mut bytes).unwrap();
        }
        self.send_bytes(&bytes).await;
    }

    /// Sends the same frame again and again, until that fails.
    pub(super) async fn flood(&mut self, frame: &Frame) -> std::io::Error {
        let mut bytes = BytesMut::new();
        self.codec.encode(frame, &mut bytes).unwrap();
        loop {
            if let Err(error) = self.stream.write_all(&bytes).await {
                return error;
            }
        }
    }

    pub(super) async fn send_text(&mut self, json: &str) {
        let mut bytes = u32::try_from(json.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(json.as_bytes());
        self.send_bytes(&bytes).await;
    }

    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next frame, or none when the connection has ended, however.
    pub(super) async fn read(&mut self) -> Option<Frame> {
        let reading = read_frame(&mut self.stream, &mut self.codec, &mut self.buffer);
        timeout(SOON, reading)
            .await
            .expect("a frame or the end soon")
            .unwrap_or(None)
    }

    /// The next frame that is no ping.
    pub(super) async fn answer(&mut self) -> Option<Frame> {
        loop {
            match self.read().await {
                Some(Frame::Ping) => {}
                other => return other,
            }
        }
    }

    /// Reads and answers nothing, until the other side ends the connection.
    pub(super) async fn watch_the_end(mut self) {
        while self.read().await.is_some() {}
    }

    /// What has arrived already and parses, without waiting for more.
    pub(super) async fn drain(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Ok(Ok(1..)) = timeout(QUIET, self.stream.read_buf(&mut self.buffer)).await {
            while let Some(frame) = self.codec.decode(&mut self.buffer).unwrap() {
                frames.push(frame);
            }
        }
        frames
    }
}
