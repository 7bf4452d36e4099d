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

use super::Engine;
use super::lane::Lane;

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
    /// many it got. With `last`, nobody else will want them, and they need not stay.
    ///
    /// # Errors
    /// As for [`Self::write`].
    fn share(&mut self, slot: usize, most: usize, last: bool, lane: LaneId) -> io::Result<usize>;

    /// Writes bytes to a child. Returns how many it got.
    ///
    /// # Errors
    /// `WouldBlock` if its pipe has no room; anything else if it has no reader.
    fn write(&mut self, lane: LaneId, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Has [`Engine::writable`] called for a child in a moment.
    fn retry(&mut self, lane: LaneId);

    /// The bytes that a child has not read; `None` if that cannot be told.
    fn unread(&self, lane: LaneId) -> Option<usize>;
}

/// The pieces that are held, and who is behind.
#[derive(Debug)]
pub(super) struct Fan {
    /// What the pipes hold, by slot.
    pieces: [Option<Piece>; PIECES_HELD],
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

/// What a pipe holds.
#[derive(Debug)]
struct Piece {
    /// The bytes are kept, so that their address stands for them.
    bytes: Bytes,
    /// How many more children are expected to want it.
    wanted: u32,
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

    /// Decides how `bytes` are given to a child, which are those after the first `offset` of a
    /// batch. A new piece is worth it if `wanted` children, more than one, want it.
    fn plan(&mut self, bytes: &Bytes, offset: usize, wanted: u32, pipes: &mut impl Pipes) -> Next {
        let at = bytes.as_ptr().addr();
        for (slot, piece) in self.pieces.iter().enumerate() {
            let Some(Piece { bytes: piece, .. }) = piece else { continue };
            let start = piece.as_ptr().addr();
            if at == start {
                return Next::Share(slot, piece.len().min(bytes.len()));
            }
            if (start..start + piece.len()).contains(&at) {
                return Next::Rest((start + piece.len() - at).min(bytes.len()));
            }
        }
        let (most, least) = self.sizes;
        let part = bytes.len().min(most - offset % most);
        match (wanted > 1 && bytes.len() >= least, offset.is_multiple_of(most)) {
            (true, true) => self.hold(bytes.slice(..part), wanted, pipes),
            // Others do not begin in the middle.
            (true, false) => Next::Rest(part),
            (false, _) => Next::Write,
        }
    }

    /// Has a pipe hold a new piece, in place of the oldest.
    fn hold(&mut self, bytes: Bytes, wanted: u32, pipes: &mut impl Pipes) -> Next {
        let slot = self.next;
        self.pieces[slot] = None;
        match pipes.hold(slot, &bytes) {
            Ok(held) if held >= self.sizes.1 => {
                self.pieces[slot] = Some(Piece { bytes: bytes.slice(..held), wanted });
                self.next = (slot + 1) % PIECES_HELD;
                Next::Share(slot, held)
            }
            _ => Next::Write,
        }
    }

    /// Gives a piece to a child. The last that wants it gets the pages themselves.
    fn share(
        &mut self,
        slot: usize,
        most: usize,
        lane: LaneId,
        pipes: &mut impl Pipes,
    ) -> io::Result<usize> {
        self.used = true;
        let Some(piece) = &mut self.pieces[slot] else { return Ok(0) };
        let last = piece.wanted <= 1 && most == piece.bytes.len();
        let given = pipes.share(slot, most, last, lane)?;
        piece.wanted = piece.wanted.saturating_sub(1);
        if last {
            self.pieces[slot] = None;
        }
        Ok(given)
    }

    fn release(&mut self, pipes: &mut impl Pipes) {
        for (slot, piece) in self.pieces.iter_mut().enumerate() {
            if piece.take().is_some() {
                pipes.release(slot);
            }
        }
    }
}

impl Engine {
    /// Writes to children that were named as ready, until none has lines or room left. They take
    /// turns, so that those that want the same piece get it one after another. `lanes` is empty
    /// afterwards.
    pub fn write_children(&mut self, lanes: &mut Vec<LaneId>, pipes: &mut impl Pipes, now: Mono) {
        self.cx.now = now;
        lanes.retain(|lane| self.take_up(*lane));
        let several = lanes.len() > 1;
        while !lanes.is_empty() {
            lanes.retain(|lane| self.write_child(*lane, several, pipes));
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

    /// Writes a piece to a child; `several` if others are written to as well. Returns whether it
    /// may take more.
    fn write_child(&mut self, lane: LaneId, several: bool, pipes: &mut impl Pipes) -> bool {
        let gone = match self.write_some(lane, several, pipes) {
            Ok(0) => false,
            Ok(bytes) => {
                self.wrote(lane, bytes);
                return true;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.write_blocked(lane);
                false
            }
            // EPIPE: the pipe has no reader. What it holds can still be counted.
            Err(_) => true,
        };
        // Whether it is behind may have changed.
        self.cx.touch(lane.node);
        let unread = pipes.unread(lane);
        match (gone, unread) {
            (true, unread) => self.stdin_closed(lane, unread.unwrap_or(0)),
            (false, Some(unread)) => self.unread(lane, unread),
            (false, None) => {}
        }
        false
    }

    /// Returns whether a child has no room for so many bytes, but reads and will have some: then it
    /// can have them without a copy.
    fn has_room_soon(&self, lane: LaneId, bytes: usize, pipes: &impl Pipes) -> bool {
        let Some(child) = self.graph.lane(lane).and_then(Lane::child) else { return false };
        let now = self.cx.now;
        !child.surely_has_room(bytes, None)
            && child.reads(now)
            && !child.surely_has_room(bytes, pipes.unread(lane))
    }

    /// One system call's worth; 0 if nothing is left.
    fn write_some(
        &mut self,
        lane: LaneId,
        several: bool,
        pipes: &mut impl Pipes,
    ) -> io::Result<usize> {
        let Some(queue) = self.graph.lane(lane).map(|lane| &lane.queue) else { return Ok(0) };
        let Some(bytes) = queue.unwritten_bytes() else { return Ok(0) };
        // Children that are behind will want what they hold as well.
        let wanted = match several || self.fan.has_behind(lane) {
            true => queue.unwritten_holders(&self.cx.budget),
            false => 1,
        };
        match self.fan.plan(&bytes, queue.offset(), wanted, pipes) {
            Next::Share(_, most) if self.has_room_soon(lane, most, pipes) => {
                pipes.retry(lane);
                Err(ErrorKind::WouldBlock.into())
            }
            Next::Share(slot, most) => self.fan.share(slot, most, lane, pipes),
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
