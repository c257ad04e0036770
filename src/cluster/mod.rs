//! How a cluster's API server is asked: single requests, the kinds that it knows, where objects are served and who owns
//! their fields.

mod access;
mod catalog;
mod claim;
pub(crate) mod managers;
mod object;
mod place;

pub use access::{Access, AccessError};
pub(crate) use access::{Call, REQUESTS_MAX, RequestError, encode_uri_part};
pub(crate) use catalog::Kinds;
pub use catalog::{Catalog, CatalogError};
pub use claim::Claim;
pub(crate) use claim::{Guard, SERVER_TIMEOUT_MAX, latest_effect};
pub use object::ObjectKey;
pub(crate) use place::{Place, collection_path};
