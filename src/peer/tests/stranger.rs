//! The other end of a connection, by hand.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use super::super::frame::{Codec, Endpoint, Frame, Hello, Instance};
use super::super::handshake::read_frame;
use super::super::tls::{NAME, Tls};
use super::*;

pub(super) struct Stranger {
    stream: TlsStream<TcpStream>,
    codec: Codec,
    buffer: BytesMut,
}

impl Stranger {
    /// Connects up to the end of the TLS handshake.
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from(NAME).unwrap();
        let stream = Tls::new().unwrap().connector.connect(name, stream).await.unwrap();
        Self {
            stream: stream.into(),
            codec: Codec {
                limit_bytes: FRAME_MAX_BYTES,
            },
            buffer: BytesMut::new(),
        }
    }

    /// Accepts one connection on a port of its own, and says hello.
    pub(super) async fn accept(listener: &tokio::net::TcpListener, hello: &Hello) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = Tls::new().unwrap().acceptor.accept(stream).await.unwrap();
        let mut stranger = Self {
            stream: stream.into(),
            codec: Codec {
                limit_bytes: FRAME_MAX_BYTES,
            },
            buffer: BytesMut::new(),
        };
        stranger.send(&Frame::Hello(hello.clone())).await;
        stranger
    }

    pub(super) fn hello(protocol: Versions) -> Hello {
        Hello {
            protocol,
            instance: Instance(rand::random()),
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

    pub(super) async fn send(&mut self, frame: &Frame) {
        let mut bytes = BytesMut::new();
        self.codec.encode(frame, &mut bytes).unwrap();
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
