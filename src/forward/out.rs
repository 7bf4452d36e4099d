//! Bytes queued for a connection, in pieces that are never copied again. Long lines become pieces
//! only when they are about to be written.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use crate::format::long::{Long, Part};

/// The bytes to write, oldest first.
#[derive(Debug, Default)]
pub struct Out {
    /// Those that are ready to be written; not empty while there are others.
    pieces: VecDeque<Bytes>,
    /// What comes after them, from the first text that is not escaped yet.
    behind: VecDeque<Part>,
    bytes: usize,
}

impl Out {
    /// Appends a piece.
    pub fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        match self.behind.is_empty() {
            true => self.pieces.push_back(piece),
            false => self.behind.push_back(Part::Plain(piece)),
        }
    }

    /// Appends a long line.
    pub fn push_long(&mut self, long: Long) {
        self.bytes += long.len;
        self.behind.extend(long.parts);
        self.make_ready();
    }

    /// The pieces that are ready to be written; none only if there is nothing to write.
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
                break;
            }
            bytes -= first.len();
            self.pieces.pop_front();
        }
        self.make_ready();
    }

    /// Moves up what need not be escaped, and escapes a piece if there would be none.
    fn make_ready(&mut self) {
        while let Some(next) = self.behind.front_mut() {
            if matches!(next, Part::Json(_)) && !self.pieces.is_empty() {
                return;
            }
            match next.take_piece() {
                Some(piece) => self.pieces.push_back(piece),
                None => drop(self.behind.pop_front()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_made_as_it_is_written_and_keeps_its_place() {
        let text = Bytes::from(vec![b'"'; 1 << 20]);
        let parts = [Part::Plain("{".into()), Part::Json(text.clone()), Part::Plain("}".into())];
        let len = parts.iter().map(Part::len).sum();
        let mut out = Out::default();
        out.push("first ".into());
        out.push_long(Long { parts: parts.into(), len });
        out.push(" last".into());
        assert_eq!(out.len(), 6 + 2 + (2 << 20) + 5);
        let mut written = Vec::new();
        while !out.is_empty() {
            let ready: usize = out.pieces().iter().map(Bytes::len).sum();
            assert!((1..1 << 19).contains(&ready), "{ready} bytes are ready");
            let piece = out.pieces()[0].clone();
            let some = piece.len().div_ceil(2);
            written.extend_from_slice(&piece[..some]);
            out.wrote(some);
        }
        let want = [&b"first {"[..], &b"\\\"".repeat(1 << 20), b"} last"].concat();
        assert!(written == want);
    }
}
