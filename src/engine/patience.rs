//! Patience: for how long inputs that can wait do so for a lane whose queue fills up.
//!
//! What an input with positions has not handed over stays where it is, in its file or partition. So
//! it waits while the queue of an output is half full, and a lane that is slow for a while loses
//! nothing. But all outputs of the input then wait for that one, so patience is bounded: it is over
//! once the lane has completed nothing for [`WAITS_STUCK`], or has kept inputs waiting for
//! [`WAITS_MAX`] in all. From then on the lane's queue takes what fits, and the rest is dropped
//! there and counted, until the lane has emptied its queue.

use std::time::Duration;

use crate::clock::Mono;
use crate::limits::{FOLLOW_READ, WAITS_AT, WAITS_MAX, WAITS_STUCK};
use crate::output::budget::Budget;
use crate::output::queue::Queue;

/// How long inputs have waited for a lane.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Since when they wait, if they do.
    since: Option<Mono>,
    /// How long they had waited before that, since the queue was last empty.
    before: Duration,
    /// How many lines the lane has completed, and when that last changed while they wait.
    completed: (u64, Mono),
    /// True if they no longer wait for it.
    is_over: bool,
}

/// Why patience with a lane is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// It has completed nothing for a while.
    Stuck,
    /// It is too slow.
    Slow,
}

impl Patience {
    /// Notes the state of the lane's queue, and how many lines the lane has completed. Returns why
    /// patience is over, if it has just ended.
    pub(super) fn note(
        &mut self,
        queue: &Queue,
        completed: u64,
        budget: &Budget,
        now: Mono,
    ) -> Option<Why> {
        if queue.is_empty() {
            *self = Self::default();
        }
        // What is in a child's pipe needs no room in the queue.
        let used = queue.fill().0.saturating_sub(queue.written_bytes());
        if self.is_over {
            return None;
        }
        let bound = enough(queue, budget);
        let Some(since) = self.since else {
            if used > bound {
                (self.since, self.completed) = (Some(now), (completed, now));
            }
            return None;
        };
        if completed != self.completed.0 {
            self.completed = (completed, now);
        }
        let waited = self.before + now.since(since);
        if used <= bound / 2 {
            (self.since, self.before) = (None, waited);
            return None;
        }
        let why = match () {
            () if now.since(self.completed.1) >= WAITS_STUCK => Why::Stuck,
            () if waited >= WAITS_MAX => Why::Slow,
            () => return None,
        };
        (self.since, self.is_over) = (None, true);
        Some(why)
    }

    /// Returns whether inputs wait for the lane now.
    pub(super) fn holds(&self) -> bool {
        self.since.is_some()
    }

    /// Returns whether inputs no longer wait for the lane.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// When it will be over if the lane completes nothing.
    pub(super) fn deadline(&self) -> Option<Mono> {
        let since = self.since?;
        let left = WAITS_MAX.saturating_sub(self.before);
        Some((since + left).min(self.completed.1 + WAITS_STUCK))
    }
}

/// The bytes in a queue with which it counts as filled up: half of it, and where the memory of all
/// queues is used up, half of its own share.
fn enough(queue: &Queue, budget: &Budget) -> u64 {
    let half = (queue.fill().1 / 2).min(WAITS_AT);
    match budget.free() < FOLLOW_READ as u64 {
        true => half.min(queue.reserved() / 2),
        false => half,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::batch_of;

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    /// A queue of 4 KiB in ample memory that holds `lines` lines of 100 bytes.
    fn queue(lines: usize) -> (Queue, Budget) {
        let (mut queue, mut budget) = (Queue::new(4096, 0), Budget::new(1 << 30, 0));
        for _ in 0..lines {
            queue.push_anyway(batch_of(&("x".repeat(99) + "\n")), &mut budget);
        }
        (queue, budget)
    }

    fn note(patience: &mut Patience, lines: usize, completed: u64, now: Mono) -> Option<Why> {
        let (queue, budget) = queue(lines);
        patience.note(&queue, completed, &budget, now)
    }

    #[test]
    fn inputs_wait_from_half_a_queue_until_a_quarter_is_left() {
        let mut patience = Patience::default();
        for (lines, holds) in [(10, false), (11, true), (6, true), (5, false), (10, false)] {
            assert_eq!(note(&mut patience, lines, 0, at(0)), None);
            assert_eq!(patience.holds(), holds, "{lines}");
        }
    }

    #[test]
    fn a_lane_that_completes_nothing_is_given_up_until_its_queue_is_empty() {
        let mut patience = Patience::default();
        note(&mut patience, 20, 0, at(0));
        assert_eq!(patience.deadline(), Some(at(0) + WAITS_STUCK));
        assert_eq!(note(&mut patience, 20, 1, at(4)), None, "it moves");
        assert_eq!(note(&mut patience, 20, 1, at(8)), None);
        assert_eq!(note(&mut patience, 20, 1, at(9)), Some(Why::Stuck));
        assert_eq!(
            (patience.holds(), patience.is_over(), patience.deadline()),
            (false, true, None)
        );
        assert_eq!(note(&mut patience, 40, 2, at(90)), None);
        assert!(patience.is_over(), "it has lines yet");
        note(&mut patience, 0, 40, at(91));
        assert!(!patience.is_over());
        note(&mut patience, 20, 40, at(92));
        assert!(patience.holds());
    }

    #[test]
    fn a_slow_lane_is_given_up_once_inputs_have_waited_for_long_in_all() {
        let (mut patience, mut now, mut ended) = (Patience::default(), 0, None);
        // It completes something each second: for nine of ten seconds inputs wait.
        while ended.is_none() && now < 100 {
            let lines = if now % 10 == 9 { 3 } else { 20 };
            ended = note(&mut patience, lines, now, at(now));
            now += 1;
        }
        // Three times nine seconds, and three more.
        assert_eq!((ended, now - 1), (Some(Why::Slow), 33));
    }

    #[test]
    fn where_memory_is_used_up_a_queue_counts_by_its_share() {
        let (mut patience, mut queue) = (Patience::default(), Queue::new(1 << 20, 2000));
        let mut budget = Budget::new(2000, 2000);
        for _ in 0..6 {
            queue.push_anyway(batch_of(&("x".repeat(99) + "\n")), &mut budget);
        }
        patience.note(&queue, 0, &budget, at(0));
        assert!(patience.holds(), "more than half of its share");
        let mut patience = Patience::default();
        patience.note(&queue, 0, &Budget::new(1 << 30, 0), at(0));
        assert!(!patience.holds());
    }
}
