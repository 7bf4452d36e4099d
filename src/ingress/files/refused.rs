//! What cannot be read, and why: files and folders that are tried again, and files that were gone
//! before they could be read.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

use super::disk::{Facts, FileId};
use crate::limits::FOLDER_NAMES_MAX;

/// Why a path is not read.
#[derive(Debug)]
struct Refusal {
    why: String,
    /// The file, if it is one.
    file: Option<FileId>,
}

/// The paths that cannot be read at present.
#[derive(Debug, Default)]
pub(super) struct Refused {
    paths: BTreeMap<PathBuf, Refusal>,
    /// Files that lost such a path. Another name may show them yet.
    gone: Vec<(PathBuf, Refusal)>,
}

impl Refused {
    /// Whether there is anything to try again, or to count.
    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.gone.is_empty()
    }

    /// The paths that cannot be read at present.
    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.paths.keys()
    }

    /// A path cannot be read.
    pub(super) fn refuse(&mut self, path: &Path, why: &str) {
        if self.paths.len() < FOLDER_NAMES_MAX {
            let found = path.metadata().ok().filter(Metadata::is_file);
            let file = found.map(|found| Facts::from(&found).id());
            let refusal = Refusal { why: why.into(), file };
            self.paths.insert(path.to_path_buf(), refusal);
        }
    }

    /// This file was opened at a path.
    pub(super) fn opened(&mut self, path: &Path, file: FileId) {
        self.paths.remove(path);
        self.gone.retain(|(_, refusal)| refusal.file != Some(file));
    }

    /// A folder can be listed.
    pub(super) fn listed(&mut self, folder: &Path) {
        self.paths.remove(folder);
    }

    /// A path denotes nothing any more. Returns whether it was one of these.
    pub(super) fn gone(&mut self, path: &Path) -> bool {
        let Some(refusal) = self.paths.remove(path) else { return false };
        if refusal.file.is_some() && self.gone.len() < FOLDER_NAMES_MAX {
            self.gone.push((path.to_path_buf(), refusal));
        }
        true
    }

    /// How many files are gone unread since the last call, and one of them for the log.
    pub(super) fn take_unread(&mut self) -> Option<(u64, String)> {
        let gone = std::mem::take(&mut self.gone);
        let (path, refusal) = gone.first()?;
        Some((gone.len() as u64, format!("{path:?}: {}", refusal.why)))
    }

    /// The input's state as far as these matter.
    ///
    /// # Errors
    /// What cannot be read.
    pub(super) fn state(&self) -> Result<(), String> {
        match self.paths.first_key_value() {
            None => Ok(()),
            Some((path, first)) if self.paths.len() == 1 => Err(format!("{path:?}: {}", first.why)),
            Some((path, first)) => Err(format!(
                "{} paths cannot be read, as {path:?}: {}",
                self.paths.len(),
                first.why
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_goes_unread_is_counted_unless_it_is_read_under_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut refused = Refused::default();
        for name in ["moved", "removed"] {
            fs::write(path(name), "x\n").unwrap();
            refused.refuse(&path(name), "no room");
        }
        let both = format!("2 paths cannot be read, as {:?}: no room", path("moved"));
        assert_eq!(refused.state(), Err(both));
        fs::rename(path("moved"), path("moved.1")).unwrap();
        fs::remove_file(path("removed")).unwrap();
        assert!(refused.gone(&path("moved")) && refused.gone(&path("removed")));
        assert!(!refused.gone(&path("removed")));
        assert_eq!(refused.state(), Ok(()));
        let moved = Facts::from(&path("moved.1").metadata().unwrap());
        refused.opened(&path("moved.1"), moved.id());
        let one = format!("{:?}: no room", path("removed"));
        assert_eq!(refused.take_unread(), Some((1, one)));
        assert_eq!(refused.take_unread(), None);
        assert!(refused.is_empty());
    }

    #[test]
    fn of_a_folder_that_goes_the_files_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("below");
        fs::create_dir(&below).unwrap();
        fs::write(below.join("a"), "x\n").unwrap();
        let mut refused = Refused::default();
        refused.refuse(&below, "no right");
        refused.refuse(&below.join("a"), "no right");
        assert!(refused.gone(&below) && refused.gone(&below.join("a")));
        assert_eq!(refused.take_unread().unwrap().0, 1);
        assert_eq!(refused.state(), Ok(()));
    }
}
