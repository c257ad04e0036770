//! One connection, from its first message to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};
use tracing::{debug, warn};

use super::frame::{Code, Codec, CodecError, FRAME_MAX_BYTES, Frame, Refusal};
use super::handshake::Authenticated;
use super::link::{ConnectionId, Opened, Work};
use super::transport::Shared;
use crate::clock::boottime;

/// A retired connection has this long to send what is queued, and the other side as long to do the same.
const LINGER: Duration = Duration::from_secs(2);

/// A write buffer larger than this is given back after use.
const KEPT_BYTES: usize = 64 * 1024;

#[derive(Debug, Error)]
enum ReadError {
    #[error("the other side closed the connection without a goodbye")]
    Closed,
    #[error("nothing arrived for {0:?}")]
    Silent(Duration),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("reading: {0}")]
    Io(#[source] io::Error),
    #[error("a second hello")]
    SecondHello,
}

#[derive(Debug, Error)]
enum WriteError {
    #[error("the other side took nothing for {0:?}")]
    Stalled(Duration),
    #[error("writing: {0}")]
    Io(#[from] io::Error),
}

/// Makes the kernel give up on a connection as early as the transport does.
pub(super) fn tune(stream: &TcpStream, silence_max: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(silence_max))?;
    // Pings do this work once the handshake is over; keepalive does it before. The kernel counts whole seconds.
    let second = Duration::from_secs(1);
    let keepalive = TcpKeepalive::new()
        .with_time(silence_max.max(second))
        .with_interval(second)
        .with_retries(3);
    socket.set_tcp_keepalive(&keepalive)
}

/// Removes the connection from the switchboard, however its task ends.
struct Registered<'a> {
    shared: &'a Arc<Shared>,
    id: ConnectionId,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let dials = self.shared.switchboard().closed(Instant::now(), self.id);
        self.shared.dial_all(dials);
    }
}

/// Carries messages until the connection ends.
pub(super) async fn run(
    shared: &Arc<Shared>,
    authenticated: Authenticated,
    remote: SocketAddr,
    dialled: Option<Arc<str>>,
) {
    let Authenticated {
        stream,
        codec,
        buffer,
        peer,
    } = authenticated;
    let id = shared.next_connection();
    let dialled = dialled.map(|address| (address, peer.endpoint));
    let opened = Opened {
        instance: peer.instance,
        dialled,
    };
    let signals = shared.switchboard().opened(Instant::now(), id, opened);
    let registered = Registered { shared, id };

    let (read_half, write_half) = tokio::io::split(stream);
    let mut reading = std::pin::pin!(read(shared, id, read_half, codec, buffer, &signals.answered));
    let mut writing = std::pin::pin!(write(shared, id, write_half, &signals.work));
    let read_end = tokio::select! {
        end = &mut reading => end,
        end = &mut writing => match end {
            // We said goodbye; the other side may still be sending.
            Ok(()) => match timeout(LINGER, &mut reading).await {
                Ok(end) => return log_end(id, remote, end),
                Err(_) => return debug!(?id, %remote, "no goodbye within {LINGER:?}"),
            },
            Err(error) => return debug!(?id, %remote, %error, "connection ended"),
        },
    };
    match &read_end {
        // The other side reads on until we close.
        Ok(()) => shared.switchboard().retire(id),
        Err(ReadError::Codec(_) | ReadError::SecondHello) => {
            let error = read_end
                .as_ref()
                .err()
                .map(ToString::to_string)
                .unwrap_or_default();
            let mut switchboard = shared.switchboard();
            switchboard.control(id, Frame::Error(Refusal::new(Code::Malformed, error)));
            switchboard.retire(id);
        }
        Err(_) => return log_end(id, remote, read_end),
    }
    if timeout(LINGER, writing).await.is_err() {
        debug!(?id, %remote, "the other side did not take what was queued within {LINGER:?}");
    }
    log_end(id, remote, read_end);
    drop(registered);
}

fn log_end(id: ConnectionId, remote: SocketAddr, end: Result<(), ReadError>) {
    match end {
        Ok(()) => debug!(?id, %remote, "connection ended"),
        Err(error) => debug!(?id, %remote, %error, "connection ended"),
    }
}

/// Reads until the other side's goodbye.
async fn read(
    shared: &Shared,
    id: ConnectionId,
    mut stream: impl AsyncRead + Unpin,
    mut codec: Codec,
    mut buffer: BytesMut,
    answered: &Notify,
) -> Result<(), ReadError> {
    let timing = &shared.timing;
    let mut heard_at = Instant::now();
    let mut asked_at = heard_at;
    loop {
        while let Some(frame) = codec.decode(&mut buffer)? {
            let received_at = boottime();
            while shared.switchboard().is_behind(id) {
                answered.notified().await;
            }
            let mut switchboard = shared.switchboard();
            match frame {
                Frame::Data(data) => switchboard.received(Instant::now(), id, data, received_at),
                Frame::Error(refusal) => {
                    debug!(?id, code = ?refusal.code, detail = refusal.detail, "the other side refused a frame");
                    switchboard.refused(Instant::now(), id, &refusal);
                }
                Frame::Ping => {
                    switchboard.heard(id);
                    switchboard.control(id, Frame::Pong);
                }
                Frame::Pong => switchboard.heard(id),
                Frame::Unknown(kind) => {
                    switchboard.heard(id);
                    let refusal = Refusal::new(Code::UnknownType, format_args!("{kind:?} is not known"));
                    switchboard.control(id, Frame::Error(refusal));
                }
                Frame::Goodbye => return Ok(()),
                Frame::Hello(_) => return Err(ReadError::SecondHello),
            }
        }
        let wake_at = (asked_at + timing.ping_interval).min(heard_at + timing.silence_max);
        tokio::select! {
            // Reading first: after a stall of this process, what has arrived meanwhile counts before the clock does.
            biased;
            read = stream.read_buf(&mut buffer) => match read {
                Ok(0) => return Err(ReadError::Closed),
                Ok(_) => {
                    heard_at = Instant::now();
                    asked_at = heard_at;
                }
                Err(error) => return Err(ReadError::Io(error)),
            },
            () = sleep_until(wake_at) => {
                if heard_at.elapsed() >= timing.silence_max {
                    return Err(ReadError::Silent(timing.silence_max));
                }
                asked_at = Instant::now();
                shared.switchboard().control(id, Frame::Ping);
            }
        }
    }
}

/// Writes what the switchboard has, until the connection is retired and has said goodbye.
async fn write(
    shared: &Shared,
    id: ConnectionId,
    mut stream: impl AsyncWrite + Unpin,
    work: &Notify,
) -> Result<(), WriteError> {
    let limit = shared.timing.write_max;
    let mut codec = Codec {
        limit_bytes: FRAME_MAX_BYTES,
    };
    let mut buffer = BytesMut::new();
    loop {
        let next = shared.switchboard().take_work(Instant::now(), id);
        let (frames, is_last) = match next {
            Work::Frames(frames) => (frames, false),
            Work::Goodbye => (vec![Frame::Goodbye], true),
            Work::Wait => {
                work.notified().await;
                continue;
            }
        };
        for frame in frames {
            if let Err(error) = codec.encode(&frame, &mut buffer) {
                warn!(?id, %error, "a message was not sent");
            }
        }
        let sent = timeout(limit, async {
            stream.write_all_buf(&mut buffer).await?;
            if is_last {
                stream.shutdown().await
            } else {
                stream.flush().await
            }
        });
        sent.await.map_err(|_| WriteError::Stalled(limit))??;
        if is_last {
            return Ok(());
        }
        if buffer.capacity() > KEPT_BYTES {
            buffer = BytesMut::new();
        }
    }
}
