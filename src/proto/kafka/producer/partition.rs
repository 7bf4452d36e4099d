//! One partition: its lines in order, the batches that are not answered, and their sequences.
//!
//! A partition takes a batch only if its sequence follows the last one from the same producer. So
//! sequences count lines: the position in the spool, the sequence of the first line behind it and
//! the last sequence that the partition has tell together which lines it has. Lines that are too
//! large for the partition have no sequence; which those were is remembered until the position
//! has passed them.

use std::collections::VecDeque;

use bytes::Bytes;

use super::chunk::{Chunk, OVERHEAD};
use crate::clock::Mono;
use crate::limits::{RECORDS_ENOUGH, RECORDS_MAX, RECORDS_UNANSWERED_MAX};
use crate::proto::kafka::records::SEQUENCES;

/// A partition.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) index: i32,
    /// The sequence of the first line that is not completed with all lines of the output before
    /// it, and its ordinal in the partition.
    pub(super) base: u64,
    base_line: u64,
    /// Ordinals of lines that have no sequence: those that are left out already, and those that
    /// an earlier process left out and that will come again.
    dropped: VecDeque<u64>,
    to_drop: VecDeque<u64>,
    /// Lines that are in no batch, and their bytes.
    waiting: VecDeque<Chunk>,
    waiting_bytes: usize,
    /// The ordinal and the sequence of the first of them.
    line: u64,
    seq: u64,
    /// So many of them the partition has already.
    skip: u64,
    /// That is not to be known: some of them will not come.
    cannot_skip: bool,
    /// The sequence behind the last one that was ever sent.
    sent_to: u64,
    /// Lines that the partition's leader has, and perhaps nobody else.
    pub(super) unconfirmed: Vec<Chunk>,
    /// Batches that are not answered, oldest first.
    pub(super) unanswered: VecDeque<Unanswered>,
    pub(super) phase: Phase,
    /// The most bytes of a batch.
    max: usize,
    /// Nothing is sent before.
    pub(super) retry_at: Mono,
    pub(super) error: Option<String>,
}

/// What is known about what the partition has of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has to be asked. `start`: the lines behind the position are not known yet.
    Unknown { start: bool },
    /// It was asked.
    Asked { start: bool },
    /// What comes next is known.
    Ready,
}

/// A batch that is not answered.
#[derive(Debug)]
pub(super) struct Unanswered {
    /// Tells it from all others.
    pub(super) serial: u64,
    /// The sequence and the ordinal of its first line.
    pub(super) first: u64,
    line: u64,
    pub(super) count: u32,
    pub(super) chunks: Vec<Chunk>,
    /// Its records; none while they are to be made.
    pub(super) batch: Bytes,
    /// Whether an answer is to come.
    pub(super) sent: bool,
    /// Whether its lines are taken for lines of now: their own time is out of bounds.
    pub(super) now: bool,
}

/// What a question about the last sequence has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Located {
    /// All is well.
    Well,
    /// The partition has more from our identity than we have sent.
    Foreign,
    /// It has some of the lines that come, and which they are cannot be counted.
    Uncountable,
    /// The partition has lost so many lines that it had acknowledged.
    Lost(u64),
}

impl Partition {
    /// A partition whose next line has this sequence. `to_drop` are lines without one, counted
    /// from there.
    pub(super) fn new(index: i32, base: u64, to_drop: VecDeque<u64>, phase: Phase) -> Self {
        Self {
            index,
            base,
            base_line: 0,
            dropped: VecDeque::new(),
            to_drop,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            line: 0,
            seq: base,
            skip: 0,
            cannot_skip: false,
            sent_to: base,
            unconfirmed: Vec::new(),
            unanswered: VecDeque::new(),
            phase,
            max: RECORDS_MAX,
            retry_at: Mono::default(),
            error: None,
        }
    }

    /// The lines without a sequence, counted from the position.
    pub(super) fn left_out(&self) -> impl Iterator<Item = u64> {
        self.dropped.iter().chain(&self.to_drop).map(|line| line - self.base_line)
    }

    /// Lines to be written.
    pub(super) fn put(&mut self, chunk: Chunk) {
        self.waiting_bytes += chunk.lines.len();
        self.waiting.push_back(chunk);
    }

    /// The position has passed the next `lines` lines.
    pub(super) fn pass(&mut self, lines: u64) {
        self.base_line += lines;
        let before = self.dropped.len();
        while self.dropped.front().is_some_and(|line| *line < self.base_line) {
            self.dropped.pop_front();
        }
        self.base += lines - (before - self.dropped.len()) as u64;
    }

    /// Whether nothing is to be done for it.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.unanswered.is_empty()
    }

    /// Whether it has lines of ours already that have not come yet.
    pub(super) fn expects_more(&self) -> bool {
        self.skip > self.waiting.iter().map(|chunk| u64::from(chunk.count)).sum()
    }

    /// Whether a request with a batch of it is under way.
    pub(super) fn is_sent(&self) -> bool {
        self.unanswered.iter().any(|batch| batch.sent)
    }

    /// Puts all batches back into lines, to be cut anew.
    pub(super) fn unbatch(&mut self) {
        while let Some(batch) = self.unanswered.pop_back() {
            (self.seq, self.line) = (batch.first, batch.line);
            for chunk in batch.chunks.into_iter().rev() {
                self.waiting_bytes += chunk.lines.len();
                self.waiting.push_front(chunk);
            }
        }
    }

    /// Begins at a sequence anew: what the partition had is gone, or it is another one.
    pub(super) fn begin_at(&mut self, sequence: u64) {
        self.unbatch();
        // Lines between the position and here keep their distance.
        let distance = self.seq - self.base;
        self.seq = sequence.wrapping_add(SEQUENCES);
        self.base = self.seq - distance.min(SEQUENCES);
        self.skip = 0;
        self.sent_to = self.seq;
    }

    /// Takes in the last sequence that the partition has from us.
    pub(super) fn locate(&mut self, last: Option<i32>) -> Located {
        let start = !matches!(self.phase, Phase::Asked { start: false });
        self.phase = Phase::Ready;
        let Some(last) = last else { return Located::Well };
        let next = self.unanswered.front().map_or(self.seq, |batch| batch.first);
        let there = u64::from(last.unsigned_abs()) + 1;
        let ahead = (there + SEQUENCES - next % SEQUENCES) % SEQUENCES;
        if ahead == 0 {
            return Located::Well;
        }
        if ahead > SEQUENCES / 2 {
            self.begin_at(there);
            return Located::Lost(SEQUENCES - ahead);
        }
        if !start && next + ahead > self.sent_to {
            return Located::Foreign;
        }
        self.unbatch();
        self.skip = ahead;
        match std::mem::take(&mut self.cannot_skip) && start && self.forget_skip() {
            true => Located::Uncountable,
            false => Located::Well,
        }
    }

    /// Lines that would have come are missing, and so nobody can count which the partition has: it
    /// is sent all that still come. Returns whether some of them may come twice.
    pub(super) fn forget_skip(&mut self) -> bool {
        self.cannot_skip =
            matches!(self.phase, Phase::Unknown { start: true } | Phase::Asked { start: true });
        let skip = std::mem::take(&mut self.skip);
        self.seq += skip;
        self.base += skip;
        skip > 0
    }

    /// Passes over waiting lines that the partition has already, and over those that have no
    /// sequence, which are given back.
    pub(super) fn skim(&mut self) -> Vec<Chunk> {
        let mut refused = Vec::new();
        loop {
            while self.dropped.contains(&self.line) {
                self.line += 1;
            }
            let until = self.until_drop();
            let most = if until == 0 { 1 } else { self.skip.min(until) };
            if most == 0 {
                return refused;
            }
            let Some(chunk) = self.take_waiting(most, usize::MAX) else { return refused };
            let count = u64::from(chunk.count);
            if until == 0 {
                self.to_drop.pop_front();
                self.dropped.push_back(self.line);
                refused.push(chunk);
            } else {
                self.skip -= count;
                self.seq += count;
                self.unconfirmed.push(chunk);
            }
            self.line += count;
        }
    }

    /// How many lines are before the next one that is to be left out.
    fn until_drop(&self) -> u64 {
        self.to_drop.front().map_or(u64::MAX, |line| line - self.line)
    }

    fn take_waiting(&mut self, lines: u64, room: usize) -> Option<Chunk> {
        let front = self.waiting.front_mut()?;
        let mut rest = front.take_front(lines);
        let taken = rest.take_bytes(room);
        if front.count == 0 {
            self.waiting.pop_front();
        }
        if rest.count > 0 {
            // What does not fit goes back.
            self.waiting.push_front(rest);
        }
        self.waiting_bytes -= taken.lines.len();
        Some(taken)
    }

    /// Whether a new batch is to be made now.
    pub(super) fn wants_batch(&self) -> bool {
        let room = self.unanswered.len() < RECORDS_UNANSWERED_MAX;
        let enough = self.unanswered.is_empty() || self.waiting_bytes >= RECORDS_ENOUGH;
        let again = self.unanswered.iter().any(|batch| !batch.sent);
        room && enough && !again && !self.waiting.is_empty() && self.phase == Phase::Ready
    }

    /// Makes a batch of the first waiting lines.
    pub(super) fn next_batch(&mut self, serial: u64) -> bool {
        let (first, line) = (self.seq, self.line);
        let (mut chunks, mut count, mut bytes) = (Vec::new(), 0_u32, 0);
        while !self.dropped.contains(&self.line) {
            let (until, room) = (self.until_drop(), self.max.saturating_sub(bytes));
            let fits = |chunk: &Chunk| chunks.is_empty() || chunk.first_line() + OVERHEAD <= room;
            if until == 0 || !self.waiting.front().is_some_and(fits) {
                break;
            }
            let Some(chunk) = self.take_waiting(until, room.saturating_sub(OVERHEAD)) else {
                break;
            };
            bytes += chunk.size();
            count += chunk.count;
            self.line += u64::from(chunk.count);
            self.seq += u64::from(chunk.count);
            chunks.push(chunk);
        }
        self.sent_to = self.sent_to.max(self.seq);
        let batch = Bytes::new();
        let batch =
            Unanswered { serial, first, line, count, chunks, batch, sent: false, now: false };
        if count > 0 {
            self.unanswered.push_back(batch);
        }
        count > 0
    }

    /// The oldest batches up to the first that is not answered have been taken.
    pub(super) fn answered(&mut self, serial: u64) -> Vec<Chunk> {
        let mut done = std::mem::take(&mut self.unconfirmed);
        while let Some(front) = self.unanswered.front() {
            let last = front.serial == serial;
            // An answer to a later batch says that the partition has the earlier ones.
            done.extend(self.unanswered.pop_front().into_iter().flat_map(|batch| batch.chunks));
            if last {
                break;
            }
        }
        self.error = None;
        done
    }

    /// The batch of a serial number.
    pub(super) fn batch_mut(&mut self, serial: u64) -> Option<&mut Unanswered> {
        self.unanswered.iter_mut().find(|batch| batch.serial == serial)
    }

    /// A batch is too large: halves what may be in one; or, where it is a single line, leaves that
    /// out and gives it back. A line is only left out when no other batch is under way.
    pub(super) fn too_large(&mut self, serial: u64) -> Option<Chunk> {
        let batch = self.batch_mut(serial)?;
        batch.sent = false;
        if batch.count > 1 {
            let bytes: usize = batch.chunks.iter().map(Chunk::size).sum();
            self.max = (bytes.min(self.max) / 2).max(1);
            self.unbatch();
            return None;
        }
        let is_first = self.unanswered.front().is_some_and(|front| front.serial == serial);
        if !is_first || self.is_sent() {
            return None;
        }
        self.unbatch();
        self.dropped.push_back(self.line);
        self.take_waiting(1, usize::MAX)
    }
}
