//! Extracting raw lines from datagrams.
//!
//! A datagram holds any number of lines; its end is the end of its last line, with or without a
//! newline, so that two datagrams never merge. An empty datagram holds no line. Datagrams coalesced
//! by the kernel are split again by the size that it reports.

use bytes::BytesMut;

use super::{Gather, InputCounts, Intake, Piece};
use crate::batch::{Blocks, count_lines};
use crate::limits::DATAGRAM_MAX;
use crate::parse::sequence::GapTracker;
use crate::sources::Source;

/// Gathers the lines of datagrams into pieces of shared memory.
#[derive(Debug)]
pub struct RawLines {
    max_line: usize,
    blocks: Blocks,
    full: Vec<Piece>,
    gaps: Option<GapTracker>,
    counts: InputCounts,
}

impl RawLines {
    /// Creates an intake that truncates lines to `max_line` bytes.
    pub fn new(max_line: usize) -> Self {
        let counts = InputCounts::default();
        Self { max_line, blocks: Blocks::default(), full: Vec::new(), gaps: None, counts }
    }

    /// Counts gaps in the lines' sequence numbers, if there is a tracker.
    #[must_use]
    pub fn with_gaps(mut self, gaps: Option<GapTracker>) -> Self {
        self.gaps = gaps;
        self
    }

    fn take_datagram(&mut self, datagram: &[u8]) {
        if !self.blocks.fits(datagram.len() + 1) {
            self.cut_off();
        }
        if datagram.len() <= self.max_line {
            let buffer = self.blocks.with_room(datagram.len() + 1);
            buffer.extend_from_slice(datagram);
            if datagram.last() != Some(&b'\n') {
                self.blocks.current().extend_from_slice(b"\n");
            }
            return;
        }
        for line in datagram.strip_suffix(b"\n").unwrap_or(datagram).split(|&b| b == b'\n') {
            let kept = &line[..line.len().min(self.max_line)];
            if kept.len() < line.len() {
                self.counts.cut(line.len() - kept.len());
            }
            if !self.blocks.fits(kept.len() + 1) {
                self.cut_off();
            }
            let buffer = self.blocks.with_room(kept.len() + 1);
            buffer.extend_from_slice(kept);
            buffer.extend_from_slice(b"\n");
        }
    }

    fn cut_off(&mut self) {
        let bytes = self.blocks.cut_off();
        if !bytes.is_empty() {
            if let Some(gaps) = &mut self.gaps {
                gaps.lines(&bytes);
                self.counts.sequence_lost += gaps.newly_lost();
                self.counts.senders_forgotten += gaps.newly_forgotten();
            }
            // Once for all of them: a call a datagram costs more than the counting.
            let lines = count_lines(&bytes);
            self.full.push(Piece::new(bytes, lines));
        }
    }
}

/// The senders of raw lines are not recorded.
impl Intake for RawLines {
    fn buffer(&mut self) -> &mut BytesMut {
        if self.blocks.current().capacity() - self.blocks.current().len() < DATAGRAM_MAX {
            self.cut_off();
        }
        self.blocks.with_room(DATAGRAM_MAX)
    }

    fn current(&mut self) -> &mut BytesMut {
        self.blocks.current()
    }

    fn waiting(&self) -> usize {
        self.blocks.len()
    }

    fn handed_over_together(&self) -> usize {
        self.blocks.handed_over_together()
    }

    fn take_in_place(&mut self, start: usize, segment: usize, source: Option<Source>) {
        let buffer = self.blocks.current();
        let message = &buffer[start..];
        if !message.is_empty() && segment <= self.max_line && all_end_lines(message, segment) {
            self.counts.datagrams += message.len().div_ceil(segment) as u64;
            return;
        }
        // Something must be inserted or removed: the message is set aside and processed again.
        let message = buffer.split_off(start);
        self.take(&message, segment, source);
    }

    fn take(&mut self, message: &[u8], segment: usize, _: Option<Source>) {
        if message.is_empty() {
            self.counts.datagrams += 1;
            self.counts.empty_datagrams += 1;
            return;
        }
        for datagram in message.chunks(segment.max(1)) {
            self.counts.datagrams += 1;
            self.take_datagram(datagram);
        }
    }
}

impl Gather for RawLines {
    fn full(&mut self) -> std::vec::Drain<'_, Piece> {
        self.full.drain(..)
    }

    fn full_count(&self) -> usize {
        self.full.len()
    }

    fn seal(&mut self) {
        self.cut_off();
    }

    fn rest(&mut self) {
        self.blocks.rest();
    }

    fn counts(&mut self) -> &mut InputCounts {
        &mut self.counts
    }
}

/// Returns whether each datagram of a coalesced message ends with a newline.
fn all_end_lines(message: &[u8], segment: usize) -> bool {
    message.chunks(segment).all(|datagram| datagram.last() == Some(&b'\n'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealed(intake: &mut RawLines) -> (Vec<u8>, u32) {
        let mut all = (Vec::new(), 0);
        intake.seal();
        for Piece { bytes, lines, .. } in intake.full() {
            assert_eq!(bytes.last(), Some(&b'\n'));
            assert_eq!(count_lines(&bytes), lines);
            all.0.extend_from_slice(&bytes);
            all.1 += lines;
        }
        all
    }

    fn take(max_line: usize, datagrams: &[&[u8]]) -> (Vec<u8>, u32, InputCounts) {
        let mut intake = RawLines::new(max_line);
        for datagram in datagrams {
            intake.take(datagram, datagram.len(), None);
        }
        let (bytes, lines) = sealed(&mut intake);
        (bytes, lines, intake.counts)
    }

    #[test]
    fn datagrams_never_merge() {
        let (bytes, lines, counts) = take(100, &[b"a", b"b\n", b"", b"c\nd", b"\n\n\n"]);
        assert_eq!(bytes, b"a\nb\nc\nd\n\n\n\n");
        assert_eq!((lines, counts.datagrams, counts.empty_datagrams), (7, 5, 1));
    }

    #[test]
    fn a_coalesced_message_is_taken_apart_by_its_segment() {
        let mut intake = RawLines::new(100);
        intake.take(b"aaabbbcc", 3, None);
        assert_eq!(sealed(&mut intake), (b"aaa\nbbb\ncc\n".to_vec(), 3));
        assert_eq!(intake.counts.datagrams, 3);
    }

    #[test]
    fn lines_longer_than_the_bound_are_cut_and_counted() {
        let long = vec![b'x'; 65_507];
        let (bytes, lines, counts) = take(65_536, &[&long]);
        assert_eq!((bytes.len(), lines, counts.oversize), (65_508, 1, 0));
        let (bytes, lines, counts) = take(100, &[&long, b"short\n"]);
        assert_eq!((bytes.len(), lines), (101 + 6, 2));
        assert_eq!((counts.oversize, counts.oversize_bytes), (1, 65_407));
    }

    #[test]
    fn gaps_are_counted_when_asked_for() {
        for (gaps, want) in [(Some(GapTracker::new()), 3), (None, 0)] {
            let mut intake = RawLines::new(100).with_gaps(gaps);
            intake.take(b"a 1\na 3", 100, None);
            intake.take(b"a 6\n", 4, None);
            intake.seal();
            assert_eq!(intake.counts.sequence_lost, want);
        }
    }

    #[test]
    fn any_byte_passes() {
        let (bytes, ..) = take(100, &[b"\0\xff\xfe\r"]);
        assert_eq!(bytes, b"\0\xff\xfe\r\n");
    }

    proptest! {
        #[test]
        fn in_place_and_copied_give_the_same(
            messages in proptest::collection::vec(
                (
                    proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a')], 0..40),
                    1..12_usize,
                ),
                0..30,
            ),
            max_line in 1..16_usize,
        ) {
            let mut copied = RawLines::new(max_line);
            let mut in_place = RawLines::new(max_line);
            for (message, segment) in &messages {
                copied.take(message, *segment, None);
                let buffer = in_place.buffer();
                let start = buffer.len();
                buffer.extend_from_slice(message);
                in_place.take_in_place(start, *segment, None);
            }
            prop_assert_eq!(sealed(&mut copied), sealed(&mut in_place));
            prop_assert_eq!(copied.counts, in_place.counts);
        }
    }
}
