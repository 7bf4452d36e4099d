//! Cursors: how far a reader has come, in a small text file that is replaced as a whole.
//!
//! A cursor is a convenience and no truth: where it is lost or damaged its reader begins at the
//! oldest line kept, or with `keep` at the lowest other cursor. Its last line is a CRC-32C of those
//! before it.

use std::path::{Path, PathBuf};

use crate::ids::Identity;
use crate::limits::LINE_NUMBER_MAX;

/// How far a reader has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The reader: the output's name, and the lane where it has several.
    pub reader: String,
    /// The spool it reads.
    pub spool: Identity,
    /// The number of the first line that is not done with.
    pub position: u64,
    /// How many of the selected lines from there on are done with nevertheless.
    pub done: u64,
    /// For a file output: its files, and how long they are with all that is done with.
    pub files: Vec<(PathBuf, u64)>,
    /// For an output that keeps something else with its position: lines of text.
    pub notes: Vec<String>,
}

const TITLE: &str = "logweir cursor 1";

/// What the name of a cursor file ends with.
pub const SUFFIX: &str = ".cursor";

impl Cursor {
    /// A reader's position, with nothing else kept.
    pub fn at(reader: &str, spool: Identity, position: u64) -> Self {
        let (files, notes) = (Vec::new(), Vec::new());
        Self { reader: reader.into(), spool, position, done: 0, files, notes }
    }

    /// Where a reader's cursor is.
    pub fn path(dir: &Path, reader: &str) -> PathBuf {
        dir.join(format!("{reader}{SUFFIX}"))
    }

    /// The file's content.
    pub fn encode(&self) -> Vec<u8> {
        use std::os::unix::ffi::OsStrExt;
        let Self { reader, spool, position, done, files, notes } = self;
        let mut text =
            format!("{TITLE}\nreader {reader}\nspool {spool}\nposition {position}\ndone {done}\n")
                .into_bytes();
        for (path, len) in files {
            text.extend_from_slice(format!("file {len} ").as_bytes());
            text.extend_from_slice(path.as_os_str().as_bytes());
            text.push(b'\n');
        }
        for note in notes {
            text.extend_from_slice(format!("note {note}\n").as_bytes());
        }
        let sum = crc32c::crc32c(&text);
        text.extend_from_slice(format!("sum {sum:08x}\n").as_bytes());
        text
    }

    /// Reads a file's content; `None` where it is damaged.
    pub fn decode(content: &[u8]) -> Option<Self> {
        use std::os::unix::ffi::OsStrExt;
        let body = content.strip_suffix(b"\n")?;
        let sum_at = memchr::memrchr(b'\n', body)? + 1;
        let sum = std::str::from_utf8(body[sum_at..].strip_prefix(b"sum ")?).ok()?;
        if sum.len() != 8 || u32::from_str_radix(sum, 16).ok()? != crc32c::crc32c(&body[..sum_at]) {
            return None;
        }
        let mut lines = body[..sum_at - 1].split(|&byte| byte == b'\n');
        let mut field = |name: &str| {
            let text = std::str::from_utf8(lines.next()?).ok()?;
            Some(text.strip_prefix(name)?.trim_start().to_string())
        };
        field(TITLE)?;
        let mut cursor = Self {
            reader: field("reader")?,
            spool: field("spool")?.parse().ok()?,
            position: field("position")?.parse().ok()?,
            done: field("done")?.parse().ok()?,
            files: Vec::new(),
            notes: Vec::new(),
        };
        for line in lines {
            if let Some(note) = line.strip_prefix(b"note ") {
                cursor.notes.push(String::from_utf8(note.to_vec()).ok()?);
                continue;
            }
            let line = line.strip_prefix(b"file ")?;
            let space = memchr::memchr(b' ', line)?;
            let len = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
            let path = std::ffi::OsStr::from_bytes(&line[space + 1..]);
            cursor.files.push((path.into(), len));
        }
        // Numbers that no spool can have come to.
        let sound = cursor.position <= LINE_NUMBER_MAX && cursor.done <= LINE_NUMBER_MAX;
        sound.then_some(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor() -> Cursor {
        Cursor {
            reader: "hub".into(),
            spool: Identity::of(7),
            position: 42,
            done: 3,
            files: vec![("/var/log/a b".into(), 17), ("c".into(), 0)],
            notes: vec!["producer 7 0".into(), "file 3 x".into()],
        }
    }

    #[test]
    fn a_cursor_reads_as_it_was_written() {
        assert_eq!(Cursor::decode(&cursor().encode()), Some(cursor()));
        let none = Cursor { files: Vec::new(), notes: Vec::new(), ..cursor() };
        assert_eq!(Cursor::decode(&none.encode()), Some(none));
    }

    #[test]
    fn a_cursor_that_is_cut_or_changed_is_none() {
        let whole = cursor().encode();
        for len in 0..whole.len() {
            assert_eq!(Cursor::decode(&whole[..len]), None, "{len} bytes");
        }
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let read = Cursor::decode(&damaged);
            assert!(read.is_none() || read == Some(cursor()), "bit {bit}");
        }
    }
}
