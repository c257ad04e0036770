//! A controller that is killed at any moment orphans nothing.

use std::time::Duration;

use flagship::payload::Owner;
use flagship_testing::TestResult;

use super::lone::{Lone, Refused, config_map, labelled};
use super::turn;

const ROUNDS: usize = 12;
const OBJECTS: usize = 30;
/// An edit of so many objects is followed within this time on an idle machine, so a kill within it meets the controller
/// before, amid or after its writes.
const AMID: Duration = Duration::from_millis(400);

/// Thirty objects, a third of which the next round does not have.
fn payload(round: usize) -> (Vec<String>, String) {
    let mut names: Vec<String> = (0..OBJECTS)
        .map(|number| format!("o{:02}", (number + 10 * round) % 60))
        .collect();
    names.sort();
    let text = names
        .iter()
        .map(|name| config_map(name, "round", &round.to_string()))
        .collect();
    (names, text)
}

#[tokio::test]
async fn a_controller_killed_at_any_moment_orphans_nothing() -> TestResult {
    let (site, _turn) = turn().await?;
    let namespace = site.fresh_namespace("crashes").await?;
    let label = Owner {
        namespace: namespace.clone(),
        name: site.name().to_owned(),
    }
    .label_value();
    let lone = Lone::launch(site, &namespace, &payload(0).1).await?;
    let mut moments = Vec::new();
    for round in 1..=ROUNDS {
        lone.until_condition("Leading", "True", "Leading").await.ok();
        lone.edit(&payload(round).1).await?;
        let moment = AMID.mul_f64(rand::random());
        tokio::time::sleep(moment).await;
        site.controller.kill().await?;
        let left = labelled(site.client()?, "v1", "ConfigMap", &label).await?;
        moments.push(format!(
            "round {round}: killed after {moment:?} with {} objects",
            left.len()
        ));
        site.controller.start()?;
    }
    let (names, text) = payload(ROUNDS + 1);
    lone.edit(&text).await?;
    lone.until_applied().await?;
    let moments = moments.join("\n");
    let found = labelled(site.client()?, "v1", "ConfigMap", &label).await?;
    assert_eq!(found, names, "what is there differs from the payload\n{moments}");
    // What is gone is struck off a little later.
    lone.until("what is there is listed, and nothing else", async |_| {
        let objects = lone.status().await?.payload.unwrap_or_default().objects;
        let owned = objects.into_iter().filter(|object| object.owned);
        let mut listed: Vec<String> = owned.map(|object| object.name).collect();
        listed.sort();
        match listed == names {
            true => Ok(true),
            false => Err(Refused::Not(format!("{listed:?}\n{moments}"))),
        }
    })
    .await?;
    for name in &names {
        lone.until_data(name, "round", Some(&(ROUNDS + 1).to_string()))
            .await?;
    }
    lone.delete().await?;
    let left = labelled(site.client()?, "v1", "ConfigMap", &label).await?;
    assert!(left.is_empty(), "orphaned: {left:?}\n{moments}");
    Ok(())
}
