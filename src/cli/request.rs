//! Asking a group for something through one of its MultiClusters, and waiting for the answer.

use std::time::Duration;

use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Error;
use super::connect::ClusterArgs;
use super::output::say;
use crate::api::{MultiCluster, REQUEST_ANNOTATION, Request, RequestState, RequestStatus, Wish};

/// How often to look for the answer: a switch takes a tenth of a second and the time that the payload needs to stop.
const POLL: Duration = Duration::from_millis(200);
/// A controller that runs takes a request up at once.
const TAKE_UP_LIMIT: Duration = Duration::from_secs(15);
/// Others write to the object too, but not so often that a request could not be taken back in a few attempts.
const WITHDRAWALS: u32 = 5;

/// Which MultiCluster to go through.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct ThroughArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Namespace of the MultiCluster [default: that of the context, or `default`]
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
}

/// A MultiCluster that a command goes through.
pub(super) struct Through {
    api: Api<MultiCluster>,
    title: String,
    name: String,
}

impl ThroughArgs {
    pub(super) async fn open(&self, name: &str) -> Result<Through, Error> {
        let config = self.cluster.config().await?;
        let namespace = self
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|source| Error::BuildClient(Box::new(source)))?;
        Ok(Through {
            api: Api::namespaced(client, &namespace),
            title: format!("MultiCluster {namespace}/{name}"),
            name: name.to_owned(),
        })
    }
}

impl Through {
    pub(super) async fn get(&self) -> Result<MultiCluster, Error> {
        self.api.get(&self.name).await.map_err(|source| Error::Request {
            action: format!("read {}", self.title),
            source: Box::new(source),
        })
    }

    /// Asks, and waits until it is done.
    pub(super) async fn ask(&self, wish: Wish, limit: Duration) -> Result<RequestStatus, Error> {
        let request = Request::new(wish);
        let text = serde_json::to_string(&request).map_err(|source| Error::WriteJson {
            object: "the request",
            source,
        })?;
        let patch = json!({"metadata": {"annotations": {REQUEST_ANNOTATION: text}}});
        self.api
            .patch(&self.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map_err(|source| Error::Request {
                action: format!("write the request to {}", self.title),
                source: Box::new(source),
            })?;
        let outcome = self.wait_for(&request, limit).await;
        if request.wish == Wish::Recover
            && matches!(outcome, Err(Error::NotTakenUp { .. } | Error::Unanswered { .. }))
        {
            // It rests on what a person has just made sure of: a controller that comes later is not to act on it.
            self.withdraw(&text).await?;
        }
        outcome
    }

    async fn wait_for(&self, request: &Request, limit: Duration) -> Result<RequestStatus, Error> {
        let start = Instant::now();
        let mut told = None;
        loop {
            let object = match self.get().await {
                Ok(object) => object,
                // The API server may be busy for a moment, and the request is under way.
                Err(_) if start.elapsed() < limit => {
                    sleep(POLL).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let last = object.status.as_ref().and_then(|status| status.request.as_ref());
            let answer = last.filter(|answer| answer.id == request.id);
            match answer {
                None if told.is_some() && last.is_some() => {
                    return Err(Error::Replaced {
                        what: request.wish.to_string(),
                        by: last.map(|last| last.what.clone()).unwrap_or_default(),
                    });
                }
                Some(answer) if answer.state == RequestState::Done => return Ok(answer.clone()),
                Some(answer) if answer.state == RequestState::Refused => {
                    return Err(Error::Refused {
                        what: answer.what.clone(),
                        message: answer.message.clone(),
                    });
                }
                Some(answer) if told != Some(answer.state) => {
                    told = Some(answer.state);
                    say(progress(answer.state));
                }
                None if start.elapsed() >= TAKE_UP_LIMIT => {
                    return Err(Error::NotTakenUp {
                        object: self.title.clone(),
                        seconds: TAKE_UP_LIMIT.as_secs(),
                    });
                }
                Some(_) | None => {}
            }
            if start.elapsed() >= limit {
                return Err(Error::Unanswered {
                    what: request.wish.to_string(),
                    object: self.title.clone(),
                    seconds: limit.as_secs(),
                });
            }
            sleep(POLL).await;
        }
    }

    /// Takes a request back, unless another has taken its place.
    async fn withdraw(&self, text: &str) -> Result<(), Error> {
        let mut attempts = 1;
        loop {
            let object = self.get().await?;
            if object.annotations().get(REQUEST_ANNOTATION).map(String::as_str) != Some(text) {
                return Ok(());
            }
            let patch = json!({"metadata": {
                "resourceVersion": object.metadata.resource_version,
                "annotations": {REQUEST_ANNOTATION: null},
            }});
            let patched = self
                .api
                .patch(&self.name, &PatchParams::default(), &Patch::Merge(patch))
                .await;
            match patched {
                Ok(_) => return Ok(()),
                // It was written to since: look again.
                Err(kube::Error::Api(status)) if status.code == 409 && attempts < WITHDRAWALS => {
                    attempts += 1
                }
                Err(source) => {
                    return Err(Error::Request {
                        action: format!("take the request back from {}", self.title),
                        source: Box::new(source),
                    });
                }
            }
        }
    }

    /// The member that leads, as the MultiCluster knows it.
    pub(super) async fn leader(&self) -> Result<Option<String>, Error> {
        let leader = self.get().await?.status.and_then(|status| status.leader);
        Ok(leader.map(|leader| leader.name))
    }
}

fn progress(state: RequestState) -> &'static str {
    match state {
        RequestState::Asked => "asking the leader",
        RequestState::UnderWay => "the leader has taken it up",
        RequestState::Done | RequestState::Refused => "answered",
    }
}

/// The name of a MultiCluster with that of its namespace.
pub(super) fn full_name(object: &MultiCluster) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}
