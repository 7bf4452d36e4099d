//! Outputs whose lines go to a thread in jobs: what the engine and the thread say to each other.
//!
//! A job has the lines that wait, from the first one that is not completed on; it ends with how
//! many of them are. What is not completed is in the next job again, so that a worker may have
//! lines under way when it returns. An output that reads from a spool keeps a [`Kept`] with its
//! position: it is made at a checkpoint, when no job runs, and comes back after a restart before
//! any lines do.

use std::fmt::Debug;
use std::path::PathBuf;

use crate::batch::Batch;
use crate::ledger::{Count, Reason};
use crate::parse::syslog::Faults;

/// What became of the batches of a job.
#[derive(Debug)]
pub struct Written {
    /// Bytes of whole lines that are completed, from the first batch on: they are where they
    /// belong, but for those refused.
    pub bytes: usize,
    /// Of those, lines that can never be delivered.
    pub refused: Count,
    /// Why they cannot.
    pub reason: Reason,
    /// What was wrong with messages that were looked into.
    pub faults: Faults,
    /// Whether the rest waits for a checkpoint.
    pub pause: bool,
    /// Why it is not all.
    pub error: Option<String>,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            bytes: 0,
            refused: Count::default(),
            reason: Reason::DiskError,
            faults: Faults::default(),
            pause: false,
            error: None,
        }
    }
}

/// What an output keeps with its position, in the cursor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// Its files, and how long they are with all that is completed.
    pub files: Vec<(PathBuf, u64)>,
    /// Lines of text that only the output understands, none with a newline.
    pub notes: Vec<String>,
}

impl Kept {
    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.notes.is_empty()
    }
}

/// The work of an output, in a thread of its own.
pub trait Worker: Debug + Send {
    /// Delivers lines, as far as it goes within about half a second.
    fn append(&mut self, batches: &[Batch]) -> Written;

    /// Goes on from what was kept. Called before any lines come.
    fn restore(&mut self, notes: &[String]);

    /// Lines that would have come next, or soon, are missing from the spool: they were dropped or
    /// are damaged.
    fn missing(&mut self);

    /// What is to be kept with the position behind all that is completed.
    fn keep(&mut self) -> Vec<String>;

    /// What was to be kept is durable.
    fn saved(&mut self);
}

/// Starts a worker, in its thread.
pub trait StartWorker: Debug + Send + Sync {
    /// The worker of the output of this name. `keeps` says whether what it keeps is written.
    ///
    /// # Errors
    /// Why it cannot work; it is tried again.
    fn start(&self, name: &str, keeps: bool) -> Result<Box<dyn Worker>, String>;
}
