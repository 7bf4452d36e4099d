//! Writing a spool: batches into segments. What makes them durable is in [`super::sync`], what
//! goes where there is no room in [`super::room`].
//!
//! A writer is told what to do and does it at once; it knows no thread and no clock. What it
//! could not make durable its caller still has: after a failed sync [`Writer::next_line`] is
//! back at [`Writer::durable`], and the caller appends again from there on.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use super::age::{Now, Steady, Written};
use super::folder::Name;
use super::format::{Header, ROW, Row, segment_name};
use super::origins::Origins;
use super::plan::{SpoolFull, SpoolPlan};
use super::room::Room;
use super::sync::set_spare_aside;
use crate::batch::Batch;
use crate::fs::{Fs, FsFile, NEW, with_suffix, write_all};
use crate::ids::Identity;
use crate::limits::{FILE_MODE_DEFAULT, INPUTS_MAX, LINE_NUMBER_MAX, SEGMENT_HEADS};

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the segment, its first line under this number.
    Stored(u64),
    /// Its lines were here already: another logweir sent them again.
    Duplicate,
    /// The spool is full, and the new lines are what is dropped.
    Refused,
}

/// Why an append stopped before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// The spool is full, and what could be dropped is not durable yet: a sync must come first.
    Unsynced,
    /// The spool or its disk is full, and lines wait for room. Says which.
    Full(String),
    /// The disk refuses. Says how.
    Failed(String),
}

/// What came of an append.
#[derive(Debug, Default)]
pub struct Appended {
    /// What became of the first batches; those behind are still the caller's.
    pub outcomes: Vec<Outcome>,
    /// Why it is not all.
    pub stopped: Option<Stopped>,
}

/// Why nothing could be appended.
#[derive(Debug)]
pub(super) enum Halt {
    /// A sync must come first.
    Unsynced,
    /// There is no room.
    Full(&'static str),
    /// The system refused.
    Io(io::Error),
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full("the disk is full"),
            _ => Self::Io(error),
        }
    }
}

/// A segment that is no longer written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The number of its first line.
    pub first: u64,
    /// Whether it is compressed.
    pub packed: bool,
    /// How long it is.
    pub bytes: u64,
    /// When it was last written to.
    pub written: Written,
    /// Whether its name is durable.
    pub named: bool,
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Active<File> {
    pub(super) file: File,
    pub(super) first: u64,
    pub(super) len: u64,
    /// How much of it is durable.
    pub(super) synced: u64,
    pub(super) begun: Written,
    pub(super) written: Written,
    inputs: Vec<Arc<str>>,
    /// Whether its name is durable.
    pub(super) named: bool,
}

/// A closed segment that no sync has covered yet.
#[derive(Debug)]
pub(super) struct Unsynced<File> {
    pub(super) file: File,
    pub(super) first: u64,
    pub(super) named: bool,
}

/// A spool, open for writing.
#[derive(Debug)]
pub struct Writer<F: Fs> {
    pub(super) fs: F,
    pub(super) plan: SpoolPlan,
    _lock: F::Lock,
    identity: Identity,
    pub(super) closed: VecDeque<Closed>,
    /// The last of the closed segments, as far as they are not durable.
    pub(super) unsynced: VecDeque<Unsynced<F::File>>,
    pub(super) active: Option<Active<F::File>>,
    /// Segments that were given up and hold no line that counts: they go before the next begins.
    stale: Vec<u64>,
    pub(super) next: u64,
    pub(super) durable: u64,
    pub(super) origins: Origins,
    /// How far each reader is by its cursor on disk.
    pub(super) readers: BTreeMap<String, u64>,
    /// The positions of all cursors on disk, also of readers that there are no more.
    pub(super) known: BTreeMap<String, u64>,
    to_compress: Vec<PathBuf>,
    /// How often segments were given up.
    epoch: u64,
    /// Whether a sync is under way.
    pub(super) syncing: bool,
    /// Whether cursors are being written.
    pub(super) tidying: bool,
    pub(super) room: Room,
    pub(super) now: Now,
    pub(super) steady: Steady,
}

/// What a spool holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// The number of the oldest line kept.
    pub oldest: u64,
    /// The number after the last durable line.
    pub durable: u64,
    /// The number after the last line.
    pub next: u64,
    /// Bytes on disk, rows included.
    pub bytes: u64,
    /// Segments.
    pub segments: u64,
    /// The first line that some reader has not passed by its cursor on disk: what is before it is
    /// kept only.
    pub passed: u64,
    /// The number after the last line that was dropped for its age.
    pub expired: u64,
    /// Where a reader without a cursor begins: at the oldest line, or with `keep` at the lowest
    /// cursor on disk, so that it is not given again what is only kept.
    pub start: u64,
}

/// What recovery found, for a writer to go on from.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) identity: Identity,
    pub(super) closed: VecDeque<Closed>,
    pub(super) next: u64,
    pub(super) origins: Origins,
    pub(super) readers: BTreeMap<String, u64>,
    pub(super) known: BTreeMap<String, u64>,
    pub(super) now: Now,
}

impl<F: Fs> Writer<F> {
    pub(super) fn recovered(fs: F, plan: SpoolPlan, lock: F::Lock, found: Recovered) -> Self {
        let Recovered { identity, closed, next, origins, readers, known, now } = found;
        let newest = closed.iter().map(|closed| closed.written.wall).max();
        let base = newest.filter(|newest| *newest < now.wall).unwrap_or(now.wall);
        let writer = Self {
            fs,
            plan,
            _lock: lock,
            identity,
            closed,
            unsynced: VecDeque::new(),
            active: None,
            stale: Vec::new(),
            next,
            durable: next,
            origins,
            readers,
            known,
            to_compress: Vec::new(),
            epoch: 0,
            syncing: false,
            tidying: false,
            room: Room::default(),
            now,
            steady: Steady::new(base),
        };
        set_spare_aside(&writer.fs, &writer.plan.dir);
        writer
    }

    /// The spool's identity.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The number that the next line gets.
    pub fn next_line(&self) -> u64 {
        self.next
    }

    /// The number after the last durable line.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// The number of the last durable line of each origin.
    pub fn origins(&self) -> BTreeMap<Identity, u64> {
        self.origins.durable()
    }

    /// How often segments were given up; what was not durable in them is to be appended again.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What it holds.
    pub fn held(&self) -> Held {
        let active = self.active.as_ref();
        let first = self.closed.front().map(|closed| closed.first);
        let oldest = first.or_else(|| active.map(|active| active.first)).unwrap_or(self.next);
        Held {
            oldest,
            durable: self.durable,
            next: self.next,
            bytes: self.bytes(),
            segments: self.closed.len() as u64 + u64::from(active.is_some()),
            passed: self.passed().unwrap_or(oldest).max(oldest),
            expired: self.room.expired,
            start: self.lowest_cursor().map_or(oldest, |lowest| lowest.max(oldest)),
        }
    }

    fn lowest_cursor(&self) -> Option<u64> {
        self.plan.keep.and_then(|_| self.known.values().min().copied())
    }

    pub(super) fn bytes(&self) -> u64 {
        let closed: u64 = self.closed.iter().map(|closed| closed.bytes).sum();
        closed + self.active.as_ref().map_or(0, |active| active.len)
    }

    /// Segments that are to be compressed, once.
    pub fn take_to_compress(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.to_compress)
    }

    /// Says what time it is.
    pub fn set_now(&mut self, now: Now) {
        self.now = now;
    }

    /// Goes on by another plan, in the same folder.
    pub fn set_plan(&mut self, plan: SpoolPlan) {
        self.plan = plan;
    }

    /// Names the readers there are now; a new one begins at [`Held::start`].
    pub fn set_readers(&mut self, names: &[String]) {
        self.readers.retain(|name, _| names.contains(name));
        for name in names {
            self.readers.entry(name.clone()).or_insert(0);
        }
    }

    /// Nothing will come from this origin any more, and all that came is durable.
    pub fn forget(&mut self, origin: Identity) {
        self.origins.end(origin);
    }

    /// Whether something was appended that is not durable.
    pub fn is_dirty(&self) -> bool {
        self.durable < self.next
    }

    // ---- appending

    /// Appends batches. A batch from an origin whose lines are here already is passed over.
    /// Nothing here waits for a sync.
    pub fn append(&mut self, batches: &[Batch]) -> Appended {
        let mut appended = Appended::default();
        let (mut rest, epoch) = (batches, self.epoch);
        while let Some(batch) = rest.first() {
            if self.is_duplicate(batch) {
                appended.outcomes.push(Outcome::Duplicate);
                rest = &rest[1..];
                continue;
            }
            let halt = match self.append_some(rest) {
                Ok(outcomes) => {
                    rest = &rest[outcomes.len()..];
                    appended.outcomes.extend(outcomes);
                    continue;
                }
                // All that is not durable was given up and will be given again, this too.
                Err(Halt::Full(why)) if self.epoch != epoch => Halt::Io(io::Error::other(why)),
                // Others fill the disk too: what was seen as free may be gone.
                Err(Halt::Full(why)) => match self.drop_for_room(why) {
                    Ok(()) => continue,
                    Err(halt) => halt,
                },
                Err(halt) => halt,
            };
            let dir = self.plan.dir.display();
            appended.stopped = Some(match halt {
                Halt::Full(_) if self.plan.when_full == SpoolFull::DropNewest => {
                    appended.outcomes.push(Outcome::Refused);
                    rest = &rest[1..];
                    continue;
                }
                Halt::Full(why) => Stopped::Full(format!("{dir}: {why}")),
                Halt::Unsynced => Stopped::Unsynced,
                Halt::Io(error) => Stopped::Failed(format!("{dir}: {error}")),
            });
            break;
        }
        appended
    }

    fn is_duplicate(&self, batch: &Batch) -> bool {
        batch.origin.is_some_and(|span| {
            self.origins.last(span.origin).is_some_and(|last| span.last <= last)
        })
    }

    /// Appends the first batches that go into one segment, by one write; at least one.
    fn append_some(&mut self, batches: &[Batch]) -> Result<Vec<Outcome>, Halt> {
        let first_size = (2 * ROW + batches[0].bytes.len()) as u64;
        if self.next >= LINE_NUMBER_MAX - u64::from(u32::MAX) {
            return Err(Halt::Io(io::Error::other("there are no line numbers left")));
        }
        self.make_room(first_size + self.head_size())?;
        self.begin_where_needed(first_size)?;
        let room = self.room_in_segment();
        let written = Written { wall: self.now.wall, mono: Some(self.now.mono) };
        let Some(active) = &mut self.active else { return Err(Halt::Full("it has no segment")) };
        let inputs_before = active.inputs.len();
        let piece = Piece::of(batches, self.next, room, &mut active.inputs);
        let mut slices = piece.slices();
        if let Err(error) = write_all(&mut active.file, &mut slices) {
            active.inputs.truncate(inputs_before);
            // What got in is cut back, so that the next append begins where this one should
            // have; where not even that goes, nothing is written here any more.
            if active.file.set_len(active.len).is_err() {
                self.latch();
            }
            return Err(error.into());
        }
        active.len += piece.size;
        active.written = written;
        self.next = piece.next;
        for (batch, outcome) in batches.iter().zip(&piece.outcomes) {
            if let (Some(span), Outcome::Stored(first)) = (batch.origin, outcome) {
                self.note_origin(span.origin, span.last, first + u64::from(batch.lines));
            }
        }
        Ok(piece.outcomes)
    }

    fn note_origin(&mut self, spool: Identity, last: u64, end: u64) {
        if let Some(forgotten) = self.origins.note(spool, last, end) {
            let dir = self.plan.dir.display();
            log::warn!("{dir}: origin {forgotten} is forgotten, there are too many");
        }
    }

    // ---- segments

    /// How much a segment may have: the table of origins at its beginning should be a small part.
    fn segment_size(&self) -> u64 {
        let least = (SEGMENT_HEADS * self.head_size()).min(self.plan.max_size / 4);
        self.plan.segment.max(least)
    }

    fn head_size(&self) -> u64 {
        (ROW * (1 + self.origins.len())) as u64
    }

    /// How much the active segment can take yet.
    fn room_in_segment(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| self.segment_size().saturating_sub(active.len))
    }

    /// Begins a new segment where there is none or the active one is full.
    pub(super) fn begin_where_needed(&mut self, size: u64) -> io::Result<()> {
        if let Some(active) = &self.active {
            let many = active.inputs.len() >= usize::from(INPUTS_MAX);
            if active.len + size <= self.segment_size() && !many || active.first == self.next {
                return Ok(());
            }
        }
        self.close_active();
        self.remove_stale()?;
        let first = self.next;
        let path = self.plan.dir.join(segment_name(first));
        // One that was begun and has no line: whatever is in it is nobody's. It is replaced in
        // one step, so that there is a whole one at any time.
        let replaces = self.closed.back().is_some_and(|closed| closed.first == first);
        let begun = if replaces { with_suffix(&path, NEW) } else { path.clone() };
        let mut file = self.fs.append_own(&begun, FILE_MODE_DEFAULT)?;
        file.set_len(0)?;
        let head = self.head(first);
        let mut written = write_all(&mut file, &mut [IoSlice::new(&head)]);
        if replaces && written.is_ok() {
            written = file.sync().and_then(|()| self.fs.rename(&begun, &path));
        }
        if let Err(error) = written {
            // Without a line it would be the newest and say nothing.
            let _ = self.fs.remove(&begun);
            return Err(error);
        }
        if replaces {
            self.closed.pop_back();
        }
        let now = Written { wall: self.now.wall, mono: Some(self.now.mono) };
        self.active = Some(Active {
            file,
            first,
            len: head.len() as u64,
            synced: 0,
            begun: now,
            written: now,
            inputs: Vec::new(),
            named: false,
        });
        Ok(())
    }

    /// What a segment begins with: the spool, and the origins so far.
    fn head(&self, first: u64) -> Vec<u8> {
        let origins = u32::try_from(self.origins.len()).unwrap_or(u32::MAX);
        let (spool, durable) = (self.identity, self.durable);
        let mut head = Row::Segment { spool, first, origins, durable }.encode().to_vec();
        for (spool, last) in self.origins.rows() {
            head.extend_from_slice(&Row::Origin { spool, last }.encode());
        }
        head
    }

    /// The active segment is written to no more. What of it is not durable the next sync covers.
    pub(super) fn close_active(&mut self) {
        let Some(active) = self.active.take() else { return };
        let Active { file, first, len, synced, written, named, .. } = active;
        self.closed.push_back(Closed { first, packed: false, bytes: len, written, named });
        if synced < len || !named {
            self.unsynced.push_back(Unsynced { file, first, named });
        } else {
            self.compress_later(first);
        }
    }

    /// A closed segment is durable: it is compressed where that is asked for.
    pub(super) fn compress_later(&mut self, first: u64) {
        if self.plan.compress {
            self.to_compress.push(self.plan.dir.join(segment_name(first)));
        }
    }

    /// Gives up all that is not durable: it is to be appended again, and goes to a new segment.
    pub(super) fn latch(&mut self) {
        self.epoch += 1;
        self.origins.roll_back();
        self.next = self.durable;
        let compressed = self.to_compress.len();
        self.close_active();
        self.to_compress.truncate(compressed);
        self.unsynced.clear();
        while let Some(last) = self.closed.back()
            && last.first > self.durable
        {
            self.stale.push(last.first);
            self.closed.pop_back();
        }
    }

    /// Removes segments that were given up. While one is there its name would end the segment
    /// before it, and what it holds would count.
    fn remove_stale(&mut self) -> io::Result<()> {
        while let Some(&first) = self.stale.first() {
            match self.fs.remove(&Name { first, packed: false }.path(&self.plan.dir)) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed?,
            }
            self.stale.remove(0);
        }
        Ok(())
    }

    /// Takes notice of segments that were compressed meanwhile.
    pub fn refresh_sizes(&mut self) {
        let dir = &self.plan.dir;
        for closed in self.closed.iter_mut().filter(|closed| !closed.packed) {
            let packed = Name { first: closed.first, packed: true }.path(dir);
            let plain = Name { first: closed.first, packed: false }.path(dir);
            if !self.fs.exists(&plain)
                && let Ok(bytes) = self.fs.length(&packed)
            {
                (closed.packed, closed.bytes) = (true, bytes);
            }
        }
    }
}

/// Batches that are written together.
#[derive(Debug)]
struct Piece<'b> {
    rows: Vec<(Vec<u8>, &'b [u8])>,
    outcomes: Vec<Outcome>,
    size: u64,
    /// The number after the last line.
    next: u64,
}

impl<'b> Piece<'b> {
    /// The first batches that fit into `room` bytes, at least one; their lines are numbered from
    /// `next` on.
    fn of(batches: &'b [Batch], next: u64, room: u64, inputs: &mut Vec<Arc<str>>) -> Self {
        let mut piece = Self { rows: Vec::new(), outcomes: Vec::new(), size: 0, next };
        let mut origins = Vec::new();
        for batch in batches {
            let known = inputs.contains(&batch.input);
            let grown = (ROW * (1 + usize::from(!known)) + batch.bytes.len()) as u64;
            let again = batch.origin.is_some_and(|span| {
                origins.iter().any(|(origin, last)| *origin == span.origin && *last >= span.last)
            });
            let stop = !piece.outcomes.is_empty() && piece.size + grown > room;
            if stop
                || again
                || (piece.outcomes.len() >= 16)
                || (!known && inputs.len() >= usize::from(INPUTS_MAX))
            {
                break;
            }
            piece.rows.push(rows_of(batch, piece.next, inputs));
            piece.outcomes.push(Outcome::Stored(piece.next));
            piece.next += u64::from(batch.lines);
            piece.size += grown;
            origins.extend(batch.origin.map(|span| (span.origin, span.last)));
        }
        piece
    }

    fn slices(&self) -> Vec<IoSlice<'_>> {
        self.rows
            .iter()
            .flat_map(|(row, payload)| [IoSlice::new(row), IoSlice::new(payload)])
            .collect()
    }
}

/// The rows of a batch, its input's before where that is new, and its payload.
fn rows_of<'b>(batch: &'b Batch, first: u64, inputs: &mut Vec<Arc<str>>) -> (Vec<u8>, &'b [u8]) {
    let mut rows = Vec::with_capacity(2 * ROW);
    let known = inputs.iter().position(|name| *name == batch.input);
    let number = known.unwrap_or(inputs.len());
    let input = u16::try_from(number).unwrap_or(INPUTS_MAX);
    if known.is_none() {
        inputs.push(Arc::clone(&batch.input));
        let name = batch.input.to_string();
        rows.extend_from_slice(&Row::Input { number: input, name }.encode());
    }
    let header = Header {
        first,
        lines: batch.lines,
        bytes: u32::try_from(batch.bytes.len()).unwrap_or(u32::MAX),
        received: batch.received,
        input,
        origin: batch.origin.map(|span| (span.origin, span.last)),
        sum: crc32c::crc32c(&batch.bytes),
    };
    rows.extend_from_slice(&Row::Batch(header).encode());
    (rows, &batch.bytes)
}
