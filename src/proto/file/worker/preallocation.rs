//! A file that grows at its end: what was written of a line that failed is cut off again, and
//! disk space is preallocated for one that takes much at once.
//!
//! ext4 looks for the place of each new block by itself, which costs a third of a large append;
//! where many blocks are allocated at a time, the same append goes without. The file's length
//! stays what was written. What is left of the space goes back when the file is closed; a daemon
//! that is killed leaves it, and the next one to write there uses it.
//!
//! Others may cut the file (`: > file`, logrotate's copytruncate). Its length is looked at before
//! it is written, and a cut never makes it longer than it is.

use std::io::{self, IoSlice};

use crate::fs::{FsFile, write_counted};
use crate::limits::{PREALLOCATION, PREALLOCATION_MIN};

/// A file, and where its end is.
#[derive(Debug)]
pub(super) struct Preallocated<F: FsFile> {
    file: F,
    /// The length without what is to be cut off.
    len: u64,
    /// Whether it has a length; a terminal has none.
    is_regular: bool,
    /// Up to where the file reached when something behind `len` could not be cut off.
    torn: Option<u64>,
    /// The end of the space that was allocated; `None` where none is to be asked for.
    until: Option<u64>,
}

impl<F: FsFile> Preallocated<F> {
    /// A file of the length that it has.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn new(file: F) -> io::Result<Self> {
        let len = file.length()?;
        let is_regular = file.is_regular();
        Ok(Self { file, len, is_regular, torn: None, until: Some(len) })
    }

    /// Its length in bytes, of which [`Self::cut_back`] may have taken some.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Takes in what others did to the file; whether they cut it.
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
            // Nobody knows what is allocated now.
            self.until = self.until.map(|_| len);
        }
        Ok(was_cut)
    }

    /// Appends all of the slices, which may make the file `most` bytes long where that is more
    /// than they do.
    ///
    /// # Errors
    /// The system's; the length tells how much was written.
    pub(super) fn append(&mut self, slices: &mut [IoSlice<'_>], most: u64) -> io::Result<()> {
        if self.torn.is_some() {
            self.cut()?;
        }
        let coming = slices.iter().map(|slice| slice.len() as u64).sum();
        self.preallocate(coming, most);
        write_counted(&mut self.file, slices, &mut self.len)
    }

    /// Takes off what is behind the first `len` bytes, now or before the next append.
    pub(super) fn cut_back(&mut self, len: u64) {
        if len < self.len {
            self.torn = Some(self.len);
            self.len = len;
            // What fails is tried again.
            let _ = self.cut();
        }
    }

    /// Cuts off what is torn, but nothing that others wrote behind it.
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
        // A cut takes what was allocated along.
        self.until = self.until.map(|_| self.len);
        Ok(())
    }

    /// Whether something is left to be cut off, and behind which length.
    pub(super) fn torn(&self) -> Option<u64> {
        self.torn.map(|_| self.len)
    }

    /// Has what was written survive a crash.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }

    /// Allocates space for so many bytes and for what may follow, where they are many.
    fn preallocate(&mut self, coming: u64, most: u64) {
        let end = self.len + coming;
        let wanted = |until: &u64| coming >= PREALLOCATION_MIN && end > *until;
        let Some(allocated) = self.until.filter(wanted) else { return };
        let from = allocated.max(self.len);
        let until = (end + PREALLOCATION).min(most).max(end);
        // Where somebody else writes or cuts the file too, nobody knows where space is needed.
        let done = self.is_ours() && self.file.preallocate(from, until - from).is_ok();
        // A file system that cannot is not asked again, nor one that has no space left.
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
            // What cannot be given back is space, and nothing that anybody reads.
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

    fn append(file: &mut Preallocated<File>, bytes: usize, most: u64) {
        file.append(&mut [IoSlice::new(&vec![b'x'; bytes])], most).unwrap();
    }

    /// Bytes of the disk that a file has, and the most it needs.
    fn has_and_needs(path: &Path) -> (u64, u64) {
        let data: Metadata = path.metadata().unwrap();
        // A block is larger where the file system puts several together.
        (data.blocks() * 512, data.len().next_multiple_of(64 * 1024))
    }

    /// Whether the file system preallocates.
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
        for (bytes, most) in [(1000, u64::MAX), (MANY, MANY as u64)] {
            let path = folder.path().join(bytes.to_string());
            let mut file = open(&path);
            append(&mut file, bytes, most);
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
        // The half line that was written behind the cut.
        append(&mut file, 7, u64::MAX);
        file.cut_back(100);
        assert!(!read().contains(&0), "{:?}", read());
        other.set_len(0).unwrap();
        assert!(file.follow().unwrap());
        assert_eq!(file.len(), 0);
        assert!(!file.follow().unwrap());
        append(&mut file, 3, u64::MAX);
        assert_eq!(read(), b"xxx");
        // What others write behind is theirs, and counted.
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
