//! Backpressure: which inputs are paused because a downstream queue is full, which wait because
//! an output is behind (`patience.rs`), and which are throttled (they leave data in the kernel's
//! buffer) because a downstream disk or child has fallen behind in a burst.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Mono;
use crate::config::plan::{BodyPlan, SpoolFull};
use crate::ids::NodeId;
use crate::input::Throttle;
use crate::limits::HOLD_MAX;
use crate::proto::traits::Claim;

use super::cx::Cx;
use super::graph::{Body, Graph, Lanes, Node};
use super::patience::Patience;
use super::{Action, shape};

/// Tracks whether a file or a spool has fallen behind in a burst.
#[derive(Debug, Clone, Copy)]
pub(super) struct Burst {
    /// Bytes that may wait before it counts as behind.
    bound: u64,
    /// When more than that began to wait.
    since: Option<Mono>,
    /// Bytes waiting now.
    waiting: u64,
}

impl Burst {
    pub(super) fn beyond(bound: u64) -> Self {
        Self { bound, since: None, waiting: 0 }
    }

    /// Notes how many bytes are waiting. The node is behind until none are.
    pub(super) fn note(&mut self, waiting: u64, now: Mono) {
        self.waiting = waiting;
        match waiting {
            0 => self.since = None,
            bytes if bytes > self.bound => drop(self.since.get_or_insert(now)),
            _ => {}
        }
    }

    /// Returns whether inputs should be throttled: the node is behind, but not for so long that it
    /// is simply slow.
    fn throttles(&self, now: Mono) -> bool {
        self.waiting > self.bound && self.since.is_some_and(|since| now.since(since) < HOLD_MAX)
    }

    /// Returns whether it has been behind since something began to wait.
    pub(super) fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// Returns whether more is waiting than the bound, for any length of time.
    fn is_beyond(&self) -> bool {
        self.waiting > self.bound
    }

    /// When throttling ends.
    pub(super) fn deadline(&self, now: Mono) -> Option<Mono> {
        self.since.filter(|_| self.throttles(now)).map(|since| since + HOLD_MAX)
    }
}

/// Which inputs a full queue stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stops {
    /// All of them.
    All,
    /// Those that acknowledge lines or keep positions.
    Acknowledging,
    /// Those that keep positions, as long as there is patience with the node.
    Patient,
}

const STOPS: [Stops; 3] = [Stops::All, Stops::Acknowledging, Stops::Patient];

/// Which nodes hold back which inputs.
#[derive(Debug, Default)]
pub(super) struct Backpressure {
    /// Nodes whose full queue stops inputs.
    full: BTreeSet<(NodeId, Stops)>,
    /// Nodes that have fallen behind in a burst.
    bursting: BTreeSet<NodeId>,
    /// Spools with so much unsynced data in memory that datagrams are better left in the kernel,
    /// for any length of time: data there outlives a killed daemon.
    crowded: BTreeSet<NodeId>,
    /// Nodes with children whose pipes are full, and that read: for them datagrams are left in the
    /// kernel, which is their first queue. How much of its buffer each can do with: half where only
    /// some of its children are behind, all of it where their queues have been half full since.
    behind: BTreeMap<NodeId, Throttle>,
    paused: BTreeSet<NodeId>,
    waiting: BTreeSet<NodeId>,
    throttled: BTreeMap<NodeId, Throttle>,
    changed: bool,
}

impl Backpressure {
    /// Notes the state of a node after an event.
    pub(super) fn note(&mut self, id: NodeId, node: &mut Node, cx: &Cx) {
        let now = cx.now;
        let full = is_full(node, cx);
        // Nothing comes to a retired node any more.
        let is_live = node.retired.is_none();
        let is_bursting = note_burst(node, now);
        let behind = note_behind(node, self.behind.get(&id).copied(), now);
        let crowded = matches!(&node.body, Body::Spool(spool) if spool.unsynced.is_beyond());
        for stops in STOPS {
            self.changed |= set(&mut self.full, (id, stops), full == Some(stops));
        }
        self.changed |= set(&mut self.bursting, id, is_live && is_bursting);
        let before = match behind.filter(|_| is_live) {
            Some(throttle) => self.behind.insert(id, throttle),
            None => self.behind.remove(&id),
        };
        self.changed |= before != self.behind.get(&id).copied();
        self.changed |= set(&mut self.crowded, id, is_live && crowded);
    }

    /// Forces a new evaluation because the flow has changed.
    pub(super) fn set_changed(&mut self) {
        self.changed = true;
    }

    /// Forgets a node that has been removed.
    pub(super) fn forget(&mut self, id: NodeId) {
        for stops in STOPS {
            self.changed |= self.full.remove(&(id, stops));
        }
        self.changed |= self.bursting.remove(&id) | self.crowded.remove(&id);
        self.changed |= self.behind.remove(&id).is_some();
        self.paused.remove(&id);
        self.throttled.remove(&id);
    }

    /// How much of the kernel's buffer an input leaves data in.
    pub(super) fn throttle_of(&self, node: NodeId) -> Throttle {
        self.throttled.get(&node).copied().unwrap_or_default()
    }

    /// Returns whether a full queue pauses an input.
    pub(super) fn is_paused(&self, node: NodeId) -> bool {
        self.paused.contains(&node)
    }

    /// Returns whether an input waits for an output that is behind.
    pub(super) fn waits(&self, node: NodeId) -> bool {
        self.waiting.contains(&node)
    }

    /// Tells the driver which inputs to pause or throttle, where that has changed.
    pub(super) fn refresh(&mut self, graph: &Graph, cx: &mut Cx) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let (mut paused, mut waiting) = (BTreeSet::new(), BTreeSet::new());
        for &(id, stops) in self.full.iter().filter(|(id, _)| graph.get(*id).is_some()) {
            let stopped = if stops == Stops::Patient { &mut waiting } else { &mut paused };
            stopped.extend(sources_of(graph, id, stops));
        }
        for &node in paused.difference(&self.paused) {
            cx.act(Action::Pause(node));
        }
        for &node in self.paused.difference(&paused) {
            cx.act(Action::Unpause(node));
        }
        for &node in waiting.difference(&self.waiting) {
            cx.act(Action::Wait(node, true));
        }
        for &node in self.waiting.difference(&waiting) {
            cx.act(Action::Wait(node, false));
        }
        let mut throttled = inputs_upstream(graph, &self.bursting);
        let held_in_kernel = self.crowded.iter().chain(self.behind.keys()).copied().collect();
        let inputs = inputs_upstream(graph, &held_in_kernel).into_iter();
        throttled.extend(inputs.filter(|id| has_datagrams(graph.node(*id))));
        let throttled: BTreeMap<_, _> =
            throttled.into_iter().map(|id| (id, self.throttle_for(graph, id))).collect();
        for (&node, &throttle) in &throttled {
            if self.throttle_of(node) != throttle {
                cx.act(Action::Throttle(node, throttle));
            }
        }
        for &node in self.throttled.keys().filter(|node| !throttled.contains_key(node)) {
            cx.act(Action::Throttle(node, Throttle::Off));
        }
        (self.paused, self.waiting, self.throttled) = (paused, waiting, throttled);
    }

    /// How much of the kernel's buffer a throttled input leaves data in: more than half only if
    /// every node that its lines reach can do with that.
    fn throttle_for(&self, graph: &Graph, input: NodeId) -> Throttle {
        if self.behind.is_empty() {
            return Throttle::Half;
        }
        let ends = graph.ends(input).into_iter();
        let least = ends.map(|end| self.behind.get(&end).copied().unwrap_or_default()).min();
        least.unwrap_or_default().max(Throttle::Half)
    }
}

/// Puts something into a set, or out of it. Returns whether that changed the set.
fn set<T: Ord>(members: &mut BTreeSet<T>, one: T, is_member: bool) -> bool {
    if is_member { members.insert(one) } else { members.remove(&one) }
}

/// Returns which inputs a node's full queue stops. A full queue counts as full until it is half
/// empty.
fn is_full(node: &mut Node, cx: &Cx) -> Option<Stops> {
    let (is_live, body) = (node.retired.is_none(), &node.plan.body);
    match &mut node.body {
        Body::Spool(spool) => {
            let plan = shape::spool(body)?;
            let most = plan.queue.min(spool.queue.ample(&cx.budget));
            let bound = if spool.pausing { most / 2 } else { most };
            spool.pausing = is_live && spool.queue.fill().0 > bound;
            spool.pausing.then_some(match plan.when_full {
                SpoolFull::Block => Stops::All,
                _ => Stops::Acknowledging,
            })
        }
        Body::Lanes(lanes) if is_live => match shape::blocks_at(body) {
            Some(limit) => {
                let used: u64 = lanes.lanes.iter().map(|lane| lane.queue.fill().0).sum();
                let bound = if lanes.pausing { limit / 2 } else { limit };
                lanes.pausing = used > bound;
                lanes.pausing.then_some(Stops::All)
            }
            None => (lanes.awaited && are_waited_for(lanes, cx)).then_some(Stops::Patient),
        },
        Body::Lanes(_) | Body::Input { .. } | Body::Pass => None,
    }
}

/// Notes how far behind an output's lanes are. Returns whether inputs wait for it: for each lane,
/// where each has lines of its own, and otherwise until one of them has room.
fn are_waited_for(lanes: &mut Lanes, cx: &Cx) -> bool {
    for lane in &mut lanes.lanes {
        lane.note_patience(&cx.budget, cx.now);
    }
    let mut patient = lanes.lanes.iter().map(|lane| &lane.patience).filter(|p| !p.is_over());
    match lanes.partitioner {
        Some(_) => patient.any(Patience::holds),
        None => patient.clone().next().is_some() && patient.all(Patience::holds),
    }
}

/// Notes how far behind a node is. Returns whether inputs should be throttled.
fn note_burst(node: &mut Node, now: Mono) -> bool {
    match &mut node.body {
        Body::Spool(spool) => {
            spool.burst.note(spool.unwritten(), now);
            spool.unsynced.note(spool.unsynced_bytes(), now);
            spool.burst.throttles(now) || spool.unsynced.throttles(now)
        }
        Body::Lanes(lanes) => lanes.lanes.iter_mut().any(|lane| {
            let waiting = lane.queue.fill().0;
            lane.jobs_mut().is_some_and(|jobs| {
                jobs.burst.note(waiting, now);
                jobs.burst.throttles(now)
            })
        }),
        Body::Input { .. } | Body::Pass => false,
    }
}

/// Notes how far behind a node's children are. Returns how much of the kernel's buffer it can do
/// with, if some are; `before` is what that was. All of it from when their queues are half full
/// until one of them is no longer behind.
fn note_behind(node: &mut Node, before: Option<Throttle>, now: Mono) -> Option<Throttle> {
    let (mut some, mut all, mut filled) = (false, true, true);
    for lane in node.lanes_mut() {
        let (blocked, waiting) = (lane.blocked, lane.unwritten());
        let (used, limit) = lane.queue.fill();
        let child = lane.child_mut();
        let behind = child.is_some_and(|child| child.note_behind(blocked, waiting, now));
        some |= behind;
        all &= behind;
        filled &= used > limit / 2;
    }
    some.then(|| match all {
        true if filled || before == Some(Throttle::Whole) => Throttle::Whole,
        true => Throttle::Most,
        false => Throttle::Half,
    })
}

/// The inputs and filter processes whose lines reach `node` and that its full queue stops. Inputs
/// that keep positions do not wait for what is behind a spool.
fn sources_of(graph: &Graph, node: NodeId, stops: Stops) -> Vec<NodeId> {
    let passes = |body: &Body| match body {
        Body::Spool(_) => stops != Stops::Patient,
        body => matches!(body, Body::Pass),
    };
    let mut sources = graph.upstream(node, passes);
    sources.retain(|id| {
        let source = graph.node(*id);
        match stops {
            Stops::All => source.is_input() || source.prints(),
            Stops::Acknowledging => source.is_acknowledged(),
            Stops::Patient => source.is_numbered(),
        }
    });
    sources
}

/// The inputs whose lines reach one of `nodes`. The search stops at spools, which buffer what is
/// downstream of them.
pub(super) fn inputs_upstream(graph: &Graph, nodes: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let is_no_spool = |body: &Body| !matches!(body, Body::Spool(_));
    let live = nodes.iter().filter(|id| graph.get(**id).is_some());
    let upstream = live.flat_map(|id| graph.upstream(*id, is_no_spool));
    upstream.filter(|id| graph.node(*id).is_input()).collect()
}

/// Returns whether an input has a datagram socket.
fn has_datagrams(node: &Node) -> bool {
    let BodyPlan::Input(input) = &node.plan.body else { return false };
    let is_datagram = |claim: &Claim| matches!(claim, Claim::Udp { .. } | Claim::UnixPath(_));
    input.source.claims().iter().any(is_datagram)
}
