//! Lanes whose lines go to a peer over a connection.
//!
//! The queue keeps every line until the peer has it; whatever is in doubt after a broken connection
//! is sent again. A lane that reads from a spool offers the spool's identity to a peer that is a
//! logweir, and continues after the last line that the peer has on disk.

use crate::batch::Batch;
use crate::clock::Mono;
use crate::forward::link::{self, Link};
use crate::forward::out::Out;
use crate::ids::{Identity, LaneId, NodeId};
use crate::ledger::{Count, Reason};
use crate::limits::REFUSALS_MOST;
use crate::output::queue::Queue;
use crate::spool::reader::Missing;
use crate::spool::writer::Held;

use super::cx::Cx;
use super::lane::{Completed, Lane, Sink};
use super::{Action, Engine, LinkEvent};

/// The state of a lane's connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) link: Link,
    /// The identity the lane presents to a logweir; set once its spool is open.
    identity: Option<Identity>,
    /// The line number at which the next piece must begin, so that a peer that counts sees no gap
    /// where there are only other lanes' lines.
    covered: u64,
    /// Start of a gap that has not been reported to a peer.
    gap: Option<u64>,
    /// The last line that the peer, a logweir, had when the connection was opened.
    known: Option<u64>,
    /// Number of times the first line was refused.
    refusals: u32,
}

impl Connection {
    pub(super) fn new(link: Link) -> Self {
        Self { link, identity: None, covered: 0, gap: None, known: None, refusals: 0 }
    }

    /// Returns whether there are bytes to write, or lines to encode.
    pub(super) fn can_write(&self, queue: &Queue) -> bool {
        let out = self.link.out().is_some_and(|out| !out.is_empty());
        out || (self.link.has_room() && !queue.all_written())
    }

    /// Starts at `position` of its spool, under `identity`.
    pub(super) fn begin(&mut self, identity: Identity, position: u64) {
        self.identity = Some(identity);
        self.covered = position;
    }

    /// Records lines that are missing for good, so that the peer sees the gap. `all_completed` if
    /// nothing before the gap is in flight: the next connection would otherwise begin after it.
    pub(super) fn note_gap(&mut self, gap: Missing, all_completed: bool) {
        self.covered = self.covered.max(gap.end);
        if all_completed {
            self.gap.get_or_insert(gap.first);
        }
    }

    /// Extends a piece of the spool back over the other lanes' lines before it.
    pub(super) fn cover(&mut self, piece: &mut Batch) {
        if let (Some(numbers), Some(_)) = (&mut piece.numbers, self.identity) {
            numbers.first = numbers.first.min(self.covered);
            self.covered = numbers.last + 1;
        }
    }

    /// Returns whether the peer claims a line `known` that this spool cannot have sent.
    fn is_ahead_of(&self, known: u64, held: Option<Held>) -> bool {
        held.is_some_and(|held| known >= held.next)
    }
}

/// Operations on a lane whose sink is a connection.
impl Lane {
    /// Encodes waiting lines, as many as may be in flight. Lines that the peer already has are
    /// completed without being sent.
    fn fill(&mut self, cx: &mut Cx) -> Completed {
        let mut known = Count::default();
        let Sink::Connection(connection) = &mut self.sink else { return Completed::default() };
        while connection.link.has_room() {
            let Some(batch) = self.queue.unwritten() else { break };
            let bytes = batch.bytes.len();
            let has = |last: u64| batch.numbers.is_some_and(|numbers| numbers.last <= last);
            if connection.known.is_some_and(has) && self.queue.written_bytes() == 0 {
                let count = self.queue.advance(bytes, &mut cx.budget);
                known.add(count.lines, count.bytes);
                continue;
            }
            connection.link.send(batch);
            self.queue.wrote(bytes);
        }
        Completed::left(known)
    }

    /// Handles a connection event. `position` is the first line of the spool that is not completed.
    fn link_event(&mut self, event: LinkEvent, position: u64, cx: &mut Cx) -> Completed {
        let Sink::Connection(connection) = &mut self.sink else { return Completed::default() };
        let mut acknowledged = Count::default();
        match event {
            LinkEvent::Connected => {
                self.unblock(cx);
                let Sink::Connection(connection) = &mut self.sink else {
                    return Completed::default();
                };
                let next = connection.gap.unwrap_or(position);
                let offer = connection.identity.map(|identity| (identity, next));
                connection.link.connected(offer, cx.now);
            }
            LinkEvent::Failed(error) => connection.link.failed(error, cx.now),
            LinkEvent::Received(bytes) => connection.link.received(&bytes, cx.now),
            LinkEvent::Acknowledged(bytes) => {
                acknowledged = connection.link.acknowledged(bytes, cx.now);
            }
            LinkEvent::Probed(takes) => connection.link.probed(takes, cx.now),
            LinkEvent::Writable => self.unblock(cx),
        }
        self.acknowledged(acknowledged, cx)
    }

    /// The peer has acknowledged lines.
    fn acknowledged(&mut self, done: Count, cx: &mut Cx) -> Completed {
        let Sink::Connection(connection) = &mut self.sink else { return Completed::default() };
        if done.lines == 0 {
            return Completed::default();
        }
        connection.refusals = 0;
        connection.gap = None;
        let bytes = usize::try_from(done.bytes).unwrap_or(usize::MAX);
        Completed::left(self.queue.advance(bytes, &mut cx.budget))
    }

    /// Handles the next event of the link; `None` if there is none. `held` is the content of the
    /// lane's spool.
    fn next_of_link(&mut self, held: Option<Held>, cx: &mut Cx) -> Option<Completed> {
        let Sink::Connection(connection) = &mut self.sink else { return None };
        let done = connection.link.take_done();
        if done.lines > 0 {
            return Some(self.acknowledged(done, cx));
        }
        Some(match connection.link.poll_event()? {
            link::Event::Up(last) => self.up(last, held, cx),
            link::Event::Down(refused) => self.down(refused, cx),
        })
    }

    /// The session is open and lines may be sent. A logweir reports which it already has.
    fn up(&mut self, last: Option<Option<u64>>, held: Option<Held>, cx: &mut Cx) -> Completed {
        let Sink::Connection(connection) = &mut self.sink else { return Completed::default() };
        connection.known = last.flatten();
        let Some(known) = connection.known else { return Completed::default() };
        if connection.is_ahead_of(known, held) {
            let error = format!(
                "has line {known} of this spool, but the spool ends before it: the folder was \
                 restored from a backup or copied. Stop the daemon and start afresh with `logweir \
                 spool trim --new-identity`"
            );
            log::error!("{}: the peer {error}", self.name);
            connection.link.failed(error, cx.now);
            return Completed::default();
        }
        self.drop_known(known, cx)
    }

    /// Completes the lines that the peer already has.
    fn drop_known(&mut self, known: u64, cx: &mut Cx) -> Completed {
        let mut dropped = Count::default();
        while let Some(batch) = self.queue.front() {
            let Some(numbers) = batch.numbers else { break };
            let bytes = if numbers.last <= known {
                batch.bytes.len()
            } else if numbers.first <= known && numbers.lines() == u64::from(batch.lines) {
                crate::batch::end_of_lines(&batch.bytes, known - numbers.first + 1)
            } else {
                break;
            };
            let count = self.queue.advance(bytes, &mut cx.budget);
            dropped.add(count.lines, count.bytes);
            if numbers.last > known {
                break;
            }
        }
        Completed::left(dropped)
    }

    /// The connection is gone: unanswered lines are sent again. A line that is refused repeatedly
    /// is given up, because everything after it waits.
    fn down(&mut self, refused: bool, cx: &mut Cx) -> Completed {
        self.queue.rewind();
        self.unblock(cx);
        let Sink::Connection(connection) = &mut self.sink else { return Completed::default() };
        connection.refusals = if refused { connection.refusals + 1 } else { 0 };
        if connection.refusals < REFUSALS_MOST {
            return Completed::default();
        }
        connection.refusals = 0;
        let Some(first) = self.queue.front() else { return Completed::default() };
        let bytes = crate::batch::end_of_lines(&first.bytes, 1);
        let lost = self.queue.advance(bytes, &mut cx.budget);
        log::error!("{}: a line was refused {REFUSALS_MOST} times and is given up", self.name);
        Completed::with_lost(Count::default(), lost, Reason::SendError)
    }

    /// Ends the link: at once if the rest is `given_up`; in good order if nothing more can come or
    /// a successor sends the rest.
    pub(super) fn end_connection(&mut self, given_up: bool, ends: bool, now: Mono) {
        let Sink::Connection(connection) = &mut self.sink else { return };
        if given_up {
            connection.link.abort();
        } else if ends {
            connection.link.end(now);
        }
    }
}

impl Engine {
    /// Encodes waiting lines for a lane that was named as ready, as many as may be in flight.
    pub fn fill(&mut self, lane: LaneId) {
        let Some(entry) = self.graph.lane_mut(lane) else { return };
        entry.take_up();
        let completed = entry.fill(&mut self.cx);
        self.complete(lane, completed);
    }

    /// The bytes to write to a lane's connection, oldest first.
    pub fn out(&self, lane: LaneId) -> Option<&Out> {
        self.graph.lane(lane)?.connection()?.link.out()
    }

    /// Returns whether events of connection number `attempt` still concern the lane.
    pub fn has_attempt(&self, lane: LaneId, attempt: u64) -> bool {
        let connection = self.graph.lane(lane).and_then(Lane::connection);
        connection.is_some_and(|connection| connection.link.attempt() == Some(attempt))
    }

    /// Returns whether a lane waits for its peer's TCP acknowledgements.
    pub fn wants_acknowledged(&self, lane: LaneId) -> bool {
        let connection = self.graph.lane(lane).and_then(Lane::connection);
        connection.is_some_and(|connection| connection.link.wants_acknowledged())
    }

    pub(super) fn link_event(&mut self, lane: LaneId, event: LinkEvent) {
        let position = self.consumers.get(lane).map_or(0, |consumer| consumer.position);
        let Some(entry) = self.graph.lane_mut(lane) else { return };
        let completed = entry.link_event(event, position, &mut self.cx);
        self.complete(lane, completed);
        self.pump(lane);
        self.cx.touch(lane.node);
    }

    /// Advances the time of a lane's connection. A lane that reads from a spool connects only once
    /// its identity is known: no line of a spool is ever sent to a logweir without its origin.
    pub(super) fn tick_connection(&mut self, lane: LaneId) {
        if self.consumers.get(lane).is_some_and(|consumer| !consumer.has_begun()) {
            return;
        }
        let connection = self.graph.lane_mut(lane).and_then(Lane::connection_mut);
        if let Some(connection) = connection {
            connection.link.tick(self.cx.now);
            self.pump(lane);
        }
    }

    /// Does what a link requests after an event.
    pub(super) fn pump(&mut self, lane: LaneId) {
        let spool = self.consumers.get(lane).map(|consumer| consumer.spool);
        let held = spool.and_then(|spool| self.graph.spool(spool)).map(|spool| spool.held);
        loop {
            let Some(entry) = self.graph.lane_mut(lane) else { return };
            let Some(completed) = entry.next_of_link(held, &mut self.cx) else { break };
            self.complete(lane, completed);
        }
        let Some(entry) = self.graph.lane_mut(lane) else { return };
        if let Sink::Connection(connection) = &mut entry.sink {
            while let Some(command) = connection.link.poll_command() {
                self.cx.act(Action::Link(lane, command));
            }
        }
        entry.proceed(&mut self.cx);
    }

    /// Ends the links of an output that can receive nothing more. Links with lines left continue
    /// unless a successor sends those lines.
    pub(super) fn end_connections(&mut self, node: NodeId, given_up: bool) {
        let from_spool = self.consumers.reads_from_spool(node);
        let done = !from_spool || self.consumers_are_done(node);
        let succeeded = self.consumers.is_succeeded(node);
        let now = self.cx.now;
        let Some(entry) = self.graph.get_mut(node) else { return };
        let mut lanes = Vec::new();
        for lane in entry.lanes_mut().iter_mut().filter(|lane| lane.connection().is_some()) {
            let ends = succeeded || (done && lane.queue.is_empty());
            lane.end_connection(given_up, ends, now);
            lanes.push(lane.id);
        }
        for lane in lanes {
            self.pump(lane);
        }
    }
}
