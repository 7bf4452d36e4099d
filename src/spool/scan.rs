//! Reading one segment from its beginning to its end: rows, payloads, and what is damaged.

use std::io::{self, BufReader, Read};

use bytes::{Bytes, BytesMut};

use super::format::{Header, ROW, Row, find_row};
use crate::batch::count_lines;
use crate::fs::FsFile;
use crate::limits::{RECORD_MAX, SCAN_CHUNK, SCAN_FIRST};

/// What comes next in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A row that is no batch.
    Row(Row),
    /// A batch, whole and with the right sum.
    Batch(Header, Bytes),
    /// A batch that the caller did not want; its payload was not looked at.
    Skipped(Header),
    /// Bytes that make no sense. A longer piece comes in several.
    Damage {
        /// Where they begin, in bytes from the start of the segment.
        at: u64,
        /// The bytes.
        bytes: Bytes,
    },
}

/// A segment under a reader's hand.
pub struct Scanner<S> {
    source: S,
    buffer: BytesMut,
    /// Where the buffer begins in the segment.
    offset: u64,
    /// How much is read at a time: little at first, for many a reader wants one row only.
    chunk: usize,
    /// The number of the line that comes next, and how many lines damage may have cost since.
    next: u64,
    lost: u64,
}

/// Where a segment's bytes come from.
pub trait Source {
    /// The next bytes; 0 at the end, which may be a later one the next time.
    ///
    /// # Errors
    /// The system's, or that a compressed segment is damaged.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Leaves bytes out.
    ///
    /// # Errors
    /// The same.
    fn skip(&mut self, bytes: u64) -> io::Result<()>;
}

/// A segment as it was written.
#[derive(Debug)]
pub struct Plain<File> {
    file: File,
    offset: u64,
}

impl<File: FsFile> Plain<File> {
    /// A segment from its beginning.
    pub fn new(file: File) -> Self {
        Self { file, offset: 0 }
    }
}

impl<File: FsFile> Source for Plain<File> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.offset += bytes;
        Ok(())
    }
}

impl<File: FsFile> Read for Plain<File> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Source::read(self, buffer)
    }
}

/// A compressed segment.
pub struct Packed<File: FsFile> {
    decoder: zstd::Decoder<'static, BufReader<Plain<File>>>,
}

impl<File: FsFile> Packed<File> {
    /// A compressed segment from its beginning.
    ///
    /// # Errors
    /// That there is no memory for a decoder.
    pub fn new(file: File) -> io::Result<Self> {
        Ok(Self { decoder: zstd::Decoder::new(Plain::new(file))? })
    }
}

impl<File: FsFile> Source for Packed<File> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        io::copy(&mut (&mut self.decoder).take(bytes), &mut io::sink())?;
        Ok(())
    }
}

/// Whether a payload is what its row says.
fn is_sound(payload: &[u8], header: &Header) -> bool {
    crc32c::crc32c(payload) == header.sum
        && payload.last() == Some(&b'\n')
        && count_lines(payload) == header.lines
}

impl<S: Source> Scanner<S> {
    /// Reads a segment from its beginning, which is line `first`.
    pub fn new(source: S, first: u64) -> Self {
        let (buffer, chunk) = (BytesMut::new(), SCAN_FIRST);
        Self { source, buffer, offset: 0, chunk, next: first, lost: 0 }
    }

    /// How far it has come: the end of the last item.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the segment's bytes come from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// The next item; `None` at the end. What is there of an item that is not whole comes as
    /// damage if `ended` says that no more will be written. Batches for which `wanted` says no
    /// are passed over without being read.
    ///
    /// # Errors
    /// The source's.
    pub fn next(
        &mut self,
        ended: bool,
        wanted: impl Fn(&Header) -> bool,
    ) -> io::Result<Option<Item>> {
        if !self.fill(ROW)? {
            return Ok(if ended { self.damage(self.buffer.len()) } else { None });
        }
        let Some(row) = self.row_at(0) else { return self.resynchronise(ended) };
        let Row::Batch(header) = row else {
            self.take(ROW);
            return Ok(Some(Item::Row(row)));
        };
        if !self.follows(&header) {
            return self.resynchronise(ended);
        }
        let size = ROW + header.bytes as usize;
        if !wanted(&header) {
            return self.pass_over(header, size).map(Some);
        }
        if !self.fill(size)? {
            return if ended { self.resynchronise(true) } else { Ok(None) };
        }
        if !is_sound(&self.buffer[ROW..size], &header) {
            // Where the next row is in its place only this batch is damaged.
            let at_end = !self.fill(size + ROW)? && self.buffer.len() == size;
            if at_end || self.row_at(size).is_some() {
                return Ok(self.damage(size));
            }
            return self.resynchronise(ended);
        }
        self.came_to(&header);
        let mut record = self.take(size);
        Ok(Some(Item::Batch(header, record.split_off(ROW))))
    }

    fn pass_over(&mut self, header: Header, size: usize) -> io::Result<Item> {
        self.came_to(&header);
        let here = size.min(self.buffer.len());
        self.take(here);
        let beyond = (size - here) as u64;
        if beyond > 0 {
            self.source.skip(beyond)?;
            self.offset += beyond;
        }
        Ok(Item::Skipped(header))
    }

    /// Whether a batch can stand here: behind the one before it, or where damage has cost no more
    /// lines than it has bytes. Whoever may write to the folder can make up a row with a sum that
    /// is right.
    fn follows(&self, header: &Header) -> bool {
        header.first.checked_sub(self.next).is_some_and(|gap| gap <= self.lost)
    }

    fn came_to(&mut self, header: &Header) {
        (self.next, self.lost) = (header.end(), 0);
    }

    fn row_at(&self, at: usize) -> Option<Row> {
        Row::decode(self.buffer.get(at..at + ROW)?.try_into().ok()?)
    }

    /// Gives up bytes until something looks like a row again.
    fn resynchronise(&mut self, ended: bool) -> io::Result<Option<Item>> {
        let mut from = 1;
        loop {
            match find_row(&self.buffer[from..]).map(|at| from + at) {
                Some(at) if self.fill(at + ROW)? => {
                    if self.row_at(at).is_some() {
                        return Ok(self.damage(at));
                    }
                    from = at + 1;
                }
                // The end of the segment, or what may become a row yet.
                Some(at) if !ended => return Ok(self.damage(at)),
                Some(_) => return Ok(self.damage(self.buffer.len())),
                None => {
                    let searched = self.buffer.len();
                    if searched >= SCAN_CHUNK || !self.fill(searched + 1)? {
                        // A mark may be the last byte.
                        let all = searched - usize::from(searched > 1 && !ended);
                        return Ok(self.damage(all));
                    }
                    from = searched.saturating_sub(1).max(1);
                }
            }
        }
    }

    fn damage(&mut self, bytes: usize) -> Option<Item> {
        let at = self.offset;
        self.lost += bytes as u64;
        (bytes > 0).then(|| Item::Damage { at, bytes: self.take(bytes) })
    }

    fn take(&mut self, bytes: usize) -> Bytes {
        self.offset += bytes as u64;
        self.buffer.split_to(bytes).freeze()
    }

    /// Reads until the buffer has `bytes` bytes; whether the segment has so many.
    fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        debug_assert!(bytes <= RECORD_MAX + 2 * SCAN_CHUNK);
        while self.buffer.len() < bytes {
            let old = self.buffer.len();
            self.buffer.resize(old + self.chunk.max(bytes - old), 0);
            self.chunk = (2 * self.chunk).min(SCAN_CHUNK);
            let read = self.source.read(&mut self.buffer[old..]);
            let count = *read.as_ref().unwrap_or(&0);
            self.buffer.truncate(old + count);
            if read? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
