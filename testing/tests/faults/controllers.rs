//! Controllers that are killed again and again, and are back at once each time.

use std::time::Duration;

use flagship_testing::{Presence, Site, TestResult};
use futures::future::try_join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

use crate::stage::{GROUPS, record, stage};

/// How often each controller is killed.
const KILLS: usize = 3;

/// A controller that is started again finds the Lease of its former self, and waits until that is over, 3 s. So much
/// later, and before lease and stop budget are over, it has stopped what it finds. One that is killed again before that
/// is dead all the time.
async fn kill_again_and_again(site: &Site, mut rng: StdRng) -> TestResult {
    for _ in 0..KILLS {
        sleep(Duration::from_millis(rng.random_range(6_000..9_000))).await;
        site.controller.kill().await?;
        site.controller.start()?;
    }
    Ok(())
}

#[tokio::test]
async fn in_a_storm_of_restarts_there_is_never_a_second_copy_and_in_the_end_one_leads() -> TestResult {
    let sites = stage().await?;
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let recorder = record(&sites).await?;
    let kills = sites.iter().map(|site| {
        let rng = StdRng::seed_from_u64(rng.random());
        kill_again_and_again(site, rng)
    });
    try_join_all(kills).await?;
    recorder.mark("the last was killed");
    for group in GROUPS {
        group.leads_alone(&sites, group.preferred(&sites)).await?;
    }
    let history = recorder.finish().await?;
    assert_eq!(history.overlaps(Presence::Possible), [], "{history}");
    Ok(())
}
