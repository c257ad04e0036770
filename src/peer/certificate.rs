//! Certificates that an organisation issues: what they add to a callsign.
//!
//! A member that has one shows it with its proof of the callsign, and signs with its key what that proof's tags cover,
//! the TLS exporter of the connection included, as exported authenticators do (RFC 9261). So one connection serves
//! members of different authorities, and a renewed certificate needs no new connection. A member that has one accepts
//! nobody who shows none, or one of another authority.
//!
//! The certificate has to lead to one of the authorities, be valid now, and allow its use: by the side that opens a
//! channel as a client, by the other as a server, where it restricts its use at all. Names in it are not compared with
//! addresses, which a load balancer may change.

use std::fmt;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, TrustAnchor, UnixTime};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use thiserror::Error;
use webpki::{EndEntityCert, KeyUsage};

use super::frame::Signed;

/// Certificates of a chain at most, the member's own included. Three are usual.
const CHAIN_MAX: usize = 6;

/// Bytes of a chain at most, so that a proof fits into a stranger's frame.
const CHAIN_MAX_BYTES: usize = 12 * 1024;

/// What a signature is about, as TLS 1.3 sets its own apart (RFC 8446, section 4.4.3).
const CONTEXT: &[u8] = b"flagship member certificate\0";

/// Why a certificate cannot be used, or was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// The text of a file is not PEM, or has nothing of this kind.
    #[error("{file} has no {what} in PEM")]
    Pem {
        /// The file.
        file: &'static str,
        /// What was looked for.
        what: &'static str,
    },
    /// A certificate of an authority cannot be used.
    #[error("ca.crt: {0}")]
    Authority(String),
    /// The key cannot be used.
    #[error("tls.key: {0}")]
    Key(String),
    /// The chain is longer than any should be.
    #[error(
        "tls.crt: more than {CHAIN_MAX} certificates, or {CHAIN_MAX_BYTES} bytes: leave out what ca.crt has"
    )]
    TooLong,
    /// The other side has shown none.
    #[error("no certificate was shown")]
    None,
    /// It does not lead to an authority, or is not valid now.
    #[error("{0}")]
    Invalid(String),
    /// It was shown by somebody who does not hold its key.
    #[error("the certificate's key was not proven")]
    Signature,
}

/// Which side of a channel shows a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Opener,
    Responder,
}

/// A certificate, its key, and the authorities whose certificates are accepted.
pub struct Identity {
    certified: CertifiedKey,
    authorities: Vec<TrustAnchor<'static>>,
    digest: [u8; 32],
}

impl Identity {
    /// Reads an identity from the files of a Secret, as cert-manager writes them.
    ///
    /// # Errors
    /// When one of them cannot be used, or the key is not the certificate's. Whether the certificate is valid now is
    /// another question: [`check`](Self::check).
    pub fn from_pem(certificate: &[u8], key: &[u8], authorities: &[u8]) -> Result<Self, CertificateError> {
        let chain = certificates(certificate, "tls.crt")?;
        let bytes: usize = chain.iter().map(|certificate| certificate.len()).sum();
        if chain.len() > CHAIN_MAX || bytes > CHAIN_MAX_BYTES {
            return Err(CertificateError::TooLong);
        }
        let mut anchors = Vec::new();
        for authority in certificates(authorities, "ca.crt")? {
            let anchor = webpki::anchor_from_trusted_cert(&authority)
                .map_err(|error| CertificateError::Authority(error.to_string()))?;
            anchors.push(anchor.to_owned());
        }
        let private = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::Pem {
            file: "tls.key",
            what: "private key",
        })?;
        let key_error = |error: rustls::Error| CertificateError::Key(error.to_string());
        let private = provider::sign::any_supported_type(&private).map_err(key_error)?;
        let certified = CertifiedKey::new(chain, private);
        certified.keys_match().map_err(key_error)?;
        let mut digest = Sha256::new();
        for file in [certificate, key, authorities] {
            digest.update(u64::try_from(file.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(file);
        }
        Ok(Self {
            certified,
            authorities: anchors,
            digest: digest.finalize().into(),
        })
    }

    /// Whether whoever was accepted by `former` is accepted by this as well, as far as the authorities go.
    pub fn accepts_all_of(&self, former: &Self) -> bool {
        former
            .authorities
            .iter()
            .all(|authority| self.authorities.contains(authority))
    }

    /// Whether others with the same authorities would accept this certificate so long from now, on either side.
    ///
    /// # Errors
    /// When they would not.
    pub fn check(&self, ahead: Duration) -> Result<(), CertificateError> {
        let now = UnixTime::now();
        let then = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + ahead);
        verify(&self.certified.cert, &self.authorities, Side::Opener, then)?;
        verify(&self.certified.cert, &self.authorities, Side::Responder, then)
    }

    /// Signs what the tags of a proof cover.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Signed, CertificateError> {
        let algorithms = algorithms();
        let signer = self.certified.key.choose_scheme(&algorithms.supported_schemes());
        let signer = signer.ok_or(CertificateError::Key("its kind is not supported".to_owned()))?;
        let signature = signer.sign(&signed(message));
        let chain = self.certified.cert.iter();
        Ok(Signed {
            chain: chain.map(|certificate| certificate.to_vec().into()).collect(),
            scheme: signer.scheme().into(),
            signature: signature
                .map_err(|error| CertificateError::Key(error.to_string()))?
                .into(),
        })
    }

    /// Decides whether whoever has shown a certificate, or none, is accepted.
    pub(super) fn accept(
        &self,
        shown: Option<&Signed>,
        side: Side,
        message: &[u8],
    ) -> Result<(), CertificateError> {
        let shown = shown.ok_or(CertificateError::None)?;
        if shown.chain.len() > CHAIN_MAX {
            return Err(CertificateError::TooLong);
        }
        let chain = shown.chain.iter();
        let chain: Vec<_> = chain
            .map(|bytes| CertificateDer::from(bytes.0.as_slice()))
            .collect();
        verify(&chain, &self.authorities, side, UnixTime::now())?;
        let first = chain.first().ok_or(CertificateError::None)?;
        let certificate = EndEntityCert::try_from(first).map_err(invalid)?;
        // As in TLS 1.3, a scheme names one algorithm.
        let found = algorithms()
            .mapping
            .iter()
            .find(|(scheme, _)| u16::from(*scheme) == shown.scheme)
            .and_then(|(_, algorithms)| algorithms.first())
            .ok_or(CertificateError::Signature)?;
        certificate
            .verify_signature(*found, &signed(message), &shown.signature.0)
            .map_err(|_| CertificateError::Signature)
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Identity {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

fn algorithms() -> rustls::crypto::WebPkiSupportedAlgorithms {
    let CryptoProvider {
        signature_verification_algorithms,
        ..
    } = provider::default_provider();
    signature_verification_algorithms
}

fn signed(message: &[u8]) -> Vec<u8> {
    [&[b' '; 64], CONTEXT, message].concat()
}

fn certificates(pem: &[u8], file: &'static str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let missing = CertificateError::Pem {
        file,
        what: "certificate",
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or(missing)
}

fn invalid(error: webpki::Error) -> CertificateError {
    CertificateError::Invalid(match error {
        webpki::Error::CertExpired { .. } => "the certificate has expired".to_owned(),
        webpki::Error::CertNotValidYet { .. } => "the certificate is not valid yet; compare the clocks".to_owned(),
        // The latter where an authority was made anew under its old name.
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            "the certificate was issued by none of the authorities in ca.crt".to_owned()
        }
        webpki::Error::RequiredEkuNotFoundContext(_) => {
            "the certificate may not be used on both sides: it needs the usages client auth and server auth, or none"
                .to_owned()
        }
        error => format!("the certificate is not valid: {error}"),
    })
}

fn verify(
    chain: &[CertificateDer<'_>],
    authorities: &[TrustAnchor<'_>],
    side: Side,
    at: UnixTime,
) -> Result<(), CertificateError> {
    let (first, intermediates) = chain.split_first().ok_or(CertificateError::None)?;
    let usage = match side {
        Side::Opener => KeyUsage::client_auth(),
        Side::Responder => KeyUsage::server_auth(),
    };
    EndEntityCert::try_from(first)
        .and_then(|certificate| {
            certificate
                .verify_for_usage(
                    algorithms().all,
                    authorities,
                    intermediates,
                    at,
                    usage,
                    None,
                    None,
                )
                .map(drop)
        })
        .map_err(invalid)
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a test fails by panicking"
    )]
    use std::sync::Arc;

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
        date_time_ymd,
    };

    use super::*;

    /// An authority that issues certificates.
    pub(in super::super) struct Authority(CertifiedIssuer<'static, KeyPair>);

    impl Authority {
        pub(in super::super) fn new() -> Self {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
        }

        /// The files of a member, as cert-manager writes them.
        pub(in super::super) fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> [String; 3] {
            let mut params = CertificateParams::new(vec!["newyork".to_owned()]).unwrap();
            change(&mut params);
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &self.0).unwrap();
            [certificate.pem(), key.serialize_pem(), self.0.pem()]
        }

        pub(in super::super) fn identity(&self) -> Arc<Identity> {
            Arc::new(identity(&self.issue(|_| {})).unwrap())
        }
    }

    fn identity([certificate, key, authorities]: &[String; 3]) -> Result<Identity, CertificateError> {
        Identity::from_pem(certificate.as_bytes(), key.as_bytes(), authorities.as_bytes())
    }

    fn told(result: Result<(), CertificateError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_certificate_of_the_authority_is_accepted_on_either_side_by_its_signature() {
        let authority = Authority::new();
        let (ours, theirs) = (authority.identity(), authority.identity());
        assert_eq!(ours.check(Duration::ZERO), Ok(()));
        let shown = theirs.sign(b"proof").unwrap();
        for side in [Side::Opener, Side::Responder] {
            assert_eq!(ours.accept(Some(&shown), side, b"proof"), Ok(()));
        }
        let another = ours.accept(Some(&shown), Side::Opener, b"another proof");
        assert_eq!(another, Err(CertificateError::Signature));
        assert_eq!(
            ours.accept(None, Side::Opener, b"proof"),
            Err(CertificateError::None)
        );
        let stolen = Signed {
            chain: shown.chain.clone(),
            ..ours.sign(b"proof").unwrap()
        };
        let stolen = ours.accept(Some(&stolen), Side::Opener, b"proof");
        assert_eq!(stolen, Err(CertificateError::Signature));
        let stranger = Authority::new().identity().sign(b"proof").unwrap();
        let stranger = told(ours.accept(Some(&stranger), Side::Opener, b"proof"));
        assert!(stranger.contains("none of the authorities"), "{stranger}");
    }

    #[test]
    fn what_has_expired_or_will_or_may_not_be_used_is_told() {
        let authority = Authority::new();
        let changed = |change: fn(&mut CertificateParams)| identity(&authority.issue(change)).unwrap();
        let expired = changed(|params| params.not_after = date_time_ymd(2020, 1, 1));
        assert_eq!(told(expired.check(Duration::ZERO)), "the certificate has expired");
        let shown = expired.sign(b"proof").unwrap();
        let refused = told(authority.identity().accept(Some(&shown), Side::Opener, b"proof"));
        assert_eq!(refused, "the certificate has expired");
        let early = changed(|params| params.not_before = date_time_ymd(4000, 1, 1));
        assert!(told(early.check(Duration::ZERO)).contains("not valid yet"));
        let ending = changed(|params| params.not_after = date_time_ymd(2100, 1, 1));
        assert_eq!(ending.check(Duration::ZERO), Ok(()));
        assert!(ending.check(Duration::from_secs(100 * 366 * 86_400)).is_err());
        let servers =
            changed(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
        assert!(told(servers.check(Duration::ZERO)).contains("both sides"));
    }

    #[test]
    fn files_that_do_not_fit_together_are_told_by_name() {
        let authority = Authority::new();
        let (one, other) = (authority.issue(|_| {}), authority.issue(|_| {}));
        let told = |files: [&str; 3]| identity(&files.map(str::to_owned)).unwrap_err().to_string();
        assert!(told([&one[0], &other[1], &one[2]]).starts_with("tls.key: "));
        assert_eq!(told(["", &one[1], &one[2]]), "tls.crt has no certificate in PEM");
        assert_eq!(told([&one[0], "x", &one[2]]), "tls.key has no private key in PEM");
        assert_eq!(
            told([&one[0], &one[1], &one[1]]),
            "ca.crt has no certificate in PEM"
        );
        let half = &one[0][..one[0].len() / 2];
        assert_eq!(
            told([half, &one[1], &one[2]]),
            "tls.crt has no certificate in PEM"
        );
        assert_eq!(
            told([&one[0].repeat(7), &one[1], &one[2]]),
            CertificateError::TooLong.to_string()
        );
        assert_eq!(identity(&one).unwrap(), identity(&one).unwrap());
        assert_ne!(identity(&one).unwrap(), identity(&other).unwrap());
    }
}
