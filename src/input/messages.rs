//! Converting syslog messages to lines: one message, one line.
//!
//! A newline inside a message would forge a line, in a file, a pipe, a spool or at the next hop. It
//! is removed here, once; all other bytes stay as received, unless the user asks for more
//! ([`Escape`]).

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use super::{Gather, InputCounts, Intake, Piece};
use crate::batch::Blocks;
use crate::limits::{BLOCK, DATAGRAM_MAX};
use crate::parse::syslog::pri;
use crate::sources::{Gatherer, Source};

/// How control characters in a message are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// A newline becomes `#012`.
    Newline,
    /// Each becomes `#` and its number in three octal digits, as rsyslog does.
    Control,
    /// A newline ends a line: each part is a line of its own.
    Split,
}

impl Escape {
    fn is_special(self, byte: u8) -> bool {
        match self {
            Self::Newline | Self::Split => byte == b'\n',
            Self::Control => byte.is_ascii_control(),
        }
    }

    /// The index of the first byte that must be replaced.
    fn find(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Newline | Self::Split => memchr::memchr(b'\n', bytes),
            Self::Control => bytes.iter().position(u8::is_ascii_control),
        }
    }
}

/// Gathers messages into pieces of shared memory.
#[derive(Debug)]
pub struct Messages {
    max_message: usize,
    escape: Escape,
    /// The receive buffer; messages are copied out of it.
    landing: BytesMut,
    blocks: Blocks,
    lines: u32,
    senders: Gatherer,
    full: Vec<Piece>,
    counts: InputCounts,
}

impl Messages {
    /// Creates an intake that truncates lines to `max_message` bytes.
    pub fn new(max_message: usize, escape: Escape) -> Self {
        Self {
            max_message,
            escape,
            landing: BytesMut::new(),
            blocks: Blocks::default(),
            lines: 0,
            senders: Gatherer::default(),
            full: Vec::new(),
            counts: InputCounts::default(),
        }
    }

    /// Processes one message, of which `cut` bytes have already been cut off. One that is owned,
    /// large and has nothing to be replaced is not copied.
    pub fn whole(&mut self, message: Cow<'_, [u8]>, cut: usize, source: Option<Source>) {
        let mut message = match message {
            Cow::Owned(message) if message.len() > BLOCK => message,
            message => return self.message(&message, cut, source),
        };
        let len = without_trailer(&message).len();
        let fits = (BLOCK..=self.max_message).contains(&len);
        if !fits || self.escape.find(&message[..len]).is_some() {
            return self.message(&message, cut, source);
        }
        message.truncate(len);
        self.counts.faults.count(pri(&message).err());
        self.large(message, cut, source);
    }

    /// Processes one message, of which `cut` bytes have already been cut off.
    pub fn message(&mut self, message: &[u8], cut: usize, source: Option<Source>) {
        let message = without_trailer(message);
        if message.is_empty() {
            self.counts.empty_datagrams += 1;
            return;
        }
        self.counts.faults.count(pri(message).err());
        match self.escape.find(message) {
            None => self.line(message, cut, source),
            Some(_) if self.escape == Escape::Split => {
                let mut parts = parts(message).filter(|part| !part.is_empty());
                let mut part = parts.next();
                while let Some(this) = part {
                    part = parts.next();
                    // Bytes cut off the message were cut off its last part.
                    self.line(this, if part.is_none() { cut } else { 0 }, source);
                }
            }
            Some(first) => {
                let (line, left) = self.escaped(message, first);
                if line.len() >= BLOCK {
                    self.large(line, cut + left, source);
                } else {
                    self.line(&line, cut + left, source);
                }
            }
        }
    }

    /// A message with its control characters escaped, as far as it fits, and how many of its bytes
    /// did not fit.
    fn escaped(&self, message: &[u8], first: usize) -> (Vec<u8>, usize) {
        // No more than is needed: a message may be large, and all of it special.
        let special = message[first..].iter().filter(|byte| self.escape.is_special(**byte)).count();
        let mut line = Vec::with_capacity((message.len() + 3 * special).min(self.max_message) + 1);
        line.extend_from_slice(&message[..first]);
        for (at, &byte) in message.iter().enumerate().skip(first) {
            let special = self.escape.is_special(byte);
            if line.len() + if special { 4 } else { 1 } > self.max_message {
                return (line, message.len() - at);
            }
            if special {
                line.extend([b'#', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]);
            } else {
                line.push(byte);
            }
        }
        (line, 0)
    }

    /// Takes in a line that is larger than what pieces are cut from: it is one of its own, and is
    /// not copied again.
    fn large(&mut self, mut line: Vec<u8>, cut: usize, source: Option<Source>) {
        if cut > 0 {
            self.counts.cut(cut);
        }
        self.seal();
        line.push(b'\n');
        let sources = source.map(crate::sources::Sources::one);
        self.full.push(Piece { sources, ..Piece::new(Bytes::from(line), 1) });
    }

    fn line(&mut self, line: &[u8], cut: usize, source: Option<Source>) {
        let kept = &line[..line.len().min(self.max_message)];
        let cut = cut + line.len() - kept.len();
        if kept.len() >= BLOCK {
            let mut line = Vec::with_capacity(kept.len() + 1);
            line.extend_from_slice(kept);
            return self.large(line, cut, source);
        }
        if cut > 0 {
            self.counts.cut(cut);
        }
        if !self.blocks.fits(kept.len() + 1) {
            self.seal();
        }
        let buffer = self.blocks.with_room(kept.len() + 1);
        buffer.extend_from_slice(kept);
        buffer.extend_from_slice(b"\n");
        self.lines += 1;
        if let Some(source) = source {
            self.senders.push(source, self.blocks.len());
        }
    }
}

impl Intake for Messages {
    fn buffer(&mut self) -> &mut BytesMut {
        self.landing.clear();
        self.landing.reserve(DATAGRAM_MAX);
        &mut self.landing
    }

    fn current(&mut self) -> &mut BytesMut {
        &mut self.landing
    }

    fn take_in_place(&mut self, start: usize, segment: usize, source: Option<Source>) {
        let landing = std::mem::take(&mut self.landing);
        self.take(&landing[start..], segment, source);
        self.landing = landing;
    }

    fn take(&mut self, received: &[u8], segment: usize, source: Option<Source>) {
        if received.is_empty() {
            self.counts.datagrams += 1;
            self.counts.empty_datagrams += 1;
        }
        for datagram in received.chunks(segment.max(1)) {
            self.counts.datagrams += 1;
            self.message(datagram, 0, source);
        }
    }

    fn waiting(&self) -> usize {
        self.blocks.len()
    }

    fn handed_over_together(&self) -> usize {
        self.blocks.handed_over_together()
    }
}

impl Gather for Messages {
    fn full(&mut self) -> std::vec::Drain<'_, Piece> {
        self.full.drain(..)
    }

    fn full_count(&self) -> usize {
        self.full.len()
    }

    fn seal(&mut self) {
        let bytes = self.blocks.cut_off();
        if !bytes.is_empty() {
            let lines = std::mem::take(&mut self.lines);
            self.full.push(Piece { sources: self.senders.take(), ..Piece::new(bytes, lines) });
        }
    }

    fn rest(&mut self) {
        self.blocks.rest();
    }

    fn counts(&mut self) -> &mut InputCounts {
        &mut self.counts
    }
}

/// The parts of a message between its newlines, each without the terminators that some senders add:
/// a carriage return, and a NUL.
fn parts(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(message);
    std::iter::from_fn(move || {
        let all = rest?;
        let end = memchr::memchr(b'\n', all);
        rest = end.map(|end| &all[end + 1..]);
        Some(end.map_or(all, |end| without_trailer(&all[..=end])))
    })
}

/// A message without the terminators that some senders add: one newline, with or without a carriage
/// return, and one NUL.
fn without_trailer(message: &[u8]) -> &[u8] {
    let strip_newline = |bytes: &mut &[u8]| {
        if let Some(rest) = bytes.strip_suffix(b"\n") {
            *bytes = rest.strip_suffix(b"\r").unwrap_or(rest);
        }
    };
    let mut rest = message;
    strip_newline(&mut rest);
    if let Some(without) = rest.strip_suffix(b"\0") {
        rest = without;
        strip_newline(&mut rest);
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(escape: Escape, max: usize, messages: &[&[u8]]) -> (Vec<u8>, InputCounts) {
        let mut intake = Messages::new(max, escape);
        for message in messages {
            intake.take(message, message.len(), None);
        }
        intake.seal();
        let mut all = Vec::new();
        for piece in intake.full() {
            assert_eq!(piece.bytes.last(), Some(&b'\n'));
            assert_eq!(crate::batch::count_lines(&piece.bytes), piece.lines);
            all.extend_from_slice(&piece.bytes);
        }
        (all, *intake.counts())
    }

    #[test]
    fn one_message_is_one_line() {
        let messages: &[&[u8]] =
            &[b"<1>a", b"<1>b\n", b"<1>c\r\n", b"<1>d\0", b"<1>e\nf\n", b"", b"\n", b"<1>\0\xff\t"];
        let (lines, counts) = take(Escape::Newline, 100, messages);
        assert_eq!(lines, b"<1>a\n<1>b\n<1>c\n<1>d\n<1>e#012f\n<1>\0\xff\t\n");
        assert_eq!((counts.datagrams, counts.empty_datagrams), (8, 2));
        let (lines, _) = take(Escape::Control, 100, &[b"<1>a\tb\n\x01c\x7f\0\x80\n"]);
        assert_eq!(lines, b"<1>a#011b#012#001c#177#000\x80\n");
        let (lines, _) = take(Escape::Split, 100, &[b"<1>a\n\nb\n", b"<1>c"]);
        assert_eq!(lines, b"<1>a\nb\n<1>c\n");
        // A line's terminator is the same everywhere in a message.
        let messages: &[&[u8]] =
            &[b"<1>a\r\nb\r\nc\r\n", b"<1>d\0\ne\0\r\n\r\nf\r", b"<1>g\rh\r\r\ni"];
        let (lines, counts) = take(Escape::Split, 100, messages);
        assert_eq!(lines, b"<1>a\nb\nc\n<1>d\ne\nf\r\n<1>g\rh\r\ni\n");
        assert_eq!((counts.datagrams, counts.empty_datagrams), (3, 0));
    }

    #[test]
    fn a_line_is_never_longer_than_a_message_may_be() {
        let (lines, counts) = take(Escape::Newline, 10, &[b"<1>abcdefghij", b"<1>\n\n\n"]);
        assert_eq!(lines, b"<1>abcdefg\n<1>#012\n");
        assert_eq!((counts.oversize, counts.oversize_bytes), (2, 4));
        let newlines = [b'\n'; 65_507];
        let (lines, counts) = take(Escape::Newline, 65_536, &[&newlines]);
        assert_eq!((lines.len(), counts.oversize), (65_537, 1));
    }

    #[test]
    fn messages_without_a_good_pri_are_counted_and_kept() {
        let (lines, counts) = take(Escape::Newline, 100, &[b"a", b"<>b", b"<192>c", b"<0>d"]);
        assert_eq!(lines, b"a\n<>b\n<192>c\n<0>d\n");
        assert_eq!((counts.faults.no_pri, counts.faults.bad_pri), (1, 2));
    }

    #[test]
    fn a_message_larger_than_a_block_is_a_piece_of_its_own() {
        let large = vec![b'x'; BLOCK + 5];
        let mut intake = Messages::new(BLOCK * 2, Escape::Newline);
        let source = Some(Source::Process { pid: 1, uid: 2 });
        intake.message(b"<1>a", 0, source);
        intake.message(&large, 0, source);
        let owned = [&large[..], b"\r\n"].concat();
        let place = owned.as_ptr();
        intake.whole(owned.into(), 0, source);
        intake.whole([&large[..BLOCK], b"\n12345"].concat().into(), 0, source);
        intake.message(b"<1>b", 0, source);
        intake.seal();
        assert_eq!(intake.counts().faults.no_pri, 3);
        let pieces: Vec<_> = intake.full().collect();
        let sizes: Vec<_> = pieces.iter().map(|piece| piece.bytes.len()).collect();
        assert_eq!(sizes, [5, BLOCK + 6, BLOCK + 6, BLOCK + 10, 5]);
        assert_eq!(pieces[2].bytes.as_ptr(), place, "it is not copied");
        assert!(pieces[3].bytes.ends_with(b"x#01212345\n"));
        assert!(pieces.iter().all(|p| p.sources.as_ref().unwrap().of(0) == source));
    }
}
