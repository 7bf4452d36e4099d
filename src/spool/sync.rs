//! Making a spool durable beside its appends, and what can go once readers have passed it.
//!
//! [`Writer::begin_sync`] takes what a sync is to cover, [`Syncing::run`] does it without the
//! writer, and [`Writer::end_sync`] takes in what came of it. What is appended meanwhile is for
//! the next sync, whether this one happened to reach it or not. Segments are one task, cursors
//! with the removal of segments the other; they may run at the same time, so that a reader which
//! waits for its cursor does not wait for everybody's lines.

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

/// What there is to do for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// To make segments durable.
    Lines,
    /// To write cursors and remove segments.
    Cursors,
}

/// What is to be made durable, written and removed, by a thread that does not hold the writer.
#[derive(Debug)]
pub struct Syncing<F: Fs> {
    task: Task,
    fs: F,
    dir: PathBuf,
    epoch: u64,
    /// Segments with something that is not durable, oldest first.
    parts: Vec<Part<F::File>>,
    /// The number after the last line that is covered, where lines are to be.
    end: Option<u64>,
    cursors: Vec<Cursor>,
    /// How far each reader is by its cursor on disk.
    readers: BTreeMap<String, u64>,
    /// Segments that go once every reader has passed them: the first line, and that after the
    /// last one.
    removable: Vec<(u64, u64)>,
}

/// A segment, or the first part of it.
#[derive(Debug)]
struct Part<File> {
    file: File,
    first: u64,
    len: u64,
    named: bool,
}

/// What a sync has done.
#[derive(Debug)]
pub struct Synced {
    task: Task,
    epoch: u64,
    /// The number after the last line that is durable by it.
    durable: Option<u64>,
    /// The segments that are durable as far as they were covered, with that length.
    parts: Vec<(u64, u64)>,
    /// Why lines are in doubt.
    failed: Option<String>,
    saved: Vec<Cursor>,
    removed: Vec<u64>,
    /// What else went wrong.
    error: Option<String>,
}

/// What came of a sync for whoever waits for it.
#[derive(Debug, Default)]
pub struct Ended {
    /// The origins that became durable; see [`super::origins::Origins::settle`].
    pub origins: Vec<(Identity, Option<u64>)>,
    /// The cursors that are on disk.
    pub saved: Vec<Cursor>,
    /// What went wrong.
    pub error: Option<String>,
}

impl<F: Fs + Clone> Writer<F> {
    /// Takes all that was appended by now, to be made durable. `None` where all is durable or a
    /// sync is under way.
    ///
    /// # Errors
    /// The system's, where there is no second handle to a segment.
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

    /// Takes cursors that are to be written, and the segments that can go then. `None` where there
    /// is nothing to do or some are under way.
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

    /// The segments with something that is not durable.
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

    /// Takes in what a sync has done. Where it failed, what it should have covered and what was
    /// appended since is given up ([`Writer::epoch`]) and to be appended again.
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
        // What was given up meanwhile is written again, whatever became of it here.
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

    /// A segment and its name are durable, the active one up to `len` bytes.
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
        // One that was closed since the sync began may hold more than it covered.
        if len < u64::MAX {
            self.unsynced[at].named = true;
            return;
        }
        self.unsynced.remove(at);
        self.compress_later(first);
    }

    /// With `sync = "never"` all that was written counts.
    fn believe_all(&mut self) {
        for unsynced in std::mem::take(&mut self.unsynced) {
            self.compress_later(unsynced.first);
        }
        self.closed.iter_mut().for_each(|closed| closed.named = true);
        if let Some(active) = &mut self.active {
            (active.synced, active.named) = (active.len, true);
        }
    }

    /// All steps of a sync at once, for whoever has one thread.
    ///
    /// # Errors
    /// Why lines are in doubt; they are to be appended again.
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
    /// Does it, for as long as the disk takes.
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
        // What is passed by cursors on disk goes before others are written: that makes room.
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

    /// Makes segments durable, then their names; what precedes the first failure is.
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

    /// Writes a cursor; on a disk that is full to the last block into the room set aside for it.
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
        // The cursor before this one made room for the next.
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

/// Sets aside what a cursor needs on a disk that is full to the last block or inode. Where there is
/// no room for that it is tried again after the next cursor.
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
    /// Which task it was.
    pub fn task(&self) -> Task {
        self.task
    }

    fn note(&mut self, dir: &Path, error: &io::Error) {
        self.error.get_or_insert_with(|| format!("{}: {error}", dir.display()));
    }
}
