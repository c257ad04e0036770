//! Carries out the orders of the election for one MultiCluster: the loop between the ledger, which decides, and the API
//! server.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    decode::Payload,
    inventory::{Inventory, InventoryStore, StoreError},
    ledger::{Action, Ledger, Outcome, Plan, Step, Swept},
    mark::Owner,
    order::{NumberedOrder, Order},
    status::Status,
    watches::Watches,
    write::Writer,
};
use crate::clock::boottime;
use crate::cluster::{Access, Catalog, Claim, Guard, Kinds, ObjectKey, REQUESTS_MAX};

/// A status is published no more often than this while requests are under way.
const STATUS_INTERVAL: Duration = Duration::from_millis(50);

/// Watches are begun when the payload is in place or, if that takes its time, after this: until then they would only
/// compete with the writes for the API server.
const WATCH_DELAY: Duration = Duration::from_secs(1);

/// Carries out the orders of the election for one MultiCluster.
///
/// Dropping the future of [`Runner::run`] at any moment is safe: what was sent takes effect within the claim or not at
/// all, and what was created is listed in the inventory.
pub struct Runner<S> {
    /// Access to the cluster that the payload is to run in, as the controller.
    pub access: Access,
    /// The same as the account that the payload is applied as. A change counts from the next order.
    pub account: watch::Receiver<Access>,
    /// Its kinds.
    pub catalog: Arc<Catalog>,
    /// The MultiCluster.
    pub owner: Owner,
    /// What is ours, as it was saved last.
    pub inventory: Inventory,
    /// Where it is saved.
    pub store: S,
    /// What to do; the newest order counts.
    pub orders: watch::Receiver<NumberedOrder>,
    /// The right to create and update.
    pub claim: watch::Receiver<Option<Claim>>,
    /// Until when this process may act at all, deletions included, as CLOCK_BOOTTIME tells it.
    pub mandate: watch::Receiver<Duration>,
    /// Where the runner tells how far it has come.
    pub status: watch::Sender<Status>,
}

/// The inventory that a runner will save first when it is ordered to run this payload, `saved` being what it saved last;
/// none if it is too long to be saved.
#[must_use]
pub fn foresee(
    catalog: &Catalog,
    owner: &Owner,
    payload: &Arc<Payload>,
    saved: Inventory,
) -> Option<Inventory> {
    Ledger::foresee(owner.clone(), catalog.kinds(), saved, Arc::clone(payload))
}

enum Done {
    Step {
        key: ObjectKey,
        step: Step,
        outcome: Outcome,
    },
    Saved {
        inventory: Inventory,
        result: Result<(), StoreError>,
    },
    Refreshed(Result<(Arc<Kinds>, BTreeSet<String>), String>),
    Swept(Swept),
}

impl<S: InventoryStore> Runner<S> {
    /// Carries out orders until it is cancelled, or until nobody can give orders any more. What is under way then is
    /// broken off.
    pub async fn run(mut self, cancel: CancellationToken) {
        let store = Arc::new(self.store);
        let mut ledger = Ledger::new(
            boottime(),
            self.owner.clone(),
            self.inventory,
            StdRng::from_rng(&mut rand::rng()),
        );
        let mut kinds = self.catalog.subscribe();
        ledger.kinds(boottime(), kinds.borrow_and_update().clone());
        let mut guard = take_order(&mut ledger, &mut self.orders, &self.claim, &self.mandate);
        let mut writer = Writer {
            access: self.account.borrow_and_update().clone(),
            own: self.access.clone(),
        };
        let mut watches = Watches::new(writer.access.clone(), self.owner.selector());
        let mut under_way: FuturesUnordered<BoxFuture<'static, Done>> = FuturesUnordered::new();
        let mut published_at: Option<Instant> = None;
        let mut ordered_at = Instant::now();

        loop {
            let now = boottime();
            let claimed = guard
                .as_ref()
                .is_some_and(|guard| guard.server_timeout(now).is_some());
            // What another process may have put in place since is not to be deleted either.
            let may_act = *self.mandate.borrow_and_update() > now;
            let plan = if may_act {
                ledger.plan(now, REQUESTS_MAX.saturating_sub(under_way.len()), claimed)
            } else {
                Plan::default()
            };
            for action in plan.actions {
                under_way.push(match action {
                    Action::Save(inventory) => {
                        let store = store.clone();
                        async move {
                            let result = store.save(&inventory).await;
                            Done::Saved { inventory, result }
                        }
                        .boxed()
                    }
                    Action::RefreshKinds(doubted) => {
                        let (writer, catalog) = (writer.clone(), self.catalog.clone());
                        async move {
                            if let Err(error) = catalog.refresh().await {
                                return Done::Refreshed(Err(error.to_string()));
                            }
                            let kinds = catalog.kinds();
                            let told = writer.as_controller().told_in_full(&kinds, &doubted).await;
                            Done::Refreshed(told.map(|told| (kinds, told)).map_err(|error| error.to_string()))
                        }
                        .boxed()
                    }
                    Action::Sweep(sweep) => {
                        let (writer, kinds, owner) =
                            (writer.clone(), self.catalog.kinds(), self.owner.clone());
                        async move { Done::Swept(writer.sweep(&kinds, &owner, &sweep).await) }.boxed()
                    }
                    Action::Step { key, version, step } => {
                        tracing::debug!(multicluster = %self.owner, object = %key, ?step);
                        let body = ledger.body(&key);
                        let (writer, catalog, guard) = (writer.clone(), self.catalog.clone(), guard.clone());
                        async move {
                            let outcome = writer.step(&catalog, &key, &version, &step, body, guard).await;
                            Done::Step { key, step, outcome }
                        }
                        .boxed()
                    }
                });
            }

            let is_quiet = under_way.is_empty();
            if is_quiet || published_at.is_none_or(|at| at.elapsed() >= STATUS_INTERVAL) {
                published_at = Some(Instant::now());
                let status = ledger.status(now);
                self.status.send_if_modified(|published| {
                    let changed = *published != status;
                    *published = status;
                    changed
                });
            }
            let may_begin = ledger.is_running() && (is_quiet || ordered_at.elapsed() >= WATCH_DELAY);
            watches.keep(&ledger.watches(), may_begin);

            let mut again_at = plan.again_at;
            if !may_begin && ledger.is_running() {
                let watches_at = now + WATCH_DELAY.saturating_sub(ordered_at.elapsed());
                again_at = Some(again_at.map_or(watches_at, |time| time.min(watches_at)));
            }
            let pause = again_at.map(|time| time.saturating_sub(now));
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let account = self.account.borrow_and_update().clone();
                    if account.user() != writer.access.user() {
                        watches = Watches::new(account.clone(), self.owner.selector());
                        writer.access = account;
                    }
                    guard = take_order(&mut ledger, &mut self.orders, &self.claim, &self.mandate);
                    (ordered_at, published_at) = (Instant::now(), None);
                }
                Some(done) = under_way.next() => {
                    let now = boottime();
                    match done {
                        Done::Step { key, step, outcome } => ledger.stepped(now, &key, &step, outcome),
                        Done::Saved { inventory, result } => ledger.saved(now, inventory, result),
                        Done::Refreshed(result) => ledger.refreshed(now, result),
                        Done::Swept(swept) => ledger.swept(now, swept),
                    }
                }
                Some(event) = watches.next(), if !watches.is_empty() => event.tell(boottime(), &mut ledger),
                Ok(()) = kinds.changed() => ledger.kinds(boottime(), kinds.borrow_and_update().clone()),
                Ok(()) = self.claim.changed(), if ledger.waits_for_claim() => {}
                Ok(()) = self.mandate.changed(), if !may_act || ledger.waits_for_claim() => {}
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
        }
    }
}

/// Hands the newest order to the ledger; returns what guards its writes.
fn take_order(
    ledger: &mut Ledger,
    orders: &mut watch::Receiver<NumberedOrder>,
    claim: &watch::Receiver<Option<Claim>>,
    mandate: &watch::Receiver<Duration>,
) -> Option<Guard> {
    let order = orders.borrow_and_update().clone();
    let guard = match &order.order {
        Order::Run { term, .. } => Some(Guard::new(claim.clone(), mandate.clone(), *term)),
        Order::Hold | Order::Stop { .. } | Order::Fence { .. } => None,
    };
    ledger.order(boottime(), order);
    guard
}
