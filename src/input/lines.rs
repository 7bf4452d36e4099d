//! Extracting whole lines from a stream of bytes that arrives in pieces: a child's output, a FIFO,
//! standard input.

use bytes::Bytes;

use super::InputCounts;
use crate::limits::LONG_LINE;

/// Buffers an unfinished line until its end arrives.
#[derive(Debug)]
pub struct LineBuffer {
    max_line: usize,
    /// The unfinished line; never longer than `max_line`.
    partial: Vec<u8>,
    /// How many bytes of that line have been cut off.
    cut: usize,
    /// The counts since they were last taken.
    pub counts: InputCounts,
}

impl LineBuffer {
    /// Creates a buffer that truncates lines to `max_line` bytes.
    pub fn new(max_line: usize) -> Self {
        Self { max_line, partial: Vec::new(), cut: 0, counts: InputCounts::default() }
    }

    /// Processes a piece of the stream; returns the lines it completes and their number.
    pub fn push(&mut self, mut piece: &[u8]) -> Option<(Bytes, u32)> {
        let last = memchr::memrchr(b'\n', piece);
        let room = |at| self.partial.len() + at + 1;
        let gathered = self.partial.len() >= LONG_LINE;
        let mut done = Vec::with_capacity(last.filter(|_| !gathered).map_or(0, room));
        let mut lines = 0;
        while let Some(at) = memchr::memchr(b'\n', piece) {
            self.extend_partial(&piece[..at]);
            self.finish_line(&mut done);
            lines += 1;
            piece = &piece[at + 1..];
        }
        self.extend_partial(piece);
        (lines > 0).then(|| (done.into(), lines))
    }

    /// Handles the end of the stream: returns its last line, if no newline ended it.
    pub fn end(&mut self) -> Option<(Bytes, u32)> {
        if self.partial.is_empty() {
            return None;
        }
        let mut done = Vec::new();
        self.finish_line(&mut done);
        Some((done.into(), 1))
    }

    /// The size of the unfinished line in bytes; at most `max_line`.
    pub fn held(&self) -> usize {
        self.partial.len()
    }

    fn extend_partial(&mut self, piece: &[u8]) {
        let room = self.max_line - self.partial.len();
        let kept = piece.len().min(room);
        self.partial.extend_from_slice(&piece[..kept]);
        self.cut += piece.len() - kept;
    }

    fn finish_line(&mut self, done: &mut Vec<u8>) {
        if self.cut > 0 {
            self.counts.cut(std::mem::take(&mut self.cut));
        }
        // A long one is not copied, and its memory goes with it.
        if self.partial.len() >= LONG_LINE && done.is_empty() {
            *done = std::mem::take(&mut self.partial);
        } else {
            done.extend_from_slice(&self.partial);
            self.partial.clear();
        }
        done.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_line_is_cut_once_and_its_rest_is_no_line() {
        let mut buffer = LineBuffer::new(4);
        assert!(buffer.push(b"abcdef").is_none());
        assert!(buffer.push(b"ghi").is_none());
        assert_eq!(buffer.push(b"j\nk\n"), Some((Bytes::from_static(b"abcd\nk\n"), 2)));
        assert_eq!((buffer.counts.oversize, buffer.counts.oversize_bytes), (1, 6));
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_gives_the_same_lines(
            stream in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(0..200_usize, 0..10),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let mut buffer = LineBuffer::new(10);
            let mut got = Vec::new();
            for pair in cuts.windows(2) {
                if let Some((bytes, _)) = buffer.push(&stream[pair[0]..pair[1]]) {
                    got.extend_from_slice(&bytes);
                }
            }
            if let Some((bytes, _)) = buffer.end() {
                got.extend_from_slice(&bytes);
            }
            let body = stream.strip_suffix(b"\n").unwrap_or(&stream);
            let mut want = Vec::new();
            if !stream.is_empty() {
                for line in body.split(|&byte| byte == b'\n') {
                    want.extend_from_slice(&line[..line.len().min(10)]);
                    want.push(b'\n');
                }
            }
            prop_assert_eq!(got, want);
        }
    }
}
