//! What the model's world is made of at one instant.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use super::super::election::{Claim, Durable, Event, Member, Order, Received, Term};

/// A value that many states share, with its hash, so that neither is worked out again for every state.
#[derive(Clone, Debug)]
pub struct Shared<T>(Arc<(u64, T)>);

impl<T: Hash> Shared<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Shared<T> {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Shared(Arc::new((hasher.finish(), value)))
    }

    /// The hash of the value.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.0.0
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.1
    }
}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.0);
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Shared<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.0 == other.0.0 && self.0.1 == other.0.1)
    }
}

impl<T: Eq> Eq for Shared<T> {}

/// A controller's process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Process {
    /// It does not run.
    Down,
    /// It runs.
    Up(Shared<Member>),
    /// It was stopped in its tracks: it gets no time, no messages and no answers until it goes on.
    Paused(Shared<Member>),
}

/// A write that an API server was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// What the answer names.
    pub number: u64,
    /// What is to be durable.
    pub durable: Shared<Durable>,
    /// The instant by which it is through or has failed.
    pub due: i64,
}

/// A payload in one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Copy {
    /// The term that was ordered last.
    pub term: Term,
    /// The instant by which it is gone, unless its claim is renewed: the end of the claim and the stop budget. It may
    /// run on after that where nobody is there to stop it, which no protocol among controllers can prevent.
    pub until: i64,
}

/// A controller that has died or stands still, as one that stands by knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rest {
    /// Since which instant.
    pub since: i64,
    /// The last claim by which it ran its payload. It may have ended, and the lead been given away, since that was told.
    pub claim: Option<Claim>,
}

/// One cluster with its controller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seat {
    /// The controller.
    pub process: Process,
    /// What its API server holds.
    pub disk: Shared<Durable>,
    /// What its member, or the last one, knows to be durable.
    pub known: Shared<Durable>,
    /// What a restored backup would hold.
    pub backup: Shared<Durable>,
    /// The write under way.
    pub write: Option<Write>,
    /// The last order.
    pub order: (u64, Order),
    /// The payload.
    pub copy: Option<Copy>,
    /// What the user does to this member, in this order, at any instants.
    pub wishes: Vec<Event>,
    /// Where another controller stands by: how this one came to rest.
    pub rest: Option<Rest>,
    /// The same claim, while it does not rest.
    pub claim: Option<Claim>,
    /// A controller that was replaced while it stood still, and may go on.
    pub former: Option<Shared<Member>>,
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flight {
    /// The sender's seat.
    pub from: usize,
    /// The receiver's seat.
    pub to: usize,
    /// The instant at which it arrives.
    pub arrives: i64,
    /// What arrives.
    pub received: Shared<Received>,
}

impl Flight {
    /// Sorts the messages in flight: by link, the oldest first; otherwise their order means nothing.
    #[must_use]
    pub fn key(&self) -> (usize, usize, i64, u64) {
        (self.from, self.to, self.arrives, self.received.digest())
    }
}

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mishap {
    /// A controller dies.
    Crash,
    /// A controller stands still for a while.
    Pause,
    /// A link is cut in one direction, for as long as it likes.
    Cut,
    /// A message is lost.
    Loss,
    /// A message takes a unit of time longer.
    Delay,
    /// Something is done before what would be done first.
    Disorder,
    /// A message arrives once more.
    Repetition,
    /// A write takes a unit of time longer.
    SlowWrite,
    /// A member is told that a write failed, which it may or may not have.
    FailedWrite,
    /// An API server is restored from a backup.
    Restore,
    /// A controller that was replaced while it stood still does something.
    Haunting,
}

/// How many kinds there are.
pub(super) const MISHAPS: usize = 11;

/// How much may go wrong yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Misfortunes {
    /// In all.
    pub any: u8,
    /// Of each kind.
    pub each: [u8; MISHAPS],
}

impl Misfortunes {
    /// So much in all, and so much of each of these kinds.
    #[must_use]
    pub fn of(any: u8, kinds: &[(Mishap, u8)]) -> Misfortunes {
        let mut each = [0; MISHAPS];
        for (kind, most) in kinds {
            each[*kind as usize] = *most;
        }
        Misfortunes { any, each }
    }

    /// Whether this may go wrong.
    #[must_use]
    pub fn allow(&self, kind: Mishap) -> bool {
        self.any > 0 && self.each[kind as usize] > 0
    }

    /// It has gone wrong.
    pub fn take(&mut self, kind: Mishap) {
        self.any = self.any.saturating_sub(1);
        let left = &mut self.each[kind as usize];
        *left = left.saturating_sub(1);
        // What can happen no more need not be told apart.
        if self.any == 0 {
            self.each = [0; MISHAPS];
        }
    }
}

/// A step that the protocol excludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Breach {
    /// Two members were elected in one term.
    TwoElectedInOneTerm,
    /// The payload was ordered in a lower term than before.
    LowerTermOverHigher,
    /// A term, a vote within a term or a roster that was durable was taken back.
    MemoryTakenBack,
    /// A member found the protocol broken.
    Faulty,
    /// A member wants to be woken again and again at one instant.
    Restless,
    /// A member began a write while another was under way.
    TwoWrites,
}

/// The world at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Real time in the model's own units, of which each clock counts some per tick.
    pub instant: i64,
    /// When the run ends.
    pub ends: i64,
    /// The seat at which things happen, one after the other at each instant.
    pub turn: usize,
    /// Whether something has happened there at this instant.
    pub acted: bool,
    /// Which of the model's clock rates this run has.
    pub clocks: usize,
    /// The clusters.
    pub seats: Vec<Seat>,
    /// The messages on their way, sorted.
    pub flights: Vec<Flight>,
    /// Links that are cut, in that direction.
    pub cuts: Vec<(usize, usize)>,
    /// What may still go wrong.
    pub left: Misfortunes,
    /// Who was elected in which term.
    pub elected: Vec<(Term, usize)>,
    /// The highest term in which the payload was ordered to run.
    pub highest_run: Term,
    /// What went wrong in the last step.
    pub breach: Option<Breach>,
}

impl Seat {
    /// The member whose process is there, running or paused.
    #[must_use]
    pub fn member(&self) -> Option<&Shared<Member>> {
        match &self.process {
            Process::Down => None,
            Process::Up(member) | Process::Paused(member) => Some(member),
        }
    }
}
