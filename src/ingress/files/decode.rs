//! From the bytes of a followed file to the lines that are sent.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::batch::count_lines;
use crate::input::InputCounts;
use crate::limits::HOLE_MIN;

/// The result of decoding some bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Lines, each with its newline; possibly none.
    pub bytes: Bytes,
    /// The number of lines.
    pub lines: u32,
    /// How many of the bytes they represent. The others are decoded again, with more.
    pub consumed: usize,
    /// Whether the others wait for nothing: these lines are enough for once.
    pub is_full: bool,
}

/// The beginning of a record whose end is in the next file of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Which of the file's streams it is of.
    pub stream: usize,
    /// Its time, as it stands there.
    pub time: Vec<u8>,
    /// What is there of it.
    pub text: Vec<u8>,
    /// How many bytes of it were cut.
    pub cut: usize,
}

/// Converts a file's bytes to lines. Its state depends only on the bytes before the position, so
/// that it can be rebuilt from them.
pub trait Decode: Send {
    /// Decodes whole lines, each with its newline. With `all` nothing may wait for more.
    fn decode(&mut self, bytes: &Bytes, all: bool, counts: &mut InputCounts) -> Decoded;

    /// How many bytes before the position it needs if reading begins in the middle.
    fn looks_back(&self) -> usize {
        0
    }

    /// Sets the bytes before the position if reading begins in the middle.
    fn resume(&mut self, before: &[u8]) {
        let _ = before;
    }

    /// The next file of the log is read from now on: takes what waits for more.
    fn carry(&mut self) -> Vec<Carried> {
        Vec::new()
    }

    /// What the file before had.
    fn carried(&mut self, carried: Vec<Carried>) {
        let _ = carried;
    }

    /// The file has ended: what waits for more.
    fn end(&mut self, counts: &mut InputCounts) -> Option<(Bytes, u32)> {
        let _ = counts;
        None
    }
}

/// Lines unchanged.
#[derive(Debug)]
pub struct Plain {
    /// Longer lines are truncated.
    pub max_line: usize,
}

impl Decode for Plain {
    fn decode(&mut self, bytes: &Bytes, _: bool, counts: &mut InputCounts) -> Decoded {
        let consumed = bytes.len();
        let bytes = match is_tidy(bytes, self.max_line) {
            true => bytes.clone(),
            false => {
                let mut out = BytesMut::with_capacity(bytes.len());
                for line in lines(bytes) {
                    put_line(&mut out, line, self.max_line, counts);
                }
                out.freeze()
            }
        };
        Decoded { lines: count_lines(&bytes), bytes, consumed, is_full: false }
    }
}

/// Tells whether a line begins a record.
pub type Begins = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Records of several lines: each begins with a line that matches. The newlines inside become
/// `#012`.
pub struct Multiline {
    /// Matches the first line of a record.
    pub begins: Begins,
    /// Longer records are truncated.
    pub max_line: usize,
}

impl fmt::Debug for Multiline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Multiline")
    }
}

impl Decode for Multiline {
    fn decode(&mut self, bytes: &Bytes, all: bool, counts: &mut InputCounts) -> Decoded {
        let mut out = BytesMut::with_capacity(bytes.len());
        let (mut records, mut start, mut at) = (0, 0, 0);
        for line in lines(bytes) {
            if at > start && (self.begins)(line) {
                self.put_record(&mut out, &bytes[start..at], counts);
                records += 1;
                start = at;
            }
            at += line.len() + 1;
        }
        if all && at > start {
            self.put_record(&mut out, &bytes[start..at], counts);
            records += 1;
            start = at;
        }
        Decoded { bytes: out.freeze(), lines: records, consumed: start, is_full: false }
    }
}

impl Multiline {
    fn put_record(&self, out: &mut BytesMut, record: &[u8], counts: &mut InputCounts) {
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        let record = match memchr::memchr(b'\n', record) {
            None => Cow::Borrowed(record),
            Some(_) => Cow::Owned(joined(record)),
        };
        put_line(out, &record, self.max_line, counts);
    }
}

/// Joins a record into one line.
pub fn joined(record: &[u8]) -> Vec<u8> {
    let mut one = Vec::with_capacity(record.len() + 16);
    for (at, line) in record.split(|&byte| byte == b'\n').enumerate() {
        if at > 0 {
            one.extend_from_slice(b"#012");
        }
        one.extend_from_slice(line);
    }
    one
}

/// The lines, without their newlines.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|&byte| byte == b'\n')
}

/// Appends a line, truncated, and without the NUL bytes of a hole before it.
pub fn put_line(out: &mut BytesMut, line: &[u8], max_line: usize, counts: &mut InputCounts) {
    let line = &line[hole(line)..];
    let kept = line.len().min(max_line);
    if kept < line.len() {
        counts.cut(line.len() - kept);
    }
    out.extend_from_slice(&line[..kept]);
    out.extend_from_slice(b"\n");
}

/// The number of NUL bytes before a line that form a hole: a file system leaves them after a crash,
/// and so does a writer that does not append after a truncation.
pub fn hole(line: &[u8]) -> usize {
    let nuls = line.iter().position(|&byte| byte != 0).unwrap_or(line.len());
    if nuls >= HOLE_MIN { nuls } else { 0 }
}

/// Returns whether no line is too long and none has a hole before it.
fn is_tidy(bytes: &[u8], max_line: usize) -> bool {
    // Jump to the last newline within reach: few steps, however short the lines are.
    let mut at = 0;
    while bytes.len() - at > max_line {
        let near = &bytes[at..=at + max_line.min(bytes.len() - at - 1)];
        match memchr::memrchr(b'\n', near) {
            Some(end) => at += end + 1,
            None => return false,
        }
    }
    // A hole covers one of these bytes, wherever it begins.
    if bytes.iter().skip(HOLE_MIN - 1).step_by(HOLE_MIN).all(|&byte| byte != 0) {
        return true;
    }
    let mut holes = memchr::memmem::find_iter(bytes, &[0; HOLE_MIN]);
    holes.all(|at| at > 0 && bytes[at - 1] != b'\n')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(bytes: &[u8], max_line: usize) -> (Decoded, InputCounts) {
        let mut counts = InputCounts::default();
        let bytes = Bytes::copy_from_slice(bytes);
        (Plain { max_line }.decode(&bytes, false, &mut counts), counts)
    }

    #[test]
    fn lines_pass_as_they_are_and_long_ones_are_cut_and_counted() {
        let (decoded, counts) = plain(b"ab\x00c\n\xff\n\n", 5);
        assert_eq!((&decoded.bytes[..], decoded.lines), (&b"ab\x00c\n\xff\n\n"[..], 3));
        assert_eq!(counts, InputCounts::default());
        let (decoded, counts) = plain(b"abcdefgh\nab\n123456\n", 5);
        assert_eq!((&decoded.bytes[..], decoded.lines), (&b"abcde\nab\n12345\n"[..], 3));
        assert_eq!((counts.oversize, counts.oversize_bytes, decoded.consumed), (2, 4, 19));
    }

    #[test]
    fn a_hole_before_a_line_is_left_out_and_few_nul_bytes_are_not() {
        let mut bytes = vec![0; 5000];
        bytes.extend_from_slice(b"a\n\0\0b\n");
        let (decoded, _) = plain(&bytes, 100);
        assert_eq!((&decoded.bytes[..], decoded.lines), (&b"a\n\0\0b\n"[..], 2));
        assert_eq!(decoded.consumed, bytes.len());
        // Many within a line are a part of it, and hide no hole behind it.
        for before in 0..2 * HOLE_MIN {
            let inner = [&vec![b'x'; before], &[0; 200][..], b"y\n"].concat();
            let bytes = [&inner, &[0; HOLE_MIN][..], b"z\n"].concat();
            let (decoded, _) = plain(&bytes, 1000);
            let kept = if before == 0 { b"y\n" } else { &inner[..] };
            assert_eq!(&decoded.bytes[..], [kept, b"z\n"].concat(), "{before}");
        }
    }

    #[test]
    fn records_begin_where_a_line_matches_and_the_last_one_waits() {
        let begins: Begins = Arc::new(|line| line.starts_with(b"2"));
        let mut decoder = Multiline { begins, max_line: 100 };
        let mut counts = InputCounts::default();
        let bytes = Bytes::from_static(b"x\n y\n2 a\n b\n\n2 c\n d\n");
        let waits = decoder.decode(&bytes, false, &mut counts);
        assert_eq!(&waits.bytes[..], b"x#012 y\n2 a#012 b#012\n");
        assert_eq!((waits.lines, waits.consumed), (2, 13));
        let all = decoder.decode(&bytes.slice(13..), true, &mut counts);
        assert_eq!((&all.bytes[..], all.lines, all.consumed), (&b"2 c#012 d\n"[..], 1, 7));
    }

    proptest! {
        #[test]
        fn cutting_is_the_same_as_line_by_line(
            bytes in proptest::collection::vec(
                prop_oneof![Just(b'\n'), Just(0), any::<u8>()],
                0..300,
            ),
            max_line in 1_usize..40,
        ) {
            let mut bytes = bytes;
            bytes.push(b'\n');
            let (decoded, counts) = plain(&bytes, max_line);
            let mut want = BytesMut::new();
            let mut wanted = InputCounts::default();
            lines(&bytes).for_each(|line| put_line(&mut want, line, max_line, &mut wanted));
            prop_assert_eq!(&decoded.bytes[..], &want[..]);
            prop_assert_eq!(counts, wanted);
            prop_assert_eq!(decoded.lines, count_lines(&want));
        }
    }
}
