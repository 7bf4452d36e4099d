//! Reading one file: from its position to whole lines, and whether it is still the same file.

use std::io;

use bytes::{Bytes, BytesMut};

use super::decode::{Carried, Decode};
use super::disk::Tailed;
use super::identity::{first_line, kind, mark};
use crate::batch::{Blocks, Span};
use crate::clock::Mono;
use crate::ids::Identity;
use crate::input::{InputCounts, Piece};
use crate::limits::{FIRST_LINE_MAX, FOLLOW_READ, HOLE_MIN, LOOK_BACK};

/// The state of reading a file.
pub(super) struct Reading {
    /// Its origin in spools.
    pub(super) identity: Identity,
    /// The first byte that was not sent.
    pub(super) position: u64,
    /// Between the position and this offset there is no newline.
    scanned: u64,
    /// A fingerprint of the last bytes before the position.
    mark: u64,
    /// The positions of some spools: pieces are cut there.
    borders: Vec<u64>,
    /// When the incomplete bytes were first seen, and the file's length at that time.
    pub(super) rests: Option<(Mono, u64)>,
    decoder: Box<dyn Decode>,
}

/// The options of a read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// Longer lines are truncated.
    pub(super) max_line: usize,
    /// True if a last line without a newline counts as a line: nothing more will come.
    pub(super) ended: bool,
    /// True to send incomplete records.
    pub(super) all: bool,
    pub(super) now: Mono,
}

/// The result of a read.
#[derive(Debug)]
pub(super) enum Step {
    /// Lines, and whether there is more.
    Lines(Piece, bool),
    /// No lines; whether there is more.
    None(bool),
    /// The file was truncated: the bytes before the position are not those that were read.
    Truncated,
}

impl Reading {
    /// Begins at byte `position` of a file, which is at most one byte beyond its end; `None` where
    /// the file cannot have been read to there. `carried` is what the file before has left.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn begin(
        file: &impl Tailed,
        identity: Identity,
        position: u64,
        borders: Vec<u64>,
        (mut decoder, carried): (Box<dyn Decode>, Vec<Carried>),
    ) -> io::Result<Option<Self>> {
        let size = file.facts()?.size;
        // One byte beyond the end represents the remainder made at the end itself.
        let (position, is_over) = (position.min(size), position == size + 1);
        let before = before(file, position, LOOK_BACK)?;
        // A position is the end of a line.
        let fits = position == 0 || position == size || before.last() == Some(&b'\n');
        if !fits || (before.len() as u64) < position.min(LOOK_BACK as u64) {
            return Ok(None);
        }
        if position > 0 && !is_over && decoder.looks_back() > 0 {
            let before = self::before(file, position, decoder.looks_back())?;
            if before.len() as u64 == position {
                decoder.carried(carried);
            }
            decoder.resume(&before);
        }
        let mark = mark(&before);
        let rests = None;
        let scanned = position;
        Ok(Some(Self { identity, position, scanned, mark, borders, rests, decoder }))
    }

    /// Returns whether a file has the same bytes before the position; at the start, the same first
    /// line.
    pub(super) fn fits(&self, file: &impl Tailed) -> bool {
        if self.position == 0 {
            return kind_of(file).is_some_and(|kind| kind == self.identity.kind());
        }
        before(file, self.position, LOOK_BACK).is_ok_and(|before| mark(&before) == self.mark)
    }

    /// Reads once.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn step(
        &mut self,
        file: &impl Tailed,
        wish: Wish,
        blocks: &mut Blocks,
        counts: &mut InputCounts,
    ) -> io::Result<Step> {
        let size = file.facts()?.size;
        if self.scanned - self.position > (FOLLOW_READ / 2) as u64 {
            return self.step_in_long_line(file, size, wish, counts);
        }
        let back = length(self.position.min(LOOK_BACK as u64));
        let ahead = length(size.saturating_sub(self.position)).min(FOLLOW_READ);
        let buffer = blocks.with_room(back + ahead);
        debug_assert!(buffer.is_empty());
        let read = file.append_to(buffer, back + ahead, self.position - back as u64)?;
        let bytes = buffer.split().freeze();
        if read < back || mark(&bytes[..back]) != self.mark {
            return Ok(Step::Truncated);
        }
        // At the beginning, the first line tells whether it is the same file.
        if let Some(first) = first_line(&bytes).filter(|_| self.position == 0)
            && kind(first) != self.identity.kind()
        {
            return Ok(Step::Truncated);
        }
        let more = size > self.position + (read - back) as u64 && read == back + ahead;
        Ok(self.take(&bytes, back, (size, more), wish, counts))
    }

    /// Processes what was read: `back` bytes before the position, and those after it.
    fn take(
        &mut self,
        bytes: &Bytes,
        back: usize,
        (size, more): (u64, bool),
        wish: Wish,
        counts: &mut InputCounts,
    ) -> Step {
        let data = bytes.slice(back..);
        let end = memchr::memrchr(b'\n', &data).map_or(0, |at| at + 1);
        if end == 0 && data.len() >= HOLE_MIN && data.iter().all(|&byte| byte == 0) {
            self.move_to(bytes, back + data.len(), back);
            return Step::None(more);
        }
        let ended = wish.ended && !more;
        let mut whole = data.slice(..end);
        let mut appended = 0;
        if ended && end < data.len() {
            whole = [&data[..], b"\n"].concat().into();
            appended = 1;
        } else if end == 0 {
            self.scanned = self.position + data.len() as u64;
            return Step::None(more);
        }
        let border = self.next_border(whole.len());
        if let Some(border) = border {
            whole = whole.slice(..border);
        }
        let all = ended || wish.all || border.is_some();
        let mut decoded = self.decoder.decode(&whole, all, counts);
        if decoded.consumed == 0 && data.len() == FOLLOW_READ {
            // More than is decoded at once.
            decoded = self.decoder.decode(&whole, true, counts);
        }
        let rests = decoded.consumed < whole.len() && !decoded.is_full;
        self.note_rest(rests, size, wish.now);
        if decoded.consumed == 0 {
            return Step::None(false);
        }
        let consumed = match decoded.consumed == whole.len() {
            true => decoded.consumed - if border.is_some() { 0 } else { appended },
            false => decoded.consumed,
        };
        let first = self.position;
        self.move_to(bytes, back + consumed, back);
        let more = more || border.is_some() || decoded.is_full;
        self.piece(first, (decoded.bytes, decoded.lines), more)
    }

    fn piece(&self, first: u64, (bytes, lines): (Bytes, u32), more: bool) -> Step {
        if lines == 0 {
            return Step::None(more);
        }
        let last = self.position.saturating_sub(1).max(first);
        let origin = Some(Span { origin: self.identity, first, last });
        Step::Lines(Piece { origin, ..Piece::new(bytes, lines) }, more)
    }

    /// Moves the position to byte `to` of what was read, which begins `back` bytes before it.
    fn move_to(&mut self, bytes: &[u8], to: usize, back: usize) {
        self.position += (to - back) as u64;
        self.scanned = self.position;
        self.mark = mark(&bytes[to.saturating_sub(LOOK_BACK)..to]);
        self.borders.retain(|border| *border > self.position);
    }

    fn next_border(&self, length: usize) -> Option<usize> {
        let ends = self.borders.iter().filter_map(|border| border.checked_sub(self.position));
        ends.filter_map(|end| usize::try_from(end).ok())
            .filter(|end| (1..length).contains(end))
            .min()
    }

    fn note_rest(&mut self, rests: bool, size: u64, now: Mono) {
        self.rests = match (rests, self.rests) {
            (false, _) => None,
            (true, Some((since, before))) if before == size => Some((since, before)),
            (true, _) => Some((now, size)),
        };
    }

    /// Handles a line longer than a read: finds its end, and then reads its beginning.
    fn step_in_long_line(
        &mut self,
        file: &impl Tailed,
        size: u64,
        wish: Wish,
        counts: &mut InputCounts,
    ) -> io::Result<Step> {
        if !self.fits(file) || size < self.scanned {
            return Ok(Step::Truncated);
        }
        let mut buffer = vec![0; FOLLOW_READ];
        let read = file.read(&mut buffer, self.scanned)?;
        let more = read == buffer.len();
        let found = memchr::memchr(b'\n', &buffer[..read]);
        let end = match found {
            Some(at) => self.scanned + at as u64,
            None if wish.ended && !more => self.scanned + read as u64,
            None => {
                self.scanned += read as u64;
                return Ok(Step::None(more));
            }
        };
        let kept = length(end - self.position).min(wish.max_line);
        let mut line = BytesMut::zeroed(kept);
        let count = file.read(&mut line, self.position)?;
        line.truncate(count);
        line.extend_from_slice(b"\n");
        let cut = length(end - self.position) - count;
        if cut > 0 {
            counts.cut(cut);
        }
        let decoded = self.decoder.decode(&line.freeze(), true, counts);
        let (first, behind) = (self.position, end + u64::from(found.is_some()));
        let before = before(file, behind, LOOK_BACK)?;
        (self.position, self.scanned, self.mark) = (behind, behind, mark(&before));
        self.borders.retain(|border| *border > behind);
        Ok(self.piece(first, (decoded.bytes, decoded.lines), size > behind))
    }

    /// Takes what waits for more.
    pub(super) fn carry(&mut self) -> Vec<Carried> {
        self.decoder.carry()
    }

    /// The next file of the log is read from now on: what waits for more goes there.
    pub(super) fn carry_to(&mut self, next: &mut Self) {
        let carried = self.decoder.carry();
        if !carried.is_empty() {
            next.decoder.carried(carried);
        }
    }

    /// The file has ended: what its decoder holds. Its number is one beyond the last byte's.
    pub(super) fn end(&mut self, counts: &mut InputCounts) -> Option<Piece> {
        let (bytes, lines) = self.decoder.end(counts)?;
        let (first, last) = (self.position, self.position);
        let origin = Some(Span { origin: self.identity, first, last });
        Some(Piece { origin, ..Piece::new(bytes, lines) })
    }
}

/// The kind of a file's identity, by its first line.
fn kind_of(file: &impl Tailed) -> Option<u64> {
    let mut start = vec![0; FIRST_LINE_MAX];
    let read = file.read(&mut start, 0).ok()?;
    first_line(&start[..read]).map(kind)
}

/// At most `most` bytes before `position`; fewer where the file is shorter.
fn before(file: &impl Tailed, position: u64, most: usize) -> io::Result<Vec<u8>> {
    let count = position.min(most as u64);
    let mut bytes = vec![0; length(count)];
    let read = file.read(&mut bytes, position - count)?;
    bytes.truncate(read);
    Ok(bytes)
}

fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
