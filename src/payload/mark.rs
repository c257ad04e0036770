//! The marks by which an object of a payload is known.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The MultiCluster whose payload an object belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its namespace; objects of the payload without a namespace go there.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
