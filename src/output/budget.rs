//! The memory of all queues.
//!
//! Part of it is divided into reserved shares, one for each queue. The rest is common: it is
//! borrowed first come, first served, and lines held by several queues are charged once, to the
//! first of them, until the last releases them. So ten queues that hold the same lines can hold
//! nearly ten times as much as ten that hold different ones, and yet no queue can take another
//! one's share.

use std::collections::HashMap;

use bytes::Bytes;

/// The common memory.
#[derive(Debug, Default)]
pub struct Budget {
    /// The unused part. Negative after a queue took in more than it may.
    free: i64,
    /// The borrowed part.
    lent: u64,
    /// Lines held by queues, by their place in memory.
    held: HashMap<Place, Held>,
    /// The last lines that were copied, and the copy. The original is kept, so that its address
    /// stays valid as a key.
    compacted: Option<(Bytes, Bytes)>,
}

/// A place in memory: address and length. It identifies lines as long as a queue holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place(usize, usize);

impl Place {
    fn of(bytes: &Bytes) -> Self {
        Self(bytes.as_ptr().addr(), bytes.len())
    }
}

/// Lines held by some queues.
#[derive(Debug, Default)]
struct Held {
    /// The common memory borrowed for them.
    lent: u64,
    /// The number of queues that hold them.
    holders: u32,
}

/// The charge for a batch in a queue.
#[derive(Debug)]
pub(super) struct Charge {
    place: Place,
    /// The amount charged to the queue's own memory; 0 if charged to the common memory.
    pub(super) own: u64,
}

/// The memory divided by this is reserved for shares.
const RESERVED_PART: u64 = 4;

impl Budget {
    /// Creates a budget of `memory`, of which `taken` is set aside for the queues' shares.
    pub fn new(memory: u64, taken: u64) -> Self {
        let mut budget = Self::default();
        budget.set(memory, taken);
        budget
    }

    /// Changes both. Borrowed memory stays borrowed.
    pub fn set(&mut self, memory: u64, taken: u64) {
        self.free = signed(memory).saturating_sub(signed(taken)).saturating_sub(signed(self.lent));
    }

    /// The share of `memory` reserved for each of `queues` queues.
    pub fn share(memory: u64, queues: usize) -> u64 {
        memory / RESERVED_PART / (queues.max(1) as u64)
    }

    /// The part of `memory` that is not reserved.
    pub fn common(memory: u64) -> u64 {
        memory - memory / RESERVED_PART
    }

    /// Bytes that can be borrowed.
    pub fn free(&self) -> u64 {
        u64::try_from(self.free).unwrap_or(0)
    }

    /// Bytes that queues have borrowed.
    pub fn lent(&self) -> u64 {
        self.lent
    }

    /// Returns whether these lines are already charged to the common memory.
    pub(super) fn is_paid(&self, bytes: &Bytes) -> bool {
        self.held.get(&Place::of(bytes)).is_some_and(|held| held.lent > 0)
    }

    /// The number of queues that hold the lines of a charge.
    pub(super) fn holders(&self, charge: &Charge) -> u32 {
        self.held.get(&charge.place).map_or(0, |held| held.holders)
    }

    /// Charges for lines that enter a queue: to its own memory if they fit there and are not
    /// charged already.
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

    /// Releases lines that left a queue. The queue accounts for its own memory itself.
    pub(super) fn release(&mut self, charge: &Charge) {
        let Some(held) = self.held.get_mut(&charge.place) else { return };
        held.holders -= 1;
        if held.holders == 0 {
            self.lent -= held.lent;
            self.free += signed(held.lent);
            self.held.remove(&charge.place);
        }
    }

    /// Records that a queue took in more than its share without borrowing.
    pub(super) fn overdrawn(&mut self, bytes: u64) {
        self.free -= signed(bytes);
    }

    /// The inverse of [`Self::overdrawn`].
    pub(super) fn paid_back(&mut self, bytes: u64) {
        self.free += signed(bytes);
    }

    /// Copies lines to memory of their own; queues that ask for the same lines one after another
    /// share one copy.
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

/// Memory sizes are far below 2^63.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
