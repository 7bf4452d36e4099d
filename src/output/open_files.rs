//! State shared by all file outputs: which files are open, how many may be, and how much memory
//! names made by strangers may take.
//!
//! Each output works in a thread of its own. Together they must leave descriptors for the daemon's
//! observers and for the clients of inputs, and none may compress or remove a file that another
//! writes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::name::NameTemplate;
use crate::limits::{FILE_NAMES_MEMORY, FILES_OPEN_MAX, OPEN_FILES_MAX};

/// The files that all outputs have open; clones share them.
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
    /// The maximum number of open files.
    max: usize,
    /// The outputs, with the templates of their file names.
    outputs: BTreeMap<u64, NameTemplate>,
    /// How often an output joined or left; an output's number is this count when it joined.
    changes: u64,
    /// How often each file is open, and the total.
    open: HashMap<PathBuf, usize>,
    count: usize,
    /// Files that are being archived and must not be opened.
    claimed: HashSet<PathBuf>,
}

/// One output among the others. Dropping it removes the output.
#[derive(Debug)]
pub struct Member {
    files: OpenFiles,
    number: u64,
}

/// Marks a file as open for as long as it lives.
#[derive(Debug)]
pub struct OpenMark {
    files: OpenFiles,
    path: PathBuf,
}

/// Keeps a file from being opened for as long as it lives.
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
    /// Creates an empty state, in which at most `max` files may be open.
    pub fn new(max: usize) -> Self {
        let (open, claimed) = (HashMap::new(), HashSet::new());
        let (max, outputs) = (max.max(1), BTreeMap::new());
        let state = State { max, outputs, changes: 0, open, count: 0, claimed };
        let state = Mutex::new(state);
        Self { shared: Arc::new(Shared { state, released: Condvar::new() }) }
    }

    /// Adds an output with the template of its file names.
    pub fn join(&self, template: &NameTemplate) -> Member {
        let mut state = self.state();
        state.changes += 1;
        let number = state.changes;
        state.outputs.insert(number, template.clone());
        Member { files: self.clone(), number }
    }

    /// Returns whether an output has that file open.
    pub fn is_open(&self, path: &Path) -> bool {
        self.state().open.contains_key(path)
    }

    /// Keeps a file from being opened; `None` if it is open.
    pub fn claim(&self, path: &Path) -> Option<Claim> {
        let mut state = self.state();
        if state.open.contains_key(path) || !state.claimed.insert(path.to_path_buf()) {
            return None;
        }
        Some(Claim { files: self.clone(), path: path.to_path_buf() })
    }

    /// Code that holds the lock keeps the state consistent even if it panics.
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// How many files this output may have open: its share of the total, and at least one.
    pub fn share(&self) -> usize {
        let state = self.files.state();
        (state.max / state.outputs.len().max(1)).clamp(1, OPEN_FILES_MAX)
    }

    /// How many bytes of memory the names cached by this output may take.
    pub fn names_memory(&self) -> usize {
        FILE_NAMES_MEMORY / self.files.state().outputs.len().max(1)
    }

    /// Returns whether a path named by a message belongs to another output's file, or to an archive
    /// of one.
    pub fn is_anothers(&self, path: &Path, when: SystemTime) -> bool {
        let state = self.files.state();
        let mut others = state.outputs.iter().filter(|(number, _)| **number != self.number);
        others.any(|(_, template)| template.claims(path, when))
    }

    /// Changes whenever an output joins or leaves.
    pub fn changes(&self) -> u64 {
        self.files.state().changes
    }

    /// Returns whether all outputs together have the maximum number of files open.
    pub fn is_full(&self) -> bool {
        let state = self.files.state();
        state.count >= state.max
    }

    /// Marks a file as open, before it is opened; waits while it is being archived.
    pub fn open(&self, path: &Path) -> OpenMark {
        let claimed = |state: &mut State| state.claimed.contains(path);
        let released = &self.files.shared.released;
        let waited = released.wait_while(self.files.state(), claimed);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        *state.open.entry(path.to_path_buf()).or_default() += 1;
        state.count += 1;
        OpenMark { files: self.files.clone(), path: path.to_path_buf() }
    }

    /// Returns whether an output has that file open.
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
