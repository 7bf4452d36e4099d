//! Writing a spool: batches into segments, group commit, caps, cursors, removal.
//!
//! A writer is told what to do and does it at once; it knows no thread and no clock. What it
//! could not make durable its caller still has: after a failed sync [`Writer::next_line`] is
//! back at [`Writer::durable`], and the caller appends again from there on.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::path::PathBuf;
use std::time::SystemTime;

use super::cursor::Cursor;
use super::folder::Name;
use super::format::{Header, ROW, Row, segment_name};
use crate::batch::Batch;
use crate::config::plan::{SpoolFull, SpoolPlan, Sync};
use crate::fs::{Fs, FsFile, NEW, replace, with_suffix, write_all};
use crate::ids::Identity;
use crate::limits::{FILE_MODE_DEFAULT, FREE_EVERY, INPUTS_MOST, ORIGINS_MOST};

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is in the segment, its first line under this number.
    Stored(u64),
    /// Its lines were here already: another logweir sent them again.
    Duplicate,
    /// The spool is full, and the new lines are what is dropped.
    Refused,
}

/// What came of an append.
#[derive(Debug, Default)]
pub struct Appended {
    /// What became of the first batches; those behind are still the caller's.
    pub fates: Vec<Fate>,
    /// Why it is not all.
    pub error: Option<String>,
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
    /// When its last line was received, or the file last written.
    pub newest: SystemTime,
}

/// The segment that is written to.
#[derive(Debug)]
struct Active<File> {
    file: File,
    first: u64,
    len: u64,
    oldest: SystemTime,
    newest: SystemTime,
    inputs: Vec<std::sync::Arc<str>>,
    /// Whether something was written since the last sync.
    dirty: bool,
    /// Whether its name is durable.
    named: bool,
}

/// A spool, open for writing.
#[derive(Debug)]
pub struct Writer<F: Fs> {
    fs: F,
    plan: SpoolPlan,
    _lock: F::Lock,
    identity: Identity,
    closed: VecDeque<Closed>,
    active: Option<Active<F::File>>,
    next: u64,
    durable: u64,
    origins: BTreeMap<Identity, u64>,
    /// What the origins were before the last sync.
    undo: Vec<(Identity, Option<u64>)>,
    /// How far each reader is by its cursor on disk.
    readers: BTreeMap<String, u64>,
    to_compress: Vec<PathBuf>,
    /// How often a segment was given up.
    latched: u64,
    /// What the disk had free when it was asked, less what was written since, and how much that
    /// is.
    free_left: u64,
    asked_free_for: u64,
}

/// What a spool holds, for `top`.
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
}

impl<F: Fs> Writer<F> {
    #[expect(clippy::too_many_arguments, reason = "what recovery found, field by field")]
    pub(super) fn recovered(
        fs: F,
        plan: SpoolPlan,
        lock: F::Lock,
        identity: Identity,
        closed: VecDeque<Closed>,
        next: u64,
        origins: BTreeMap<Identity, u64>,
        readers: BTreeMap<String, u64>,
    ) -> Self {
        Self {
            fs,
            plan,
            _lock: lock,
            identity,
            closed,
            active: None,
            next,
            durable: next,
            origins,
            undo: Vec::new(),
            readers,
            to_compress: Vec::new(),
            latched: 0,
            free_left: 0,
            asked_free_for: 0,
        }
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

    /// The number of the last durable line that came from each other spool.
    pub fn origins(&self) -> BTreeMap<Identity, u64> {
        let mut origins = self.origins.clone();
        for (spool, before) in self.undo.iter().rev() {
            match before {
                Some(last) => drop(origins.insert(*spool, *last)),
                None => drop(origins.remove(spool)),
            }
        }
        origins
    }

    /// What it holds.
    pub fn held(&self) -> Held {
        let active = self.active.as_ref();
        let first = self.closed.front().map(|closed| closed.first);
        Held {
            oldest: first.or_else(|| active.map(|active| active.first)).unwrap_or(self.next),
            durable: self.durable,
            next: self.next,
            bytes: self.bytes(),
            segments: self.closed.len() as u64 + u64::from(active.is_some()),
        }
    }

    fn bytes(&self) -> u64 {
        let closed: u64 = self.closed.iter().map(|closed| closed.bytes).sum();
        closed + self.active.as_ref().map_or(0, |active| active.len)
    }

    /// Segments that are to be compressed, once.
    pub fn take_to_compress(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.to_compress)
    }

    /// How often a segment was given up, and what was not durable in it is to be appended again.
    pub fn latched(&self) -> u64 {
        self.latched
    }

    /// Goes on by another plan, in the same folder.
    pub fn set_plan(&mut self, plan: SpoolPlan) {
        self.plan = plan;
    }

    /// Whether something was appended that is not durable.
    pub fn is_dirty(&self) -> bool {
        self.durable < self.next
    }

    // ---- appending

    /// Appends batches. A batch from another spool whose lines are here already is passed over.
    pub fn append(&mut self, batches: &[Batch]) -> Appended {
        let mut appended = Appended::default();
        let mut rest = batches;
        while let Some(batch) = rest.first() {
            if self.is_duplicate(batch) {
                appended.fates.push(Fate::Duplicate);
                rest = &rest[1..];
                continue;
            }
            match self.append_some(rest) {
                Ok(fates) => {
                    rest = &rest[fates.len()..];
                    appended.fates.extend(fates);
                }
                // Others fill the disk too: what `make_room` saw may be gone.
                Err(error) if is_full(&error) && self.may_drop_oldest() => {
                    if let Err(error) = self.drop_oldest() {
                        appended.error = Some(format!("{}: {error}", self.plan.dir.display()));
                        break;
                    }
                }
                Err(error) if self.plan.when_full == SpoolFull::DropNewest && is_full(&error) => {
                    appended.fates.push(Fate::Refused);
                    rest = &rest[1..];
                }
                Err(error) => {
                    appended.error = Some(format!("{}: {error}", self.plan.dir.display()));
                    break;
                }
            }
        }
        appended
    }

    fn is_duplicate(&self, batch: &Batch) -> bool {
        let last = batch.origin.and_then(|span| self.origins.get(&span.origin).zip(Some(span)));
        last.is_some_and(|(last, span)| span.last <= *last)
    }

    /// Appends the first batches that go into one segment, by one write; at least one.
    fn append_some(&mut self, batches: &[Batch]) -> io::Result<Vec<Fate>> {
        let first_size = (2 * ROW + batches[0].bytes.len()) as u64;
        self.make_room(first_size + (ROW * (1 + self.origins.len())) as u64)?;
        self.begin_where_needed(first_size, batches[0].received)?;
        let room = self.room();
        let Some(active) = &mut self.active else { return Err(ErrorKind::NotFound.into()) };
        let inputs_before = active.inputs.len();
        let mut rows = Vec::new();
        let mut fates = Vec::new();
        let (mut size, mut next) = (0, self.next);
        let mut origins = Vec::new();
        for batch in batches {
            let known = active.inputs.contains(&batch.input);
            let grown = (ROW * (1 + usize::from(!known)) + batch.bytes.len()) as u64;
            let again = batch.origin.is_some_and(|span| {
                origins.iter().any(|(origin, last)| *origin == span.origin && *last >= span.last)
            });
            let stop = !fates.is_empty() && size + grown > room;
            if stop
                || again
                || (fates.len() >= 16)
                || (!known && active.inputs.len() >= usize::from(INPUTS_MOST))
            {
                break;
            }
            let (row, payload) = rows_of(batch, next, &mut active.inputs);
            fates.push(Fate::Stored(next));
            next += u64::from(batch.lines);
            size += grown;
            origins.extend(batch.origin.map(|span| (span.origin, span.last)));
            rows.push((row, payload));
        }
        let mut slices: Vec<IoSlice<'_>> = rows
            .iter()
            .flat_map(|(row, payload)| [IoSlice::new(row), IoSlice::new(payload)])
            .collect();
        if let Err(error) = write_all(&mut active.file, &mut slices) {
            active.inputs.truncate(inputs_before);
            // What got in is cut back, so that the next append begins where this one should
            // have; where not even that goes, nothing is written here any more.
            if active.file.set_len(active.len).is_err() {
                self.latch();
            }
            return Err(error);
        }
        active.len += size;
        active.dirty = true;
        if let Some(last) = batches.get(fates.len() - 1) {
            active.newest = last.received;
        }
        self.next = next;
        for (spool, last) in origins {
            self.note_origin(spool, last);
        }
        Ok(fates)
    }

    fn note_origin(&mut self, spool: Identity, last: u64) {
        let before = self.origins.insert(spool, last);
        self.undo.push((spool, before));
        if self.origins.len() > ORIGINS_MOST {
            // Which is heard of least the table does not say; the lowest number is as good.
            let least = self.origins.iter().filter(|(other, _)| **other != spool);
            if let Some((&other, &last)) = least.min_by_key(|(_, last)| **last) {
                self.origins.remove(&other);
                self.undo.push((other, Some(last)));
                log::warn!(
                    "{}: spool {other} is forgotten, there are too many",
                    self.plan.dir.display()
                );
            }
        }
    }

    /// How much the active segment can take yet.
    fn room(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| self.plan.segment.saturating_sub(active.len))
    }

    /// Makes room for so many bytes more within `max_size` and above `reserve`, by dropping the
    /// oldest segments where that is the policy.
    fn make_room(&mut self, size: u64) -> io::Result<()> {
        loop {
            let fits = self.bytes() + size <= self.plan.max_size;
            if self.free_left < size.saturating_add(self.plan.reserve) {
                self.free_left = self.fs.free(&self.plan.dir)?;
                self.asked_free_for = 0;
            }
            let free = self.free_left >= self.plan.reserve.saturating_add(size);
            if fits && free {
                self.asked_free_for += size;
                // Others write to the disk too: what was seen is believed for a while only.
                self.free_left = match self.asked_free_for > FREE_EVERY {
                    true => 0,
                    false => self.free_left - size,
                };
                return Ok(());
            }
            if self.plan.when_full != SpoolFull::DropOldest {
                return Err(full(fits));
            }
            if !self.may_drop_oldest() {
                // The lines of a segment go together, and one segment must stay: the one that
                // is written to is closed and another one begun.
                if self.active.as_ref().is_none_or(|active| active.first == self.next) {
                    return Err(full(fits));
                }
                self.close_active()?;
                self.begin_where_needed(size, SystemTime::UNIX_EPOCH)?;
                self.sync()?;
            }
            self.drop_oldest()?;
        }
    }

    /// Begins a new segment where there is none or the active one is full.
    fn begin_where_needed(&mut self, size: u64, now: SystemTime) -> io::Result<()> {
        if let Some(active) = &self.active {
            let many = active.inputs.len() >= usize::from(INPUTS_MOST);
            if active.len + size <= self.plan.segment && !many || active.first == self.next {
                return Ok(());
            }
            self.close_active()?;
        }
        let first = self.next;
        let path = self.plan.dir.join(segment_name(first));
        // One that was begun and has no line: whatever is in it is nobody's. It is replaced in
        // one step, so that there is a whole one at any time.
        let replaces = self.closed.back().is_some_and(|closed| closed.first == first);
        let begun = if replaces { with_suffix(&path, NEW) } else { path.clone() };
        let mut file = self.fs.append(&begun, FILE_MODE_DEFAULT)?;
        file.set_len(0)?;
        let head = self.head(first);
        let mut written = write_all(&mut file, &mut [IoSlice::new(&head)]);
        if replaces && written.is_ok() {
            written = file.sync().and_then(|()| self.fs.rename(&begun, &path));
        }
        if let Err(error) = written {
            self.fs.remove(&begun)?;
            return Err(error);
        }
        if replaces {
            self.closed.pop_back();
        }
        self.active = Some(Active {
            file,
            first,
            len: head.len() as u64,
            oldest: now,
            newest: now,
            inputs: Vec::new(),
            dirty: true,
            named: false,
        });
        Ok(())
    }

    /// What a segment begins with: the spool, and the origins so far.
    fn head(&self, first: u64) -> Vec<u8> {
        let origins = u32::try_from(self.origins.len()).unwrap_or(u32::MAX);
        let mut head = Row::Segment { spool: self.identity, first, origins }.encode().to_vec();
        for (&spool, &last) in &self.origins {
            head.extend_from_slice(&Row::Origin { spool, last }.encode());
        }
        head
    }

    // ---- making durable

    /// Makes all that was appended durable.
    ///
    /// # Errors
    /// The system's. Then the segment is left for good, and what was appended since the last
    /// time is to be appended again.
    pub fn sync(&mut self) -> io::Result<()> {
        let Some(active) = &mut self.active else { return Ok(()) };
        if self.plan.sync != Sync::Never {
            let mut done = Ok(());
            if active.dirty {
                done = active.file.sync();
            }
            if done.is_ok() && !active.named {
                done = self.fs.sync_folder(&self.plan.dir);
            }
            if let Err(error) = done {
                self.latch();
                return Err(error);
            }
        }
        active.dirty = false;
        active.named = true;
        self.durable = self.next;
        self.undo.clear();
        Ok(())
    }

    /// Leaves the active segment as it is; what is not durable in it is to be written again.
    fn latch(&mut self) {
        self.latched += 1;
        self.origins = self.origins();
        self.undo.clear();
        self.next = self.durable;
        self.leave_active();
    }

    /// The active segment is written to no more; the number of its first line.
    fn leave_active(&mut self) -> Option<u64> {
        let Active { first, len: bytes, newest, .. } = self.active.take()?;
        self.closed.push_back(Closed { first, packed: false, bytes, newest });
        Some(first)
    }

    fn close_active(&mut self) -> io::Result<()> {
        self.sync()?;
        if let Some(first) = self.leave_active()
            && self.plan.compress
        {
            self.to_compress.push(self.plan.dir.join(segment_name(first)));
        }
        Ok(())
    }

    // ---- letting go

    /// Does what time asks for: closes a segment whose lines are old, and drops those whose
    /// lines are too old.
    ///
    /// # Errors
    /// The system's.
    pub fn expire(&mut self, now: SystemTime) -> io::Result<()> {
        let Some(most) = self.plan.max_age else { return Ok(()) };
        let is_old = |time: SystemTime| now.duration_since(time).is_ok_and(|age| age > most);
        if self.active.as_ref().is_some_and(|a| is_old(a.oldest) && a.first < self.next) {
            self.close_active()?;
        }
        while self.closed.front().is_some_and(|closed| is_old(closed.newest)) && self.can_spare() {
            self.drop_oldest()?;
        }
        Ok(())
    }

    /// Whether the oldest segment is not the last one whose name is durable: from that the
    /// numbers go on.
    fn can_spare(&self) -> bool {
        let named = self.active.as_ref().is_some_and(|active| active.named);
        self.closed.len() > usize::from(!named)
    }

    fn may_drop_oldest(&self) -> bool {
        self.plan.when_full == SpoolFull::DropOldest && self.can_spare()
    }

    /// Puts a reader's cursor on disk.
    ///
    /// # Errors
    /// The system's.
    pub fn write_cursor(&mut self, cursor: &Cursor) -> io::Result<()> {
        let path = Cursor::path(&self.plan.dir, &cursor.reader);
        replace(&self.fs, &path, &cursor.encode())?;
        self.readers.insert(cursor.reader.clone(), cursor.position);
        Ok(())
    }

    /// Names the readers there are now; a new one begins at the oldest line.
    pub fn set_readers(&mut self, names: &[String]) {
        self.readers.retain(|name, _| names.contains(name));
        for name in names {
            self.readers.entry(name.clone()).or_insert(0);
        }
    }

    /// Removes the segments that every reader has passed.
    ///
    /// # Errors
    /// The system's.
    pub fn remove_passed(&mut self) -> io::Result<()> {
        let Some(&passed) = self.readers.values().min() else { return Ok(()) };
        let mut removed = false;
        while let Some(end) = self.end_of_oldest()
            && end <= passed
            && self.can_spare()
        {
            self.drop_oldest()?;
            removed = true;
        }
        if removed {
            self.fs.sync_folder(&self.plan.dir)?;
        }
        Ok(())
    }

    /// The number after the last line of the oldest closed segment.
    fn end_of_oldest(&self) -> Option<u64> {
        self.closed.front()?;
        let second = self.closed.get(1).map(|closed| closed.first);
        let active = self.active.as_ref().map(|active| active.first);
        second.or(active)
    }

    fn drop_oldest(&mut self) -> io::Result<()> {
        let Some(oldest) = self.closed.front() else { return Ok(()) };
        let names = [true, false].map(|packed| Name { first: oldest.first, packed });
        for name in names {
            match self.fs.remove(&name.path(&self.plan.dir)) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                done => done?,
            }
        }
        self.closed.pop_front();
        self.free_left = 0;
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

/// The rows of a batch, its input's before where that is new, and its payload.
fn rows_of<'b>(
    batch: &'b Batch,
    first: u64,
    inputs: &mut Vec<std::sync::Arc<str>>,
) -> (Vec<u8>, &'b [u8]) {
    let mut rows = Vec::with_capacity(2 * ROW);
    let known = inputs.iter().position(|name| *name == batch.input);
    let number = known.unwrap_or(inputs.len());
    let input = u16::try_from(number).unwrap_or(INPUTS_MOST);
    if known.is_none() {
        inputs.push(std::sync::Arc::clone(&batch.input));
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

/// Whether the system says that there is no room.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn full(fits: bool) -> io::Error {
    let why = if fits { "the disk is full but for the reserve" } else { "max_size is reached" };
    io::Error::new(ErrorKind::StorageFull, why)
}
