//! Sites that the tests of one binary share and break, one test after another.

use std::ops::Deref;

use futures::future::try_join_all;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::error::Result;
use crate::site::{Site, sites};

/// Sites that are started once for all tests of a binary. Each test has them to itself for its turn, and may leave
/// them broken: the next turn begins by mending them.
#[derive(Debug)]
pub struct SharedSites<const N: usize> {
    names: [&'static str; N],
    sites: OnceCell<Mutex<[Site; N]>>,
}

/// The turn of one test.
#[derive(Debug)]
pub struct Turn<'a, const N: usize> {
    sites: MutexGuard<'a, [Site; N]>,
    /// In every cluster a namespace of this name, for this turn alone.
    pub namespace: String,
}

impl<const N: usize> Deref for Turn<'_, N> {
    type Target = [Site; N];
    fn deref(&self) -> &[Site; N] {
        &self.sites
    }
}

impl<const N: usize> SharedSites<N> {
    /// Names the sites; none is started yet.
    pub const fn new(names: [&'static str; N]) -> Self {
        Self {
            names,
            sites: OnceCell::const_new(),
        }
    }

    /// Waits for this test's turn and begins it with everything running. `purpose` must differ between tests.
    ///
    /// # Errors
    /// If the sites do not start, or do not run again after what a test before has done.
    pub async fn turn(&self, purpose: &str) -> Result<Turn<'_, N>> {
        let sites = self
            .sites
            .get_or_try_init(async || sites(self.names).await.map(Mutex::new))
            .await?
            .lock()
            .await;
        let mended = sites.iter().map(async |site| {
            site.mend().await?;
            site.kubectl(&["create", "namespace", purpose]).await
        });
        try_join_all(mended).await?;
        Ok(Turn {
            sites,
            namespace: purpose.to_owned(),
        })
    }
}
