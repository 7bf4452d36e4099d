//! The graph: the nodes and their subscribers.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::batch::Batch;
use crate::clock::Mono;
use crate::config::plan::{BodyPlan, FormatPlan, Kind, NodePlan};
use crate::filter::patterns::{Hits, Patterns};
use crate::filter::squeeze::Squeezer;
use crate::filter::{PatternIds, Selector};
use crate::format::Formatter;
use crate::forward::partition::Partitioner;
use crate::ids::{LaneId, NodeId};
use crate::input::InputCounts;
use crate::ledger::{Count, Ledger};

use super::lane::Lane;
use super::losses::Losses;
use super::spool::SpoolState;
use super::status::Complaint;
use super::sums::{Counts, Sums};

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Arc<str>,
    pub(super) plan: NodePlan,
    pub(super) selector: Selector,
    /// Joins the repeats of what it selects.
    pub(super) squeezer: Option<Squeezer>,
    pub(super) stream: Stream,
    pub(super) ledger: Ledger,
    pub(super) body: Body,
    /// When its remaining lines are given up; set once the node is no longer in the plan.
    pub(super) retired: Option<Mono>,
    /// Nothing is left in it, and nothing more will come out of it.
    pub(super) finished: bool,
    /// When its queue last released lines, or began to hold some.
    pub(super) moved: Mono,
    /// Counts other than lines.
    pub(super) counts: InputCounts,
    /// What its predecessors counted.
    pub(super) before: Sums,
    /// What it has handed over to its successor.
    pub(super) handed: Counts,
    /// What was lost here, in episodes.
    pub(super) losses: Losses,
    /// What keeps this input from taking all that is sent to it.
    pub(super) problem: Option<String>,
    /// How many lines wait at an input's source, in each of its parts.
    pub(super) waiting: Vec<(Arc<str>, u64)>,
    /// The format of its lines, applied before they are queued.
    pub(super) formatter: Formatter,
}

/// The output of a node and its subscribers.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) subscribers: Vec<(NodeId, PatternIds)>,
    pub(super) patterns: Patterns,
    pub(super) hits: Hits,
}

/// The kind of a node, with its state.
#[derive(Debug)]
pub(super) enum Body {
    Input {
        ended: bool,
    },
    /// A filter without a process.
    Pass,
    /// An output, or a filter process.
    Lanes(Lanes),
    Spool(Box<SpoolState>),
}

/// The lanes of an output or a filter process.
#[derive(Debug)]
pub(super) struct Lanes {
    pub(super) lanes: Vec<Lane>,
    /// Decides which lane gets which lines; `None` if the lane with the least load gets them.
    pub(super) partitioner: Option<Partitioner>,
    /// Lines that its children printed.
    pub(super) printed: Count,
    /// The last lines that its children wrote to standard error.
    pub(super) stderr: VecDeque<Complaint>,
    /// True while its full queue pauses inputs.
    pub(super) pausing: bool,
    /// True if inputs reach it that wait for outputs.
    pub(super) awaited: bool,
}

/// What the sender of lines does while there is no room for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    /// It goes on sending.
    GoesOn,
    /// It waits for spools, whose lines it has acknowledged.
    WaitsForSpools,
    /// It waits for spools, and with patience for outputs.
    Waits,
}

impl Node {
    pub(super) fn new(plan: &NodePlan, selector: Selector, body: Body, now: Mono) -> Self {
        Self {
            name: Arc::from(plan.name.as_str()),
            plan: plan.clone(),
            selector,
            squeezer: plan.squeeze.map(Squeezer::new),
            stream: Stream::default(),
            ledger: Ledger::default(),
            body,
            retired: None,
            finished: false,
            moved: now,
            counts: InputCounts::default(),
            before: Sums::default(),
            handed: Counts::default(),
            losses: Losses::default(),
            problem: None,
            waiting: Vec::new(),
            formatter: Formatter::new(plan.body.queue_format().unwrap_or(FormatPlan::RAW)),
        }
    }

    /// Lines as they wait in the node's queue. The ledger counts the formatted bytes, both in and
    /// out.
    pub(super) fn formatted(&mut self, batch: Batch) -> Batch {
        if self.formatter.is_plain() {
            return batch;
        }
        let (bytes, faults) = self.formatter.batch(&batch);
        self.counts.faults.add(&faults);
        Batch { bytes, sources: None, ..batch }
    }

    /// Its lanes; none for an input, a filter without a process and a spool.
    pub(super) fn lanes(&self) -> &[Lane] {
        match &self.body {
            Body::Lanes(lanes) => &lanes.lanes,
            _ => &[],
        }
    }

    pub(super) fn lanes_mut(&mut self) -> &mut [Lane] {
        match &mut self.body {
            Body::Lanes(lanes) => &mut lanes.lanes,
            _ => &mut [],
        }
    }

    pub(super) fn is_input(&self) -> bool {
        matches!(self.body, Body::Input { .. })
    }

    pub(super) fn is_spool(&self) -> bool {
        matches!(self.body, Body::Spool(_))
    }

    /// Returns whether what its children print is a stream.
    pub(super) fn prints(&self) -> bool {
        matches!(self.body, Body::Lanes(_)) && self.plan.body.kind() == Kind::Filter
    }

    /// Lines in its queue, whole or in part.
    pub(super) fn held(&self) -> Count {
        match &self.body {
            Body::Spool(spool) => spool.queue.count(),
            _ => self.lanes().iter().fold(Count::default(), |mut sum, lane| {
                let count = lane.queue.count();
                sum.add(count.lines, count.bytes);
                sum
            }),
        }
    }

    /// Returns whether a spool must take all lines of this input: they are acknowledged, or a
    /// position stands for them.
    pub(super) fn is_acknowledged(&self) -> bool {
        let BodyPlan::Input(input) = &self.plan.body else { return false };
        let nature = input.source.nature();
        nature.acknowledged || nature.numbered
    }

    /// What it does as a sender of lines.
    pub(super) fn sender(&self) -> Sender {
        match (self.is_numbered(), self.is_acknowledged()) {
            (true, _) => Sender::Waits,
            (false, true) => Sender::WaitsForSpools,
            (false, false) => Sender::GoesOn,
        }
    }

    /// Returns whether an input keeps positions in what it reads.
    pub(super) fn is_numbered(&self) -> bool {
        let BodyPlan::Input(input) = &self.plan.body else { return false };
        input.source.nature().numbered
    }
}

/// All nodes, including removed ones that are still draining.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: BTreeMap<NodeId, Box<Node>>,
    /// The nodes of the plan in force.
    by_name: HashMap<Arc<str>, NodeId>,
    next: u32,
}

impl Graph {
    /// Adds a node under a new id; ids are never reused.
    pub(super) fn enter(&mut self, build: impl FnOnce(NodeId) -> Node) -> NodeId {
        let id = NodeId(self.next);
        self.next += 1;
        let node = build(id);
        self.by_name.insert(Arc::clone(&node.name), id);
        self.nodes.insert(id, Box::new(node));
        id
    }

    /// The id of the node that is entered next.
    pub(super) fn next_id(&self) -> NodeId {
        NodeId(self.next)
    }

    /// The node of the plan in force that has the name and the kind of one that is retired or gone.
    pub(super) fn successor_of(&self, node: &Node) -> Option<NodeId> {
        let kind = node.plan.body.kind();
        self.find(&node.name).filter(|id| self.node(*id).plan.body.kind() == kind)
    }

    /// Takes a node out of the plan; it has until `deadline` to drain.
    pub(super) fn retire(&mut self, id: NodeId, deadline: Mono) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.retired = Some(deadline);
            node.stream = Stream::default();
            if self.by_name.get(&node.name) == Some(&id) {
                self.by_name.remove(&node.name);
            }
        }
    }

    /// Removes a retired node that has ended.
    pub(super) fn remove(&mut self, id: NodeId) -> Option<Box<Node>> {
        self.nodes.remove(&id)
    }

    /// The node of that name in the plan in force.
    pub(super) fn find(&self, name: &str) -> Option<NodeId> {
        self.by_name.get(name).copied()
    }

    /// The nodes of the plan in force, by name.
    pub(super) fn names(&self) -> &HashMap<Arc<str>, NodeId> {
        &self.by_name
    }

    pub(super) fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id).map(|node| &**node)
    }

    pub(super) fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(&id).map(|node| &mut **node)
    }

    /// A node whose id is known to be live.
    pub(super) fn node(&self, id: NodeId) -> &Node {
        self.get(id).expect("NodeId must refer to a live node")
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.get_mut(id).expect("NodeId must refer to a live node")
    }

    pub(super) fn lane(&self, id: LaneId) -> Option<&Lane> {
        self.get(id.node)?.lanes().get(usize::from(id.lane))
    }

    pub(super) fn lane_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.get_mut(id.node)?.lanes_mut().get_mut(usize::from(id.lane))
    }

    pub(super) fn spool(&self, id: NodeId) -> Option<&SpoolState> {
        match &self.get(id)?.body {
            Body::Spool(spool) => Some(spool),
            _ => None,
        }
    }

    pub(super) fn spool_mut(&mut self, id: NodeId) -> Option<&mut SpoolState> {
        match &mut self.get_mut(id)?.body {
            Body::Spool(spool) => Some(spool),
            _ => None,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().map(|(id, node)| (*id, &**node))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (NodeId, &mut Node)> {
        self.nodes.iter_mut().map(|(id, node)| (*id, &mut **node))
    }

    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// The nodes downstream of `from`, each once, passing only through nodes that `through`
    /// accepts.
    pub(super) fn downstream(&self, from: NodeId, through: impl Fn(&Body) -> bool) -> Vec<NodeId> {
        let (mut found, mut open, mut seen) = (Vec::new(), vec![from], HashSet::new());
        while let Some(id) = open.pop() {
            for &(subscriber, _) in &self.node(id).stream.subscribers {
                if !seen.insert(subscriber) {
                    continue;
                }
                found.push(subscriber);
                if through(&self.node(subscriber).body) {
                    open.push(subscriber);
                }
            }
        }
        found
    }

    /// The outputs, spools and processes that lines of `from` reach directly or through filters
    /// without a process.
    pub(super) fn ends(&self, from: NodeId) -> Vec<NodeId> {
        let is_pass = |body: &Body| matches!(body, Body::Pass);
        let mut ends = self.downstream(from, is_pass);
        ends.retain(|id| !is_pass(&self.node(*id).body));
        ends
    }

    /// The nodes upstream of `to`, each once, passing only through nodes that `through` accepts.
    pub(super) fn upstream(&self, to: NodeId, through: impl Fn(&Body) -> bool) -> Vec<NodeId> {
        let (mut found, mut open, mut seen) = (Vec::new(), vec![to], HashSet::new());
        while let Some(id) = open.pop() {
            for from in self.node(id).plan.from.iter().filter_map(|name| self.find(name)) {
                if !seen.insert(from) {
                    continue;
                }
                found.push(from);
                if through(&self.node(from).body) {
                    open.push(from);
                }
            }
        }
        found
    }
}
