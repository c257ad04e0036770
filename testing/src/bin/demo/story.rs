//! What happens in the demo, and what must be true of it: whatever is told was seen, or the demo fails.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flagship::api::{MultiCluster, MultiClusterStatus, Role};
use flagship_testing::{
    Certainty, Cluster, Error, History, Observed, PATIENCE, Presence, Recorder, Result, Selection, Sights,
    Span, condition,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::time::sleep;

use crate::fleet::{CLUSTERS, sample};
use crate::screen::Screen;
use crate::table::{is_ready, rows};

/// Everything in this namespace but the MultiCluster is payload.
const NAMESPACE: &str = "default";
/// The pods of the samples' payload.
const PODS: usize = 3;
/// What the samples' payload is marked by, and the pods that come of it.
const PAYLOAD_LABEL: &str = "flagship.dev/payload-of";
const POD_LABEL: &str = "app=nginx";
/// Between two scenes, so that a person can look.
const PAUSE: Duration = Duration::from_secs(2);
/// Changes that come together are drawn together.
const REDRAW: Duration = Duration::from_millis(100);
/// Watches tell what happened some milliseconds later, on a busy machine some more.
const WATCH_LAG: Duration = Duration::from_millis(50);

/// What the demo watches, and where it tells of it.
pub(crate) struct Stage<'a> {
    clusters: &'a [Cluster; 3],
    members: Observed<MultiCluster>,
    deployments: Observed<Deployment>,
    pods: Observed<Pod>,
    recorder: Recorder,
    screen: Arc<Mutex<Screen>>,
}

/// How the payload got to another cluster. All times are on the recording's clock.
struct Arrival {
    /// The first object was there.
    object: Duration,
    /// The first pod was ready.
    pod: Duration,
    /// All pods were ready.
    all_pods: Duration,
}

impl<'a> Stage<'a> {
    pub(crate) async fn set(clusters: &'a [Cluster; 3], screen: Arc<Mutex<Screen>>) -> Result<Self> {
        let [newyork, sheffield, gotham] = clusters;
        let all = [newyork, sheffield, gotham];
        let recorded = Selection::new()
            .kind::<Deployment>()
            .kind::<Pod>()
            .in_namespace(NAMESPACE);
        let stage = Self {
            clusters,
            members: Observed::start(&all, NAMESPACE, "")?,
            deployments: Observed::start(&all, NAMESPACE, PAYLOAD_LABEL)?,
            pods: Observed::start(&all, NAMESPACE, POD_LABEL)?,
            recorder: Recorder::start(&all, recorded).await?,
            screen,
        };
        stage.members.wait_for_answers(PATIENCE).await?;
        stage.deployments.wait_for_answers(PATIENCE).await?;
        stage.pods.wait_for_answers(PATIENCE).await?;
        Ok(stage)
    }

    /// Plays the whole story, with the table beside it, and returns its summary.
    pub(crate) async fn play(&self) -> Result<String> {
        tokio::select! {
            summary = self.tell() => summary,
            never = self.draw() => match never {},
        }
    }

    async fn tell(&self) -> Result<String> {
        let [newyork, sheffield, gotham] = self.clusters;
        let mut summary = Summary::default();

        self.say("apply manifests/samples/newyork.yaml: rank 5, and it may found the group");
        let applied = self.recorder.now();
        newyork.apply_in(NAMESPACE, &sample("newyork")?).await?;
        let arrival = self.arrival(newyork, applied).await?;
        self.say(&format!(
            "newyork leads; its {PODS} pods are ready, {}",
            after(applied, arrival.all_pods)
        ));
        sleep(PAUSE).await;

        self.say("apply manifests/samples/sheffield.yaml: rank 10, it joins through newyork");
        let planned = self.hand_over(newyork, sheffield, async || {
            sheffield.apply_in(NAMESPACE, &sample("sheffield")?).await
        });
        summary.handover(
            "sheffield joins with a higher rank",
            "newyork",
            "sheffield",
            planned.await?,
        );
        sleep(PAUSE).await;

        self.say("apply manifests/samples/gotham.yaml: rank 3, the third vote");
        gotham.apply_in(NAMESPACE, &sample("gotham")?).await?;
        self.wait_for("three members that follow sheffield", |members| {
            follow(members, "sheffield", &["newyork", "gotham"])
        })
        .await?;
        self.say("gotham follows; from now on it takes two of three members to lead");
        sleep(PAUSE).await;

        self.say("kubectl patch multicluster newyork --type merge -p '{\"spec\":{\"rank\":20}}'");
        let planned = self.hand_over(sheffield, newyork, async || {
            newyork.patch_spec(NAMESPACE, json!({ "rank": 20 })).await
        });
        summary.handover(
            "newyork gets the highest rank",
            "sheffield",
            "newyork",
            planned.await?,
        );
        self.wait_for("three members that follow newyork", |members| {
            follow(members, "newyork", &["sheffield", "gotham"])
        })
        .await?;
        let before = self.recorder.so_far();
        require(
            before.overlaps(Presence::Possible).is_empty(),
            "one copy at a time in planned moves",
            &before,
        )?;
        sleep(PAUSE).await;

        self.say(
            "kill newyork: its etcd, its API server, its controllers, its nodes, and Flagship's controller",
        );
        let fault = self.recorder.mark("newyork is killed");
        newyork.lose().await?;
        let arrival = self.arrival(sheffield, fault).await?;
        self.say(&format!(
            "sheffield took over: the payload was there {}, its first pod was ready {}, all {PODS} {}",
            after(fault, arrival.object),
            after(fault, arrival.pod),
            after(fault, arrival.all_pods)
        ));
        summary.failover(fault, &arrival);
        self.wait_for("gotham follows sheffield", |members| {
            follow(members, "sheffield", &["gotham"])
        })
        .await?;
        sleep(PAUSE).await;

        self.say("bring newyork back, with the database that it had");
        let old_copy = uids(&self.recorder.so_far(), newyork.name());
        let back = self.recorder.mark("newyork is brought back");
        newyork.bring_back().await?;
        let answered = self.recorder.now();
        self.say(&format!(
            "newyork's API server answers {}, with the old copy in its database",
            after(back, answered)
        ));
        let history = self
            .recorded("newyork's old copy is removed", |history| {
                !current(history, newyork.name()).any(|span| old_copy.contains(&span.uid))
            })
            .await?;
        let of_old_copy = |span: &&Span| span.cluster == newyork.name() && old_copy.contains(&span.uid);
        let seen_again = span_times(&history, of_old_copy, |span| span.from)
            .filter(|at| *at > back)
            .min();
        let removed = span_times(&history, of_old_copy, |span| span.to).max();
        if let (Some(seen_again), Some(removed)) = (seen_again, removed) {
            self.say(&format!(
                "newyork follows: its controller removed the old copy within {}",
                took(seen_again, removed)
            ));
            summary.lines.push(format!(
                "newyork came back with the copy that it had; it was removed within {}",
                took(seen_again, removed)
            ));
        }
        let planned = self.handed_over(sheffield, newyork, answered).await?;
        summary.handover(
            "newyork is back and has the highest rank",
            "sheffield",
            "newyork",
            planned,
        );

        self.wait_for("three members that follow newyork", |members| {
            follow(members, "newyork", &["sheffield", "gotham"])
        })
        .await?;
        let history = self
            .recorded("one copy, in newyork", |history| {
                let spans: Vec<&Span> = history
                    .spans()
                    .iter()
                    .filter(|span| span.to == history.end())
                    .collect();
                spans.len() == PODS + 1 && spans.iter().all(|span| span.cluster == newyork.name())
            })
            .await?;
        // While newyork was dead nobody could see its copy; what is known of two copies began with its return.
        let twice = history.overlaps(Presence::Known);
        require(
            twice.iter().all(|overlap| overlap.from > back),
            "no second copy but newyork's old one",
            &history,
        )?;
        summary
            .lines
            .push("in the end: one copy, in newyork, and all three members agree on it".into());
        Ok(summary.lines.iter().map(|line| format!("  - {line}\n")).collect())
    }

    /// Does what leads to a planned handover, and waits for it.
    async fn hand_over(
        &self,
        from: &Cluster,
        to: &Cluster,
        cause: impl AsyncFnOnce() -> Result<()>,
    ) -> Result<(Duration, Arrival)> {
        let began = self.recorder.now();
        cause().await?;
        self.handed_over(from, to, began).await
    }

    /// Waits until the payload has moved; returns when the last of it was gone, and how it arrived.
    async fn handed_over(
        &self,
        from: &Cluster,
        to: &Cluster,
        began: Duration,
    ) -> Result<(Duration, Arrival)> {
        let arrival = self.arrival(to, began).await?;
        let history = self.recorder.so_far();
        let ended =
            |span: &&Span| span.cluster == from.name() && span.to > began && span.from < arrival.object;
        let gone = span_times(&history, ended, |span| span.to).max();
        let gone = gone.filter(|gone| *gone <= arrival.object);
        require(
            gone.is_some(),
            &format!("{} stopped before {} began", from.name(), to.name()),
            &history,
        )?;
        let gone = gone.unwrap_or_default();
        self.say(&format!(
            "planned handover: {} stopped, and {} began {} later; its {PODS} pods were ready after {}",
            from.name(),
            to.name(),
            took(gone, arrival.object),
            took(gone, arrival.all_pods)
        ));
        Ok((gone, arrival))
    }

    /// Waits until a cluster runs the payload that it did not run at `since`, and says so.
    async fn arrival(&self, cluster: &Cluster, since: Duration) -> Result<Arrival> {
        let name = cluster.name();
        let ready = |pods: &Sights<Pod>| {
            let sight = pods.get(name).filter(|sight| sight.answers);
            sight.map_or(0, |sight| {
                sight.objects.values().filter(|pod| is_ready(pod)).count()
            })
        };
        self.pods
            .wait_until(&format!("a ready pod in {name}"), PATIENCE, |pods| {
                ready(pods) > 0
            })
            .await?;
        let pod = self.recorder.now();
        self.pods
            .wait_until(&format!("{PODS} ready pods in {name}"), PATIENCE, |pods| {
                ready(pods) == PODS
            })
            .await?;
        let all_pods = self.recorder.now();
        self.wait_for(&format!("{name} leads with its payload in place"), |members| {
            status(members, name)
                .is_some_and(|status| status.leading && condition(status, "PayloadApplied") == Some("True"))
        })
        .await?;
        let new = |span: &&Span| span.cluster == name && span.from > since && span.key.kind == "Deployment";
        let history = self
            .recorded(&format!("the payload in {name}"), |history| {
                history.spans().iter().any(|span| new(&span))
            })
            .await?;
        let object = span_times(&history, new, |span| span.from)
            .min()
            .unwrap_or_default();
        Ok(Arrival {
            object,
            pod,
            all_pods,
        })
    }

    /// Keeps the table as the clusters are.
    async fn draw(&self) -> std::convert::Infallible {
        let (mut members, mut deployments, mut pods) = (
            self.members.sights(),
            self.deployments.sights(),
            self.pods.sights(),
        );
        let order = CLUSTERS.map(|(name, _)| name);
        loop {
            let rows = rows(
                &order,
                &members.borrow_and_update(),
                &deployments.borrow_and_update(),
                &pods.borrow_and_update(),
            );
            self.screen().show(rows);
            // None of them ends before the stage does.
            tokio::select! {
                _ = members.changed() => {}
                _ = deployments.changed() => {}
                _ = pods.changed() => {}
            }
            sleep(REDRAW).await;
        }
    }

    fn say(&self, text: &str) {
        self.screen().say(text);
    }

    fn screen(&self) -> MutexGuard<'_, Screen> {
        // What is on the screen is drawn anew at the next change.
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_for(&self, what: &str, condition: impl FnMut(&Sights<MultiCluster>) -> bool) -> Result<()> {
        self.members.wait_until(what, PATIENCE, condition).await
    }

    /// Waits until the recording shows something.
    async fn recorded(&self, what: &str, shows: impl Fn(&History) -> bool) -> Result<History> {
        let began = self.recorder.now();
        loop {
            let history = self.recorder.so_far();
            match shows(&history) {
                true => return Ok(history),
                false => require(self.recorder.now() < began + PATIENCE, what, &history)?,
            }
            sleep(WATCH_LAG).await;
        }
    }
}

/// What is told in the end.
#[derive(Default)]
struct Summary {
    lines: Vec<String>,
}

impl Summary {
    fn handover(&mut self, cause: &str, from: &str, to: &str, (gone, arrival): (Duration, Arrival)) {
        self.lines.push(format!(
            "{cause}: planned handover from {from} to {to}; from the last of the old copy gone to the first of the new \
             one there {}, to its first pod ready {}, to all {}",
            took(gone, arrival.object),
            took(gone, arrival.pod),
            took(gone, arrival.all_pods)
        ));
    }

    fn failover(&mut self, fault: Duration, arrival: &Arrival) {
        self.lines.push(format!(
            "newyork was lost while it led: sheffield took over; from the fault to the payload there {}, to its first \
             pod ready {}, to all {}",
            took(fault, arrival.object),
            took(fault, arrival.pod),
            took(fault, arrival.all_pods)
        ));
    }
}

/// Fails unless it is so.
fn require(so: bool, what: &str, history: &History) -> Result<()> {
    match so {
        true => Ok(()),
        false => Err(Error::See {
            what: what.to_owned(),
            history: history.to_string(),
        }),
    }
}

fn status<'a>(members: &'a Sights<MultiCluster>, name: &str) -> Option<&'a MultiClusterStatus> {
    let sight = members.get(name).filter(|sight| sight.answers)?;
    sight.objects.get(name)?.status.as_ref()
}

/// Whether `leader` leads, hears these and nobody else, and they say that they follow it.
fn follow(members: &Sights<MultiCluster>, leader: &str, followers: &[&str]) -> bool {
    let heard = i64::try_from(followers.len() + 1);
    let hears = status(members, leader)
        .is_some_and(|status| status.leading && status.quorum.map(|quorum| quorum.have) == heard.ok());
    let follows = |name: &&str| {
        status(members, name).is_some_and(|status| {
            status.role == Some(Role::Follower)
                && status.leader.as_ref().is_some_and(|one| one.name == leader)
        })
    };
    hears && followers.iter().all(follows)
}

/// What a cluster has at the end of the recording.
fn current<'h>(history: &'h History, cluster: &str) -> impl Iterator<Item = &'h Span> {
    let spans = history.spans().iter();
    spans.filter(move |span| span.cluster == cluster && span.to == history.end())
}

fn uids(history: &History, cluster: &str) -> BTreeSet<String> {
    current(history, cluster).map(|span| span.uid.clone()).collect()
}

/// A time of each span that is known and asked for.
fn span_times(
    history: &History,
    which: impl Fn(&&Span) -> bool,
    time: impl Fn(&Span) -> Duration,
) -> impl Iterator<Item = Duration> {
    let spans = history
        .spans()
        .iter()
        .filter(|span| span.certainty == Certainty::Known);
    spans.filter(which).map(time)
}

fn took(from: Duration, to: Duration) -> String {
    format!("{:.2} s", to.saturating_sub(from).as_secs_f64())
}

fn after(from: Duration, to: Duration) -> String {
    format!("after {}", took(from, to))
}
