//! Builds the flow from a plan, at start and at each reload.
//!
//! Everything that can fail is tried first, in [`Prepared::new`], which changes nothing and may run
//! beside the loop. [`Engine::apply`] then only swaps. A node that is the same in both plans keeps
//! its queue, its child and its ledger; selectors that did not change keep their counts. A node
//! that was removed or changed is detached from the flow at once and drains on its own.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use crate::clock::Mono;
use crate::config::plan::{BodyPlan, NodePlan, Plan, ProcessPlan};
use crate::filter::patterns::Patterns;
use crate::filter::squeeze::Squeezer;
use crate::filter::{PatternIds, Selector};
use crate::forward::link::Link;
use crate::forward::partition::{self, Partitioner};
use crate::ids::{LaneId, NodeId};
use crate::ledger::Count;
use crate::output::budget::Budget;
use crate::output::queue::Queue;
use crate::output::supervisor::Supervisor;
use crate::proto::traits::SinkPlan;

use super::child::Child;
use super::connection::Connection;
use super::consumer::Consumer;
use super::graph::{Body, Lanes, Node, Stream};
use super::jobs::Jobs;
use super::lane::{Lane, Receiver, Sink};
use super::spool::SpoolState;
use super::{Action, DiskJob, DiskWork, Engine, shape};

/// A plan with everything compiled from it, ready to be applied.
#[derive(Debug)]
pub struct Prepared {
    plan: Plan,
    nodes: Vec<PreparedNode>,
}

#[derive(Debug)]
struct PreparedNode {
    selector: Selector,
    /// Its subscribers, as indexes into the plan, and their patterns.
    subscribers: Vec<(usize, PatternIds)>,
    patterns: Patterns,
    /// Set for an output with peers.
    partitioner: Option<Partitioner>,
    /// The selectors of its lanes, if it reads from a spool.
    consumers: Vec<Selector>,
}

impl Prepared {
    /// Compiles a plan.
    ///
    /// # Errors
    /// Names what cannot be compiled.
    pub fn new(plan: &Plan) -> Result<Self, String> {
        let mut nodes = Vec::with_capacity(plan.nodes.len());
        for node in &plan.nodes {
            nodes.push(PreparedNode::new(node)?);
        }
        let places: HashMap<&str, usize> =
            plan.nodes.iter().enumerate().map(|(at, node)| (node.name.as_str(), at)).collect();
        for (at, node) in plan.nodes.iter().enumerate() {
            for from in node.from.iter().filter_map(|name| places.get(name.as_str())) {
                let mut patterns = std::mem::take(&mut nodes[*from].patterns);
                let ids = nodes[at].selector.enter_patterns(&mut patterns);
                nodes[*from].patterns = patterns;
                nodes[*from].subscribers.push((at, ids));
                if matches!(plan.nodes[*from].body, BodyPlan::Spool(_)) {
                    nodes[at].prepare_consumers(node)?;
                }
            }
        }
        for node in &mut nodes {
            node.patterns.compile()?;
        }
        Ok(Self { plan: plan.clone(), nodes })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

impl PreparedNode {
    fn new(node: &NodePlan) -> Result<Self, String> {
        let partitioner = node.body.forward().map(Partitioner::new).transpose()?;
        Ok(Self {
            selector: Selector::new(&node.select, &node.name)?,
            subscribers: Vec::new(),
            patterns: Patterns::default(),
            partitioner,
            consumers: Vec::new(),
        })
    }

    /// Builds the selectors with which the node's lanes read from a spool.
    fn prepare_consumers(&mut self, node: &NodePlan) -> Result<(), String> {
        let lanes = node.body.forward().map_or(1, partition::lanes);
        for _ in 0..lanes {
            self.consumers.push(Selector::new(&node.select, &node.name)?);
        }
        Ok(())
    }
}

/// The spools that a node takes from, each with its folder: an output that reads from another spool
/// than before has another position.
fn spools_of<'p>(
    nodes: &HashMap<&'p str, &'p NodePlan>,
    node: &NodePlan,
) -> Vec<(&'p str, &'p Path)> {
    let from = node.from.iter().filter_map(|name| nodes.get(name.as_str()).copied());
    let spool = |from: &'p NodePlan| Some((from.name.as_str(), &*shape::spool(&from.body)?.dir));
    from.filter_map(spool).collect()
}

fn by_name(plan: &Plan) -> HashMap<&str, &NodePlan> {
    plan.nodes.iter().map(|node| (node.name.as_str(), node)).collect()
}

impl Engine {
    /// Applies another plan.
    ///
    /// # Errors
    /// Names what cannot be built; nothing has changed then.
    pub fn reload(&mut self, plan: &Plan, now: Mono) -> Result<(), String> {
        self.apply(Prepared::new(plan)?, now);
        Ok(())
    }

    /// Applies a prepared plan.
    pub fn apply(&mut self, prepared: Prepared, now: Mono) {
        let Prepared { plan, nodes } = prepared;
        self.cx.now = now;
        self.end_squeezes(&plan);
        let downstream = self.downstream_of_inputs();
        self.retire_all_but(&plan);
        let first_new = self.graph.next_id();
        let mut entered = Vec::with_capacity(plan.nodes.len());
        let mut streams = Vec::with_capacity(plan.nodes.len());
        let mut consumers = Vec::new();
        for (planned, prepared) in plan.nodes.iter().zip(nodes) {
            let PreparedNode { selector, subscribers, patterns, partitioner, consumers: own } =
                prepared;
            let id = self.enter_node(planned, selector, partitioner);
            entered.push(id);
            streams.push((id, subscribers, patterns));
            if !own.is_empty() {
                consumers.push((id, own));
            }
        }
        self.take_up_sums(first_new);
        for (id, subscribers, patterns) in streams {
            let subscribers = subscribers.into_iter().map(|(at, ids)| (entered[at], ids)).collect();
            self.graph.node_mut(id).stream = Stream { subscribers, patterns, ..Stream::default() };
        }
        self.plan = plan;
        self.note_former(downstream);
        for (id, selectors) in consumers {
            self.enter_consumers(id, selectors);
        }
        for (id, _, _) in self.spools() {
            self.begin_consumers(id);
            self.update_readers(id);
        }
        self.note_awaited();
        self.share_budget();
        self.backpressure.set_changed();
        self.touch_all();
        self.settle();
    }

    /// Has filters that will join no repeats any more pass on those that they hold, as long as the
    /// flow is the old one.
    fn end_squeezes(&mut self, plan: &Plan) {
        let planned = by_name(plan);
        for (name, id) in self.names() {
            if planned.get(&*name).is_none_or(|new| new.squeeze.is_none()) {
                self.squeeze(id, true);
            }
        }
    }

    /// Notes of each output whether inputs reach it that wait for outputs.
    fn note_awaited(&mut self) {
        let waits = |node: &Node| node.is_numbered() && node.retired.is_none();
        let inputs = self.graph.iter().filter(|(_, node)| waits(node));
        let awaited: BTreeSet<_> = inputs.flat_map(|(id, _)| self.graph.ends(id)).collect();
        for (id, node) in self.graph.iter_mut() {
            if let Body::Lanes(lanes) = &mut node.body {
                lanes.awaited = awaited.contains(&id);
            }
        }
    }

    fn retire_all_but(&mut self, plan: &Plan) {
        let deadline = self.cx.now + plan.daemon.grace;
        let (planned, before) = (by_name(plan), by_name(&self.plan));
        let stays = |node: &Node| {
            planned.get(&*node.name).is_some_and(|new| {
                shape::is_same(&new.body, &node.plan.body)
                    && spools_of(&planned, new) == spools_of(&before, &node.plan)
            })
        };
        let gone: Vec<_> = self
            .graph
            .iter()
            .filter(|(_, node)| node.retired.is_none() && !stays(node))
            .map(|(id, _)| id)
            .collect();
        for id in gone {
            self.graph.retire(id, deadline);
            self.consumers.close(id);
        }
    }

    /// Adds a node of the new plan, or keeps the existing one.
    fn enter_node(
        &mut self,
        plan: &NodePlan,
        mut selector: Selector,
        partitioner: Option<Partitioner>,
    ) -> NodeId {
        let from = plan.from.iter().filter_map(|name| self.graph.find(name));
        selector.align(from.map(|from| self.graph.node(from).ledger.left.lines).sum());
        if let Some(id) = self.graph.find(&plan.name) {
            let node = self.graph.node_mut(id);
            if *node.selector.plan() != plan.select {
                node.selector = selector;
            }
            match (&mut node.squeezer, plan.squeeze) {
                (Some(squeezer), Some(window)) => squeezer.set_window(window),
                (squeezer, window) => *squeezer = window.map(Squeezer::new),
            }
            node.plan = plan.clone();
            if let (Body::Spool(spool), Some(plan)) = (&mut node.body, shape::spool(&plan.body)) {
                spool.set_limit(plan.queue);
            }
            return id;
        }
        let has_position = matches!(plan.body.sink(), Some(SinkPlan::Jobs { has_position: true }));
        let exact = has_position && self.takes_from_spool(plan);
        let now = self.cx.now;
        let id = self.graph.enter(|id| {
            let body = new_body(id, plan, partitioner, exact, now);
            Node::new(plan, selector, body, now)
        });
        self.take_up_minutes(id);
        self.unfinished += 1;
        self.open_inputs += usize::from(self.graph.node(id).is_input());
        if let Some(SinkPlan::Jobs { .. }) = plan.body.sink() {
            let (name, body) = (Arc::clone(&self.graph.node(id).name), Box::new(plan.body.clone()));
            let work = DiskWork::Open { name, plan: body, exact };
            self.cx.act(Action::Disk(DiskJob { node: id, work }));
        }
        id
    }

    fn takes_from_spool(&self, plan: &NodePlan) -> bool {
        let mut from = plan.from.iter().filter_map(|name| self.graph.find(name));
        from.any(|id| self.graph.spool(id).is_some())
    }

    /// Adds the consumers of an output that reads from a spool, one for each lane.
    fn enter_consumers(&mut self, id: NodeId, selectors: Vec<Selector>) {
        let plan = &self.graph.node(id).plan;
        let mut from = plan.from.iter().filter_map(|name| self.graph.find(name));
        let Some(spool) = from.find(|from| self.graph.spool(*from).is_some()) else { return };
        let (name, forward) = (plan.name.clone(), plan.body.forward().cloned());
        let exact = self.graph.lane(id.only_lane()).and_then(Lane::jobs);
        let exact = exact.is_some_and(|jobs| jobs.exact);
        for (lane, selector) in (0..).zip(selectors) {
            let reader = match &forward {
                Some(plan) => partition::reader(&name, plan, lane),
                None => name.clone(),
            };
            let consumer = Consumer::new(spool, reader, selector, exact);
            self.consumers.enter(LaneId { node: id, lane }, consumer);
        }
    }

    /// Shares the memory out among all existing queues.
    pub(super) fn share_budget(&mut self) {
        self.share_rows();
        let memory = self.plan.daemon.memory;
        let mut queues: Vec<&mut Queue> = Vec::new();
        for (_, node) in self.graph.iter_mut() {
            match &mut node.body {
                Body::Lanes(lanes) => {
                    queues.extend(lanes.lanes.iter_mut().map(|lane| &mut lane.queue));
                }
                Body::Spool(spool) => queues.push(&mut spool.queue),
                Body::Input { .. } | Body::Pass => {}
            }
        }
        let share = Budget::share(memory, queues.len());
        let mut taken = 0;
        for queue in queues {
            queue.set_share(share);
            taken += queue.reserved() + queue.overdraft();
        }
        self.cx.budget.set(memory, taken);
    }
}

/// A new body for a node.
fn new_body(
    id: NodeId,
    plan: &NodePlan,
    partitioner: Option<Partitioner>,
    exact: bool,
    now: Mono,
) -> Body {
    let name: Arc<str> = Arc::from(plan.name.as_str());
    let lane = |number: u16, limit: u64, sink: Sink| {
        Lane::new(LaneId { node: id, lane: number }, Arc::clone(&name), limit, sink)
    };
    let queue = plan.body.queue().unwrap_or(0);
    let lanes = match (&plan.body, plan.body.sink()) {
        (BodyPlan::Input(_), _) => return Body::Input { ended: false },
        (BodyPlan::Spool(spool), _) => {
            return Body::Spool(Box::new(SpoolState::new(spool.queue, now)));
        }
        (_, None) => return Body::Pass,
        (_, Some(SinkPlan::Children(process))) => {
            let limit = queue / u64::from(process.workers);
            let worker = |number| lane(number, limit, new_child(process, now));
            (0..process.workers).map(worker).collect()
        }
        (_, Some(SinkPlan::Jobs { .. })) => {
            vec![lane(0, queue, Sink::Jobs(Jobs::new(exact, now)))]
        }
        (_, Some(SinkPlan::Datagrams { .. })) => {
            vec![lane(0, queue, Sink::Datagrams(Receiver::default()))]
        }
        (_, Some(SinkPlan::Connections(forward))) => {
            let count = partition::lanes(forward);
            let peers = |number| {
                let link = Link::new(forward, number, now);
                let sink = Sink::Connection(Box::new(Connection::new(link)));
                lane(number, queue / u64::from(count), sink)
            };
            (0..count).map(peers).collect()
        }
    };
    let (printed, stderr) = (Count::default(), VecDeque::new());
    Body::Lanes(Lanes { lanes, partitioner, printed, stderr, pausing: false, awaited: false })
}

fn new_child(plan: &ProcessPlan, now: Mono) -> Sink {
    Sink::Child(Child::new(Supervisor::new(plan.restart, plan.stop_grace, now)))
}
