//! A file that grows at its end: the partial line of a failed write is cut off again, and disk
//! space is preallocated for files that receive much at once.
//!
//! ext4 searches for each new block separately, which costs a third of the time of a large append;
//! allocating many blocks at a time avoids that. The file's length remains the number of bytes
//! written. Unused space is released when the file is closed; a daemon that is killed leaves it
//! allocated, and the next writer uses it.
//!
//! Others may truncate the file (`: > file`, logrotate's copytruncate). Its length is checked
//! before each write, and cutting never makes it longer than it is.

use std::io::{self, IoSlice};

use crate::fs::{FsFile, write_counted};
use crate::limits::{PREALLOCATION, PREALLOCATION_MIN};

/// A file and the position of its end.
#[derive(Debug)]
pub(super) struct Preallocated<F: FsFile> {
    file: F,
    /// The length without the part to be cut off.
    len: u64,
    /// True if it has a length; a terminal has none.
    is_regular: bool,
    /// The end of the file when something after `len` could not be cut off.
    torn: Option<u64>,
    /// The end of the allocated space; `None` if nothing is to be preallocated.
    until: Option<u64>,
}

impl<F: FsFile> Preallocated<F> {
    /// Takes over a file with its current length.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn new(file: F) -> io::Result<Self> {
        let len = file.length()?;
        let is_regular = file.is_regular();
        Ok(Self { file, len, is_regular, torn: None, until: Some(len) })
    }

    /// Its length in bytes, as reduced by [`Self::cut_back`].
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Updates the length after changes by others; returns whether they truncated the file.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn follow(&mut self) -> io::Result<bool> {
        if !self.is_regular {
            return Ok(false);
        }
        if self.torn.is_some() {
            self.cut()?;
        }
        let len = self.file.length()?;
        let was_cut = len < self.len;
        if len != self.len {
            self.len = len;
            // The allocated range is unknown now.
            self.until = self.until.map(|_| len);
        }
        Ok(was_cut)
    }

    /// Appends all slices. `max` is the length that the file may reach, which bounds preallocation,
    /// but not the slices themselves.
    ///
    /// # Errors
    /// The system's; the length tells how much was written.
    pub(super) fn append(&mut self, slices: &mut [IoSlice<'_>], max: u64) -> io::Result<()> {
        if self.torn.is_some() {
            self.cut()?;
        }
        let coming = slices.iter().map(|slice| slice.len() as u64).sum();
        self.preallocate(coming, max);
        write_counted(&mut self.file, slices, &mut self.len)
    }

    /// Cuts off everything after the first `len` bytes, now or before the next append.
    pub(super) fn cut_back(&mut self, len: u64) {
        if len < self.len {
            self.torn = Some(self.len);
            self.len = len;
            // A failure is retried.
            let _ = self.cut();
        }
    }

    /// Cuts off the torn part, but nothing that others wrote after it.
    fn cut(&mut self) -> io::Result<()> {
        let Some(end) = self.torn.filter(|_| self.is_regular) else {
            self.torn = None;
            return Ok(());
        };
        let actual = self.file.length()?;
        if actual > end || actual < self.len {
            self.len = actual;
        } else if actual > self.len {
            self.file.set_len(self.len)?;
        }
        self.torn = None;
        // Truncating also releases the allocated space.
        self.until = self.until.map(|_| self.len);
        Ok(())
    }

    /// Returns the length after which something remains to be cut off, if anything does.
    pub(super) fn torn(&self) -> Option<u64> {
        self.torn.map(|_| self.len)
    }

    /// Makes everything written durable.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }

    /// Preallocates space for `coming` bytes and for what may follow, if they are many.
    fn preallocate(&mut self, coming: u64, max: u64) {
        let end = self.len + coming;
        let wanted = |until: &u64| coming >= PREALLOCATION_MIN && end > *until;
        let Some(allocated) = self.until.filter(wanted) else { return };
        let from = allocated.max(self.len);
        let until = (end + PREALLOCATION).min(max).max(end);
        // If someone else writes or truncates the file too, nobody knows where space is needed.
        let done = self.is_ours() && self.file.preallocate(from, until - from).is_ok();
        // A file system that cannot preallocate, or has no space left, is not asked again.
        self.until = done.then_some(until);
    }

    fn is_ours(&self) -> bool {
        self.file.length().is_ok_and(|len| len == self.len)
    }
}

impl<F: FsFile> Drop for Preallocated<F> {
    fn drop(&mut self) {
        let has_more = self.until.is_some_and(|until| until > self.len);
        if has_more && self.is_ours() {
            // A failure here wastes space, but adds nothing that a reader would see.
            let _ = self.file.release(self.len);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, Metadata};
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::fs::{Fs, OsFs};

    const MANY: usize = 1 << 20;

    fn open(path: &Path) -> Preallocated<File> {
        Preallocated::new(OsFs.append(path, 0o600).unwrap()).unwrap()
    }

    fn append(file: &mut Preallocated<File>, bytes: usize, max: u64) {
        file.append(&mut [IoSlice::new(&vec![b'x'; bytes])], max).unwrap();
    }

    /// The bytes of disk that a file occupies, and the maximum it needs.
    fn has_and_needs(path: &Path) -> (u64, u64) {
        let data: Metadata = path.metadata().unwrap();
        // A block is larger if the file system clusters several together.
        (data.blocks() * 512, data.len().next_multiple_of(64 * 1024))
    }

    /// Returns whether the file system preallocates.
    fn can(folder: &Path) -> bool {
        let mut file = OsFs.append(&folder.join("probe"), 0o600).unwrap();
        file.preallocate(0, PREALLOCATION).is_ok()
    }

    #[test]
    fn what_grows_fast_is_preallocated_and_the_rest_given_back_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let mut file = open(&path);
        for _ in 0..20 {
            append(&mut file, MANY, u64::MAX);
        }
        assert_eq!((file.len(), path.metadata().unwrap().len()), (20 << 20, 20 << 20));
        if can(folder.path()) {
            let (has, _) = has_and_needs(&path);
            assert!(has > 20 << 20 && has <= (20 << 20) + PREALLOCATION + (1 << 20), "{has}");
        }
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        File::options().append(true).open(&path).unwrap().set_modified(old).unwrap();
        drop(file);
        let (has, needs) = has_and_needs(&path);
        assert!(has <= needs, "{has} of {needs}");
        let data = path.metadata().unwrap();
        assert_eq!((data.len(), data.modified().unwrap()), (20 << 20, old));
    }

    #[test]
    fn little_is_not_preallocated_nor_is_more_than_the_file_may_take() {
        let folder = tempfile::tempdir().unwrap();
        for (bytes, max) in [(1000, u64::MAX), (MANY, MANY as u64)] {
            let path = folder.path().join(bytes.to_string());
            let mut file = open(&path);
            append(&mut file, bytes, max);
            let (has, needs) = has_and_needs(&path);
            assert!(has <= needs, "{has} of {needs}");
        }
    }

    #[test]
    fn a_file_that_others_write_or_cut_keeps_what_they_make_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let mut other = OsFs.append(&path, 0o600).unwrap();
        let mut file = open(&path);
        append(&mut file, MANY, u64::MAX);
        Write::write_all(&mut other, b"another's line\n").unwrap();
        drop(file);
        assert_eq!(path.metadata().unwrap().len(), (1 << 20) + 15);

        let mut file = open(&path);
        append(&mut file, MANY, u64::MAX);
        other.set_len(0).unwrap();
        for _ in 0..30 {
            append(&mut file, MANY, u64::MAX);
        }
        let (has, needs) = has_and_needs(&path);
        assert!(has <= needs + PREALLOCATION, "{has} of {needs}");
        assert_eq!(path.metadata().unwrap().len(), 30 << 20);
    }

    #[test]
    fn a_line_that_failed_is_cut_off_a_file_that_others_cut_too_without_a_hole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let read = || std::fs::read(&path).unwrap();
        let other = OsFs.append(&path, 0o600).unwrap();
        let mut file = open(&path);
        append(&mut file, 100, u64::MAX);
        other.set_len(0).unwrap();
        // The half line that was written after the truncation.
        append(&mut file, 7, u64::MAX);
        file.cut_back(100);
        assert!(!read().contains(&0), "{:?}", read());
        other.set_len(0).unwrap();
        assert!(file.follow().unwrap());
        assert_eq!(file.len(), 0);
        assert!(!file.follow().unwrap());
        append(&mut file, 3, u64::MAX);
        assert_eq!(read(), b"xxx");
        // What others write after it is theirs, and counted.
        Write::write_all(&mut &other, b"y\n").unwrap();
        assert!(!file.follow().unwrap());
        assert_eq!(file.len(), 5);
    }

    #[test]
    fn what_is_cut_back_is_gone_and_the_next_append_follows_what_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let mut file = open(&path);
        append(&mut file, MANY, u64::MAX);
        file.cut_back(10);
        file.append(&mut [IoSlice::new(b"ab"), IoSlice::new(b"c\n")], u64::MAX).unwrap();
        assert_eq!(file.len(), 14);
        assert_eq!(std::fs::read(&path).unwrap(), b"xxxxxxxxxxabc\n");
    }
}
