//! The whole daemon minus the kernel: events and the time go in, actions come out.
//!
//! The engine owns the flow: which node takes from which, what each selects, what waits in
//! which queue, where each child is in its life, and every node's ledger. It makes no system
//! call and reads no clock, so that a test can be the kernel.
//!
//! The driver's duty after every [`Engine::handle`] is to carry out what
//! [`Engine::poll_action`] gives until it gives nothing, to write to whatever
//! [`Engine::poll_ready`] names, and to call again at [`Engine::deadline`] at the latest.
//! Lines are never copied into an action: the driver borrows them
//! ([`Engine::slices`]) and says how much it wrote ([`Engine::wrote`]).

mod build;
mod child;
mod disk;
mod feed;
mod flow;
mod forward;
mod net;
#[cfg(test)]
mod pair_tests;
mod shutdown;
mod spool;
pub mod status;
pub mod tap;
#[cfg(test)]
mod tests;
mod ticket;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use crate::batch::Batch;
use crate::clock::Mono;
use crate::config::plan::{BodyPlan, ConfinePlan, FilePlan, NodePlan, Plan, SpoolPlan};
use crate::filter::patterns::{Hits, Patterns};
use crate::filter::{PatternIds, Selector};
use crate::format::Formatter;
use crate::forward::link;
use crate::ids::{Identity, LaneId, NodeId, ProcId};
use crate::input::InputCounts;
use crate::ledger::{Count, Ledger};
use crate::limits::CLOSE_LEAST;
use crate::output::file::Written;
use crate::output::queue::{Budget, Queue};
use crate::spool::job::{Job, Report};
use crate::spool::reader::Read;

use child::Child;
use disk::DiskOut;
use feed::Feed;
pub use feed::FeedJob;
pub use forward::LinkEvent;
pub use spool::SpoolFound;
use status::Complaint;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// Lines came in by an input.
    Lines {
        /// The input.
        node: NodeId,
        /// Its lines.
        batch: Batch,
    },
    /// An input counted something beside lines.
    Counts {
        /// The input.
        node: NodeId,
        /// What came since the last time.
        counts: InputCounts,
    },
    /// An input will give no more lines.
    InputEnded {
        /// The input.
        node: NodeId,
    },
    /// A child was started.
    Started {
        /// Which.
        proc: ProcId,
        /// Its process id.
        pid: u32,
    },
    /// A child could not be started.
    StartFailed {
        /// Which.
        proc: ProcId,
        /// Why.
        error: String,
    },
    /// A child printed lines.
    Printed {
        /// Which.
        proc: ProcId,
        /// The lines.
        batch: Batch,
        /// Lines it printed that had to be cut.
        counts: InputCounts,
    },
    /// A child takes no more lines though it may live on.
    StdinClosed {
        /// Which.
        proc: ProcId,
        /// How many bytes it left unread in its pipe.
        unread: usize,
    },
    /// A child has ended, and all it printed was handed in.
    Exited {
        /// Which.
        proc: ProcId,
        /// How, in words.
        how: String,
        /// How many bytes it left unread in its pipe.
        unread: usize,
    },
    /// The disk has done with an output's job.
    DiskDone {
        /// The output.
        node: NodeId,
        /// What became of the job's lines.
        written: Written,
    },
    /// An output's files are on disk up to these lengths.
    Checkpointed {
        /// The output.
        node: NodeId,
        /// Its files, or why they are not.
        files: Result<Vec<(PathBuf, u64)>, String>,
    },
    /// An output's files were to be opened by name again.
    Reopened {
        /// The output.
        node: NodeId,
        /// Whether nothing is written to the old ones any more; else a checkpoint comes first.
        done: bool,
    },
    /// Clients of an input wait for an answer to what was handed in so far.
    Ticket {
        /// The input.
        node: NodeId,
        /// The ticket's number, which only grows.
        number: u64,
        /// A spool whose last line on disk here is asked for.
        asks: Option<Identity>,
    },
    /// The disk has opened a spool.
    SpoolOpened {
        /// The spool.
        node: NodeId,
        /// What is in it.
        found: Box<SpoolFound>,
    },
    /// The disk has done with a spool's job.
    SpoolDone {
        /// The spool.
        node: NodeId,
        /// What came of it.
        report: Box<Report>,
    },
    /// A reader of a spool has read on.
    FeedRead {
        /// The reader.
        feed: LaneId,
        /// What it found.
        read: Result<Read, String>,
    },
    /// Something happened to a forward output's connection.
    Link {
        /// Whose.
        lane: LaneId,
        /// What.
        event: LinkEvent,
    },
    /// Only time has passed.
    Tick,
}

/// Something the driver must do.
#[derive(Debug)]
pub enum Action {
    /// Start a child.
    Start(ProcId),
    /// Close a child's stdin.
    CloseStdin(ProcId),
    /// Send TERM to a child's process group.
    Terminate(ProcId),
    /// Send KILL to a child's process group.
    Kill(ProcId),
    /// Hand a job to the disk; jobs of one output are done in order.
    Disk(DiskJob),
    /// Take no more from an input, or from what a filter prints, until told.
    Pause(NodeId),
    /// Take from it again.
    Resume(NodeId),
    /// Tell an input that what it handed in up to this ticket is on disk.
    Settled {
        /// The input.
        node: NodeId,
        /// The ticket.
        ticket: u64,
    },
    /// Tell an input what it asked for with this ticket.
    Tell {
        /// The input.
        node: NodeId,
        /// The ticket.
        ticket: u64,
        /// The last line of that spool in each spool behind the input.
        lasts: Vec<Option<u64>>,
    },
    /// Read a spool for one of its readers; answered by [`Event::FeedRead`].
    Read(FeedJob),
    /// Do something about a lane's connection.
    Link(LaneId, link::Command),
}

/// A job for the disk.
#[derive(Debug)]
pub struct DiskJob {
    /// The output.
    pub node: NodeId,
    /// What to do.
    pub work: DiskWork,
}

/// What the disk is to do for an output.
#[derive(Debug)]
pub enum DiskWork {
    /// Be ready for it.
    Open(DiskTarget),
    /// Write lines; answered by [`Event::DiskDone`].
    Append(Vec<Batch>),
    /// Cut files back to these lengths, before anything is written.
    Restore(Vec<(PathBuf, u64)>),
    /// Have all that was written survive a crash; answered by [`Event::Checkpointed`].
    Checkpoint,
    /// The last checkpoint is in the reader's cursor, on disk.
    Checked,
    /// A spool's job; answered by [`Event::SpoolDone`].
    Spool(Box<Job>),
    /// A spool's plan or its readers are others now.
    Respool(Box<SpoolPlan>, Vec<String>),
    /// Close its files and open them by name again.
    Reopen,
    /// It is done.
    Close,
}

/// Where an output's lines go on disk.
#[derive(Debug, Clone)]
pub enum DiskTarget {
    /// Files; `exact` where they are cut back after a crash to what a cursor says.
    File {
        /// Where, and how.
        plan: FilePlan,
        /// Whether there is a cursor.
        exact: bool,
    },
    /// Standard output.
    Stdout,
}

/// Something that has lines to be written now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// A child's stdin.
    Child(ProcId),
    /// A UDP output.
    Udp(NodeId),
    /// A lane of a forward output.
    Lane(LaneId),
}

/// The daemon's state.
#[derive(Debug)]
pub struct Engine {
    plan: Plan,
    /// By [`NodeId`]; a place is never used twice.
    nodes: Vec<Option<Node>>,
    children: BTreeMap<ProcId, Child>,
    next_proc: u32,
    /// The readers of spools.
    feeds: BTreeMap<LaneId, Feed>,
    tickets: BTreeMap<NodeId, ticket::Tickets>,
    /// Whether what goes through the flow just now is a client's that waits for an answer.
    waits_for_spools: bool,
    budget: Budget,
    actions: VecDeque<Action>,
    ready: VecDeque<Ready>,
    /// Set once the daemon is to end: when what is left is given up.
    ending: Option<Mono>,
    paused: Vec<NodeId>,
    taps: Vec<tap::Tap>,
    /// When [`Engine::handle`] was last called.
    ticked: Mono,
}

#[derive(Debug)]
struct Node {
    name: Arc<str>,
    plan: NodePlan,
    selector: Selector,
    stream: Stream,
    ledger: Ledger,
    body: Body,
    /// Set once the node is no longer in the plan: when what it holds is given up.
    retired: Option<Mono>,
    /// When its queue let lines go the last time, or began to hold some.
    moved: Mono,
    /// What was counted beside lines.
    counts: InputCounts,
    /// How its lines are written before they wait in its queue.
    formatter: Formatter,
}

/// What leaves a node, and who takes of it.
#[derive(Debug, Default)]
struct Stream {
    takers: Vec<(NodeId, PatternIds)>,
    patterns: Patterns,
    hits: Hits,
}

#[derive(Debug)]
enum Body {
    Input { ended: bool },
    Pass,
    Process(Process),
    Disk(DiskOut),
    Udp(net::UdpOut),
    Forward(forward::ForwardOut),
    Spool(Box<spool::SpoolOut>),
}

/// A process filter or output: its workers, and what they printed.
#[derive(Debug)]
struct Process {
    workers: Vec<ProcId>,
    printed: Count,
    /// The last lines its workers wrote to standard error.
    stderr: VecDeque<Complaint>,
    /// Whether its queue, which makes inputs wait, is full.
    holding: bool,
}

impl Engine {
    /// An engine for `plan`.
    ///
    /// # Errors
    /// Says which regexes do not compile together.
    pub fn new(plan: &Plan, now: Mono) -> Result<Self, String> {
        let empty = Plan { daemon: plan.daemon.clone(), nodes: Vec::new() };
        let mut engine = Self {
            plan: empty,
            nodes: Vec::new(),
            children: BTreeMap::new(),
            next_proc: 0,
            feeds: BTreeMap::new(),
            tickets: BTreeMap::new(),
            waits_for_spools: false,
            budget: Budget::default(),
            actions: VecDeque::new(),
            ready: VecDeque::new(),
            ending: None,
            paused: Vec::new(),
            taps: Vec::new(),
            ticked: now,
        };
        engine.reload(plan, now)?;
        Ok(engine)
    }

    /// Takes in what happened.
    pub fn handle(&mut self, event: Event, now: Mono) {
        match event {
            Event::Lines { node, batch } => self.take_in(node, &batch, now),
            Event::Counts { node, counts } => self.node_mut(node).counts.add(&counts),
            Event::InputEnded { node } => {
                if let Body::Input { ended } = &mut self.node_mut(node).body {
                    *ended = true;
                }
            }
            Event::Started { proc, pid } => self.child_started(proc, pid, now),
            Event::StartFailed { proc, error } => self.child_failed(proc, &error, now),
            Event::Printed { proc, batch, counts } => self.printed(proc, &batch, &counts, now),
            Event::StdinClosed { proc, unread } => self.stdin_closed(proc, unread, now),
            Event::Exited { proc, how, unread } => self.child_exited(proc, &how, unread, now),
            Event::DiskDone { node, written } => self.disk_done(node, written, now),
            Event::Checkpointed { node, files } => self.checkpointed(node, files, now),
            Event::Ticket { node, number, asks } => self.take_ticket(node, number, asks),
            Event::SpoolOpened { node, found } => self.spool_opened(node, *found, now),
            Event::SpoolDone { node, report } => self.spool_done(node, *report, now),
            Event::FeedRead { feed, read } => self.feed_read(feed, read, now),
            Event::Link { lane, event } => self.link_event(lane, event, now),
            Event::Reopened { node, done } => self.reopened(node, done, now),
            Event::Tick => {}
        }
        self.tick(now);
    }

    /// What the driver must do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Who has lines to be written now. Named again only after more came or after
    /// [`Engine::writable`].
    pub fn poll_ready(&mut self) -> Option<Ready> {
        self.ready.pop_front()
    }

    /// When to call [`Engine::handle`] again, if nothing happens before.
    pub fn deadline(&self) -> Option<Mono> {
        let children = self.children.values().filter_map(|child| child.supervisor.deadline());
        let nodes = self.nodes().filter_map(|(_, node)| match &node.body {
            Body::Disk(disk) => disk.deadline(),
            Body::Spool(spool) => match &node.plan.body {
                BodyPlan::Spool(plan) => spool.deadline(plan),
                _ => None,
            },
            _ => None,
        });
        let nodes = nodes.chain(self.feeds_deadline()).chain(self.lanes_deadline());
        let retired = self.nodes().filter_map(|(_, node)| node.retired);
        let ends = retired.chain(self.ending).flat_map(|at| [at, at + CLOSE_LEAST]);
        // What was due at the last tick was dealt with then.
        let all = children.chain(nodes).chain(ends);
        all.filter(|&at| at > self.ticked).min()
    }

    /// The plan in force.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The node of that name in the plan in force.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes()
            .find(|(_, node)| node.retired.is_none() && &*node.name == name)
            .map(|(id, _)| id)
    }

    /// A node's name.
    pub fn name_of(&self, node: NodeId) -> Arc<str> {
        Arc::clone(&self.node(node).name)
    }

    /// All inputs of the plan in force.
    pub fn inputs(&self) -> Vec<NodeId> {
        let live = |node: &Node| node.retired.is_none() && matches!(node.body, Body::Input { .. });
        self.nodes().filter(|(_, node)| live(node)).map(|(id, _)| id).collect()
    }

    /// The UDP outputs, with where they send.
    pub fn udp_outputs(&self) -> Vec<(NodeId, String)> {
        let to = |(id, node): (NodeId, &Node)| match &node.plan.body {
            BodyPlan::Udp(plan) => Some((id, plan.to.clone())),
            _ => None,
        };
        self.nodes().filter_map(to).collect()
    }

    /// Whether the driver was told to leave an input, or what a filter prints, alone.
    pub fn is_paused(&self, node: NodeId) -> bool {
        self.paused.contains(&node)
    }

    /// The node a child belongs to.
    pub fn node_of(&self, proc: ProcId) -> NodeId {
        self.child(proc).node
    }

    /// A child's command.
    pub fn command_of(&self, proc: ProcId) -> &str {
        self.node(self.child(proc).node).plan.body.command().unwrap_or_default()
    }

    /// What a child may not do.
    pub fn confined(&self, proc: ProcId) -> &ConfinePlan {
        const FREE: &ConfinePlan = &ConfinePlan {
            user: None,
            nice: 0,
            memory: None,
            cpu: None,
            files: None,
            may_gain_privileges: false,
        };
        match &self.node(self.child(proc).node).plan.body {
            BodyPlan::Run(plan) | BodyPlan::Pipe(plan) => &plan.confine,
            _ => FREE,
        }
    }

    /// The longest line a child may print; `None` where what it prints is not a stream.
    pub fn prints(&self, proc: ProcId) -> Option<usize> {
        match &self.node(self.child(proc).node).plan.body {
            BodyPlan::Run(plan) => Some(plan.max_line),
            _ => None,
        }
    }

    /// Has every file opened anew by its name.
    pub fn reopen(&mut self) {
        let disks: Vec<_> = self
            .nodes()
            .filter(|(_, node)| matches!(node.body, Body::Disk(_)))
            .map(|(id, _)| id)
            .collect();
        for node in disks {
            self.actions.push_back(Action::Disk(DiskJob { node, work: DiskWork::Reopen }));
        }
    }

    fn tick(&mut self, now: Mono) {
        self.ticked = now;
        self.tick_children(now);
        self.tick_spools(now);
        self.tick_feeds(now);
        self.tick_disks(now);
        self.tick_lanes(now);
        self.refresh_pauses();
        self.progress(now);
    }

    fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        let id = |at: usize| NodeId(u32::try_from(at).unwrap_or(u32::MAX));
        self.nodes.iter().enumerate().filter_map(move |(at, node)| Some((id(at), node.as_ref()?)))
    }

    fn node(&self, node: NodeId) -> &Node {
        self.nodes[node.0 as usize].as_ref().expect("a node's id outlives it nowhere")
    }

    fn node_mut(&mut self, node: NodeId) -> &mut Node {
        self.nodes[node.0 as usize].as_mut().expect("a node's id outlives it nowhere")
    }

    fn child(&self, proc: ProcId) -> &Child {
        self.children.get(&proc).expect("a child's id outlives it nowhere")
    }
}

/// Both the bound of a queue and the time its lines came are the queue's own affair; what
/// is counted here is what it holds.
fn queued(queues: impl Iterator<Item = Count>) -> Count {
    queues.fold(Count::default(), |mut sum, count| {
        sum.add(count.lines, count.bytes);
        sum
    })
}

/// The queue of an output that has one queue.
fn new_queue(limit: u64) -> Queue {
    // Its share is set when the budget is made anew, right after.
    Queue::new(limit, 0)
}
