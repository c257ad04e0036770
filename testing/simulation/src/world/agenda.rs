//! What is to happen, in the order of time and, at one time, in the order in which it was put down.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A queue of things to come.
pub(super) struct Agenda<T> {
    /// Time, number and place of each. The things themselves stay where they are while the heap is sorted.
    heap: BinaryHeap<Reverse<(i64, u64, usize)>>,
    places: Vec<Option<T>>,
    free: Vec<usize>,
    count: u64,
}

impl<T> Agenda<T> {
    pub(super) fn new() -> Agenda<T> {
        Agenda {
            heap: BinaryHeap::new(),
            places: Vec::new(),
            free: Vec::new(),
            count: 0,
        }
    }

    pub(super) fn put(&mut self, at_ms: i64, thing: T) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(thing);
        self.count += 1;
        self.heap.push(Reverse((at_ms, self.count, place)));
    }

    /// When the next happens.
    pub(super) fn next_at(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse((at_ms, ..))| *at_ms)
    }

    /// The next, if it happens no later than `end_ms`.
    pub(super) fn take_until(&mut self, end_ms: i64) -> Option<(i64, T)> {
        if self.next_at()? > end_ms {
            return None;
        }
        let Reverse((at_ms, _, place)) = self.heap.pop()?;
        self.free.push(place);
        self.places[place].take().map(|thing| (at_ms, thing))
    }
}
