//! From the kernel's bytes to whole lines: no system calls, only bytes and counts.

pub mod datagrams;
pub mod lines;
pub mod messages;

use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use crate::batch::{Batch, Span};
use crate::minute::Minute;
use crate::parse::syslog::Faults;
use crate::sources::{Source, Sources};

/// Whole lines in shared memory.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The lines, each with its newline.
    pub bytes: Bytes,
    /// The number of lines.
    pub lines: u32,
    /// The senders, if known.
    pub sources: Option<Sources>,
    /// The lines' numbers at the sender, if it sent them.
    pub origin: Option<Span>,
    /// The minute in which a logweir first received the lines, if their sender knows.
    pub minute: Option<Minute>,
}

impl Piece {
    /// Lines without any other information.
    pub fn new(bytes: Bytes, lines: u32) -> Self {
        Self { bytes, lines, sources: None, origin: None, minute: None }
    }

    /// Converts the piece to a batch of an input.
    pub fn into_batch(self, input: &Arc<str>, received: SystemTime) -> Batch {
        let Self { bytes, lines, sources, origin, minute } = self;
        let batch = Batch::new(bytes, lines, Arc::clone(input), received);
        let minute = minute.map_or(batch.minute, |minute| minute.checked(received));
        Batch { sources, origin, minute, ..batch }
    }
}

/// Gathers the lines of an input into pieces.
pub trait Gather {
    /// The full pieces; the current one waits for more lines.
    fn full(&mut self) -> std::vec::Drain<'_, Piece>;

    /// The number of full pieces.
    fn full_count(&self) -> usize;

    /// Makes all lines gathered so far a full piece.
    fn seal(&mut self);

    /// Releases unused memory, for when the stream pauses.
    fn rest(&mut self);

    /// The counts since they were last taken.
    fn counts(&mut self) -> &mut InputCounts;
}

/// How much of the kernel's buffer an input is to leave data in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Throttle {
    /// None of it.
    #[default]
    Off,
    /// Half of it: the other half is for bursts.
    Half,
    /// Nearly all of it: nobody needs what is read now yet.
    Most,
    /// All of it, even if it is full: what is read now would be dropped.
    Whole,
}

/// Makes lines from datagrams.
pub trait Intake: Gather {
    /// The buffer into which to receive the next message, after its present content.
    fn buffer(&mut self) -> &mut BytesMut;

    /// The buffer returned by the last call of [`Self::buffer`].
    fn current(&mut self) -> &mut BytesMut;

    /// Processes the message that was received into the buffer from byte `start` on; each `segment`
    /// bytes of it are a datagram.
    fn take_in_place(&mut self, start: usize, segment: usize, source: Option<Source>);

    /// Processes a message that is stored elsewhere, by copying it.
    fn take(&mut self, message: &[u8], segment: usize, source: Option<Source>);

    /// Bytes gathered and not yet taken.
    fn waiting(&self) -> usize;

    /// The number of full pieces a receiver sends at once in a flood.
    fn handed_over_together(&self) -> usize;
}

/// Pieces made elsewhere, in order.
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

/// What an input counts besides the lines themselves. Sent with each batch as the difference since
/// the previous one, and summed by the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct InputCounts {
    /// Datagrams received.
    pub datagrams: u64,
    /// Datagrams and messages without content, which hold no line.
    pub empty_datagrams: u64,
    /// Lines truncated to `max_line`.
    pub oversize: u64,
    /// Bytes cut off those lines.
    pub oversize_bytes: u64,
    /// Datagrams that the kernel dropped for lack of buffer space.
    pub kernel_drops: u64,
    /// Lines missing according to their sequence numbers.
    pub sequence_lost: u64,
    /// Senders whose sequence numbers are no longer tracked, because of other senders.
    pub senders_forgotten: u64,
    /// Malformed messages, including wrong octet counts.
    pub malformed: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections refused because of the limit.
    pub refused: u64,
    /// Records that clients were asked to send again later, because a queue was full.
    pub deferred: u64,
    /// Followed files that were found truncated.
    pub truncated: u64,
    /// Followed files that were not read, or not to their end.
    pub unread: u64,
    /// How often changes of followed files were missed, so that all files had to be checked.
    pub overflows: u64,
    /// Messages with faults, passed on unchanged.
    pub faults: Faults,
}

impl InputCounts {
    /// Adds later counts.
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
        self.deferred += other.deferred;
        self.truncated += other.truncated;
        self.unread += other.unread;
        self.overflows += other.overflows;
        self.faults.add(&other.faults);
    }

    /// Counts a line that was truncated by this many bytes.
    pub fn cut(&mut self, bytes: usize) {
        self.oversize += 1;
        self.oversize_bytes += bytes as u64;
    }
}
