//! Lanes whose lines go to a peer over a connection.
//!
//! The queue keeps every line until the peer has it; whatever is in doubt after a broken connection
//! is sent again. A lane that reads from a spool offers the spool's identity to a peer that is a
//! logweir, and continues after the last line that the peer has on disk.

use crate::batch::Batch;
use crate::clock::Mono;
use crate::forward::link::{self, Ended, Link};
use crate::forward::out::Out;
use crate::ids::{Identity, LaneId, NodeId};
use crate::ledger::tally::Tally;
use crate::ledger::{Count, Reason};
use crate::limits::{GIVEN_UP_SHOWN, REFUSALS_MAX};
use crate::output::queue::Queue;
use crate::spool::reader::Missing;
use crate::spool::writer::Held;

use super::cx::Cx;
use super::lane::{Completed, Lane, Sink};
use super::losses::amount;
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
    tries: Tries,
    /// True if the peer is a logweir, which says by numbers what it has and refuses no line.
    to_logweir: bool,
}

impl Connection {
    pub(super) fn new(link: Link) -> Self {
        Self {
            link,
            identity: None,
            covered: 0,
            gap: None,
            known: None,
            tries: Tries::default(),
            to_logweir: false,
        }
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
}

/// How often the peer would not take the line that is the first in the queue.
///
/// A peer may say so, or end the session. In the latter case any of the lines under way may be the
/// one that it cannot take: after some such ends they are sent one at a time. A peer that takes
/// nothing at all must not cost many lines, so each line that is given up without another one
/// having been taken since doubles the tries that the next one gets.
#[derive(Debug, Default)]
struct Tries {
    /// Times that the peer refused the line.
    refusals: u32,
    /// Times that it ended the session while one of the suspects was under way.
    closes: u32,
    /// The first so many lines were under way when it last did so, and were not taken since.
    suspects: u64,
    /// Times that it did so while only the first line was.
    alone: u32,
    /// Lines given up since one was taken.
    given_up: u32,
}

impl Tries {
    /// Whether lines are to be sent one at a time.
    fn is_careful(&self) -> bool {
        self.closes >= REFUSALS_MAX && self.suspects > 0
    }

    /// The peer has taken lines.
    fn taken(&mut self, lines: u64) {
        let suspects = self.suspects.saturating_sub(lines);
        let closes = if suspects > 0 { self.closes } else { 0 };
        *self = Self { suspects, closes, ..Self::default() };
    }

    /// A connection ended with this many lines in flight. Returns whether the first is to be given
    /// up.
    fn ended(&mut self, ended: Ended, lines: u64) -> bool {
        match ended {
            Ended::Refused => {
                self.refusals += 1;
                return self.refusals >= REFUSALS_MAX;
            }
            Ended::ByPeer if lines > 0 => {
                self.closes += 1;
                self.suspects = self.suspects.max(lines);
                self.alone += u32::from(lines == 1);
            }
            _ => self.refusals = 0,
        }
        self.alone >= REFUSALS_MAX << self.given_up.min(16)
    }

    /// The line was given up.
    fn gave_up(&mut self) {
        let given_up = self.given_up + 1;
        self.taken(1);
        self.given_up = given_up;
    }
}

/// The first bytes of a line that was given up, for the log.
fn start_of(line: &[u8]) -> String {
    let start = &line[..line.len().min(GIVEN_UP_SHOWN)];
    let more = if start.len() < line.len() { "…" } else { "" };
    format!("{}{more}", String::from_utf8_lossy(start).trim_end_matches('\n').escape_debug())
}

/// Operations on a lane whose sink is a connection.
impl Lane {
    /// Encodes waiting lines, as many as may be in flight. Lines that the peer already has are
    /// completed without being sent.
    fn fill(&mut self, cx: &mut Cx) -> Completed {
        let mut known = Tally::default();
        let Sink::Connection(connection) = &mut self.sink else { return Completed::default() };
        while connection.link.has_room() {
            let Some(batch) = self.queue.unwritten() else { break };
            let bytes = batch.bytes.len();
            let has = |last: u64| batch.numbers.is_some_and(|numbers| numbers.last <= last);
            if connection.known.is_some_and(has) && self.queue.written_bytes() == 0 {
                known.add_all(&self.queue.advance(bytes, &mut cx.budget));
                continue;
            }
            // It is unknown which line the peer rejects, so lines are sent one at a time.
            let tells = !connection.to_logweir && connection.link.is_answered();
            let careful = connection.tries.is_careful() && tells;
            if careful && self.queue.written_bytes() > 0 {
                break;
            }
            let most = if careful { 0 } else { connection.link.room() };
            let Some(piece) = self.queue.unwritten_lines(most) else { break };
            let bytes = piece.bytes.len();
            connection.link.send(&piece);
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
            LinkEvent::NotFound(error) => connection.link.not_found(error, cx.now),
            LinkEvent::Found(service, found) => connection.link.found(&service, found, cx.now),
            LinkEvent::Trying => connection.link.trying(cx.now),
            LinkEvent::Proven(proven) => connection.link.proven(proven),
            LinkEvent::Failed(error) => connection.link.failed(error, cx.now),
            LinkEvent::Closed(error) => connection.link.closed(error, cx.now),
            LinkEvent::Reset(error) => connection.link.reset(error, cx.now),
            LinkEvent::Received(bytes) => connection.link.received(&bytes, cx.now),
            LinkEvent::Acknowledged(bytes, silence) => {
                acknowledged = connection.link.acknowledged(bytes, silence, cx.now);
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
        connection.tries.taken(done.lines);
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
            link::Event::Down(ended) => self.down(ended, cx),
        })
    }

    /// The session is open and lines may be sent. A logweir reports which it already has.
    fn up(&mut self, last: Option<Option<u64>>, held: Option<Held>, cx: &mut Cx) -> Completed {
        let Sink::Connection(connection) = &mut self.sink else { return Completed::default() };
        connection.to_logweir = last.is_some();
        connection.known = last.flatten();
        let Some(known) = connection.known else { return Completed::default() };
        // The peer claims a line that this spool cannot have sent.
        if held.is_some_and(|held| known >= held.next) {
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
        let mut dropped = Tally::default();
        while let Some(batch) = self.queue.front() {
            let Some(numbers) = batch.numbers else { break };
            let bytes = if numbers.last <= known {
                batch.bytes.len()
            } else if numbers.first <= known && numbers.lines() == u64::from(batch.lines) {
                crate::batch::end_of_lines(&batch.bytes, known - numbers.first + 1)
            } else {
                break;
            };
            dropped.add_all(&self.queue.advance(bytes, &mut cx.budget));
            if numbers.last > known {
                break;
            }
        }
        Completed::left(dropped)
    }

    /// The connection is gone: unanswered lines are sent again. A line that the peer will not take
    /// is given up after some tries, because everything after it waits.
    fn down(&mut self, ended: Ended, cx: &mut Cx) -> Completed {
        let lines = self.queue.written_lines();
        self.queue.rewind();
        self.unblock(cx);
        let Sink::Connection(connection) = &mut self.sink else { return Completed::default() };
        let ended = if connection.to_logweir { Ended::Otherwise } else { ended };
        if !connection.tries.ended(ended, lines) {
            return Completed::default();
        }
        connection.tries.gave_up();
        let Some(first) = self.queue.front() else { return Completed::default() };
        let bytes = crate::batch::end_of_lines(&first.bytes, 1);
        let (name, start) = (&self.name, start_of(&first.bytes[..bytes]));
        let number = first.numbers.map(|numbers| format!(" {}", numbers.first));
        let number = number.unwrap_or_default();
        log::error!(
            "{name}: the peer did not take line{number} of {bytes} bytes, though it was tried \
             several times; it is given up and counted as send_error. It begins: {start}"
        );
        let lost = self.queue.advance(bytes, &mut cx.budget);
        Completed::with_lost(Tally::default(), lost, Reason::SendError)
    }

    /// Ends the link: at once if the rest is `given_up`; in good order if nothing more can come or
    /// a successor sends the rest.
    fn end_connection(&mut self, given_up: bool, ends: bool, now: Mono) {
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

    /// Peers that wait to be tried again are tried at once: something may have been fixed.
    pub fn retry_connections(&mut self, now: Mono) {
        self.cx.now = now;
        for id in self.graph.ids() {
            for lane in self.graph.node_mut(id).lanes_mut() {
                if let Some(connection) = lane.connection_mut() {
                    connection.link.hasten(now);
                    self.cx.touch(id);
                }
            }
        }
        self.settle();
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
        self.report_link(lane);
        let Some(entry) = self.graph.lane_mut(lane) else { return };
        if let Sink::Connection(connection) = &mut entry.sink {
            while let Some(command) = connection.link.poll_command() {
                self.cx.act(Action::Link(lane, command));
            }
        }
        entry.proceed(&mut self.cx);
    }

    /// Logs that a peer fails; and that it takes lines again, and what waits for it.
    fn report_link(&mut self, lane: LaneId) {
        let lag = self.consumers.get(lane).and_then(|consumer| {
            let spool = self.graph.spool(consumer.spool)?;
            Some(consumer.lag(spool).0)
        });
        let now = self.cx.now;
        let Some(entry) = self.graph.lane_mut(lane) else { return };
        let waits = lag.unwrap_or_else(|| entry.queue.count().lines);
        let Sink::Connection(connection) = &mut entry.sink else { return };
        if let Some(complaint) = connection.link.take_complaint() {
            log::warn!("{}: {complaint}", entry.name);
        }
        if let Some((url, since)) = connection.link.take_return() {
            log::warn!(
                "{}: {url}: takes lines again after {} s; {} still waiting",
                entry.name,
                now.since(since).as_secs(),
                amount(waits, "lines")
            );
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_sent_alone_before_it_is_given_up() {
        let mut tries = Tries::default();
        for _ in 0..REFUSALS_MAX {
            assert!(!tries.is_careful());
            assert!(!tries.ended(Ended::ByPeer, 300), "any of them may be the one");
            // Each session gets a little further.
            tries.taken(10);
        }
        assert!(tries.is_careful());
        let given_up: Vec<_> = (0..3).map(|_| tries.ended(Ended::ByPeer, 1)).collect();
        assert_eq!(given_up, [false, false, true]);
        tries.gave_up();
        // All that were under way with it are looked at one by one, and no more.
        tries.taken(288);
        assert!(tries.is_careful());
        tries.taken(1);
        assert!(!tries.is_careful());
    }

    #[test]
    fn sessions_that_end_at_other_lines_each_time_make_nobody_careful() {
        let mut tries = Tries::default();
        for _ in 0..100 {
            assert!(!tries.ended(Ended::ByPeer, 50));
            tries.taken(50);
            assert!(!tries.is_careful());
        }
    }

    #[test]
    fn a_peer_that_takes_nothing_costs_fewer_and_fewer_lines() {
        let mut tries = Tries::default();
        let mut ends = Vec::new();
        for _ in 0..4 {
            ends.push((1..).find(|_| tries.ended(Ended::ByPeer, 1)).unwrap());
            tries.gave_up();
        }
        assert_eq!(ends, [3, 6, 12, 24]);
        tries.taken(1);
        assert_eq!((1..).find(|_| tries.ended(Ended::ByPeer, 1)), Some(3));
    }

    #[test]
    fn only_ends_by_the_peer_with_lines_under_way_count() {
        let mut tries = Tries::default();
        for _ in 0..100 {
            assert!(!tries.ended(Ended::Otherwise, 1));
            assert!(!tries.ended(Ended::ByPeer, 0));
        }
        assert!(!tries.is_careful());
        let refused: Vec<_> = (0..3).map(|_| tries.ended(Ended::Refused, 9)).collect();
        assert_eq!(refused, [false, false, true]);
    }

    #[test]
    fn the_log_shows_the_start_of_a_line_and_no_control_characters() {
        assert_eq!(start_of(b"<13>a\x1b[2Jb\n"), "<13>a\\u{1b}[2Jb");
        let long = start_of(&[b'x'; 1000]);
        assert_eq!((long.chars().count(), long.ends_with('…')), (GIVEN_UP_SHOWN + 1, true));
    }
}
