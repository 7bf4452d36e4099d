//! Building the flow from a plan, the first time and at each reload.
//!
//! Everything that can be refused is tried before anything is touched. A node that is the
//! same in both plans stays as it is, with its queue, its child and its ledger; its
//! selectors keep their counts where they did not change. A node that is gone or another is
//! cut off from the flow at once and drains by itself.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::clock::Mono;
use crate::config::plan::{BodyPlan, FormatPlan, NodePlan, Plan, ProcessPlan, Shape};
use crate::filter::Selector;
use crate::filter::patterns::Patterns;
use crate::format::Formatter;
use crate::forward::deal::{Dealer, lanes, reader};
use crate::ids::{LaneId, NodeId, ProcId};
use crate::input::InputCounts;
use crate::ledger::{Count, Ledger};
use crate::output::queue::{Budget, Queue};
use crate::output::supervisor::Supervisor;

use super::child::Child;
use super::disk::DiskOut;
use super::feed::Feed;
use super::forward::ForwardOut;
use super::net::UdpOut;
use super::spool::SpoolOut;
use super::{
    Action, Body, DiskJob, DiskTarget, DiskWork, Engine, Node, Process, Stream, new_queue,
};

impl Engine {
    /// Puts another plan in force.
    ///
    /// # Errors
    /// Says what cannot be built; then nothing has changed.
    pub fn reload(&mut self, plan: &Plan, now: Mono) -> Result<(), String> {
        let mut selectors = Vec::with_capacity(plan.nodes.len());
        for node in &plan.nodes {
            selectors.push(Selector::new(&node.select, &node.name)?);
        }
        let mut streams = streams_of(plan, &selectors)?;
        for node in &plan.nodes {
            if let BodyPlan::Forward(forward) = &node.body {
                Dealer::new(forward)?;
            }
        }

        self.retire_all_but(plan, now);
        for (node, selector) in plan.nodes.iter().zip(selectors) {
            self.enter_node(node, selector, now);
        }
        for (node, stream) in plan.nodes.iter().zip(&mut streams) {
            let takers = std::mem::take(&mut stream.takers);
            let takers = takers
                .into_iter()
                .filter_map(|(at, ids)| Some((self.find(&plan.nodes[at].name)?, ids)))
                .collect();
            if let Some(id) = self.find(&node.name) {
                let patterns = std::mem::take(&mut stream.patterns);
                self.node_mut(id).stream = Stream { takers, patterns, ..Stream::default() };
            }
        }
        self.plan = plan.clone();
        self.enter_feeds(plan)?;
        self.share_budget();
        self.tick(now);
        Ok(())
    }

    fn retire_all_but(&mut self, plan: &Plan, now: Mono) {
        let deadline = now + plan.daemon.grace;
        let mut retired = Vec::new();
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let Some(node) = node else { continue };
            let same = |other: &NodePlan| {
                *other.name == *node.name && is_same_body(&other.body, &node.plan.body)
            };
            if node.retired.is_none() && !plan.nodes.iter().any(same) {
                node.retired = Some(deadline);
                node.stream = Stream::default();
                retired.push(NodeId(u32::try_from(at).unwrap_or(u32::MAX)));
            }
        }
        for id in retired {
            self.close_feeds(id);
        }
    }

    /// Enters a node of the new plan, or keeps the one that is there.
    fn enter_node(&mut self, plan: &NodePlan, mut selector: Selector, now: Mono) {
        let gone_by = plan.from.iter().filter_map(|name| self.find(name));
        selector.align(gone_by.map(|from| self.node(from).ledger.left.lines).sum());
        if let Some(id) = self.find(&plan.name) {
            let node = self.node_mut(id);
            if *node.selector.plan() != plan.select {
                node.selector = selector;
            }
            node.plan = plan.clone();
            if let (Body::Spool(spool), BodyPlan::Spool(plan)) = (&mut node.body, &plan.body) {
                spool.queue.set_limit(plan.queue);
            }
            return;
        }
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        let body = match &plan.body {
            BodyPlan::Input(_) => Body::Input { ended: false },
            BodyPlan::Pass => Body::Pass,
            BodyPlan::Run(process) | BodyPlan::Pipe(process) => {
                Body::Process(self.new_process(id, process, now))
            }
            BodyPlan::File(file) => {
                let exact = self.takes_from_spool(plan);
                let target = DiskTarget::File { plan: file.clone(), exact };
                self.new_disk(id, target, file.queue, exact, now)
            }
            BodyPlan::Stdout(stdout) => {
                self.new_disk(id, DiskTarget::Stdout, stdout.queue, false, now)
            }
            BodyPlan::Spool(spool) => {
                Body::Spool(Box::new(SpoolOut::new(new_queue(spool.queue), now)))
            }
            BodyPlan::Forward(forward) => match Dealer::new(forward) {
                Ok(dealer) => Body::Forward(ForwardOut::new(forward, dealer, new_queue, now)),
                // Tried before anything was touched.
                Err(_) => return,
            },
            BodyPlan::Udp(udp) => Body::Udp(UdpOut::new(new_queue(udp.queue))),
        };
        self.nodes.push(Some(Node {
            name: Arc::from(plan.name.as_str()),
            plan: plan.clone(),
            selector,
            stream: Stream::default(),
            ledger: Ledger::default(),
            body,
            retired: None,
            moved: now,
            counts: InputCounts::default(),
            formatter: Formatter::new(queue_format(&plan.body)),
        }));
    }

    fn new_process(&mut self, node: NodeId, plan: &ProcessPlan, now: Mono) -> Process {
        let mut workers = Vec::new();
        for _ in 0..plan.workers {
            let proc = ProcId(self.next_proc);
            self.next_proc += 1;
            let supervisor = Supervisor::new(plan.restart, plan.stop_grace, now);
            let queue = new_queue(plan.queue / u64::from(plan.workers));
            self.children.insert(proc, Child::new(node, queue, supervisor));
            workers.push(proc);
        }
        let (printed, stderr) = (Count::default(), VecDeque::new());
        Process { workers, printed, stderr, holding: false }
    }

    fn new_disk(
        &mut self,
        node: NodeId,
        target: DiskTarget,
        queue: u64,
        exact: bool,
        now: Mono,
    ) -> Body {
        let work = DiskWork::Open(target);
        self.actions.push_back(Action::Disk(DiskJob { node, work }));
        Body::Disk(DiskOut::new(new_queue(queue), exact, now))
    }

    fn takes_from_spool(&self, plan: &NodePlan) -> bool {
        let spool = |name: &String| self.find(name).filter(|id| self.spool(*id).is_some());
        plan.from.iter().find_map(spool).is_some()
    }

    /// Makes the readers of spools: one for each output, or for each of its lanes.
    fn enter_feeds(&mut self, plan: &Plan) -> Result<(), String> {
        for node in &plan.nodes {
            let Some(id) = self.find(&node.name) else { continue };
            let spool = node.from.iter().find_map(|name| self.find(name));
            let Some(spool) = spool.filter(|spool| self.spool(*spool).is_some()) else { continue };
            let lanes = match &node.body {
                BodyPlan::Forward(plan) => lanes(plan),
                _ => 1,
            };
            for lane in 0..lanes {
                let name = match &node.body {
                    BodyPlan::Forward(plan) => reader(&node.name, plan, lane),
                    _ => node.name.clone(),
                };
                let selector = Selector::new(&node.select, &node.name)?;
                let feed = self.feeds.entry(LaneId { node: id, lane });
                let feed = feed.or_insert_with(|| Feed::new(spool, name, selector));
                if !feed.selector_is(&node.select) {
                    feed.set_selector(Selector::new(&node.select, &node.name)?);
                }
            }
            self.begin_feeds(spool);
        }
        for (id, plan, readers) in self.spools() {
            let work = DiskWork::Respool(Box::new(plan), readers);
            self.actions.push_back(Action::Disk(DiskJob { node: id, work }));
        }
        Ok(())
    }

    /// Shares the memory out anew among all queues there are.
    pub(super) fn share_budget(&mut self) {
        let memory = self.plan.daemon.memory;
        let mut queues: Vec<&mut Queue> = Vec::new();
        for node in self.nodes.iter_mut().flatten() {
            match &mut node.body {
                Body::Disk(disk) => queues.push(&mut disk.queue),
                Body::Udp(udp) => queues.push(&mut udp.queue),
                Body::Spool(spool) => queues.push(&mut spool.queue),
                Body::Forward(forward) => {
                    queues.extend(forward.lanes.iter_mut().map(|lane| &mut lane.queue));
                }
                _ => {}
            }
        }
        queues.extend(self.children.values_mut().map(|child| &mut child.queue));
        let share = Budget::share(memory, queues.len());
        let mut taken = 0;
        for queue in queues {
            queue.set_share(share);
            taken += queue.reserved() + queue.borrowed();
        }
        self.budget = Budget::new(memory, taken);
    }
}

/// Whether a node goes on as it is when its plan becomes another. A spool is known by its
/// folder.
fn is_same_body(one: &BodyPlan, other: &BodyPlan) -> bool {
    match (one, other) {
        (BodyPlan::Spool(one), BodyPlan::Spool(other)) => one.dir == other.dir,
        _ => one == other,
    }
}

/// The format of what waits in an output's queue. Files and peers are given lines as they are and
/// write them themselves: so a file is chosen by what is in the line, and what is in doubt is
/// written again.
fn queue_format(body: &BodyPlan) -> &FormatPlan {
    const LINE: &FormatPlan = &FormatPlan { shape: Shape::Line, tag: None };
    match body {
        BodyPlan::Pipe(plan) => &plan.format,
        BodyPlan::Udp(plan) => &plan.format,
        BodyPlan::Stdout(plan) => &plan.format,
        _ => LINE,
    }
}

/// A stream whose takers are named by their place in the plan.
struct PlannedStream {
    takers: Vec<(usize, crate::filter::PatternIds)>,
    patterns: Patterns,
}

fn streams_of(plan: &Plan, selectors: &[Selector]) -> Result<Vec<PlannedStream>, String> {
    let mut streams = Vec::with_capacity(plan.nodes.len());
    for node in &plan.nodes {
        let mut patterns = Patterns::default();
        let mut takers = Vec::new();
        for (at, taker) in plan.nodes.iter().enumerate() {
            if taker.from.contains(&node.name) {
                takers.push((at, selectors[at].enter_patterns(&mut patterns)));
            }
        }
        patterns.compile()?;
        streams.push(PlannedStream { takers, patterns });
    }
    Ok(streams)
}
