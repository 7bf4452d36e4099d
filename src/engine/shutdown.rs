//! Shutdown of the whole daemon or of a node that a reload removed. Lines drain in the direction of
//! the flow: a node ends when nothing can reach it any more and its queue is empty, or when the
//! grace is over.

use crate::clock::Mono;
use crate::filter::squeeze::Squeezer;
use crate::ids::NodeId;
use crate::ledger::tally::Tally;
use crate::ledger::{Count, REASONS, Reason};
use crate::limits::CLOSE_MIN;

use super::graph::{Body, Node};
use super::sums::Counts;
use super::{Action, Engine};

impl Engine {
    /// Begins shutdown: the driver stops its inputs, and waiting lines drain until the grace is
    /// over.
    pub fn terminate(&mut self, now: Mono) {
        if self.ending.is_none() {
            self.ending = Some(now + self.plan.daemon.grace);
            self.cx.now = now;
            self.touch_all();
            self.settle();
        }
    }

    /// Returns whether the daemon is ending.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Returns whether every input has ended by itself, so that nothing more can come.
    pub fn inputs_ended(&self) -> bool {
        self.open_inputs == 0
    }

    /// Returns whether shutdown is complete: all queues are empty and all children have ended.
    pub fn is_done(&self) -> bool {
        self.ending.is_some() && self.unfinished == 0
    }

    /// When a node's lines are given up.
    pub(super) fn given_up_at(&self, node: &Node) -> Option<Mono> {
        node.retired.or(self.ending)
    }

    /// Ends a node if it should end and can.
    pub(super) fn progress(&mut self, id: NodeId) {
        let Some(node) = self.graph.get(id) else { return };
        let Some(deadline) = self.given_up_at(node) else { return };
        let given_up = self.cx.now >= deadline;
        let stalled = self.cx.now >= deadline + CLOSE_MIN;
        if given_up {
            self.give_up(id, stalled);
        }
        if given_up || self.is_unreachable(id) {
            self.squeeze(id, true);
            self.end_node(id, given_up, stalled);
        }
        if self.has_ended(id) {
            self.finish(id);
        }
    }

    /// Returns whether no more lines can reach a node.
    fn is_unreachable(&self, id: NodeId) -> bool {
        let node = self.graph.node(id);
        if node.retired.is_some() {
            return true;
        }
        if self.consumers.reads_from_spool(id) {
            return self.ending.is_some() && self.consumers_are_done(id);
        }
        let has_finished =
            |name: &String| self.graph.find(name).is_none_or(|from| self.graph.node(from).finished);
        self.ending.is_some() && node.plan.from.iter().all(has_finished)
    }

    /// Returns whether nothing is left in a node and nothing more can come out of it.
    fn has_ended(&self, id: NodeId) -> bool {
        let node = self.graph.node(id);
        match &node.body {
            Body::Input { ended } => *ended || node.retired.is_some(),
            Body::Pass => self.is_unreachable(id),
            Body::Lanes(lanes) => {
                let needs_end = lanes.lanes.iter().any(|lane| lane.ends_with_its_node());
                (!needs_end || self.is_unreachable(id))
                    && lanes.lanes.iter().all(super::lane::Lane::has_ended)
            }
            Body::Spool(spool) => spool.closed,
        }
    }

    /// A node has ended: those downstream may end too, and a retired one is removed.
    fn finish(&mut self, id: NodeId) {
        let Some(node) = self.graph.get_mut(id) else { return };
        if !node.finished {
            node.finished = true;
            self.unfinished -= 1;
            for &(subscriber, _) in &node.stream.subscribers {
                self.cx.touch(subscriber);
            }
            for (_, consumer) in self.consumers.of_output(id) {
                self.cx.touch(consumer.spool);
            }
            for (lane, _) in self.consumers.of_spool(id) {
                self.cx.touch(lane.node);
            }
        }
        if self.graph.node(id).retired.is_some() {
            self.remove(id);
        }
    }

    /// Ends a node's children, and closes its links or files, once nothing waits for them.
    fn end_node(&mut self, id: NodeId, given_up: bool, stalled: bool) {
        let Some(node) = self.graph.get_mut(id) else { return };
        match &mut node.body {
            Body::Spool(_) => self.end_spool(id, stalled),
            Body::Lanes(lanes) => {
                for lane in &mut lanes.lanes {
                    lane.end(stalled, &mut self.cx);
                }
                self.end_connections(id, given_up);
            }
            Body::Input { .. } | Body::Pass => {}
        }
    }

    /// The grace is over: drops and counts what waits. Lines that an output was given from a spool
    /// are still in the spool and not lost.
    fn give_up(&mut self, id: NodeId, stalled: bool) {
        let from_spool = self.consumers.reads_from_spool(id);
        let Some(node) = self.graph.get_mut(id) else { return };
        let mut lost = Tally::default();
        match &mut node.body {
            Body::Spool(spool) => lost = spool.give_up(stalled, &mut self.cx),
            Body::Lanes(lanes) => {
                let given_up = lanes
                    .lanes
                    .iter_mut()
                    .filter(|lane| !from_spool || !lane.keeps_spooled_lines());
                for lane in given_up {
                    lost.add_all(&lane.give_up(stalled, &mut self.cx));
                }
            }
            Body::Input { .. } | Body::Pass => {}
        }
        let lines = lost.sum().lines;
        if lines > 0 && !from_spool {
            node.ledger.drop_all(Reason::Shutdown, &lost);
            let what = match node.is_spool() {
                true => "were not written to disk",
                false => "were still waiting and are dropped",
            };
            log::warn!("{}: {lines} lines {what}", node.name);
        }
    }

    /// Removes a retired node that has ended.
    fn remove(&mut self, id: NodeId) {
        // What its processes left unread at their end.
        self.give_up(id, true);
        log::info!("{}", self.ledger_line(id));
        self.remove_consumers(id);
        self.forget_in_barriers(id);
        let Some(mut node) = self.graph.remove(id) else { return };
        Self::report_losses(id, &mut node, None, &mut self.cx);
        self.keep_sums_of(&node);
        self.keep_minutes_of(&node);
        if matches!(node.body, Body::Input { ended: false }) {
            self.open_inputs -= 1;
        }
        for lane in node.lanes() {
            self.unread.remove(&lane.id);
        }
        self.cx.act(Action::Forget(id));
        self.cx.agenda.forget(id);
        self.backpressure.forget(id);
        if self.graph.iter().all(|(_, other)| other.name != node.name) {
            self.taps.end_of_node(&node.name);
        }
        self.shares_changed = true;
    }

    /// A node's ledger on one line, as logged at shutdown.
    pub(super) fn ledger_line(&self, id: NodeId) -> String {
        let node = self.graph.node(id);
        // Its successor has the sums of a node that goes.
        let ledger = match node.retired {
            Some(_) => Counts::of(&node.ledger),
            None => node.sums().ledger,
        };
        let waiting = self.queued_in(id);
        let mut line = format!(
            "ledger: {} {}: in {} out {} not_selected {}",
            node.plan.body.kind().word(),
            node.name,
            ledger.entered.lines,
            ledger.left.lines,
            ledger.not_selected.lines
        );
        for (reason, dropped) in REASONS.into_iter().zip(ledger.dropped) {
            if dropped.lines > 0 {
                line.push_str(&format!(" {} {}", reason.word(), dropped.lines));
            }
        }
        line.push_str(&format!(" queued {}", waiting.lines));
        if let Some(spool) = self.graph.spool(id) {
            for (_, consumer) in self.consumers.of_spool(id) {
                let (name, position) = (&consumer.reader, consumer.position);
                let lag = consumer.lag(spool).0;
                line.push_str(&format!(" reader {name} at {position} ({lag} lines behind)"));
            }
        }
        if node.is_input() {
            line.push_str(&format!(" kernel_drops {}", node.counts.kernel_drops));
        }
        if !node.ledger.balances(waiting) {
            line.push_str(" DOES NOT BALANCE");
        }
        line
    }

    /// Lines waiting in a node; those queued for an output that reads from a spool count as the
    /// spool's.
    pub(super) fn queued_in(&self, id: NodeId) -> Count {
        if self.consumers.reads_from_spool(id) {
            return Count::default();
        }
        let node = self.graph.node(id);
        node.squeezer.as_ref().map_or_else(|| node.held(), Squeezer::held)
    }

    /// Drops and counts everything that still waits, and logs every node's ledger.
    pub fn close_ledgers(&mut self) {
        for id in self.graph.ids() {
            self.give_up(id, true);
            log::info!("{}", self.ledger_line(id));
        }
    }
}
