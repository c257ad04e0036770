//! Links that come and go, faster than a lease ends: nothing moves, and what is cut for good afterwards does.

use std::ops::Range;
use std::time::Duration;

use flagship_testing::{Network, Networked, Presence, Site, TestResult, can_build_networks};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep};

use crate::NETWORK;
use crate::group::{Group, copies};

/// How long a link comes and goes.
const FLAPPING: Duration = Duration::from_secs(15);
/// For how long it is cut, each time, and as long it holds. A dead connection is replaced about a second after the link
/// is whole again, so this is what a lease of 3 s endures with room for a busy machine.
const CUT_MS: Range<u64> = 800..1_300;

async fn flap(network: &Network, these: &[&Site], those: &[&Site], rng: &mut StdRng) -> TestResult {
    let end = Instant::now() + FLAPPING;
    while Instant::now() < end {
        network.part(these, those).await?;
        sleep(Duration::from_millis(rng.random_range(CUT_MS))).await;
        network.heal().await?;
        sleep(Duration::from_millis(rng.random_range(CUT_MS))).await;
    }
    Ok(())
}

#[tokio::test]
async fn links_that_flap_faster_than_a_lease_ends_move_nothing() -> TestResult {
    if !can_build_networks() {
        return Ok(());
    }
    let Networked { sites, network } = &*NETWORK.take().await?;
    let [newyork, sheffield, gotham] = sites;
    let group = Group::form("flapping", &[newyork, sheffield, gotham], "Majority").await?;
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);

    group.recorder.mark("newyork's link to sheffield flaps");
    flap(network, &[newyork], &[sheffield], &mut rng).await?;
    assert_eq!(group.wait_until_led_by(newyork).await?, group.term);

    group.recorder.mark("newyork's links to both flap");
    flap(network, &[newyork], &[sheffield, gotham], &mut rng).await?;
    assert_eq!(group.wait_until_led_by(newyork).await?, group.term);

    group.recorder.mark("newyork is cut off");
    network.cut_off(newyork).await?;
    group.wait_until_agreed(sheffield, &[sheffield, gotham]).await?;
    network.heal().await?;
    group.wait_until_led_by(newyork).await?;

    let history = group.dissolve().await?;
    assert_eq!(history.overlaps(Presence::Possible), [], "{history}");
    assert_eq!(copies(&history), ["newyork", "sheffield", "newyork"], "{history}");
    Ok(())
}
