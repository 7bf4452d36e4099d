//! Bytes queued for a connection, in pieces that are never copied again.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

/// The bytes to write, oldest first.
#[derive(Debug, Default)]
pub struct Out {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

impl Out {
    /// Appends a piece.
    pub fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        self.pieces.push_back(piece);
    }

    /// The pieces.
    pub fn pieces(&self) -> &VecDeque<Bytes> {
        &self.pieces
    }

    /// The size of all pieces together, in bytes.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Returns whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Removes the first `bytes` bytes, which were written.
    pub fn wrote(&mut self, mut bytes: usize) {
        self.bytes -= bytes;
        while let Some(first) = self.pieces.front_mut() {
            if bytes < first.len() {
                first.advance(bytes);
                return;
            }
            bytes -= first.len();
            self.pieces.pop_front();
        }
    }
}
