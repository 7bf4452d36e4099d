//! A spool's jobs and their reports: the contract between the engine, which has the lines, and the
//! threads that do the work.
//!
//! A spool has one [`Writer`], behind a lock that is never held across a sync, and three threads:
//! one appends, one syncs, one writes cursors and removes segments. A job runs in steps:
//!
//! 1. [`begin`], under the lock: appends and, if the job has a [`Task`] for the disk, takes a
//!    [`Syncing`] that captures the state at that moment. The report ([`Step::Appended`]) is sent
//!    before the lock is released, so that reports arrive in the order of events.
//! 2. [`Syncing::run`], without the lock, for as long as the disk takes.
//! 3. [`end`], under the lock: what the sync covered is durable, or the segments are abandoned.
//!    This report ([`Step::Done`]) is also sent under the lock.
//!
//! For each spool the engine has at most one job with lines, one that syncs and one with cursors in
//! flight. [`Job::thread`] says which thread runs a job: one that syncs may append first, which
//! saves a wake-up, and no line ever waits for a disk. The engine keeps every batch in its queue
//! until it is durable:
//!
//! - `outcomes` tell what became of the first batches of the job; the rest must be submitted again.
//! - `held.durable` is the number after the last durable line. Batches whose outcome is before it
//!   may leave the queue.
//! - `epoch` counts how often segments were abandoned. If it has changed, everything not durable
//!   must be written again: the queue is rewound and the stored outcomes are discarded. A job made
//!   before the change (with a lower `epoch`) appends nothing, because its lines would precede
//!   those that are in doubt.
//! - `stopped` tells why not everything was appended: a sync must come first, the spool is full and
//!   waits for its readers, or the disk refuses.

use super::age::Now;
use super::cursor::Cursor;
use super::sync::{Synced, Syncing, Task};
use super::writer::{Appended, Held, Outcome, Stopped, Writer};
use crate::batch::Batch;
use crate::fs::Fs;
use crate::ids::Identity;

/// A job; its fields are processed in order.
#[derive(Debug, Default)]
pub struct Job {
    /// The epoch of the last report that the job's creator has seen.
    pub epoch: u64,
    /// Origins that will send no more lines and whose lines are all durable. They may begin anew
    /// with the lines of this job.
    pub ended: Vec<Identity>,
    /// Lines to append.
    pub batches: Vec<Batch>,
    /// True to look for segments that are too old or have been compressed.
    pub housekeeping: bool,
    /// True to make everything appended durable.
    pub sync: bool,
    /// Cursors to write; afterwards the segments that every reader has passed are removed.
    pub cursors: Vec<Cursor>,
}

/// The thread that runs a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thread {
    /// The one that only appends.
    Appends,
    /// The one for this task.
    Does(Task),
}

impl Job {
    /// Returns whether it has lines to append.
    pub fn appends(&self) -> bool {
        !self.batches.is_empty()
    }

    /// The thread that runs it. A job that syncs has no cursors, and a job with cursors has no
    /// lines.
    pub fn thread(&self) -> Thread {
        match (self.sync, self.housekeeping || !self.cursors.is_empty()) {
            (true, _) => Thread::Does(Task::Lines),
            (false, true) => Thread::Does(Task::Cursors),
            (false, false) => Thread::Appends,
        }
    }
}

/// The step a job has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The job's lines are in the page cache.
    Appended {
        /// True if it had any.
        lines: bool,
        /// The task that turned out to have nothing to do: no second report follows.
        idle: Option<Task>,
    },
    /// The disk has finished the task.
    Done(Task),
}

/// The result of one step of a job.
#[derive(Debug)]
pub struct Report {
    /// The step.
    pub step: Step,
    /// The outcomes of the first batches.
    pub outcomes: Vec<Outcome>,
    /// Why the rest was not appended.
    pub stopped: Option<Stopped>,
    /// How often segments have been abandoned.
    pub epoch: u64,
    /// What the spool holds now.
    pub held: Held,
    /// The origins of the lines that became durable, each with its last durable line; `None` for a
    /// forgotten one.
    pub origins: Vec<(Identity, Option<u64>)>,
    /// The cursors that are now on disk.
    pub saved: Vec<Cursor>,
    /// Any failure other than in appending.
    pub error: Option<String>,
}

/// The first step: appends, and captures what a sync must cover if one is requested and none is
/// running.
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

/// The last step: applies the result of a sync.
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
