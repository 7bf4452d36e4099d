//! Consumers: the outputs that read from spools, what each was given, and its position.
//!
//! A consumer gets lines as soon as they are durable: from memory while it keeps up, otherwise from
//! disk in large reads. Its position advances over lines that its output has completed: read by the
//! child, written to the file, acknowledged by the peer. Lines that the output was given but has
//! not completed are not in its ledger; they still belong to the spool.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::batch::Batch;
use crate::clock::Mono;
use crate::filter::Selector;
use crate::ids::{Identity, LaneId, NodeId};
use crate::limits::{DISK_RETRY, FEED_LOW, FEED_READ, FEED_WAITS};
use crate::output::worker::Kept;
use crate::spool::cursor::Cursor;
use crate::spool::reader::Missing;

use super::spool::SpoolState;

/// One consumer of a spool.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) spool: NodeId,
    /// Its name in the spool's folder.
    pub(super) reader: String,
    pub(super) selector: Selector,
    /// Set if its cursors are written only at checkpoints of its files.
    pub(super) is_exact: bool,
    /// Set once the spool is open and the position is known.
    begun: bool,
    /// Set if its output was removed by a reload: it is given no more.
    closed: bool,
    /// The next line it will be given.
    next: u64,
    /// The first line that is not completed, and how many selected lines after it are.
    pub(super) position: u64,
    done: u64,
    /// Selected lines that were completed before the daemon started.
    skip: u64,
    given: VecDeque<Given>,
    reading: bool,
    /// The size of what it was given last.
    large: u64,
    /// Since when it has waited for memory for as large a batch.
    short_since: Option<Mono>,
    retry_at: Option<Mono>,
    /// The position in its cursor on disk.
    saved: (u64, u64),
    /// For a file output: the cursor of a checkpoint that is still to be written.
    pub(super) checkpoint: Option<Cursor>,
    /// The notes of the last cursor on disk.
    notes: Vec<String>,
    /// When the last completed line was received.
    received: Option<SystemTime>,
}

/// Lines given to an output, and how many of them it selected.
#[derive(Debug)]
struct Given {
    first: u64,
    end: u64,
    lines: u64,
    /// Unknown for missing lines.
    received: Option<SystemTime>,
}

/// A read for a consumer of a spool.
#[derive(Debug)]
pub struct ReadJob {
    /// The consumer.
    pub lane: LaneId,
    /// The spool.
    pub spool: NodeId,
    /// Its folder.
    pub dir: PathBuf,
    /// The first line wanted.
    pub from: u64,
    /// The line at which the read must stop.
    pub until: u64,
    /// Approximate number of bytes.
    pub max: usize,
}

impl Consumer {
    pub(super) fn new(spool: NodeId, reader: String, selector: Selector, is_exact: bool) -> Self {
        Self {
            spool,
            reader,
            selector,
            is_exact,
            begun: false,
            closed: false,
            next: 0,
            position: 0,
            done: 0,
            skip: 0,
            given: VecDeque::new(),
            reading: false,
            large: 0,
            short_since: None,
            retry_at: None,
            saved: (0, 0),
            checkpoint: None,
            notes: Vec::new(),
            received: None,
        }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// When it is to be looked at again.
    pub(super) fn retry_at(&self) -> Option<Mono> {
        self.retry_at.into_iter().chain(self.waits_until()).min()
    }

    /// Starts at its cursor's position; without a cursor, where the least advanced sibling lane's
    /// cursor was; otherwise where the spool says. Returns what was kept in its cursor.
    fn begin(&mut self, spool: &SpoolState) -> Kept {
        let output = self.reader.split(".lane").next().unwrap_or_default();
        let is_sibling = |name: &str| {
            name == output
                || name.strip_prefix(output).is_some_and(|rest| rest.starts_with(".lane"))
        };
        let cursor = spool.cursors.get(&self.reader).cloned();
        let siblings = spool.cursors.iter().filter(|(name, _)| is_sibling(name));
        self.begun = true;
        self.position = match &cursor {
            Some(cursor) => cursor.position,
            None => siblings.map(|(_, cursor)| cursor.position).min().unwrap_or(spool.held.start),
        };
        self.next = self.position;
        self.done = cursor.as_ref().map_or(0, |cursor| cursor.done);
        self.skip = self.done;
        self.saved = cursor.as_ref().map_or((u64::MAX, 0), |_| (self.position, self.done));
        cursor.map_or_else(Kept::default, |Cursor { files, notes, .. }| Kept { files, notes })
    }

    /// Marks `lines` delivered lines as completed.
    pub(super) fn advance(&mut self, lines: u64) {
        self.done += lines;
        while let Some(given) = self.given.front()
            && given.lines <= self.done
        {
            self.done -= given.lines;
            self.position = given.end;
            self.received = given.received.or(self.received);
            self.given.pop_front();
        }
        if let Some(given) = self.given.front() {
            self.position = given.first;
        }
    }

    pub(super) fn cursor(&self, spool: Identity, kept: Kept) -> Cursor {
        let Self { position, done, .. } = *self;
        Cursor {
            reader: self.reader.clone(),
            spool,
            position,
            done,
            files: kept.files,
            notes: kept.notes,
        }
    }

    /// What its successor gets, when its output has ended: the notes in the cursor on disk, which
    /// say nothing of another position than theirs. A successor does not truncate files.
    pub(super) fn kept_at_end(&self) -> Kept {
        match self.has_moved() {
            true => Kept::default(),
            false => Kept { notes: self.notes.clone(), ..Kept::default() },
        }
    }

    /// Returns whether its position differs from its cursor on disk.
    pub(super) fn has_moved(&self) -> bool {
        self.begun && self.saved != (self.position, self.done)
    }

    /// Notes that a cursor is on disk. Returns whether it was that of the checkpoint.
    fn saved(&mut self, cursor: &Cursor) -> bool {
        self.saved = (cursor.position, cursor.done);
        let is_checkpoint = self.checkpoint.as_ref() == Some(cursor);
        if is_checkpoint {
            self.checkpoint = None;
            self.notes.clone_from(&cursor.notes);
        }
        is_checkpoint
    }

    /// Replaces the selector.
    fn set_selector(&mut self, selector: Selector) {
        if *self.selector.plan() != *selector.plan() {
            self.selector = selector;
        }
    }

    /// Returns whether it takes lines that begin at `first` straight from memory.
    pub(super) fn takes_from_memory(&self, first: u64) -> bool {
        self.begun && !self.closed && !self.reading && self.next == first
    }

    /// Returns whether it has lines to read from disk and may do so now.
    pub(super) fn wants_read(&self, durable: u64) -> bool {
        let behind = self.begun && !self.closed && self.next < durable;
        behind && !self.reading && self.retry_at.is_none()
    }

    /// Returns whether a read from this line is running.
    pub(super) fn reads_from(&self, first: u64) -> bool {
        self.reading && !self.closed && self.next == first
    }

    /// Returns whether it waits for memory: its last line was large, and `free` is not enough for
    /// another. It does so for a while only, as others may keep what they have for as long as they
    /// like.
    pub(super) fn waits_for_memory(&mut self, free: u64, now: Mono) -> bool {
        if self.large <= FEED_LOW || self.large <= free {
            self.short_since = None;
            return false;
        }
        now.since(*self.short_since.get_or_insert(now)) < FEED_WAITS
    }

    /// Until when it does at most.
    fn waits_until(&self) -> Option<Mono> {
        self.short_since.map(|since| since + FEED_WAITS)
    }

    /// The next read from disk, if it can take more. `durable` is the line before which it may
    /// read.
    pub(super) fn next_read(&mut self, lane: LaneId, dir: &Path, durable: u64) -> Option<ReadJob> {
        if !self.wants_read(durable) {
            return None;
        }
        self.reading = true;
        let (spool, from, until) = (self.spool, self.next, durable);
        let dir = dir.to_path_buf();
        Some(ReadJob { lane, spool, dir, from, until, max: FEED_READ })
    }

    /// Allows a failed read to be retried once its time has come.
    pub(super) fn expire_retry(&mut self, now: Mono) {
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = None;
        }
    }

    /// Returns whether a reload has closed it: it takes no more lines.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn read_ended(&mut self) {
        self.reading = false;
    }

    pub(super) fn read_failed(&mut self, error: &str, now: Mono) {
        self.retry_at = Some(now + DISK_RETRY);
        log::error!("{}: {error}; reading again in {DISK_RETRY:?}", self.reader);
    }

    /// Notes a piece given to its output: lines `first` to `end`, of which it selected `chosen`.
    /// Leaves out lines that were completed before the daemon started.
    pub(super) fn give(&mut self, piece: &Batch, chosen: Option<Batch>) -> Option<Batch> {
        let numbers = piece.numbers?;
        let (first, end) = (numbers.first, numbers.last + 1);
        let lines = chosen.as_ref().map_or(0, |chosen| u64::from(chosen.lines));
        self.next = end;
        (self.large, self.short_since) = (piece.bytes.len() as u64, None);
        self.given.push_back(Given { first, end, lines, received: Some(piece.received) });
        self.advance(0);
        skip_lines(chosen?, &mut self.skip)
    }

    /// Notes lines that are missing from the spool. Returns whether nothing before them is in
    /// flight.
    pub(super) fn skip_missing(&mut self, gap: &Missing) -> bool {
        let all_completed = self.given.is_empty();
        self.next = self.next.max(gap.end);
        self.skip = 0;
        if all_completed {
            self.done = 0;
        }
        self.given.push_back(Given { first: gap.first, end: gap.end, lines: 0, received: None });
        self.advance(0);
        all_completed
    }

    /// Returns whether it has completed everything in its spool, or is given no more.
    pub(super) fn is_done(&self, spool: Option<&SpoolState>) -> bool {
        let at_end = |spool: &SpoolState| {
            self.begun && spool.queue.is_empty() && self.position >= spool.held.next
        };
        self.closed || spool.is_none_or(at_end)
    }

    /// Its lag: lines, and seconds between the spool's newest line and the last completed one.
    pub(super) fn lag(&self, spool: &SpoolState) -> (u64, f64) {
        let lines = spool.held.next.saturating_sub(self.position);
        if lines == 0 {
            return (0, 0.0);
        }
        let front = self.given.front().and_then(|given| given.received);
        let here = front.or(self.received);
        let lag =
            spool.newest.zip(here).and_then(|(newest, here)| newest.duration_since(here).ok());
        (lines, lag.map_or(0.0, |lag| lag.as_secs_f64()))
    }

    /// The first line that was not given to the output: what comes before, it has or has in memory.
    pub(super) fn next(&self) -> u64 {
        self.next.max(self.position)
    }

    /// The lines that the spool, whose oldest line is this one, dropped before they were given to
    /// the output: the first, and the one behind the last. A read that runs may still have found
    /// them.
    pub(super) fn dropped_unread(&self, oldest: u64) -> Option<(u64, u64)> {
        let is_behind = self.begun && !self.closed && !self.reading && self.next < oldest;
        is_behind.then_some((self.next, oldest))
    }

    /// When the oldest uncompleted durable line was received; if that line has not been read, when
    /// the last line before it was received.
    pub(super) fn waits_since(&self, spool: &SpoolState) -> Option<SystemTime> {
        match self.given.front() {
            Some(given) => given.received.or(self.received),
            None => self.received.filter(|_| self.begun && self.next < spool.held.durable),
        }
    }
}

/// Removes lines that were completed earlier; `None` if none are left.
fn skip_lines(mut batch: Batch, skip: &mut u64) -> Option<Batch> {
    if *skip == 0 {
        return Some(batch);
    }
    let lines = u64::from(batch.lines).min(*skip);
    *skip -= lines;
    if lines == u64::from(batch.lines) {
        return None;
    }
    let end = crate::batch::end_of_lines(&batch.bytes, lines);
    batch.cut_front(end);
    Some(batch)
}

/// All consumers.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    by_lane: BTreeMap<LaneId, Consumer>,
    by_spool: BTreeMap<NodeId, Vec<LaneId>>,
    /// Outputs that wait for memory.
    short: Vec<NodeId>,
}

impl Consumers {
    /// Adds a consumer. If the lane already has one, only its selector is replaced.
    pub(super) fn enter(&mut self, lane: LaneId, consumer: Consumer) {
        match self.by_lane.get_mut(&lane) {
            Some(before) => before.set_selector(consumer.selector),
            None => {
                self.by_spool.entry(consumer.spool).or_default().push(lane);
                self.by_lane.insert(lane, consumer);
            }
        }
    }

    pub(super) fn get(&self, lane: LaneId) -> Option<&Consumer> {
        self.by_lane.get(&lane)
    }

    pub(super) fn get_mut(&mut self, lane: LaneId) -> Option<&mut Consumer> {
        self.by_lane.get_mut(&lane)
    }

    /// The consumers of a spool.
    pub(super) fn of_spool(&self, spool: NodeId) -> impl Iterator<Item = (LaneId, &Consumer)> {
        let lanes = self.by_spool.get(&spool).into_iter().flatten();
        lanes.filter_map(|lane| Some((*lane, self.by_lane.get(lane)?)))
    }

    /// The lanes of a spool's consumers.
    pub(super) fn lanes_of(&self, spool: NodeId) -> Vec<LaneId> {
        self.by_spool.get(&spool).cloned().unwrap_or_default()
    }

    /// The consumers of an output.
    pub(super) fn of_output(&self, node: NodeId) -> impl Iterator<Item = (LaneId, &Consumer)> {
        let (first, last) = (node.only_lane(), LaneId { node, lane: u16::MAX });
        self.by_lane.range(first..=last).map(|(lane, consumer)| (*lane, consumer))
    }

    /// All consumers with their lanes.
    pub(super) fn iter(&self) -> impl Iterator<Item = (LaneId, &Consumer)> {
        self.by_lane.iter().map(|(lane, consumer)| (*lane, consumer))
    }

    /// Returns whether an output reads from a spool.
    pub(super) fn reads_from_spool(&self, node: NodeId) -> bool {
        self.by_lane.contains_key(&node.only_lane())
    }

    /// Returns whether a read for another consumer of the spool brings the lines from `first` on.
    pub(super) fn is_read_by_another(&self, lane: LaneId, spool: NodeId, first: u64) -> bool {
        self.of_spool(spool).any(|(other, consumer)| other != lane && consumer.reads_from(first))
    }

    /// Notes that an output waits for memory.
    pub(super) fn note_short(&mut self, node: NodeId) {
        if !self.short.contains(&node) {
            self.short.push(node);
        }
    }

    /// Takes the outputs that wait for memory.
    pub(super) fn take_short(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.short)
    }

    /// The names of a spool's readers.
    pub(super) fn readers(&self, spool: NodeId) -> Vec<String> {
        self.of_spool(spool).map(|(_, consumer)| consumer.reader.clone()).collect()
    }

    /// Starts a consumer of an open spool, unless a removed one of the same name has still to end.
    /// Returns what was kept in its cursor.
    pub(super) fn begin(&mut self, lane: LaneId, spool: &SpoolState) -> Option<Kept> {
        let consumer = self.by_lane.get(&lane)?;
        let is_predecessor = |(other, predecessor): (LaneId, &Consumer)| {
            other != lane && predecessor.reader == consumer.reader
        };
        if consumer.begun || !spool.opened || self.of_spool(consumer.spool).any(is_predecessor) {
            return None;
        }
        Some(self.by_lane.get_mut(&lane)?.begin(spool))
    }

    /// Returns whether another output, which replaced this one in a reload, waits to continue from
    /// its position.
    pub(super) fn is_succeeded(&self, node: NodeId) -> bool {
        self.of_output(node).any(|(_, consumer)| {
            let is_successor = |(lane, other): (LaneId, &Consumer)| {
                lane.node != node && !other.begun && other.reader == consumer.reader
            };
            consumer.closed && self.of_spool(consumer.spool).any(is_successor)
        })
    }

    /// Stops giving lines to the consumers of a removed output.
    pub(super) fn close(&mut self, node: NodeId) {
        let (first, last) = (node.only_lane(), LaneId { node, lane: u16::MAX });
        for (_, consumer) in self.by_lane.range_mut(first..=last) {
            consumer.closed = true;
        }
    }

    /// Removes the consumers of an output that has ended.
    pub(super) fn remove(&mut self, node: NodeId) -> Vec<Consumer> {
        let lanes: Vec<_> = self.of_output(node).map(|(lane, _)| lane).collect();
        let mut removed = Vec::new();
        for lane in lanes {
            let Some(consumer) = self.by_lane.remove(&lane) else { continue };
            if let Some(lanes) = self.by_spool.get_mut(&consumer.spool) {
                lanes.retain(|other| *other != lane);
            }
            removed.push(consumer);
        }
        removed
    }

    /// Notes that a reader's cursor is on disk. Returns the outputs whose checkpoint it was.
    pub(super) fn saved(&mut self, spool: NodeId, cursor: &Cursor) -> Vec<NodeId> {
        let mut checked = Vec::new();
        for lane in self.lanes_of(spool) {
            if let Some(consumer) = self.by_lane.get_mut(&lane)
                && consumer.reader == cursor.reader
                && consumer.saved(cursor)
            {
                checked.push(lane.node);
            }
        }
        checked
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::plan::SelectPlan;

    #[test]
    fn lines_that_are_missing_do_not_make_a_reader_older_than_it_is() {
        let selector = Selector::new(&SelectPlan::default(), "out").unwrap();
        let mut consumer = Consumer::new(NodeId(0), "out".into(), selector, false);
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        consumer.given.push_back(Given { first: 0, end: 2, lines: 2, received: Some(at) });
        consumer.given.push_back(Given { first: 2, end: 9, lines: 0, received: None });
        consumer.advance(2);
        assert_eq!((consumer.position, consumer.received), (9, Some(at)));
    }
}
