//! Readers of spools: what each has been given, and how far it has come.
//!
//! A reader gets lines as soon as they are durable, from memory as long as it keeps up, else
//! from disk in large reads. Its position moves over lines that its output is done with: read
//! by the child, written to the file, answered by the peer. What an output was given and is
//! not done with counts as neither in nor out of it: it is in the spool yet.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::batch::Batch;
use crate::clock::Mono;
use crate::filter::patterns::Hits;
use crate::filter::{Selector, gather};
use crate::ids::{Identity, LaneId, NodeId};
use crate::ledger::{Count, Reason};
use crate::limits::{DISK_RETRY, FEED_HIGH, FEED_LOW, FEED_READ, LINES_FRAME_MOST};
use crate::spool::cursor::Cursor;
use crate::spool::reader::{Missing, Read};

use super::{Action, Body, Engine};

/// One reader of a spool.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) spool: NodeId,
    /// Its name in the spool's folder.
    pub(super) reader: String,
    selector: Selector,
    /// Set once the spool is open and the position known.
    begun: bool,
    /// Its output was removed by a reload and is given no more.
    pub(super) closed: bool,
    /// The line that it is given next.
    next: u64,
    /// The first line that it is not done with, and how many of those selected behind it are.
    pub(super) position: u64,
    done: u64,
    /// How many selected lines it had done with before the daemon started.
    skip: u64,
    fed: VecDeque<Fed>,
    reading: bool,
    retry_at: Option<Mono>,
    /// What its cursor on disk says.
    saved: (u64, u64),
    /// For a file output: the files at the last checkpoint, with the position there.
    pub(super) checkpoint: Option<Cursor>,
    /// When the last line was received that it is done with.
    received: Option<SystemTime>,
}

/// Lines given to an output, and how many of them it was to take.
#[derive(Debug)]
struct Fed {
    first: u64,
    end: u64,
    lines: u64,
    /// Not known of lines that are missing.
    received: Option<SystemTime>,
}

/// A read for a reader of a spool.
#[derive(Debug)]
pub struct FeedJob {
    /// The reader.
    pub feed: LaneId,
    /// The spool.
    pub spool: NodeId,
    /// Its folder.
    pub dir: PathBuf,
    /// Its identity.
    pub identity: Identity,
    /// The first line wanted.
    pub from: u64,
    /// The line up to which it may read.
    pub until: u64,
    /// About how many bytes.
    pub most: usize,
}

impl Feed {
    pub(super) fn new(spool: NodeId, reader: String, selector: Selector) -> Self {
        Self {
            spool,
            reader,
            selector,
            begun: false,
            closed: false,
            next: 0,
            position: 0,
            done: 0,
            skip: 0,
            fed: VecDeque::new(),
            reading: false,
            retry_at: None,
            saved: (0, 0),
            checkpoint: None,
            received: None,
        }
    }

    /// The output is done with so many lines that it was given.
    fn advance(&mut self, lines: u64) {
        self.done += lines;
        while let Some(fed) = self.fed.front()
            && fed.lines <= self.done
        {
            self.done -= fed.lines;
            self.position = fed.end;
            self.received = fed.received.or(self.received);
            self.fed.pop_front();
        }
        if let Some(fed) = self.fed.front() {
            self.position = fed.first;
        }
    }

    pub(super) fn cursor(&self, spool: Identity, files: Vec<(PathBuf, u64)>) -> Cursor {
        let Self { position, done, .. } = *self;
        Cursor { reader: self.reader.clone(), spool, position, done, files }
    }

    /// Whether its cursor on disk is not where it is.
    pub(super) fn has_moved(&self) -> bool {
        self.begun && self.saved != (self.position, self.done)
    }

    pub(super) fn selector_is(&self, plan: &crate::config::plan::SelectPlan) -> bool {
        self.selector.plan() == plan
    }

    pub(super) fn set_selector(&mut self, selector: Selector) {
        self.selector = selector;
    }
}

impl Engine {
    /// The names of a spool's readers.
    pub fn readers_named(&self, spool: NodeId) -> Vec<String> {
        self.readers_of(spool)
    }

    /// The names of a spool's readers.
    pub(super) fn readers_of(&self, spool: NodeId) -> Vec<String> {
        self.feeds.values().filter(|f| f.spool == spool).map(|f| f.reader.clone()).collect()
    }

    /// The readers of a spool that is open begin where their cursors say.
    pub(super) fn begin_feeds(&mut self, spool: NodeId) {
        for id in self.feeds_of(spool) {
            self.begin_feed(id);
        }
    }

    /// One that follows a reader of the same name, which a reload removed, begins when that one
    /// has ended.
    fn begin_feed(&mut self, id: LaneId) {
        let Some(feed) = self.feeds.get(&id) else { return };
        let (has_begun, reader) = (feed.begun, feed.reader.clone());
        let Some(node) = &self.nodes[feed.spool.0 as usize] else { return };
        let Body::Spool(spool) = &node.body else { return };
        let spool_id = feed.spool;
        let is_twin = |(other, twin): (&LaneId, &Feed)| {
            *other != id && twin.spool == spool_id && twin.reader == reader
        };
        if has_begun || !spool.opened || self.feeds.iter().any(is_twin) {
            return;
        }
        let Some(feed) = self.feeds.get_mut(&id) else { return };
        let cursors = &spool.cursors;
        // Lanes that were dealt otherwise before begin where the last of the old ones was.
        let output = feed.reader.split(".lane").next().unwrap_or_default();
        let kin = |name: &str| {
            name == output
                || name.strip_prefix(output).is_some_and(|rest| rest.starts_with(".lane"))
        };
        let cursor = cursors.get(&feed.reader).cloned();
        let others = cursors.iter().filter(|(name, _)| kin(name)).map(|(_, other)| other.position);
        let position = match &cursor {
            Some(cursor) => cursor.position,
            None => others.min().unwrap_or(spool.held.start),
        };
        feed.begun = true;
        feed.position = position;
        feed.next = position;
        feed.done = cursor.as_ref().map_or(0, |cursor| cursor.done);
        feed.skip = cursor.as_ref().map_or(0, |cursor| cursor.done);
        feed.saved = cursor.as_ref().map_or((u64::MAX, 0), |cursor| (position, cursor.done));
        let files = cursor.map_or_else(Vec::new, |cursor| cursor.files);
        self.feed_begins(id, position, files);
    }

    /// Reads on for whoever has little left.
    pub(super) fn tick_feeds(&mut self, now: Mono) {
        for id in self.feeds.keys().copied().collect::<Vec<_>>() {
            if let Some(feed) = self.feeds.get_mut(&id)
                && feed.retry_at.is_some_and(|at| now >= at)
            {
                feed.retry_at = None;
            }
            self.refill(id);
        }
    }

    pub(super) fn feeds_deadline(&self) -> Option<Mono> {
        self.feeds.values().filter_map(|feed| feed.retry_at).min()
    }

    fn refill(&mut self, id: LaneId) {
        let Some(feed) = self.feeds.get(&id) else { return };
        let Some(spool) = self.spool(feed.spool) else { return };
        let behind = feed.begun && !feed.closed && feed.next < spool.held.durable;
        if !behind || feed.reading || feed.retry_at.is_some() || self.fill_of(id) >= FEED_LOW {
            return;
        }
        let crate::config::plan::BodyPlan::Spool(plan) = &self.node(feed.spool).plan.body else {
            return;
        };
        let job = FeedJob {
            feed: id,
            spool: feed.spool,
            dir: plan.dir.clone(),
            identity: spool.identity,
            from: feed.next,
            until: spool.held.durable,
            most: FEED_READ,
        };
        if let Some(feed) = self.feeds.get_mut(&id) {
            feed.reading = true;
        }
        self.actions.push_back(Action::Read(job));
    }

    pub(super) fn feed_read(&mut self, id: LaneId, read: Result<Read, String>, now: Mono) {
        let Some(feed) = self.feeds.get_mut(&id) else { return };
        feed.reading = false;
        match read {
            Err(error) => {
                feed.retry_at = Some(now + DISK_RETRY);
                log::error!("{}: {error}; read again in {DISK_RETRY:?}", feed.reader);
            }
            Ok(read) => {
                for damage in &read.damage {
                    log::error!(
                        "{}: {} bytes at byte {} of {} make no sense; a copy is in quarantine/",
                        feed.reader,
                        damage.bytes,
                        damage.at,
                        damage.segment.display()
                    );
                }
                let mut missing = read.missing.into_iter().peekable();
                for batch in read.batches {
                    let first = batch.place.map_or(0, |place| place.first);
                    while let Some(gap) = missing.next_if(|gap| gap.first < first) {
                        self.feed_missing(id, gap);
                    }
                    self.feed_batch(id, batch, now);
                }
                for gap in missing {
                    self.feed_missing(id, gap);
                }
            }
        }
        self.refill(id);
    }

    /// Lines that the reader should have got and that are not there.
    fn feed_missing(&mut self, id: LaneId, gap: Missing) {
        let lost = self.dealt_of(id, gap.first, gap.end);
        let Some(feed) = self.feeds.get_mut(&id) else { return };
        let reason = if gap.damaged { Reason::Damaged } else { Reason::SpoolFull };
        let words = if gap.damaged { "are damaged" } else { "were dropped before they were read" };
        log::warn!("{}: lines {} to {} {words}", feed.reader, gap.first, gap.end - 1);
        feed.next = feed.next.max(gap.end);
        feed.skip = 0;
        let all_done = feed.fed.is_empty();
        if all_done {
            feed.done = 0;
        }
        feed.fed.push_back(Fed { first: gap.first, end: gap.end, lines: 0, received: None });
        feed.advance(0);
        let ledger = &mut self.node_mut(id.node).ledger;
        ledger.entered.add(lost, 0);
        ledger.drop(reason, lost, 0);
        self.lane_lost(id, gap, all_done);
    }

    /// What became durable is given at once to readers that have read all before it.
    pub(super) fn hand_to_readers(&mut self, spool: NodeId, durable: Vec<Batch>, now: Mono) {
        let feeds = self.feeds_of(spool);
        for batch in durable {
            let first = batch.place.map_or(0, |place| place.first);
            for &id in &feeds {
                let Some(feed) = self.feeds.get(&id) else { continue };
                let takes = feed.begun && !feed.closed && !feed.reading;
                let caught_up = takes && feed.next == first;
                if caught_up && self.fill_of(id) < FEED_HIGH {
                    self.feed_batch(id, batch.clone(), now);
                }
            }
        }
        for id in feeds {
            self.refill(id);
        }
    }

    /// Gives an output lines of its spool; a peer's in pieces that fit a frame as they are written.
    fn feed_batch(&mut self, id: LaneId, batch: Batch, now: Mono) {
        let format = self.forward_plan(id.node).map(|plan| plan.format.clone());
        let fits = |piece: &Batch| {
            format.as_ref().is_none_or(|format| format.most(piece.count()) <= LINES_FRAME_MOST)
        };
        let mut rest = vec![batch];
        while let Some(mut batch) = rest.pop() {
            let first = if fits(&batch) { None } else { cut(&mut batch) };
            match first {
                None => self.feed_piece(id, batch, now),
                Some(first) => rest.extend([batch, first]),
            }
        }
    }

    fn feed_piece(&mut self, id: LaneId, piece: Batch, now: Mono) {
        let Some(place) = piece.place else { return };
        let mine = self.share_of(id, &piece);
        let chosen = mine.and_then(|mine| self.select_for(id, &mine, now));
        let Some(feed) = self.feeds.get_mut(&id) else { return };
        feed.next = place.last + 1;
        let lines = chosen.as_ref().map_or(0, |chosen| u64::from(chosen.lines));
        let (first, end) = (place.first, place.last + 1);
        feed.fed.push_back(Fed { first, end, lines, received: Some(piece.received) });
        feed.advance(0);
        let rest = chosen.and_then(|chosen| skip_lines(chosen, &mut feed.skip));
        if let Some(rest) = rest {
            self.push_to(id, rest);
        }
    }

    /// What the output selects of lines of its spool.
    fn select_for(&mut self, id: LaneId, batch: &Batch, now: Mono) -> Option<Batch> {
        let spool = self.feeds.get(&id)?.spool;
        let stream = std::mem::take(&mut self.node_mut(spool).stream);
        let ids = stream.takers.iter().find(|(taker, _)| *taker == id.node).map(|(_, ids)| *ids);
        let mut hits = Hits::default();
        stream.patterns.search(batch, &mut hits);
        let mut held = Count::default();
        let feed = self.feeds.get_mut(&id)?;
        let chosen = ids.and_then(|ids| {
            let picked = feed.selector.pick(batch, ids, &mut hits, now, &mut held);
            gather(batch, &picked)
        });
        self.node_mut(spool).stream = stream;
        self.node_mut(id.node).counts.faults.add(&hits.take_faults());
        let kept = chosen.as_ref().map_or_else(Count::default, Batch::count);
        let all = batch.count();
        let ledger = &mut self.node_mut(id.node).ledger;
        ledger.entered.add(all.lines - kept.lines, all.bytes - kept.bytes);
        ledger.drop(Reason::Rate, held.lines, held.bytes);
        ledger
            .not_selected
            .add(all.lines - kept.lines - held.lines, all.bytes - kept.bytes - held.bytes);
        chosen
    }

    /// What waits in the queue of an output or of one of its lanes.
    fn fill_of(&self, id: LaneId) -> u64 {
        match &self.node(id.node).body {
            Body::Process(process) => {
                process.workers.first().map_or(0, |proc| self.child(*proc).queue.fill().0)
            }
            Body::Disk(disk) => disk.queue.fill().0,
            Body::Udp(udp) => udp.queue.fill().0,
            Body::Forward(forward) => forward.fill_of(id.lane),
            _ => 0,
        }
    }

    fn push_to(&mut self, id: LaneId, batch: Batch) {
        let Some(node) = &mut self.nodes[id.node.0 as usize] else { return };
        let batch = node.formatted(batch);
        self.tap(id.node, &batch);
        self.note_waiting(id.node);
        let Some(node) = &mut self.nodes[id.node.0 as usize] else { return };
        match &mut node.body {
            Body::Process(process) => {
                let Some(&proc) = process.workers.first() else { return };
                if let Some(child) = self.children.get_mut(&proc) {
                    child.queue.push_anyway(batch, &mut self.budget);
                }
                self.list_child(proc);
            }
            Body::Disk(disk) => {
                disk.queue.push_anyway(batch, &mut self.budget);
                self.start_job(id.node);
            }
            Body::Udp(udp) => {
                udp.queue.push_anyway(batch, &mut self.budget);
                self.list_udp(id.node);
            }
            Body::Forward(_) => self.push_to_lane(id, batch),
            _ => {}
        }
    }

    /// An output is done with lines: they left it, or were dropped for a reason. Those that came
    /// from a spool enter its ledger only now.
    pub(super) fn settle(&mut self, id: LaneId, done: Count, reason: Option<Reason>) {
        if done.lines == 0 {
            return;
        }
        let (fed, now) = (self.feeds.contains_key(&id), self.ticked);
        self.node_mut(id.node).moved = now;
        let ledger = &mut self.node_mut(id.node).ledger;
        if fed {
            ledger.entered.add(done.lines, done.bytes);
        }
        match reason {
            Some(reason) => ledger.drop(reason, done.lines, done.bytes),
            None => ledger.left.add(done.lines, done.bytes),
        }
        if let Some(feed) = self.feeds.get_mut(&id) {
            feed.advance(done.lines);
            self.refill(id);
        }
    }

    /// Whether an output reads from a spool.
    pub(super) fn is_fed(&self, node: NodeId) -> bool {
        self.feeds.contains_key(&node.only_lane())
    }

    /// Whether another output, which a reload put in the place of this one, waits to read on where
    /// it stops.
    pub(super) fn is_succeeded(&self, node: NodeId) -> bool {
        let waits_for = |feed: &Feed| {
            let twin = |twin: &Feed| twin.spool == feed.spool && twin.reader == feed.reader;
            self.feeds.iter().any(|(id, other)| id.node != node && !other.begun && twin(other))
        };
        self.feeds.iter().any(|(id, feed)| id.node == node && feed.closed && waits_for(feed))
    }

    /// Whether a reader has done with all that is in its spool.
    pub(super) fn feeds_are_done(&self, node: NodeId) -> bool {
        let of_node = self.feeds.iter().filter(|(id, _)| id.node == node);
        of_node.into_iter().all(|(_, feed)| {
            let spool = self.spool(feed.spool);
            let at_end = |spool: &super::spool::SpoolOut| {
                feed.begun && spool.queue.is_empty() && feed.position >= spool.held.next
            };
            feed.closed || spool.is_none_or(at_end)
        })
    }

    /// The readers of an output that is removed: they are given no more.
    pub(super) fn close_feeds(&mut self, node: NodeId) {
        for (_, feed) in self.feeds.iter_mut().filter(|(id, _)| id.node == node) {
            feed.closed = true;
        }
    }

    /// Forgets the readers of an output that has ended, but for how far they came.
    pub(super) fn remove_feeds(&mut self, node: NodeId) {
        let ids: Vec<_> = self.feeds.keys().copied().filter(|id| id.node == node).collect();
        for id in ids {
            let Some(feed) = self.feeds.remove(&id) else { continue };
            if let Some(spool) = self.spool_mut(feed.spool)
                && feed.begun
            {
                let cursor = feed.cursor(spool.identity, Vec::new());
                spool.cursors.insert(feed.reader, cursor);
            }
            self.begin_feeds(feed.spool);
        }
    }

    /// The outputs that read a spool.
    pub(super) fn fed_by(&self, spool: NodeId) -> Vec<NodeId> {
        let mut nodes: Vec<_> = self.feeds_of(spool).into_iter().map(|id| id.node).collect();
        nodes.dedup();
        nodes
    }

    /// The cursors of a spool's readers that should be written now. A file output's are made at
    /// its checkpoints and are always due; the others' move all the time and wait for `all`.
    pub(super) fn cursors_to_save(&self, spool: NodeId, all: bool) -> Vec<Cursor> {
        let Some(identity) = self.spool(spool).map(|spool| spool.identity) else {
            return Vec::new();
        };
        let mut cursors = Vec::new();
        for (id, feed) in self.feeds.iter().filter(|(_, feed)| feed.spool == spool) {
            if matches!(&self.node(id.node).body, Body::Disk(disk) if disk.exact) {
                cursors.extend(feed.checkpoint.clone());
            } else if all && feed.has_moved() {
                cursors.push(feed.cursor(identity, Vec::new()));
            }
        }
        cursors
    }

    pub(super) fn cursors_saved(&mut self, saved: &[Cursor]) {
        let mut checked = Vec::new();
        for cursor in saved {
            for (id, feed) in &mut self.feeds {
                if feed.reader == cursor.reader {
                    feed.saved = (cursor.position, cursor.done);
                    if feed.checkpoint.as_ref() == Some(cursor) {
                        feed.checkpoint = None;
                        checked.push(id.node);
                    }
                }
            }
        }
        for node in checked {
            self.checkpoint_saved(node);
        }
    }

    /// How far behind a reader is: lines, and seconds between the newest line of the spool and
    /// the last one it is done with.
    pub(super) fn lag_of(&self, feed: &Feed) -> (u64, f64) {
        let Some(spool) = self.spool(feed.spool) else { return (0, 0.0) };
        let lines = spool.held.next.saturating_sub(feed.position);
        if lines == 0 {
            return (0, 0.0);
        }
        let front = feed.fed.front().and_then(|fed| fed.received);
        let here = front.or(feed.received);
        let lag =
            spool.newest.zip(here).and_then(|(newest, here)| newest.duration_since(here).ok());
        (lines, lag.map_or(0.0, |lag| lag.as_secs_f64()))
    }

    /// When the oldest durable line was received that a reader is not done with; before it was
    /// read, when the last line before it was.
    pub(super) fn waits_since(&self, feed: &Feed) -> Option<SystemTime> {
        match feed.fed.front() {
            Some(fed) => fed.received.or(feed.received),
            None => {
                let spool = self.spool(feed.spool)?;
                feed.received.filter(|_| feed.begun && feed.next < spool.held.durable)
            }
        }
    }
}

/// Takes the first part of a piece off, where it has several lines.
fn cut(batch: &mut Batch) -> Option<Batch> {
    let len = batch.bytes.len();
    let first_line = memchr::memchr(b'\n', &batch.bytes).map_or(len, |at| at + 1);
    let room = LINES_FRAME_MOST.min(len / 2).max(first_line);
    if room < len { batch.split_to(room) } else { None }
}

/// Leaves out lines that were done with before; `None` where none are left.
fn skip_lines(mut batch: Batch, skip: &mut u64) -> Option<Batch> {
    if *skip == 0 {
        return Some(batch);
    }
    let lines = u64::from(batch.lines).min(*skip);
    *skip -= lines;
    if lines == u64::from(batch.lines) {
        return None;
    }
    let nth = usize::try_from(lines - 1).unwrap_or(usize::MAX);
    let end = memchr::memchr_iter(b'\n', &batch.bytes).nth(nth)? + 1;
    batch.cut_front(end);
    Some(batch)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::plan::SelectPlan;

    #[test]
    fn lines_that_are_missing_do_not_make_a_reader_older_than_it_is() {
        let selector = Selector::new(&SelectPlan::default(), "out").unwrap();
        let mut feed = Feed::new(NodeId(0), "out".into(), selector);
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        feed.fed.push_back(Fed { first: 0, end: 2, lines: 2, received: Some(at) });
        feed.fed.push_back(Fed { first: 2, end: 9, lines: 0, received: None });
        feed.advance(2);
        assert_eq!((feed.position, feed.received), (9, Some(at)));
    }
}
