//! Outputs whose lines go to the disk: one job at a time, the next one with all that came
//! meanwhile, so that a slow disk makes jobs larger and not more.

use crate::batch::Batch;
use crate::clock::Mono;
use crate::ids::NodeId;
use crate::ledger::Reason;
use crate::limits::{DISK_JOB_MOST, DISK_RETRY, HOLD_BYTES, HOLD_MOST};
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
    /// Since when more waits than the disk should have before it.
    behind_since: Option<Mono>,
    /// The disk was told that the output is done.
    pub(super) closed: bool,
}

impl DiskOut {
    pub(super) fn new(queue: Queue) -> Self {
        Self { queue, busy: false, retry_at: None, error: None, behind_since: None, closed: false }
    }
}

impl Engine {
    pub(super) fn queue_for_disk(&mut self, to: NodeId, batch: Batch) {
        let Some(node) = &mut self.nodes[to.0 as usize] else { return };
        let Body::Disk(disk) = &mut node.body else { return };
        if let Err(left) = disk.queue.push(batch, &mut self.budget) {
            let refused = disk.error.is_some();
            let reason = if refused { Reason::DiskError } else { Reason::QueueFull };
            node.ledger.drop(reason, u64::from(left.lines), left.bytes.len() as u64);
        }
        self.start_job(to);
    }

    fn start_job(&mut self, to: NodeId) {
        let Body::Disk(disk) = &mut self.node_mut(to).body else { return };
        if disk.busy || disk.retry_at.is_some() || disk.queue.is_empty() {
            return;
        }
        disk.busy = true;
        let work = DiskWork::Append(disk.queue.first(DISK_JOB_MOST));
        self.actions.push_back(Action::Disk(DiskJob { node: to, work }));
    }

    pub(super) fn disk_done(&mut self, to: NodeId, bytes: usize, error: Option<String>, now: Mono) {
        let Some(node) = &mut self.nodes[to.0 as usize] else { return };
        let Body::Disk(disk) = &mut node.body else { return };
        disk.busy = false;
        let done = disk.queue.advance(bytes, &mut self.budget);
        node.ledger.left.add(done.lines, done.bytes);
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
        self.start_job(to);
    }

    /// Whether inputs should leave what comes in the kernel for the moment: a file has fallen
    /// behind in a burst. One that does not catch up within a second is slow, and no input
    /// waits for it until it has.
    pub fn holds_back(&self) -> bool {
        self.nodes().any(|(_, node)| match &node.body {
            Body::Disk(disk) => disk.behind_since.is_some_and(|since| {
                disk.queue.fill().0 > HOLD_BYTES && self.ticked.since(since) < HOLD_MOST
            }),
            _ => false,
        })
    }

    pub(super) fn tick_disks(&mut self, now: Mono) {
        for node in self.nodes.iter_mut().flatten() {
            if let Body::Disk(disk) = &mut node.body {
                match disk.queue.fill().0 {
                    0 => disk.behind_since = None,
                    used if used > HOLD_BYTES => drop(disk.behind_since.get_or_insert(now)),
                    _ => {}
                }
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
        for node in due {
            if let Body::Disk(disk) = &mut self.node_mut(node).body {
                disk.retry_at = None;
            }
            self.start_job(node);
        }
    }
}
