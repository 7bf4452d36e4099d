//! A lane: a queue and the sink it feeds. A worker of a process, a UDP output, a file and a peer
//! are all lanes; only the sink differs.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::batch::Batch;
use crate::clock::Mono;
use crate::ids::LaneId;
use crate::ledger::tally::Tally;
use crate::ledger::{Count, Reason};
use crate::limits::{WAITS_MAX, WAITS_STUCK};
use crate::output::budget::Budget;
use crate::output::queue::Queue;

use super::child::Child;
use super::connection::Connection;
use super::cx::Cx;
use super::jobs::Jobs;
use super::patience::{Patience, Why};

/// One lane of an output or of a filter process.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) id: LaneId,
    /// The node's name, for the log.
    pub(super) name: Arc<str>,
    pub(super) queue: Queue,
    pub(super) sink: Sink,
    /// How long inputs have waited for it.
    pub(super) patience: Patience,
    /// Lines that have entered the queue.
    accepted: u64,
    /// True if it was named as ready and has not been taken up.
    listed: bool,
    /// True if its sink accepted no more at the last attempt.
    pub(super) blocked: bool,
}

/// The four ways out.
#[derive(Debug)]
pub(super) enum Sink {
    /// The stdin of a child process.
    Child(Child),
    /// A socket, one line a datagram.
    Datagrams(Receiver),
    /// A thread that runs jobs, one at a time.
    Jobs(Jobs),
    /// A connection to a peer.
    Connection(Box<Connection>),
}

/// The receiver of a UDP output.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    /// Its address, if known.
    pub(super) address: Option<SocketAddr>,
    /// Why it cannot be sent to, or its name not be looked up.
    pub(super) error: Option<String>,
}

/// The kinds of sink, for the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkKind {
    /// The stdin of a child process.
    Child,
    /// A socket, one line a datagram.
    Datagrams,
    /// A thread that runs jobs.
    Jobs,
    /// A connection to a peer.
    Connection,
}

/// Lines that a lane has completed.
#[derive(Debug, Default)]
pub(super) struct Completed {
    /// Lines that were delivered.
    pub(super) left: Tally,
    /// Lines that were given up.
    pub(super) lost: Tally,
    /// Why those lines were given up.
    pub(super) reason: Option<Reason>,
}

impl Completed {
    pub(super) fn left(left: Tally) -> Self {
        Self { left, ..Self::default() }
    }

    pub(super) fn with_lost(left: Tally, lost: Tally, reason: Reason) -> Self {
        Self { left, lost, reason: Some(reason) }
    }
}

impl Lane {
    pub(super) fn new(id: LaneId, name: Arc<str>, limit: u64, sink: Sink) -> Self {
        // The caller sets its share of the memory right afterwards.
        let (queue, patience) = (Queue::new(limit, 0), Patience::default());
        Self { id, name, queue, sink, patience, accepted: 0, listed: false, blocked: false }
    }

    /// The number of completed lines at which everything accepted so far is complete.
    pub(super) fn mark(&self) -> u64 {
        self.accepted
    }

    pub(super) fn has_completed(&self, mark: u64) -> bool {
        self.completed() >= mark
    }

    fn completed(&self) -> u64 {
        self.accepted - self.queue.count().lines
    }

    /// Notes how far it is behind, for the inputs that may wait for it.
    pub(super) fn note_patience(&mut self, budget: &Budget, now: Mono) {
        let completed = self.completed();
        let why = match self.patience.note(&self.queue, completed, budget, now) {
            None => return,
            Some(Why::Stuck) => format!("has taken nothing for {WAITS_STUCK:?}"),
            Some(Why::Slow) => format!("is slow, and has kept inputs waiting for {WAITS_MAX:?}"),
        };
        log::warn!(
            "{}: {why}: they no longer wait for it, and what its queue cannot take is dropped \
             until it has caught up; a spool before it would keep every line",
            self.name
        );
    }

    // ---- lines in

    /// Queues as many lines as fit. Returns what did not fit.
    pub(super) fn offer(&mut self, batch: Batch, cx: &mut Cx) -> Count {
        self.accepted += u64::from(batch.lines);
        let lost = self.queue.push(batch, &mut cx.budget).err().unwrap_or_default();
        self.accepted -= lost.lines;
        self.proceed(cx);
        lost
    }

    /// Queues lines even if they exceed the bound.
    pub(super) fn push(&mut self, batch: Batch, cx: &mut Cx) {
        self.accepted += u64::from(batch.lines);
        self.queue.push_anyway(batch, &mut cx.budget);
        self.proceed(cx);
    }

    /// The reason to count for lines that do not fit.
    pub(super) fn refusal(&self) -> Reason {
        match &self.sink {
            Sink::Child(child) if !child.supervisor.takes_lines() => Reason::ChildGone,
            Sink::Jobs(jobs) if jobs.error.is_some() => Reason::DiskError,
            _ => Reason::QueueFull,
        }
    }

    /// The load ahead of a new line; the lane with the least load gets it.
    pub(super) fn load(&self) -> (bool, u64) {
        (!self.takes_lines(), self.queue.fill().0)
    }

    fn takes_lines(&self) -> bool {
        match &self.sink {
            Sink::Child(child) => child.supervisor.takes_lines(),
            _ => true,
        }
    }

    // ---- lines out

    /// Starts a job, or names the lane as ready, if lines can be written now.
    pub(super) fn proceed(&mut self, cx: &mut Cx) {
        if let Sink::Jobs(jobs) = &mut self.sink {
            return jobs.start(self.id.node, &self.queue, cx);
        }
        if !self.listed && !self.blocked && self.has_lines_to_write() {
            self.listed = true;
            cx.name_ready(self.id);
        }
    }

    fn has_lines_to_write(&self) -> bool {
        match &self.sink {
            Sink::Child(child) => child.supervisor.takes_lines() && !self.queue.all_written(),
            Sink::Datagrams(_) => !self.queue.is_empty(),
            Sink::Jobs(_) => false,
            Sink::Connection(connection) => connection.can_write(&self.queue),
        }
    }

    /// Takes up a lane that was named as ready. Returns whether it can still be written to.
    pub(super) fn take_up(&mut self) -> bool {
        self.listed = false;
        self.takes_lines()
    }

    /// Notes that the sink accepts no more until [`Self::unblock`].
    pub(super) fn block(&mut self) {
        self.blocked = true;
    }

    /// The address of a UDP output's receiver; `None` while it is unknown.
    pub(super) fn sends_to(
        &mut self,
        address: Option<SocketAddr>,
        error: Option<String>,
        cx: &mut Cx,
    ) {
        if let Sink::Datagrams(receiver) = &mut self.sink {
            *receiver = Receiver { address, error };
        }
        if address.is_some() {
            self.unblock(cx);
        }
    }

    /// Notes that the sink accepts bytes again.
    pub(super) fn unblock(&mut self, cx: &mut Cx) {
        self.blocked = false;
        self.proceed(cx);
    }

    // ---- time and shutdown

    /// When there is something to do if no event comes first.
    pub(super) fn deadline(&self) -> Option<Mono> {
        match &self.sink {
            Sink::Child(child) => child.supervisor.deadline(),
            Sink::Datagrams(_) => None,
            Sink::Jobs(jobs) => jobs.deadline(),
            Sink::Connection(connection) => connection.link.deadline(),
        }
    }

    /// Returns whether nothing is left in it and its sink has ended.
    pub(super) fn has_ended(&self) -> bool {
        match &self.sink {
            Sink::Child(child) => child.has_ended(),
            Sink::Datagrams(_) => self.queue.is_empty(),
            Sink::Jobs(jobs) => jobs.closed,
            Sink::Connection(connection) => connection.link.has_ended(),
        }
    }

    /// The grace is over: gives up what waits and counts it. A running job is waited for unless it
    /// is `stalled`.
    pub(super) fn give_up(&mut self, stalled: bool, cx: &mut Cx) -> Tally {
        let mut lost = Tally::default();
        match &self.sink {
            Sink::Child(child) => {
                lost = self.queue.cut_unwritten(&mut cx.budget);
                if child.supervisor.has_started() {
                    // The child may still read what is in its pipe.
                    return lost;
                }
            }
            Sink::Jobs(jobs) if jobs.busy && !stalled => return lost,
            _ => {}
        }
        lost.add_all(&self.queue.clear(&mut cx.budget));
        lost
    }

    pub(super) fn kind(&self) -> SinkKind {
        match &self.sink {
            Sink::Child(_) => SinkKind::Child,
            Sink::Datagrams(_) => SinkKind::Datagrams,
            Sink::Jobs(_) => SinkKind::Jobs,
            Sink::Connection(_) => SinkKind::Connection,
        }
    }

    pub(super) fn child(&self) -> Option<&Child> {
        match &self.sink {
            Sink::Child(child) => Some(child),
            _ => None,
        }
    }

    pub(super) fn child_mut(&mut self) -> Option<&mut Child> {
        match &mut self.sink {
            Sink::Child(child) => Some(child),
            _ => None,
        }
    }

    /// Bytes that its sink has not been given yet.
    pub(super) fn unwritten(&self) -> u64 {
        self.queue.count().bytes - self.queue.written_bytes()
    }

    pub(super) fn jobs(&self) -> Option<&Jobs> {
        match &self.sink {
            Sink::Jobs(jobs) => Some(jobs),
            _ => None,
        }
    }

    pub(super) fn jobs_mut(&mut self) -> Option<&mut Jobs> {
        match &mut self.sink {
            Sink::Jobs(jobs) => Some(jobs),
            _ => None,
        }
    }

    pub(super) fn receiver(&self) -> Option<&Receiver> {
        match &self.sink {
            Sink::Datagrams(receiver) => Some(receiver),
            _ => None,
        }
    }

    pub(super) fn connection(&self) -> Option<&Connection> {
        match &self.sink {
            Sink::Connection(connection) => Some(connection),
            _ => None,
        }
    }

    pub(super) fn connection_mut(&mut self) -> Option<&mut Connection> {
        match &mut self.sink {
            Sink::Connection(connection) => Some(connection),
            _ => None,
        }
    }
}

/// How a lane ends.
impl Lane {
    /// Ends the child, or has the thread close its files, once nothing waits for them.
    pub(super) fn end(&mut self, stalled: bool, cx: &mut Cx) {
        let node = self.id.node;
        match &mut self.sink {
            Sink::Child(_) => self.stop_child(cx),
            Sink::Jobs(jobs) => jobs.close(node, &self.queue, stalled, cx),
            Sink::Datagrams(_) | Sink::Connection(_) => {}
        }
    }

    /// Returns whether it ends with its node because there is nothing to close.
    pub(super) fn ends_with_its_node(&self) -> bool {
        matches!(self.sink, Sink::Datagrams(_))
    }

    /// Returns whether lines from a spool stay in its queue when the grace is over.
    pub(super) fn keeps_spooled_lines(&self) -> bool {
        matches!(self.sink, Sink::Connection(_))
    }
}
