//! The payload's side of a member: what its runner is told, and what it answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::report;
use super::shared::Shared;
use super::store::Store;
use crate::api::DemotionPolicy;
use crate::clock::boottime;
use crate::cluster;
use crate::cluster::{Access, AccessError, Catalog};
use crate::election::{self, Order};
use crate::observe::metrics::MemberMetrics;
use crate::payload::{
    self, FaultMonitor, Inventory, NumberedOrder, ObjectState, Owner, Patience, Payload, Phase, Runner,
};

/// A payload and the runner that carries it out.
pub(super) struct Application {
    owner: Owner,
    payload: Option<Arc<Payload>>,
    /// What it was decoded from: the text, and the texts that follow it with where they stand.
    texts: Option<(String, Vec<(String, String)>)>,
    error: Option<String>,
    /// What becomes of it when this member leads no longer.
    policy: DemotionPolicy,
    account: watch::Sender<Access>,
    orders: watch::Sender<NumberedOrder>,
    /// How many orders the runner was given: more than the election gave, since each edit of the payload is one.
    orders_given: u64,
    /// Whether one of them was more than to hold.
    has_begun: bool,
    claim: watch::Sender<Option<cluster::Claim>>,
    status: watch::Receiver<payload::Status>,
    runner: CancellationToken,
    repairs: u64,
    monitor: FaultMonitor,
    /// Whether there were objects since the payload was last gone.
    ran: bool,
    ordered_at: Option<Instant>,
}

/// What the runner has reached, by the newest order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing of it is left; with words where there was something.
    Stopped(Option<String>),
    /// All is in place; with words when that is news.
    Applied(Option<String>),
    /// It goes no further: the reason in one word, and in many.
    Obstacle(&'static str, String),
    /// It is under way, or answers an older order.
    Nothing,
}

impl Application {
    /// Starts the runner, which waits for its first order.
    pub(super) fn start(shared: &Shared, owner: Owner, inventory: Inventory, store: Store) -> Application {
        let (orders, orders_receiver) = watch::channel(NumberedOrder {
            number: 0,
            order: payload::Order::Hold,
        });
        let (account, account_receiver) = watch::channel(shared.access.clone());
        let (claim, claim_receiver) = watch::channel(None);
        let (status_sender, status) = watch::channel(payload::Status::default());
        let runner = CancellationToken::new();
        let running = Runner {
            access: shared.access.clone(),
            account: account_receiver,
            catalog: Arc::clone(&shared.catalog),
            owner: owner.clone(),
            inventory,
            store,
            orders: orders_receiver,
            claim: claim_receiver,
            mandate: shared.mandate.until(),
            status: status_sender,
        };
        shared.tasks.spawn(shared.vital(running.run(runner.clone())));
        Application {
            owner,
            payload: None,
            texts: None,
            error: None,
            policy: DemotionPolicy::default(),
            account,
            orders,
            orders_given: 0,
            has_begun: false,
            claim,
            status,
            runner,
            repairs: 0,
            monitor: FaultMonitor::default(),
            ran: false,
            ordered_at: None,
        }
    }

    /// Goes by this text, once it is ordered to again; tells whether it is another one. What runs stays as it is while
    /// a text cannot be used.
    pub(super) fn take_texts(&mut self, text: &str, others: Vec<(String, String)>, shared: &Shared) -> bool {
        if let Some((known, known_others)) = &self.texts
            && known == text
            && *known_others == others
        {
            return false;
        }
        let decoded = Payload::decode_all(text, &others);
        self.texts = Some((text.to_owned(), others));
        match decoded {
            Ok(payload) => {
                let payload = Arc::new(payload);
                self.payload = Some(Arc::clone(&payload));
                self.error = None;
                // A failover does not want to ask for kinds then.
                let catalog = Arc::clone(&shared.catalog);
                shared.tasks.spawn(async move {
                    if let Err(error) = payload::prepare(&catalog, &payload).await {
                        tracing::debug!(%error, "the payload's kinds are asked for when they are needed");
                    }
                });
            }
            Err(error) => self.error = Some(error.to_string()),
        }
        true
    }

    /// Goes by this policy once it is ordered to stop; tells whether it is another one.
    pub(super) fn take_policy(&mut self, policy: DemotionPolicy) -> bool {
        std::mem::replace(&mut self.policy, policy) != policy
    }

    /// Acts as this ServiceAccount, or as the controller without one, once it is ordered to again; tells whether it is
    /// another one.
    ///
    /// # Errors
    /// It cannot act so, and then acts as nobody.
    pub(super) fn take_account(&mut self, name: Option<&str>, shared: &Shared) -> Result<bool, AccessError> {
        let user = name.map(|name| format!("system:serviceaccount:{}:{name}", self.owner.namespace));
        if self.account.borrow().user() == user.as_deref() {
            return Ok(false);
        }
        let access = match user {
            None => shared.access.clone(),
            Some(user) => shared.access_as(user).inspect_err(|_| {
                (self.payload, self.texts) = (None, None);
            })?,
        };
        self.account.send_replace(access);
        Ok(true)
    }

    /// What would be run here, and as whom, while nothing of it is.
    pub(super) fn in_waiting(&self) -> Option<(Arc<Payload>, Access)> {
        let payload = self.payload.as_ref().filter(|_| self.is_gone())?;
        Some((Arc::clone(payload), self.account.borrow().clone()))
    }

    /// Whether there is a payload that can be run.
    pub(super) fn has_payload(&self) -> bool {
        self.payload.is_some()
    }

    /// Why the text cannot be used.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Orders the runner what the election decided for this group.
    pub(super) fn order(&mut self, order: Order, group: Option<election::GroupId>) {
        let order = match (order, &self.payload, group) {
            (Order::Run { term }, Some(payload), Some(group)) => {
                self.ordered_at.get_or_insert_with(Instant::now);
                payload::Order::Run {
                    term,
                    group: group.to_string(),
                    payload: Arc::clone(payload),
                }
            }
            (Order::Stop, payload, _) => payload::Order::Stop {
                policy: self.policy,
                payload: payload.clone(),
            },
            // A payload that cannot be decoded leaves what there is in place.
            (Order::Run { .. } | Order::Hold, _, _) => payload::Order::Hold,
        };
        if !matches!(order, payload::Order::Run { .. }) {
            self.ordered_at = None;
        }
        self.has_begun |= !matches!(order, payload::Order::Hold);
        self.orders_given += 1;
        self.orders.send_replace(NumberedOrder {
            number: self.orders_given,
            order,
        });
    }

    /// Whether the runner was ordered to run or to stop.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// The inventory that the runner would save first if it were ordered to run what there is to run.
    pub(super) fn foresee(&self, catalog: &Catalog, saved: Inventory) -> Option<Inventory> {
        let payload = self.payload.as_ref()?;
        payload::foresee(catalog, &self.owner, payload, saved)
    }

    /// What the runner may go by from now on.
    pub(super) fn set_claim(&self, claim: Option<cluster::Claim>) {
        self.claim.send_if_modified(|current| {
            let changed = *current != claim;
            *current = claim;
            changed
        });
    }

    /// Waits for news from the runner.
    pub(super) async fn changed(&mut self) {
        // A runner ends only when it is told to.
        if self.status.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Takes the news.
    pub(super) fn take_answer(&mut self, metrics: &MemberMetrics) -> Answer {
        let status = self.status.borrow_and_update().clone();
        metrics.count_payload_repairs(status.repairs.saturating_sub(self.repairs));
        self.repairs = status.repairs;
        let applied = |object: &&payload::ObjectStatus| object.state == ObjectState::Applied;
        let applied = status.objects.iter().filter(applied).count();
        metrics.set_payload_objects(u64::try_from(applied).unwrap_or(u64::MAX));
        let ran = self.ran;
        self.ran |= !status.objects.is_empty();
        if status.order != self.orders_given {
            return Answer::Nothing;
        }
        self.monitor.observe(boottime(), status.health);
        match &status.phase {
            Phase::Stopped => {
                self.ran = false;
                Answer::Stopped(ran.then(|| report::stopped_note(&status)))
            }
            Phase::Applied => Answer::Applied(self.ordered_at.take().map(|at| {
                let took = at.elapsed();
                metrics.observe_payload_apply(took);
                let count = report::counted(status.objects.len(), "object");
                format!("{count} in place after {} ms", took.as_millis())
            })),
            phase => match report::obstacle(phase, &status.objects) {
                Some((reason, note)) => Answer::Obstacle(reason, note),
                None => Answer::Nothing,
            },
        }
    }

    /// Whether what is run here has been unwell for longer than it may be.
    pub(super) fn has_failed(&self, patience: Patience) -> bool {
        self.monitor
            .fails_at(patience)
            .is_some_and(|time| time <= boottime())
    }

    /// What the runner said last.
    pub(super) fn status(&self) -> payload::Status {
        self.status.borrow().clone()
    }

    /// Whether that answers the newest order.
    pub(super) fn is_current(&self) -> bool {
        self.status.borrow().order == self.orders_given
    }

    /// Whether the newest order is answered by nothing being left.
    pub(super) fn is_gone(&self) -> bool {
        self.is_current() && self.status.borrow().phase == Phase::Stopped
    }

    /// Stops the payload and waits until it is gone.
    ///
    /// # Errors
    /// When it is not within `limit`: the label by which what is left is found.
    pub(super) async fn remove(&mut self, limit: Duration) -> Result<(), String> {
        self.set_claim(None);
        self.order(Order::Stop, None);
        let number = self.orders_given;
        let gone = self
            .status
            .wait_for(|status| status.order == number && status.phase == Phase::Stopped);
        match tokio::time::timeout(limit, gone).await {
            Ok(_) => Ok(()),
            Err(_elapsed) => Err(format!("{}={}", payload::PAYLOAD_LABEL, self.owner.label_value())),
        }
    }

    /// Lets the runner end, with what it has put in place.
    pub(super) fn end(&self) {
        self.runner.cancel();
    }
}
