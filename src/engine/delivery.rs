//! Delivery from a spool to its consumers: newly durable lines, lines read from disk, and gaps.

use crate::batch::Batch;
use crate::filter::gather;
use crate::filter::patterns::Hits;
use crate::forward::partition;
use crate::ids::{LaneId, NodeId};
use crate::ledger::tally::Tally;
use crate::ledger::{Count, Reason};
use crate::limits::{FEED_HIGH, FEED_LOW, LINES_FRAME_MAX};
use crate::spool::reader::{Missing, Read};

use super::graph::Body;
use super::lane::{Lane, Sink};
use super::{Action, DiskJob, DiskWork, Engine, shape};

impl Engine {
    /// Starts the consumers of an open spool at their cursors. Sets each lane's identity, and the
    /// lengths to which files are truncated.
    pub(super) fn begin_consumers(&mut self, spool: NodeId) {
        for lane in self.consumers.lanes_of(spool) {
            let Some(state) = self.graph.spool(spool) else { return };
            let (identity, held_to) = (state.identity, state.held.durable);
            let Some(kept) = self.consumers.begin(lane, state) else { continue };
            let position = self.consumers.get(lane).map_or(0, |consumer| consumer.position);
            if let Some(forward) = self.graph.node(lane.node).plan.body.forward() {
                let identity = partition::identity(identity, forward, lane.lane);
                if let Some(connection) = self.graph.lane_mut(lane).and_then(Lane::connection_mut) {
                    connection.begin(identity, position);
                }
            }
            self.restore(lane.node, kept, held_to);
            self.cx.touch(lane.node);
        }
    }

    /// Gives newly durable lines to the consumers that have been given everything before them.
    pub(super) fn deliver(&mut self, spool: NodeId, durable: Vec<Batch>) {
        let lanes = self.consumers.lanes_of(spool);
        for batch in durable {
            let first = batch.numbers.map_or(0, |numbers| numbers.first);
            for &lane in &lanes {
                let Some(consumer) = self.consumers.get(lane) else { continue };
                if consumer.takes_from_memory(first) && self.fill_of(lane) < FEED_HIGH {
                    self.give(lane, batch.clone());
                }
            }
        }
    }

    /// Reads more for a consumer whose queue is running low.
    pub(super) fn refill(&mut self, lane: LaneId) {
        if self.fill_of(lane) >= FEED_LOW {
            return;
        }
        let Some(consumer) = self.consumers.get(lane) else { return };
        let Some(node) = self.graph.get(consumer.spool) else { return };
        let (Body::Spool(spool), Some(plan)) = (&node.body, shape::spool(&node.plan.body)) else {
            return;
        };
        let durable = spool.held.durable;
        // What another one reads from the same line on is given to both.
        if !consumer.wants_read(durable)
            || self.consumers.is_read_by_another(lane, consumer.spool, consumer.next())
        {
            return;
        }
        let Some(consumer) = self.consumers.get_mut(lane) else { return };
        if consumer.waits_for_memory(self.cx.budget.free(), self.cx.now) {
            return self.consumers.note_short(lane.node);
        }
        if let Some(job) = consumer.next_read(lane, &plan.dir, durable) {
            self.cx.act(Action::Read(job));
        }
    }

    pub(super) fn spool_read(&mut self, lane: LaneId, read: Result<Read, String>) {
        let Some(consumer) = self.consumers.get_mut(lane) else { return };
        consumer.read_ended();
        let spool = consumer.spool;
        let lanes = self.consumers.lanes_of(spool);
        // Others may have waited for what this read brings.
        lanes.iter().for_each(|other| self.cx.touch(other.node));
        self.cx.touch(lane.node);
        let Some(consumer) = self.consumers.get_mut(lane) else { return };
        // A reload has closed it, and the spool's stream no longer selects for it. Its successor
        // reads these lines.
        if consumer.is_closed() {
            return;
        }
        let read = match read {
            Ok(read) => read,
            Err(error) => return consumer.read_failed(&error, self.cx.now),
        };
        for damage in &read.damage {
            log::error!(
                "{}: {} bytes at byte {} of {} are damaged; a copy is in quarantine/",
                consumer.reader,
                damage.bytes,
                damage.at,
                damage.segment.display()
            );
        }
        let mut missing = read.missing.into_iter().peekable();
        for batch in read.batches {
            let first = batch.numbers.map_or(0, |numbers| numbers.first);
            while let Some(gap) = missing.next_if(|gap| gap.first < first) {
                self.note_missing(lane, gap);
            }
            for &other in lanes.iter().filter(|other| **other != lane) {
                let takes = self.consumers.get(other).is_some_and(|c| c.takes_from_memory(first));
                if takes && self.fill_of(other) < FEED_LOW {
                    self.give(other, batch.clone());
                }
            }
            self.give(lane, batch);
        }
        for gap in missing {
            self.note_missing(lane, gap);
        }
    }

    /// Records lines that are missing from the spool.
    fn note_missing(&mut self, lane: LaneId, gap: Missing) {
        let lost = self.date_range(lane, &gap);
        let Some(consumer) = self.consumers.get_mut(lane) else { return };
        let reason = if gap.damaged { Reason::Damaged } else { Reason::SpoolFull };
        let what = if gap.damaged { "are damaged" } else { "were dropped before they were read" };
        log::warn!("{}: lines {} to {} {what}", consumer.reader, gap.first, gap.end - 1);
        let all_completed = consumer.skip_missing(&gap);
        let ledger = &mut self.graph.node_mut(lane.node).ledger;
        ledger.enter_all(&lost);
        ledger.drop_all(reason, &lost);
        match self.graph.lane_mut(lane).map(|lane| &mut lane.sink) {
            Some(Sink::Connection(connection)) => connection.note_gap(gap, all_completed),
            Some(Sink::Jobs(_)) => {
                let (node, work) = (lane.node, DiskWork::Missing);
                self.cx.act(Action::Disk(DiskJob { node, work }));
            }
            _ => {}
        }
    }

    /// The missing lines that would have been the lane's, by the minute in which they were first
    /// received. Their bytes are not known.
    fn date_range(&self, lane: LaneId, gap: &Missing) -> Tally {
        let spool = self.consumers.get(lane).and_then(|one| self.graph.spool(one.spool));
        let mut lost = Tally::default();
        for (first, end, minute) in spool.into_iter().flat_map(|one| one.dates.of(gap)) {
            let lines = self.share_of_range(lane, first, end);
            lost.add(minute, Count { lines, bytes: 0 });
        }
        lost
    }

    /// Lines that its spool dropped before an output was given them. They enter its ledger when it
    /// comes to them.
    pub(super) fn dropped_unread(&self, output: NodeId) -> u64 {
        let consumers = self.consumers.of_output(output);
        let lost = consumers.filter_map(|(lane, consumer)| {
            let oldest = self.graph.spool(consumer.spool)?.held.oldest;
            let (first, end) = consumer.dropped_unread(oldest)?;
            Some(self.share_of_range(lane, first, end))
        });
        lost.sum()
    }

    /// The number of lines from `first` to `end` that would have been the lane's, as far as that
    /// can be known.
    fn share_of_range(&self, lane: LaneId, first: u64, end: u64) -> u64 {
        let node = self.graph.node(lane.node);
        let lanes = match node.plan.body.forward() {
            Some(_) => node.lanes().len().max(1) as u64,
            None => 1,
        };
        let before = |number: u64| (number + lanes - 1 - u64::from(lane.lane)) / lanes;
        before(end) - before(first)
    }

    /// Gives an output lines of its spool; a peer's lines in pieces whose encoding fits a frame.
    fn give(&mut self, lane: LaneId, batch: Batch) {
        let forward = self.graph.node(lane.node).plan.body.forward();
        let format = forward.map(|plan| plan.format.clone());
        let fits = |piece: &Batch| {
            format.as_ref().is_none_or(|format| format.most(piece.count()) <= LINES_FRAME_MAX)
        };
        let mut rest = vec![batch];
        while let Some(mut batch) = rest.pop() {
            let first = if fits(&batch) { None } else { cut(&mut batch) };
            match first {
                None => self.give_piece(lane, &batch),
                Some(first) => rest.extend([batch, first]),
            }
        }
    }

    fn give_piece(&mut self, lane: LaneId, piece: &Batch) {
        let mine = match &mut self.graph.node_mut(lane.node).body {
            Body::Lanes(lanes) => match &mut lanes.partitioner {
                Some(partitioner) => partitioner.share(piece, lane.lane),
                None => Some(piece.clone()),
            },
            _ => None,
        };
        let chosen = mine.and_then(|mine| self.select_for(lane, &mine));
        let Some(consumer) = self.consumers.get_mut(lane) else { return };
        if let Some(rest) = consumer.give(piece, chosen) {
            self.push_to(lane, rest);
        }
        let spool = self.consumers.get(lane).map(|consumer| consumer.spool);
        spool.into_iter().for_each(|spool| self.cx.touch(spool));
    }

    /// The lines of a spool that the output selects.
    fn select_for(&mut self, lane: LaneId, batch: &Batch) -> Option<Batch> {
        let spool = self.consumers.get(lane)?.spool;
        let stream = std::mem::take(&mut self.graph.node_mut(spool).stream);
        let mut hits = Hits::default();
        stream.patterns.search(batch, &mut hits);
        let ids = stream.subscribers.iter().find(|(node, _)| *node == lane.node);
        let mut held = Count::default();
        let consumer = self.consumers.get_mut(lane)?;
        let chosen = ids.and_then(|(_, ids)| {
            let picked = consumer.selector.pick(batch, *ids, &mut hits, self.cx.now, &mut held);
            gather(batch, &picked)
        });
        self.graph.node_mut(spool).stream = stream;
        let node = self.graph.node_mut(lane.node);
        node.counts.faults.add(&hits.take_faults());
        node.note_selection(batch, chosen.as_ref(), held);
        if held.lines > 0 {
            self.cx.touch(lane.node);
        }
        chosen
    }

    /// Puts selected lines into the output's queue. They enter its ledger when they are completed.
    fn push_to(&mut self, lane: LaneId, batch: Batch) {
        let node = self.graph.node_mut(lane.node);
        let mut batch = node.formatted(batch);
        self.taps.copy(&node.name, &batch);
        node.note_waiting(self.cx.now);
        let Some(entry) = self.graph.lane_mut(lane) else { return };
        if let Some(connection) = entry.connection_mut() {
            connection.cover(&mut batch);
        }
        entry.push(batch, &mut self.cx);
        self.cx.touch(lane.node);
    }

    /// Bytes waiting in a lane's queue.
    fn fill_of(&self, lane: LaneId) -> u64 {
        self.graph.lane(lane).map_or(0, |lane| lane.queue.fill().0)
    }

    /// Returns whether all consumers of an output have completed their spool.
    pub(super) fn consumers_are_done(&self, node: NodeId) -> bool {
        let done = |consumer: &super::consumer::Consumer| {
            consumer.is_done(self.graph.spool(consumer.spool))
        };
        self.consumers.of_output(node).all(|(_, consumer)| done(consumer))
    }

    /// Removes the consumers of an output that has ended, keeps their positions, and starts their
    /// successors.
    pub(super) fn remove_consumers(&mut self, node: NodeId) {
        for consumer in self.consumers.remove(node) {
            let id = consumer.spool;
            if let Some(spool) = self.graph.spool_mut(id) {
                if consumer.has_begun() {
                    let cursor = consumer.cursor(spool.identity, consumer.kept_at_end());
                    spool.keep_cursor(cursor, !consumer.is_exact && consumer.has_moved());
                }
                spool.expect_housekeeping();
            }
            self.begin_consumers(id);
            self.update_readers(id);
            self.cx.touch(id);
        }
    }
}

/// Splits off the first half of a piece that has several lines.
fn cut(batch: &mut Batch) -> Option<Batch> {
    let len = batch.bytes.len();
    let first_line = memchr::memchr(b'\n', &batch.bytes).map_or(len, |at| at + 1);
    let room = LINES_FRAME_MAX.min(len / 2).max(first_line);
    if room < len { batch.split_to(room) } else { None }
}
