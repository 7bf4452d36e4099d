//! Lanes whose lines go to a thread in jobs. One job runs at a time, and the next takes everything
//! that came meanwhile, so a slow disk makes jobs larger, not more numerous.
//!
//! If such an output reads from a spool, its files are truncated after a crash to the lengths in
//! the cursor. A cursor must therefore be durable before anything can invalidate it: a checkpoint
//! makes first the files durable, then the cursor, and nothing is written meanwhile.

use crate::clock::Mono;
use crate::ids::NodeId;
use crate::limits::{CHECKPOINT_REST, CURSOR_EVERY, DISK_JOB_MAX, DISK_RETRY, HOLD_BYTES};
use crate::output::queue::Queue;
use crate::output::worker::{Kept, Written};

use super::backpressure::Burst;
use super::cx::Cx;
use super::lane::{Completed, Lane, Sink};
use super::losses::amount;
use super::{Action, DiskJob, DiskWork, Engine};

/// The state of a lane's jobs.
#[derive(Debug)]
pub(super) struct Jobs {
    /// True while a job is running; its lines are still in the queue.
    pub(super) busy: bool,
    /// When to retry after a disk error.
    retry_at: Option<Mono>,
    /// The last error, until a job succeeds.
    pub(super) error: Option<String>,
    pub(super) burst: Burst,
    /// True once the thread was told that nothing more comes.
    pub(super) closed: bool,
    /// True if the files can be truncated to the lengths in a cursor.
    pub(super) exact: bool,
    checkpoint: Checkpoint,
    checked_at: Mono,
    /// When the last job ended.
    wrote_at: Mono,
    /// True if the cursor on disk lags the completed lines.
    dirty: bool,
    /// Requests to reopen the files that the thread has not answered.
    reopens: u32,
    /// True while the thread waits for a checkpoint to reopen them.
    reopening: bool,
}

/// The stage of the checkpoint under way. Nothing is written meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checkpoint {
    None,
    /// The files are being made durable.
    Files,
    /// The files are durable; the cursor is being written.
    Cursor,
}

impl Jobs {
    /// Notes that the thread has reopened the files, or (`done` is false) will do so at the next
    /// checkpoint. The event after that checkpoint answers no request of its own.
    fn note_reopened(&mut self, done: bool) {
        if done && self.reopening {
            self.reopening = false;
        } else {
            self.reopens = self.reopens.saturating_sub(1);
            self.reopening = !done;
        }
    }

    /// Notes a request to reopen the files.
    pub(super) fn reopen(&mut self) {
        self.reopens += 1;
    }

    /// Returns whether lines may still be written to the old files.
    pub(super) fn is_reopening(&self) -> bool {
        !self.closed && (self.reopens > 0 || self.reopening)
    }

    pub(super) fn new(exact: bool, now: Mono) -> Self {
        Self {
            busy: false,
            retry_at: None,
            error: None,
            burst: Burst::beyond(HOLD_BYTES),
            closed: false,
            exact,
            checkpoint: Checkpoint::None,
            checked_at: now,
            wrote_at: now,
            dirty: false,
            reopens: 0,
            reopening: false,
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let checkpoint = (self.exact && self.dirty && !self.busy)
            .then(|| self.checkpoint_at())
            .filter(|_| self.checkpoint == Checkpoint::None && self.retry_at.is_none());
        self.retry_at.into_iter().chain(checkpoint).min()
    }

    /// When the next checkpoint is due.
    fn checkpoint_at(&self) -> Mono {
        let resting = (self.wrote_at + CHECKPOINT_REST).max(self.checked_at + CURSOR_EVERY / 2);
        resting.min(self.checked_at + CURSOR_EVERY)
    }

    /// Starts a job with the waiting lines, if none is running.
    pub(super) fn start(&mut self, node: NodeId, queue: &Queue, cx: &mut Cx) {
        let resting = self.retry_at.is_some() || self.checkpoint != Checkpoint::None;
        if self.busy || resting || queue.is_empty() {
            return;
        }
        self.busy = true;
        let work = DiskWork::Append(queue.first(DISK_JOB_MAX));
        cx.act(Action::Disk(DiskJob { node, work }));
    }

    /// Returns whether a retry is due now; clears its time.
    pub(super) fn retry_is_due(&mut self, now: Mono) -> bool {
        let due = self.retry_at.is_some_and(|at| now >= at);
        if due {
            self.retry_at = None;
        }
        due
    }

    /// Makes the files durable before the cursor is written.
    fn start_checkpoint(&mut self, node: NodeId, cx: &mut Cx) {
        if self.busy || self.checkpoint != Checkpoint::None || self.retry_at.is_some() {
            return;
        }
        self.checkpoint = Checkpoint::Files;
        self.busy = true;
        self.checked_at = cx.now;
        cx.act(Action::Disk(DiskJob { node, work: DiskWork::Checkpoint }));
    }

    /// Makes a checkpoint if the last one is long enough ago, or at the end.
    pub(super) fn checkpoint_where_due(&mut self, node: NodeId, at_end: bool, cx: &mut Cx) {
        let due = at_end || cx.now >= self.checkpoint_at();
        if self.exact && due && !self.busy && self.dirty {
            self.start_checkpoint(node, cx);
        }
    }

    /// Notes whether the cursor on disk lags the completed lines.
    pub(super) fn set_dirty(&mut self, dirty: bool) {
        self.dirty = dirty;
    }

    /// Returns whether the cursor on disk covers all completed lines.
    fn is_checked(&self) -> bool {
        !self.exact || (self.checkpoint == Checkpoint::None && !self.dirty)
    }

    /// Has the thread close its files, once nothing waits and the cursor is on disk. The cursor is
    /// not waited for if the disk is `stalled`.
    pub(super) fn close(&mut self, node: NodeId, queue: &Queue, stalled: bool, cx: &mut Cx) {
        if !queue.is_empty() || self.closed {
            return;
        }
        self.checkpoint_where_due(node, true, cx);
        if stalled || self.is_checked() {
            self.closed = true;
            cx.act(Action::Disk(DiskJob { node, work: DiskWork::Close }));
        }
    }
}

/// Operations on a lane whose sink is a job thread.
impl Lane {
    /// Handles the end of a job.
    fn job_done(&mut self, written: Written, cx: &mut Cx) -> Completed {
        let Sink::Jobs(jobs) = &mut self.sink else { return Completed::default() };
        let Written { bytes, refused, reason, pause, error, .. } = written;
        jobs.busy = false;
        jobs.wrote_at = cx.now;
        let mut left = self.queue.advance(bytes, &mut cx.budget);
        let refused = left.take(refused);
        match (&error, &jobs.error) {
            (Some(error), None) => log::error!(
                "{}: {error}; retrying every {DISK_RETRY:?}, lines wait in the queue",
                self.name
            ),
            (None, Some(_)) => {
                let waits = amount(self.queue.count().lines, "lines");
                log::warn!("{}: writing again; {waits} still waiting", self.name);
            }
            _ => {}
        }
        jobs.retry_at = error.is_some().then(|| cx.now + DISK_RETRY);
        jobs.error = error;
        if pause {
            jobs.start_checkpoint(self.id.node, cx);
        }
        Completed::with_lost(left, refused, reason)
    }
}

impl Engine {
    pub(super) fn job_done(&mut self, node: NodeId, written: Written) {
        let lane = node.only_lane();
        if let Some(entry) = self.graph.get_mut(node) {
            entry.counts.faults.add(&written.faults);
        }
        let Some(entry) = self.graph.lane_mut(lane) else { return };
        let completed = entry.job_done(written, &mut self.cx);
        self.complete(lane, completed);
        if let Some(entry) = self.graph.lane_mut(lane) {
            entry.proceed(&mut self.cx);
        }
        self.cx.touch(node);
    }

    /// Gives an output that reads from a spool what it kept, before it writes anything: its files
    /// are truncated.
    pub(super) fn restore(&mut self, node: NodeId, kept: Kept, held_to: u64) {
        let is_exact = |lane: &Lane| lane.jobs().is_some_and(|jobs| jobs.exact);
        if !kept.is_empty() && self.graph.lane(node.only_lane()).is_some_and(is_exact) {
            let work = DiskWork::Restore(kept, held_to);
            self.cx.act(Action::Disk(DiskJob { node, work }));
        }
    }

    /// Files were to be reopened by name. An exact output reopens them at a checkpoint, which must
    /// not wait for the next line.
    pub(super) fn reopened(&mut self, node: NodeId, done: bool) {
        let jobs = self.graph.lane_mut(node.only_lane()).and_then(Lane::jobs_mut);
        if let Some(jobs) = jobs {
            jobs.note_reopened(done);
            if !done {
                jobs.start_checkpoint(node, &mut self.cx);
            }
        }
        self.cx.touch(node);
    }

    /// The files are durable: has the cursor written.
    pub(super) fn checkpointed(&mut self, node: NodeId, kept: Result<Kept, String>) {
        let lane = node.only_lane();
        let Some(jobs) = self.graph.lane_mut(lane).and_then(Lane::jobs_mut) else { return };
        jobs.busy = false;
        let kept = match kept {
            Ok(kept) => kept,
            Err(error) => {
                jobs.checkpoint = Checkpoint::None;
                return self.job_done(node, Written { error: Some(error), ..Written::default() });
            }
        };
        jobs.checkpoint = Checkpoint::Cursor;
        if let Some(consumer) = self.consumers.get_mut(lane)
            && let Some(spool) = self.graph.spool(consumer.spool)
        {
            consumer.checkpoint = Some(consumer.cursor(spool.identity, kept));
            self.cx.touch(consumer.spool);
        }
    }

    /// The cursor is on disk: the files may be written and renamed again.
    pub(super) fn checkpoint_saved(&mut self, node: NodeId) {
        let Some(lane) = self.graph.lane_mut(node.only_lane()) else { return };
        if let Sink::Jobs(jobs) = &mut lane.sink {
            jobs.checkpoint = Checkpoint::None;
        }
        self.cx.act(Action::Disk(DiskJob { node, work: DiskWork::CheckpointSaved }));
        lane.proceed(&mut self.cx);
        self.cx.touch(node);
    }
}
