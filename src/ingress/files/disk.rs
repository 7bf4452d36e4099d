//! The file system operations for following files, so that a test can simulate them.

use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;

use crate::limits::NEIGHBOURS_MAX;
use crate::sys;

/// The metadata of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The device it is on. It may change whenever the host starts.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// When it was created, since 1970; zero if the file system does not record it.
    pub born: Duration,
    /// The number of its names.
    pub links: u64,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last written to.
    pub written: SystemTime,
}

/// Which file it is: device, inode, and when it was created, since 1970.
pub type FileId = (u64, u64, Duration);

impl Facts {
    /// Which file it is. As long as one is open no other has the same.
    pub fn id(&self) -> FileId {
        (self.device, self.inode, self.born)
    }
}

impl From<&Metadata> for Facts {
    fn from(found: &Metadata) -> Self {
        let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok();
        Self {
            device: found.dev(),
            inode: found.ino(),
            born: found.created().ok().and_then(since).unwrap_or_default(),
            links: found.nlink(),
            size: found.size(),
            written: found.modified().unwrap_or(UNIX_EPOCH),
        }
    }
}

/// An open file that is followed.
pub trait Tailed {
    /// Its current metadata.
    ///
    /// # Errors
    /// The system's.
    fn facts(&self) -> io::Result<Facts>;

    /// Reads from byte `at` on; fewer bytes than asked for only at the end.
    ///
    /// # Errors
    /// The system's.
    fn read(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// The same, appended to a buffer; returns how many bytes came.
    ///
    /// # Errors
    /// The system's.
    fn append_to(&self, buffer: &mut BytesMut, count: usize, at: u64) -> io::Result<usize>;

    /// Returns whether a process has it open for writing; `None` if that cannot be determined.
    fn has_writer(&self) -> Option<bool>;
}

/// The place where files are.
pub trait Disk {
    /// An open file.
    type File: Tailed;

    /// Opens the files of a folder whose names begin with this one's stem, to which it may have
    /// been copied. At most [`NEIGHBOURS_MAX`].
    fn neighbours(&self, path: &Path) -> Vec<(PathBuf, Self::File)>;
}

/// Why a file is not followed.
#[derive(Debug)]
pub enum Refusal {
    /// It is already gone.
    Gone,
    /// It is of a kind that cannot be followed, which the text names.
    Kind(&'static str),
    /// The system's error.
    Failed(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Gone,
            _ => Self::Failed(error),
        }
    }
}

/// The system's files.
#[derive(Debug, Clone, Copy)]
pub struct OsDisk;

/// Opens a regular file for following, and says which it is. Anything else is refused without being
/// opened: opening a FIFO or a device may have side effects.
///
/// # Errors
/// Why it is not followed.
pub fn open(path: &Path) -> Result<(File, FileId), Refusal> {
    regular(&path.metadata()?)?;
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    // Another file may have taken its name meanwhile.
    let found = file.metadata()?;
    regular(&found)?;
    Ok((file, Facts::from(&found).id()))
}

fn regular(found: &Metadata) -> Result<(), Refusal> {
    let kind = found.file_type();
    Err(Refusal::Kind(match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a FIFO: read it with `fifo`",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }))
}

impl Tailed for File {
    fn facts(&self) -> io::Result<Facts> {
        self.metadata().map(|found| Facts::from(&found))
    }

    fn read(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        fill(buffer.len(), |done| self.read_at(&mut buffer[done..], at + done as u64))
    }

    fn append_to(&self, buffer: &mut BytesMut, count: usize, at: u64) -> io::Result<usize> {
        fill(count, |done| sys::read::append_at(self, buffer, count - done, at + done as u64))
    }

    fn has_writer(&self) -> Option<bool> {
        sys::lease::has_writer(self)
    }
}

/// Reads by `more`, which is told how many bytes are there, until there are `count` or no more.
fn fill(count: usize, mut more: impl FnMut(usize) -> io::Result<usize>) -> io::Result<usize> {
    let mut done = 0;
    while done < count {
        match more(done) {
            Ok(0) => break,
            Ok(bytes) => done += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Return what was read first; the error recurs.
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

impl Disk for OsDisk {
    type File = File;

    fn neighbours(&self, path: &Path) -> Vec<(PathBuf, File)> {
        let Some(folder) = path.parent() else { return Vec::new() };
        let Ok(entries) = folder.read_dir() else { return Vec::new() };
        let names = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let near = names.filter(|other| other != path && is_rotation(path, other));
        near.filter_map(|other| Some((other.clone(), open(&other).ok()?.0)))
            .take(NEIGHBOURS_MAX)
            .collect()
    }
}

/// Returns whether `other`, in the same folder, may be a rotation of `path`, judging by its name:
/// it has the same stem, followed by a number, a date or a word for old files, as `access.log.1`,
/// `access.log-20261127`, `access-20261127.log` and `access.log.old` do for `access.log`.
pub fn is_rotation(path: &Path, other: &Path) -> bool {
    let (Some(stem), Some(name)) = (path.file_stem(), other.file_name()) else { return false };
    let Some(rest) = name.as_bytes().strip_prefix(stem.as_bytes()) else { return false };
    let ending: Vec<u8> = match path.extension() {
        Some(ending) => [b".", ending.as_bytes()].concat(),
        None => Vec::new(),
    };
    let rest = rest.strip_prefix(&ending[..]).unwrap_or(rest);
    let rest = rest.strip_suffix(&ending[..]).unwrap_or(rest);
    let is_number = |byte: &u8| byte.is_ascii_digit() || b"-_.~:@TZ".contains(byte);
    let begins_apart = rest.first().is_some_and(|byte| b"-_.~@".contains(byte));
    let words: [&[u8]; 5] = [b".old", b".bak", b".prev", b".orig", b".save"];
    path.parent() == other.parent()
        && begins_apart
        && (rest.iter().all(is_number) || words.contains(&rest))
}

/// The paths without an ending of which `other` may be a rotation, by [`is_rotation`].
pub fn stems_of(other: &Path) -> impl Iterator<Item = PathBuf> {
    let name = other.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
    let ends = name.iter().enumerate().skip(1).filter(|(_, byte)| b"-_.~@".contains(byte));
    ends.map(|(end, _)| other.with_file_name(OsStr::from_bytes(&name[..end])))
}

/// Returns whether a name is that of a compressed file.
pub fn is_compressed(path: &Path) -> bool {
    let endings = ["gz", "zst", "xz", "bz2", "lz4"];
    path.extension().is_some_and(|ending| endings.iter().any(|one| ending == *one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_has_the_stem_and_a_number_or_a_date_behind_it() {
        let is = |name: &str| is_rotation(Path::new("/l/app.log"), &Path::new("/l").join(name));
        for name in [
            "app.log.1",
            "app.log-20261127",
            "app-2026-11-27T10.log",
            "app.log.old",
            "app.log~",
            "app.log-00001",
            "app.1.log",
        ] {
            assert!(is(name), "{name}");
        }
        for name in
            ["app.log", "app2.log", "app-worker.log", "app.log.err", "apps.log.1", "b.log.1"]
        {
            assert!(!is(name), "{name}");
        }
        assert!(!is_rotation(Path::new("/l/app.log"), Path::new("/m/app.log.1")));
        let stems: Vec<_> = stems_of(Path::new("/l/a-b.log.1")).collect();
        assert_eq!(stems, ["/l/a", "/l/a-b", "/l/a-b.log"].map(PathBuf::from));
        let rotated = Path::new("/p/0.log.20261127-101010");
        assert!(is_rotation(Path::new("/p/0.log"), rotated));
    }
}
