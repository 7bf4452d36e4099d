//! A file that grows at its end: what was written of a line that failed is cut off again, and
//! one that takes much at once has room set aside ahead.
//!
//! ext4 looks for the place of each new block by itself, which costs a third of a large append;
//! into room that was set aside, many blocks at a time, the same append goes without. The file's
//! length stays what was written. What is left of the room goes back when the file is closed; a
//! daemon that is killed leaves it, and the next one to write there uses it.

use std::io::{self, IoSlice};

use crate::fs::{FsFile, write_counted};
use crate::limits::{AHEAD, AHEAD_LEAST};

/// A file, and where its end is.
#[derive(Debug)]
pub(super) struct Growing<F: FsFile> {
    file: F,
    /// The length without what is to be cut off.
    len: u64,
    /// Whether it is on a disk of this machine.
    pub(super) is_local: bool,
    /// Whether there is something behind `len` that could not be cut off yet.
    torn: bool,
    /// The end of the room that was set aside; `None` where none is to be asked for.
    ahead: Option<u64>,
}

impl<F: FsFile> Growing<F> {
    /// A file of the length that it has.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn new(file: F) -> io::Result<Self> {
        let len = file.length()?;
        let is_local = file.is_local();
        Ok(Self { file, len, is_local, torn: false, ahead: Some(len) })
    }

    /// Its length in bytes, of which [`Self::cut_back`] may have taken some.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Appends all of the slices, which may make the file `most` bytes long where that is more
    /// than they do.
    ///
    /// # Errors
    /// The system's; the length tells how much was written.
    pub(super) fn append(&mut self, slices: &mut [IoSlice<'_>], most: u64) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.len)?;
            self.torn = false;
        }
        let coming = slices.iter().map(|slice| slice.len() as u64).sum();
        self.set_aside(coming, most);
        write_counted(&mut self.file, slices, &mut self.len)
    }

    /// Takes off what is behind the first `len` bytes, now or before the next append.
    pub(super) fn cut_back(&mut self, len: u64) {
        if len < self.len {
            self.len = len;
            self.torn = self.file.set_len(len).is_err();
            // A cut takes the room along.
            self.ahead = self.ahead.map(|_| len);
        }
    }

    /// Has what was written survive a crash.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }

    /// Sets room aside for so many bytes and for what may follow, where they are many.
    fn set_aside(&mut self, coming: u64, most: u64) {
        let end = self.len + coming;
        let Some(ahead) = self.ahead.filter(|ahead| coming >= AHEAD_LEAST && end > *ahead) else {
            return;
        };
        let from = ahead.max(self.len);
        let until = (end + AHEAD).min(most).max(end);
        // Where somebody else writes or cuts the file too, nobody knows where room is needed.
        let done = self.is_ours() && self.file.set_aside(from, until - from).is_ok();
        // A file system that cannot is not asked again, nor one that has no room left.
        self.ahead = done.then_some(until);
    }

    fn is_ours(&self) -> bool {
        self.file.length().is_ok_and(|len| len == self.len)
    }
}

impl<F: FsFile> Drop for Growing<F> {
    fn drop(&mut self) {
        let has_room = self.ahead.is_some_and(|ahead| ahead > self.len);
        if has_room && self.is_ours() {
            // What cannot be given back is room, and nothing that anybody reads.
            let _ = self.file.give_back(self.len);
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

    fn open(path: &Path) -> Growing<File> {
        Growing::new(OsFs.append(path, 0o600).unwrap()).unwrap()
    }

    fn append(file: &mut Growing<File>, bytes: usize, most: u64) {
        file.append(&mut [IoSlice::new(&vec![b'x'; bytes])], most).unwrap();
    }

    /// Bytes of the disk that a file has, and the most it needs.
    fn has_and_needs(path: &Path) -> (u64, u64) {
        let data: Metadata = path.metadata().unwrap();
        // A block is larger where the file system puts several together.
        (data.blocks() * 512, data.len().next_multiple_of(64 * 1024))
    }

    /// Whether the file system sets room aside.
    fn can(folder: &Path) -> bool {
        let mut file = OsFs.append(&folder.join("probe"), 0o600).unwrap();
        file.set_aside(0, AHEAD).is_ok()
    }

    #[test]
    fn room_is_set_aside_for_what_grows_fast_and_given_back_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let mut file = open(&path);
        for _ in 0..20 {
            append(&mut file, MANY, u64::MAX);
        }
        assert_eq!((file.len(), path.metadata().unwrap().len()), (20 << 20, 20 << 20));
        if can(folder.path()) {
            let (has, _) = has_and_needs(&path);
            assert!(has > 20 << 20 && has <= (20 << 20) + AHEAD + (1 << 20), "{has}");
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
    fn little_has_no_room_set_aside_nor_has_more_than_the_file_may_take() {
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
        assert!(has <= needs + AHEAD, "{has} of {needs}");
        assert_eq!(path.metadata().unwrap().len(), 30 << 20);
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
