//! Spools: what waits to be written, what is written and not durable, what became of it.
//!
//! A batch stays in the spool's queue until it is durable, so that what a failed sync leaves in
//! doubt can be written again. One job is under way for each spool; what it brought is told to
//! the clients that wait for it and handed to the readers that have read everything before.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::batch::{Batch, Place};
use crate::clock::Mono;
use crate::config::plan::{SpoolFull, SpoolPlan, Sync};
use crate::ids::{Identity, LaneId, NodeId};
use crate::ledger::Reason;
use crate::limits::{
    CURSOR_EVERY, DISK_RETRY, GATHER_BYTES, GATHER_MOST, SPOOL_JOB_MOST, UNSYNCED_MOST,
};
use crate::output::queue::Queue;
use crate::spool::cursor::Cursor;
use crate::spool::job::{Job, Report};
use crate::spool::writer::{Fate, Held};

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
    fates: VecDeque<Fate>,
    /// When the newest durable line was received.
    pub(super) newest: Option<std::time::SystemTime>,
    /// The cursors of readers as they were last known.
    pub(super) cursors: HashMap<String, Cursor>,
    /// Lines that ever entered the queue, and lines that left it for good.
    accepted: u64,
    settled: u64,
    pub(super) busy: bool,
    pub(super) retry_at: Option<Mono>,
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
        Self {
            queue,
            identity: Identity::of(0),
            opened: false,
            held: Held::default(),
            origins: HashMap::new(),
            fates: VecDeque::new(),
            newest: None,
            cursors: HashMap::new(),
            accepted: 0,
            settled: 0,
            // Until the disk has opened it.
            busy: true,
            retry_at: None,
            error: None,
            waiting_since: None,
            dirty_since: None,
            wanted: 0,
            saved_at: now,
            kept_at: now,
            holding: false,
            behind: Behind::beyond(0),
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
                    || self.queue.written_bytes() >= UNSYNCED_MOST
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

    /// When there is something to do, if nothing happens before.
    pub(super) fn deadline(&self, plan: &SpoolPlan) -> Option<Mono> {
        if self.busy || self.closed {
            return None;
        }
        let sync = match plan.sync {
            Sync::Every(time) => self.dirty_since.map(|since| since + time),
            _ => None,
        };
        let patience = match plan.sync {
            Sync::Every(time) => GATHER_MOST.min(time),
            _ => GATHER_MOST,
        };
        let gathered = self.waiting_since.map(|since| since + patience);
        let housekeeping = Some(self.kept_at + HOUSEKEEPING);
        sync.into_iter().chain(gathered).chain(self.retry_at).chain(housekeeping).min()
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
        spool.busy = false;
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
            self.start_spool_job(node, now);
        }
    }

    pub(super) fn spool_ids(&self) -> Vec<NodeId> {
        let is_spool =
            |(id, node): (NodeId, &super::Node)| matches!(node.body, Body::Spool(_)).then_some(id);
        self.nodes().filter_map(is_spool).collect()
    }

    fn start_spool_job(&mut self, id: NodeId, now: Mono) {
        let ending = self.ending.is_some() || self.node(id).retired.is_some();
        let Some(spool) = self.spool(id) else { return };
        if spool.busy || spool.closed || spool.retry_at.is_some() {
            return;
        }
        let crate::config::plan::BodyPlan::Spool(plan) = &self.node(id).plan.body else { return };
        let gathers = spool.gathers(plan, ending, now);
        let batches = match gathers {
            true => Vec::new(),
            false => spool.queue.first_unwritten(SPOOL_JOB_MOST),
        };
        let waits = gathers && spool.unwritten() > 0;
        let dirty = !batches.is_empty() || spool.dirty_since.is_some();
        let sync = dirty && spool.sync_due(plan, ending, now);
        let save = ending || now >= spool.saved_at + CURSOR_EVERY;
        let cursors = self.cursors_to_save(id, save);
        let housekeeping = now >= spool.kept_at + HOUSEKEEPING;
        let Some(spool) = self.spool_mut(id) else { return };
        match waits {
            true => drop(spool.waiting_since.get_or_insert(now)),
            false => spool.waiting_since = None,
        }
        if batches.is_empty() && !sync && cursors.is_empty() && !housekeeping {
            return;
        }
        spool.busy = true;
        if !batches.is_empty() {
            spool.dirty_since.get_or_insert(now);
        }
        if !cursors.is_empty() {
            spool.saved_at = now;
        }
        if housekeeping {
            spool.kept_at = now;
        }
        let job = Job { batches, sync, cursors, housekeeping };
        let work = DiskWork::Spool(Box::new(job));
        self.actions.push_back(Action::Disk(DiskJob { node: id, work }));
    }

    pub(super) fn spool_done(&mut self, id: NodeId, report: Report, now: Mono) {
        let Some(node) = &mut self.nodes[id.0 as usize] else { return };
        let Body::Spool(spool) = &mut node.body else { return };
        spool.busy = false;
        match (&report.error, &spool.error) {
            (Some(error), None) => log::error!(
                "{}: {error}; tried again every {DISK_RETRY:?}, lines wait in the queue",
                node.name
            ),
            (None, Some(_)) => log::warn!("{}: written to again", node.name),
            _ => {}
        }
        spool.retry_at = report.error.is_some().then(|| now + DISK_RETRY);
        spool.error = report.error;
        spool.held = report.held;
        spool.origins.extend(report.origins);
        for fate in report.fates {
            let bytes = spool.queue.unwritten().map_or(0, |batch| batch.bytes.len());
            spool.queue.wrote(bytes);
            spool.fates.push_back(fate);
        }
        let durable = self.settle_spool(id);
        let Some(spool) = self.spool_mut(id) else { return };
        if report.rewound {
            // What is not durable is written again, under numbers that are given anew.
            spool.queue.rewind();
            spool.fates.clear();
        }
        if spool.fates.is_empty() {
            spool.dirty_since = None;
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
        while let Some(fate) = spool.fates.front().copied() {
            let Some(batch) = spool.queue.front() else { break };
            let count = batch.count();
            let end = match fate {
                Fate::Stored(first) => first + count.lines,
                _ => 0,
            };
            if end > spool.held.durable {
                break;
            }
            let Some(mut batch) = spool.queue.pop(&mut self.budget) else { break };
            spool.fates.pop_front();
            node.moved = self.ticked;
            spool.settled += count.lines;
            match fate {
                Fate::Stored(first) => {
                    node.ledger.left.add(count.lines, count.bytes);
                    spool.newest = Some(batch.received);
                    batch.place = Some(Place { spool: spool.identity, first, last: end - 1 });
                    durable.push(batch);
                }
                Fate::Duplicate => {
                    node.ledger.drop(Reason::Duplicate, count.lines, count.bytes);
                }
                Fate::Refused => node.ledger.drop(Reason::SpoolFull, count.lines, count.bytes),
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
        if spool.busy && !stalled {
            return;
        }
        let mut lost = crate::ledger::Count::default();
        while let Some(batch) = spool.queue.pop(&mut self.budget) {
            lost.add(u64::from(batch.lines), batch.bytes.len() as u64);
        }
        spool.fates.clear();
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
        if spool.queue.is_empty() && !spool.busy && !spool.closed {
            spool.closed = true;
            self.actions.push_back(Action::Disk(DiskJob { node: id, work: DiskWork::Close }));
        }
    }
}
