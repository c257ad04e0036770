//! TLS 1.3 with a certificate that each process makes for itself, on both sides.
//!
//! Nobody vouches for these certificates. What they give is an identity: the [`Instance`] is a digest of the
//! certificate, and TLS proves on each connection that the other side holds its key. Whose instance it is, the proofs
//! of the callsign tell.

use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::Error;
use super::frame::Instance;
use crate::system::TcpStream;

/// The name in every certificate and every handshake. It identifies nobody.
const NAME: &str = "flagship";

/// What the secret that both ends of a connection derive from it is called (RFC 5705, RFC 8446 section 7.5).
const EXPORTER_LABEL: &[u8] = b"EXPORTER-flagship-channel";

/// Both sides of a handshake.
pub(super) struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    pub(super) instance: Instance,
}

/// A connection whose other end has shown that it holds the key of its certificate.
pub(super) struct Secured {
    pub(super) stream: TlsStream<TcpStream>,
    /// Whose certificate the other end showed.
    pub(super) peer: Instance,
    /// Known to both ends of this connection and nobody else.
    pub(super) exporter: [u8; 32],
}

impl Tls {
    pub(super) fn new() -> Result<Self, Error> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(ring::default_provider());

        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(AnyCertificate(Arc::clone(&provider))))
            .with_single_cert(vec![certificate.clone()], key.clone_key())?;
        // Connections last; without resumption there is no state to keep and nothing to replay.
        server.send_tls13_tickets = 0;

        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_client_auth_cert(vec![certificate.clone()], key)?;
        client.resumption = Resumption::disabled();

        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
            instance: Instance::of_certificate(&certificate),
        })
    }

    /// The handshake of the side that was dialled.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<Secured> {
        let stream = self.acceptor.accept(stream).await?;
        let exporter = stream
            .get_ref()
            .1
            .export_keying_material([0; 32], EXPORTER_LABEL, None);
        secured(stream.into(), exporter)
    }

    /// The handshake of the side that dials.
    pub(super) async fn connect(&self, stream: TcpStream) -> io::Result<Secured> {
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        let stream = self.connector.connect(name, stream).await?;
        let exporter = stream
            .get_ref()
            .1
            .export_keying_material([0; 32], EXPORTER_LABEL, None);
        secured(stream.into(), exporter)
    }
}

fn secured(stream: TlsStream<TcpStream>, exporter: Result<[u8; 32], rustls::Error>) -> io::Result<Secured> {
    let certificates = stream.get_ref().1.peer_certificates();
    let peer = certificates
        .and_then(<[_]>::first)
        .map(|certificate| Instance::of_certificate(certificate))
        .ok_or_else(|| io::Error::other("the other side showed no certificate"))?;
    Ok(Secured {
        peer,
        exporter: exporter.map_err(io::Error::other)?,
        stream,
    })
}

/// Accepts every certificate whose key signed the handshake: it names the other side's [`Instance`] and no more.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
