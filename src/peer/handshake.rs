//! What happens on a connection between its TLS handshake and its first proof.

use std::io;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsStream;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use super::frame::{
    Code, Codec, CodecError, Endpoint, Frame, Hello, Instance, Refusal, STRANGER_MAX_BYTES, Versions,
};
use super::proof::Binding;
use super::tls::Secured;
use crate::system::TcpStream;

/// Why a connection did not get as far as its first message.
#[derive(Debug, Error)]
pub(super) enum HandshakeError {
    #[error("the TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    #[error("no hello within the time allowed")]
    TimedOut,
    #[error("the other side closed the connection during the handshake")]
    Closed,
    #[error("the handshake failed: {0}")]
    Codec(#[from] CodecError),
    #[error("the other side did not begin with a hello")]
    NoHello,
    #[error("the other side speaks protocol version {theirs}, this controller {ours}")]
    Version { ours: Versions, theirs: Versions },
    #[error("the other side refused the connection: {0}")]
    Refused(String),
}

/// A connection that is ready for proofs.
pub(super) struct Greeted {
    pub(super) stream: TlsStream<TcpStream>,
    /// What arrived behind the hello.
    pub(super) buffer: BytesMut,
    /// The port of the other side that was dialled.
    pub(super) endpoint: Option<Endpoint>,
    pub(super) binding: Binding,
}

/// Exchanges hellos and agrees on a version. The caller limits its time.
pub(super) async fn greet(
    secured: Secured,
    instance: Instance,
    ours: &Hello,
) -> Result<Greeted, HandshakeError> {
    let Secured {
        mut stream,
        peer: theirs,
        exporter,
    } = secured;
    let mut codec = Codec {
        limit_bytes: STRANGER_MAX_BYTES,
    };
    write(&mut stream, &mut codec, &Frame::Hello(ours.clone())).await?;
    let mut buffer = BytesMut::new();
    let peer = match read_frame(&mut stream, &mut codec, &mut buffer).await? {
        Some(Frame::Hello(hello)) => hello,
        Some(Frame::Error(refusal)) => return Err(HandshakeError::Refused(refusal.detail)),
        Some(_) => return Err(HandshakeError::NoHello),
        None => return Err(HandshakeError::Closed),
    };
    let Some(version) = ours.protocol.common(peer.protocol) else {
        let detail = format!("this controller speaks protocol version {}", ours.protocol);
        write(
            &mut stream,
            &mut codec,
            &Frame::Error(Refusal::new(Code::Version, detail)),
        )
        .await?;
        stream.shutdown().await.map_err(CodecError::Io)?;
        // Closing before the other side's own refusal is read would reset the connection and lose ours.
        while read_frame(&mut stream, &mut codec, &mut buffer).await?.is_some() {}
        return Err(HandshakeError::Version {
            ours: ours.protocol,
            theirs: peer.protocol,
        });
    };
    let binding = Binding {
        exporter,
        version,
        ours: instance,
        theirs,
    };
    Ok(Greeted {
        stream,
        buffer,
        endpoint: peer.endpoint,
        binding,
    })
}

async fn write(
    stream: &mut TlsStream<TcpStream>,
    codec: &mut Codec,
    frame: &Frame,
) -> Result<(), CodecError> {
    let mut bytes = BytesMut::new();
    codec.encode(frame, &mut bytes)?;
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    Ok(())
}

/// The next frame, or none when the other side has closed. Dropping the future loses nothing.
pub(super) async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    codec: &mut Codec,
    buffer: &mut BytesMut,
) -> Result<Option<Frame>, CodecError> {
    loop {
        if let Some(frame) = codec.decode(buffer)? {
            return Ok(Some(frame));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}
