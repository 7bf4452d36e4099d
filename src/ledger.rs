//! The ledger: every line that enters a node is accounted for, and the counts always balance.
//!
//! `lines_in = lines_out + not_selected + sum(dropped) + queued`
//!
//! Counters only grow. The queued count comes from the queue itself, so the balance is a check and
//! not a definition.

pub mod minutes;
pub mod seconds;
pub mod tally;
pub mod told;

use serde::Serialize;

use crate::minute::Minute;

use minutes::Minutes;
use tally::Tally;

/// Why a line was dropped. The set is closed; users see the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The queue of a process or an output was full.
    QueueFull,
    /// The queue was full and there was no child to drain it, or the child died in the middle of
    /// the line.
    ChildGone,
    /// The line exceeded `rate`.
    Rate,
    /// The queue was full because the disk refused earlier lines, or the line's file can never be
    /// written.
    DiskError,
    /// The network refused the datagram, or the peer would not take the line.
    SendError,
    /// The grace ended before the line could be delivered.
    Shutdown,
    /// The spool was full: the new lines were dropped, or old ones that a reader had not read.
    SpoolFull,
    /// The spool was damaged at the line.
    Damaged,
    /// Another logweir sent a line again that is already here.
    Duplicate,
    /// The peer takes no line that is so long.
    Oversize,
    /// A message that was joined with its repeats.
    Repeated,
}

/// All reasons, in the order of the ledger.
pub const REASONS: [Reason; 11] = [
    Reason::QueueFull,
    Reason::ChildGone,
    Reason::Rate,
    Reason::DiskError,
    Reason::SendError,
    Reason::Shutdown,
    Reason::SpoolFull,
    Reason::Damaged,
    Reason::Duplicate,
    Reason::Oversize,
    Reason::Repeated,
];

impl Reason {
    /// The word for it in `top`, the log and the metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::ChildGone => "child_gone",
            Self::Rate => "rate",
            Self::DiskError => "disk_error",
            Self::SendError => "send_error",
            Self::Shutdown => "shutdown",
            Self::SpoolFull => "spool_full",
            Self::Damaged => "damaged",
            Self::Duplicate => "duplicate",
            Self::Oversize => "oversize",
            Self::Repeated => "repeated",
        }
    }
}

/// A count of lines and of their bytes, including newlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Count {
    /// Lines.
    pub lines: u64,
    /// Bytes, including each line's newline.
    pub bytes: u64,
}

impl Count {
    /// Counts some lines.
    pub fn add(&mut self, lines: u64, bytes: u64) {
        self.lines += lines;
        self.bytes += bytes;
    }
}

/// The counts of one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    /// Lines that entered.
    pub entered: Count,
    /// Lines that left: passed on, read by the child, written to the file, sent.
    pub left: Count,
    /// Lines that the selectors rejected.
    pub not_selected: Count,
    dropped: [Count; REASONS.len()],
    /// The same by the minute in which the lines were first received.
    pub minutes: Minutes,
}

impl Ledger {
    /// Counts lines that entered.
    pub fn enter(&mut self, minute: Minute, count: Count) {
        self.entered.add(count.lines, count.bytes);
        self.minutes.at(minute).entered.add(count.lines, count.bytes);
    }

    /// Counts lines that entered, of several minutes.
    pub fn enter_all(&mut self, tally: &Tally) {
        tally.iter().for_each(|(minute, count)| self.enter(minute, count));
    }

    /// Counts lines that left.
    pub fn leave(&mut self, minute: Minute, count: Count) {
        self.left.add(count.lines, count.bytes);
        self.minutes.at(minute).left.add(count.lines, count.bytes);
    }

    /// Counts lines that left, of several minutes.
    pub fn leave_all(&mut self, tally: &Tally) {
        tally.iter().for_each(|(minute, count)| self.leave(minute, count));
    }

    /// Counts lines that the selectors rejected.
    pub fn reject(&mut self, minute: Minute, count: Count) {
        if count != Count::default() {
            self.not_selected.add(count.lines, count.bytes);
            self.minutes.at(minute).not_selected.add(count.lines, count.bytes);
        }
    }

    /// Counts dropped lines.
    pub fn drop(&mut self, reason: Reason, minute: Minute, count: Count) {
        if count != Count::default() {
            self.dropped[reason as usize].add(count.lines, count.bytes);
            self.minutes.at(minute).drop(reason, count);
        }
    }

    /// Counts dropped lines of several minutes.
    pub fn drop_all(&mut self, reason: Reason, tally: &Tally) {
        tally.iter().for_each(|(minute, count)| self.drop(reason, minute, count));
    }

    /// The lines dropped for `reason`.
    pub fn dropped(&self, reason: Reason) -> Count {
        self.dropped[reason as usize]
    }

    /// The lines dropped for any reason.
    pub fn dropped_in_all(&self) -> Count {
        let mut all = Count::default();
        for count in self.dropped {
            all.add(count.lines, count.bytes);
        }
        all
    }

    /// Returns whether every line that entered is accounted for, in lines and in bytes.
    pub fn balances(&self, queued: Count) -> bool {
        let dropped = self.dropped_in_all();
        self.entered.lines
            == self.left.lines + self.not_selected.lines + dropped.lines + queued.lines
            && self.entered.bytes
                == self.left.bytes + self.not_selected.bytes + dropped.bytes + queued.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stand_at_their_own_index() {
        for (index, reason) in REASONS.iter().enumerate() {
            assert_eq!(*reason as usize, index, "{}", reason.word());
        }
    }

    #[test]
    fn a_line_without_a_fate_breaks_the_balance() {
        let mut ledger = Ledger::default();
        let (minute, one) = (Minute::from_number(7), Count { lines: 1, bytes: 10 });
        ledger.enter(minute, Count { lines: 3, bytes: 30 });
        ledger.leave(minute, one);
        ledger.drop(Reason::Rate, minute, one);
        let row = ledger.minutes.rows().next().unwrap();
        assert_eq!((row.minute, row.counts.waiting()), (minute, one));
        assert!(!ledger.balances(Count::default()));
        assert!(ledger.balances(Count { lines: 1, bytes: 10 }));
    }
}
