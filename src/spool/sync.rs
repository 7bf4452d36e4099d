//! Making a spool durable in parallel with appends, and removing what readers have passed.
//!
//! [`Writer::begin_sync`] captures what a sync must cover, [`Syncing::run`] performs it without the
//! writer, and [`Writer::end_sync`] applies the result. What is appended meanwhile belongs to the
//! next sync, even if this one happened to reach it. Segments are one task; cursors and the removal
//! of segments are the other. Both may run at the same time, so that a reader that waits for its
//! cursor does not wait for everyone's lines.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::cursor::Cursor;
use super::folder::SPARE;
use super::plan::Sync;
use super::room::remove_segment;
use super::writer::Writer;
use crate::fs::{Fs, FsFile, replace, write_all};
use crate::ids::Identity;
use crate::limits::{FILE_MODE_DEFAULT, SPARE_BYTES};

/// The kind of work for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Make segments durable.
    Lines,
    /// Write cursors and remove segments.
    Cursors,
}

/// Segments to make durable, cursors to write and segments to remove, without holding the writer.
#[derive(Debug)]
pub struct Syncing<F: Fs> {
    task: Task,
    fs: F,
    dir: PathBuf,
    epoch: u64,
    /// Segments with something that is not durable, oldest first.
    parts: Vec<Part<F::File>>,
    /// The number after the last line covered; `None` for cursors.
    end: Option<u64>,
    cursors: Vec<Cursor>,
    /// The position of each reader's cursor on disk.
    readers: BTreeMap<String, u64>,
    /// Segments to remove once every reader has passed them: the first line, and the line after
    /// the last one.
    removable: Vec<(u64, u64)>,
}

/// A segment, or a prefix of it.
#[derive(Debug)]
struct Part<File> {
    file: File,
    first: u64,
    len: u64,
    named: bool,
}

/// The result of a sync.
#[derive(Debug)]
pub struct Synced {
    task: Task,
    epoch: u64,
    /// The number after the last line that it made durable.
    durable: Option<u64>,
    /// The segments that are durable up to the given length.
    parts: Vec<(u64, u64)>,
    /// Why lines are in doubt.
    failed: Option<String>,
    saved: Vec<Cursor>,
    removed: Vec<u64>,
    /// Any other error.
    error: Option<String>,
}

/// The result of a sync, for its caller.
#[derive(Debug, Default)]
pub struct Ended {
    /// The origins whose lines became durable; see [`super::origins::Origins::settle`].
    pub origins: Vec<(Identity, Option<u64>)>,
    /// The cursors that are on disk.
    pub saved: Vec<Cursor>,
    /// What failed, if anything.
    pub error: Option<String>,
}

impl<F: Fs + Clone> Writer<F> {
    /// Captures everything appended so far, to be made durable. `None` if everything is durable or
    /// a sync is running.
    ///
    /// # Errors
    /// The system's, if a segment's handle cannot be duplicated.
    pub fn begin_sync(&mut self) -> io::Result<Option<Syncing<F>>> {
        if self.syncing {
            return Ok(None);
        }
        let parts = match self.plan.sync {
            Sync::Never => Vec::new(),
            _ => self.parts()?,
        };
        if !self.is_dirty() && parts.is_empty() {
            return Ok(None);
        }
        self.syncing = true;
        let end = Some(self.next);
        Ok(Some(Syncing { parts, end, ..self.nothing(Task::Lines) }))
    }

    /// Captures the cursors to write and the segments that can go afterwards. `None` if there is
    /// nothing to do or cursors are already being written.
    pub fn begin_cursors(&mut self, cursors: Vec<Cursor>) -> Option<Syncing<F>> {
        if self.tidying {
            return None;
        }
        let mut readers = self.readers.clone();
        for cursor in &cursors {
            readers.insert(cursor.reader.clone(), cursor.position);
        }
        let wall = self.steady_wall();
        let removable = match readers.values().min() {
            Some(&position) => self.removable(wall, position),
            None => Vec::new(),
        };
        if cursors.is_empty() && removable.is_empty() {
            return None;
        }
        self.tidying = true;
        let readers = self.readers.clone();
        Some(Syncing { cursors, readers, removable, ..self.nothing(Task::Cursors) })
    }

    fn nothing(&self, task: Task) -> Syncing<F> {
        Syncing {
            task,
            fs: self.fs.clone(),
            dir: self.plan.dir.clone(),
            epoch: self.epoch(),
            parts: Vec::new(),
            end: None,
            cursors: Vec::new(),
            readers: BTreeMap::new(),
            removable: Vec::new(),
        }
    }

    /// The segments with data that is not durable.
    fn parts(&self) -> io::Result<Vec<Part<F::File>>> {
        let mut parts = Vec::new();
        for closed in &self.unsynced {
            let (first, named) = (closed.first, closed.named);
            parts.push(Part { file: closed.file.share()?, first, len: u64::MAX, named });
        }
        if let Some(active) = &self.active
            && (active.synced < active.len || !active.named)
        {
            let (first, len, named) = (active.first, active.len, active.named);
            parts.push(Part { file: active.file.share()?, first, len, named });
        }
        Ok(parts)
    }

    /// Applies the result of a sync. If it failed, what it should have covered and what was
    /// appended since is abandoned ([`Writer::epoch`]) and must be appended again.
    pub fn end_sync(&mut self, synced: Synced) -> Ended {
        match synced.task {
            Task::Lines => self.syncing = false,
            Task::Cursors => self.tidying = false,
        }
        for cursor in &synced.saved {
            self.known.insert(cursor.reader.clone(), cursor.position);
            if let Some(position) = self.readers.get_mut(&cursor.reader) {
                *position = cursor.position;
            }
        }
        synced.removed.iter().for_each(|first| self.forget_segment(*first));
        let mut ended = Ended { saved: synced.saved, error: synced.error, origins: Vec::new() };
        // Segments abandoned meanwhile are written again, whatever happened to them here.
        if synced.epoch == self.epoch() {
            let end = synced.durable.unwrap_or(0);
            synced.parts.iter().for_each(|(first, len)| self.part_is_durable(*first, *len));
            if self.plan.sync == Sync::Never && synced.durable.is_some() {
                self.believe_all();
            }
            self.durable = self.durable.max(end);
            ended.origins = self.origins.settle(self.durable);
            if synced.failed.is_some() {
                self.latch();
            }
        }
        ended.error = synced.failed.or(ended.error);
        ended
    }

    /// Marks a segment and its name as durable, the active one up to `len` bytes.
    fn part_is_durable(&mut self, first: u64, len: u64) {
        if let Some(active) = self.active.as_mut().filter(|active| active.first == first) {
            active.synced = active.synced.max(len);
            active.named = true;
            return;
        }
        if let Some(closed) = self.closed.iter_mut().find(|closed| closed.first == first) {
            closed.named = true;
        }
        let Some(at) = self.unsynced.iter().position(|unsynced| unsynced.first == first) else {
            return;
        };
        // A segment closed since the sync began may hold more than the sync covered.
        if len < u64::MAX {
            self.unsynced[at].named = true;
            return;
        }
        self.unsynced.remove(at);
        self.compress_later(first);
    }

    /// With `sync = "never"`, everything written counts as durable.
    fn believe_all(&mut self) {
        for unsynced in std::mem::take(&mut self.unsynced) {
            self.compress_later(unsynced.first);
        }
        self.closed.iter_mut().for_each(|closed| closed.named = true);
        if let Some(active) = &mut self.active {
            (active.synced, active.named) = (active.len, true);
        }
    }

    /// Runs all steps of a sync at once, for callers with a single thread.
    ///
    /// # Errors
    /// Why lines are in doubt; they must be appended again.
    pub fn sync(&mut self) -> io::Result<()> {
        let Some(syncing) = self.begin_sync()? else { return Ok(()) };
        let synced = syncing.run();
        match self.end_sync(synced).error {
            Some(error) => Err(io::Error::other(error)),
            None => Ok(()),
        }
    }
}

impl<F: Fs> Syncing<F> {
    /// Performs the work; blocks for as long as the disk takes.
    pub fn run(mut self) -> Synced {
        let mut synced = Synced {
            task: self.task,
            epoch: self.epoch,
            durable: None,
            parts: Vec::new(),
            failed: None,
            saved: Vec::new(),
            removed: Vec::new(),
            error: None,
        };
        if let Some(end) = self.end {
            self.segments(end, &mut synced);
        }
        // Segments that the cursors on disk have passed go before others are written: that makes
        // room.
        self.remove(&self.readers, &mut synced);
        let mut readers = self.readers.clone();
        for cursor in &self.cursors {
            match self.write_cursor(cursor) {
                Ok(()) => {
                    readers.insert(cursor.reader.clone(), cursor.position);
                    synced.saved.push(cursor.clone());
                }
                Err(error) => synced.note(&self.dir, &error),
            }
        }
        self.remove(&readers, &mut synced);
        synced
    }

    /// Makes segments durable, then their names; those before the first failure are.
    fn segments(&mut self, end: u64, synced: &mut Synced) {
        let mut good = self.parts.len();
        for (at, part) in self.parts.iter_mut().enumerate() {
            if let Err(error) = part.file.sync() {
                synced.failed = Some(format!("{}: {error}", self.dir.display()));
                good = at;
                break;
            }
        }
        if let Some(new) = self.parts[..good].iter().position(|part| !part.named)
            && let Err(error) = self.fs.sync_folder(&self.dir)
        {
            synced.failed.get_or_insert_with(|| format!("{}: {error}", self.dir.display()));
            good = new;
        }
        synced.durable = Some(self.parts.get(good).map_or(end, |part| part.first));
        synced.parts = self.parts[..good].iter().map(|part| (part.first, part.len)).collect();
    }

    /// Writes a cursor; on a completely full disk, into the room reserved for it.
    fn write_cursor(&self, cursor: &Cursor) -> io::Result<()> {
        let path = Cursor::path(&self.dir, &cursor.reader);
        let written = replace(&self.fs, &path, &cursor.encode());
        let is_full = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        };
        let written = match written {
            Err(error) if is_full(&error) && self.fs.remove(&self.dir.join(SPARE)).is_ok() => {
                replace(&self.fs, &path, &cursor.encode())
            }
            written => written,
        };
        // The previous cursor made room for the next.
        set_spare_aside(&self.fs, &self.dir);
        written
    }

    /// Removes the segments that all of these readers have passed.
    fn remove(&self, readers: &BTreeMap<String, u64>, synced: &mut Synced) {
        let Some(&passed) = readers.values().min() else { return };
        for &(first, end) in &self.removable {
            if end > passed || synced.removed.contains(&first) {
                continue;
            }
            match remove_segment(&self.fs, &self.dir, first) {
                Ok(()) => synced.removed.push(first),
                Err(error) => return synced.note(&self.dir, &error),
            }
        }
    }
}

/// Reserves what a cursor needs on a completely full disk, in blocks and inodes. If there is no
/// room for it, the next cursor tries again.
pub(super) fn set_spare_aside<F: Fs>(fs: &F, dir: &Path) {
    let path = dir.join(SPARE);
    if !fs.exists(&path)
        && let Ok(mut file) = fs.append_own(&path, FILE_MODE_DEFAULT)
    {
        // A part of it is better than nothing.
        let _ = write_all(&mut file, &mut [io::IoSlice::new(&[b'\n'; SPARE_BYTES])]);
    }
}

impl Synced {
    /// The kind of its work.
    pub fn task(&self) -> Task {
        self.task
    }

    fn note(&mut self, dir: &Path, error: &io::Error) {
        self.error.get_or_insert_with(|| format!("{}: {error}", dir.display()));
    }
}
