//! What a spool is given to do at one time, and what came of it: the contract between the engine,
//! which has the lines, and the threads that do the work.
//!
//! A spool has one [`Writer`], behind a lock that is never held across a sync, and three threads:
//! one appends, one syncs, one writes cursors and removes segments. A job is done in steps:
//!
//! 1. [`begin`], under the lock: appends, and where the job has a [`Task`] for the disk, takes a
//!    [`Syncing`] of how things are by then. The report ([`Step::Appended`]) is sent before the
//!    lock is given back, so that reports come in the order of what happened.
//! 2. [`Syncing::run`], without the lock, for as long as the disk takes.
//! 3. [`end`], under the lock: what the sync covered is durable, or the segments are given up.
//!    The report ([`Step::Done`]) again is sent under the lock.
//!
//! The engine has at most one job with lines, one that syncs and one with cursors under way for
//! each spool. [`Job::thread`] says where a job is to be done: one that syncs may append before,
//! which saves a wake-up, and no line ever waits for a disk. The engine keeps every batch in its
//! queue until it is durable:
//!
//! - `outcomes` say what became of the first batches of the job; those behind are to be given
//!   again.
//! - `held.durable` is the number after the last durable line. Batches whose outcome is before it
//!   may leave the queue.
//! - `epoch` counts how often segments were given up. Where it is another than before, all that
//!   is not durable is to be written again: the queue is rewound and the outcomes that were kept
//!   are forgotten. A job that was made before (its `epoch` is lower) appends nothing, for its
//!   lines would come before those that are in doubt.
//! - `stopped` says why not all was appended: a sync must come first, the spool is full and waits
//!   for its readers, or the disk refuses.

use super::age::Now;
use super::cursor::Cursor;
use super::sync::{Synced, Syncing, Task};
use super::writer::{Appended, Held, Outcome, Stopped, Writer};
use crate::batch::Batch;
use crate::fs::Fs;
use crate::ids::Identity;

/// A job, done in the order of the fields.
#[derive(Debug, Default)]
pub struct Job {
    /// The epoch of the last report that whoever made the job has seen.
    pub epoch: u64,
    /// Origins that nothing will come from any more and whose lines are all durable. They may
    /// begin anew with the lines of this job.
    pub ended: Vec<Identity>,
    /// Lines to append.
    pub batches: Vec<Batch>,
    /// Whether to look for what is too old or was compressed.
    pub housekeeping: bool,
    /// Whether to make all that was appended durable.
    pub sync: bool,
    /// Cursors to write; then what every reader has passed is removed.
    pub cursors: Vec<Cursor>,
}

/// Where a job is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thread {
    /// By the one that appends only.
    Appends,
    /// By the one of this task.
    Does(Task),
}

impl Job {
    /// Whether it has lines to append.
    pub fn appends(&self) -> bool {
        !self.batches.is_empty()
    }

    /// Where it is to be done. A job that syncs has no cursors, and none with cursors has lines.
    pub fn thread(&self) -> Thread {
        match (self.sync, self.housekeeping || !self.cursors.is_empty()) {
            (true, _) => Thread::Does(Task::Lines),
            (false, true) => Thread::Does(Task::Cursors),
            (false, false) => Thread::Appends,
        }
    }
}

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The lines that the job had are in the page cache.
    Appended {
        /// Whether it had any.
        lines: bool,
        /// The task for which there was nothing to do: no second report comes.
        idle: Option<Task>,
    },
    /// The disk has done with the task.
    Done(Task),
}

/// What came of a step of a job.
#[derive(Debug)]
pub struct Report {
    /// Which step.
    pub step: Step,
    /// What became of the first batches.
    pub outcomes: Vec<Outcome>,
    /// Why it is not all.
    pub stopped: Option<Stopped>,
    /// How often segments were given up so far.
    pub epoch: u64,
    /// What the spool holds now.
    pub held: Held,
    /// The origins of what became durable, each with its last durable line; `None` of one that
    /// is forgotten.
    pub origins: Vec<(Identity, Option<u64>)>,
    /// The cursors that are on disk now.
    pub saved: Vec<Cursor>,
    /// What went wrong beside appending.
    pub error: Option<String>,
}

/// The first step: appends, and takes what a sync is to cover where one is asked for and none is
/// under way.
pub fn begin<F: Fs + Clone>(
    writer: &mut Writer<F>,
    job: Job,
    now: Now,
) -> (Report, Option<Syncing<F>>) {
    writer.set_now(now);
    let (lines, thread) = (job.appends(), job.thread());
    let (mut appended, mut failed) = (Appended::default(), None);
    job.ended.into_iter().for_each(|origin| writer.forget(origin));
    if job.epoch == writer.epoch() {
        appended = writer.append(&job.batches);
    }
    if job.housekeeping {
        writer.refresh_sizes();
        failed = writer.expire().err();
    }
    let (syncing, idle) = match thread {
        Thread::Appends => (None, None),
        Thread::Does(task) => {
            let begun = match task {
                Task::Lines => writer.begin_sync(),
                Task::Cursors => Ok(writer.begin_cursors(job.cursors)),
            };
            let syncing = begun.unwrap_or_else(|error| {
                failed.get_or_insert(error);
                None
            });
            let idle = syncing.is_none().then_some(task);
            (syncing, idle)
        }
    };
    let mut report = report(writer, Step::Appended { lines, idle });
    (report.outcomes, report.stopped) = (appended.outcomes, appended.stopped);
    report.error = failed.map(|error| error.to_string());
    (report, syncing)
}

/// The last step: takes in what a sync has done.
pub fn end<F: Fs + Clone>(writer: &mut Writer<F>, synced: Synced) -> Report {
    let task = synced.task();
    let ended = writer.end_sync(synced);
    let mut report = report(writer, Step::Done(task));
    (report.origins, report.saved, report.error) = (ended.origins, ended.saved, ended.error);
    report
}

fn report<F: Fs + Clone>(writer: &Writer<F>, step: Step) -> Report {
    Report {
        step,
        outcomes: Vec::new(),
        stopped: None,
        epoch: writer.epoch(),
        held: writer.held(),
        origins: Vec::new(),
        saved: Vec::new(),
        error: None,
    }
}
