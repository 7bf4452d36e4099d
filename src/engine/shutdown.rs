//! Ending: the daemon as a whole, or a node that a reload removed. Lines drain in the
//! direction of the flow: a node ends when nothing can reach it any more and its queue is
//! empty, or when the grace is over.

use crate::clock::Mono;
use crate::ids::NodeId;
use crate::ledger::{Count, Reason};
use crate::limits::CLOSE_LEAST;
use crate::output::supervisor::State;

use super::{Action, Body, DiskJob, DiskWork, Engine, Node, queued};

impl Engine {
    /// Lines are about to wait in a node's queue: from now on, where none did.
    pub(super) fn note_waiting(&mut self, node: NodeId) {
        let now = self.ticked;
        if self.held_by(node).lines == 0 {
            self.node_mut(node).moved = now;
        }
    }

    /// The daemon is to end: the driver stops its inputs, and what waits is drained for the
    /// grace.
    pub fn terminate(&mut self, now: Mono) {
        if self.ending.is_none() {
            self.ending = Some(now + self.plan.daemon.grace);
            self.tick(now);
        }
    }

    /// Whether the daemon is ending.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Whether every input has ended by itself, so that there is nothing left to wait for.
    pub fn inputs_ended(&self) -> bool {
        let ended = |node: &Node| !matches!(node.body, Body::Input { ended: false });
        self.nodes().all(|(_, node)| ended(node))
    }

    /// Whether the daemon has ended: all queues are empty and all children gone.
    pub fn is_done(&self) -> bool {
        self.ending.is_some() && self.nodes().all(|(id, _)| self.finished(id))
    }

    /// Ends what can be ended now.
    pub(super) fn progress(&mut self, now: Mono) {
        let retiring = self.nodes().any(|(_, node)| node.retired.is_some());
        if self.ending.is_none() && !retiring {
            return;
        }
        let ids: Vec<_> = self.nodes().map(|(id, _)| id).collect();
        for id in ids {
            let deadline = self.node(id).retired.or(self.ending);
            let given_up = deadline.is_some_and(|at| now >= at);
            if given_up {
                let stalled = deadline.is_some_and(|at| now >= at + CLOSE_LEAST);
                self.give_up(id, stalled);
            }
            if given_up || self.unreachable(id) {
                self.end_node(id, given_up, now);
            }
            if self.node(id).retired.is_some() && self.finished(id) {
                self.remove(id);
            }
        }
    }

    /// Whether no more lines can come to a node.
    fn unreachable(&self, id: NodeId) -> bool {
        let node = self.node(id);
        if node.retired.is_some() {
            return true;
        }
        if self.is_fed(id) {
            return self.ending.is_some() && self.feeds_are_done(id);
        }
        self.ending.is_some()
            && node.plan.from.iter().all(|from| self.find(from).is_none_or(|id| self.finished(id)))
    }

    /// Whether no more lines can come out of a node, and none are left in it.
    fn finished(&self, id: NodeId) -> bool {
        let node = self.node(id);
        match &node.body {
            Body::Input { ended } => *ended || node.retired.is_some(),
            Body::Pass => self.unreachable(id),
            Body::Process(process) => process
                .workers
                .iter()
                .all(|proc| self.child(*proc).supervisor.state() == State::Ended),
            Body::Disk(disk) => disk.closed,
            Body::Udp(udp) => self.unreachable(id) && udp.queue.is_empty(),
            Body::Forward(forward) => forward.lanes.iter().all(|lane| lane.link.has_ended()),
            Body::Spool(spool) => spool.closed,
        }
    }

    /// Asks a node's children to end, or its files to be closed, where nothing waits for them.
    fn end_node(&mut self, id: NodeId, given_up: bool, now: Mono) {
        match &self.node(id).body {
            Body::Forward(_) => return self.end_lanes(id, given_up, now),
            Body::Spool(_) => {
                if self.fed_by(id).into_iter().all(|output| self.finished(output)) {
                    self.end_spool(id);
                }
                return;
            }
            Body::Disk(disk) if disk.queue.is_empty() && !disk.closed => {
                self.checkpoint_where_due(id, true, now);
                if !self.is_checked(id) {
                    return;
                }
            }
            _ => {}
        }
        if let Body::Process(process) = &self.node(id).body {
            for proc in process.workers.clone() {
                let Some(child) = self.children.get_mut(&proc) else { continue };
                if !child.queue.all_written() {
                    continue;
                }
                if let Some(step) = child.supervisor.stop(now) {
                    self.carry_out(proc, step);
                }
            }
        }
        if let Body::Disk(disk) = &mut self.node_mut(id).body
            && disk.queue.is_empty()
            && !disk.closed
        {
            disk.closed = true;
            self.actions.push_back(Action::Disk(DiskJob { node: id, work: DiskWork::Close }));
        }
    }

    /// The grace is over: what waits is dropped and counted. What the disk is writing just now
    /// is waited for, unless it is `stalled`.
    fn give_up(&mut self, id: NodeId, stalled: bool) {
        if let Body::Spool(_) = self.node(id).body {
            return self.give_up_spool(id, stalled);
        }
        // What an output was given from a spool is there yet, and not lost.
        let fed = self.is_fed(id);
        let Some(node) = &mut self.nodes[id.0 as usize] else { return };
        let mut lost = Count::default();
        match &mut node.body {
            Body::Process(process) => {
                for proc in &process.workers {
                    let Some(child) = self.children.get_mut(proc) else { continue };
                    let cut = child.queue.cut_unwritten(&mut self.budget);
                    lost.add(cut.lines, cut.bytes);
                    if child.supervisor.has_started() {
                        // What is in its pipe the child may read yet.
                        continue;
                    }
                    while let Some(batch) = child.queue.pop(&mut self.budget) {
                        lost.add(u64::from(batch.lines), batch.bytes.len() as u64);
                    }
                }
            }
            Body::Disk(disk) if !disk.busy || stalled => {
                while let Some(batch) = disk.queue.pop(&mut self.budget) {
                    lost.add(u64::from(batch.lines), batch.bytes.len() as u64);
                }
            }
            Body::Udp(udp) => {
                while let Some(batch) = udp.queue.pop(&mut self.budget) {
                    lost.add(u64::from(batch.lines), batch.bytes.len() as u64);
                }
            }
            Body::Forward(forward) if !fed => {
                for lane in &mut forward.lanes {
                    while let Some(batch) = lane.queue.pop(&mut self.budget) {
                        lost.add(u64::from(batch.lines), batch.bytes.len() as u64);
                    }
                }
            }
            _ => {}
        }
        if lost.lines > 0 && !fed {
            node.ledger.drop(Reason::Shutdown, lost.lines, lost.bytes);
            log::warn!("{}: {} lines were still waiting and are dropped", node.name, lost.lines);
        }
    }

    /// A node that a reload removed has ended.
    fn remove(&mut self, id: NodeId) {
        log::info!("{}", self.ledger_line(id));
        self.remove_feeds(id);
        let Some(node) = self.nodes[id.0 as usize].take() else { return };
        if let Body::Process(process) = node.body {
            for proc in process.workers {
                self.children.remove(&proc);
            }
        }
        self.end_taps_of(&node.name);
        self.share_budget();
    }

    /// One line with a node's ledger, as it is logged at the end.
    pub(super) fn ledger_line(&self, id: NodeId) -> String {
        let node = self.node(id);
        let ledger = &node.ledger;
        let waiting = self.queued_in(id);
        let mut line = format!(
            "ledger: {} {}: in {} out {} not_selected {}",
            node.plan.body.kind().word(),
            node.name,
            ledger.entered.lines,
            ledger.left.lines,
            ledger.not_selected.lines
        );
        for reason in crate::ledger::REASONS {
            let dropped = ledger.dropped(reason);
            if dropped.lines > 0 {
                line.push_str(&format!(" {} {}", reason.word(), dropped.lines));
            }
        }
        line.push_str(&format!(" queued {}", waiting.lines));
        for (name, position, lag) in self.lags_of(id) {
            line.push_str(&format!(" reader {name} at {position} ({lag} lines behind)"));
        }
        if matches!(node.body, Body::Input { .. }) {
            line.push_str(&format!(" kernel_drops {}", node.counts.kernel_drops));
        }
        if !ledger.balances(waiting) {
            line.push_str(" DOES NOT BALANCE");
        }
        line
    }

    /// What waits in a node.
    pub(super) fn queued_in(&self, id: NodeId) -> Count {
        if self.is_fed(id) { Count::default() } else { self.held_by(id) }
    }

    /// What is in a node's queue; of one that reads from a spool it is the spool's yet.
    pub(super) fn held_by(&self, id: NodeId) -> Count {
        match &self.node(id).body {
            Body::Input { .. } | Body::Pass => Count::default(),
            Body::Process(process) => {
                queued(process.workers.iter().map(|proc| self.child(*proc).queue.count()))
            }
            Body::Disk(disk) => disk.queue.count(),
            Body::Udp(udp) => udp.queue.count(),
            Body::Forward(forward) => queued(forward.lanes.iter().map(|lane| lane.queue.count())),
            Body::Spool(spool) => spool.queue.count(),
        }
    }

    /// The end: what still waits anywhere is dropped and counted, and every node's ledger is
    /// logged.
    pub fn close_ledgers(&mut self) {
        let ids: Vec<_> = self.nodes().map(|(id, _)| id).collect();
        for id in ids {
            self.give_up(id, true);
            log::info!("{}", self.ledger_line(id));
        }
    }
}
