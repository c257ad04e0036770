//! The keys and certificates of one cluster: a CA, the API server's, and one for each client.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};

use crate::error::{Error, Result};
use crate::files;

/// A certificate and its key, both as PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A cluster's certificate authority, and the folder with what its servers read.
pub(crate) struct Pki {
    authority: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Pki {
    /// Makes a CA, the API server's certificate for `ip`, and the key that signs ServiceAccount tokens.
    pub(crate) fn create(folder: &Path, ip: IpAddr) -> Result<Self> {
        files::create_private_folder(folder)?;
        let failed = |source| Error::Certificate {
            subject: "the cluster's CA".into(),
            source,
        };
        let mut params = CertificateParams::default();
        params.distinguished_name = named("flagship-testing-ca", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority =
            CertifiedIssuer::self_signed(params, KeyPair::generate().map_err(failed)?).map_err(failed)?;
        let pki = Self {
            authority,
            folder: folder.to_owned(),
        };

        let server = pki.sign(
            "kube-apiserver",
            &[],
            ExtendedKeyUsagePurpose::ServerAuth,
            &[
                ip.to_string(),
                "localhost".into(),
                "kubernetes.default.svc".into(),
            ],
        )?;
        files::write_private(&pki.authority_certificate_file(), &pki.authority_certificate())?;
        files::write_private(&pki.server_certificate_file(), &server.certificate)?;
        files::write_private(&pki.server_key_file(), &server.key)?;
        let tokens = KeyPair::generate().map_err(|source| Error::Certificate {
            subject: "the ServiceAccount tokens".into(),
            source,
        })?;
        files::write_private(&pki.token_key_file(), &tokens.serialize_pem())?;
        files::write_private(&pki.token_public_key_file(), &tokens.public_key_pem())?;
        Ok(pki)
    }

    /// Makes the certificate of a client, a user of that name in those groups.
    pub(crate) fn client(&self, user: &str, groups: &[&str]) -> Result<Identity> {
        self.sign(user, groups, ExtendedKeyUsagePurpose::ClientAuth, &[])
    }

    pub(crate) fn authority_certificate(&self) -> String {
        self.authority.pem()
    }

    pub(crate) fn authority_certificate_file(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    pub(crate) fn server_certificate_file(&self) -> PathBuf {
        self.folder.join("kube-apiserver.crt")
    }

    pub(crate) fn server_key_file(&self) -> PathBuf {
        self.folder.join("kube-apiserver.key")
    }

    /// The key that signs ServiceAccount tokens.
    pub(crate) fn token_key_file(&self) -> PathBuf {
        self.folder.join("service-account.key")
    }

    pub(crate) fn token_public_key_file(&self) -> PathBuf {
        self.folder.join("service-account.pub")
    }

    fn sign(
        &self,
        common_name: &str,
        organizations: &[&str],
        purpose: ExtendedKeyUsagePurpose,
        alternative_names: &[String],
    ) -> Result<Identity> {
        let failed = |source| Error::Certificate {
            subject: common_name.to_owned(),
            source,
        };
        let mut params = CertificateParams::new(alternative_names).map_err(failed)?;
        params.distinguished_name = named(common_name, organizations);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.authority).map_err(failed)?;
        Ok(Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn named(common_name: &str, organizations: &[&str]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    for organization in organizations {
        name.push(DnType::OrganizationName, *organization);
    }
    name
}
