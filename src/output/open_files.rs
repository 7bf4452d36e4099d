//! What all file outputs share: which files are open, how many may be, and how much memory the
//! names of strangers may take.
//!
//! Each output works in a thread of its own. All together must leave descriptors for whoever asks
//! the daemon and for the clients of inputs, and none may compress or remove what another writes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::name::NameTemplate;
use crate::limits::{FILE_NAMES_MEMORY, FILES_OPEN_MAX, OPEN_FILES_MAX};

/// The files that all outputs have open; clones are the same one.
#[derive(Debug, Clone)]
pub struct OpenFiles {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug)]
struct State {
    /// How many files may be open at one time.
    most: usize,
    /// The outputs, and what their files are called.
    outputs: BTreeMap<u64, NameTemplate>,
    /// How often one came or went; an output's number is what this was when it came.
    changes: u64,
    /// How often each is open, and how many that are.
    open: HashMap<PathBuf, usize>,
    count: usize,
    /// Files that are put away just now and must not be opened.
    claimed: HashSet<PathBuf>,
}

/// One output among the others. It stops counting when dropped.
#[derive(Debug)]
pub struct Member {
    files: OpenFiles,
    number: u64,
}

/// A file is open, as long as this lives.
#[derive(Debug)]
pub struct OpenMark {
    files: OpenFiles,
    path: PathBuf,
}

/// Nobody opens a file as long as this lives.
#[derive(Debug)]
pub struct Claim {
    files: OpenFiles,
    path: PathBuf,
}

impl Default for OpenFiles {
    fn default() -> Self {
        Self::new(FILES_OPEN_MAX)
    }
}

impl OpenFiles {
    /// No files yet, of which `most` may be open at one time.
    pub fn new(most: usize) -> Self {
        let (open, claimed) = (HashMap::new(), HashSet::new());
        let (most, outputs) = (most.max(1), BTreeMap::new());
        let state = State { most, outputs, changes: 0, open, count: 0, claimed };
        let state = Mutex::new(state);
        Self { shared: Arc::new(Shared { state, released: Condvar::new() }) }
    }

    /// One output more, with what its files are called.
    pub fn join(&self, template: &NameTemplate) -> Member {
        let mut state = self.state();
        state.changes += 1;
        let number = state.changes;
        state.outputs.insert(number, template.clone());
        Member { files: self.clone(), number }
    }

    /// Whether an output has that file open.
    pub fn is_open(&self, path: &Path) -> bool {
        self.state().open.contains_key(path)
    }

    /// Keeps a file from being opened; `None` where it is open.
    pub fn claim(&self, path: &Path) -> Option<Claim> {
        let mut state = self.state();
        if state.open.contains_key(path) || !state.claimed.insert(path.to_path_buf()) {
            return None;
        }
        Some(Claim { files: self.clone(), path: path.to_path_buf() })
    }

    /// A panic with the lock held is in code that leaves the state whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// How many files this output may have open: its part of all, and at least one.
    pub fn share(&self) -> usize {
        let state = self.files.state();
        (state.most / state.outputs.len().max(1)).clamp(1, OPEN_FILES_MAX)
    }

    /// How many bytes of memory the names that this output remembers may take.
    pub fn names_memory(&self) -> usize {
        FILE_NAMES_MEMORY / self.files.state().outputs.len().max(1)
    }

    /// Whether a path that a message named is that of another output's file, or of an archive of
    /// one.
    pub fn is_anothers(&self, path: &Path, when: SystemTime) -> bool {
        let state = self.files.state();
        let mut others = state.outputs.iter().filter(|(number, _)| **number != self.number);
        others.any(|(_, template)| template.claims(path, when))
    }

    /// Grows when an output comes or goes.
    pub fn changes(&self) -> u64 {
        self.files.state().changes
    }

    /// Whether all outputs together have as many files open as they may.
    pub fn is_full(&self) -> bool {
        let state = self.files.state();
        state.count >= state.most
    }

    /// A file is about to be opened; waits where it is put away just now.
    pub fn open(&self, path: &Path) -> OpenMark {
        let claimed = |state: &mut State| state.claimed.contains(path);
        let released = &self.files.shared.released;
        let waited = released.wait_while(self.files.state(), claimed);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        *state.open.entry(path.to_path_buf()).or_default() += 1;
        state.count += 1;
        OpenMark { files: self.files.clone(), path: path.to_path_buf() }
    }

    /// Whether an output has that file open.
    pub fn is_open(&self, path: &Path) -> bool {
        self.files.is_open(path)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.files.state();
        state.outputs.remove(&self.number);
        state.changes += 1;
    }
}

impl Drop for OpenMark {
    fn drop(&mut self) {
        let mut state = self.files.state();
        state.count -= 1;
        if let Some(times) = state.open.get_mut(&self.path) {
            *times -= 1;
            if *times == 0 {
                state.open.remove(&self.path);
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.files.state().claimed.remove(&self.path);
        self.files.shared.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(name: &str) -> NameTemplate {
        NameTemplate::parse(name).unwrap()
    }

    #[test]
    fn outputs_share_what_may_be_open_and_each_has_at_least_one() {
        let files = OpenFiles::new(10);
        let first = files.join(&template("x"));
        assert_eq!(first.share(), 10);
        let others: Vec<_> = (0..19).map(|_| files.join(&template("x"))).collect();
        assert_eq!((first.share(), first.names_memory()), (1, FILE_NAMES_MEMORY / 20));
        drop(others);
        assert_eq!(first.share(), 10);
        let marks: Vec<_> = (0..10).map(|n| first.open(Path::new(&n.to_string()))).collect();
        assert!(first.is_full());
        drop(marks);
        assert!(!first.is_full());
        assert_eq!(OpenFiles::new(usize::MAX).join(&template("x")).share(), OPEN_FILES_MAX);
    }

    #[test]
    fn a_file_is_either_open_or_put_away() {
        let files = OpenFiles::new(10);
        let (one, other) = (files.join(&template("x")), files.join(&template("x")));
        let path = Path::new("/x");
        let marks = (one.open(path), other.open(path));
        drop(marks.0);
        assert!(files.claim(path).is_none());
        drop(marks.1);
        let claim = files.claim(path).unwrap();
        assert!(files.claim(path).is_none() && !one.is_open(path));
        std::thread::scope(|scope| {
            let opens = scope.spawn(|| drop(one.open(path)));
            drop(claim);
            opens.join().unwrap();
        });
        assert!(files.claim(path).is_some());
    }
}
