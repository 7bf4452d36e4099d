//! Lines that are written together: what goes to each file.

use std::io::IoSlice;
use std::ops::Range;

use bytes::Bytes;

use super::Written;
use crate::batch::Batch;
use crate::ledger::Count;

/// A run of lines of so many bytes is written from where it stands; shorter ones are copied.
const RUN_SHARED: usize = 4096;

/// Lines that are written together.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) shares: Vec<Share>,
    /// The memory of the names of their files.
    pub(super) names: usize,
    /// Their bytes as they were received.
    pub(super) bytes: usize,
    pub(super) written: Written,
}

/// What goes to one file in a round.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) route: usize,
    /// Whether the file can never be written.
    pub(super) refused: bool,
    /// The lines as they were received.
    pub(super) received: Count,
    /// How many more bytes the file may take.
    pub(super) room: u64,
    /// Bytes to be written.
    pub(super) bytes: u64,
    /// What is copied of them.
    copied: Vec<u8>,
    chunks: Vec<Chunk>,
}

#[derive(Debug)]
enum Chunk {
    Shared(Bytes),
    Copied(Range<usize>),
}

impl Share {
    /// A share without lines; `room` is `None` where the file can never be written.
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

    /// Adds a run of lines as they are.
    pub(super) fn add(&mut self, batch: &Batch, run: Range<usize>) {
        self.bytes += run.len() as u64;
        if run.len() >= RUN_SHARED {
            self.chunks.push(Chunk::Shared(batch.bytes.slice(run)));
        } else {
            self.copy(&batch.bytes[run]);
        }
    }

    /// Adds a line as it was formatted.
    pub(super) fn add_formatted(&mut self, line: &[u8]) {
        self.bytes += line.len() as u64;
        self.copy(line);
    }

    fn copy(&mut self, bytes: &[u8]) {
        let start = self.copied.len();
        self.copied.extend_from_slice(bytes);
        match self.chunks.last_mut() {
            Some(Chunk::Copied(range)) if range.end == start => range.end = self.copied.len(),
            _ => self.chunks.push(Chunk::Copied(start..self.copied.len())),
        }
    }

    /// What is to be written.
    pub(super) fn slices(&self) -> Vec<IoSlice<'_>> {
        self.chunks
            .iter()
            .map(|chunk| match chunk {
                Chunk::Shared(bytes) => IoSlice::new(bytes),
                Chunk::Copied(range) => IoSlice::new(&self.copied[range.clone()]),
            })
            .collect()
    }
}
