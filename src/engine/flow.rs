//! How a batch goes through the flow: to each taker, what that one selects.

use crate::batch::Batch;
use crate::clock::Mono;
use crate::config::plan::{BodyPlan, Kind, SourcePlan, SpoolFull, WhenFull};
use crate::filter::patterns::Hits;
use crate::filter::{PatternIds, gather};
use crate::ids::{NodeId, ProcId};
use crate::input::InputCounts;
use crate::ledger::{Count, Reason};
use crate::limits::SENDERS_MOST;

use super::{Body, Engine, Node};

impl Node {
    /// Lines as they wait in the node's queue. What they enter the ledger with are the bytes that
    /// leave it.
    pub(super) fn formatted(&mut self, batch: Batch) -> Batch {
        if self.formatter.is_plain() {
            return batch;
        }
        let (bytes, faults) = self.formatter.batch(&batch);
        self.counts.faults.add(&faults);
        Batch { bytes, sources: None, ..batch }
    }

    /// Counts what an input knows beside its lines, and says once that it forgets senders.
    pub(super) fn count_input(&mut self, counts: &InputCounts) {
        if self.counts.senders_forgotten == 0 && counts.senders_forgotten > 0 {
            log::warn!(
                "{}: the sequence numbers of {SENDERS_MOST} senders are followed, and more have \
                 come: the one unheard of for longest is forgotten, and lines that it loses until \
                 it sends again are not counted (senders_forgotten)",
                self.name
            );
        }
        self.counts.add(counts);
    }
}

impl Engine {
    /// Lines came in by an input: all of them leave it.
    pub(super) fn take_in(&mut self, node: NodeId, batch: &Batch, now: Mono) {
        let ledger = &mut self.node_mut(node).ledger;
        ledger.entered.add(u64::from(batch.lines), batch.bytes.len() as u64);
        ledger.left.add(u64::from(batch.lines), batch.bytes.len() as u64);
        self.waits_for_spools = self.is_answered(node);
        self.hand_out(node, batch, now);
        self.waits_for_spools = false;
    }

    /// Whether an input's clients are told what is on disk.
    fn is_answered(&self, node: NodeId) -> bool {
        let BodyPlan::Input(input) = &self.node(node).plan.body else { return false };
        matches!(input.source, SourcePlan::Relp(_))
    }

    /// Offers what left a node to all that take from it. The flow has no cycles and its depth
    /// is that of the configuration.
    pub(super) fn hand_out(&mut self, from: NodeId, batch: &Batch, now: Mono) {
        self.tap(from, batch);
        let mut stream = std::mem::take(&mut self.node_mut(from).stream);
        if !stream.takers.is_empty() {
            stream.patterns.search(batch, &mut stream.hits);
            for &(taker, ids) in &stream.takers {
                self.offer(taker, batch, ids, &mut stream.hits, now);
            }
            let faults = stream.hits.take_faults();
            self.node_mut(from).counts.faults.add(&faults);
        }
        self.node_mut(from).stream = stream;
    }

    fn offer(&mut self, to: NodeId, batch: &Batch, ids: PatternIds, hits: &mut Hits, now: Mono) {
        let node = self.node_mut(to);
        let mut held = Count::default();
        let picked = node.selector.pick(batch, ids, hits, now, &mut held);
        node.ledger.drop(Reason::Rate, held.lines, held.bytes);
        let chosen = gather(batch, &picked);
        let taken = chosen.as_ref().map_or_else(Count::default, Batch::count);
        let all = batch.count();
        let not_selected =
            (all.lines - taken.lines - held.lines, all.bytes - taken.bytes - held.bytes);
        node.ledger.not_selected.add(not_selected.0, not_selected.1);
        node.ledger.entered.add(not_selected.0 + held.lines, not_selected.1 + held.bytes);
        let Some(chosen) = chosen else { return };
        let chosen = node.formatted(chosen);
        let Count { lines, bytes } = chosen.count();
        node.ledger.entered.add(lines, bytes);
        if matches!(node.plan.body.kind(), Kind::Output | Kind::Spool) {
            self.tap(to, &chosen);
        }
        self.note_waiting(to);
        match &self.node(to).body {
            Body::Pass => {
                self.node_mut(to).ledger.left.add(lines, bytes);
                self.hand_out(to, &chosen, now);
            }
            Body::Process(_) => self.queue_for_process(to, chosen),
            Body::Disk(_) => self.queue_for_disk(to, chosen),
            Body::Udp(_) => self.queue_for_udp(to, chosen),
            Body::Forward(_) => self.queue_for_forward(to, &chosen),
            Body::Spool(_) => self.queue_for_spool(to, chosen),
            Body::Input { .. } => debug_assert!(false, "an input takes from nobody"),
        }
    }

    /// The nodes that lines of `from` come to, each once; they go on through those that `through`
    /// lets them.
    pub(super) fn nodes_behind(
        &self,
        from: NodeId,
        through: impl Fn(&Body) -> bool,
    ) -> Vec<NodeId> {
        let (mut found, mut open) = (Vec::new(), vec![from]);
        let mut seen = vec![false; self.nodes.len()];
        while let Some(id) = open.pop() {
            for &(taker, _) in &self.node(id).stream.takers {
                if std::mem::replace(&mut seen[taker.0 as usize], true) {
                    continue;
                }
                found.push(taker);
                if through(&self.node(taker).body) {
                    open.push(taker);
                }
            }
        }
        found
    }

    /// The outputs, spools and processes that lines of `from` come to, as they are or through
    /// filters without a process.
    pub(super) fn ends_behind(&self, from: NodeId) -> Vec<NodeId> {
        let is_pass = |body: &Body| matches!(body, Body::Pass);
        let mut ends = self.nodes_behind(from, is_pass);
        ends.retain(|id| !is_pass(&self.node(*id).body));
        ends
    }

    /// Gives a batch to the worker with the least to do.
    fn queue_for_process(&mut self, node: NodeId, batch: Batch) {
        let Body::Process(process) = &self.node(node).body else { return };
        let load = |proc: &ProcId| {
            let child = &self.children[proc];
            (!child.supervisor.takes_lines(), child.queue.fill().0)
        };
        let Some(proc) = process.workers.iter().copied().min_by_key(load) else { return };
        let blocks = matches!(
            &self.node(node).plan.body,
            BodyPlan::Run(plan) | BodyPlan::Pipe(plan) if plan.when_full == WhenFull::Block
        );
        let Some(child) = self.children.get_mut(&proc) else { return };
        if blocks {
            child.queue.push_anyway(batch, &mut self.budget);
        } else if let Err(left) = child.queue.push(batch, &mut self.budget) {
            let gone = !child.supervisor.takes_lines();
            let reason = if gone { Reason::ChildGone } else { Reason::QueueFull };
            self.node_mut(node).ledger.drop(reason, left.lines, left.bytes);
        }
        self.list_child(proc);
    }

    /// Works out which inputs must wait because a queue that blocks is full, and tells the
    /// driver of changes. A queue holds until it is half empty again.
    pub(super) fn refresh_pauses(&mut self) {
        let holding = self.holding_nodes();
        if holding.is_empty() && self.paused.is_empty() {
            return;
        }
        let mut waiting = Vec::new();
        for (node, all) in holding {
            self.sources_of(node, all, &mut waiting);
        }
        for &node in waiting.iter().filter(|node| !self.paused.contains(node)) {
            self.actions.push_back(super::Action::Pause(node));
        }
        for &node in self.paused.iter().filter(|node| !waiting.contains(node)) {
            self.actions.push_back(super::Action::Resume(node));
        }
        self.paused = waiting;
    }

    /// The nodes whose full queue makes inputs wait, and whether it is all inputs or only those
    /// whose clients are answered: those wait for any spool.
    fn holding_nodes(&mut self) -> Vec<(NodeId, bool)> {
        let mut holding = Vec::new();
        let children = &self.children;
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let Some(node) = node else { continue };
            let id = NodeId(u32::try_from(at).unwrap_or(u32::MAX));
            if let (BodyPlan::Spool(plan), Body::Spool(spool)) = (&node.plan.body, &mut node.body) {
                let bound = if spool.holding { plan.queue / 2 } else { plan.queue };
                spool.holding = node.retired.is_none() && spool.queue.fill().0 > bound;
                if spool.holding {
                    holding.push((id, plan.when_full == SpoolFull::Block));
                }
                continue;
            }
            let (BodyPlan::Run(plan) | BodyPlan::Pipe(plan)) = &node.plan.body else { continue };
            let Body::Process(process) = &mut node.body else { continue };
            if plan.when_full != WhenFull::Block || node.retired.is_some() {
                continue;
            }
            let used: u64 = process.workers.iter().map(|proc| children[proc].queue.fill().0).sum();
            let bound = if process.holding { plan.queue / 2 } else { plan.queue };
            process.holding = used > bound;
            if process.holding {
                holding.push((id, true));
            }
        }
        holding
    }

    /// The inputs and the filter processes whose lines reach `node`; without `all` only the
    /// inputs whose clients are answered.
    fn sources_of(&self, node: NodeId, all: bool, found: &mut Vec<NodeId>) {
        for name in &self.node(node).plan.from {
            let Some(from) = self.find(name) else { continue };
            if found.contains(&from) {
                continue;
            }
            match self.node(from).body {
                Body::Input { .. } if all || self.is_answered(from) => found.push(from),
                Body::Process(_) if all => found.push(from),
                Body::Input { .. } | Body::Process(_) => {}
                _ => self.sources_of(from, all, found),
            }
        }
    }
}
