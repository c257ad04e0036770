//! The certificate that a member shows the others: a Secret's, as cert-manager writes them, and the last good one while
//! that is not.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::secret::{Followed, Reading};
use crate::peer::Identity;

/// A certificate that ends within this time is told of: cert-manager renews at two thirds of the life of one, which is 90
/// days by default, so one that comes so near its end is not being renewed.
const ENDS_SOON: Duration = Duration::from_secs(7 * 86_400);

/// Between two looks at whether a certificate is still valid.
const LOOK_PAUSE: Duration = Duration::from_secs(60);

/// What a member shows and accepts, as far as it is known.
#[derive(Default)]
pub(super) struct Keeper {
    followed: Option<Followed>,
    identity: Option<Arc<Identity>>,
    /// What is wrong with the Secret.
    unusable: Option<String>,
    /// That the certificate in use ends, or has ended.
    ending: Option<String>,
    look_at: Option<Instant>,
}

impl Keeper {
    /// Goes by this Secret from now on, or by none.
    pub(super) fn follow(
        &mut self,
        name: Option<&str>,
        client: &Client,
        namespace: &str,
        tasks: &TaskTracker,
    ) {
        if self.followed.as_ref().map(Followed::name) == name {
            return;
        }
        *self = Keeper {
            followed: name.map(|name| Followed::begin(client, namespace, name, tasks)),
            // Until the new Secret was read the former certificate is better than none.
            identity: self.identity.take().filter(|_| name.is_some()),
            ..Keeper::default()
        };
    }

    /// Waits until the Secret has changed.
    pub(super) async fn changed(&mut self) {
        let Some(followed) = &mut self.followed else {
            return std::future::pending().await;
        };
        followed.changed().await;
        let (name, reading) = (followed.name().to_owned(), followed.reading());
        self.take(&name, &reading);
    }

    fn take(&mut self, name: &str, reading: &Reading) {
        let file = |file: &str| match reading {
            Reading::Awaited => Ok(Vec::new()),
            Reading::Missing => Err(format!("there is no Secret {name} in this namespace: create it")),
            Reading::Failed(error) => Err(format!(
                "the Secret {name} cannot be read: {error}. Let the controller get, list and watch it"
            )),
            Reading::Data(data) => data
                .get(file)
                .cloned()
                .ok_or_else(|| format!("the Secret {name} has no key {file}: add it")),
        };
        if *reading == Reading::Awaited {
            return;
        }
        let read = || -> Result<Identity, String> {
            let (certificate, key, authorities) = (file("tls.crt")?, file("tls.key")?, file("ca.crt")?);
            Identity::from_pem(&certificate, &key, &authorities)
                .map_err(|error| format!("the Secret {name} cannot be used: {error}"))
        };
        match read() {
            Ok(identity) => {
                self.identity = Some(Arc::new(identity));
                self.unusable = None;
                self.look_at = None;
                self.look(Instant::now());
            }
            Err(trouble) => {
                let goes_on = match self.identity {
                    Some(_) => "Until then this member shows the last certificate that it read",
                    None => "Until then this member takes no part",
                };
                self.unusable = Some(format!("spec.tls: {trouble}. {goes_on}"));
            }
        }
    }

    /// Looks now and then whether the certificate is still valid; tells whether that has changed.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        let Some(identity) = self
            .identity
            .as_ref()
            .filter(|_| self.look_at.is_none_or(|at| now >= at))
        else {
            return false;
        };
        self.look_at = Some(now + LOOK_PAUSE);
        let ending = match (identity.check(Duration::ZERO), identity.check(ENDS_SOON)) {
            (Err(error), _) => Some(format!(
                "{error}: the others accept this member on the channels that are open, and on no new ones. Renew it"
            )),
            (Ok(()), Err(_)) => Some(format!(
                "the certificate ends within {} days, or one that it depends on does: renew it",
                ENDS_SOON.as_secs() / 86_400
            )),
            (Ok(()), Ok(())) => None,
        };
        let ending = ending.map(|ending| format!("spec.tls: {ending}"));
        std::mem::replace(&mut self.ending, ending.clone()) != ending
    }

    /// What to show and to accept; none where the Secret was not read yet.
    pub(super) fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.clone()
    }

    /// Whether there is none to show, and none to come before somebody mends the Secret.
    pub(super) fn is_lacking(&self) -> bool {
        self.identity.is_none() && self.unusable.is_some()
    }

    /// What is wrong, in one word and in many.
    pub(super) fn trouble(&self) -> Option<(&'static str, &str)> {
        let unusable = self.unusable.as_deref().map(|text| ("CertificateUnusable", text));
        unusable.or_else(|| self.ending.as_deref().map(|text| ("CertificateEnding", text)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;

    /// A Secret whose certificate ends so many days from now.
    fn secret(days: i64) -> Vec<(String, Vec<u8>)> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::default();
        let ends = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        let ends = ends.to_zoned(jiff::tz::TimeZone::UTC);
        params.not_after = rcgen::date_time_ymd(
            ends.year().into(),
            ends.month().unsigned_abs(),
            ends.day().unsigned_abs(),
        );
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        [
            ("tls.crt", certificate.pem()),
            ("tls.key", key.serialize_pem()),
            ("ca.crt", authority.pem()),
        ]
        .map(|(name, text)| (name.to_owned(), text.into_bytes()))
        .to_vec()
    }

    fn reading(entries: &[(String, Vec<u8>)]) -> Reading {
        Reading::Data(Arc::new(entries.iter().cloned().collect()))
    }

    #[test]
    fn a_secret_that_is_half_written_changes_nothing_and_is_told() {
        let mut keeper = Keeper::default();
        let (first, second) = (secret(400), secret(400));
        keeper.take("peer", &Reading::Awaited);
        assert!(!keeper.is_lacking());
        keeper.take("peer", &reading(&first[..2]));
        assert_eq!((keeper.identity(), keeper.is_lacking()), (None, true));
        let told =
            "spec.tls: the Secret peer has no key ca.crt: add it. Until then this member takes no part";
        assert_eq!(keeper.trouble(), Some(("CertificateUnusable", told)));
        keeper.take("peer", &reading(&first));
        let identity = keeper.identity().unwrap();
        assert_eq!(keeper.trouble(), None);
        // The key of one and the certificate of the other, as while they are written one after the other.
        let half = [first[0].clone(), second[1].clone(), first[2].clone()];
        for reading in [reading(&half), Reading::Missing, Reading::Failed("no".to_owned())] {
            keeper.take("peer", &reading);
            assert_eq!(keeper.identity().as_ref(), Some(&identity));
            assert!(!keeper.is_lacking());
            let (reason, told) = keeper.trouble().unwrap();
            assert!(
                reason == "CertificateUnusable" && told.contains("shows the last certificate"),
                "{told}"
            );
        }
        keeper.take("peer", &reading(&second));
        assert_ne!(keeper.identity().unwrap(), identity);
        assert_eq!(keeper.trouble(), None);
    }

    #[test]
    fn a_certificate_that_ends_is_told_in_time_and_when_it_has() {
        for (days, told) in [(400, None), (3, Some("within 7 days")), (-2, Some("has expired"))] {
            let mut keeper = Keeper::default();
            keeper.take("peer", &reading(&secret(days)));
            assert!(keeper.identity().is_some());
            match (keeper.trouble(), told) {
                (None, None) => {}
                (Some((reason, text)), Some(told)) => {
                    assert!(reason == "CertificateEnding" && text.contains(told), "{text}");
                }
                other => panic!("{days}: {other:?}"),
            }
        }
    }
}
