//! Lines that are written together: the share of each file.

use std::io::IoSlice;
use std::ops::Range;

use bytes::Bytes;

use super::Written;
use crate::batch::Batch;
use crate::format::long::{Long, Part};
use crate::ledger::Count;

/// A run of at least this many bytes is written in place; shorter ones are copied.
const RUN_SHARED: usize = 4096;

/// Lines that are written together.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) shares: Vec<Share>,
    /// The memory that the names of their files take.
    pub(super) names: usize,
    /// Their bytes as received.
    pub(super) bytes: usize,
    pub(super) written: Written,
}

/// What goes to one file in a round.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) route: usize,
    /// True if the file can never be written.
    pub(super) refused: bool,
    /// The lines as received.
    pub(super) received: Count,
    /// How many more bytes the file may take.
    pub(super) room: u64,
    /// The bytes to write.
    pub(super) bytes: u64,
    /// The copied part of them.
    copied: Vec<u8>,
    chunks: Vec<Chunk>,
}

#[derive(Debug)]
enum Chunk {
    Shared(Bytes),
    Copied(Range<usize>),
    /// Text of a long line, escaped when it is written.
    Text(Part),
}

impl Share {
    /// Creates a share without lines; `room` is `None` if the file can never be written.
    pub(super) fn new(route: usize, room: Option<u64>) -> Self {
        Self {
            route,
            refused: room.is_none(),
            received: Count::default(),
            room: room.unwrap_or(0),
            bytes: 0,
            copied: Vec::new(),
            chunks: Vec::new(),
        }
    }

    /// Adds a run of lines unchanged.
    pub(super) fn add(&mut self, batch: &Batch, run: Range<usize>) {
        self.bytes += run.len() as u64;
        if run.len() >= RUN_SHARED {
            self.chunks.push(Chunk::Shared(batch.bytes.slice(run)));
        } else {
            self.copy(&batch.bytes[run]);
        }
    }

    /// Adds a formatted line.
    pub(super) fn add_formatted(&mut self, line: &[u8]) {
        self.bytes += line.len() as u64;
        self.copy(line);
    }

    /// Adds a long line.
    pub(super) fn add_long(&mut self, long: Long) {
        self.bytes += long.len as u64 + 1;
        for part in long.parts {
            match part {
                Part::Plain(bytes) if bytes.len() < RUN_SHARED => self.copy(&bytes),
                Part::Plain(bytes) => self.chunks.push(Chunk::Shared(bytes)),
                Part::Json(_) => self.chunks.push(Chunk::Text(part)),
            }
        }
        self.copy(b"\n");
    }

    fn copy(&mut self, bytes: &[u8]) {
        let start = self.copied.len();
        self.copied.extend_from_slice(bytes);
        match self.chunks.last_mut() {
            Some(Chunk::Copied(range)) if range.end == start => range.end = self.copied.len(),
            _ => self.chunks.push(Chunk::Copied(start..self.copied.len())),
        }
    }

    /// Writes everything by `append`, with text of long lines in pieces.
    ///
    /// # Errors
    /// That of `append`; what is behind is not written.
    pub(super) fn write<E>(
        &self,
        mut append: impl FnMut(&mut [IoSlice<'_>]) -> Result<(), E>,
    ) -> Result<(), E> {
        for run in self.chunks.chunk_by(|a, b| a.slice(self).is_some() && b.slice(self).is_some()) {
            if let [Chunk::Text(part)] = run {
                let mut part = part.clone();
                while let Some(piece) = part.take_piece() {
                    append(&mut [IoSlice::new(&piece)])?;
                }
                continue;
            }
            let slices = run.iter().filter_map(|chunk| chunk.slice(self));
            append(&mut slices.collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

impl Chunk {
    /// What is written of it as it is.
    fn slice<'c>(&'c self, share: &'c Share) -> Option<IoSlice<'c>> {
        match self {
            Self::Shared(bytes) => Some(IoSlice::new(bytes)),
            Self::Copied(range) => Some(IoSlice::new(&share.copied[range.clone()])),
            Self::Text(_) => None,
        }
    }
}
