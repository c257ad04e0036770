//! One connection, from its hellos to its end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};
use tracing::{debug, warn};

use super::admission::Permit;
use super::certificate::{CertificateError, Side};
use super::frame::{Accept, Code, Codec, CodecError, FRAME_MAX_BYTES, Frame, Refusal, STRANGER_MAX_BYTES};
use super::handshake::Greeted;
use super::link::{ConnectionId, Opened, Signals, Work};
use super::pair::Check;
use super::prover;
use super::transport::Shared;
use crate::clock::boottime;

/// A retired connection has this long to send what is queued, and the other side as long to do the same.
const LINGER: Duration = Duration::from_secs(2);

/// Frames of proofs that wait to be looked at: as many as this process has under way, and their answers' ends.
const PROOF_FRAMES: usize = 128;

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
    #[error("a channel was accepted that was not asked for")]
    NotAsked,
}

#[derive(Debug, Error)]
enum WriteError {
    #[error("the other side took nothing for {0:?}")]
    Stalled(Duration),
    #[error("writing: {0}")]
    Io(#[from] io::Error),
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

/// Proves callsigns and carries messages until the connection ends. A permit of who was accepted counts as one of a
/// stranger until a callsign is proven.
pub(super) async fn run(
    shared: &Arc<Shared>,
    greeted: Greeted,
    remote: SocketAddr,
    dialled: Option<Arc<str>>,
    permit: Option<Permit>,
) {
    let Greeted {
        stream,
        buffer,
        endpoint,
        binding,
    } = greeted;
    let id = shared.next_connection();
    let opened = Opened {
        instance: binding.theirs,
        remote: remote.ip(),
        dialled: dialled.map(|address| (address, endpoint)),
    };
    let (signals, dials) = shared.switchboard().opened(Instant::now(), id, opened);
    // Declared before the tasks of the connection, so that these end while it is still known.
    let _registered = Registered { shared, id };
    shared.dial_all(dials);

    let (read_half, write_half) = tokio::io::split(stream);
    let (proofs, asked) = mpsc::channel(PROOF_FRAMES);
    // The prover ends when it has seen all that was read: whoever guesses wrong and leaves at once is counted all the same.
    let mut reading = std::pin::pin!(futures::future::join(
        read(shared, id, read_half, buffer, &signals, proofs),
        prover::run(shared, id, binding, &signals, asked)
    ));
    let mut writing = std::pin::pin!(write(shared, id, write_half, &signals));
    let mut admitted = std::pin::pin!(admit(shared, id, &signals, permit));
    let read_end = tokio::select! {
        (end, ()) = &mut reading => end,
        end = &mut writing => match end {
            // We said goodbye; the other side may still be sending.
            Ok(()) => match timeout(LINGER, &mut reading).await {
                Ok((end, ())) => return log_end(id, remote, end),
                Err(_) => return debug!(?id, %remote, "no goodbye within {LINGER:?}"),
            },
            Err(error) => return debug!(?id, %remote, %error, "connection ended"),
        },
        never = &mut admitted => match never {},
    };
    match &read_end {
        // The other side reads on until we close.
        Ok(()) => shared.switchboard().heard_goodbye(Instant::now(), id),
        Err(ReadError::Codec(_) | ReadError::SecondHello | ReadError::NotAsked) => {
            let error = read_end
                .as_ref()
                .err()
                .map(ToString::to_string)
                .unwrap_or_default();
            let mut switchboard = shared.switchboard();
            switchboard.control(id, Frame::Error(Refusal::new(Code::Malformed, error)));
            switchboard.heard_goodbye(Instant::now(), id);
        }
        Err(_) => return log_end(id, remote, read_end),
    }
    if timeout(LINGER, writing).await.is_err() {
        debug!(?id, %remote, "the other side did not take what was queued within {LINGER:?}");
    }
    log_end(id, remote, read_end);
}

fn log_end(id: ConnectionId, remote: SocketAddr, end: Result<(), ReadError>) {
    match end {
        Ok(()) => debug!(?id, %remote, "connection ended"),
        Err(error) => debug!(?id, %remote, %error, "connection ended"),
    }
}

/// Holds a place among the handshakes until a callsign is proven, and ends the connection if none is in time.
async fn admit(
    shared: &Shared,
    id: ConnectionId,
    signals: &Signals,
    mut permit: Option<Permit>,
) -> Infallible {
    match timeout(shared.timing.prove_max, signals.trusted.notified()).await {
        Ok(()) => permit.iter_mut().for_each(Permit::shaken),
        Err(_) => shared.switchboard().retire_stranger(Instant::now(), id),
    }
    // The permit is kept until the connection has ended.
    std::future::pending().await
}

/// Reads until the other side's goodbye.
async fn read(
    shared: &Shared,
    id: ConnectionId,
    mut stream: impl AsyncRead + Unpin,
    mut buffer: BytesMut,
    signals: &Signals,
    proofs: mpsc::Sender<Frame>,
) -> Result<(), ReadError> {
    let timing = &shared.timing;
    let mut heard_at = Instant::now();
    let mut asked_at = heard_at;
    let mut codec = Codec {
        limit_bytes: STRANGER_MAX_BYTES,
    };
    loop {
        loop {
            let is_trusted = signals.is_trusted.load(Ordering::Relaxed);
            if is_trusted {
                codec.limit_bytes = FRAME_MAX_BYTES;
            }
            let Some(frame) = codec.decode(&mut buffer)? else {
                break;
            };
            let received_at = boottime();
            while shared.switchboard().is_behind(id) {
                signals.answered.notified().await;
            }
            let taken = take(shared, id, frame, received_at)?;
            match taken {
                Taken::Whole => {}
                Taken::Proof(frame) => pass_on(&proofs, frame, is_trusted).await,
                Taken::Goodbye => return Ok(()),
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

/// What became of a frame.
enum Taken {
    Whole,
    /// The prover has to see it.
    Proof(Frame),
    Goodbye,
}

fn take(shared: &Shared, id: ConnectionId, frame: Frame, received_at: Duration) -> Result<Taken, ReadError> {
    let now = Instant::now();
    // Looked at before the switchboard is locked: this takes longer than anything else here.
    let verdict = match &frame {
        Frame::Accept(accept) => check(shared, id, accept),
        _ => Ok(false),
    };
    let mut switchboard = shared.switchboard();
    match frame {
        Frame::Data(data) => switchboard.received(now, id, data, received_at),
        Frame::Find(find) => switchboard.asked_for_seats(now, id, &find),
        Frame::Found(found) => switchboard.found(now, id, &found),
        // Here and not with the other proofs, since messages may follow at once.
        Frame::Accept(accept) => match verdict {
            Err(cause) => switchboard.rejected(now, id, accept.channel, &cause),
            Ok(is_certified) => {
                if !switchboard.accepted(now, id, accept, is_certified) {
                    return Err(ReadError::NotAsked);
                }
            }
        },
        Frame::Error(refusal) => {
            debug!(?id, code = ?refusal.code, detail = refusal.detail, "the other side refused a frame");
            switchboard.refused(now, id, &refusal);
            if refusal.channel.is_some() {
                return Ok(Taken::Proof(Frame::Error(refusal)));
            }
        }
        Frame::Open(_) | Frame::Offer(_) | Frame::Confirm(_) => {
            switchboard.heard(now, id);
            return Ok(Taken::Proof(frame));
        }
        Frame::Ping => {
            switchboard.heard(now, id);
            switchboard.control(id, Frame::Pong);
        }
        Frame::Pong => switchboard.heard(now, id),
        Frame::Unknown(kind) => {
            switchboard.heard(now, id);
            let refusal = Refusal::new(Code::UnknownType, format_args!("{kind:?} is not known"));
            switchboard.control(id, Frame::Error(refusal));
        }
        Frame::Goodbye => return Ok(Taken::Goodbye),
        Frame::Hello(_) => return Err(ReadError::SecondHello),
    }
    Ok(Taken::Whole)
}

/// Whether a certificate was asked for and the one that comes with an acceptance is good.
fn check(shared: &Shared, id: ConnectionId, accept: &Accept) -> Result<bool, CertificateError> {
    let Some(Check { identity, message }) = shared.switchboard().check(id, accept.channel) else {
        return Ok(false);
    };
    identity.accept(accept.certificate.as_ref(), Side::Responder, &message)?;
    Ok(true)
}

/// Hands a frame to the prover. A stranger's frames are read no faster than they are answered.
async fn pass_on(proofs: &mpsc::Sender<Frame>, frame: Frame, is_trusted: bool) {
    let places = if is_trusted { 1 } else { PROOF_FRAMES - 1 };
    // The prover lives as long as the reader, so there is always room at last.
    if let Ok(mut permits) = proofs.reserve_many(places).await
        && let Some(permit) = permits.next()
    {
        permit.send(frame);
    }
}

/// Writes what the switchboard has, until the connection is retired and has said goodbye.
async fn write(
    shared: &Shared,
    id: ConnectionId,
    mut stream: impl AsyncWrite + Unpin,
    signals: &Signals,
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
            Work::Wait(until) => {
                let look = signals.work.notified();
                match until {
                    Some(until) => drop(timeout_at(until, look).await),
                    None => look.await,
                }
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
