//! Children: how much of its queue each has read, and its lifecycle.
//!
//! A line written into a child's pipe stays in the lane's queue until the child has read it. So a
//! child that dies costs at most the line it was reading; its successor gets the rest.

use crate::batch::Batch;
use crate::clock::Mono;
use crate::config::plan::ConfinePlan;
use crate::ids::{LaneId, NodeId};
use crate::input::InputCounts;
use crate::ledger::Reason;
use crate::limits::{STALLED_AFTER, STDERR_LINES_KEPT};
use crate::output::supervisor::{State, Step, Supervisor, Verdict};

use super::backpressure::Burst;
use super::cx::Cx;
use super::graph::{Body, Lanes, Sender};
use super::lane::{Completed, Lane, Sink};
use super::status::Complaint;
use super::{Action, Engine};

/// One worker process.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) supervisor: Supervisor,
    pub(super) pid: Option<u32>,
    /// The size of the pipe to it in bytes, if known.
    pub(super) pipe: Option<u64>,
    /// A description of how it last ended.
    pub(super) last_end: Option<String>,
    /// Bytes that were written into its pipe, and those of them that it has read.
    written: u64,
    read: u64,
    /// When it last read something.
    moved: Option<Mono>,
    /// When it last began to have something to read.
    began: Option<Mono>,
    /// Whether lines wait because its pipe is full.
    burst: Burst,
}

impl Child {
    pub(super) fn new(supervisor: Supervisor) -> Self {
        let burst = Burst::beyond(0);
        Self {
            supervisor,
            pid: None,
            pipe: None,
            last_end: None,
            written: 0,
            read: 0,
            moved: None,
            began: None,
            burst,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.supervisor.state() == State::Ended
    }

    /// Notes that `bytes` bytes were written into its pipe.
    pub(super) fn note_written(&mut self, bytes: usize, now: Mono) {
        if self.written == self.read {
            self.began = Some(now);
        }
        self.written += bytes as u64;
    }

    /// Notes that `unread` bytes are in its pipe.
    fn note_unread(&mut self, unread: usize, now: Mono) {
        let read = self.written.saturating_sub(unread as u64);
        if read > self.read {
            (self.read, self.moved) = (read, Some(now));
        }
    }

    /// Returns whether it has read something a moment ago.
    pub(super) fn reads(&self, now: Mono) -> bool {
        self.moved.is_some_and(|moved| moved + STALLED_AFTER > now)
    }

    /// Returns whether its pipe has room for so many bytes, if `unread` bytes are in it, or as
    /// many as were at the last look. What was written by itself may take a page for less.
    pub(super) fn surely_has_room(&self, bytes: usize, unread: Option<usize>) -> bool {
        let unread = unread.map_or(self.written - self.read, |unread| unread as u64);
        let room = self.pipe.unwrap_or(0).saturating_sub(unread);
        unread == 0 || room * 15 / 16 >= bytes as u64
    }

    /// Notes that `bytes` bytes are not in its pipe yet, and whether that is full. It is behind
    /// from then on until none are left, though its pipe has room now and then. Returns whether
    /// inputs should leave theirs in the kernel: it has fallen behind a moment ago, and it reads.
    pub(super) fn note_behind(&mut self, blocked: bool, bytes: u64, now: Mono) -> bool {
        let is_behind = blocked || self.burst.is_on();
        self.burst.note(if is_behind { bytes } else { 0 }, now);
        self.throttles_until(now).is_some()
    }

    /// When inputs are no longer held back for its sake; `None` if they are not.
    pub(super) fn throttles_until(&self, now: Mono) -> Option<Mono> {
        // An idle child has read nothing for long, and is not stalled.
        let stalled = self.moved.max(self.began)? + STALLED_AFTER;
        self.burst.deadline(now).map(|slow| slow.min(stalled)).filter(|until| *until > now)
    }
}

/// Translates a lifecycle step into an action for the driver.
fn action_of(step: Step, lane: LaneId) -> Action {
    match step {
        Step::Start => Action::Start(lane),
        Step::CloseStdin => Action::CloseStdin(lane),
        Step::Terminate => Action::Terminate(lane),
        Step::Kill => Action::Kill(lane),
    }
}

/// Operations on a lane whose sink is a child; they do nothing on other lanes.
impl Lane {
    /// Takes the steps that are due by time.
    pub(super) fn tick_child(&mut self, cx: &mut Cx) {
        let Sink::Child(child) = &mut self.sink else { return };
        if child.supervisor.recovered(cx.now) {
            let times = child.supervisor.restarts;
            log::warn!("{}: runs well again after {times} restarts", self.name);
        }
        while let Some(step) = child.supervisor.tick(cx.now) {
            cx.act(action_of(step, self.id));
        }
    }

    /// Ends the child for good once it has been given everything that waits for it.
    pub(super) fn stop_child(&mut self, cx: &mut Cx) {
        let Sink::Child(child) = &mut self.sink else { return };
        if self.queue.all_written()
            && let Some(step) = child.supervisor.stop(cx.now)
        {
            cx.act(action_of(step, self.id));
        }
    }

    fn child_started(&mut self, pid: u32, pipe: Option<u64>, cx: &mut Cx) {
        let Sink::Child(child) = &mut self.sink else { return };
        child.supervisor.started(cx.now);
        (child.pid, child.pipe) = (Some(pid), pipe);
        (child.written, child.read) = (0, 0);
        (child.moved, child.began) = (None, None);
        self.unblock(cx);
    }

    fn child_closed_stdin(&mut self, cx: &mut Cx) {
        let Sink::Child(child) = &mut self.sink else { return };
        if let Some(step) = child.supervisor.closed_stdin(cx.now) {
            log::warn!("{}: closed its stdin but keeps running; ending it", self.name);
            cx.act(action_of(step, self.id));
        }
    }

    /// Records a child's end and logs it, a crash loop once.
    fn child_ended(&mut self, how: &str, now: Mono) {
        let Sink::Child(child) = &mut self.sink else { return };
        child.pid = None;
        child.last_end = Some(how.into());
        let name = &self.name;
        match child.supervisor.ended(now) {
            Verdict::Stopped => log::info!("{name}: {how}"),
            Verdict::Again(wait) => log::warn!("{name}: {how}; restarting in {wait:?}"),
            Verdict::CrashLoop(wait) => log::error!(
                "{name}: {how}; it is in a crash loop: restarting in {wait:?}, further failures \
                 are counted but not logged until it runs well"
            ),
            Verdict::StillCrashing => {}
        }
    }

    /// The reader of the pipe is gone and left `unread` bytes, which the next child gets. A line
    /// that was read in part is lost.
    fn reader_gone(&mut self, unread: usize, cx: &mut Cx) -> Completed {
        let (read, torn) = self.queue.reader_gone(unread, &mut cx.budget);
        Completed::with_lost(read, torn, Reason::ChildGone)
    }
}

impl Lanes {
    /// Keeps the last lines that children wrote to standard error.
    fn keep_stderr<'a>(&mut self, lines: impl DoubleEndedIterator<Item = &'a [u8]>, now: Mono) {
        let mut last: Vec<_> = lines.rev().take(STDERR_LINES_KEPT).collect();
        last.reverse();
        let more = (self.stderr.len() + last.len()).saturating_sub(STDERR_LINES_KEPT);
        self.stderr.drain(..more);
        let at = now.0.as_secs_f64();
        self.stderr.extend(last.into_iter().map(|line| {
            let text = String::from_utf8_lossy(line).escape_debug().to_string().into();
            Complaint { at, text }
        }));
    }
}

impl Engine {
    /// Notes that `bytes` bytes are still in a child's pipe; it has read everything before them.
    pub fn unread(&mut self, lane: LaneId, bytes: usize) {
        let Some(entry) = self.graph.lane_mut(lane) else { return };
        if let Some(child) = entry.child_mut() {
            child.note_unread(bytes, self.cx.now);
        }
        let read = entry.queue.read_but(bytes, &mut self.cx.budget);
        if entry.queue.is_empty() {
            self.unread.remove(&lane);
        }
        self.complete(lane, Completed::left(read));
    }

    /// Returns whether there are children that were written to and have not read all of it.
    pub fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// The children that were written to and have not read all of it.
    pub fn with_unread(&self) -> Vec<LaneId> {
        self.unread.iter().copied().collect()
    }

    /// The command of a child.
    pub fn command_of(&self, lane: LaneId) -> &str {
        self.graph.node(lane.node).plan.body.command().unwrap_or_default()
    }

    /// The restrictions a child runs under.
    pub fn confinement(&self, lane: LaneId) -> ConfinePlan {
        let process = self.graph.node(lane.node).plan.body.process();
        process.map(|process| process.confine.clone()).unwrap_or_default()
    }

    /// Returns whether a child is to believe that its output is a terminal.
    pub fn is_unbuffered(&self, lane: LaneId) -> bool {
        let process = self.graph.node(lane.node).plan.body.process();
        process.is_some_and(|process| process.unbuffered)
    }

    /// The longest line a child may print; `None` if what it prints is not a stream.
    pub fn prints(&self, lane: LaneId) -> Option<usize> {
        let node = self.graph.node(lane.node);
        let process = node.plan.body.process().filter(|_| node.prints())?;
        Some(process.max_line)
    }

    /// Keeps the last lines that a child wrote to standard error, for the status.
    pub fn keep_stderr<'a>(
        &mut self,
        node: NodeId,
        lines: impl DoubleEndedIterator<Item = &'a [u8]>,
        now: Mono,
    ) {
        if let Body::Lanes(lanes) = &mut self.graph.node_mut(node).body {
            lanes.keep_stderr(lines, now);
        }
    }

    pub(super) fn child_started(&mut self, lane: LaneId, pid: u32, pipe: Option<u64>) {
        if let Some(entry) = self.graph.lane_mut(lane) {
            entry.child_started(pid, pipe, &mut self.cx);
        }
        self.cx.touch(lane.node);
    }

    pub(super) fn child_failed(&mut self, lane: LaneId, error: &str) {
        if let Some(entry) = self.graph.lane_mut(lane) {
            entry.child_ended(&format!("cannot be started: {error}"), self.cx.now);
        }
        self.cx.touch(lane.node);
    }

    pub(super) fn printed(&mut self, lane: LaneId, batch: &Batch, counts: &InputCounts) {
        self.count_input(lane.node, counts, batch.minute);
        let node = self.graph.node_mut(lane.node);
        if batch.lines > 0 {
            node.ledger.minutes.at(batch.minute).add_printed(u64::from(batch.lines));
        }
        if let Body::Lanes(lanes) = &mut node.body {
            lanes.printed.add(u64::from(batch.lines), batch.bytes.len() as u64);
        }
        if batch.lines > 0 {
            self.publish(lane.node, batch, Sender::GoesOn);
        }
    }

    pub(super) fn stdin_closed(&mut self, lane: LaneId, unread: usize) {
        self.take_back(lane, unread);
        if let Some(entry) = self.graph.lane_mut(lane) {
            entry.child_closed_stdin(&mut self.cx);
        }
        self.cx.touch(lane.node);
    }

    pub(super) fn child_exited(&mut self, lane: LaneId, how: &str, unread: usize) {
        self.take_back(lane, unread);
        if let Some(entry) = self.graph.lane_mut(lane) {
            entry.child_ended(how, self.cx.now);
        }
        self.cx.touch(lane.node);
    }

    fn take_back(&mut self, lane: LaneId, unread: usize) {
        self.unread.remove(&lane);
        self.fan.set_behind(lane, false);
        let Some(entry) = self.graph.lane_mut(lane) else { return };
        let completed = entry.reader_gone(unread, &mut self.cx);
        self.complete(lane, completed);
    }
}
