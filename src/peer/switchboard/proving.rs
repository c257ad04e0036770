//! Who may prove what, and what comes of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::super::certificate::{CertificateError, Identity};
use super::super::frame::{
    Accept, ChannelKey, Code, Confirm, Find, Found, Frame, Instance, Open, Refusal, Signed, Target,
};
use super::super::guesses::Guesser;
use super::super::link::{ConnectionId, Link};
use super::super::mailbox::Notice;
use super::super::members::SeatId;
use super::super::pair::{Channel, Check, Failure, Job, Pair, Step};
use super::super::proof::{Callsign, Judged};
use super::Switchboard;

/// A proof that the other side has asked for.
#[derive(Clone, Debug)]
pub(in super::super) struct Asked {
    /// The member here.
    pub(in super::super) seat: SeatId,
    pub(in super::super) callsign: Callsign,
    is_former: bool,
    pub(in super::super) has_former: bool,
    /// What the member shows, and whom it accepts.
    pub(in super::super) identity: Option<Arc<Identity>>,
    /// By its identity, not by looking for whoever has the callsign.
    is_by_name: bool,
    guesser: Guesser,
}

impl Switchboard {
    /// The next proof to begin on a connection.
    pub(in super::super) fn take_job(&mut self, now: Instant, id: ConnectionId) -> Option<Job> {
        loop {
            let link = self.links.get_mut(&id)?;
            match self.pairs.get_mut(&link.opened.instance)?.next(id)? {
                Step::Find(find) => link.control(Frame::Find(find)),
                Step::Prove(job) => {
                    let is_search = matches!(job.target, Target::Seat(_));
                    if !is_search || self.guesses.take(now, Guesser::Answering, job.seat) {
                        return Some(job);
                    }
                    self.refuse(now, id, job.channel, Code::Busy, "", false);
                }
            }
        }
    }

    /// Answers who is served at a port.
    pub(in super::super) fn asked_for_seats(&mut self, now: Instant, id: ConnectionId, find: &Find) {
        self.heard(now, id);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let seats = find.endpoint.ok_or(Code::ClosedPort);
        link.control(
            match seats.and_then(|endpoint| self.members.seats_at(endpoint, find.after)) {
                Ok(seats) => Frame::Found(Found {
                    endpoint: find.endpoint,
                    seats,
                }),
                Err(code) => Frame::Error(Refusal {
                    endpoint: find.endpoint,
                    ..Refusal::new(code, "this port is closed")
                }),
            },
        );
    }

    /// The other side says who is served at its port.
    pub(in super::super) fn found(&mut self, now: Instant, id: ConnectionId, found: &Found) {
        self.heard(now, id);
        let failures = self.pair_of(id).map(|pair| pair.found(found)).unwrap_or_default();
        self.failed(now, id, failures);
        self.stir(id);
    }

    /// Decides whether a proof that the other side asks for is given.
    pub(in super::super) fn asked(
        &mut self,
        now: Instant,
        id: ConnectionId,
        open: &Open,
    ) -> Result<Asked, Code> {
        let link = self.links.get_mut(&id).ok_or(Code::Busy)?;
        let pair = self.pairs.get(&link.opened.instance).ok_or(Code::Busy)?;
        let id = self.members.target(&open.target)?;
        let seat = self.members.get(id).ok_or(Code::UnknownMember)?;
        let credentials = &seat.credentials;
        let callsign = match (open.former, &credentials.former) {
            (true, former) => former.clone().ok_or(Code::WrongCallsign)?,
            (false, _) => credentials.callsign.clone(),
        };
        let guesser = match pair.proven_by() {
            Some(seat) => Guesser::Group(seat),
            None => Guesser::stranger(link.opened.remote),
        };
        let is_stranger = !pair.is_trusted();
        if pair.is_full() || is_stranger && link.tried.contains(&(id, open.former)) {
            return Err(Code::Busy);
        }
        if !self.guesses.take(now, guesser, id) {
            return Err(Code::Busy);
        }
        if is_stranger {
            link.tried.insert((id, open.former));
        }
        link.asked += 1;
        Ok(Asked {
            seat: id,
            callsign,
            is_former: open.former,
            has_former: credentials.former.is_some(),
            identity: credentials.identity.clone(),
            is_by_name: matches!(open.target, Target::Member(_)),
            guesser,
        })
    }

    /// The other side knows the callsign, so that it guessed at nothing: without the right certificate it may ask again.
    fn known(&mut self, id: ConnectionId, asked: &Asked) -> Option<&mut Link> {
        self.guesses.give_back(asked.guesser, asked.seat);
        let link = self.links.get_mut(&id)?;
        link.asked = link.asked.saturating_sub(1);
        link.tried.remove(&(asked.seat, asked.is_former));
        Some(link)
    }

    /// The other side has proven what it asked for: the channel is open. It is shown a certificate, if the member has one.
    pub(in super::super) fn proven(
        &mut self,
        id: ConnectionId,
        asked: &Asked,
        confirm: &Confirm,
        certificate: Option<Signed>,
    ) {
        self.known(id, asked);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let key = ChannelKey {
            number: confirm.channel,
            is_ours: false,
        };
        let Some(seat) = self.members.get(asked.seat) else {
            return link.control(Frame::Error(Refusal::of_channel(Code::UnknownMember, key)));
        };
        link.control(Frame::Accept(Accept {
            channel: confirm.channel,
            member: Arc::clone(&seat.member),
            endpoint: seat.endpoint,
            seat: seat.number,
            certificate,
        }));
        let instance = link.opened.instance;
        let channel = Channel {
            seat: asked.seat,
            member: Arc::clone(&confirm.member),
            endpoint: confirm.endpoint,
            their_seat: confirm.seat,
        };
        if let Some(pair) = self.pairs.get_mut(&instance) {
            pair.add(key, channel);
        }
        self.joined(id, instance, key);
    }

    /// The other side knows the callsign, but its certificate is not accepted, or cannot be answered.
    pub(in super::super) fn uncertified(
        &mut self,
        id: ConnectionId,
        asked: &Asked,
        channel: u32,
        cause: &CertificateError,
    ) {
        let Some(link) = self.known(id, asked) else {
            return;
        };
        let channel = ChannelKey {
            number: channel,
            is_ours: false,
        };
        let detail = format!("the other side does not accept this member's certificate: {cause}");
        link.control(Frame::Error(Refusal {
            detail,
            ..Refusal::of_channel(Code::Certificate, channel)
        }));
        let notice = Notice::NewcomerRefused {
            address: Arc::from(link.opened.remote.to_canonical().to_string()),
            cause: format!("a member that comes from there is not accepted: {cause}"),
        };
        self.members.tell(asked.seat, notice);
    }

    /// A proof that the other side asked for was neither finished nor refused, because it went, or wants it no more.
    pub(in super::super) fn broken_off(&mut self, now: Instant, id: ConnectionId, asked: &Asked) {
        let Some(link) = self.proof_ended(id) else {
            return;
        };
        let is_trusted = link.signals.is_trusted.load(Ordering::Relaxed);
        if is_trusted && !asked.is_by_name {
            return;
        }
        let remote = link.opened.remote;
        let told = self.guesses.broken_off(now, remote, asked.seat);
        self.tell_of_guesses(remote, asked.seat, told);
    }

    fn proof_ended(&mut self, id: ConnectionId) -> Option<&mut Link> {
        let link = self.links.get_mut(&id)?;
        link.asked = link.asked.saturating_sub(1);
        link.signals.work.notify_one();
        Some(link)
    }

    /// A proof that the other side asked for has failed.
    pub(in super::super) fn unproven(&mut self, now: Instant, id: ConnectionId, asked: &Asked) {
        let Some(link) = self.proof_ended(id) else {
            return;
        };
        let is_trusted = link.signals.is_trusted.load(Ordering::Relaxed);
        // Whoever knows another group's callsign looks through all, and is told apart from who knows none.
        if is_trusted && !asked.is_by_name {
            return;
        }
        if !is_trusted && !asked.is_by_name {
            return link.failed.push(asked.seat);
        }
        let remote = link.opened.remote;
        self.report(now, remote, asked.seat);
    }

    pub(super) fn report(&mut self, now: Instant, remote: IpAddr, seat: SeatId) {
        let told = self.guesses.failed(now, remote, seat);
        self.tell_of_guesses(remote, seat, told);
    }

    fn tell_of_guesses(&mut self, remote: IpAddr, seat: SeatId, told: Option<(u64, Duration)>) {
        if let Some((attempts, within)) = told {
            let address = Arc::from(remote.to_canonical().to_string());
            let notice = Notice::WrongCallsign {
                address,
                attempts,
                within,
            };
            self.members.tell(seat, notice);
        }
    }

    /// The other side knows the callsign that a proof was begun for: returns what it is to be told, and what certificate
    /// it is to be shown, unless nobody wants the channel any more.
    pub(in super::super) fn confirmed(
        &mut self,
        id: ConnectionId,
        channel: u32,
        judged: &Judged,
    ) -> Option<(Confirm, Option<Arc<Identity>>)> {
        let seat = self.pair_of(id)?.confirm(channel)?;
        let seat = self.members.get(seat)?;
        let confirm = Confirm {
            channel,
            tag: judged.tag,
            member: Arc::clone(&seat.member),
            endpoint: seat.endpoint,
            seat: seat.number,
            certificate: None,
        };
        let identity = seat.credentials.identity.clone();
        if let Some(identity) = &identity {
            let check = Check {
                identity: Arc::clone(identity),
                message: judged.theirs.clone(),
            };
            self.pair_of(id)?.demand(channel, check);
        }
        Some((confirm, identity))
    }

    /// What certificate has to be shown with the acceptance of a channel, if any.
    pub(in super::super) fn check(&mut self, id: ConnectionId, channel: u32) -> Option<Check> {
        self.pair_of(id)?.check(channel)
    }

    /// The certificate that was to be shown with the acceptance is not accepted.
    pub(in super::super) fn rejected(
        &mut self,
        now: Instant,
        id: ConnectionId,
        channel: u32,
        cause: &CertificateError,
    ) {
        let key = ChannelKey {
            number: channel,
            is_ours: true,
        };
        let refusal = Refusal {
            detail: format!("the other side does not accept this member's certificate: {cause}"),
            ..Refusal::of_channel(Code::Certificate, key)
        };
        self.control(id, Frame::Error(refusal));
        let cause = format!("the certificate of the member there is not accepted: {cause}");
        self.refuse(now, id, channel, Code::Certificate, &cause, false);
    }

    /// The other side does not know the callsign that a proof was begun for.
    pub(in super::super) fn unfit(&mut self, now: Instant, id: ConnectionId, number: u32, has_former: bool) {
        self.refuse(now, id, number, Code::WrongCallsign, "", has_former);
    }

    fn refuse(
        &mut self,
        now: Instant,
        id: ConnectionId,
        number: u32,
        code: Code,
        cause: &str,
        has_former: bool,
    ) {
        let failure = self
            .pair_of(id)
            .and_then(|pair| pair.refused(number, code, cause, has_former));
        self.failed(now, id, failure.into_iter().collect());
        self.stir(id);
    }

    fn failed(&mut self, now: Instant, id: ConnectionId, failures: Vec<Failure>) {
        let Some(instance) = self.links.get(&id).map(|link| link.opened.instance) else {
            return;
        };
        let is_refused = |failure: &Failure| matches!(failure.code, Code::WrongCallsign | Code::Busy);
        let any_refused = failures.iter().any(is_refused);
        for failure in failures {
            let seat = failure.wish.0;
            let has_former = self
                .members
                .get(seat)
                .is_some_and(|seat| seat.credentials.former.is_some());
            if let Some(notice) = self.destinations.failed(now, instance, has_former, &failure) {
                self.members.tell(seat, notice);
            }
        }
        let is_over = any_refused
            && self
                .pairs
                .get(&instance)
                .is_some_and(|pair| !pair.is_trusted() && pair.is_stuck());
        if is_over {
            // As a stranger this process gets no further answers on this connection; another one gets them.
            self.retire(now, id);
        }
    }

    /// The other side has opened a channel that was asked for; false if it was not, or if its certificate ought to have been
    /// found good and was not looked at.
    pub(in super::super) fn accepted(
        &mut self,
        now: Instant,
        id: ConnectionId,
        accept: Accept,
        is_certified: bool,
    ) -> bool {
        self.heard(now, id);
        let Some(instance) = self.links.get(&id).map(|link| link.opened.instance) else {
            return true;
        };
        let pair = self.pairs.get_mut(&instance);
        let accepted = pair.and_then(|pair| pair.accepted(id, accept, is_certified));
        let Some(mut opened) = accepted else {
            return false;
        };
        self.joined(id, instance, opened.key);
        self.guesses.give_back(Guesser::Answering, opened.seat);
        while let Some(message) = opened.waiting.pop(now) {
            self.push(now, id, opened.key, message);
        }
        for early in opened.early {
            self.received(now, early.id, early.data, early.received_at);
        }
        self.stir(id);
        true
    }

    /// A channel is open.
    fn joined(&mut self, id: ConnectionId, instance: Instance, key: ChannelKey) {
        let Some(pair) = self.pairs.get(&instance) else {
            return;
        };
        for link in pair.links.iter().chain([&id]) {
            if let Some(link) = self.links.get_mut(link) {
                link.trust();
            }
        }
        let Some(channel) = pair.channel(key) else {
            return;
        };
        let seat = channel.seat;
        self.routes
            .insert((seat, Arc::clone(&channel.member)), (instance, key));
        for notice in self.destinations.accepted(instance, seat) {
            self.members.tell(seat, notice);
        }
    }

    /// The other side refused something of ours.
    pub(in super::super) fn refused(&mut self, now: Instant, id: ConnectionId, refusal: &Refusal) {
        self.heard(now, id);
        let Some(number) = refusal.channel else {
            if refusal.endpoint.is_some() {
                let code = refusal.code;
                let pair = self.pair_of(id);
                let failures = pair.map(|pair| pair.not_found(refusal.endpoint, code));
                self.failed(now, id, failures.unwrap_or_default());
            }
            return;
        };
        let is_closed = match refusal.code {
            Code::UnknownChannel => true,
            // The opener has looked at what it was shown with the acceptance.
            Code::Certificate => refusal.opener,
            _ => false,
        };
        if !is_closed {
            if !refusal.opener {
                self.refuse(now, id, number, refusal.code, &refusal.detail, false);
            }
            return;
        }
        let key = ChannelKey {
            number,
            is_ours: !refusal.opener,
        };
        if let Some(channel) = self.pair_of(id).and_then(|pair| pair.remove(key)) {
            let route = (channel.seat, channel.member);
            if self.routes.get(&route).is_some_and(|(_, other)| *other == key) {
                self.routes.remove(&route);
            }
            if let (Code::Certificate, Some(link)) = (refusal.code, self.links.get(&id)) {
                let notice = Notice::NewcomerRefused {
                    address: Arc::from(link.opened.remote.to_canonical().to_string()),
                    cause: refusal.detail.clone(),
                };
                self.members.tell(route.0, notice);
            }
        }
    }

    fn pair_of(&mut self, id: ConnectionId) -> Option<&mut Pair> {
        self.pairs.get_mut(&self.links.get(&id)?.opened.instance)
    }
}
