//! The task of a connection that proves callsigns: it does the arithmetic, the switchboard decides.

use std::collections::HashMap;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::certificate::{CertificateError, Identity, Side};
use super::frame::{ChannelKey, Code, Confirm, Frame, Offer, Open, Refusal, Signed};
use super::link::{ConnectionId, Signals};
use super::pair::Job;
use super::proof::{Binding, Expected, Opener};
use super::switchboard::Asked;
use super::transport::Shared;

/// Answers that wait for the other side's confirmation at most: twice what this release has under way.
const ANSWERED: usize = 128;

struct Prover<'a> {
    shared: &'a Shared,
    id: ConnectionId,
    binding: Binding,
    /// What this process asked for, by its own numbers.
    opening: HashMap<u32, Opener>,
    /// What the other side asked for, by its numbers.
    answered: HashMap<u32, (Expected, Asked)>,
}

/// Proves until the connection ends, and then what had arrived before.
pub(super) async fn run(
    shared: &Shared,
    id: ConnectionId,
    binding: Binding,
    signals: &Signals,
    mut frames: mpsc::Receiver<Frame>,
) {
    let mut prover = Prover {
        shared,
        id,
        binding,
        opening: HashMap::new(),
        answered: HashMap::new(),
    };
    loop {
        // One exchange takes a fraction of a millisecond; in between, other connections have their turn.
        yield_now().await;
        match frames.try_recv() {
            Ok(frame) => {
                prover.take(frame);
                continue;
            }
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {}
        }
        let job = shared.switchboard().take_job(Instant::now(), id);
        if let Some(job) = job {
            prover.begin(&job);
            continue;
        }
        tokio::select! {
            frame = frames.recv() => match frame {
                Some(frame) => prover.take(frame),
                None => return,
            },
            () = signals.proofs.notified() => {}
        }
    }
}

impl Prover<'_> {
    fn send(&self, frame: Frame) {
        self.shared.switchboard().control(self.id, frame);
    }

    fn refuse(&self, code: Code, number: u32, is_ours: bool) {
        let key = ChannelKey { number, is_ours };
        self.send(Frame::Error(Refusal::of_channel(code, key)));
    }

    fn begin(&mut self, job: &Job) {
        if let Some((opener, share)) = self.binding.open(&job.callsign, job.channel) {
            self.opening.insert(job.channel, opener);
            self.send(Frame::Open(Open {
                channel: job.channel,
                target: job.target.clone(),
                former: job.former,
                share,
            }));
        }
    }

    fn take(&mut self, frame: Frame) {
        match frame {
            Frame::Open(open) => self.answer(&open),
            Frame::Offer(offer) => self.judge(&offer),
            Frame::Confirm(confirm) => self.verify(&confirm),
            Frame::Error(refusal) => self.drop_refused(&refusal),
            _ => {}
        }
    }

    /// The other side asks for a proof.
    fn answer(&mut self, open: &Open) {
        let number = open.channel;
        if self.answered.len() >= ANSWERED || self.answered.contains_key(&number) {
            return self.refuse(Code::Busy, number, false);
        }
        let asked = self.shared.switchboard().asked(Instant::now(), self.id, open);
        let asked = match asked {
            Ok(asked) => asked,
            Err(code) => return self.refuse(code, number, false),
        };
        let Some((share, tag, expected)) = self.binding.answer(&asked.callsign, number, open.share) else {
            self.shared
                .switchboard()
                .unproven(Instant::now(), self.id, &asked);
            return self.refuse(Code::WrongCallsign, number, false);
        };
        let has_former = asked.has_former;
        self.answered.insert(number, (expected, asked));
        self.send(Frame::Offer(Offer {
            channel: number,
            share,
            tag,
            has_former,
        }));
    }

    /// The other side has answered.
    fn judge(&mut self, offer: &Offer) {
        let number = offer.channel;
        let Some(opener) = self.opening.remove(&number) else {
            return;
        };
        let Some(judged) = opener.judge(offer.share, offer.tag) else {
            self.refuse(Code::WrongCallsign, number, true);
            return self
                .shared
                .switchboard()
                .unfit(Instant::now(), self.id, number, offer.has_former);
        };
        let confirmed = self.shared.switchboard().confirmed(self.id, number, &judged);
        let Some((mut confirm, identity)) = confirmed else {
            // Nobody wants it any more, which is no reason to take the other side's word for wrong.
            return self.refuse(Code::Busy, number, true);
        };
        // What cannot be signed is not shown, and the other side says that it misses it.
        confirm.certificate = identity.and_then(|identity| identity.sign(&judged.message).ok());
        self.send(Frame::Confirm(confirm));
    }

    /// The other side confirms what it asked for.
    fn verify(&mut self, confirm: &Confirm) {
        let number = confirm.channel;
        let Some((expected, asked)) = self.answered.remove(&number) else {
            return self.refuse(Code::UnknownChannel, number, false);
        };
        if expected.is_met_by(confirm.tag) {
            return match certify(asked.identity.as_deref(), &expected, confirm) {
                Ok(shown) => self.shared.switchboard().proven(self.id, &asked, confirm, shown),
                Err(cause) => self
                    .shared
                    .switchboard()
                    .uncertified(self.id, &asked, number, &cause),
            };
        }
        self.shared
            .switchboard()
            .unproven(Instant::now(), self.id, &asked);
        self.refuse(Code::WrongCallsign, number, false);
    }

    fn drop_refused(&mut self, refusal: &Refusal) {
        let Some(number) = refusal.channel else {
            return;
        };
        if !refusal.opener {
            self.opening.remove(&number);
        } else if let Some((_, asked)) = self.answered.remove(&number) {
            let mut switchboard = self.shared.switchboard();
            match refusal.code {
                Code::WrongCallsign => switchboard.unproven(Instant::now(), self.id, &asked),
                _ => switchboard.broken_off(Instant::now(), self.id, &asked),
            }
        }
    }
}

/// Looks at the certificate that came with a proof, and answers with our own, where the member has one.
fn certify(
    identity: Option<&Identity>,
    expected: &Expected,
    confirm: &Confirm,
) -> Result<Option<Signed>, CertificateError> {
    let Some(identity) = identity else {
        return Ok(None);
    };
    identity.accept(confirm.certificate.as_ref(), Side::Opener, expected.message())?;
    identity.sign(&expected.confirmed).map(Some)
}

impl Drop for Prover<'_> {
    fn drop(&mut self) {
        for (_, (_, asked)) in self.answered.drain() {
            self.shared
                .switchboard()
                .broken_off(Instant::now(), self.id, &asked);
        }
    }
}
