//! What an output does in the thread of its jobs, and the results.
//!
//! An output whose lines leave in jobs (files, standard output) implements [`Worker`] in its
//! protocol's folder. A worker does its work at once and knows no thread.

use std::fmt::Debug;
use std::path::PathBuf;

use super::open_files::OpenFiles;
use crate::batch::Batch;
use crate::ledger::Count;
use crate::parse::syslog::Faults;

/// The files of an output and their lengths with all completed lines.
pub type Position = Vec<(PathBuf, u64)>;

/// The result of [`Worker::append`].
#[derive(Debug, Default)]
pub struct Written {
    /// Bytes of completed whole lines, from the first batch on: they are written, except for those
    /// refused.
    pub bytes: usize,
    /// Of those, lines that can never be written.
    pub refused: Count,
    /// The faults in messages that were parsed.
    pub faults: Faults,
    /// True if the rest waits for a checkpoint.
    pub pause: bool,
    /// Why the rest was not written.
    pub error: Option<String>,
}

/// The resources that a worker is opened with.
#[derive(Debug)]
pub struct Workplace<'w, F> {
    /// The file system.
    pub fs: F,
    /// The files that all outputs have open.
    pub open_files: &'w OpenFiles,
    /// True if a cursor records the worker's [`Position`].
    pub exact: bool,
}

/// The thread's side of an output with jobs. It is opened in that thread and stays there.
pub trait Worker: Debug {
    /// Writes lines, in order.
    fn append(&mut self, batches: &[Batch]) -> Written;

    /// Goes back to the position in the cursor, before anything is written.
    ///
    /// # Errors
    /// What cannot be restored, and why.
    fn restore(&mut self, position: &Position) -> Result<(), String> {
        let _ = position;
        Ok(())
    }

    /// Makes all that was written durable. Returns the position for the cursor.
    ///
    /// # Errors
    /// What cannot be made durable, and why.
    fn checkpoint(&mut self) -> Result<Position, String> {
        Ok(Position::new())
    }

    /// Records that the cursor with the last checkpoint's position is on disk.
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
