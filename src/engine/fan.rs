//! Writing to children. Where several take the same lines, the kernel holds one copy for all.
//!
//! A piece of a batch is written once, into a pipe that only the daemon has, and from there the
//! kernel gives its pages to each child's pipe (tee(2)). A child that has no room for the whole
//! piece gets the rest of it written, and the next piece as pages again. Pieces stay for a while,
//! so that a child that is a little behind finds them too.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, IoSlice};

use bytes::Bytes;

use crate::clock::Mono;
use crate::ids::LaneId;
use crate::limits::{PIECE, PIECES_HELD, SHARED_MIN, SLICES_MAX};

use super::{Engine, lane::Lane};

/// The children's pipes, and those that pieces are held in, as the driver has them.
pub trait Pipes {
    /// Puts bytes into the pipe `slot` of the daemon's own, in place of what it holds. Returns how
    /// many of them it holds now.
    ///
    /// # Errors
    /// The system's; nothing is held then.
    fn hold(&mut self, slot: usize, bytes: &[u8]) -> io::Result<usize>;

    /// Empties that pipe.
    fn release(&mut self, slot: usize);

    /// Gives a child the first bytes of that pipe, at most `most`, without a copy. Returns how
    /// many it got.
    ///
    /// # Errors
    /// As for [`Self::write`].
    fn share(&mut self, slot: usize, most: usize, lane: LaneId) -> io::Result<usize>;

    /// Writes bytes to a child. Returns how many it got.
    ///
    /// # Errors
    /// `WouldBlock` if its pipe has no room; anything else if it has no reader.
    fn write(&mut self, lane: LaneId, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// The bytes that a child has not read; `None` if that cannot be told.
    fn unread(&self, lane: LaneId) -> Option<usize>;
}

/// The pieces that are held, and who is behind.
#[derive(Debug)]
pub(super) struct Fan {
    /// What the pipes hold, by slot. The bytes are kept, so that an address stands for them.
    pieces: [Option<Bytes>; PIECES_HELD],
    /// The slot to be filled next.
    next: usize,
    /// Children whose pipes have no room.
    behind: BTreeSet<LaneId>,
    /// True if a piece was given to a child since it was asked.
    used: bool,
    /// Bytes of a piece, at most and at least.
    sizes: (usize, usize),
}

impl Default for Fan {
    fn default() -> Self {
        let (pieces, behind) = (Default::default(), BTreeSet::new());
        Self { pieces, next: 0, behind, used: false, sizes: (PIECE, SHARED_MIN) }
    }
}

/// What to write next.
enum Next {
    /// The first bytes of what a slot holds, this many.
    Share(usize, usize),
    /// What is left of a piece, this many bytes, so that the next piece can be shared.
    Rest(usize),
    /// Lines that no piece has.
    Write,
}

impl Fan {
    /// Notes that a child's pipe has no room, or that it has some again or is gone.
    pub(super) fn set_behind(&mut self, lane: LaneId, behind: bool) {
        match behind {
            true => self.behind.insert(lane),
            false => self.behind.remove(&lane),
        };
    }

    /// Returns whether another child is behind.
    fn has_behind(&self, lane: LaneId) -> bool {
        self.behind.len() > usize::from(self.behind.contains(&lane))
    }

    /// Decides how `bytes` are given to a child. With `new`, others take them too, so that a new
    /// piece is worth it.
    fn plan(&mut self, bytes: &Bytes, new: bool, pipes: &mut impl Pipes) -> Next {
        let at = bytes.as_ptr().addr();
        for (slot, piece) in self.pieces.iter().enumerate() {
            let Some(piece) = piece else { continue };
            let start = piece.as_ptr().addr();
            if at == start {
                return Next::Share(slot, piece.len().min(bytes.len()));
            }
            if (start..start + piece.len()).contains(&at) {
                return Next::Rest((start + piece.len() - at).min(bytes.len()));
            }
        }
        let (most, least) = self.sizes;
        match new && bytes.len() >= least {
            true => self.hold(bytes.slice(..bytes.len().min(most)), pipes),
            false => Next::Write,
        }
    }

    /// Has a pipe hold a new piece, in place of the oldest.
    fn hold(&mut self, piece: Bytes, pipes: &mut impl Pipes) -> Next {
        let slot = self.next;
        self.pieces[slot] = None;
        match pipes.hold(slot, &piece) {
            Ok(held) if held >= self.sizes.1 => {
                self.pieces[slot] = Some(piece.slice(..held));
                self.next = (slot + 1) % PIECES_HELD;
                Next::Share(slot, held)
            }
            _ => Next::Write,
        }
    }

    fn release(&mut self, pipes: &mut impl Pipes) {
        for (slot, piece) in self.pieces.iter_mut().enumerate() {
            if piece.take().is_some() {
                pipes.release(slot);
            }
        }
    }
}

impl Lane {
    /// The address of its first unwritten byte, if its sink takes lines.
    fn place(&self) -> Option<usize> {
        self.queue.unwritten_bytes().map(|bytes| bytes.as_ptr().addr())
    }
}

impl Engine {
    /// Writes to children that were named as ready, until none has lines or room left. `lanes` is
    /// empty afterwards.
    pub fn write_children(&mut self, lanes: &mut Vec<LaneId>, pipes: &mut impl Pipes, now: Mono) {
        self.cx.now = now;
        let mut ready = Vec::with_capacity(lanes.len());
        for lane in lanes.drain(..) {
            let Some(entry) = self.graph.lane_mut(lane) else { continue };
            if entry.take_up() {
                ready.extend(entry.place().map(|place| (place, lane)));
            }
        }
        ready.sort_unstable();
        for group in ready.chunk_by(|a, b| a.0 == b.0) {
            for (number, (_, lane)) in group.iter().enumerate() {
                self.write_child(*lane, number + 1 < group.len(), pipes);
            }
        }
        // Nobody is behind, so nobody will ask for a piece again.
        if self.fan.behind.is_empty() {
            self.fan.release(pipes);
        }
    }

    /// Makes pieces of other sizes, at most and at least.
    #[cfg(test)]
    pub(crate) fn set_pieces(&mut self, most: usize, least: usize) {
        self.fan.sizes = (most, least);
    }

    /// Lets go of the pieces that nobody was given since the last call.
    pub fn rest_pieces(&mut self, pipes: &mut impl Pipes) {
        if !std::mem::take(&mut self.fan.used) {
            self.fan.release(pipes);
        }
    }

    /// Writes to a child. With `others`, more follow that want the same lines now.
    fn write_child(&mut self, lane: LaneId, others: bool, pipes: &mut impl Pipes) {
        let gone = loop {
            match self.write_some(lane, others, pipes) {
                Ok(0) => break false,
                Ok(bytes) => self.wrote(lane, bytes),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.write_blocked(lane);
                    break false;
                }
                // EPIPE: the pipe has no reader. What it holds can still be counted.
                Err(_) => break true,
            }
        };
        // Whether it is behind may have changed.
        self.cx.touch(lane.node);
        let unread = pipes.unread(lane);
        match (gone, unread) {
            (true, unread) => self.stdin_closed(lane, unread.unwrap_or(0)),
            (false, Some(unread)) => self.unread(lane, unread),
            (false, None) => {}
        }
    }

    /// One system call's worth; 0 if nothing is left.
    fn write_some(
        &mut self,
        lane: LaneId,
        others: bool,
        pipes: &mut impl Pipes,
    ) -> io::Result<usize> {
        let Some(queue) = self.graph.lane(lane).map(|lane| &lane.queue) else { return Ok(0) };
        let Some(bytes) = queue.unwritten_bytes() else { return Ok(0) };
        // Children that are behind will want what they hold as well.
        let new = (others || self.fan.has_behind(lane)) && queue.shares_unwritten(&self.cx.budget);
        match self.fan.plan(&bytes, new, pipes) {
            Next::Share(slot, most) => {
                self.fan.used = true;
                pipes.share(slot, most, lane)
            }
            Next::Rest(most) => pipes.write(lane, &[IoSlice::new(&bytes[..most])]),
            Next::Write => {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let slots = slices.iter_mut().zip(queue.slices());
                let count = slots.map(|(slot, bytes)| *slot = IoSlice::new(bytes)).count();
                pipes.write(lane, &slices[..count])
            }
        }
    }
}
