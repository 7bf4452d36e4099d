//! Consumers: the outputs that read from spools, what each has been given, and how far it is.
//!
//! A consumer gets lines as soon as they are durable, from memory as long as it keeps up, else
//! from disk in large reads. Its position moves over lines that its output has completed: read by
//! the child, written to the file, answered by the peer. Lines that the output was given and has
//! not completed count as neither in nor out of it: they are still the spool's.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::SystemTime;

use crate::batch::Batch;
use crate::clock::Mono;
use crate::filter::Selector;
use crate::ids::{Identity, LaneId, NodeId};
use crate::limits::{DISK_RETRY, FEED_READ};
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
    /// Whether its cursors are made at checkpoints of its files only.
    pub(super) is_exact: bool,
    /// Set once the spool is open and the position known.
    begun: bool,
    /// Its output was removed by a reload and is given no more.
    closed: bool,
    /// The line that it is given next.
    next: u64,
    /// The first line that is not completed, and how many of those selected behind it are.
    pub(super) position: u64,
    done: u64,
    /// How many selected lines were completed before the daemon started.
    skip: u64,
    given: VecDeque<Given>,
    reading: bool,
    retry_at: Option<Mono>,
    /// What its cursor on disk says.
    saved: (u64, u64),
    /// For a file output: the files at the last checkpoint, with the position there.
    pub(super) checkpoint: Option<Cursor>,
    /// When the last completed line was received.
    received: Option<SystemTime>,
}

/// Lines given to an output, and how many of them it was to take.
#[derive(Debug)]
struct Given {
    first: u64,
    end: u64,
    lines: u64,
    /// Unknown for lines that are missing.
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
    /// Its identity.
    pub identity: Identity,
    /// The first line wanted.
    pub from: u64,
    /// The line up to which it may read.
    pub until: u64,
    /// About how many bytes.
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
            retry_at: None,
            saved: (0, 0),
            checkpoint: None,
            received: None,
        }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    pub(super) fn retry_at(&self) -> Option<Mono> {
        self.retry_at
    }

    /// Begins where its cursor says; without one where the least advanced sibling lane's cursor
    /// was, else at the oldest line. Gives the files of its cursor.
    fn begin(&mut self, spool: &SpoolState) -> Vec<(PathBuf, u64)> {
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
            None => siblings.map(|(_, cursor)| cursor.position).min().unwrap_or(spool.held.oldest),
        };
        self.next = self.position;
        self.done = cursor.as_ref().map_or(0, |cursor| cursor.done);
        self.skip = self.done;
        self.saved = cursor.as_ref().map_or((u64::MAX, 0), |_| (self.position, self.done));
        cursor.map_or_else(Vec::new, |cursor| cursor.files)
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

    pub(super) fn cursor(&self, spool: Identity, files: Vec<(PathBuf, u64)>) -> Cursor {
        let Self { position, done, .. } = *self;
        Cursor { reader: self.reader.clone(), spool, position, done, files }
    }

    /// Whether its cursor on disk is not where it is.
    pub(super) fn has_moved(&self) -> bool {
        self.begun && self.saved != (self.position, self.done)
    }

    /// A cursor of it is on disk; whether it was the one of its checkpoint.
    fn saved(&mut self, cursor: &Cursor) -> bool {
        self.saved = (cursor.position, cursor.done);
        let is_checkpoint = self.checkpoint.as_ref() == Some(cursor);
        if is_checkpoint {
            self.checkpoint = None;
        }
        is_checkpoint
    }

    /// Puts another selection in force.
    pub(super) fn set_selector(&mut self, selector: Selector) {
        if *self.selector.plan() != *selector.plan() {
            self.selector = selector;
        }
    }

    /// Whether it takes lines that begin with `first` straight from memory.
    pub(super) fn takes_from_memory(&self, first: u64) -> bool {
        self.begun && !self.closed && !self.reading && self.next == first
    }

    /// A read from disk for it, where it wants more than it has been given. `durable` is the line
    /// up to which it may be given lines.
    pub(super) fn next_read(
        &mut self,
        lane: LaneId,
        dir: PathBuf,
        identity: Identity,
        durable: u64,
    ) -> Option<ReadJob> {
        let behind = self.begun && !self.closed && self.next < durable;
        if !behind || self.reading || self.retry_at.is_some() {
            return None;
        }
        self.reading = true;
        let (spool, from, until) = (self.spool, self.next, durable);
        Some(ReadJob { lane, spool, dir, identity, from, until, max: FEED_READ })
    }

    /// Lets a failed read be tried again once its time has come.
    pub(super) fn expire_retry(&mut self, now: Mono) {
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = None;
        }
    }

    pub(super) fn read_ended(&mut self) {
        self.reading = false;
    }

    pub(super) fn read_failed(&mut self, error: &str, now: Mono) {
        self.retry_at = Some(now + DISK_RETRY);
        log::error!("{}: {error}; reading again in {DISK_RETRY:?}", self.reader);
    }

    /// Notes a piece that its output was given: lines `first` to `end`, of which it takes `chosen`.
    /// Leaves out what was completed before the daemon started.
    pub(super) fn give(&mut self, piece: &Batch, chosen: Option<Batch>) -> Option<Batch> {
        let numbers = piece.numbers?;
        let (first, end) = (numbers.first, numbers.last + 1);
        let lines = chosen.as_ref().map_or(0, |chosen| u64::from(chosen.lines));
        self.next = end;
        self.given.push_back(Given { first, end, lines, received: Some(piece.received) });
        self.advance(0);
        skip_lines(chosen?, &mut self.skip)
    }

    /// Notes lines that it should have been given and that are not there; whether nothing before
    /// them is under way.
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

    /// Whether it has completed all that is in its spool, or is given no more.
    pub(super) fn is_done(&self, spool: Option<&SpoolState>) -> bool {
        let at_end = |spool: &SpoolState| {
            self.begun && spool.queue.is_empty() && self.position >= spool.held.next
        };
        self.closed || spool.is_none_or(at_end)
    }

    /// How far behind it is: lines, and seconds between the newest line of the spool and the last
    /// completed one.
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

    /// When the oldest durable line was received that it has not completed; where that was not
    /// read yet, when the last line before it was.
    pub(super) fn waits_since(&self, spool: &SpoolState) -> Option<SystemTime> {
        match self.given.front() {
            Some(given) => given.received.or(self.received),
            None => self.received.filter(|_| self.begun && self.next < spool.held.durable),
        }
    }
}

/// Leaves out lines that were completed before; `None` where none are left.
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
}

impl Consumers {
    /// Enters a consumer, unless the lane has one; then that one has this selection.
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

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (LaneId, &Consumer)> {
        self.by_lane.iter().map(|(lane, consumer)| (*lane, consumer))
    }

    /// Whether an output reads from a spool.
    pub(super) fn is_fed(&self, node: NodeId) -> bool {
        self.by_lane.contains_key(&node.only_lane())
    }

    /// The names of a spool's readers.
    pub(super) fn readers(&self, spool: NodeId) -> Vec<String> {
        self.of_spool(spool).map(|(_, consumer)| consumer.reader.clone()).collect()
    }

    /// Has a consumer of a spool that is open begin, unless one of the same name, which a reload
    /// removed, has still to end. Gives the files of its cursor.
    pub(super) fn begin(
        &mut self,
        lane: LaneId,
        spool: &SpoolState,
    ) -> Option<Vec<(PathBuf, u64)>> {
        let consumer = self.by_lane.get(&lane)?;
        let is_predecessor = |(other, predecessor): (LaneId, &Consumer)| {
            other != lane && predecessor.reader == consumer.reader
        };
        if consumer.begun || !spool.opened || self.of_spool(consumer.spool).any(is_predecessor) {
            return None;
        }
        Some(self.by_lane.get_mut(&lane)?.begin(spool))
    }

    /// Whether another output, which a reload put in the place of this one, waits to read on where
    /// it stops.
    pub(super) fn is_succeeded(&self, node: NodeId) -> bool {
        self.of_output(node).any(|(_, consumer)| {
            let is_successor = |(lane, other): (LaneId, &Consumer)| {
                lane.node != node && !other.begun && other.reader == consumer.reader
            };
            consumer.closed && self.of_spool(consumer.spool).any(is_successor)
        })
    }

    /// The consumers of an output that is removed are given no more.
    pub(super) fn close(&mut self, node: NodeId) {
        let (first, last) = (node.only_lane(), LaneId { node, lane: u16::MAX });
        for (_, consumer) in self.by_lane.range_mut(first..=last) {
            consumer.closed = true;
        }
    }

    /// Takes out the consumers of an output that has ended.
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

    /// A cursor of a spool's reader is on disk; the outputs whose checkpoint it was.
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
