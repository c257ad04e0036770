//! What the member wants of the payload, and its word that nothing of it is left.

use super::command::{Command, Order};
use super::member::{Context, Member, Role};
use super::message::Message;
use super::types::Tick;

impl Member {
    pub(super) fn order_payload(&mut self, now: Tick, out: &mut Vec<Command>) {
        let wanted = self.wanted(now);
        if wanted != self.order {
            if matches!(self.order, Order::Run { .. }) {
                self.stopping_since = now;
            }
            self.order = wanted;
            self.orders += 1;
            self.payload_gone = false;
            out.push(Command::Payload {
                number: self.orders,
                order: wanted,
            });
        }
    }

    pub(super) fn wanted(&mut self, now: Tick) -> Order {
        if self.is_faulty() || self.dissolving {
            return Order::Stop;
        }
        let Some(claim) = self.claim.filter(|claim| claim.until > now) else {
            // A member that nobody else can replace leaves its payload in peace until it leads again.
            let undecided = matches!(self.role, Role::Starting) || self.is_only_voter() || self.spares(now);
            return if undecided && self.resignation.is_none() {
                self.order
            } else {
                Order::Stop
            };
        };
        let clear = self.obligations.is_empty();
        match &mut self.role {
            Role::Leading(leading) if leading.moving.is_some() => Order::Stop,
            Role::Leading(leading) if claim.term == leading.term && (leading.serving || clear) => {
                leading.serving = true;
                self.served = claim.term;
                self.spared_until = None;
                Order::Run { term: claim.term }
            }
            // Elected again before the claim of its former term has ended: what runs may run on.
            _ => match self.order {
                Order::Run { term } => Order::Run { term },
                Order::Hold | Order::Stop => Order::Stop,
            },
        }
    }

    pub(super) fn on_payload_stopped(&mut self, number: u64, context: &mut Context<'_>) {
        if number != self.orders || self.order != Order::Stop {
            return;
        }
        self.payload_gone = true;
        if self.dissolving {
            self.dissolve(context);
        } else if let Role::Leading(_) = self.role {
            self.hand_over(context);
        } else {
            self.send_receipt(context);
        }
    }

    /// Tells the others that they need not wait: this member's payload is gone.
    pub(super) fn send_receipt(&mut self, context: &mut Context<'_>) {
        if self.served > self.receipt && self.claim.is_none() {
            self.receipt = self.served;
            let stopped = Message::Stopped { term: self.served };
            for id in self.others() {
                self.send(id, stopped.clone(), context.out);
            }
        }
    }
}
