//! The whole daemon minus the kernel: events and the time go in, actions come out.
//!
//! The engine owns the flow: the graph of nodes, what each node selects, every queue, the state of
//! each child, and every node's ledger. It makes no system call and reads no clock, so a test can
//! stand in for the kernel.
//!
//! # Contract
//!
//! - When something has happened, or [`Engine::deadline`] has passed: [`Engine::handle`],
//!   [`Engine::apply`], [`Engine::reload`] or [`Engine::terminate`]. Then poll actions, and after
//!   them ready lanes.
//! - [`Engine::poll_action`], until it returns `None`. Carry out each action before the next poll.
//! - [`Engine::poll_ready`], until it returns `None`. Call [`Engine::take_up`] on the lane, then
//!   write to it. A lane is named again only after more lines have come or after
//!   [`Engine::writable`].
//! - Children are collected until no lane is ready, and then written to together, with
//!   [`Engine::write_children`], because they may share what is written.
//! - For a lane that was taken up, according to its [`SinkKind`]: [`Engine::datagrams`], or
//!   [`Engine::fill`] with [`Engine::out`]. Report what was written with [`Engine::wrote`] or
//!   [`Engine::sent`], and call [`Engine::write_blocked`] if the sink accepts no more.
//! - When the sink has room again: [`Engine::writable`]. When a child has read:
//!   [`Engine::unread`]. Then poll ready lanes.
//! - At any time: [`Engine::status`], [`Engine::figures`] and the other `&self` methods.
//!
//! Lines are never copied into an action. An event costs only the nodes that it reaches: it touches
//! them, and only touched nodes are serviced afterwards (`agenda.rs`).

mod agenda;
mod backpressure;
mod barrier;
mod build;
mod child;
mod connection;
mod consumer;
mod cx;
mod dates;
mod delivery;
mod event;
mod fan;
mod flow;
mod graph;
mod jobs;
mod lane;
#[cfg(test)]
mod loss_tests;
pub mod losses;
pub mod minutes;
#[cfg(test)]
mod pair_tests;
mod patience;
pub mod remedy;
mod shape;
mod shutdown;
mod spool;
#[cfg(test)]
mod squeeze_tests;
pub mod status;
mod sums;
pub mod tap;
#[cfg(test)]
mod tests;
pub mod trouble;
#[cfg(test)]
mod wait_tests;
#[cfg(test)]
mod work_tests;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::batch::Batch;
use crate::clock::Mono;
use crate::config::plan::Plan;
use crate::filter::squeeze::Squeezer;
use crate::ids::{LaneId, NodeId};
use crate::input::Throttle;
use crate::ledger::Reason;
use crate::limits::CLOSE_MIN;
use crate::minute::Minute;

use backpressure::Backpressure;
use barrier::Barriers;
pub use build::Prepared;
use consumer::Consumers;
pub use consumer::ReadJob;
use cx::Cx;
pub use event::{Action, DiskJob, DiskWork, Event, LinkEvent};
use fan::Fan;
pub use fan::Pipes;
use graph::{Body, Graph};
pub use lane::SinkKind;
use lane::{Completed, Lane};
pub use spool::SpoolFound;
use status::GoneStatus;
use tap::Taps;

/// The daemon's state.
#[derive(Debug)]
pub struct Engine {
    plan: Plan,
    graph: Graph,
    consumers: Consumers,
    barriers: Barriers,
    backpressure: Backpressure,
    taps: Taps,
    /// The minutes of nodes that are gone.
    departed: Vec<minutes::Departed>,
    cx: Cx,
    fan: Fan,
    /// Children that were written to and have not read all of it.
    unread: BTreeSet<LaneId>,
    /// When the remaining lines are given up; set once the daemon is ending.
    ending: Option<Mono>,
    /// Nodes that have not finished.
    unfinished: usize,
    /// Inputs that may still produce lines.
    open_inputs: usize,
    /// The counts of nodes that are removed.
    gone: GoneStatus,
    /// Set when queues have been added or removed since the memory was last shared out.
    shares_changed: bool,
}

impl Engine {
    /// An engine for `plan`.
    ///
    /// # Errors
    /// Reports which regexes cannot be compiled together.
    pub fn new(plan: &Plan, now: Mono) -> Result<Self, String> {
        Ok(Self::with(Prepared::new(plan)?, now))
    }

    /// An engine for a prepared plan.
    pub fn with(prepared: Prepared, now: Mono) -> Self {
        let empty = Plan { daemon: prepared.plan().daemon.clone(), nodes: Vec::new() };
        let mut engine = Self {
            plan: empty,
            graph: Graph::default(),
            consumers: Consumers::default(),
            barriers: Barriers::default(),
            backpressure: Backpressure::default(),
            taps: Taps::default(),
            departed: Vec::new(),
            cx: Cx::default(),
            fan: Fan::default(),
            unread: BTreeSet::new(),
            ending: None,
            unfinished: 0,
            open_inputs: 0,
            gone: GoneStatus::default(),
            shares_changed: false,
        };
        engine.apply(prepared, now);
        engine
    }

    /// Handles an event.
    pub fn handle(&mut self, event: Event, now: Mono) {
        self.cx.now = now;
        match event {
            Event::Lines { node, batch } => self.receive(node, &batch),
            Event::Counts { node, counts, at } => self.count_input(node, &counts, Minute::of(at)),
            Event::InputWaiting { node, parts } => self.graph.node_mut(node).waiting = parts,
            Event::InputState { node, problem } => self.graph.node_mut(node).problem = problem,
            Event::InputEnded { node } => self.input_ended(node),
            Event::Barrier { node, number, inquiry } => self.set_barrier(node, number, inquiry),
            Event::Started { lane, pid, pipe } => self.child_started(lane, pid, pipe),
            Event::StartFailed { lane, error } => self.child_failed(lane, &error),
            Event::Printed { lane, batch, counts } => self.printed(lane, &batch, &counts),
            Event::StdinClosed { lane, unread } => self.stdin_closed(lane, unread),
            Event::Exited { lane, how, unread } => self.child_exited(lane, &how, unread),
            Event::JobDone { node, written } => self.job_done(node, written),
            Event::Checkpointed { node, kept } => self.checkpointed(node, kept),
            Event::Reopened { node, done } => self.reopened(node, done),
            Event::SpoolOpened { node, found } => self.spool_opened(node, *found),
            Event::SpoolDone { node, report } => self.spool_done(node, *report),
            Event::SpoolRead { lane, read } => self.spool_read(lane, read),
            Event::Link { lane, event } => self.link_event(lane, event),
            Event::Tick => {}
        }
        self.settle();
    }

    /// Services every node that was touched or whose timer has expired, until none is left.
    fn settle(&mut self) {
        self.cx.agenda.expire(self.cx.now);
        while let Some(node) = self.cx.agenda.next() {
            self.service(node);
        }
        self.release_held_barriers();
        self.backpressure.refresh(&self.graph, &mut self.cx);
        if std::mem::take(&mut self.shares_changed) {
            self.share_budget();
        }
    }

    /// Does what a node needs after an event or after time has passed.
    fn service(&mut self, id: NodeId) {
        let Some(node) = self.graph.get(id) else { return };
        let lanes = u16::try_from(node.lanes().len()).unwrap_or(u16::MAX);
        for lane in 0..lanes {
            self.service_lane(LaneId { node: id, lane });
        }
        self.squeeze(id, false);
        if let Some(spool) = self.graph.spool_mut(id) {
            spool.expire_retry(self.cx.now);
            self.start_spool_jobs(id);
        }
        let unread = self.dropped_unread(id);
        if let Some(node) = self.graph.get_mut(id) {
            self.backpressure.note(id, node, &self.cx);
            Self::report_losses(id, node, Some(unread), &mut self.cx);
        }
        self.progress(id);
        let deadline = self.deadline_of(id);
        self.cx.agenda.arm(id, deadline, self.cx.now);
    }

    fn service_lane(&mut self, lane: LaneId) {
        let now = self.cx.now;
        let moved = match self.consumers.get_mut(lane) {
            Some(consumer) => {
                consumer.expire_retry(now);
                consumer.has_moved()
            }
            None => false,
        };
        let Some(entry) = self.graph.lane_mut(lane) else { return };
        entry.tick_child(&mut self.cx);
        if let Some(jobs) = entry.jobs_mut() {
            jobs.set_dirty(moved);
            if jobs.retry_is_due(now) {
                entry.proceed(&mut self.cx);
            }
        }
        if let Some(jobs) = entry.jobs_mut() {
            jobs.checkpoint_where_due(lane.node, false, &mut self.cx);
        }
        self.tick_connection(lane);
        self.refill(lane);
    }

    /// When a node must be serviced again if no event reaches it first.
    fn deadline_of(&self, id: NodeId) -> Option<Mono> {
        let node = self.graph.get(id)?;
        let now = self.cx.now;
        let lanes = node.lanes().iter().flat_map(|lane| {
            let consumer = self.consumers.get(lane.id);
            let own = lane.deadline().filter(|_| consumer.is_none_or(|c| c.has_begun()));
            let burst = lane.jobs().and_then(|jobs| jobs.burst.deadline(self.cx.now));
            let behind = lane.child().and_then(|child| child.throttles_until(self.cx.now));
            let retry = consumer.and_then(consumer::Consumer::retry_at);
            let patience = lane.patience.deadline();
            own.into_iter().chain(burst).chain(behind).chain(retry).chain(patience)
        });
        let spool = match (&node.body, shape::spool(&node.plan.body)) {
            (Body::Spool(spool), Some(plan)) => {
                let own = spool.deadline(plan, self.has_moved_cursors(id), now);
                let bursts = [&spool.burst, &spool.unsynced];
                let bursts = bursts.into_iter().filter_map(|burst| burst.deadline(self.cx.now));
                own.into_iter().chain(bursts).min()
            }
            _ => None,
        };
        let given_up = self.given_up_at(node).filter(|_| !node.finished);
        let ends = given_up.into_iter().flat_map(|at| [at, at + CLOSE_MIN]);
        let losses = node.losses.deadline();
        let repeats = node.squeezer.as_ref().and_then(Squeezer::deadline);
        lanes.chain(spool).chain(ends).chain(losses).chain(repeats).filter(|at| *at > now).min()
    }

    fn touch_all(&mut self) {
        for id in self.graph.ids() {
            self.cx.touch(id);
        }
    }

    fn input_ended(&mut self, id: NodeId) {
        if let Body::Input { ended } = &mut self.graph.node_mut(id).body {
            self.open_inputs -= usize::from(!*ended);
            *ended = true;
        }
        self.cx.touch(id);
    }

    // ---- what the driver does

    /// The next thing the driver must do.
    pub fn poll_action(&mut self) -> Option<Action> {
        if let Some(action) = self.cx.poll_action() {
            return Some(action);
        }
        // What was written since the last event may have completed lines.
        self.settle();
        self.cx.poll_action()
    }

    /// The next lane with lines to write. A lane is named again only after more lines have come or
    /// after [`Engine::writable`].
    pub fn poll_ready(&mut self) -> Option<LaneId> {
        self.cx.poll_ready()
    }

    /// How many nodes were serviced so far.
    #[cfg(test)]
    pub(crate) fn looks(&self) -> u64 {
        self.cx.agenda.looks
    }

    /// When to call [`Engine::handle`] again if nothing happens first.
    pub fn deadline(&self) -> Option<Mono> {
        self.cx.agenda.deadline()
    }

    /// Takes up a lane that was named as ready. Returns whether it can still be written to.
    pub fn take_up(&mut self, lane: LaneId) -> bool {
        self.graph.lane_mut(lane).is_some_and(Lane::take_up)
    }

    /// Where a lane's lines go.
    pub fn sink(&self, lane: LaneId) -> Option<SinkKind> {
        self.graph.lane(lane).map(Lane::kind)
    }

    /// Notes that `bytes` bytes of a child's lines or of [`Engine::out`] were written.
    pub fn wrote(&mut self, lane: LaneId, bytes: usize) {
        let Some(entry) = self.graph.lane_mut(lane) else { return };
        match entry.connection_mut() {
            Some(connection) => {
                connection.link.wrote(bytes);
                entry.proceed(&mut self.cx);
            }
            None => {
                entry.queue.wrote(bytes);
                if let Some(child) = entry.child_mut() {
                    child.note_written(bytes, self.cx.now);
                }
                self.unread.insert(lane);
            }
        }
    }

    /// The first lines waiting for a socket, to be sent one line per datagram.
    pub fn datagrams(&self, lane: LaneId) -> Option<Batch> {
        self.graph.lane(lane)?.queue.front().cloned()
    }

    /// Notes the outcome of [`Engine::datagrams`]: `sent` bytes of lines were sent; the next
    /// `refused` bytes were refused by the network and are given up.
    pub fn sent(&mut self, lane: LaneId, sent: usize, refused: usize) {
        let Some(entry) = self.graph.lane_mut(lane) else { return };
        let left = entry.queue.advance(sent, &mut self.cx.budget);
        let lost = entry.queue.advance(refused, &mut self.cx.budget);
        entry.proceed(&mut self.cx);
        self.complete(lane, Completed::with_lost(left, lost, Reason::SendError));
    }

    /// Sets a UDP output's destination, `None` while it is unknown; `error` is the reason.
    pub fn sends_to(&mut self, lane: LaneId, to: Option<SocketAddr>, error: Option<String>) {
        if let Some(lane) = self.graph.lane_mut(lane) {
            lane.sends_to(to, error, &mut self.cx);
        }
    }

    /// Notes that a lane's sink accepts no more: the lane is not ready until [`Engine::writable`].
    pub fn write_blocked(&mut self, lane: LaneId) {
        if let Some(entry) = self.graph.lane_mut(lane) {
            self.fan.set_behind(lane, entry.child().is_some());
            entry.block();
        }
    }

    /// A lane's sink has room again.
    pub fn writable(&mut self, lane: LaneId) {
        self.fan.set_behind(lane, false);
        if let Some(lane) = self.graph.lane_mut(lane) {
            lane.unblock(&mut self.cx);
        }
    }

    /// Reopens every file by its name. It is done when [`Engine::is_reopening`] returns false.
    pub fn reopen(&mut self) {
        for id in self.graph.ids() {
            let lanes = self.graph.node_mut(id).lanes_mut().iter_mut();
            for jobs in lanes.filter_map(Lane::jobs_mut).filter(|jobs| !jobs.closed) {
                jobs.reopen();
                self.cx.act(Action::Disk(DiskJob { node: id, work: DiskWork::Reopen }));
            }
        }
    }

    /// Returns whether lines may still be written to a file that was to be reopened.
    pub fn is_reopening(&self) -> bool {
        let lanes = self.graph.iter().flat_map(|(_, node)| node.lanes());
        lanes.filter_map(Lane::jobs).any(jobs::Jobs::is_reopening)
    }

    // ---- what can be asked

    /// The plan in force.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The node of that name in the plan in force.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.graph.find(name)
    }

    /// All nodes of the plan in force, by their names.
    pub fn names(&self) -> HashMap<Arc<str>, NodeId> {
        self.graph.names().clone()
    }

    /// The name of a node. An action may name one that a reload has removed since.
    pub fn name_of(&self, node: NodeId) -> Arc<str> {
        let name = self.graph.get(node).map(|node| Arc::clone(&node.name));
        name.unwrap_or_else(|| "a removed node".into())
    }

    /// Returns whether a node is still there.
    pub fn has(&self, node: NodeId) -> bool {
        self.graph.get(node).is_some()
    }

    /// All inputs of the plan in force.
    pub fn inputs(&self) -> Vec<NodeId> {
        let live = self.graph.iter().filter(|(_, node)| node.retired.is_none());
        live.filter(|(_, node)| node.is_input()).map(|(id, _)| id).collect()
    }

    /// The inputs whose lines reach a spool.
    pub fn spooled_inputs(&self) -> BTreeSet<NodeId> {
        let spools = self.graph.iter().filter(|(_, node)| node.is_spool()).map(|(id, _)| id);
        backpressure::inputs_upstream(&self.graph, &spools.collect())
    }

    /// Returns whether the driver was told to take nothing from an input or from the output of a
    /// filter process.
    pub fn is_paused(&self, node: NodeId) -> bool {
        self.backpressure.is_paused(node) || self.backpressure.waits(node)
    }

    /// How much of the kernel's buffer an input leaves data in, as the driver was told.
    pub fn throttle_of(&self, node: NodeId) -> Throttle {
        self.backpressure.throttle_of(node)
    }
}
