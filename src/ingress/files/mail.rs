//! What the thread that finds files leaves for the thread that reads them.

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::core::Role;
use crate::wake::Bell;

/// Something about a name.
#[derive(Debug)]
pub(super) enum News {
    /// A file was opened there.
    Found(PathBuf, File, Role),
    /// It names nothing any more.
    Gone(PathBuf),
}

/// All that is left at one time.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// In the order in which it happened.
    pub(super) news: Vec<News>,
    /// Paths of files that were written to.
    pub(super) changed: HashSet<PathBuf>,
    /// Any file may have been written to.
    pub(super) all: bool,
    /// Times that events were lost.
    pub(super) overflows: u64,
    /// Files that are not read.
    pub(super) unread: u64,
    /// What is wrong, where that has changed.
    pub(super) state: Option<Result<(), String>>,
    /// Whether everything was listed once.
    pub(super) listed: bool,
}

/// The box that both threads have.
#[derive(Debug, Clone)]
pub(super) struct Mailbox {
    mail: Arc<Mutex<Mail>>,
    bell: Bell,
    /// Files that the reader has open.
    open: Arc<AtomicUsize>,
}

impl Mailbox {
    /// An empty one; `bell` wakes the reader.
    pub(super) fn new(bell: Bell) -> Self {
        Self { mail: Arc::default(), bell, open: Arc::default() }
    }

    /// Leaves something.
    pub(super) fn put<T>(&self, leave: impl FnOnce(&mut Mail) -> T) -> T {
        let left = leave(&mut self.mail.lock().unwrap_or_else(PoisonError::into_inner));
        self.bell.ring();
        left
    }

    /// Takes everything.
    pub(super) fn take(&self) -> Mail {
        std::mem::take(&mut *self.mail.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says how many files are open.
    pub(super) fn set_open(&self, count: usize) {
        self.open.store(count, Ordering::Relaxed);
    }

    /// How many files are open.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}
