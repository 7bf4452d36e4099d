//! Children: their queues, what they leave behind, and what is said about them.

use std::io::IoSlice;

use crate::batch::Batch;
use crate::clock::Mono;
use crate::ids::{NodeId, ProcId};
use crate::input::InputCounts;
use crate::ledger::Reason;
use crate::limits::STDERR_LINES_KEPT;
use crate::output::queue::Queue;
use crate::output::supervisor::{Step, Supervisor, Verdict};

use super::status::Complaint;
use super::{Action, Body, Engine, Ready};

/// One copy of a process.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) node: NodeId,
    pub(super) queue: Queue,
    pub(super) supervisor: Supervisor,
    pub(super) pid: Option<u32>,
    /// How it ended the last time, in words.
    pub(super) last_end: Option<String>,
    /// Its pipe was full when last tried.
    blocked: bool,
    listed: bool,
}

impl Child {
    pub(super) fn new(node: NodeId, queue: Queue, supervisor: Supervisor) -> Self {
        Self { node, queue, supervisor, pid: None, last_end: None, blocked: false, listed: false }
    }
}

impl Engine {
    /// The unwritten bytes for a child, as many slices as `slices` has room for; how many.
    pub fn slices<'a>(&'a self, proc: ProcId, slices: &mut [IoSlice<'a>]) -> usize {
        let waiting = self.child(proc).queue.slices();
        slices.iter_mut().zip(waiting).map(|(slot, bytes)| *slot = IoSlice::new(bytes)).count()
    }

    /// So many bytes of [`Self::slices`] were written to a child.
    pub fn wrote(&mut self, proc: ProcId, bytes: usize) {
        if let Some(child) = self.children.get_mut(&proc) {
            child.queue.wrote(bytes);
        }
    }

    /// So many bytes that were written to a child are in its pipe yet; what was before them
    /// it has read.
    pub fn unread(&mut self, proc: ProcId, bytes: usize) {
        let Some(child) = self.children.get_mut(&proc) else { return };
        let read = child.queue.read_but(bytes, &mut self.budget);
        let node = child.node;
        self.settle(node.only_lane(), read, None);
    }

    /// The children that were written to and had not read all of it.
    pub fn with_unread(&self) -> Vec<ProcId> {
        let waits = |child: &Child| !child.queue.is_empty() && child.supervisor.has_started();
        self.children.iter().filter(|(_, child)| waits(child)).map(|(proc, _)| *proc).collect()
    }

    /// A child's pipe is full: it is not named as ready until [`Self::writable`].
    pub fn write_blocked(&mut self, proc: ProcId) {
        if let Some(child) = self.children.get_mut(&proc) {
            child.blocked = true;
        }
    }

    /// A child's pipe has room again.
    pub fn writable(&mut self, proc: ProcId) {
        if let Some(child) = self.children.get_mut(&proc) {
            child.blocked = false;
            self.list_child(proc);
        }
    }

    /// Names a child as ready where it can take what waits for it.
    pub(super) fn list_child(&mut self, proc: ProcId) {
        let Some(child) = self.children.get_mut(&proc) else { return };
        let ready = child.supervisor.takes_lines() && !child.blocked && !child.queue.all_written();
        if ready && !child.listed {
            child.listed = true;
            self.ready.push_back(Ready::Child(proc));
        }
    }

    /// The driver takes a child up that was named as ready; whether it can still be written
    /// to.
    pub fn take_up(&mut self, proc: ProcId) -> bool {
        let Some(child) = self.children.get_mut(&proc) else { return false };
        child.listed = false;
        child.supervisor.takes_lines()
    }

    pub(super) fn tick_children(&mut self, now: Mono) {
        let mut steps = Vec::new();
        for (&proc, child) in &mut self.children {
            if child.supervisor.recovered(now) {
                let node = self.nodes[child.node.0 as usize].as_ref();
                let name = node.map_or("?", |node| &node.name);
                let times = child.supervisor.restarts;
                log::warn!("{name}: runs well again after {times} restarts");
            }
            while let Some(step) = child.supervisor.tick(now) {
                steps.push((proc, step));
            }
        }
        for (proc, step) in steps {
            self.carry_out(proc, step);
        }
    }

    pub(super) fn carry_out(&mut self, proc: ProcId, step: Step) {
        self.actions.push_back(match step {
            Step::Start => Action::Start(proc),
            Step::CloseStdin => Action::CloseStdin(proc),
            Step::Terminate => Action::Terminate(proc),
            Step::Kill => Action::Kill(proc),
        });
    }

    pub(super) fn child_started(&mut self, proc: ProcId, pid: u32, now: Mono) {
        let Some(child) = self.children.get_mut(&proc) else { return };
        child.supervisor.started(now);
        child.pid = Some(pid);
        child.blocked = false;
        self.list_child(proc);
    }

    pub(super) fn child_failed(&mut self, proc: ProcId, error: &str, now: Mono) {
        self.after_end(proc, &format!("cannot be started: {error}"), now);
    }

    pub(super) fn printed(&mut self, proc: ProcId, batch: &Batch, counts: &InputCounts, now: Mono) {
        let node = self.child(proc).node;
        let owner = self.node_mut(node);
        owner.counts.add(counts);
        if let Body::Process(process) = &mut owner.body {
            process.printed.add(u64::from(batch.lines), batch.bytes.len() as u64);
        }
        if batch.lines > 0 {
            self.hand_out(node, batch, now);
        }
    }

    /// A child wrote to standard error: the last lines of it are kept, for whoever asks.
    pub fn complained<'a>(
        &mut self,
        proc: ProcId,
        lines: impl DoubleEndedIterator<Item = &'a [u8]>,
        now: Mono,
    ) {
        let node = self.child(proc).node;
        let Body::Process(process) = &mut self.node_mut(node).body else { return };
        let mut last: Vec<_> = lines.rev().take(STDERR_LINES_KEPT).collect();
        last.reverse();
        let more = (process.stderr.len() + last.len()).saturating_sub(STDERR_LINES_KEPT);
        process.stderr.drain(..more);
        let at = now.0.as_secs_f64();
        process.stderr.extend(last.into_iter().map(|line| {
            let text = String::from_utf8_lossy(line).escape_debug().to_string().into();
            Complaint { at, text }
        }));
    }

    pub(super) fn stdin_closed(&mut self, proc: ProcId, unread: usize, now: Mono) {
        self.take_back(proc, unread);
        let Some(child) = self.children.get_mut(&proc) else { return };
        if let Some(step) = child.supervisor.closed_stdin(now) {
            let node = child.node;
            log::warn!("{}: closed its stdin and lives on; ending it", self.node(node).name);
            self.carry_out(proc, step);
        }
    }

    pub(super) fn child_exited(&mut self, proc: ProcId, how: &str, unread: usize, now: Mono) {
        self.take_back(proc, unread);
        self.after_end(proc, how, now);
    }

    /// Says what is to be said about a child's end, once.
    fn after_end(&mut self, proc: ProcId, how: &str, now: Mono) {
        let Some(child) = self.children.get_mut(&proc) else { return };
        child.pid = None;
        child.last_end = Some(how.into());
        let verdict = child.supervisor.ended(now);
        let name = &self.node(self.child(proc).node).name;
        match verdict {
            Verdict::Stopped => log::info!("{name}: {how}"),
            Verdict::Again(wait) => log::warn!("{name}: {how}; started again in {wait:?}"),
            Verdict::CrashLoop(wait) => log::error!(
                "{name}: {how}; it is in a crash loop: started again in {wait:?}, further \
                 failures are counted and not logged until it runs well"
            ),
            Verdict::StillCrashing => {}
        }
    }

    /// Whoever read a child's pipe is gone and left so many bytes unread: the next child gets
    /// them. A line that was read in part is dropped.
    fn take_back(&mut self, proc: ProcId, unread: usize) {
        let Some(child) = self.children.get_mut(&proc) else { return };
        let node = child.node;
        let (read, torn) = child.queue.reader_gone(unread, &mut self.budget);
        self.settle(node.only_lane(), read, None);
        self.settle(node.only_lane(), torn, Some(Reason::ChildGone));
    }
}
