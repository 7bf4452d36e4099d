//! The memory of all queues.
//!
//! A part is divided into reserved shares, one for each queue. The rest is common: it is borrowed
//! first come, first served, and lines that several queues hold are paid for once, by the first of
//! them, until the last lets go of them. So ten queues that hold the same lines hold nearly ten
//! times as much as ten that hold different ones, and yet no queue can take another one's share.

use std::collections::HashMap;

use bytes::Bytes;

/// The common memory.
#[derive(Debug, Default)]
pub struct Budget {
    /// What is left of it. Less than nothing after a queue took in more than it may.
    free: i64,
    /// What is lent of it.
    lent: u64,
    /// Lines that queues hold, by where they are in memory.
    held: HashMap<Place, Held>,
    /// The last lines that were copied, and the copy. The original is kept, so that its address
    /// stands for it.
    compacted: Option<(Bytes, Bytes)>,
}

/// Where lines are in memory: their address and length. It stands for the lines as long as a queue
/// holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place(usize, usize);

impl Place {
    fn of(bytes: &Bytes) -> Self {
        Self(bytes.as_ptr().addr(), bytes.len())
    }
}

/// Lines that some queues hold.
#[derive(Debug, Default)]
struct Held {
    /// The common memory that is lent for them.
    lent: u64,
    /// How many queues hold them.
    holders: u32,
}

/// What a batch in a queue is paid with.
#[derive(Debug)]
pub(super) struct Charge {
    place: Place,
    /// So much is paid with the queue's own memory; nothing if the common memory pays.
    pub(super) own: u64,
}

/// The divisor of the memory that gives the part reserved for shares.
const RESERVED_PART: u64 = 4;

impl Budget {
    /// A budget of `memory`, of which `taken` is set apart for the queues' shares.
    pub fn new(memory: u64, taken: u64) -> Self {
        let mut budget = Self::default();
        budget.set(memory, taken);
        budget
    }

    /// Changes both. What is lent stays lent.
    pub fn set(&mut self, memory: u64, taken: u64) {
        self.free = signed(memory).saturating_sub(signed(taken)).saturating_sub(signed(self.lent));
    }

    /// The share of `memory` reserved for each of `queues` queues.
    pub fn share(memory: u64, queues: usize) -> u64 {
        memory / RESERVED_PART / (queues.max(1) as u64)
    }

    /// The part of `memory` that no queue has for itself.
    pub fn common(memory: u64) -> u64 {
        memory - memory / RESERVED_PART
    }

    /// Bytes that can be borrowed.
    pub fn free(&self) -> u64 {
        u64::try_from(self.free).unwrap_or(0)
    }

    /// Bytes that are lent to queues.
    pub fn lent(&self) -> u64 {
        self.lent
    }

    /// Returns whether the common memory pays for these lines already.
    pub(super) fn is_paid(&self, bytes: &Bytes) -> bool {
        self.held.get(&Place::of(bytes)).is_some_and(|held| held.lent > 0)
    }

    /// How many queues hold the lines that a batch was charged for.
    pub(super) fn holders(&self, charge: &Charge) -> u32 {
        self.held.get(&charge.place).map_or(0, |held| held.holders)
    }

    /// Charges for lines that enter a queue, with its own memory if they fit there and are not paid
    /// for already.
    pub(super) fn charge(&mut self, bytes: &Bytes, cost: u64, fits: bool) -> Charge {
        let (place, free) = (Place::of(bytes), self.free());
        let held = self.held.entry(place).or_default();
        held.holders += 1;
        if held.lent > 0 {
            return Charge { place, own: 0 };
        }
        if fits || cost > free {
            return Charge { place, own: cost };
        }
        held.lent = cost;
        self.lent += cost;
        self.free -= signed(cost);
        Charge { place, own: 0 }
    }

    /// A queue lets go of lines. What it paid with its own memory is its own affair.
    pub(super) fn release(&mut self, charge: &Charge) {
        let Some(held) = self.held.get_mut(&charge.place) else { return };
        held.holders -= 1;
        if held.holders == 0 {
            self.lent -= held.lent;
            self.free += signed(held.lent);
            self.held.remove(&charge.place);
        }
    }

    /// A queue took in more than its share without borrowing.
    pub(super) fn overdrawn(&mut self, bytes: u64) {
        self.free -= signed(bytes);
    }

    /// The inverse of [`Self::overdrawn`].
    pub(super) fn paid_back(&mut self, bytes: u64) {
        self.free += signed(bytes);
    }

    /// A copy of the lines in memory of their own; the same one for all queues that ask for it one
    /// after another.
    pub(super) fn compact(&mut self, bytes: &Bytes) -> Bytes {
        if let Some((original, copy)) = &self.compacted
            && Place::of(original) == Place::of(bytes)
        {
            return copy.clone();
        }
        let copy = Bytes::copy_from_slice(bytes);
        self.compacted = Some((bytes.clone(), copy.clone()));
        copy
    }
}

/// Sizes of memory are far below 2^63.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
