//! The engine's inputs (events) and outputs (actions).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::batch::{Batch, Inquiry};
use crate::config::plan::{BodyPlan, SpoolPlan};
use crate::forward::link;
use crate::forward::service::Answer;
use crate::ids::{Identity, LaneId, NodeId};
use crate::input::{InputCounts, Throttle};
use crate::output::worker::{Kept, Written};
use crate::spool::job::{Job, Report};
use crate::spool::reader::Read;

use super::consumer::ReadJob;
use super::losses::Loss;
use super::spool::SpoolFound;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// An input received lines.
    Lines {
        /// The input.
        node: NodeId,
        /// Its lines.
        batch: Batch,
    },
    /// An input counted something other than lines.
    Counts {
        /// The input.
        node: NodeId,
        /// The counts since the previous event.
        counts: InputCounts,
        /// When they were counted.
        at: SystemTime,
    },
    /// An input cannot take everything that is sent to it, or can again.
    InputState {
        /// The input.
        node: NodeId,
        /// What keeps it from that; `None` once nothing does.
        problem: Option<String>,
    },
    /// So many lines wait at an input's source.
    InputWaiting {
        /// The input.
        node: NodeId,
        /// The parts of the source, and how many lines wait in each.
        parts: Vec<(Arc<str>, u64)>,
    },
    /// An input will produce no more lines.
    InputEnded {
        /// The input.
        node: NodeId,
    },
    /// An input is to be told when all lines that it handed over so far are done with.
    Barrier {
        /// The input.
        node: NodeId,
        /// The barrier's number; numbers only grow.
        number: u64,
        /// What it asks and says of its origins.
        inquiry: Inquiry,
    },
    /// A child was started.
    Started {
        /// The child.
        lane: LaneId,
        /// Its process id.
        pid: u32,
        /// The size of the pipe to it in bytes, if known.
        pipe: Option<u64>,
    },
    /// A child could not be started.
    StartFailed {
        /// The child.
        lane: LaneId,
        /// Why.
        error: String,
    },
    /// A child printed lines.
    Printed {
        /// The child.
        lane: LaneId,
        /// The lines.
        batch: Batch,
        /// Lines it printed that had to be cut.
        counts: InputCounts,
    },
    /// A child accepts no more lines, though it may keep running.
    StdinClosed {
        /// The child.
        lane: LaneId,
        /// Bytes left unread in its pipe.
        unread: usize,
    },
    /// A child has ended, and everything it printed has been handed over.
    Exited {
        /// The child.
        lane: LaneId,
        /// A description of how it ended.
        how: String,
        /// Bytes left unread in its pipe.
        unread: usize,
    },
    /// An output's job has ended.
    JobDone {
        /// The output.
        node: NodeId,
        /// The outcome of the job's lines.
        written: Written,
    },
    /// An output's files are on disk up to these lengths.
    Checkpointed {
        /// The output.
        node: NodeId,
        /// What is to be kept, or why the checkpoint failed.
        kept: Result<Kept, String>,
    },
    /// An output's files were to be reopened by name.
    Reopened {
        /// The output.
        node: NodeId,
        /// True if it is done; false if it waits for a checkpoint.
        done: bool,
    },
    /// A spool was opened.
    SpoolOpened {
        /// The spool.
        node: NodeId,
        /// Its content.
        found: Box<SpoolFound>,
    },
    /// A spool's job has ended.
    SpoolDone {
        /// The spool.
        node: NodeId,
        /// The result.
        report: Box<Report>,
    },
    /// A read of a spool for one of its consumers has ended.
    SpoolRead {
        /// The consumer.
        lane: LaneId,
        /// The lines found.
        read: Result<Read, String>,
    },
    /// Something happened to a lane's connection.
    Link {
        /// The lane.
        lane: LaneId,
        /// The event.
        event: LinkEvent,
    },
    /// Only time has passed.
    Tick,
}

/// An event of a lane's connection.
#[derive(Debug)]
pub enum LinkEvent {
    /// The peer's name has no address, for this reason.
    NotFound(String),
    /// What was found of the service of this name, which is among the peers.
    Found(String, Result<Answer, String>),
    /// An address of the peer is being tried.
    Trying,
    /// It is established, including TLS if that is configured.
    Connected,
    /// Whether the peer has shown that it takes lines from us; true if it is not said.
    Proven(bool),
    /// It could not be established, or it is gone.
    Failed(String),
    /// The peer ended it, and has read what its TCP has acknowledged.
    Closed(String),
    /// The peer, or its system, reset it: what it had not read is lost to it.
    Reset(String),
    /// Bytes were received.
    Received(Vec<u8>),
    /// Total bytes that the peer's TCP has acknowledged, and the time since it was last heard from.
    Acknowledged(u64, Duration),
    /// True if an earlier peer accepts connections.
    Probed(bool),
    /// It can be written to again.
    Writable,
}

/// An instruction to the driver.
#[derive(Debug)]
pub enum Action {
    /// Start a child.
    Start(LaneId),
    /// Close a child's stdin.
    CloseStdin(LaneId),
    /// Send TERM to a child's process group.
    Terminate(LaneId),
    /// Send KILL to a child's process group.
    Kill(LaneId),
    /// Queue a job for an output's or a spool's thread; the jobs of a node run in order.
    Disk(DiskJob),
    /// Take nothing from an input, or from the output of a filter process, until unpaused.
    Pause(NodeId),
    /// Take from it again.
    Unpause(NodeId),
    /// Take nothing from an input while outputs are behind (`true`), or take from it again. It is
    /// not worth a word in the log: it may be for an instant, and its senders lose nothing.
    Wait(NodeId, bool),
    /// Have an input leave data in so much of the kernel's buffer.
    Throttle(NodeId, Throttle),
    /// Tell an input that everything it handed over before this barrier is on disk.
    Completed {
        /// The input.
        node: NodeId,
        /// The barrier.
        barrier: u64,
    },
    /// Tell an input that lines before this barrier are not on disk and never will be: whoever
    /// waits for it must send them again.
    Lost {
        /// The input.
        node: NodeId,
        /// The barrier.
        barrier: u64,
    },
    /// Answer an input's resume query, made with this barrier.
    Resume {
        /// The input.
        node: NodeId,
        /// The barrier.
        barrier: u64,
        /// For each requested origin: its last line in each spool downstream.
        lasts: Vec<Vec<Option<u64>>>,
    },
    /// Tell an input the origins of the kinds that it asked for, with this barrier.
    Kin {
        /// The input.
        node: NodeId,
        /// The barrier.
        barrier: u64,
        /// The origins of each spool downstream, each with its last line.
        spools: Vec<Vec<(Identity, u64)>>,
    },
    /// Read a spool for one of its consumers; answered by [`Event::SpoolRead`].
    Read(ReadJob),
    /// Report an episode of losses: it has begun, lasts, or has ended.
    Report(Loss),
    /// Drop everything held for a node that a reload removed and that has ended.
    Forget(NodeId),
    /// Carry out a command on a lane's connection.
    Link(LaneId, link::Command),
}

/// A job for an output's or a spool's thread.
#[derive(Debug)]
pub struct DiskJob {
    /// The output or the spool.
    pub node: NodeId,
    /// The work.
    pub work: DiskWork,
}

/// Work for the thread of an output or a spool.
#[derive(Debug)]
pub enum DiskWork {
    /// Open the worker of an output.
    Open {
        /// The output's name.
        name: Arc<str>,
        /// The output's plan.
        plan: Box<BodyPlan>,
        /// True if a cursor records what the worker keeps.
        exact: bool,
    },
    /// Write lines; answered by [`Event::JobDone`].
    Append(Vec<Batch>),
    /// Go back to what was kept, before anything is written: truncate files to their lengths. The
    /// spool holds lines up to this number, without it; none behind was ever given to an output.
    Restore(Kept, u64),
    /// Lines that would have come next, or soon, are missing from the spool.
    Missing,
    /// Make all that was written durable; answered by [`Event::Checkpointed`].
    Checkpoint,
    /// The last checkpoint is on disk, in the reader's cursor.
    CheckpointSaved,
    /// A spool's job; answered by [`Event::SpoolDone`].
    Spool(Box<Job>),
    /// A spool's plan or its readers have changed.
    UpdateSpool(Box<SpoolPlan>, Vec<String>),
    /// Close its files and open them by name again.
    Reopen,
    /// Nothing more will come.
    Close,
}
