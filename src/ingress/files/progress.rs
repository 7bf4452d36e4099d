//! What an input with positions has under way: lines that it has handed over and that outputs have
//! not completed, by the barriers between them.

use std::collections::{HashMap, VecDeque};

use crate::batch::Inquiry;
use crate::ids::Identity;
use crate::ingress::inbox::Inlet;
use crate::limits::{BARRIERS_HELD, FOLLOW_BARRIER};

/// A barrier that outputs have come to.
#[derive(Debug)]
pub struct Passed {
    number: u64,
    /// How far origins were read by then.
    pub moved: HashMap<Identity, u64>,
    /// Origins that had ended by then.
    pub ended: Vec<Identity>,
}

/// What is under way.
#[derive(Debug, Default)]
pub struct Progress {
    barriers: VecDeque<Passed>,
    /// Bytes handed over since the last barrier.
    since_barrier: u64,
    moved: HashMap<Identity, u64>,
}

impl Progress {
    /// Lines were handed over: this origin is read up to `next` by them.
    pub fn sent(&mut self, identity: Identity, next: u64, bytes: usize) {
        self.passed_by(bytes);
        self.moved.insert(identity, next);
    }

    /// Lines without a number were handed over.
    pub fn passed_by(&mut self, bytes: usize) {
        self.since_barrier += bytes as u64;
    }

    /// Whether enough was handed over since the last barrier for another one.
    pub fn is_barrier_due(&self) -> bool {
        self.since_barrier >= FOLLOW_BARRIER
    }

    /// Whether anything was handed over since the last barrier.
    pub fn has_new(&self) -> bool {
        self.since_barrier > 0
    }

    /// Whether a barrier is under way.
    pub fn waits(&self) -> bool {
        !self.barriers.is_empty()
    }

    /// Sets a barrier.
    pub fn set_barrier(&mut self, inlet: &mut Inlet, inquiry: Inquiry) {
        let ended = inquiry.ended.clone();
        let is_patient = inquiry.kinds.is_empty() && inquiry.origins.is_empty();
        let number = inlet.inquire(Inquiry { is_patient, ..inquiry });
        self.since_barrier = 0;
        let moved = std::mem::take(&mut self.moved);
        self.enter(Passed { number, moved, ended });
    }

    /// An output may complete nothing for days: then the newest barrier takes in the last one.
    fn enter(&mut self, mut new: Passed) {
        let is_full = self.barriers.len() >= BARRIERS_HELD;
        if let Some(mut last) = is_full.then(|| self.barriers.pop_back()).flatten() {
            last.moved.extend(new.moved);
            last.ended.append(&mut new.ended);
            new = Passed { number: new.number, ..last };
        }
        self.barriers.push_back(new);
    }

    /// Outputs have come to this barrier: those that are passed by that.
    pub fn completed(&mut self, number: u64) -> Vec<Passed> {
        let count = self.barriers.iter().take_while(|passed| passed.number <= number).count();
        self.barriers.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn barriers_that_wait_for_days_are_bounded_and_forget_no_position() {
        let mut progress = Progress::default();
        let origin = |number: u64| Identity::of(number.into());
        for number in 1..=1000 {
            let moved = HashMap::from([(origin(1), number), (origin(number), 7)]);
            progress.enter(Passed { number, moved, ended: vec![origin(number)] });
        }
        assert_eq!(progress.barriers.len(), BARRIERS_HELD);
        let first = progress.completed(1);
        assert_eq!((first.len(), first[0].ended.as_slice()), (1, &[origin(1)][..]));
        assert!(progress.completed(999).iter().all(|passed| passed.number < 64));
        let last = progress.completed(1000);
        assert_eq!((last.len(), last[0].moved[&origin(1)]), (1, 1000));
        assert_eq!(last[0].ended.len(), 1000 - 63);
        assert!((64..=1000).all(|number| last[0].moved[&origin(number)] == 7));
        assert!(!progress.waits());
    }
}
