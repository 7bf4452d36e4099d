//! Writing a spool: batches into segments. [`super::sync`] makes them durable; [`super::room`]
//! decides what to drop when there is no room.
//!
//! A writer executes each call at once; it knows no thread and no clock. Its caller keeps every
//! line that is not durable: after a failed sync [`Writer::next_line`] is back at
//! [`Writer::durable`], and the caller appends again from there on.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::age::{Now, Steady, Written};
use super::folder::Name;
use super::format::{Header, ROW, Row, segment_name};
use super::origins::Origins;
use super::plan::{SpoolFull, SpoolPlan};
use super::room::Room;
use super::sync::set_spare_aside;
use crate::batch::Batch;
use crate::fs::{Fs, FsFile, NEW, read_full, with_suffix, write_all};
use crate::ids::Identity;
use crate::limits::{FILE_MODE_DEFAULT, INPUTS_MAX, LINE_NUMBER_MAX, SEGMENT_HEADS};
use crate::minute::Minute;

/// The outcome of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the segment; its first line has this number.
    Stored(u64),
    /// Its lines were already here: another logweir sent them again.
    Duplicate,
    /// The spool is full, and the new lines are dropped.
    Refused,
}

/// Why an append stopped early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// The spool is full, and the lines to drop are not durable yet: a sync must come first.
    Unsynced,
    /// The spool or its disk is full, and lines wait for room; the text says which.
    Full(String),
    /// The disk refuses; the text says how.
    Failed(String),
}

/// The result of an append.
#[derive(Debug, Default)]
pub struct Appended {
    /// The outcomes of the first batches; the remaining batches are still the caller's.
    pub outcomes: Vec<Outcome>,
    /// Why the rest was not appended.
    pub stopped: Option<Stopped>,
}

/// Why nothing was appended.
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
    /// True if it is compressed.
    pub packed: bool,
    /// Its size.
    pub bytes: u64,
    /// When it was last written to.
    pub written: Written,
    /// True if its name is durable.
    pub named: bool,
}

/// The segment being written.
#[derive(Debug)]
pub(super) struct Active<File> {
    pub(super) file: File,
    pub(super) first: u64,
    pub(super) len: u64,
    /// How many bytes of it are durable.
    pub(super) synced: u64,
    pub(super) begun: Written,
    pub(super) written: Written,
    inputs: Vec<InputRow>,
    /// True if its name is durable.
    pub(super) named: bool,
}

/// An input that has a row in a segment, and the minute that the row tells.
type InputRow = (Arc<str>, Option<Minute>);

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
    /// The newest closed segments, from the first that is not durable.
    pub(super) unsynced: VecDeque<Unsynced<F::File>>,
    pub(super) active: Option<Active<F::File>>,
    /// Abandoned segments without valid lines: they are removed before the next segment begins.
    stale: Vec<u64>,
    pub(super) next: u64,
    pub(super) durable: u64,
    pub(super) origins: Origins,
    /// The position of each reader's cursor on disk.
    pub(super) readers: BTreeMap<String, u64>,
    /// The positions of all cursors on disk, including those of former readers.
    pub(super) known: BTreeMap<String, u64>,
    to_compress: Vec<PathBuf>,
    /// How often segments were abandoned.
    epoch: u64,
    /// True while a sync runs.
    pub(super) syncing: bool,
    /// True while cursors are being written.
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
    /// The number of segments.
    pub segments: u64,
    /// The first line that some reader's cursor on disk has not passed; earlier lines are held only
    /// because of `keep`.
    pub passed: u64,
    /// The number after the last line that was dropped for its age.
    pub expired: u64,
    /// Where a reader without a cursor begins: at the oldest line, or with `keep` at the lowest
    /// cursor on disk, so that it does not receive lines held only because of `keep`.
    pub start: u64,
}

/// The result of recovery, from which a writer continues.
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

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.plan.dir
    }

    /// The spool's identity.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The number of the next line.
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

    /// How often segments were abandoned; lines in them that were not durable must be appended
    /// again.
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

    /// Segments to compress; each is returned once.
    pub fn take_to_compress(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.to_compress)
    }

    /// Sets the time.
    pub fn set_now(&mut self, now: Now) {
        self.now = now;
    }

    /// Switches to another plan, for the same folder.
    pub fn set_plan(&mut self, plan: SpoolPlan) {
        self.plan = plan;
    }

    /// Sets the current readers; a new one begins at [`Held::start`].
    pub fn set_readers(&mut self, names: &[String]) {
        self.readers.retain(|name, _| names.contains(name));
        for name in names {
            self.readers.entry(name.clone()).or_insert(0);
        }
    }

    /// Removes an origin that will send no more lines and whose lines are all durable.
    pub fn forget(&mut self, origin: Identity) {
        self.origins.end(origin);
    }

    /// Returns whether appended lines are not durable yet.
    pub fn is_dirty(&self) -> bool {
        self.durable < self.next
    }

    // ---- appending

    /// Appends batches, skipping those from an origin whose lines are already here. Never waits for
    /// a sync.
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
                // Everything not durable was abandoned and will be submitted again, including this.
                Err(Halt::Full(why)) if self.epoch != epoch => Halt::Io(io::Error::other(why)),
                // Others fill the disk too: the room seen free may be gone.
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

    /// Appends the first batches that fit into one segment, in one write; at least one.
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
            // Partial data is cut off, so that the next append begins where this one should have;
            // if even that fails, nothing more is written here.
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
            log::warn!("{dir}: origin {forgotten} is forgotten: there are too many origins");
        }
    }

    // ---- segments

    /// The size limit of a segment: the table of origins at its beginning should be a small part.
    fn segment_size(&self) -> u64 {
        let least = (SEGMENT_HEADS * self.head_size()).min(self.plan.max_size / 4);
        self.plan.segment.max(least)
    }

    fn head_size(&self) -> u64 {
        (ROW * (1 + self.origins.len())) as u64
    }

    /// How many more bytes fit into the active segment.
    fn room_in_segment(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| self.segment_size().saturating_sub(active.len))
    }

    /// Begins a new segment if there is none or the active one is full.
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
        // A segment that was begun and has no line is continued. If its head is not what it should
        // be, it is replaced in one step, so that a whole one exists at any time.
        let replaces = self.closed.back().is_some_and(|closed| closed.first == first);
        if replaces && self.continue_empty(first, &path)? {
            return Ok(());
        }
        let begun = if replaces { with_suffix(&path, NEW) } else { path.clone() };
        let mut file = self.fs.append_own(&begun, FILE_MODE_DEFAULT)?;
        file.set_len(0)?;
        let head = self.head(first);
        let mut written = write_all(&mut file, &mut [IoSlice::new(&head)]);
        if replaces && written.is_ok() {
            written = file.sync().and_then(|()| self.fs.rename(&begun, &path));
        }
        if let Err(error) = written {
            // Without a line it would be the newest segment and hold nothing.
            let _ = self.fs.remove(&begun);
            return Err(error);
        }
        if replaces {
            self.closed.pop_back();
        }
        self.begin(file, first, head.len(), false);
        Ok(())
    }

    /// Continues a segment that has no line, as a start finds one that was begun before it: so it
    /// needs no sync, for which all appends would have to wait. Returns whether its head is as if
    /// it were begun now. It may name an older durable line: a start then reads a little more.
    fn continue_empty(&mut self, first: u64, path: &Path) -> io::Result<bool> {
        if self.closed.back().is_some_and(|closed| closed.packed) {
            return Ok(false);
        }
        let file = self.fs.append_own(path, FILE_MODE_DEFAULT)?;
        let mut found = vec![0; self.head(first).len()];
        if file.length()? != found.len() as u64 || read_full(&file, &mut found, 0)? != found.len() {
            return Ok(false);
        }
        let row = found.first_chunk().and_then(Row::decode);
        let Some(Row::Segment { durable, .. }) = row else { return Ok(false) };
        if durable > self.durable || found != self.head_of(first, durable) {
            return Ok(false);
        }
        let named = self.closed.pop_back().is_some_and(|closed| closed.named);
        self.begin(file, first, found.len(), named);
        Ok(true)
    }

    fn begin(&mut self, file: F::File, first: u64, len: usize, named: bool) {
        let now = Written { wall: self.now.wall, mono: Some(self.now.mono) };
        let (begun, written, len, inputs) = (now, now, len as u64, Vec::new());
        self.active = Some(Active { file, first, len, synced: 0, begun, written, inputs, named });
    }

    /// The beginning of a segment: the spool, and the origins so far.
    fn head(&self, first: u64) -> Vec<u8> {
        self.head_of(first, self.durable)
    }

    /// The same, where `durable` is the first line not known to be durable.
    fn head_of(&self, first: u64, durable: u64) -> Vec<u8> {
        let origins = u32::try_from(self.origins.len()).unwrap_or(u32::MAX);
        let mut head =
            Row::Segment { spool: self.identity, first, origins, durable }.encode().to_vec();
        for (spool, last) in self.origins.rows() {
            head.extend_from_slice(&Row::Origin { spool, last }.encode());
        }
        head
    }

    /// Closes the active segment. The next sync covers what is not durable in it.
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

    /// Queues a durable closed segment for compression, if configured.
    pub(super) fn compress_later(&mut self, first: u64) {
        if self.plan.compress {
            self.to_compress.push(self.plan.dir.join(segment_name(first)));
        }
    }

    /// Abandons everything not durable: it must be appended again, to a new segment.
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

    /// Removes abandoned segments. As long as one is there, its name would end the segment before
    /// it, and its contents would count.
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

    /// Updates the sizes of segments that have been compressed.
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
    /// Takes the first batches that fit into `room` bytes, at least one; their lines are numbered
    /// from `next` on.
    fn of(batches: &'b [Batch], next: u64, room: u64, inputs: &mut Vec<InputRow>) -> Self {
        let mut piece = Self { rows: Vec::new(), outcomes: Vec::new(), size: 0, next };
        let mut origins = Vec::new();
        for batch in batches {
            let known = number_of(batch, inputs).is_some();
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

/// The minute that a batch's own row does not tell.
fn told_minute(batch: &Batch) -> Option<Minute> {
    (batch.minute != Minute::of(batch.received)).then_some(batch.minute)
}

/// The number of a batch's input in the segment, if it has a row.
fn number_of(batch: &Batch, inputs: &[InputRow]) -> Option<usize> {
    let minute = told_minute(batch);
    // The last minutes are the likeliest.
    inputs.iter().rposition(|(name, told)| *told == minute && *name == batch.input)
}

/// The rows of a batch, preceded by its input's row if that is new, and its payload.
fn rows_of<'b>(batch: &'b Batch, first: u64, inputs: &mut Vec<InputRow>) -> (Vec<u8>, &'b [u8]) {
    let mut rows = Vec::with_capacity(2 * ROW);
    let known = number_of(batch, inputs);
    let number = known.unwrap_or(inputs.len());
    let input = u16::try_from(number).unwrap_or(INPUTS_MAX);
    if known.is_none() {
        let minute = told_minute(batch);
        inputs.push((Arc::clone(&batch.input), minute));
        let name = batch.input.to_string();
        rows.extend_from_slice(&Row::Input { number: input, name, minute }.encode());
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
