//! Messages from the thread that finds files to the thread that reads them.

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::core::Role;
use crate::wake::Bell;

/// An event for a name.
#[derive(Debug)]
pub(super) enum News {
    /// A file was opened there.
    Found(PathBuf, File, Role),
    /// It denotes nothing any more.
    Gone(PathBuf),
}

/// All pending messages.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// In the order in which they happened.
    pub(super) news: Vec<News>,
    /// Paths of files that were written to.
    pub(super) changed: HashSet<PathBuf>,
    /// Any file may have been written to.
    pub(super) all: bool,
    /// How often events were lost.
    pub(super) overflows: u64,
    /// Files that are not read.
    pub(super) unread: u64,
    /// Compressed files that were there at the start.
    pub(super) compressed: Vec<PathBuf>,
    /// Those with names that are not meant, which may be rotations of followed ones.
    pub(super) near_compressed: Vec<PathBuf>,
    /// The problem, if it has changed.
    pub(super) state: Option<Result<(), String>>,
    /// True once everything was listed.
    pub(super) listed: bool,
}

/// The mailbox shared by both threads.
#[derive(Debug, Clone)]
pub(super) struct Mailbox {
    mail: Arc<Mutex<Mail>>,
    bell: Bell,
    /// The number of files that are open: those in messages, and those that the reader has.
    open: Arc<AtomicUsize>,
}

impl Mailbox {
    /// Creates an empty mailbox; `bell` wakes the reader.
    pub(super) fn new(bell: Bell) -> Self {
        Self { mail: Arc::default(), bell, open: Arc::default() }
    }

    /// Adds a message.
    pub(super) fn put<T>(&self, leave: impl FnOnce(&mut Mail) -> T) -> T {
        let left = leave(&mut self.mail.lock().unwrap_or_else(PoisonError::into_inner));
        self.bell.ring();
        left
    }

    /// Takes everything.
    pub(super) fn take(&self) -> Mail {
        std::mem::take(&mut *self.mail.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a file that was opened.
    pub(super) fn found(&self, path: PathBuf, file: File, role: Role) {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.put(|mail| mail.news.push(News::Found(path, file, role)));
    }

    /// The reader has taken over `found` files, and has so many open where it had `before`.
    pub(super) fn took(&self, found: usize, before: usize, open: usize) {
        // In one step: no moment counts a file twice.
        self.open.fetch_add(open.wrapping_sub(found + before), Ordering::Relaxed);
    }

    /// The number of open files.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}
