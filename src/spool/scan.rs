//! Reading one segment from beginning to end: rows, payloads and damage.

use std::io::{self, BufReader, Read};

use bytes::{Bytes, BytesMut};

use super::format::{Header, ROW, Row, find_row};
use crate::batch::{count_lines, take_front};
use crate::fs::FsFile;
use crate::limits::{RECORD_MAX, SCAN_CHUNK, SCAN_FIRST};

/// The next item of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A row other than a batch row.
    Row(Row),
    /// A complete batch with a valid checksum.
    Batch(Header, Bytes),
    /// A batch that the caller did not want; its payload was not read.
    Skipped(Header),
    /// Bytes that cannot be decoded. A long piece is reported in several parts.
    Damage {
        /// Where they begin, in bytes from the start of the segment.
        at: u64,
        /// The bytes.
        bytes: Bytes,
    },
}

/// A segment being read.
pub struct Scanner<S> {
    source: S,
    buffer: BytesMut,
    /// The offset of the buffer in the segment.
    offset: u64,
    /// The read size: small at first, because many readers want only one row.
    chunk: usize,
    /// The number of the next line, and how many lines damage may have cost since.
    next: u64,
    lost: u64,
}

/// The source of a segment's bytes.
pub trait SegmentBytes {
    /// Reads the next bytes; returns 0 at the end, which may have moved by the next call.
    ///
    /// # Errors
    /// The system's, or that a compressed segment is damaged.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Skips bytes.
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
    /// Opens a segment at its beginning.
    pub fn new(file: File) -> Self {
        Self { file, offset: 0 }
    }
}

impl<File: FsFile> SegmentBytes for Plain<File> {
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
        SegmentBytes::read(self, buffer)
    }
}

/// A compressed segment.
pub struct Packed<File: FsFile> {
    decoder: zstd::Decoder<'static, BufReader<Plain<File>>>,
}

impl<File: FsFile> Packed<File> {
    /// Opens a compressed segment at its beginning.
    ///
    /// # Errors
    /// If there is no memory for a decoder.
    pub fn new(file: File) -> io::Result<Self> {
        Ok(Self { decoder: zstd::Decoder::new(Plain::new(file))? })
    }
}

impl<File: FsFile> SegmentBytes for Packed<File> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        io::copy(&mut (&mut self.decoder).take(bytes), &mut io::sink())?;
        Ok(())
    }
}

/// Returns whether a payload matches its row.
fn is_sound(payload: &[u8], header: &Header) -> bool {
    crc32c::crc32c(payload) == header.sum
        && payload.last() == Some(&b'\n')
        && count_lines(payload) == header.lines
}

impl<S: SegmentBytes> Scanner<S> {
    /// Reads a segment from its beginning; its first line is `first`.
    pub fn new(source: S, first: u64) -> Self {
        let (buffer, chunk) = (BytesMut::new(), SCAN_FIRST);
        Self { source, buffer, offset: 0, chunk, next: first, lost: 0 }
    }

    /// The end of the last item, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The source of the segment's bytes.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Returns the next item; `None` at the end. With `ended`, which says that no more will be
    /// written, an incomplete item at the end is reported as damage. Batches that `wanted` rejects
    /// are skipped without being read.
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
            // If the next row is in its place, only this batch is damaged.
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

    /// Returns whether a batch can stand here: right after the previous one, or after damage that
    /// cost no more lines than it has bytes. Anyone who can write to the folder can forge a row
    /// with a valid checksum.
    fn follows(&self, header: &Header) -> bool {
        header.first.checked_sub(self.next).is_some_and(|gap| gap <= self.lost)
    }

    fn came_to(&mut self, header: &Header) {
        (self.next, self.lost) = (header.end(), 0);
    }

    fn row_at(&self, at: usize) -> Option<Row> {
        Row::decode(self.buffer.get(at..at + ROW)?.try_into().ok()?)
    }

    /// Discards bytes until something looks like a row again.
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
                // The end of the segment, or the start of a row still being written.
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
        take_front(&mut self.buffer, bytes)
    }

    /// Reads until the buffer has `bytes` bytes; returns whether the segment has that many.
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
