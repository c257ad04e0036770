//! What befalls the API server of a leader or of followers: it stands still, is slow or refuses everything. Nobody loses
//! a leader to it who still has a majority, and nobody gets a second copy who was promised none.

use std::time::Duration;

use flagship_testing::{Answers, History, Overlap, PATIENCE, Part, Presence, Recorder, Site, TestResult};
use futures::future::try_join_all;
use hyper::StatusCode;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::json;
use tokio::time::sleep;

use crate::stage::{ELSEWHERE, GIVEN_UP, GROUPS, Group, KEPT, payload, record, stage};

/// Longer than the lease, the stop budget and an election of profile Balanced: who would lose the lead has lost it.
const LONG: Duration = Duration::from_secs(10);

/// What is told of an API server that did not answer in time, once it does.
const ANSWERS_AGAIN: &str = "ApiServerAnswers";

/// What befalls an API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// A process of the control plane stands still.
    Frozen(Part),
    /// The controllers hear something else than the API server says.
    Spoiled(Answers),
}

impl Blow {
    fn strike(self, site: &Site) -> TestResult {
        match self {
            Blow::Frozen(part) => site.freeze(part)?,
            Blow::Spoiled(answers) => site.set_answers(answers)?,
        }
        Ok(())
    }

    fn heal(self, site: &Site) -> TestResult {
        match self {
            Blow::Frozen(part) => site.thaw(part)?,
            Blow::Spoiled(_) => site.set_answers(Answers::Prompt)?,
        }
        Ok(())
    }
}

const SLOW: Blow = Blow::Spoiled(Answers::Late(Duration::from_secs(5)));
const FAILING: Blow = Blow::Spoiled(Answers::Refused {
    status: StatusCode::INTERNAL_SERVER_ERROR,
    retry_after_seconds: None,
});
const OVERLOADED: Blow = Blow::Spoiled(Answers::Refused {
    status: StatusCode::TOO_MANY_REQUESTS,
    retry_after_seconds: Some(1),
});

#[tokio::test]
async fn an_api_server_that_stands_still_moves_only_what_its_user_wants_moved() -> TestResult {
    newyork_is_struck(&[Blow::Frozen(Part::ApiServer)]).await
}

#[tokio::test]
async fn an_etcd_that_stands_still_moves_only_what_its_user_wants_moved() -> TestResult {
    newyork_is_struck(&[Blow::Frozen(Part::Etcd)]).await
}

#[tokio::test]
async fn a_slow_api_server_moves_only_what_its_user_wants_moved() -> TestResult {
    newyork_is_struck(&[SLOW]).await
}

#[tokio::test]
async fn an_api_server_that_refuses_moves_only_what_its_user_wants_moved() -> TestResult {
    newyork_is_struck(&[FAILING, OVERLOADED]).await
}

/// One blow after another strikes newyork's API server, all in all for [`LONG`] at least. Then newyork's controller hands
/// over, and takes the lead again.
async fn newyork_is_struck(blows: &[Blow]) -> TestResult {
    let sites = stage().await?;
    let [newyork, sheffield, gotham] = &*sites;
    let terms = terms(&sites).await?;
    let recorder = record(&sites).await?;
    let edition = format!("{blows:?}");
    let told = try_join_all(GROUPS.map(|group| newyork.events(group.name, ANSWERS_AGAIN))).await?;
    let is_reachable = matches!(blows, [Blow::Spoiled(_), ..]);
    for blow in blows {
        recorder.mark(&format!("newyork: {blow:?}"));
        blow.strike(newyork)?;
        wait_until_counted(gotham, 2).await?;
        sleep(LONG / u32::try_from(blows.len())?).await;
    }
    if is_reachable {
        let edited = json!({"payload": payload(&edition)});
        newyork.patch_spec(KEPT.name, edited).await?;
    }
    sheffield.wait_until_leading(GIVEN_UP.name).await?;
    for site in [sheffield, gotham] {
        for group in [&KEPT, &ELSEWHERE] {
            let status = site.status(group.name).await?;
            let leader = status.leader.map(|leader| leader.name);
            let expected = (Some(group.preferred(&sites).name()), Some(term(&terms, group)));
            assert_eq!((leader.as_deref(), status.term), expected, "{}", group.name);
        }
    }
    if matches!(blows, [SLOW]) {
        // It has learned by now how long answers take, holds its Lease as much longer, and takes part again.
        wait_until_counted(gotham, 3).await?;
        wait_until_told(newyork, &KEPT, "ApiServerSilent", 1).await?;
    } else {
        wait_until_counted(gotham, 2).await?;
    }

    let healed = recorder.mark("healed");
    for blow in blows {
        blow.heal(newyork)?;
    }
    for group in [&KEPT, &ELSEWHERE] {
        let agreed = group.leads_alone(&sites, group.preferred(&sites)).await?;
        assert_eq!(agreed, term(&terms, group), "{}", group.name);
    }
    GIVEN_UP.leads_alone(&sites, newyork).await?;
    for (group, before) in GROUPS.iter().zip(told) {
        wait_until_told(newyork, group, ANSWERS_AGAIN, before.len() + 1).await?;
    }
    if is_reachable {
        wait_for_edition(newyork, &edition).await?;
    }
    let untouched = recorder.so_far();
    assert_eq!(KEPT.copies(&untouched), ["newyork"], "{untouched}");
    assert_eq!(ELSEWHERE.copies(&untouched), ["gotham"], "{untouched}");
    newyork_hands_over_and_leads_again(&sites, &recorder).await?;

    let history = recorder.finish().await?;
    let (given_up, others) = overlaps(&history);
    assert_eq!(others, [], "{history}");
    // Nobody could stop newyork's copy while its API server did not answer.
    assert!(given_up.iter().all(|two| two.from < healed), "{history}");
    Ok(())
}

#[tokio::test]
async fn without_a_majority_that_can_write_nobody_leads_and_afterwards_all_is_as_before() -> TestResult {
    let sites = stage().await?;
    let [newyork, sheffield, gotham] = &*sites;
    let terms = terms(&sites).await?;
    let recorder = record(&sites).await?;
    recorder.mark("newyork's and sheffield's API servers fail");
    for site in [newyork, sheffield] {
        FAILING.strike(site)?;
    }
    gotham
        .wait_for_condition(ELSEWHERE.name, "QuorumReached", "False", "NotReached")
        .await?;
    sleep(LONG).await;
    // Its leader, and one more that acknowledges it, are two of three.
    let kept = gotham.status(KEPT.name).await?;
    assert_eq!(
        (kept.leader.map(|leader| leader.name).as_deref(), kept.term),
        (Some("newyork"), Some(term(&terms, &KEPT)))
    );
    let elsewhere = gotham.status(ELSEWHERE.name).await?;
    assert!(!elsewhere.leading);
    recorder.mark("healed");
    for site in [newyork, sheffield] {
        FAILING.heal(site)?;
    }
    for group in GROUPS {
        group.leads_alone(&sites, group.preferred(&sites)).await?;
    }
    newyork_hands_over_and_leads_again(&sites, &recorder).await?;
    let history = recorder.finish().await?;
    let (_, others) = overlaps(&history);
    assert_eq!(others, [], "{history}");
    let copies = ELSEWHERE.copies(&history);
    assert_eq!(
        (copies.first(), copies.last()),
        (Some(&"gotham"), Some(&"gotham")),
        "{history}"
    );
    Ok(())
}

/// Two copies at a time: of the group whose user has another start beside one that nobody can stop, and of the others.
fn overlaps(history: &History) -> (Vec<Overlap>, Vec<Overlap>) {
    let overlaps = history.overlaps(Presence::Possible).into_iter();
    overlaps.partition(|two| two.key.namespace == GIVEN_UP.name)
}

async fn newyork_hands_over_and_leads_again(sites: &[Site; 3], recorder: &Recorder) -> TestResult {
    let [newyork, sheffield, _] = sites;
    recorder.mark("newyork's controller is told to end");
    let ended = newyork.controller.terminate(PATIENCE).await?;
    assert!(ended.success(), "{ended}");
    for group in [&KEPT, &GIVEN_UP] {
        sheffield.wait_until_leading(group.name).await?;
    }
    recorder.mark("newyork's controller starts again");
    newyork.controller.start()?;
    for group in GROUPS {
        group.leads_alone(sites, group.preferred(sites)).await?;
    }
    Ok(())
}

/// The term of each group, by the order of the groups.
async fn terms(sites: &[Site; 3]) -> flagship_testing::Result<Vec<i64>> {
    let mut terms = Vec::new();
    for group in GROUPS {
        terms.push(group.leads_alone(sites, group.preferred(sites)).await?);
    }
    Ok(terms)
}

fn term(terms: &[i64], group: &Group) -> i64 {
    let place = GROUPS.iter().position(|other| other.name == group.name);
    terms[place.unwrap()]
}

async fn wait_for_edition(site: &Site, edition: &str) -> TestResult {
    site.wait_until("the edit is followed", PATIENCE, async |client| {
        let page = Api::<ConfigMap>::namespaced(client, KEPT.name)
            .get("page")
            .await?;
        let data = page.data.unwrap_or_default();
        Ok::<_, kube::Error>(data.get("edition").is_some_and(|found| found == edition))
    })
    .await?;
    Ok(())
}

/// Waits until a group that gotham leads counts so many members.
async fn wait_until_counted(gotham: &Site, members: u8) -> TestResult {
    let what = format!("gotham counts {members} members");
    gotham
        .wait_until(&what, PATIENCE, async |_| {
            let quorum = gotham.status(ELSEWHERE.name).await?.quorum;
            Ok::<_, kube::Error>(quorum.is_some_and(|quorum| quorum.have == i64::from(members)))
        })
        .await?;
    Ok(())
}

async fn wait_until_told(site: &Site, group: &Group, reason: &str, times: usize) -> TestResult {
    let what = format!("{times} Events {reason} of {}", group.name);
    site.wait_until(&what, PATIENCE, async |_| {
        let told = site.events(group.name, reason).await?;
        Ok::<_, flagship_testing::Error>(told.len() >= times)
    })
    .await?;
    Ok(())
}
