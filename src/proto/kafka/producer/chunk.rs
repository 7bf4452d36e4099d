//! Lines on their way to one partition.

use bytes::Bytes;

use crate::batch::{count_lines, end_of_lines};

/// Lines that follow each other in one partition, as they are written there.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    /// The lines, each ended by a newline.
    pub(super) lines: Bytes,
    /// How many.
    pub(super) count: u32,
    /// The piece that they are of.
    pub(super) piece: u64,
    /// When they were received, in milliseconds since 1970.
    pub(super) time: i64,
    /// The key of the line; there is only one line then.
    pub(super) key: Option<Bytes>,
    /// The headers of the line; there is only one line then.
    pub(super) headers: Option<Box<[(&'static str, Bytes); 2]>>,
}

/// About how many bytes a record takes beside its line, its key and its headers.
pub(super) const OVERHEAD: usize = 16;

impl Chunk {
    /// About how many bytes its records take.
    pub(super) fn size(&self) -> usize {
        let headers = self.headers.iter().flat_map(|headers| headers.iter());
        let headers: usize = headers.map(|(name, value)| name.len() + value.len() + 4).sum();
        let key = self.key.as_ref().map_or(0, Bytes::len);
        self.lines.len() + self.count as usize * OVERHEAD + key + headers
    }

    /// The length of its first line, with its newline.
    pub(super) fn first_line(&self) -> usize {
        memchr::memchr(b'\n', &self.lines).map_or(self.lines.len(), |end| end + 1)
    }

    /// The lines between two bytes.
    pub(super) fn part(&self, start: usize, end: usize) -> Self {
        let lines = self.lines.slice(start..end);
        let (piece, time) = (self.piece, self.time);
        Self { count: count_lines(&lines), lines, piece, time, key: None, headers: None }
    }

    /// Takes up to `max` lines, at least one, off the front.
    pub(super) fn take_front(&mut self, max: u64) -> Self {
        if u64::from(self.count) <= max {
            let empty = Self { lines: Bytes::new(), count: 0, key: None, headers: None, ..*self };
            return std::mem::replace(self, empty);
        }
        let lines = self.lines.split_to(end_of_lines(&self.lines, max));
        let count = u32::try_from(max).unwrap_or(u32::MAX);
        self.count -= count;
        Self { lines, count, key: None, headers: None, ..*self }
    }

    /// Takes whole lines up to `room` bytes off the front, at least one.
    pub(super) fn take_bytes(&mut self, room: usize) -> Self {
        if self.lines.len() <= room {
            return self.take_front(u64::MAX);
        }
        let fits = memchr::memrchr(b'\n', &self.lines[..room]);
        let end = fits.or_else(|| memchr::memchr(b'\n', &self.lines));
        let end = end.map_or(self.lines.len(), |end| end + 1);
        let count = count_lines(&self.lines[..end]);
        self.take_front(u64::from(count))
    }
}
