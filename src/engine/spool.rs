//! Spools: what waits to be written, what is written and not durable, what became of it.
//!
//! A batch stays in the spool's queue until it is durable, so that what a failed sync leaves in
//! doubt can be written again. One job that appends, one that syncs and one with cursors are
//! under way for each spool at most ([`crate::spool::job`]); what became durable is told to the
//! clients that wait for it and handed to the readers that have read everything before.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::batch::{Batch, Place};
use crate::clock::Mono;
use crate::config::plan::{SpoolFull, SpoolPlan, Sync};
use crate::ids::{Identity, LaneId, NodeId};
use crate::ledger::Reason;
use crate::limits::{
    CURSOR_EVERY, DISK_RETRY, DROPS_SAID_EVERY, GATHER_BYTES, GATHER_MOST, SPOOL_JOB_MOST,
};
use crate::output::queue::Queue;
use crate::spool::cursor::Cursor;
use crate::spool::job::{Job, Report, Step, Thread};
use crate::spool::sync::Task;
use crate::spool::writer::{Held, Outcome, Stopped};

use super::disk::Behind;
use super::{Action, Body, DiskJob, DiskWork, Engine};

/// How often a spool looks for lines that are too old and takes notice of compressed segments.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// A spool, as the engine knows it.
#[derive(Debug)]
pub(super) struct SpoolOut {
    pub(super) queue: Queue,
    /// Known once the disk has opened it.
    pub(super) identity: Identity,
    pub(super) opened: bool,
    pub(super) held: Held,
    /// The last durable line of each other spool that lines came from.
    pub(super) origins: HashMap<Identity, u64>,
    /// What became of the batches that are written and not durable, oldest first.
    outcomes: VecDeque<Outcome>,
    /// How often the spool gave segments up.
    epoch: u64,
    /// When the newest durable line was received.
    pub(super) newest: Option<std::time::SystemTime>,
    /// The cursors of readers as they were last known.
    pub(super) cursors: HashMap<String, Cursor>,
    /// Lines that ever entered the queue, and lines that left it for good.
    accepted: u64,
    settled: u64,
    /// A job that appends is under way, one that syncs, since when, and one with cursors.
    appending: bool,
    syncing: Option<Mono>,
    tidying: bool,
    pub(super) retry_at: Option<Mono>,
    /// It is full: lines are tried again after the next sync, or then.
    full_until: Option<Mono>,
    /// It is full, and a sync must come before anything can be dropped.
    must_sync: bool,
    is_full: bool,
    /// When it was last said that it is full.
    full_said: Option<Mono>,
    pub(super) error: Option<String>,
    /// Since when lines wait that are not written.
    waiting_since: Option<Mono>,
    /// Since when something is written that is not durable.
    dirty_since: Option<Mono>,
    /// Up to this many settled lines somebody waits for.
    wanted: u64,
    /// When the cursors were last written.
    saved_at: Mono,
    kept_at: Mono,
    /// Whether its full queue makes inputs wait.
    pub(super) holding: bool,
    pub(super) behind: Behind,
    /// The same of what is not durable yet and so kept in memory.
    pub(super) unsynced: Behind,
    pub(super) closed: bool,
}

/// What the disk found when it opened a spool.
#[derive(Debug)]
pub struct SpoolFound {
    /// Its identity.
    pub identity: Identity,
    /// What it holds.
    pub held: Held,
    /// The last line that came from each other spool.
    pub origins: HashMap<Identity, u64>,
    /// The cursors of its readers.
    pub cursors: HashMap<String, Cursor>,
}

impl SpoolOut {
    pub(super) fn new(queue: Queue, now: Mono) -> Self {
        let limit = queue.fill().1;
        Self {
            queue,
            identity: Identity::of(0),
            opened: false,
            held: Held::default(),
            origins: HashMap::new(),
            outcomes: VecDeque::new(),
            epoch: 0,
            newest: None,
            cursors: HashMap::new(),
            accepted: 0,
            settled: 0,
            // Until the disk has opened it.
            appending: true,
            syncing: None,
            tidying: false,
            retry_at: None,
            full_until: None,
            must_sync: false,
            is_full: false,
            full_said: None,
            error: None,
            waiting_since: None,
            dirty_since: None,
            wanted: 0,
            saved_at: now,
            kept_at: now,
            holding: false,
            behind: Behind::beyond(0),
            unsynced: Behind::beyond(limit / 2),
            closed: false,
        }
    }

    /// Bytes that are not written yet.
    pub(super) fn unwritten(&self) -> u64 {
        self.queue.count().bytes - self.queue.written_bytes()
    }

    /// The count of settled lines at which all that entered so far is settled.
    pub(super) fn mark(&self) -> u64 {
        self.accepted
    }

    pub(super) fn has_settled(&self, mark: u64) -> bool {
        self.settled >= mark
    }

    /// Somebody waits for what entered so far.
    pub(super) fn want(&mut self, mark: u64) {
        self.wanted = self.wanted.max(mark);
    }

    /// Whether what is written should be made durable now.
    fn sync_due(&self, plan: &SpoolPlan, ending: bool, now: Mono) -> bool {
        match plan.sync {
            Sync::Batch | Sync::Never => true,
            Sync::Every(time) => {
                ending
                    || self.wanted > self.settled
                    || self.must_sync
                    || self.dirty_since.is_some_and(|since| now >= since + time)
            }
        }
    }

    /// Whether more lines are waited for before these are written.
    fn gathers(&self, plan: &SpoolPlan, ending: bool, now: Mono) -> bool {
        let Sync::Every(time) = plan.sync else { return false };
        let patience = GATHER_MOST.min(time);
        !ending
            && self.wanted <= self.settled
            && self.unwritten() < GATHER_BYTES
            && self.waiting_since.is_none_or(|since| now < since + patience)
    }

    /// A job has come so far.
    fn came_to(&mut self, step: Step) {
        let task = match step {
            Step::Appended { lines, idle } => {
                self.appending &= !lines;
                idle
            }
            Step::Done(task) => {
                // What was dropped or passed may have made room.
                self.full_until = None;
                Some(task)
            }
        };
        match task {
            None => {}
            Some(Task::Cursors) => self.tidying = false,
            Some(Task::Lines) => {
                // What is not durable now was appended since.
                let begun = self.syncing.take();
                self.dirty_since = self.dirty_since.and(begun);
                self.must_sync = false;
            }
        }
    }

    /// What went wrong: a full spool waits for its readers, a disk that refuses rests.
    fn note_trouble(
        &mut self,
        name: &str,
        stopped: Option<Stopped>,
        error: Option<String>,
        step: Step,
        now: Mono,
    ) {
        let mut failed = error;
        match stopped {
            Some(Stopped::Unsynced) => {
                self.must_sync = true;
                self.full_until = Some(now + DISK_RETRY);
            }
            Some(Stopped::Full(why)) => {
                self.full_until = Some(now + DISK_RETRY);
                if self.full_said.is_none_or(|said| now.since(said) >= DROPS_SAID_EVERY) {
                    log::error!("{name}: {why}; lines wait in the queue until readers pass some");
                    self.full_said = Some(now);
                }
                self.is_full = true;
                self.error = Some(why);
            }
            Some(Stopped::Failed(why)) => failed = Some(why),
            None if matches!(step, Step::Appended { lines: true, .. }) => self.is_full = false,
            None => {}
        }
        let is_well = !matches!(step, Step::Appended { lines: false, .. });
        if is_well && failed.is_none() && !self.is_full && self.error.take().is_some() {
            log::warn!("{name}: written to again");
        }
        if let Some(failed) = failed {
            if self.error.is_none() {
                log::error!(
                    "{name}: {failed}; tried again every {DISK_RETRY:?}, lines wait in the queue"
                );
            }
            self.error = Some(failed);
            self.retry_at = Some(now + DISK_RETRY);
        }
    }

    /// Whether nothing is under way.
    fn is_idle(&self) -> bool {
        !self.appending && self.syncing.is_none() && !self.tidying
    }

    /// Bytes that wait in memory for a sync, where they are so many that inputs should know.
    pub(super) fn unsynced_bytes(&self) -> u64 {
        let (used, limit) = self.queue.fill();
        if used > limit / 4 { used } else { 0 }
    }

    /// When there is something to do, if nothing happens before.
    pub(super) fn deadline(&self, plan: &SpoolPlan) -> Option<Mono> {
        if self.closed {
            return None;
        }
        let every = match plan.sync {
            Sync::Every(time) => Some(time),
            _ => None,
        };
        let sync = self.dirty_since.zip(every).map(|(since, time)| since + time);
        let patience = every.map_or(GATHER_MOST, |time| GATHER_MOST.min(time));
        let gathered = self.waiting_since.map(|since| since + patience);
        let housekeeping = Some(self.kept_at + HOUSEKEEPING);
        let append = gathered.into_iter().chain(self.full_until).filter(|_| !self.appending);
        let sync = sync.filter(|_| self.syncing.is_none());
        let housekeeping = housekeeping.filter(|_| !self.tidying);
        append.chain(sync).chain(housekeeping).chain(self.retry_at).min()
    }
}

impl Engine {
    /// The spools of the plan in force, with their readers' names.
    pub fn spools(&self) -> Vec<(NodeId, SpoolPlan, Vec<String>)> {
        let mut spools = Vec::new();
        for (id, node) in self.nodes() {
            if let (crate::config::plan::BodyPlan::Spool(plan), None) =
                (&node.plan.body, node.retired)
            {
                spools.push((id, plan.clone(), self.readers_of(id)));
            }
        }
        spools
    }

    pub(super) fn spool(&self, node: NodeId) -> Option<&SpoolOut> {
        match &self.nodes.get(node.0 as usize)?.as_ref()?.body {
            Body::Spool(spool) => Some(spool),
            _ => None,
        }
    }

    pub(super) fn spool_mut(&mut self, node: NodeId) -> Option<&mut SpoolOut> {
        match &mut self.nodes.get_mut(node.0 as usize)?.as_mut()?.body {
            Body::Spool(spool) => Some(spool),
            _ => None,
        }
    }

    pub(super) fn spool_opened(&mut self, node: NodeId, found: SpoolFound, now: Mono) {
        let Some(spool) = self.spool_mut(node) else { return };
        spool.opened = true;
        spool.identity = found.identity;
        spool.held = found.held;
        spool.origins = found.origins;
        spool.cursors = found.cursors;
        spool.appending = false;
        self.begin_feeds(node);
        self.tick_feeds(now);
    }

    /// Lines come to a spool. Those of a client that is answered always find room: where there
    /// is too little, the input is made to wait.
    pub(super) fn queue_for_spool(&mut self, to: NodeId, batch: Batch) {
        let waits = self.waits_for_spools;
        let Some(node) = &mut self.nodes[to.0 as usize] else { return };
        let Body::Spool(spool) = &mut node.body else { return };
        let crate::config::plan::BodyPlan::Spool(plan) = &node.plan.body else { return };
        let lines = u64::from(batch.lines);
        if waits || plan.when_full == SpoolFull::Block {
            spool.accepted += lines;
            spool.queue.push_anyway(batch, &mut self.budget);
        } else {
            let lost = spool.queue.push(batch, &mut self.budget).err().unwrap_or_default();
            spool.accepted += lines - lost.lines;
            let refused = spool.error.is_some();
            let reason = if refused { Reason::DiskError } else { Reason::QueueFull };
            node.ledger.drop(reason, lost.lines, lost.bytes);
        }
    }

    pub(super) fn tick_spools(&mut self, now: Mono) {
        for node in self.spool_ids() {
            if let Some(spool) = self.spool_mut(node)
                && spool.retry_at.is_some_and(|at| now >= at)
            {
                spool.retry_at = None;
            }
            if let Some(spool) = self.spool_mut(node)
                && spool.full_until.is_some_and(|at| now >= at)
            {
                spool.full_until = None;
            }
            self.start_spool_job(node, now);
        }
    }

    pub(super) fn spool_ids(&self) -> Vec<NodeId> {
        let is_spool =
            |(id, node): (NodeId, &super::Node)| matches!(node.body, Body::Spool(_)).then_some(id);
        self.nodes().filter_map(is_spool).collect()
    }

    /// Starts what is to be done now. Lines go to the disk whatever a sync does meanwhile.
    fn start_spool_job(&mut self, id: NodeId, now: Mono) {
        let ending = self.ending.is_some() || self.node(id).retired.is_some();
        let Some(spool) = self.spool(id) else { return };
        if spool.closed || !spool.opened || spool.retry_at.is_some() {
            return;
        }
        let crate::config::plan::BodyPlan::Spool(plan) = &self.node(id).plan.body else { return };
        let gathers = spool.gathers(plan, ending, now);
        let may_append = !spool.appending && spool.full_until.is_none();
        let batches = match may_append && !gathers {
            true => spool.queue.first_unwritten(SPOOL_JOB_MOST),
            false => Vec::new(),
        };
        let waits = gathers && spool.unwritten() > 0;
        let dirty = !batches.is_empty() || spool.dirty_since.is_some() || spool.must_sync;
        let sync = spool.syncing.is_none() && dirty && spool.sync_due(plan, ending, now);
        let save = ending || now >= spool.saved_at + CURSOR_EVERY;
        let cursors = match spool.tidying {
            false => self.cursors_to_save(id, save),
            true => Vec::new(),
        };
        let housekeeping = !spool.tidying && now >= spool.kept_at + HOUSEKEEPING;
        let epoch = spool.epoch;
        let Some(spool) = self.spool_mut(id) else { return };
        match waits {
            true => drop(spool.waiting_since.get_or_insert(now)),
            false => spool.waiting_since = None,
        }
        if !batches.is_empty() {
            spool.appending = true;
            spool.dirty_since.get_or_insert(now);
        }
        if sync {
            spool.syncing = Some(now);
        }
        if !cursors.is_empty() {
            spool.saved_at = now;
        }
        if housekeeping {
            spool.kept_at = now;
        }
        spool.tidying |= housekeeping || !cursors.is_empty();
        let lines = Job { epoch, batches, sync, ..Job::default() };
        let tidy = Job { epoch, cursors, housekeeping, ..Job::default() };
        for job in [lines, tidy] {
            if job.appends() || job.thread() != Thread::Appends {
                let work = DiskWork::Spool(Box::new(job));
                self.actions.push_back(Action::Disk(DiskJob { node: id, work }));
            }
        }
    }

    pub(super) fn spool_done(&mut self, id: NodeId, report: Report, now: Mono) {
        let Some(node) = &mut self.nodes[id.0 as usize] else { return };
        let Body::Spool(spool) = &mut node.body else { return };
        spool.came_to(report.step);
        spool.note_trouble(&node.name, report.stopped, report.error, report.step, now);
        spool.held = report.held;
        for (origin, last) in report.origins {
            match last {
                Some(last) => spool.origins.insert(origin, last),
                None => spool.origins.remove(&origin),
            };
        }
        for outcome in report.outcomes {
            let bytes = spool.queue.unwritten().map_or(0, |batch| batch.bytes.len());
            spool.queue.wrote(bytes);
            spool.outcomes.push_back(outcome);
        }
        let durable = self.settle_spool(id);
        let Some(spool) = self.spool_mut(id) else { return };
        if report.epoch != spool.epoch {
            // What is not durable is written again, under numbers that are given anew.
            spool.epoch = report.epoch;
            spool.queue.rewind();
            spool.outcomes.clear();
        }
        match spool.outcomes.is_empty() {
            true => spool.dirty_since = None,
            // An append that was under way when a sync ended is reported after it.
            false => drop(spool.dirty_since.get_or_insert(now)),
        }
        self.cursors_saved(&report.saved);
        self.hand_to_readers(id, durable, now);
        self.settle_tickets();
        self.start_spool_job(id, now);
    }

    /// Takes what is durable out of the queue, with the places it has now.
    fn settle_spool(&mut self, id: NodeId) -> Vec<Batch> {
        let mut durable = Vec::new();
        let Some(node) = &mut self.nodes[id.0 as usize] else { return durable };
        let Body::Spool(spool) = &mut node.body else { return durable };
        while let Some(outcome) = spool.outcomes.front().copied() {
            let Some(batch) = spool.queue.front() else { break };
            let count = batch.count();
            let end = match outcome {
                Outcome::Stored(first) => first + count.lines,
                _ => 0,
            };
            if end > spool.held.durable {
                break;
            }
            let Some(mut batch) = spool.queue.pop(&mut self.budget) else { break };
            spool.outcomes.pop_front();
            node.moved = self.ticked;
            spool.settled += count.lines;
            match outcome {
                Outcome::Stored(first) => {
                    node.ledger.left.add(count.lines, count.bytes);
                    spool.newest = Some(batch.received);
                    batch.place = Some(Place { spool: spool.identity, first, last: end - 1 });
                    durable.push(batch);
                }
                Outcome::Duplicate => {
                    node.ledger.drop(Reason::Duplicate, count.lines, count.bytes);
                }
                Outcome::Refused => node.ledger.drop(Reason::SpoolFull, count.lines, count.bytes),
            }
        }
        durable
    }

    /// The readers of a spool.
    pub(super) fn feeds_of(&self, spool: NodeId) -> Vec<LaneId> {
        let of = |(id, feed): (&LaneId, &super::feed::Feed)| (feed.spool == spool).then_some(*id);
        self.feeds.iter().filter_map(of).collect()
    }

    /// The grace is over, and so much could not be written.
    pub(super) fn give_up_spool(&mut self, id: NodeId, stalled: bool) {
        let Some(node) = &mut self.nodes[id.0 as usize] else { return };
        let Body::Spool(spool) = &mut node.body else { return };
        if !spool.is_idle() && !stalled {
            return;
        }
        let mut lost = crate::ledger::Count::default();
        while let Some(batch) = spool.queue.pop(&mut self.budget) {
            lost.add(u64::from(batch.lines), batch.bytes.len() as u64);
        }
        spool.outcomes.clear();
        if lost.lines > 0 {
            node.ledger.drop(Reason::Shutdown, lost.lines, lost.bytes);
            log::warn!("{}: {} lines did not get to the disk", node.name, lost.lines);
        }
    }

    /// Closes a spool to which nothing can come and in which nothing waits, once its readers'
    /// cursors are on disk.
    pub(super) fn end_spool(&mut self, id: NodeId) {
        if !self.cursors_to_save(id, true).is_empty() {
            return;
        }
        let Some(spool) = self.spool_mut(id) else { return };
        if spool.queue.is_empty() && spool.is_idle() && !spool.closed {
            spool.closed = true;
            self.actions.push_back(Action::Disk(DiskJob { node: id, work: DiskWork::Close }));
        }
    }
}
