//! Spools: lines waiting to be written, lines written but not durable, and their outcomes.
//!
//! A batch stays in the spool's queue until it is durable, so that it can be written again after a
//! failed sync. Each spool has at most three jobs running: one that appends lines, one that syncs
//! them and one that writes cursors ([`crate::spool::job`]). Newly durable lines release barriers
//! and go to the consumers that have been given everything before them.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::batch::{Batch, Numbers};
use crate::clock::Mono;
use crate::config::plan::{SpoolFull, SpoolPlan, Sync};
use crate::ids::{Identity, NodeId};
use crate::ledger::tally::Tally;
use crate::ledger::{Count, Ledger, Reason};
use crate::limits::{
    CURSOR_EVERY, DISK_RETRY, DROPS_SAID_EVERY, GATHER_BYTES, GATHER_MAX, SPOOL_JOB_MAX,
    UNSYNCED_MAX,
};
use crate::output::queue::Queue;
use crate::output::worker::Kept;
use crate::spool::cursor::Cursor;
use crate::spool::job::{Job, Report, Step, Thread};
use crate::spool::sync::Task;
use crate::spool::writer::{Held, Outcome, Stopped};

use super::backpressure::Burst;
use super::consumer::Consumer;
use super::cx::Cx;
use super::dates::Dates;
use super::graph::{Body, Node, Sender};
use super::losses::amount;
use super::{Action, DiskJob, DiskWork, Engine, shape};

/// How often a spool drops expired lines and notices compressed segments.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// The engine's state of a spool.
#[derive(Debug)]
pub(super) struct SpoolState {
    pub(super) queue: Queue,
    /// Known once the spool is open.
    pub(super) identity: Identity,
    pub(super) opened: bool,
    pub(super) held: Held,
    /// The last durable line from each other spool.
    pub(super) origins: HashMap<Identity, u64>,
    /// Origins that have ended, for the next job to forget.
    ended: Vec<Identity>,
    /// The outcomes of batches that are written but not durable, oldest first.
    outcomes: VecDeque<Outcome>,
    /// The number of times the spool gave up segments ([`crate::spool::job`]).
    epoch: u64,
    /// The minutes in which its durable lines were first received.
    pub(super) dates: Dates,
    /// When the newest durable line was received.
    pub(super) newest: Option<std::time::SystemTime>,
    /// The last known cursors of the readers.
    pub(super) cursors: HashMap<String, Cursor>,
    /// Cursors of outputs that a reload has removed, to be written.
    left: Vec<Cursor>,
    /// Total lines that entered the queue, and total lines that left it for good.
    accepted: u64,
    completed: u64,
    /// A job that appends is running.
    appending: bool,
    /// When the running sync began.
    syncing: Option<Mono>,
    /// A job that writes cursors or does housekeeping is running.
    tidying: bool,
    pub(super) retry_at: Option<Mono>,
    /// The spool is full: lines are retried after the next sync, or at this time.
    full_until: Option<Mono>,
    /// The spool is full, and nothing can be dropped before a sync.
    must_sync: bool,
    is_full: bool,
    /// When a full spool was last logged.
    full_logged: Option<Mono>,
    pub(super) error: Option<String>,
    /// When unwritten lines began to wait.
    waiting_since: Option<Mono>,
    /// When the oldest data that is not durable was written.
    dirty_since: Option<Mono>,
    /// A client waits for this many completed lines.
    wanted: u64,
    /// When the cursors were last written.
    saved_at: Mono,
    kept_at: Mono,
    /// True if housekeeping is due early.
    housekeeping_due: bool,
    /// True while its full queue pauses inputs.
    pub(super) pausing: bool,
    /// For unwritten bytes.
    pub(super) burst: Burst,
    /// For bytes that wait in memory for a sync.
    pub(super) unsynced: Burst,
    pub(super) closed: bool,
}

/// The content of a spool as it was opened.
#[derive(Debug)]
pub struct SpoolFound {
    /// Its identity.
    pub identity: Identity,
    /// Its lines.
    pub held: Held,
    /// The last line from each other spool.
    pub origins: HashMap<Identity, u64>,
    /// The cursors of its readers.
    pub cursors: HashMap<String, Cursor>,
}

impl SpoolState {
    pub(super) fn new(limit: u64, now: Mono) -> Self {
        Self {
            queue: Queue::new(limit, 0),
            identity: Identity::of(0),
            opened: false,
            held: Held::default(),
            origins: HashMap::new(),
            ended: Vec::new(),
            outcomes: VecDeque::new(),
            epoch: 0,
            dates: Dates::default(),
            newest: None,
            cursors: HashMap::new(),
            left: Vec::new(),
            accepted: 0,
            completed: 0,
            // Until it has been opened.
            appending: true,
            syncing: None,
            tidying: false,
            retry_at: None,
            full_until: None,
            must_sync: false,
            is_full: false,
            full_logged: None,
            error: None,
            waiting_since: None,
            dirty_since: None,
            wanted: 0,
            saved_at: now,
            kept_at: now,
            housekeeping_due: false,
            pausing: false,
            burst: Burst::beyond(0),
            unsynced: Burst::beyond(limit / 2),
            closed: false,
        }
    }

    /// Keeps the cursor of an output that a reload has removed. With `unsaved`, it is written too.
    pub(super) fn keep_cursor(&mut self, cursor: Cursor, unsaved: bool) {
        if unsaved {
            self.left.push(cursor.clone());
        }
        self.cursors.insert(cursor.reader.clone(), cursor);
    }

    /// Changes the bound of its queue.
    pub(super) fn set_limit(&mut self, limit: u64) {
        self.queue.set_limit(limit);
        self.unsynced = Burst::beyond(limit / 2);
    }

    /// Bytes that have not been written.
    pub(super) fn unwritten(&self) -> u64 {
        self.queue.count().bytes - self.queue.written_bytes()
    }

    /// The number of completed lines at which everything accepted so far is complete.
    pub(super) fn mark(&self) -> u64 {
        self.accepted
    }

    pub(super) fn has_completed(&self, mark: u64) -> bool {
        self.completed >= mark
    }

    /// Forgets origins whose lines are all durable and that nothing comes from any more.
    pub(super) fn end_origins(&mut self, ended: &[Identity]) {
        for origin in ended {
            if self.origins.remove(origin).is_some() {
                self.ended.push(*origin);
            }
        }
    }

    /// Notes that a client waits for everything up to `mark`.
    pub(super) fn want(&mut self, mark: u64) {
        self.wanted = self.wanted.max(mark);
    }

    /// Returns whether the written data should be synced now.
    fn sync_due(&self, plan: &SpoolPlan, ending: bool, now: Mono) -> bool {
        match plan.sync {
            Sync::Batch | Sync::Never => true,
            Sync::Every(time) => {
                ending
                    || self.wanted > self.completed
                    || self.must_sync
                    || self.queue.written_bytes() >= UNSYNCED_MAX
                    || self.dirty_since.is_some_and(|since| now >= since + time)
            }
        }
    }

    /// Returns whether to wait for more lines before writing these.
    fn gathers(&self, plan: &SpoolPlan, ending: bool, now: Mono) -> bool {
        let Sync::Every(time) = plan.sync else { return false };
        let patience = GATHER_MAX.min(time);
        !ending
            && self.wanted <= self.completed
            && self.unwritten() < GATHER_BYTES
            && self.waiting_since.is_none_or(|since| now < since + patience)
    }

    /// Returns whether no job is running.
    pub(super) fn is_idle(&self) -> bool {
        !self.appending && self.syncing.is_none() && !self.tidying
    }

    /// Bytes that wait in memory for a sync, once there are enough to throttle inputs.
    pub(super) fn unsynced_bytes(&self) -> u64 {
        let (used, limit) = self.queue.fill();
        if used > limit / 4 { used } else { 0 }
    }

    /// When there is something to do if no event comes first. `moved` if a cursor on disk lags its
    /// reader.
    pub(super) fn deadline(&self, plan: &SpoolPlan, moved: bool, now: Mono) -> Option<Mono> {
        if self.closed || !self.opened {
            return None;
        }
        let every = match plan.sync {
            Sync::Every(time) => Some(time),
            _ => None,
        };
        let patience = every.map_or(GATHER_MAX, |time| GATHER_MAX.min(time));
        let gathered = self.waiting_since.map(|since| since + patience);
        let append = gathered.into_iter().chain(self.full_until).filter(|_| !self.appending);
        let sync = self.dirty_since.zip(every).map(|(since, time)| since + time);
        let sync = sync.filter(|_| self.syncing.is_none());
        let cursors = moved.then(|| self.saved_at + CURSOR_EVERY);
        let housekeeping = Some(self.kept_at + HOUSEKEEPING);
        let tidy = cursors.into_iter().chain(housekeeping).filter(|_| !self.tidying);
        // What is due but blocked must not hide a later time.
        append.chain(sync).chain(tidy).chain(self.retry_at).filter(|at| *at > now).min()
    }

    /// Schedules housekeeping with the next job.
    pub(super) fn expect_housekeeping(&mut self) {
        self.housekeeping_due = true;
    }

    /// Allows a failed job to be retried once its time has come.
    pub(super) fn expire_retry(&mut self, now: Mono) {
        for at in [&mut self.retry_at, &mut self.full_until] {
            at.take_if(|at| now >= *at);
        }
    }

    /// Queues lines. With `waits`, lines are always accepted, and the input is paused if there is
    /// too little room. Returns what did not fit and why.
    fn accept(&mut self, batch: Batch, waits: bool, cx: &mut Cx) -> Option<(Count, Reason)> {
        let lines = u64::from(batch.lines);
        if waits {
            self.accepted += lines;
            self.queue.push_anyway(batch, &mut cx.budget);
            return None;
        }
        let lost = self.queue.push(batch, &mut cx.budget).err().unwrap_or_default();
        self.accepted += lines - lost.lines;
        let refused = self.error.is_some();
        Some((lost, if refused { Reason::DiskError } else { Reason::QueueFull }))
    }

    /// The jobs to start now, at most one of each kind: appends continue while a sync runs.
    /// `cursors` returns the cursors to write: all of them (`true`), or only those that a
    /// checkpoint waits for.
    fn next_jobs(
        &mut self,
        plan: &SpoolPlan,
        ending: bool,
        cursors: impl FnOnce(bool) -> Vec<Cursor>,
        now: Mono,
    ) -> Vec<Job> {
        if self.closed || !self.opened || self.retry_at.is_some() {
            return Vec::new();
        }
        let lines = self.next_lines(plan, ending, now);
        let tidy = match self.tidying {
            true => Job::default(),
            false => self.next_tidying(ending, cursors, now),
        };
        let has_work = |job: &Job| job.appends() || job.thread() != Thread::Appends;
        [lines, tidy].into_iter().filter(has_work).collect()
    }

    /// The job that appends waiting lines, syncs if that is due, or both.
    fn next_lines(&mut self, plan: &SpoolPlan, ending: bool, now: Mono) -> Job {
        let gathers = self.gathers(plan, ending, now);
        let batches = match self.appending || self.full_until.is_some() || gathers {
            true => Vec::new(),
            false => self.queue.first_unwritten(SPOOL_JOB_MAX),
        };
        match gathers && self.unwritten() > 0 {
            true => drop(self.waiting_since.get_or_insert(now)),
            false => self.waiting_since = None,
        }
        let dirty = !batches.is_empty() || self.dirty_since.is_some() || self.must_sync;
        let sync = self.syncing.is_none() && dirty && self.sync_due(plan, ending, now);
        if !batches.is_empty() {
            self.appending = true;
            self.dirty_since.get_or_insert(now);
        }
        if sync {
            self.syncing = Some(now);
        }
        // With lines only, so that the job runs before any other line: an origin may begin anew.
        let ended = match batches.is_empty() {
            true => Vec::new(),
            false => std::mem::take(&mut self.ended),
        };
        Job { epoch: self.epoch, ended, batches, sync, ..Job::default() }
    }

    /// The job that writes cursors and does housekeeping.
    fn next_tidying(
        &mut self,
        ending: bool,
        cursors: impl FnOnce(bool) -> Vec<Cursor>,
        now: Mono,
    ) -> Job {
        let mut cursors = cursors(ending || now >= self.saved_at + CURSOR_EVERY);
        // First: a successor of the same name is further by now.
        cursors.splice(0..0, self.left.drain(..));
        let housekeeping = self.housekeeping_due || now >= self.kept_at + HOUSEKEEPING;
        if !cursors.is_empty() {
            self.saved_at = now;
        }
        if housekeeping {
            self.housekeeping_due = false;
            self.kept_at = now;
        }
        self.tidying = housekeeping || !cursors.is_empty();
        Job { epoch: self.epoch, cursors, housekeeping, ..Job::default() }
    }

    /// Takes in a report of a job.
    fn reported(&mut self, report: &mut Report, name: &str, now: Mono) {
        self.came_to(report.step);
        self.note_errors(report, name, now);
        self.held = report.held;
        for (origin, last) in report.origins.drain(..) {
            match last {
                Some(last) => self.origins.insert(origin, last),
                None => self.origins.remove(&origin),
            };
        }
        for outcome in report.outcomes.drain(..) {
            let bytes = self.queue.unwritten().map_or(0, |batch| batch.bytes.len());
            self.queue.wrote(bytes);
            self.outcomes.push_back(outcome);
        }
    }

    /// Takes in the progress of a job.
    fn came_to(&mut self, step: Step) {
        let task = match step {
            Step::Appended { lines, idle } => {
                self.appending &= !lines;
                idle
            }
            Step::Done(task) => {
                // Dropped or completed segments may have made room.
                self.full_until = None;
                Some(task)
            }
        };
        match task {
            None => {}
            Some(Task::Cursors) => self.tidying = false,
            Some(Task::Lines) => {
                // Data that is not durable now was appended after this sync began.
                let begun = self.syncing.take();
                self.dirty_since = self.dirty_since.and(begun);
                self.must_sync = false;
            }
        }
    }

    /// Records an error: a full spool waits for its readers, a failed disk is retried.
    fn note_errors(&mut self, report: &mut Report, name: &str, now: Mono) {
        let appended = matches!(report.step, Step::Appended { lines: true, .. });
        let mut failed = report.error.take();
        match report.stopped.take() {
            Some(Stopped::Unsynced) => {
                self.must_sync = true;
                self.full_until = Some(now + DISK_RETRY);
            }
            Some(Stopped::Full(why)) => {
                self.full_until = Some(now + DISK_RETRY);
                if self.full_logged.is_none_or(|logged| now.since(logged) >= DROPS_SAID_EVERY) {
                    log::error!(
                        "{name}: {why}; lines wait in the queue until readers have completed some"
                    );
                    self.full_logged = Some(now);
                }
                self.is_full = true;
                self.error = Some(why);
            }
            Some(Stopped::Failed(why)) => failed = Some(why),
            None => self.is_full &= !appended,
        }
        // A sync under way has yet to succeed.
        let tells_health = match report.step {
            Step::Appended { lines, .. } => lines && self.syncing.is_none(),
            Step::Done(task) => task == Task::Lines || self.queue.is_empty(),
        };
        if tells_health && failed.is_none() && !self.is_full && self.error.take().is_some() {
            let waits = amount(self.queue.count().lines, "lines");
            log::warn!("{name}: writing again; {waits} still waiting");
        }
        if let Some(failed) = failed {
            if self.error.is_none() {
                log::error!(
                    "{name}: {failed}; retrying every {DISK_RETRY:?}, lines wait in the queue"
                );
            }
            self.error = Some(failed);
            self.retry_at = Some(now + DISK_RETRY);
        }
    }

    /// Schedules data that is not durable to be written again, under new numbers.
    fn rewind(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.queue.rewind();
        self.outcomes.clear();
    }

    /// Removes durable batches from the queue and assigns them their numbers.
    fn take_durable(&mut self, ledger: &mut Ledger, cx: &mut Cx) -> Vec<Batch> {
        let mut durable = Vec::new();
        while let Some(outcome) = self.outcomes.front().copied() {
            let Some(batch) = self.queue.front() else { break };
            let count = batch.count();
            let end = match outcome {
                Outcome::Stored(first) => first + count.lines,
                _ => 0,
            };
            if end > self.held.durable {
                break;
            }
            let Some(mut batch) = self.queue.pop(&mut cx.budget) else { break };
            self.outcomes.pop_front();
            self.completed += count.lines;
            match outcome {
                Outcome::Stored(first) => {
                    ledger.leave(batch.minute, count);
                    self.dates.note(first, end, batch.minute);
                    self.newest = Some(batch.received);
                    batch.numbers = Some(Numbers { first, last: end - 1 });
                    durable.push(batch);
                }
                Outcome::Duplicate => ledger.drop(Reason::Duplicate, batch.minute, count),
                Outcome::Refused => ledger.drop(Reason::SpoolFull, batch.minute, count),
            }
        }
        durable
    }

    /// The grace is over: gives up what was not written, unless a job may still write it.
    pub(super) fn give_up(&mut self, stalled: bool, cx: &mut Cx) -> Tally {
        if !self.is_idle() && !stalled {
            return Tally::default();
        }
        self.outcomes.clear();
        self.queue.clear(&mut cx.budget)
    }

    /// Closes it if nothing waits and no job is running. A `stalled` job is not waited for.
    fn close(&mut self, node: NodeId, stalled: bool, cx: &mut Cx) {
        if self.queue.is_empty() && (stalled || self.is_idle()) && !self.closed {
            self.closed = true;
            cx.act(Action::Disk(DiskJob { node, work: DiskWork::Close }));
        }
    }
}

impl Engine {
    /// The spools of the plan in force, with their readers' names.
    pub fn spools(&self) -> Vec<(NodeId, SpoolPlan, Vec<String>)> {
        let live = self.graph.iter().filter(|(_, node)| node.retired.is_none());
        let spools = live.filter_map(|(id, node)| Some((id, shape::spool(&node.plan.body)?)));
        spools.map(|(id, plan)| (id, plan.clone(), self.consumers.readers(id))).collect()
    }

    /// The names of a spool's readers.
    pub fn readers_of(&self, spool: NodeId) -> Vec<String> {
        self.consumers.readers(spool)
    }

    pub(super) fn spool_opened(&mut self, id: NodeId, found: SpoolFound) {
        let Some(spool) = self.graph.spool_mut(id) else { return };
        spool.opened = true;
        spool.identity = found.identity;
        spool.held = found.held;
        spool.origins = found.origins;
        spool.cursors = found.cursors;
        spool.appending = false;
        self.begin_consumers(id);
        self.cx.touch(id);
    }

    /// Queues lines for a spool.
    pub(super) fn queue_for_spool(&mut self, to: NodeId, batch: Batch, sender: Sender) {
        let Some(Node { plan, body: Body::Spool(spool), ledger, .. }) = self.graph.get_mut(to)
        else {
            return;
        };
        let minute = batch.minute;
        let waits = sender != Sender::GoesOn
            || shape::spool(&plan.body).is_some_and(|plan| plan.when_full == SpoolFull::Block);
        if let Some((lost, reason)) = spool.accept(batch, waits, &mut self.cx) {
            ledger.drop(reason, minute, lost);
        }
        self.cx.touch(to);
    }

    /// Starts a spool's next jobs if there is work.
    pub(super) fn start_spool_jobs(&mut self, id: NodeId) {
        let is_ending = self.ending.is_some();
        let Some(Node { plan, body: Body::Spool(spool), retired, .. }) = self.graph.get_mut(id)
        else {
            return;
        };
        let Some(plan) = shape::spool(&plan.body) else { return };
        let ending = is_ending || retired.is_some();
        let (consumers, identity) = (&self.consumers, spool.identity);
        let cursors = |all| {
            let of_spool = consumers.of_spool(id).map(|(_, consumer)| consumer);
            cursors_to_save(of_spool, identity, all)
        };
        for job in spool.next_jobs(plan, ending, cursors, self.cx.now) {
            let work = DiskWork::Spool(Box::new(job));
            self.cx.act(Action::Disk(DiskJob { node: id, work }));
        }
    }

    pub(super) fn spool_done(&mut self, id: NodeId, mut report: Report) {
        let now = self.cx.now;
        let Some(Node { name, body: Body::Spool(spool), ledger, moved, .. }) =
            self.graph.get_mut(id)
        else {
            return;
        };
        let before = spool.completed;
        spool.reported(&mut report, name, now);
        let durable = spool.take_durable(ledger, &mut self.cx);
        if spool.completed != before {
            *moved = now;
        }
        if report.epoch != spool.epoch {
            spool.rewind(report.epoch);
        }
        match spool.outcomes.is_empty() {
            true => spool.dirty_since = None,
            // An append that was running when a sync ended is reported after the sync.
            false => drop(spool.dirty_since.get_or_insert(now)),
        }
        for cursor in &report.saved {
            for output in self.consumers.saved(id, cursor) {
                self.checkpoint_saved(output);
            }
        }
        self.deliver(id, durable);
        self.release_barriers();
        self.cx.touch(id);
        for lane in self.consumers.lanes_of(id) {
            self.cx.touch(lane.node);
        }
    }

    /// Returns whether a cursor on disk lags its reader, or a checkpoint waits for one.
    pub(super) fn has_moved_cursors(&self, spool: NodeId) -> bool {
        if self.graph.spool(spool).is_some_and(|spool| !spool.left.is_empty()) {
            return true;
        }
        let mut consumers = self.consumers.of_spool(spool);
        consumers.any(|(_, consumer)| consumer.checkpoint.is_some() || consumer.has_moved())
    }

    /// Sends a spool's thread its current plan and readers.
    pub(super) fn update_readers(&mut self, id: NodeId) {
        let Some(plan) = self.graph.get(id).and_then(|node| shape::spool(&node.plan.body)) else {
            return;
        };
        let work = DiskWork::UpdateSpool(Box::new(plan.clone()), self.consumers.readers(id));
        self.cx.act(Action::Disk(DiskJob { node: id, work }));
    }

    /// Closes a spool that nothing can reach and in which nothing waits, once its readers' cursors
    /// are on disk. Nothing is waited for if the disk is `stalled`.
    pub(super) fn end_spool(&mut self, id: NodeId, stalled: bool) {
        let outputs_ended = self
            .consumers
            .of_spool(id)
            .all(|(lane, _)| self.graph.get(lane.node).is_none_or(|node| node.finished));
        if !stalled && (!outputs_ended || self.has_moved_cursors(id)) {
            return;
        }
        if let Some(spool) = self.graph.spool_mut(id) {
            spool.close(id, stalled, &mut self.cx);
        }
    }
}

/// The cursors of a spool's readers to write now. Those of file outputs are made at checkpoints and
/// are always due; the others move constantly and wait for `all`.
fn cursors_to_save<'c>(
    consumers: impl Iterator<Item = &'c Consumer>,
    spool: Identity,
    all: bool,
) -> Vec<Cursor> {
    let due = |consumer: &Consumer| match consumer.is_exact {
        true => consumer.checkpoint.clone(),
        false => (all && consumer.has_moved()).then(|| consumer.cursor(spool, Kept::default())),
    };
    consumers.filter_map(due).collect()
}
