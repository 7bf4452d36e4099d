//! Reading a spool from a given line on: damage and gaps are reported, and reading continues.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::folder::{Listing, Name, QUARANTINE};
use super::format::{Header, Row};
use super::scan::{Item, Packed, Plain, Scanner, SegmentBytes};
use crate::batch::{Batch, Numbers, end_of_lines};
use crate::fs::{Fs, FsFile, Kind, write_all};
use crate::limits::FILE_MODE_DEFAULT;
use crate::minute::Minute;

/// The result of a read.
#[derive(Debug, Default)]
pub struct Read {
    /// Lines, in order.
    pub batches: Vec<Batch>,
    /// Lines that are missing from the range: damaged, or dropped before they were read.
    pub missing: Vec<Missing>,
    /// Pieces that cannot be decoded.
    pub damage: Vec<Damage>,
}

/// A range of missing lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The first of them.
    pub first: u64,
    /// The line after the last of them.
    pub end: u64,
    /// True if bytes were damaged there; otherwise the segment is gone.
    pub damaged: bool,
}

/// A piece that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub segment: PathBuf,
    /// Where it begins, in bytes (of the uncompressed segment).
    pub at: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Reads one spool.
pub struct Reader<F: Fs> {
    fs: F,
    dir: PathBuf,
    next: u64,
    /// True to copy damaged bytes to the quarantine.
    quarantine: bool,
    open: Option<Open<F>>,
}

/// The segment being read.
struct Open<F: Fs> {
    name: Name,
    /// The first line of the next segment, which ends this one, whatever bytes follow: a segment
    /// whose sync failed may hold lines that were written again to the next one.
    later: Option<u64>,
    scanner: Scanner<Either<F::File>>,
    inputs: Vec<(Arc<str>, Option<Minute>)>,
    /// True while damage has not yet been followed by a sound row.
    damaged: bool,
}

/// A segment's bytes, compressed or not.
pub enum Either<File: FsFile> {
    /// A plain segment.
    Plain(Plain<File>),
    /// Compressed.
    Packed(Box<Packed<File>>),
}

/// Opens a segment at its beginning.
///
/// # Errors
/// The system's.
pub fn open_segment<F: Fs>(fs: &F, dir: &Path, name: Name) -> io::Result<Scanner<Either<F::File>>> {
    let file = fs.open_own(&name.path(dir))?;
    let source = match name.packed {
        false => Either::Plain(Plain::new(file)),
        true => Either::Packed(Box::new(Packed::new(file)?)),
    };
    Ok(Scanner::new(source, name.first))
}

impl<File: FsFile> SegmentBytes for Either<File> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(plain) => SegmentBytes::read(plain, buffer),
            Self::Packed(packed) => packed.read(buffer),
        }
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        match self {
            Self::Plain(plain) => plain.skip(bytes),
            Self::Packed(packed) => packed.skip(bytes),
        }
    }
}

impl<F: Fs> Reader<F> {
    /// Creates a reader of the spool in `dir` that starts at line `next`.
    pub fn new(fs: F, dir: PathBuf, next: u64) -> Self {
        Self { fs, dir, next, quarantine: false, open: None }
    }

    /// Makes the reader copy damaged bytes to the quarantine.
    pub fn with_quarantine(mut self) -> Self {
        self.quarantine = true;
        self
    }

    /// The number of the next line to read.
    pub fn next_line(&self) -> u64 {
        self.next
    }

    /// Reads on up to line `until`, exclusive, in steps of about `max` bytes. After an error the
    /// lines read so far are discarded and will be read again.
    ///
    /// # Errors
    /// The system's.
    pub fn read(&mut self, until: u64, max: usize) -> io::Result<Read> {
        let before = self.next;
        let mut read = Read::default();
        self.read_on(until, max, &mut read).inspect_err(|_| {
            self.next = before;
            self.open = None;
        })?;
        Ok(read)
    }

    fn read_on(&mut self, until: u64, max: usize, read: &mut Read) -> io::Result<()> {
        let mut bytes = 0;
        self.look_for_later()?;
        while self.next < until && bytes < max {
            if self.open.is_none() && !self.open_next(until, read)? {
                break;
            }
            let Some(open) = &mut self.open else { break };
            let bound = open.later.unwrap_or(u64::MAX);
            if self.next >= bound {
                self.open = None;
                continue;
            }
            let from = self.next;
            match open.scanner.next(open.later.is_some(), |header| header.end() > from) {
                Ok(Some(item)) => bytes += self.take_item(item, until.min(bound), read)?,
                Ok(None) if open.later.is_none() => {
                    self.look_for_later()?;
                    // An incomplete item at the end of the newest segment is still being written.
                    if self.open.as_ref().is_some_and(|open| open.later.is_none()) {
                        break;
                    }
                }
                Ok(None) => self.leave_segment(until, read),
                // Only a compressed segment can report its own damage.
                Err(_) if open.name.packed => {
                    let (segment, at) = (open.name.path(&self.dir), open.scanner.offset());
                    read.damage.push(Damage { segment, at, bytes: 0 });
                    open.damaged = true;
                    self.leave_segment(until, read);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Checks for a later segment, which means that this one is closed.
    fn look_for_later(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if open.later.is_none() {
            let segments = Listing::of(&self.fs, &self.dir)?.segments;
            let later = segments.into_iter().find(|name| name.first > open.name.first);
            open.later = later.map(|name| name.first);
        }
        Ok(())
    }

    /// Processes an item; returns the bytes of its wanted lines.
    fn take_item(&mut self, item: Item, until: u64, read: &mut Read) -> io::Result<usize> {
        let Some(open) = &mut self.open else { return Ok(0) };
        match item {
            Item::Row(Row::Input { number, name, minute }) => {
                let number = usize::from(number);
                if open.inputs.len() <= number {
                    open.inputs.resize(number + 1, ("".into(), None));
                }
                open.inputs[number] = (name.into(), minute);
                Ok(0)
            }
            Item::Row(_) | Item::Skipped(_) => Ok(0),
            Item::Damage { at, bytes } => {
                open.damaged = true;
                let segment = open.name.path(&self.dir);
                if self.quarantine {
                    set_aside(&self.fs, &self.dir, open.name, at, &bytes)?;
                }
                read.damage.push(Damage { segment, at, bytes: bytes.len() as u64 });
                Ok(0)
            }
            Item::Batch(header, payload) => Ok(self.take_batch(&header, payload, until, read)),
        }
    }

    fn take_batch(
        &mut self,
        header: &Header,
        payload: Bytes,
        until: u64,
        read: &mut Read,
    ) -> usize {
        let Some(open) = &mut self.open else { return 0 };
        let damaged = std::mem::take(&mut open.damaged);
        if header.first > self.next {
            // `until` may lie within the missing range.
            let end = header.first.min(until);
            read.missing.push(Missing { first: self.next, end, damaged });
            self.next = end;
        }
        if header.first >= until {
            // To be read again when it is wanted.
            self.open = None;
            return 0;
        }
        let input = open.inputs.get(usize::from(header.input)).cloned();
        let (input, minute) = input.unwrap_or_else(|| ("".into(), None));
        let numbers = Numbers { first: header.first, last: header.end() - 1 };
        let mut batch = Batch::new(payload, header.lines, input, header.received);
        batch.minute = minute.unwrap_or(batch.minute);
        batch.numbers = Some(numbers);
        if self.next > header.first {
            let before = end_of_lines(&batch.bytes, self.next - header.first);
            batch.cut_front(before);
        }
        if header.end() > until {
            let wanted = end_of_lines(&batch.bytes, until - self.next);
            match batch.split_to(wanted) {
                Some(part) => batch = part,
                None => return 0,
            }
            self.open = None;
        }
        self.next = header.end().min(until);
        let bytes = batch.bytes.len();
        read.batches.push(batch);
        bytes
    }

    /// Handles the end of a segment that is followed by another.
    fn leave_segment(&mut self, until: u64, read: &mut Read) {
        let Some(open) = self.open.take() else { return };
        let end = open.later.unwrap_or(self.next).min(until);
        if self.next < end {
            read.missing.push(Missing { first: self.next, end, damaged: open.damaged });
            self.next = end;
        }
    }

    /// Opens the segment that has the next line; returns false if there is none.
    fn open_next(&mut self, until: u64, read: &mut Read) -> io::Result<bool> {
        // A segment may be dropped or compressed between the listing and the opening.
        for _ in 0..3 {
            let segments = Listing::of(&self.fs, &self.dir)?.segments;
            let before = segments.iter().rev().find(|name| name.first <= self.next);
            let Some(&name) = before.or_else(|| segments.first()) else { return Ok(false) };
            if name.first > self.next {
                let end = name.first.min(until);
                read.missing.push(Missing { first: self.next, end, damaged: false });
                self.next = end;
                if self.next == until {
                    return Ok(false);
                }
            }
            let scanner = match open_segment(&self.fs, &self.dir, name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            let later = segments.iter().find(|other| other.first > name.first);
            let later = later.map(|name| name.first);
            self.open = Some(Open { name, later, scanner, inputs: Vec::new(), damaged: false });
            return Ok(true);
        }
        Err(io::Error::other("the segments change faster than they can be opened"))
    }
}

/// Copies damaged bytes to `quarantine/`, once, under a name that records where they were.
///
/// # Errors
/// The system's.
pub fn set_aside<F: Fs>(
    fs: &F,
    dir: &Path,
    segment: Name,
    at: u64,
    bytes: &[u8],
) -> io::Result<()> {
    let folder = quarantine(fs, dir)?;
    let path = folder.join(format!("{:020}.{at}", segment.first));
    if fs.exists(&path) {
        return Ok(());
    }
    let mut file = fs.append_own(&path, FILE_MODE_DEFAULT)?;
    write_all(&mut file, &mut [io::IoSlice::new(bytes)])
}

/// Returns the folder for damaged data, creating it if missing.
///
/// # Errors
/// The system's; also if it is not a folder.
pub fn quarantine<F: Fs>(fs: &F, dir: &Path) -> io::Result<PathBuf> {
    let folder = dir.join(QUARANTINE);
    let entries = fs.entries(dir)?;
    match entries.iter().find(|(path, _)| *path == folder) {
        None => fs.create_folders(&folder)?,
        Some((_, Kind::Folder)) => {}
        Some(_) => return Err(io::Error::other(format!("{QUARANTINE} is not a folder"))),
    }
    Ok(folder)
}
