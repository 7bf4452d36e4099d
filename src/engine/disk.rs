//! Outputs whose lines go to the disk: one job at a time, the next one with all that came
//! meanwhile, so that a slow disk makes jobs larger and not more.

use std::path::PathBuf;

use crate::batch::Batch;
use crate::clock::Mono;
use crate::config::plan::{BodyPlan, Shape, SourcePlan, TransportPlan};
use crate::ids::NodeId;
use crate::ledger::Reason;
use crate::limits::{CURSOR_EVERY, DISK_JOB_MOST, DISK_RETRY, HOLD_BYTES, HOLD_MOST};
use crate::output::file::Written;
use crate::output::queue::Queue;

use super::{Action, Body, DiskJob, DiskWork, Engine};

/// A file output or standard output.
#[derive(Debug)]
pub(super) struct DiskOut {
    pub(super) queue: Queue,
    /// A job is under way; its lines are still in the queue.
    pub(super) busy: bool,
    /// The disk refused; it is tried again at this time.
    pub(super) retry_at: Option<Mono>,
    /// The last error, until a job went well.
    pub(super) error: Option<String>,
    behind: Behind,
    /// The disk was told that the output is done.
    pub(super) closed: bool,
    /// A file output that reads from a spool: its files are cut back after a crash to what the
    /// cursor says, and so a cursor must be on disk before anything can make it wrong.
    pub(super) exact: bool,
    checkpoint: Checkpoint,
    checked_at: Mono,
}

/// Whether a file or a spool has fallen behind in a burst.
#[derive(Debug, Clone, Copy)]
pub(super) struct Behind {
    /// Bytes that may wait before it is.
    bound: u64,
    /// Since when more waits than that.
    since: Option<Mono>,
}

impl Behind {
    pub(super) fn beyond(bound: u64) -> Self {
        Self { bound, since: None }
    }

    /// So many bytes wait now. It is behind until nothing waits.
    pub(super) fn note(&mut self, waiting: u64, now: Mono) {
        match waiting {
            0 => self.since = None,
            bytes if bytes > self.bound => drop(self.since.get_or_insert(now)),
            _ => {}
        }
    }

    /// Whether so much waits.
    fn is_beyond(&self, waiting: u64) -> bool {
        waiting > self.bound
    }

    /// Whether inputs should hold back for it: it is behind, and not for so long that it is
    /// simply slow.
    fn holds_back(&self, waiting: u64, now: Mono) -> bool {
        waiting > self.bound && self.since.is_some_and(|since| now.since(since) < HOLD_MOST)
    }
}

/// How far the next checkpoint is. Nothing is written meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checkpoint {
    None,
    /// The files are made durable.
    Files,
    /// They are, and the cursor is on its way to the disk.
    Cursor,
}

impl DiskOut {
    pub(super) fn new(queue: Queue, exact: bool, now: Mono) -> Self {
        Self {
            queue,
            busy: false,
            retry_at: None,
            error: None,
            behind: Behind::beyond(HOLD_BYTES),
            closed: false,
            exact,
            checkpoint: Checkpoint::None,
            checked_at: now,
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.retry_at
    }
}

impl Engine {
    pub(super) fn queue_for_disk(&mut self, to: NodeId, batch: Batch) {
        let Some(node) = &mut self.nodes[to.0 as usize] else { return };
        let Body::Disk(disk) = &mut node.body else { return };
        if let Err(left) = disk.queue.push(batch, &mut self.budget) {
            let refused = disk.error.is_some();
            let reason = if refused { Reason::DiskError } else { Reason::QueueFull };
            node.ledger.drop(reason, left.lines, left.bytes);
        }
        self.start_job(to);
    }

    pub(super) fn start_job(&mut self, to: NodeId) {
        let Body::Disk(disk) = &mut self.node_mut(to).body else { return };
        let resting = disk.retry_at.is_some() || disk.checkpoint != Checkpoint::None;
        if disk.busy || resting || disk.queue.is_empty() {
            return;
        }
        disk.busy = true;
        let work = DiskWork::Append(disk.queue.first(DISK_JOB_MOST));
        self.actions.push_back(Action::Disk(DiskJob { node: to, work }));
    }

    /// Before a file output that reads from a spool writes anything.
    pub(super) fn restore_files(&mut self, node: NodeId, files: Vec<(PathBuf, u64)>) {
        if !files.is_empty() && matches!(&self.node(node).body, Body::Disk(disk) if disk.exact) {
            let work = DiskWork::Restore(files);
            self.actions.push_back(Action::Disk(DiskJob { node, work }));
        }
    }

    /// Has the files made durable, for the cursor.
    fn start_checkpoint(&mut self, node: NodeId, now: Mono) {
        let Body::Disk(disk) = &mut self.node_mut(node).body else { return };
        if disk.busy || disk.checkpoint != Checkpoint::None || disk.retry_at.is_some() {
            return;
        }
        disk.checkpoint = Checkpoint::Files;
        disk.busy = true;
        disk.checked_at = now;
        self.actions.push_back(Action::Disk(DiskJob { node, work: DiskWork::Checkpoint }));
    }

    /// The files are durable: now the cursor.
    pub(super) fn checkpointed(
        &mut self,
        node: NodeId,
        files: Result<Vec<(PathBuf, u64)>, String>,
        now: Mono,
    ) {
        let Body::Disk(disk) = &mut self.node_mut(node).body else { return };
        disk.busy = false;
        let files = match files {
            Ok(files) => files,
            Err(error) => {
                disk.checkpoint = Checkpoint::None;
                let written = Written { error: Some(error), ..Written::default() };
                self.disk_done(node, written, now);
                return;
            }
        };
        disk.checkpoint = Checkpoint::Cursor;
        let feed = self.feeds.get(&node.only_lane());
        let spool = feed.and_then(|feed| self.spool(feed.spool)).map(|spool| spool.identity);
        if let Some((feed, spool)) = self.feeds.get_mut(&node.only_lane()).zip(spool) {
            feed.checkpoint = Some(feed.cursor(spool, files));
        }
        self.tick_spools(now);
    }

    /// The cursor is on disk: the files may be written to again, and their names changed.
    pub(super) fn checkpoint_saved(&mut self, node: NodeId) {
        let Body::Disk(disk) = &mut self.node_mut(node).body else { return };
        disk.checkpoint = Checkpoint::None;
        self.actions.push_back(Action::Disk(DiskJob { node, work: DiskWork::Checked }));
        self.start_job(node);
    }

    pub(super) fn disk_done(&mut self, to: NodeId, written: Written, now: Mono) {
        let Written { bytes, refused, faults, pause, error } = written;
        let Some(node) = &mut self.nodes[to.0 as usize] else { return };
        let Body::Disk(disk) = &mut node.body else { return };
        disk.busy = false;
        let mut done = disk.queue.advance(bytes, &mut self.budget);
        done.lines -= refused.lines;
        done.bytes -= refused.bytes;
        node.counts.faults.add(&faults);
        match (&error, &disk.error) {
            (Some(error), None) => log::error!(
                "{}: {error}; tried again every {DISK_RETRY:?}, lines wait in the queue",
                node.name
            ),
            (None, Some(_)) => log::warn!("{}: written to again", node.name),
            _ => {}
        }
        disk.retry_at = error.is_some().then(|| now + DISK_RETRY);
        disk.error = error;
        self.settle(to.only_lane(), done, None);
        self.settle(to.only_lane(), refused, Some(Reason::DiskError));
        if pause {
            self.start_checkpoint(to, now);
        }
        self.start_job(to);
    }

    /// Whether a file output has a cursor on disk that says all it has done.
    pub(super) fn is_checked(&self, node: NodeId) -> bool {
        let Body::Disk(disk) = &self.node(node).body else { return true };
        let moved = self.feeds.get(&node.only_lane()).is_some_and(|feed| feed.has_moved());
        !disk.exact || (disk.checkpoint == Checkpoint::None && !moved)
    }

    /// Makes a checkpoint where the last one is some time ago, or `now_at_last`.
    pub(super) fn checkpoint_where_due(&mut self, node: NodeId, at_last: bool, now: Mono) {
        let Body::Disk(disk) = &self.node(node).body else { return };
        let due = at_last || now >= disk.checked_at + CURSOR_EVERY;
        if disk.exact && due && !disk.busy && !self.is_checked(node) {
            self.start_checkpoint(node, now);
        }
    }

    /// The inputs that should leave what comes in the kernel for the moment: a file behind them has
    /// fallen behind in a burst, or a spool has not written all it was given. So a daemon that is
    /// killed has little in memory that was on its way to a spool. What does not catch up within a
    /// second is slow, and no input waits for it until it has.
    pub fn held_back(&self) -> Vec<NodeId> {
        let is_behind = |node: &super::Node| match &node.body {
            Body::Disk(disk) => disk.behind.holds_back(disk.queue.fill().0, self.ticked),
            Body::Spool(spool) => {
                spool.behind.holds_back(spool.unwritten(), self.ticked)
                    || spool.unsynced.holds_back(spool.unsynced_bytes(), self.ticked)
            }
            _ => false,
        };
        let is_crowded = |node: &super::Node| match &node.body {
            Body::Spool(spool) => spool.unsynced.is_beyond(spool.unsynced_bytes()),
            _ => false,
        };
        let mut held = self.inputs_before(is_behind);
        let crowded = self.inputs_before(is_crowded).into_iter();
        held.extend(crowded.filter(|input| self.has_datagrams(*input)));
        held
    }

    fn has_datagrams(&self, input: NodeId) -> bool {
        let BodyPlan::Input(input) = &self.node(input).plan.body else { return false };
        match &input.source {
            SourcePlan::Udp(_) => true,
            SourcePlan::Syslog(syslog) => !matches!(syslog.transport, TransportPlan::Tcp(_)),
            _ => false,
        }
    }

    /// The inputs whose lines can come to a spool.
    pub fn spooled_inputs(&self) -> Vec<NodeId> {
        self.inputs_before(|node| matches!(node.body, Body::Spool(_)))
    }

    /// The file output that all lines of an input come to that go on at all, where there is one
    /// and it writes them as they are, into a file that is the same for all.
    pub fn only_file(&self, input: NodeId) -> Option<NodeId> {
        let &[end] = self.ends_behind(input).as_slice() else { return None };
        let node = self.node(end);
        let (Body::Disk(disk), BodyPlan::File(plan)) = (&node.body, &node.plan.body) else {
            return None;
        };
        let is_plain = plan.format.shape == Shape::Line && plan.path.fields().is_empty();
        (is_plain && !disk.exact).then_some(end)
    }

    /// The inputs whose lines can come to a node of that kind. What is behind a spool is the
    /// spool's affair.
    fn inputs_before(&self, wanted: impl Fn(&super::Node) -> bool) -> Vec<NodeId> {
        if !self.nodes().any(|(_, node)| wanted(node)) {
            return Vec::new();
        }
        let is_no_spool = |body: &Body| !matches!(body, Body::Spool(_));
        let is_before = |(id, node): (NodeId, &super::Node)| {
            let is_input = matches!(node.body, Body::Input { .. });
            let reaches =
                || self.nodes_behind(id, is_no_spool).iter().any(|id| wanted(self.node(*id)));
            (is_input && reaches()).then_some(id)
        };
        self.nodes().filter_map(is_before).collect()
    }

    fn disk_ids(&self) -> Vec<NodeId> {
        let is_disk = |(_, node): &(NodeId, &super::Node)| matches!(node.body, Body::Disk(_));
        self.nodes().filter(is_disk).map(|(id, _)| id).collect()
    }

    pub(super) fn tick_disks(&mut self, now: Mono) {
        for node in self.nodes.iter_mut().flatten() {
            match &mut node.body {
                Body::Disk(disk) => disk.behind.note(disk.queue.fill().0, now),
                Body::Spool(spool) => {
                    spool.behind.note(spool.unwritten(), now);
                    spool.unsynced.note(spool.unsynced_bytes(), now);
                }
                _ => {}
            }
        }
        let due: Vec<_> = self
            .nodes()
            .filter(|(_, node)| match &node.body {
                Body::Disk(disk) => disk.retry_at.is_some_and(|at| now >= at),
                _ => false,
            })
            .map(|(id, _)| id)
            .collect();
        for node in self.disk_ids() {
            self.checkpoint_where_due(node, false, now);
        }
        for node in due {
            if let Body::Disk(disk) = &mut self.node_mut(node).body {
                disk.retry_at = None;
            }
            self.start_job(node);
        }
    }
}
