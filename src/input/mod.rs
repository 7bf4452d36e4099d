//! From what the kernel gave us to whole lines: no system calls, only bytes and counts.

pub mod datagrams;
pub mod lines;
pub mod messages;

use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use crate::batch::{Batch, Span};
use crate::parse::syslog::Faults;
use crate::sources::{Source, Sources};

/// Whole lines in shared memory.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The lines, each with its newline.
    pub bytes: Bytes,
    /// How many.
    pub lines: u32,
    /// Who sent which, where that is known.
    pub sources: Option<Sources>,
    /// Where they stand at the sender, where it said so.
    pub origin: Option<Span>,
}

impl Piece {
    /// Lines of which nothing else is known.
    pub fn new(bytes: Bytes, lines: u32) -> Self {
        Self { bytes, lines, sources: None, origin: None }
    }

    /// The piece as a batch of an input.
    pub fn into_batch(self, input: &Arc<str>, received: SystemTime) -> Batch {
        let Self { bytes, lines, sources, origin } = self;
        Batch { sources, origin, ..Batch::new(bytes, lines, Arc::clone(input), received) }
    }
}

/// Gathers the lines of an input into pieces.
pub trait Gather {
    /// The pieces that are full; what is in the current one stays for more to come.
    fn full(&mut self) -> std::vec::Drain<'_, Piece>;

    /// How many pieces are full.
    fn full_count(&self) -> usize;

    /// Makes all lines gathered a full piece.
    fn seal(&mut self);

    /// Gives memory back that nobody holds, for when the stream rests.
    fn rest(&mut self);

    /// What was counted since it was last taken.
    fn counts(&mut self) -> &mut InputCounts;
}

/// Makes lines of datagrams.
pub trait Intake: Gather {
    /// The buffer into which the next message is to be received, behind what is there.
    fn buffer(&mut self) -> &mut BytesMut;

    /// The buffer as the last call of [`Self::buffer`] gave it.
    fn current(&mut self) -> &mut BytesMut;

    /// Takes in the message that was received into the buffer from byte `start` on; each
    /// `segment` bytes of it are a datagram.
    fn take_in_place(&mut self, start: usize, segment: usize, source: Option<Source>);

    /// Takes in a message that stands elsewhere, by copying it.
    fn take(&mut self, message: &[u8], segment: usize, source: Option<Source>);

    /// Bytes gathered and not yet taken.
    fn waiting(&self) -> usize;

    /// How many full pieces a receiver in a flood hands over at once.
    fn handed_over_together(&self) -> usize;
}

/// Pieces that were made elsewhere, in their order.
#[derive(Debug, Default)]
pub struct Pieces {
    full: Vec<Piece>,
    counts: InputCounts,
}

impl Pieces {
    /// Adds a piece.
    pub fn push(&mut self, piece: Piece) {
        self.full.push(piece);
    }
}

impl Gather for Pieces {
    fn full(&mut self) -> std::vec::Drain<'_, Piece> {
        self.full.drain(..)
    }

    fn full_count(&self) -> usize {
        self.full.len()
    }

    fn seal(&mut self) {}

    fn rest(&mut self) {}

    fn counts(&mut self) -> &mut InputCounts {
        &mut self.counts
    }
}

/// What an input knows beside the lines themselves. Sent along with each batch as what came
/// since the last one, and added up by the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct InputCounts {
    /// Datagrams received.
    pub datagrams: u64,
    /// Datagrams and messages without a byte, in which there is no line.
    pub empty_datagrams: u64,
    /// Lines cut to `max_line`.
    pub oversize: u64,
    /// Bytes cut off those lines.
    pub oversize_bytes: u64,
    /// Datagrams that the kernel dropped for want of room.
    pub kernel_drops: u64,
    /// Lines missing by the sequence numbers in them.
    pub sequence_lost: u64,
    /// Senders whose sequence numbers are followed no more, because others came.
    pub senders_forgotten: u64,
    /// Messages that made no sense, wrong counts of octets among them.
    pub malformed: u64,
    /// Connections taken.
    pub connections: u64,
    /// Connections refused because there were too many.
    pub refused: u64,
    /// Followed files that were found truncated.
    pub truncated: u64,
    /// Followed files that were not read, or not to their end.
    pub unread: u64,
    /// Times that changes of followed files were missed, so that all were looked at.
    pub overflows: u64,
    /// Messages that were not understood and went on as they were.
    pub faults: Faults,
}

impl InputCounts {
    /// Adds what came since.
    pub fn add(&mut self, other: &Self) {
        self.datagrams += other.datagrams;
        self.empty_datagrams += other.empty_datagrams;
        self.oversize += other.oversize;
        self.oversize_bytes += other.oversize_bytes;
        self.kernel_drops += other.kernel_drops;
        self.sequence_lost += other.sequence_lost;
        self.senders_forgotten += other.senders_forgotten;
        self.malformed += other.malformed;
        self.connections += other.connections;
        self.refused += other.refused;
        self.truncated += other.truncated;
        self.unread += other.unread;
        self.overflows += other.overflows;
        self.faults.add(&other.faults);
    }

    /// Counts a line that was cut by so many bytes.
    pub fn cut(&mut self, bytes: usize) {
        self.oversize += 1;
        self.oversize_bytes += bytes as u64;
    }
}
