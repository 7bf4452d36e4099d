//! Bytes on their way to a connection, in pieces that are never copied again.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

/// What is to be written, oldest first.
#[derive(Debug, Default)]
pub struct Out {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

impl Out {
    /// Puts a piece behind the others.
    pub fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        self.pieces.push_back(piece);
    }

    /// The pieces.
    pub fn pieces(&self) -> &VecDeque<Bytes> {
        &self.pieces
    }

    /// Bytes in all pieces together.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// So many bytes were written.
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
