//! The engine's inputs (events) and outputs (actions).

use std::path::PathBuf;

use crate::batch::Batch;
use crate::config::plan::{FilePlan, SpoolPlan};
use crate::forward::link;
use crate::ids::{Identity, LaneId, NodeId};
use crate::input::InputCounts;
use crate::output::file::Written;
use crate::spool::job::{Job, Report};
use crate::spool::reader::Read;

use super::consumer::ReadJob;
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
        /// What was counted since the last time.
        counts: InputCounts,
    },
    /// An input will produce no more lines.
    InputEnded {
        /// The input.
        node: NodeId,
    },
    /// Clients of an input wait for an acknowledgement of all lines handed over so far.
    Barrier {
        /// The input.
        node: NodeId,
        /// The barrier's number; numbers only grow.
        number: u64,
        /// Origins for which the last line stored here is requested.
        resume: Vec<Identity>,
    },
    /// A child was started.
    Started {
        /// The child.
        lane: LaneId,
        /// Its process id.
        pid: u32,
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
        /// The files, or why the checkpoint failed.
        files: Result<Vec<(PathBuf, u64)>, String>,
    },
    /// An output's files were to be opened by name again.
    Reopened {
        /// The output.
        node: NodeId,
        /// Its content.
        done: bool,
    },
    /// A spool was opened.
    SpoolOpened {
        /// The spool.
        node: NodeId,
        /// The result.
        found: Box<SpoolFound>,
    },
    /// A spool's job has ended.
    SpoolDone {
        /// The spool.
        node: NodeId,
        /// The lines found.
        report: Box<Report>,
    },
    /// A read of a spool for one of its consumers has ended.
    SpoolRead {
        /// The lane.
        lane: LaneId,
        /// The event.
        read: Result<Read, String>,
    },
    /// Something happened to a lane's connection.
    Link {
        /// Whose.
        lane: LaneId,
        /// An event of a lane's connection.
        event: LinkEvent,
    },
    /// Only time has passed.
    Tick,
}

/// Bytes were received.
#[derive(Debug)]
pub enum LinkEvent {
    /// It is established.
    Connected,
    /// It could not be established, or it is gone.
    Failed(String),
    /// Bytes came.
    Received(Vec<u8>),
    /// The peer's TCP has acknowledged so many of the bytes given out.
    Acknowledged(u64),
    /// Whether an earlier peer takes connections.
    Probed(bool),
    /// It takes bytes again.
    Writable,
}

/// Something the driver must do.
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
    /// Hand a job to an output's or a spool's thread; jobs of one node are done in order.
    Disk(DiskJob),
    /// Take no more from an input, or from what a filter prints, until told.
    Pause(NodeId),
    /// Take from it again.
    Unpause(NodeId),
    /// Have an input leave lines in the kernel's buffer as far as that has room, or no longer.
    Throttle(NodeId, bool),
    /// Answer an input's resume query, made with this barrier.
    Completed {
        /// The input.
        node: NodeId,
        /// The barrier.
        barrier: u64,
    },
    /// Answer what an input asked with this barrier.
    Resume {
        /// The input.
        node: NodeId,
        /// Carry out a command on a lane's connection.
        barrier: u64,
        /// For each origin that was asked for: its last line in each spool downstream.
        lasts: Vec<Vec<Option<u64>>>,
    },
    /// Read a spool for one of its consumers; answered by [`Event::SpoolRead`].
    Read(ReadJob),
    /// Do something about a lane's connection.
    Link(LaneId, link::Command),
}

/// A job for an output's or a spool's thread.
#[derive(Debug)]
pub struct DiskJob {
    /// The output or the spool.
    pub node: NodeId,
    /// Open the target.
    pub work: DiskWork,
}

/// Truncate files to these lengths before anything is written.
#[derive(Debug)]
pub enum DiskWork {
    /// Be ready for it.
    Open(DiskTarget),
    /// Write lines; answered by [`Event::JobDone`].
    Append(Vec<Batch>),
    /// Cut files back to these lengths, before anything is written.
    Restore(Vec<(PathBuf, u64)>),
    /// Make all that was written durable; answered by [`Event::Checkpointed`].
    Checkpoint,
    /// The last checkpoint is in the reader's cursor, on disk.
    CheckpointSaved,
    /// A spool's job; answered by [`Event::SpoolDone`].
    Spool(Box<Job>),
    /// A spool has another plan, or other readers.
    UpdateSpool(Box<SpoolPlan>, Vec<String>),
    /// Close its files and open them by name again.
    Reopen,
    /// Files; with `exact` they are truncated after a crash to the lengths in a cursor.
    Close,
}

/// True if a cursor records the lengths.
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
