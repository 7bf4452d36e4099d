//! What an input with positions has under way: lines that it has handed over and that outputs have
//! not completed. More than a window of them is left where it is.

use std::collections::VecDeque;

use crate::batch::Inquiry;
use crate::clock::Mono;
use crate::ids::Identity;
use crate::ingress::inbox::Inlet;
use crate::limits::{FOLLOW_BARRIER, FOLLOW_STUCK, FOLLOW_WINDOW};

/// A barrier that outputs have come to.
#[derive(Debug)]
pub struct Passed {
    number: u64,
    /// Bytes between it and the one before.
    bytes: u64,
    /// How far origins were read by then.
    pub moved: Vec<(Identity, u64)>,
    /// Origins that had ended by then.
    pub ended: Vec<Identity>,
}

/// What is under way.
#[derive(Debug, Default)]
pub struct Progress {
    barriers: VecDeque<Passed>,
    /// Bytes that outputs have not completed.
    bytes: u64,
    since_barrier: u64,
    moved: Vec<(Identity, u64)>,
    /// When outputs last completed something.
    at: Mono,
}

impl Progress {
    /// Lines were handed over: this origin is read up to `next` by them.
    pub fn sent(&mut self, identity: Identity, next: u64, bytes: usize) {
        self.bytes += bytes as u64;
        self.since_barrier += bytes as u64;
        match self.moved.iter_mut().find(|(moved, _)| *moved == identity) {
            Some((_, last)) => *last = next,
            None => self.moved.push((identity, next)),
        }
    }

    /// Lines without a number were handed over.
    pub fn passed_by(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
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
    pub fn set_barrier(&mut self, inlet: &mut Inlet, inquiry: Inquiry, now: Mono) {
        if self.barriers.is_empty() {
            self.at = now;
        }
        let ended = inquiry.ended.clone();
        let is_patient = inquiry.kinds.is_empty() && inquiry.origins.is_empty();
        let number = inlet.inquire(Inquiry { is_patient, ..inquiry });
        let bytes = std::mem::take(&mut self.since_barrier);
        let moved = std::mem::take(&mut self.moved);
        self.barriers.push_back(Passed { number, bytes, moved, ended });
    }

    /// Outputs have come to this barrier: those that are passed by that.
    pub fn completed(&mut self, number: u64, now: Mono) -> Vec<Passed> {
        self.at = now;
        let count = self.barriers.iter().take_while(|passed| passed.number <= number).count();
        let passed: Vec<_> = self.barriers.drain(..count).collect();
        let bytes: u64 = passed.iter().map(|passed| passed.bytes).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        passed
    }

    /// Whether nothing more is to be handed over now. An output that completes nothing for
    /// [`FOLLOW_STUCK`] must not stop the others for good: then another window is let through.
    pub fn is_full(&mut self, now: Mono) -> bool {
        if self.bytes < FOLLOW_WINDOW {
            return false;
        }
        if now.since(self.at) < FOLLOW_STUCK {
            return true;
        }
        (self.bytes, self.at) = (0, now);
        false
    }

    /// When [`Self::is_full`] lets more through if nothing is completed before.
    pub fn deadline(&self) -> Option<Mono> {
        (self.bytes >= FOLLOW_WINDOW).then(|| self.at + FOLLOW_STUCK)
    }
}
