//! How a batch moves through the flow: each subscriber gets the lines it selects.

use crate::batch::Batch;
use crate::clock::Mono;
use crate::config::plan::Kind;
use crate::filter::patterns::Hits;
use crate::filter::squeeze::Squeezed;
use crate::filter::{PatternIds, gather};
use crate::ids::{LaneId, NodeId};
use crate::input::InputCounts;
use crate::ledger::{Count, Reason};
use crate::limits::SENDERS_MAX;
use crate::minute::Minute;

use super::Engine;
use super::graph::{Body, Lanes, Node, Sender};
use super::lane::{Completed, Lane};

impl Node {
    /// Enters a selection into the ledger: of `all` lines, `chosen` were selected and `held`
    /// exceeded the rate. The chosen lines themselves are not entered here.
    pub(super) fn note_selection(&mut self, all: &Batch, chosen: Option<&Batch>, held: Count) {
        let (all, minute) = (all.count(), all.minute);
        let chosen = chosen.map_or_else(Count::default, Batch::count);
        let (lines, bytes) = (all.lines - chosen.lines, all.bytes - chosen.bytes);
        if lines == 0 {
            return;
        }
        let rejected = Count { lines: lines - held.lines, bytes: bytes - held.bytes };
        self.ledger.enter(minute, Count { lines, bytes });
        self.ledger.drop(Reason::Rate, minute, held);
        self.ledger.reject(minute, rejected);
    }

    /// Notes that lines are about to be queued; restarts the stall timer if the queue was empty.
    pub(super) fn note_waiting(&mut self, now: Mono) {
        if self.held().lines == 0 {
            self.moved = now;
        }
    }

    /// Adds the counts of an input or of a process's output, and warns once when senders are
    /// forgotten.
    fn count_input(&mut self, counts: &InputCounts) {
        if self.counts.senders_forgotten == 0 && counts.senders_forgotten > 0 {
            log::warn!(
                "{}: more than {SENDERS_MAX} senders with sequence numbers: the least recently \
                 seen is forgotten, and lines that it loses until it sends again are not \
                 counted (senders_forgotten)",
                self.name
            );
        }
        self.counts.add(counts);
    }
}

impl Engine {
    /// Takes in lines of an input: all of them leave it.
    pub(super) fn receive(&mut self, id: NodeId, batch: &Batch) {
        let node = self.graph.node_mut(id);
        node.ledger.enter(batch.minute, batch.count());
        node.ledger.leave(batch.minute, batch.count());
        let sender = node.sender();
        self.publish(id, batch, sender);
    }

    /// Adds the counts of an input or of a process's output.
    pub(super) fn count_input(&mut self, id: NodeId, counts: &InputCounts, minute: Minute) {
        let node = self.graph.node_mut(id);
        node.count_input(counts);
        if counts.kernel_drops > 0 {
            node.ledger.minutes.at(minute).add_kernel_drops(counts.kernel_drops);
        }
        if counts.kernel_drops + counts.oversize + counts.sequence_lost > 0 {
            self.cx.touch(id);
        }
    }

    /// Offers what left a node to all its subscribers. Recursion is bounded: the flow has no cycles
    /// and is as deep as the configuration.
    pub(super) fn publish(&mut self, from: NodeId, batch: &Batch, sender: Sender) {
        let node = self.graph.node_mut(from);
        self.taps.copy(&node.name, batch);
        let mut stream = std::mem::take(&mut node.stream);
        if !stream.subscribers.is_empty() {
            stream.patterns.search(batch, &mut stream.hits);
            for &(subscriber, ids) in &stream.subscribers {
                self.offer(subscriber, batch, (ids, &mut stream.hits), sender);
            }
            let faults = stream.hits.take_faults();
            self.graph.node_mut(from).counts.faults.add(&faults);
        }
        self.graph.node_mut(from).stream = stream;
    }

    fn offer(
        &mut self,
        to: NodeId,
        batch: &Batch,
        (ids, hits): (PatternIds, &mut Hits),
        sender: Sender,
    ) {
        let node = self.graph.node_mut(to);
        let mut held = Count::default();
        let picked = node.selector.pick(batch, ids, hits, self.cx.now, &mut held);
        let chosen = gather(batch, &picked);
        node.note_selection(batch, chosen.as_ref(), held);
        if held.lines > 0 {
            self.cx.touch(to);
        }
        let Some(chosen) = chosen else { return };
        let chosen = node.formatted(chosen);
        node.ledger.enter(chosen.minute, chosen.count());
        if matches!(node.plan.body.kind(), Kind::Output | Kind::Spool) {
            self.taps.copy(&node.name, &chosen);
        }
        node.note_waiting(self.cx.now);
        match &mut node.body {
            Body::Pass => self.pass(to, &chosen, sender),
            Body::Lanes(_) => self.queue_for_lanes(to, chosen, sender),
            Body::Spool(_) => self.queue_for_spool(to, chosen, sender),
            Body::Input { .. } => debug_assert!(false, "an input takes from nobody"),
        }
    }

    /// Passes on what a filter without a process selected, with repeats joined if it does that.
    fn pass(&mut self, id: NodeId, chosen: &Batch, sender: Sender) {
        let now = self.cx.now;
        let node = self.graph.node_mut(id);
        let Some(squeezer) = &mut node.squeezer else {
            node.ledger.leave(chosen.minute, chosen.count());
            return self.publish(id, chosen, sender);
        };
        let squeezed = squeezer.push(chosen, now);
        self.publish_squeezed(id, &squeezed, sender);
        self.cx.touch(id);
    }

    /// Passes on the repeats whose time is over; all of them at the `end`.
    pub(super) fn squeeze(&mut self, id: NodeId, end: bool) {
        let now = self.cx.now;
        let Some(squeezer) = self.graph.get_mut(id).and_then(|node| node.squeezer.as_mut()) else {
            return;
        };
        let squeezed = if end { squeezer.end() } else { squeezer.expire(now) };
        self.publish_squeezed(id, &squeezed, Sender::GoesOn);
    }

    /// A line with a count takes the place of a repeat. The ledger counts its bytes both in and
    /// out, as those of a formatted line.
    fn publish_squeezed(&mut self, id: NodeId, squeezed: &Squeezed, sender: Sender) {
        let ledger = &mut self.graph.node_mut(id).ledger;
        ledger.drop_all(Reason::Repeated, &squeezed.dropped);
        ledger.enter_all(&squeezed.grown);
        for batch in &squeezed.batches {
            self.graph.node_mut(id).ledger.leave(batch.minute, batch.count());
            self.publish(id, batch, sender);
        }
    }

    /// Gives each lane its share, or everything to the lane with the least load. Lines received
    /// from a logweir that are in no spool here have no number of their own.
    fn queue_for_lanes(&mut self, to: NodeId, mut batch: Batch, sender: Sender) {
        batch.numbers = None;
        let Some(Node { plan, body: Body::Lanes(lanes), ledger, .. }) = self.graph.get_mut(to)
        else {
            return;
        };
        let minute = batch.minute;
        let blocks = super::shape::blocks_at(&plan.body).is_some();
        let Lanes { lanes, partitioner, .. } = lanes;
        let cx = &mut self.cx;
        let mut queue = |lane: &mut Lane, batch: Batch| {
            if blocks || sender == Sender::Waits && !lane.patience.is_over() {
                return lane.push(batch, cx);
            }
            let lost = lane.offer(batch, cx);
            ledger.drop(lane.refusal(), minute, lost);
        };
        let Some(partitioner) = partitioner else {
            if let Some(lane) = lanes.iter_mut().min_by_key(|lane| lane.load()) {
                queue(lane, batch);
                self.cx.touch(to);
            }
            return;
        };
        for (number, lane) in (0..).zip(lanes.iter_mut()) {
            if let Some(share) = partitioner.share(&batch, number) {
                queue(lane, share);
            }
        }
        partitioner.assigned(&batch);
        self.cx.touch(to);
    }

    /// Accounts for lines that a lane has completed: they left it, or were dropped for a reason.
    /// Lines from a spool enter the ledger only now.
    pub(super) fn complete(&mut self, lane: LaneId, completed: Completed) {
        let Completed { left, lost, reason } = completed;
        let lines = left.sum().lines + lost.sum().lines;
        if lines == 0 {
            return;
        }
        let node = self.graph.node_mut(lane.node);
        node.moved = self.cx.now;
        let consumer = self.consumers.get_mut(lane);
        if consumer.is_some() {
            node.ledger.enter_all(&left);
            node.ledger.enter_all(&lost);
        }
        node.ledger.leave_all(&left);
        if let Some(reason) = reason {
            node.ledger.drop_all(reason, &lost);
        }
        self.cx.touch(lane.node);
        if let Some(consumer) = consumer {
            consumer.advance(lines);
            self.cx.touch(consumer.spool);
        }
        // Whoever waits for memory may have it now.
        for short in self.consumers.take_short() {
            self.cx.touch(short);
        }
    }
}
