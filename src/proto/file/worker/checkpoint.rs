//! Exact outputs: every line of a spool once, whenever a machine stops.
//!
//! The cursor of such an output records its files and their lengths, and after a crash the files
//! are cut back to those lengths. So a cursor must be on disk before a file that it does not name
//! is written, and before a file that it names is renamed or opened anew. The output stops there
//! until a [checkpoint](Worker::checkpoint) is [saved](Worker::saved). A file that someone else has
//! truncated is no longer named by the cursor.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Blocked, FileOutput, Position, Step};
use crate::fs::{Fs, FsFile};
use crate::limits::{CURSOR_FILES_MAX, FILES_AT_ONCE_NAMES};

/// The state of the cursor on disk, for an exact output.
#[derive(Debug, Default)]
pub(super) struct Exact {
    /// The files it names, which may be written.
    named: HashSet<PathBuf>,
    /// The files of the checkpoint that is being saved.
    offered: HashSet<PathBuf>,
    /// Files that were closed to make room, and are durable.
    closed: HashMap<PathBuf, Closed>,
    /// True if nothing was written since the cursor was saved.
    fresh: bool,
    /// True if files must be reopened by name after the next checkpoint.
    reopening: bool,
}

#[derive(Debug)]
struct Closed {
    len: u64,
    used: u64,
}

impl<F: Fs> FileOutput<F> {
    /// Closes all files, so that the next line opens them by name again. An exact output that has
    /// written since its last checkpoint does so at the next one; until then
    /// [`Worker::is_reopening`] is true.
    pub(super) fn close_named(&mut self) {
        if let Some(exact) = &mut self.exact {
            let is_saved = exact.fresh || (self.open.is_empty() && exact.closed.is_empty());
            if !is_saved {
                exact.reopening = true;
                return;
            }
            exact.named.clear();
            exact.closed.clear();
        }
        self.open.clear();
    }

    /// Returns whether files must be reopened by name and a checkpoint must come first.
    pub(super) fn waits_to_reopen(&self) -> bool {
        self.exact.as_ref().is_some_and(|exact| exact.reopening)
    }

    /// Cuts files back to the lengths in a cursor. A file that is shorter was rotated after the
    /// cursor was written.
    ///
    /// # Errors
    /// Which file cannot be cut, and why.
    pub(super) fn go_back_to(&mut self, files: &Position) -> Result<(), String> {
        let strange = !self.plan.path.fields().is_empty();
        for (path, len) in files {
            let cut = || -> io::Result<()> {
                let is_there = if strange { self.fs.is_file(path) } else { self.fs.exists(path) };
                if is_there && self.fs.length(path)? > *len {
                    let trusted = strange.then(|| self.trusted(path));
                    let mut file = self.fs.output(path, trusted, &self.plan.access)?;
                    file.set_len(*len)?;
                    file.sync()?;
                }
                Ok(())
            };
            cut().map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(())
    }

    /// Returns how much of a path in a cursor is the user's own. The configured name may have been
    /// different when the cursor was written.
    fn trusted(&self, path: &Path) -> usize {
        let (folder, path) =
            (self.plan.path.fixed_folder().as_bytes(), path.as_os_str().as_bytes());
        match path.starts_with(folder) {
            true => folder.len(),
            false => memchr::memrchr(b'/', path).map_or(0, |at| at + 1),
        }
    }

    /// Makes everything written durable; returns the files for the cursor to name.
    ///
    /// # Errors
    /// Which file cannot be made durable, and why.
    pub(super) fn make_durable(&mut self) -> Result<Position, String> {
        let mut folders = HashSet::new();
        for open in self.open.values_mut() {
            let path = &open.name.path;
            let describe = |error: io::Error| format!("{}: {error}", path.display());
            if open.dirty {
                open.file.sync().map_err(describe)?;
                open.dirty = false;
            }
            if !self.exact.as_ref().is_some_and(|exact| exact.named.contains(path)) {
                folders.extend(path.parent());
            }
        }
        let Some(exact) = &mut self.exact else { return Ok(Vec::new()) };
        let unnamed = |(path, _): &(&PathBuf, _)| !exact.named.contains(*path);
        let closed = exact.closed.iter().filter(unnamed);
        folders.extend(closed.filter_map(|(path, _)| path.parent()));
        for folder in folders {
            self.fs
                .sync_folder(folder)
                .map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        if std::mem::take(&mut exact.reopening) {
            self.open.clear();
            exact.closed.clear();
        }
        exact.forget_oldest();
        let open = self.open.values().map(|open| (open.name.path.clone(), open.file.len()));
        let closed = exact.closed.iter().map(|(path, closed)| (path.clone(), closed.len));
        let files: Position = open.chain(closed).collect();
        exact.offered = files.iter().map(|(path, _)| path.clone()).collect();
        Ok(files)
    }

    /// Records that the last checkpoint is on disk.
    pub(super) fn checkpoint_saved(&mut self) {
        if let Some(exact) = &mut self.exact {
            exact.named = std::mem::take(&mut exact.offered);
            exact.fresh = true;
            if std::mem::take(&mut exact.reopening) {
                self.close_named();
            }
        }
    }

    /// Fails if a checkpoint is needed before a file is renamed.
    pub(super) fn before_renaming(&self) -> Step<()> {
        match &self.exact {
            Some(exact) if !exact.fresh => Err(Blocked::Checkpoint),
            _ => Ok(()),
        }
    }

    /// Fails if a checkpoint is needed before a file is written.
    pub(super) fn before_writing(&mut self, path: &Path) -> Step<()> {
        let Some(exact) = &mut self.exact else { return Ok(()) };
        if !exact.named.contains(path) {
            return Err(Blocked::Checkpoint);
        }
        exact.fresh = false;
        Ok(())
    }

    /// Returns whether a checkpoint must come before a file may be written.
    pub(super) fn is_unnamed(&self, path: &Path) -> bool {
        self.exact.as_ref().is_some_and(|exact| !exact.named.contains(path))
    }

    /// Records that a file was renamed, is about to be replaced, or was truncated by someone else:
    /// its entry in the cursor is no longer valid.
    pub(super) fn note_gone(&mut self, path: &Path) {
        if let Some(exact) = &mut self.exact {
            exact.named.remove(path);
            exact.closed.remove(path);
        }
    }

    /// Records that a file was opened.
    pub(super) fn note_opened(&mut self, path: &Path, len: u64) {
        let closed = self.exact.as_mut().and_then(|exact| exact.closed.remove(path));
        if closed.is_some_and(|closed| len < closed.len) {
            self.note_gone(path);
        }
    }

    /// Records that a file was closed; it is durable.
    pub(super) fn note_closed(&mut self, path: &Path, len: u64, used: u64) {
        if let Some(exact) = &mut self.exact {
            exact.closed.insert(path.to_path_buf(), Closed { len, used });
        }
    }
}

impl Exact {
    /// Drops closed files if there are more than a cursor can name. All lines in them precede the
    /// position of the next cursor.
    fn forget_oldest(&mut self) {
        let size = |path: &PathBuf| path.as_os_str().len();
        let mut count = self.closed.len();
        let mut bytes: usize = self.closed.keys().map(size).sum();
        let max = (CURSOR_FILES_MAX, 2 * FILES_AT_ONCE_NAMES);
        if count <= max.0 && bytes <= max.1 {
            return;
        }
        let mut oldest: Vec<_> =
            self.closed.iter().map(|(path, closed)| (closed.used, path.clone())).collect();
        oldest.sort_unstable();
        for (_, path) in oldest {
            if count <= max.0 && bytes <= max.1 {
                return;
            }
            count -= 1;
            bytes -= size(&path);
            self.closed.remove(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::filter::batch_of;
    use crate::output::name::NameTemplate;
    use crate::output::worker::{Kept, Worker};
    use crate::proto::file::config::FilePlan;
    use crate::sim::fs::SimFs;

    /// An exact output and the cursor of its reader.
    struct Reader {
        fs: SimFs,
        path: &'static str,
        output: FileOutput<SimFs>,
        lines: Vec<String>,
        done: usize,
        cursor: (usize, Kept),
        checkpoints: usize,
    }

    impl Reader {
        fn new(path: &'static str) -> Self {
            let fs = SimFs::default();
            let output = open(path, &fs);
            let (lines, cursor) = (Vec::new(), (0, Kept::default()));
            Self { fs, path, output, lines, done: 0, cursor, checkpoints: 0 }
        }

        /// Writes lines, with as many checkpoints as the output requests.
        fn write(&mut self, lines: impl IntoIterator<Item = String>) {
            self.lines.extend(lines);
            while self.done < self.lines.len() {
                let text = self.lines[self.done..].concat();
                let written = self.output.append(&[batch_of(&text)]);
                assert_eq!(written.error, None);
                let whole = &text[..written.bytes];
                self.done += whole.lines().count();
                if written.pause {
                    self.checkpoint();
                }
            }
        }

        fn checkpoint(&mut self) {
            let kept = self.output.checkpoint().unwrap();
            self.cursor = (self.done, kept);
            self.output.saved();
            self.checkpoints += 1;
            assert!(self.checkpoints < 1000, "it never ends");
        }

        /// Kills the daemon and starts another one.
        fn kill(&mut self) {
            self.output = open(self.path, &self.fs);
            self.output.restore(&self.cursor.1, 0).unwrap();
            self.done = self.cursor.0;
            self.write([]);
        }

        /// How often each line is in the files.
        fn found(&self) -> BTreeMap<String, usize> {
            let mut found = BTreeMap::new();
            for bytes in self.fs.files().into_values() {
                for line in String::from_utf8(bytes).unwrap().lines() {
                    *found.entry(format!("{line}\n")).or_default() += 1;
                }
            }
            found
        }

        fn check(&self) {
            let want: BTreeMap<_, _> = self.lines.iter().map(|line| (line.clone(), 1)).collect();
            assert_eq!(self.found(), want);
        }
    }

    fn open(path: &str, fs: &SimFs) -> FileOutput<SimFs> {
        FileOutput::exact(FilePlan::new(NameTemplate::parse(path).unwrap()), fs.clone())
    }

    fn lines(numbers: std::ops::Range<usize>) -> impl Iterator<Item = String> {
        numbers.map(|number| format!("<13>app{}: {number}\n", number % 600))
    }

    #[test]
    fn a_file_that_was_renamed_before_a_reopen_has_each_line_once_after_a_kill() {
        for path in ["/log/x", "/log/{app}"] {
            let mut reader = Reader::new(path);
            reader.write(lines(0..10));
            reader.checkpoint();
            reader.write(lines(10..20));
            for (old, _) in reader.fs.files() {
                reader.fs.rename(&old, &crate::fs::with_suffix(&old, ".1")).unwrap();
            }
            reader.output.reopen();
            assert!(reader.output.is_reopening());
            let written = reader.output.append(&[batch_of("not yet\n")]);
            assert!(written.pause && written.bytes == 0);
            reader.write(lines(20..30));
            assert!(!reader.output.is_reopening());
            reader.kill();
            reader.write(lines(30..40));
            reader.check();
            let old = if path == "/log/x" { "/log/x.1" } else { "/log/app1.1" };
            let old = reader.fs.files().remove(Path::new(old)).unwrap();
            let old = String::from_utf8(old).unwrap();
            assert!((20..40).all(|number| !old.contains(&format!(": {number}\n"))), "{old}");
        }
    }

    #[test]
    fn a_reopen_that_comes_while_a_checkpoint_is_saved_needs_no_other() {
        let mut reader = Reader::new("/log/x");
        reader.write(lines(0..10));
        let kept = reader.output.checkpoint().unwrap();
        reader.cursor = (reader.done, kept);
        reader.fs.rename(Path::new("/log/x"), Path::new("/log/x.1")).unwrap();
        reader.output.reopen();
        assert!(reader.output.is_reopening());
        reader.output.saved();
        assert!(!reader.output.is_reopening());
        reader.write(lines(10..20));
        reader.kill();
        reader.check();
    }

    #[test]
    fn a_reopen_with_nothing_to_save_happens_at_once() {
        let mut reader = Reader::new("/log/x");
        reader.output.reopen();
        assert!(!reader.output.is_reopening());
        reader.write(lines(0..10));
        reader.checkpoint();
        reader.output.reopen();
        assert!(!reader.output.is_reopening() && reader.output.open.is_empty());
        reader.write(lines(10..20));
        reader.kill();
        reader.check();
    }

    #[test]
    fn a_file_that_was_copied_and_cut_has_each_line_once_after_a_kill() {
        for path in ["/log/x", "/log/{app}"] {
            let mut reader = Reader::new(path);
            reader.write(lines(0..10));
            reader.checkpoint();
            reader.write(lines(10..20));
            for (old, bytes) in reader.fs.files() {
                reader.fs.put(&crate::fs::with_suffix(&old, ".1"), &bytes);
                reader.fs.append(&old, 0o600).unwrap().set_len(0).unwrap();
            }
            reader.write(lines(0..3).map(|line| line.replace(": ", ": again ")));
            reader.write(lines(20..60));
            reader.kill();
            reader.check();
        }
    }

    #[test]
    fn more_files_than_may_be_open_cost_one_checkpoint_and_have_each_line_once() {
        let mut reader = Reader::new("/log/{app}");
        reader.write(lines(0..1800));
        assert_eq!(reader.checkpoints, 1);
        assert!(reader.output.open.len() <= crate::limits::OPEN_FILES_MAX);
        reader.write(lines(1800..3600));
        assert_eq!(reader.checkpoints, 1, "files that were closed are named yet");
        reader.kill();
        reader.check();
        reader.checkpoint();
        reader.write(lines(3600..4200));
        reader.kill();
        reader.check();
    }

    #[test]
    fn a_cursor_names_no_more_files_than_it_can_hold() {
        let mut reader = Reader::new("/log/{host}{app}");
        let long = |number: usize| {
            let (app, host) = (number.to_string(), "h".repeat(200));
            format!("<13>1 - {host} {app} - - - {number}\n")
        };
        for turn in 0..3 {
            reader.write((turn * 700..(turn + 1) * 700).map(long));
            reader.checkpoint();
            let names = reader.cursor.1.files.iter().map(|(path, _)| path.as_os_str().len());
            assert!(names.clone().sum::<usize>() <= 3 * FILES_AT_ONCE_NAMES);
            assert!(names.count() <= CURSOR_FILES_MAX + crate::limits::OPEN_FILES_MAX);
        }
        reader.kill();
        reader.check();
    }
}
