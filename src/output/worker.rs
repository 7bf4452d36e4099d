//! What an output does in the thread of its jobs, and the results.
//!
//! An output whose lines leave in jobs (files, standard output, a cluster of brokers) implements
//! [`Worker`] in its protocol's folder. A worker is synchronous and unaware of threads.

use std::fmt::Debug;
use std::path::PathBuf;

use super::open_files::OpenFiles;
use crate::batch::Batch;
use crate::ledger::{Count, Reason};
use crate::parse::syslog::Faults;

/// What an output keeps with its position, in the cursor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// Its files and their lengths with all completed lines.
    pub files: Vec<(PathBuf, u64)>,
    /// Lines of text that only the output understands, none with a newline.
    pub notes: Vec<String>,
}

impl Kept {
    /// Returns whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.notes.is_empty()
    }
}

/// What became of the batches given to [`Worker::append`].
#[derive(Debug)]
pub struct Written {
    /// Bytes of completed whole lines, from the first batch on: they are where they belong, except
    /// for those refused.
    pub bytes: usize,
    /// Of those, lines that can never be delivered.
    pub refused: Count,
    /// Why they cannot.
    pub reason: Reason,
    /// What was wrong with messages that were parsed.
    pub faults: Faults,
    /// True if the rest waits for a checkpoint.
    pub pause: bool,
    /// Why the rest was not written.
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

/// What a worker is opened with.
#[derive(Debug)]
pub struct Workplace<'w, F> {
    /// The output's name.
    pub name: &'w str,
    /// The file system.
    pub fs: F,
    /// The files that all outputs have open.
    pub open_files: &'w OpenFiles,
    /// True if a cursor records what the worker keeps.
    pub exact: bool,
}

/// The thread's side of an output with jobs. It is opened in that thread and stays there.
pub trait Worker: Debug {
    /// Delivers lines, in order, from the first that is not completed on. It returns within about
    /// half a second; what is not completed then comes again, so lines may be under way meanwhile.
    fn append(&mut self, batches: &[Batch]) -> Written;

    /// Goes back to what was kept in the cursor, before anything is written. The spool holds lines
    /// up to the number `held_to`, without it: no earlier process has seen one behind.
    ///
    /// # Errors
    /// What cannot be restored, and why.
    fn restore(&mut self, kept: &Kept, held_to: u64) -> Result<(), String> {
        let _ = (kept, held_to);
        Ok(())
    }

    /// Lines that would have come next, or soon, are missing from the spool: they were dropped, or
    /// are damaged.
    fn missing(&mut self) {}

    /// Makes all that was written durable. Returns what the cursor is to keep.
    ///
    /// # Errors
    /// What cannot be made durable, and why.
    fn checkpoint(&mut self) -> Result<Kept, String> {
        Ok(Kept::default())
    }

    /// The cursor with the last checkpoint is on disk.
    fn saved(&mut self) {}

    /// Closes what is open by name, so that the next line opens it again. It may wait for the next
    /// checkpoint ([`Self::is_reopening`]).
    fn reopen(&mut self) {}

    /// Returns whether a reopen waits for a checkpoint.
    fn is_reopening(&self) -> bool {
        false
    }

    /// Takes the files that are complete and to be compressed.
    fn take_to_compress(&mut self) -> Vec<PathBuf> {
        Vec::new()
    }
}
