//! The proof that both ends of a connection know one callsign: SPAKE2 with key confirmation.
//!
//! The opener sends a share, the other side answers with its own share and a tag, the opener answers with its tag. A tag
//! is a MAC by the exchange's key over everything that the two ends must agree on, the TLS exporter of this connection
//! included, so a proof cannot be passed on to another connection. A share commits its sender to one callsign: whoever
//! does not know it can try one word with each exchange, and learns nothing that could be tried afterwards.
//!
//! SPAKE2: Michel Abdalla and David Pointcheval, *Simple Password-Based Encrypted Key Exchange Protocols* (CT-RSA 2005);
//! RFC 9382. The shares and the key are those of the crate `spake2`, whose hash of the transcript includes the callsign,
//! both identities and both shares.

use std::fmt;
use std::sync::Arc;

use ring::hmac;
use spake2::{Ed25519Group, Identity, Password, Spake2};

use super::frame::{Instance, Share, Tag};

type Exchange = Spake2<Ed25519Group>;

/// A group's secret. It never travels, and is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Callsign(Arc<str>);

impl Callsign {
    /// The callsign of these characters.
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    fn password(&self) -> Password {
        Password::new(self.0.as_bytes())
    }
}

impl fmt::Debug for Callsign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callsign(…)")
    }
}

/// What the two ends of a connection have in common, and what tells them apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding {
    /// Known to the two ends of this connection only.
    pub(super) exporter: [u8; 32],
    /// The protocol version that they speak.
    pub(super) version: u16,
    pub(super) ours: Instance,
    pub(super) theirs: Instance,
}

/// The opener's side of a proof whose share is on its way.
pub(super) struct Opener {
    binding: Binding,
    channel: u32,
    exchange: Exchange,
    share: Share,
}

/// What the opener's tag has to be.
pub(super) struct Expected {
    key: hmac::Key,
    message: Vec<u8>,
    /// What the responder has confirmed, and may sign.
    pub(super) confirmed: Vec<u8>,
}

/// What shows the other side that the opener has the callsign, too.
pub(super) struct Judged {
    pub(super) tag: Tag,
    /// What the opener confirms, and may sign.
    pub(super) message: Vec<u8>,
    /// What the responder has confirmed, and may have signed.
    pub(super) theirs: Vec<u8>,
}

const OPENER: &[u8] = b"flagship channel, opener\0";
const RESPONDER: &[u8] = b"flagship channel, responder\0";

impl Binding {
    /// Begins a proof.
    pub(super) fn open(&self, callsign: &Callsign, channel: u32) -> Option<(Opener, Share)> {
        let (exchange, sent) = Exchange::start_a(
            &callsign.password(),
            &identity(OPENER, self.ours),
            &identity(RESPONDER, self.theirs),
        );
        let share = Share(sent.try_into().ok()?);
        let opener = Opener {
            binding: *self,
            channel,
            exchange,
            share,
        };
        Some((opener, share))
    }

    /// Answers an opener's share: our share, our tag, and what the opener's tag has to be. None where the share is not
    /// a point of the curve.
    pub(super) fn answer(
        &self,
        callsign: &Callsign,
        channel: u32,
        opener_share: Share,
    ) -> Option<(Share, Tag, Expected)> {
        let (exchange, sent) = Exchange::start_b(
            &callsign.password(),
            &identity(OPENER, self.theirs),
            &identity(RESPONDER, self.ours),
        );
        let share = Share(sent.try_into().ok()?);
        let key = key(&exchange.finish(&opener_share.0).ok()?);
        let message = |role| self.message(role, channel, (self.theirs, opener_share), (self.ours, share));
        let confirmed = message(RESPONDER);
        let tag = tag(&key, &confirmed)?;
        let expected = Expected {
            key,
            message: message(OPENER),
            confirmed,
        };
        Some((share, tag, expected))
    }

    /// What both ends must agree on, as the side of this role confirms it. Every part has a fixed length.
    fn message(
        &self,
        role: &[u8],
        channel: u32,
        opener: (Instance, Share),
        responder: (Instance, Share),
    ) -> Vec<u8> {
        [
            role,
            &self.exporter,
            &self.version.to_be_bytes(),
            &channel.to_be_bytes(),
            &opener.0.0,
            &opener.1.0,
            &responder.0.0,
            &responder.1.0,
        ]
        .concat()
    }
}

impl Opener {
    /// The opener's tag, if the other side's shows that it knows the callsign.
    pub(super) fn judge(self, responder_share: Share, theirs: Tag) -> Option<Judged> {
        let key = key(&self.exchange.finish(&responder_share.0).ok()?);
        let Binding {
            ours,
            theirs: responder,
            ..
        } = self.binding;
        let message = |role| {
            let (opener, responder) = ((ours, self.share), (responder, responder_share));
            self.binding.message(role, self.channel, opener, responder)
        };
        let confirmed = message(RESPONDER);
        hmac::verify(&key, &confirmed, &theirs.0).ok()?;
        let message = message(OPENER);
        Some(Judged {
            tag: tag(&key, &message)?,
            message,
            theirs: confirmed,
        })
    }
}

impl Expected {
    /// What the opener confirms, and may have signed.
    pub(super) fn message(&self) -> &Vec<u8> {
        &self.message
    }

    /// Whether the opener knows the callsign.
    pub(super) fn is_met_by(&self, theirs: Tag) -> bool {
        hmac::verify(&self.key, &self.message, &theirs.0).is_ok()
    }
}

fn identity(role: &[u8], instance: Instance) -> Identity {
    Identity::new(&[role, &instance.0].concat())
}

fn key(secret: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret)
}

fn tag(key: &hmac::Key, message: &[u8]) -> Option<Tag> {
    hmac::sign(key, message).as_ref().try_into().ok().map(Tag)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a test fails by panicking"
    )]
    use super::*;

    const OURS: Instance = Instance([1; 32]);
    const THEIRS: Instance = Instance([2; 32]);

    /// The two ends of one connection.
    fn ends() -> (Binding, Binding) {
        let end = |ours, theirs| Binding {
            exporter: [7; 32],
            version: 2,
            ours,
            theirs,
        };
        (end(OURS, THEIRS), end(THEIRS, OURS))
    }

    /// Whether each side is convinced, the opener first.
    fn prove(opener: (Binding, &str, u32), responder: (Binding, &str, u32)) -> (bool, bool) {
        let (opening, share) = opener.0.open(&Callsign::new(opener.1), opener.2).unwrap();
        let answer = responder
            .0
            .answer(&Callsign::new(responder.1), responder.2, share);
        let (share, tag, expected) = answer.unwrap();
        match opening.judge(share, tag) {
            Some(judged) => {
                assert_ne!(judged.message, judged.theirs);
                assert_eq!(
                    (&judged.message, &judged.theirs),
                    (expected.message(), &expected.confirmed)
                );
                (true, expected.is_met_by(judged.tag))
            }
            None => (false, false),
        }
    }

    #[test]
    fn both_sides_are_convinced_by_one_callsign_and_neither_by_two() {
        let (ours, theirs) = ends();
        assert_eq!(
            prove((ours, "federation", 1), (theirs, "federation", 1)),
            (true, true)
        );
        assert_eq!(
            prove((theirs, "federation", 1), (ours, "federation", 1)),
            (true, true)
        );
        for other in ["Federation", "federatio", "", "federation "] {
            assert_eq!(prove((ours, "federation", 1), (theirs, other, 1)), (false, false));
        }
    }

    #[test]
    fn a_proof_is_worth_nothing_for_another_connection_channel_version_or_process() {
        let (ours, theirs) = ends();
        let elsewhere = [
            (
                Binding {
                    exporter: [8; 32],
                    ..theirs
                },
                1,
            ),
            (Binding { version: 3, ..theirs }, 1),
            (
                Binding {
                    ours: Instance([3; 32]),
                    ..theirs
                },
                1,
            ),
            (
                Binding {
                    theirs: Instance([3; 32]),
                    ..theirs
                },
                1,
            ),
            (theirs, 2),
        ];
        for (other, channel) in elsewhere {
            assert_eq!(
                prove((ours, "federation", 1), (other, "federation", channel)),
                (false, false),
                "{other:?} {channel}"
            );
        }
    }

    #[test]
    fn what_is_sent_back_to_its_sender_convinces_nobody() {
        let (ours, _) = ends();
        let callsign = Callsign::new("federation");
        let (opening, share) = ours.open(&callsign, 1).unwrap();
        // A share names its side, so an opener's is no answer.
        assert!(opening.judge(share, Tag([0; 32])).is_none());
        // Nor is a responder's tag an opener's.
        let (_, theirs) = ends();
        let (_, share) = ours.open(&callsign, 1).unwrap();
        let (_, tag, expected) = theirs.answer(&callsign, 1, share).unwrap();
        assert!(!expected.is_met_by(tag));
    }

    #[test]
    fn what_is_no_point_of_the_curve_is_not_answered() {
        let (ours, _) = ends();
        let callsign = Callsign::new("federation");
        let answered = |share| ours.answer(&callsign, 1, Share(share)).is_some();
        let mut share = [0; 33];
        share[0] = b'A';
        // About half of all numbers belong to a point.
        let count = |share: [u8; 33]| {
            (0..100)
                .filter(|y| {
                    answered({
                        let mut share = share;
                        share[1] = *y;
                        share
                    })
                })
                .count()
        };
        assert!((25..75).contains(&count(share)), "{}", count(share));
        share[0] = b'B';
        assert_eq!(count(share), 0);
    }

    #[test]
    fn a_callsign_is_not_printed() {
        assert!(!format!("{:?}", Callsign::new("federation")).contains("federation"));
    }
}
