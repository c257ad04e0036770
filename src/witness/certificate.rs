//! The certificate that a witness shows the others: three files, which are read again as they are renewed.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::peer::{CertificateError, Identity};

/// The files, in PEM.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authorities whose certificates are accepted.
    pub authorities: PathBuf,
}

/// The files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFilesError {
    /// One of them cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// They are no certificate with its key.
    #[error("cannot use {}, its key and its authorities: {source}", path.display())]
    Use {
        /// The certificate.
        path: PathBuf,
        /// Why not.
        source: CertificateError,
    },
}

impl CertificateFiles {
    /// What the files say now.
    pub(super) fn read(&self) -> Result<Identity, CertificateFilesError> {
        let read = |path: &PathBuf| {
            fs::read(path).map_err(|source| CertificateFilesError::Read {
                path: path.clone(),
                source,
            })
        };
        let (certificate, key, authorities) = (
            read(&self.certificate)?,
            read(&self.key)?,
            read(&self.authorities)?,
        );
        Identity::from_pem(&certificate, &key, &authorities).map_err(|source| CertificateFilesError::Use {
            path: self.certificate.clone(),
            source,
        })
    }
}
