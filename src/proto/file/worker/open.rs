//! The files that an output has open.
//!
//! Their number is limited to the output's share of what all outputs may have open; the least
//! recently used is closed first. If the system has no descriptor left, others are closed too.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::preallocation::Preallocated;
use super::{FileOutput, Step};
use crate::fs::{Fs, FsFile};
use crate::output::name::Name;
use crate::output::open_files::OpenMark;
use crate::proto::file::config::Rotate;

/// A file that lines are appended to.
#[derive(Debug)]
pub(super) struct Open<File: FsFile> {
    pub(super) name: Arc<Name>,
    pub(super) file: Preallocated<File>,
    /// The rotation period its lines belong to.
    pub(super) period: u64,
    /// The turn of its last use.
    pub(super) used: u64,
    /// True if it has data that may not survive a crash.
    pub(super) dirty: bool,
    _mark: OpenMark,
}

impl<F: Fs> FileOutput<F> {
    /// Opens a file if it is not open, rotating it first if its period has passed; returns its
    /// length.
    pub(super) fn ready(&mut self, name: &Arc<Name>, received: SystemTime) -> Step<u64> {
        self.finish_past_names(received)?;
        let period = self.period(received);
        self.turn += 1;
        if let Some(open) = self.open.get_mut(&name.path) {
            open.used = self.turn;
            let was_cut = open.file.follow()?;
            let len = open.file.len();
            // A clock that jumped back must not rotate files repeatedly; but one that was far ahead
            // must not keep this file from being rotated until that time has come.
            if period + 1 < open.period {
                open.period = period;
            }
            let is_past = period > open.period;
            if was_cut {
                self.note_gone(&name.path);
            }
            if !is_past {
                return Ok(len);
            }
            self.rotate(name, received)?;
        }
        self.open_file(name, received)
    }

    fn open_file(&mut self, name: &Arc<Name>, received: SystemTime) -> Step<u64> {
        while self.open.len() >= self.member.share() {
            self.close_unused()?;
        }
        if self.member.is_full() {
            self.close_unused()?;
        }
        let mark = self.member.open(&name.path);
        let file = loop {
            match self.fs.output(&name.path, name.trusted, &self.plan.access) {
                Err(error) if is_out_of_descriptors(&error) && !self.open.is_empty() => {
                    self.close_unused()?;
                }
                done => break done?,
            }
        };
        let mut file = Preallocated::new(file)?;
        if let Some(len) = self.torn.remove(&name.path) {
            file.cut_back(len);
        }
        let len = file.len();
        self.note_opened(&name.path, len);
        let current = self.period(received);
        let mut period = current;
        if len > 0 && matches!(self.plan.rotate, Some(Rotate::Every(_))) {
            period = period.min(self.period(self.fs.modified(&name.path)?));
        }
        let (name, used) = (Arc::clone(name), self.turn);
        let open = Open { name: Arc::clone(&name), file, period, used, dirty: false, _mark: mark };
        self.open.insert(name.path.clone(), open);
        if period < current {
            self.rotate(&name, received)?;
            return self.open_file(&name, received);
        }
        Ok(len)
    }

    /// Lets go of files whose names are gone, as at a rotation: what somebody removed to make room
    /// on a full disk gives it only when nobody has it open.
    pub(super) fn let_go_of_removed(&mut self) {
        if self.open.keys().any(|path| !self.fs.exists(path)) {
            self.close_named();
        }
    }

    /// Closes files until this output has no more open than its share.
    pub(super) fn close_beyond_share(&mut self) -> Step<()> {
        let share = self.member.share();
        while self.open.len() > share {
            self.close_unused()?;
        }
        Ok(())
    }

    /// Closes the least recently used file, if one is open.
    fn close_unused(&mut self) -> Step<()> {
        let oldest = self.open.values().min_by_key(|open| open.used);
        let Some(name) = oldest.map(|open| Arc::clone(&open.name)) else { return Ok(()) };
        self.close(&name.path)
    }

    /// Closes a file; for an exact output, its data is made durable first.
    fn close(&mut self, path: &Path) -> Step<()> {
        let Some(open) = self.open.get_mut(path) else { return Ok(()) };
        if self.exact.is_some() && open.dirty {
            open.file.sync()?;
            open.dirty = false;
        }
        let Some(open) = self.open.remove(path) else { return Ok(()) };
        if let Some(len) = open.file.torn() {
            self.torn.insert(path.to_path_buf(), len);
        }
        self.note_closed(path, open.file.len(), open.used);
        Ok(())
    }

    /// Cuts a file back to an earlier length, whether it is open or not.
    pub(super) fn cut_back(&mut self, name: &Name, len: u64) {
        if let Some(open) = self.open.get_mut(&name.path) {
            open.file.cut_back(len);
            return;
        }
        let opened = self.fs.output(&name.path, name.trusted, &self.plan.access);
        match opened.and_then(Preallocated::new) {
            Ok(mut file) => {
                file.cut_back(len);
                if let Some(len) = file.torn() {
                    self.torn.insert(name.path.clone(), len);
                }
            }
            // When it is reopened.
            Err(_) => drop(self.torn.insert(name.path.clone(), len)),
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
