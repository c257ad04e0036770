//! The members of this process: who is served on which port, and by which callsign.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Notify;

use super::Error;
use super::certificate::Identity;
use super::frame::{Code, Endpoint, MEMBER_MAX_BYTES, SEATS_MAX, SeatNumber, Target};
use super::mailbox::{Event, Incoming, Mailbox, Notice};
use super::proof::Callsign;

/// One registration of a member: its place at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SeatId(pub(super) u64);

/// By what a member and the others of its group know one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The group's secret.
    pub callsign: Callsign,
    /// The one before it, while not all members have the new one.
    pub former: Option<Callsign>,
    /// A certificate to show; whoever has one accepts those only that have one as well.
    pub identity: Option<Arc<Identity>>,
}

impl Credentials {
    /// Credentials that were never changed.
    pub fn new(callsign: Callsign) -> Self {
        Self {
            callsign,
            former: None,
            identity: None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) member: Arc<str>,
    pub(super) endpoint: Endpoint,
    pub(super) number: SeatNumber,
    pub(super) credentials: Credentials,
    mailbox: Mailbox,
}

#[derive(Debug, Default)]
pub(super) struct Members {
    seats: HashMap<SeatId, Seat>,
    /// The last seat, and the last number, that were given out.
    last: u64,
}

impl Members {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Gives `member` a seat at a port.
    pub(super) fn register(
        &mut self,
        endpoint: Endpoint,
        member: &Arc<str>,
        credentials: Credentials,
    ) -> Result<(SeatId, Arc<Notify>), Error> {
        if member.is_empty() || member.len() > MEMBER_MAX_BYTES {
            return Err(Error::RegisterMember {
                bytes: member.len(),
                limit_bytes: MEMBER_MAX_BYTES,
            });
        }
        self.find_taken(endpoint, &credentials, None)?;
        let mailbox = Mailbox::new();
        let filled = Arc::clone(&mailbox.filled);
        let (id, number) = (SeatId(self.next()), SeatNumber(self.next()));
        let seat = Seat {
            member: Arc::clone(member),
            endpoint,
            number,
            credentials,
            mailbox,
        };
        self.seats.insert(id, seat);
        Ok((id, filled))
    }

    fn find_taken(
        &self,
        endpoint: Endpoint,
        credentials: &Credentials,
        but: Option<SeatId>,
    ) -> Result<(), Error> {
        let mut others = self.seats.iter().filter(|(id, _)| Some(**id) != but);
        let taken = others
            .find(|(_, seat)| seat.endpoint == endpoint && seat.credentials.callsign == credentials.callsign);
        match taken {
            Some((_, seat)) => Err(Error::RegisterTaken {
                member: Arc::clone(&seat.member),
            }),
            None => Ok(()),
        }
    }

    /// Replaces a member's callsigns. Its number changes, so that whoever tried in vain tries again.
    pub(super) fn set_credentials(&mut self, id: SeatId, credentials: Credentials) -> Result<(), Error> {
        let number = SeatNumber(self.next());
        let Some(endpoint) = self.seats.get(&id).map(|seat| seat.endpoint) else {
            return Ok(());
        };
        self.find_taken(endpoint, &credentials, Some(id))?;
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.credentials = credentials;
            seat.number = number;
        }
        Ok(())
    }

    pub(super) fn unregister(&mut self, id: SeatId) {
        self.seats.remove(&id);
    }

    pub(super) fn get(&self, id: SeatId) -> Option<&Seat> {
        self.seats.get(&id)
    }

    pub(super) fn take_event(&mut self, id: SeatId) -> Option<Event> {
        self.seats.get_mut(&id)?.mailbox.take()
    }

    pub(super) fn tell(&mut self, id: SeatId, notice: Notice) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.mailbox.put_notice(notice);
        }
    }

    /// Gives a message to a member; false where it is gone.
    pub(super) fn deliver(&mut self, id: SeatId, message: Incoming) -> bool {
        let seat = self.seats.get_mut(&id);
        seat.map(|seat| seat.mailbox.put_message(message)).is_some()
    }

    /// The seat that a proof is asked of.
    pub(super) fn target(&self, target: &Target) -> Result<SeatId, Code> {
        let is_it = |seat: &Seat| match target {
            Target::Member(member) => seat.member == *member,
            Target::Seat(number) => seat.number == *number,
        };
        // Of two seats of one member, which is moving to another port, the newer one.
        let found = self.seats.iter().filter(|(_, seat)| is_it(seat));
        found.map(|(id, _)| *id).max().ok_or(Code::UnknownMember)
    }

    /// The numbers after this one of who is served at a port, the smallest first.
    pub(super) fn seats_at(&self, endpoint: Endpoint, after: SeatNumber) -> Result<Vec<SeatNumber>, Code> {
        let at_port = || self.seats.values().filter(|seat| seat.endpoint == endpoint);
        // A port is open for as long as somebody is served there.
        if at_port().next().is_none() {
            return Err(Code::ClosedPort);
        }
        let newer = at_port().map(|seat| seat.number).filter(|number| *number > after);
        let mut numbers: Vec<_> = newer.collect();
        numbers.sort_unstable();
        numbers.truncate(SEATS_MAX);
        Ok(numbers)
    }

    /// Lets everyone who waits for an event look again.
    pub(super) fn wake_all(&self) {
        for seat in self.seats.values() {
            seat.mailbox.filled.notify_one();
        }
    }
}
