//! One bound for what the clients of all inputs make us hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits;

/// What the clients of all inputs make us hold.
#[derive(Debug, Default)]
pub struct Unfinished {
    bytes: AtomicUsize,
    inputs: AtomicUsize,
}

/// What the clients of one input make us hold, in bytes: unfinished messages and unread answers.
#[derive(Debug)]
pub struct Holding {
    all: Arc<Unfinished>,
    own: usize,
}

impl Holding {
    /// The account of one more input.
    pub fn new(all: &Arc<Unfinished>) -> Self {
        all.inputs.fetch_add(1, Ordering::Relaxed);
        Self { all: Arc::clone(all), own: 0 }
    }

    /// Changes what one client holds.
    pub fn change(&mut self, before: usize, after: usize) {
        self.own = self.own + after - before;
        // In this order, so that the sum is never below what is held.
        self.all.bytes.fetch_add(after, Ordering::Relaxed);
        self.all.bytes.fetch_sub(before, Ordering::Relaxed);
    }

    /// Returns whether the clients of all inputs together hold more than [`limits::UNFINISHED_MAX`]
    /// and those of this input more than its share.
    pub fn is_too_much(&self) -> bool {
        let share = limits::UNFINISHED_MAX / self.all.inputs.load(Ordering::Relaxed).max(1);
        self.all.bytes.load(Ordering::Relaxed) > limits::UNFINISHED_MAX && self.own > share
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.all.bytes.fetch_sub(self.own, Ordering::Relaxed);
        self.all.inputs.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_hold_is_bounded_for_all_inputs_together() {
        let all = Arc::<Unfinished>::default();
        let input = || Holding::new(&all);
        let (mut one, mut other) = (input(), input());
        one.change(0, limits::UNFINISHED_MAX);
        assert!(!one.is_too_much(), "one input may hold all of it");
        other.change(0, 1000);
        assert!(one.is_too_much() && !other.is_too_much(), "the larger holds less");
        one.change(limits::UNFINISHED_MAX, limits::UNFINISHED_MAX - 1000);
        assert!(!one.is_too_much());
        drop(one);
        other.change(1000, limits::UNFINISHED_MAX + 1);
        assert!(other.is_too_much());
    }
}
