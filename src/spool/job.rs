//! What a spool is given to do at one time, and what came of it.

use std::time::SystemTime;

use super::cursor::Cursor;
use super::writer::{Fate, Held, Writer};
use crate::batch::Batch;
use crate::fs::Fs;
use crate::ids::Identity;

/// A job, done in the order of the fields.
#[derive(Debug)]
pub struct Job {
    /// Lines to append.
    pub batches: Vec<Batch>,
    /// Whether to make all that was appended durable.
    pub sync: bool,
    /// Cursors to write; then what every reader has passed is removed.
    pub cursors: Vec<Cursor>,
    /// Whether to look for what is too old or was compressed.
    pub housekeeping: bool,
}

/// What came of a job.
#[derive(Debug)]
pub struct Report {
    /// What became of the first batches.
    pub fates: Vec<Fate>,
    /// A segment was given up: what is not durable is to be written again.
    pub rewound: bool,
    /// What the spool holds now.
    pub held: Held,
    /// The last durable line of each other spool, where something became durable.
    pub origins: Vec<(Identity, u64)>,
    /// The cursors that are on disk now.
    pub saved: Vec<Cursor>,
    /// What went wrong.
    pub error: Option<String>,
}

/// Does a job; `now` is what the wall says.
pub fn carry_out<F: Fs>(writer: &mut Writer<F>, job: Job, now: SystemTime) -> Report {
    let latched = writer.latched();
    let appended = writer.append(&job.batches);
    let mut error = appended.error;
    let mut note = |done: std::io::Result<()>| {
        if let Err(failed) = done {
            error.get_or_insert_with(|| failed.to_string());
        }
    };
    if job.sync {
        note(writer.sync());
    }
    if job.housekeeping {
        writer.refresh_sizes();
        note(writer.expire(now));
    }
    let mut saved = Vec::new();
    for cursor in job.cursors {
        let done = writer.write_cursor(&cursor);
        if done.is_ok() {
            saved.push(cursor);
        }
        note(done);
    }
    if !saved.is_empty() {
        note(writer.remove_passed());
    }
    let origins = if job.sync { writer.origins().into_iter().collect() } else { Vec::new() };
    Report {
        fates: appended.fates,
        rewound: writer.latched() != latched,
        held: writer.held(),
        origins,
        saved,
        error,
    }
}
