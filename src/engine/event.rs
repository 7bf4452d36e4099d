//! What goes into the engine and what comes out of it.

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
    /// An input counted something beside lines.
    Counts {
        /// The input.
        node: NodeId,
        /// What was counted since the last time.
        counts: InputCounts,
    },
    /// An input does not take all that is sent to it, or does again.
    InputState {
        /// The input.
        node: NodeId,
        /// What keeps it from that; `None` once nothing does.
        problem: Option<String>,
    },
    /// An input will give no more lines.
    InputEnded {
        /// The input.
        node: NodeId,
    },
    /// Clients of an input wait for an acknowledgement of what was handed in so far.
    Barrier {
        /// The input.
        node: NodeId,
        /// The barrier's number, which only grows.
        number: u64,
        /// Origins whose last line on disk here is asked for.
        resume: Vec<Identity>,
    },
    /// A child was started.
    Started {
        /// Which.
        lane: LaneId,
        /// Its process id.
        pid: u32,
    },
    /// A child could not be started.
    StartFailed {
        /// Which.
        lane: LaneId,
        /// Why.
        error: String,
    },
    /// A child printed lines.
    Printed {
        /// Which.
        lane: LaneId,
        /// The lines.
        batch: Batch,
        /// Lines it printed that had to be cut.
        counts: InputCounts,
    },
    /// A child takes no more lines though it may live on.
    StdinClosed {
        /// Which.
        lane: LaneId,
        /// How many bytes it left unread in its pipe.
        unread: usize,
    },
    /// A child has ended, and all it printed was handed in.
    Exited {
        /// Which.
        lane: LaneId,
        /// How, in words.
        how: String,
        /// How many bytes it left unread in its pipe.
        unread: usize,
    },
    /// An output's job has ended.
    JobDone {
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
    /// A spool was opened.
    SpoolOpened {
        /// The spool.
        node: NodeId,
        /// What is in it.
        found: Box<SpoolFound>,
    },
    /// A spool's job has ended.
    SpoolDone {
        /// The spool.
        node: NodeId,
        /// What came of it.
        report: Box<Report>,
    },
    /// A read of a spool for one of its consumers has ended.
    SpoolRead {
        /// The consumer.
        lane: LaneId,
        /// What it found.
        read: Result<Read, String>,
    },
    /// Something happened to a lane's connection.
    Link {
        /// Whose.
        lane: LaneId,
        /// What.
        event: LinkEvent,
    },
    /// Only time has passed.
    Tick,
}

/// What happened to a lane's connection.
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
    /// Tell an input that all it handed in before this barrier is on disk.
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
        /// The barrier.
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
    /// What to do.
    pub work: DiskWork,
}

/// What is to be done for an output or a spool.
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
    /// Nothing more will come.
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
