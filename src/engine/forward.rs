//! Forward outputs: lanes with a queue and a link each.
//!
//! A lane's queue keeps every line until its peer has it; what a broken connection leaves in
//! doubt is sent again from there. A lane that reads from a spool offers it to a peer that is a
//! logweir, and goes on behind the last line that one has on disk.

use crate::batch::Batch;
use crate::clock::Mono;
use crate::config::plan::{BodyPlan, ForwardPlan};
use crate::format::Formatter;
use crate::forward::deal::{self, Dealer};
use crate::forward::link::{self, Link};
use crate::forward::out::Out;
use crate::ids::{Identity, LaneId, NodeId};
use crate::ledger::{Count, Reason};
use crate::limits::REFUSALS_MOST;
use crate::output::queue::Queue;
use crate::spool::reader::Missing;

use super::{Action, Body, Engine, Ready};

/// A forward output.
#[derive(Debug)]
pub(super) struct ForwardOut {
    pub(super) lanes: Vec<Lane>,
    dealer: Dealer,
}

/// A lane.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) queue: Queue,
    pub(super) link: Link,
    /// What the lane is known by at a logweir; set with a spool that is open.
    identity: Option<Identity>,
    /// The number of the line that the next piece must begin with, so that a peer which counts
    /// sees no gap where there are only other lanes' lines.
    covered: u64,
    /// Where a gap began that no peer was told of yet.
    gap: Option<u64>,
    /// The last line that the peer, a logweir, had when it was connected to.
    known: Option<u64>,
    /// How often the first line was refused.
    refusals: u32,
    listed: bool,
    blocked: bool,
}

/// What happened to a lane's connection.
#[derive(Debug)]
pub enum LinkEvent {
    /// It is there.
    Connected,
    /// It cannot be had, or is gone.
    Failed(String),
    /// Bytes came.
    Received(Vec<u8>),
    /// The peer's TCP has acknowledged so many of the bytes given out.
    Acknowledged(u64),
    /// An earlier peer takes connections, or does not.
    Probed(bool),
    /// It takes bytes again.
    Writable,
}

impl ForwardOut {
    pub(super) fn new(
        plan: &ForwardPlan,
        dealer: Dealer,
        queue: impl Fn(u64) -> Queue,
        now: Mono,
    ) -> Self {
        let count = deal::lanes(plan);
        let lane = |lane| Lane {
            queue: queue(plan.queue / u64::from(count)),
            link: Link::new(
                &deal::peers(plan, lane),
                Formatter::new(&plan.format),
                plan.timeout,
                now,
            ),
            identity: None,
            covered: 0,
            gap: None,
            known: None,
            refusals: 0,
            listed: false,
            blocked: false,
        };
        Self { lanes: (0..count).map(lane).collect(), dealer }
    }

    pub(super) fn fill_of(&self, lane: u16) -> u64 {
        self.lanes.get(usize::from(lane)).map_or(0, |lane| lane.queue.fill().0)
    }
}

impl Engine {
    fn lane_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        match &mut self.nodes.get_mut(id.node.0 as usize)?.as_mut()?.body {
            Body::Forward(forward) => forward.lanes.get_mut(usize::from(id.lane)),
            _ => None,
        }
    }

    fn lane(&self, id: LaneId) -> Option<&Lane> {
        match &self.nodes.get(id.node.0 as usize)?.as_ref()?.body {
            Body::Forward(forward) => forward.lanes.get(usize::from(id.lane)),
            _ => None,
        }
    }

    /// Whether something was sent by a lane that its peer has not answered or acknowledged.
    pub fn lane_waits(&self, id: LaneId) -> bool {
        self.lane(id).is_some_and(|lane| lane.link.waits())
    }

    /// All lanes there are.
    pub(super) fn lane_ids(&self) -> Vec<LaneId> {
        let mut ids = Vec::new();
        for (id, node) in self.nodes() {
            if let Body::Forward(forward) = &node.body {
                let count = u16::try_from(forward.lanes.len()).unwrap_or(u16::MAX);
                ids.extend((0..count).map(|lane| LaneId { node: id, lane }));
            }
        }
        ids
    }

    /// The plan of a forward output.
    pub fn forward_plan(&self, node: NodeId) -> Option<&ForwardPlan> {
        match &self.nodes.get(node.0 as usize)?.as_ref()?.plan.body {
            BodyPlan::Forward(plan) => Some(plan),
            _ => None,
        }
    }

    // ---- lines come

    /// Lines come that are in no spool.
    pub(super) fn queue_for_forward(&mut self, to: NodeId, batch: &Batch) {
        let Some(node) = &mut self.nodes[to.0 as usize] else { return };
        let Body::Forward(ForwardOut { lanes, dealer }) = &mut node.body else { return };
        for (number, lane) in (0..).zip(lanes.iter_mut()) {
            let Some(mut share) = dealer.share(batch, number) else { continue };
            // What was received from a logweir and is in no spool here has no place of its own.
            share.place = None;
            if let Err(left) = lane.queue.push(share, &mut self.budget) {
                node.ledger.drop(Reason::QueueFull, left.lines, left.bytes);
            }
        }
        dealer.dealt(batch);
        let count = u16::try_from(lanes.len()).unwrap_or(u16::MAX);
        for lane in 0..count {
            self.list_lane(LaneId { node: to, lane });
        }
    }

    /// The part of a piece of a spool that is a lane's; of other outputs' pieces, all.
    pub(super) fn share_of(&mut self, id: LaneId, piece: &Batch) -> Option<Batch> {
        match &mut self.node_mut(id.node).body {
            Body::Forward(forward) => forward.dealer.share(piece, id.lane),
            _ => Some(piece.clone()),
        }
    }

    /// How many of lines `first` to `end` would have been a lane's, as far as that can be known.
    pub(super) fn dealt_of(&self, id: LaneId, first: u64, end: u64) -> u64 {
        let lanes = match &self.node(id.node).body {
            Body::Forward(forward) => forward.lanes.len() as u64,
            _ => 1,
        };
        let before = |number: u64| (number + lanes - 1 - u64::from(id.lane)) / lanes;
        before(end) - before(first)
    }

    /// Lines are gone and will not come: the peer is to see the gap. `all_done` where the lane
    /// is done with all before them, so that the next connection would begin behind the gap.
    pub(super) fn lane_lost(&mut self, id: LaneId, gap: Missing, all_done: bool) {
        if let Some(lane) = self.lane_mut(id) {
            lane.covered = lane.covered.max(gap.end);
            if all_done {
                lane.gap.get_or_insert(gap.first);
            }
        }
    }

    /// A reader begins: a lane learns whose lines it sends, a file what it is cut back to.
    pub(super) fn feed_begins(
        &mut self,
        id: LaneId,
        position: u64,
        files: Vec<(std::path::PathBuf, u64)>,
    ) {
        let spool = self.feeds.get(&id).and_then(|feed| self.spool(feed.spool));
        let spool = spool.map(|spool| spool.identity);
        let plan = self.forward_plan(id.node);
        let identity = plan.zip(spool).map(|(plan, spool)| deal::identity(spool, plan, id.lane));
        if let Some(lane) = self.lane_mut(id) {
            lane.identity = identity;
            lane.covered = position;
        }
        self.restore_files(id.node, files);
    }

    pub(super) fn push_to_lane(&mut self, id: LaneId, mut batch: Batch) {
        let Some(node) = &mut self.nodes[id.node.0 as usize] else { return };
        let Body::Forward(forward) = &mut node.body else { return };
        let Some(lane) = forward.lanes.get_mut(usize::from(id.lane)) else { return };
        if let (Some(place), Some(identity)) = (&mut batch.place, lane.identity) {
            place.spool = identity;
            place.first = place.first.min(lane.covered);
            lane.covered = place.last + 1;
        }
        lane.queue.push_anyway(batch, &mut self.budget);
        self.list_lane(id);
    }

    // ---- lines go

    fn list_lane(&mut self, id: LaneId) {
        let Some(lane) = self.lane_mut(id) else { return };
        let out = lane.link.out().is_some_and(|out| !out.is_empty());
        let ready = out || (lane.link.has_room() && !lane.queue.all_written());
        if ready && !lane.blocked && !lane.listed {
            lane.listed = true;
            self.ready.push_back(Ready::Lane(id));
        }
    }

    /// Has a lane that was named as ready make bytes of what waits, as much as may be under way.
    pub fn fill_lane(&mut self, id: LaneId) {
        let Some(Some(node)) = self.nodes.get_mut(id.node.0 as usize) else { return };
        let Body::Forward(forward) = &mut node.body else { return };
        let Some(lane) = forward.lanes.get_mut(usize::from(id.lane)) else { return };
        lane.listed = false;
        let mut known = Count::default();
        while lane.link.has_room() {
            let Some(batch) = lane.queue.unwritten() else { break };
            let has = |last: u64| batch.place.is_some_and(|place| place.last <= last);
            if lane.known.is_some_and(has) && lane.queue.written_bytes() == 0 {
                let bytes = batch.bytes.len();
                let count = lane.queue.advance(bytes, &mut self.budget);
                known.add(count.lines, count.bytes);
                continue;
            }
            lane.link.send(batch);
            let bytes = batch.bytes.len();
            lane.queue.wrote(bytes);
        }
        self.settle(id, known, None);
    }

    /// The bytes for a lane's connection, oldest first.
    pub fn lane_out(&self, id: LaneId) -> Option<&Out> {
        self.lane(id)?.link.out()
    }

    /// So many bytes were written.
    pub fn lane_wrote(&mut self, id: LaneId, bytes: usize) {
        if let Some(lane) = self.lane_mut(id) {
            lane.link.wrote(bytes);
            self.list_lane(id);
        }
    }

    /// A lane's connection takes no more until [`LinkEvent::Writable`].
    pub fn lane_blocked(&mut self, id: LaneId) {
        if let Some(lane) = self.lane_mut(id) {
            lane.blocked = true;
        }
    }

    // ---- what happens to connections

    /// Whether what happens to a lane's connection of this number is of any interest.
    pub fn lane_has(&self, id: LaneId, attempt: u64) -> bool {
        self.lane(id).is_some_and(|lane| lane.link.attempt() == Some(attempt))
    }

    pub(super) fn link_event(&mut self, id: LaneId, event: LinkEvent, now: Mono) {
        let position = self.feeds.get(&id).map_or(0, |feed| feed.position);
        let Some(lane) = self.lane_mut(id) else { return };
        let mut acknowledged = Count::default();
        match event {
            LinkEvent::Connected => {
                lane.blocked = false;
                let next = lane.gap.unwrap_or(position);
                let offer = lane.identity.map(|identity| (identity, next));
                lane.link.connected(offer, now);
            }
            LinkEvent::Failed(error) => lane.link.failed(error, now),
            LinkEvent::Received(bytes) => lane.link.received(&bytes, now),
            LinkEvent::Acknowledged(bytes) => acknowledged = lane.link.acknowledged(bytes, now),
            LinkEvent::Probed(takes) => lane.link.probed(takes, now),
            LinkEvent::Writable => lane.blocked = false,
        }
        self.lane_done(id, acknowledged);
        self.pump_lane(id, now);
    }

    pub(super) fn tick_lanes(&mut self, now: Mono) {
        for id in self.lane_ids() {
            if let Some(lane) = self.lane_mut(id) {
                lane.link.tick(now);
            }
            self.pump_lane(id, now);
        }
    }

    pub(super) fn lanes_deadline(&self) -> Option<Mono> {
        let lanes = self.nodes().filter_map(|(_, node)| match &node.body {
            Body::Forward(forward) => Some(&forward.lanes),
            _ => None,
        });
        lanes.flatten().filter_map(|lane| lane.link.deadline()).min()
    }

    /// Does what a link asks for after something happened to it.
    fn pump_lane(&mut self, id: LaneId, now: Mono) {
        loop {
            let Some(lane) = self.lane_mut(id) else { return };
            let done = lane.link.take_done();
            self.lane_done(id, done);
            let Some(lane) = self.lane_mut(id) else { return };
            match lane.link.poll_event() {
                Some(link::Event::Up(last)) => self.lane_up(id, last, now),
                Some(link::Event::Down(refused)) => self.lane_down(id, refused),
                None => break,
            }
        }
        let mut commands = Vec::new();
        let Some(lane) = self.lane_mut(id) else { return };
        while let Some(command) = lane.link.poll_command() {
            commands.push(command);
        }
        self.actions.extend(commands.into_iter().map(|command| Action::Link(id, command)));
        self.list_lane(id);
    }

    /// The peer has lines.
    fn lane_done(&mut self, id: LaneId, done: Count) {
        if done.lines == 0 {
            return;
        }
        let Some(node) = &mut self.nodes[id.node.0 as usize] else { return };
        let Body::Forward(forward) = &mut node.body else { return };
        let Some(lane) = forward.lanes.get_mut(usize::from(id.lane)) else { return };
        lane.refusals = 0;
        lane.gap = None;
        let bytes = usize::try_from(done.bytes).unwrap_or(usize::MAX);
        let count = lane.queue.advance(bytes, &mut self.budget);
        self.settle(id, count, None);
    }

    /// Lines may be sent. A logweir says which it has already.
    fn lane_up(&mut self, id: LaneId, last: Option<Option<u64>>, now: Mono) {
        let name = self.name_of(id.node);
        let held = self.feeds.get(&id).and_then(|f| self.spool(f.spool)).map(|spool| spool.held);
        let Some(lane) = self.lane_mut(id) else { return };
        lane.known = last.flatten();
        let Some(known) = lane.known else { return };
        if held.is_some_and(|held| known >= held.next) {
            let error = format!(
                "has line {known} of this spool, which itself ends before: the folder was \
                 restored from a backup or copied. End the daemon and begin anew with `logweir \
                 spool trim --new-identity`"
            );
            log::error!("{name}: the peer {error}");
            lane.link.failed(error, now);
            return;
        }
        self.drop_known(id, known);
    }

    /// Lets go of what the peer has already.
    fn drop_known(&mut self, id: LaneId, known: u64) {
        let Some(node) = &mut self.nodes[id.node.0 as usize] else { return };
        let Body::Forward(forward) = &mut node.body else { return };
        let Some(lane) = forward.lanes.get_mut(usize::from(id.lane)) else { return };
        let mut dropped = Count::default();
        while let Some(batch) = lane.queue.front() {
            let Some(place) = batch.place else { break };
            let bytes = if place.last <= known {
                batch.bytes.len()
            } else if place.first <= known && place.lines() == u64::from(batch.lines) {
                let nth = usize::try_from(known - place.first).unwrap_or(usize::MAX);
                memchr::memchr_iter(b'\n', &batch.bytes).nth(nth).map_or(0, |at| at + 1)
            } else {
                break;
            };
            let count = lane.queue.advance(bytes, &mut self.budget);
            dropped.add(count.lines, count.bytes);
            if place.last > known {
                break;
            }
        }
        self.settle(id, dropped, None);
    }

    /// The connection is gone: what the peer had not answered is sent again. A line that it
    /// refuses again and again is given up, for all behind it wait.
    fn lane_down(&mut self, id: LaneId, refused: bool) {
        let Some(node) = &mut self.nodes[id.node.0 as usize] else { return };
        let Body::Forward(forward) = &mut node.body else { return };
        let Some(lane) = forward.lanes.get_mut(usize::from(id.lane)) else { return };
        lane.queue.rewind();
        lane.blocked = false;
        lane.refusals = if refused { lane.refusals + 1 } else { 0 };
        if lane.refusals < REFUSALS_MOST {
            return;
        }
        lane.refusals = 0;
        let Some(first) = lane.queue.front() else { return };
        let bytes = memchr::memchr(b'\n', &first.bytes).map_or(first.bytes.len(), |at| at + 1);
        let lost = lane.queue.advance(bytes, &mut self.budget);
        log::error!("{}: a line was refused {REFUSALS_MOST} times and is given up", node.name);
        self.settle(id, lost, Some(Reason::SendError));
    }

    // ---- the end

    /// Ends the links of an output to which nothing more can come; those with lines left go on,
    /// unless another output sends these.
    pub(super) fn end_lanes(&mut self, node: NodeId, given_up: bool, now: Mono) {
        let fed = self.is_fed(node);
        let done = !fed || self.feeds_are_done(node);
        let succeeded = self.is_succeeded(node);
        let Some(Some(entry)) = self.nodes.get_mut(node.0 as usize) else { return };
        let Body::Forward(forward) = &mut entry.body else { return };
        let count = u16::try_from(forward.lanes.len()).unwrap_or(u16::MAX);
        for lane in &mut forward.lanes {
            if given_up {
                lane.link.abort();
            } else if succeeded || (done && lane.queue.is_empty()) {
                lane.link.end(now);
            }
        }
        for lane in 0..count {
            self.pump_lane(LaneId { node, lane }, now);
        }
    }
}
