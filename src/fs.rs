//! Files as an argument: the file system operations the daemon needs, so that a test can simulate
//! them.

mod open;

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::{FallocateFlags, Flock, FlockArg, fallocate};
use nix::sys::statfs::{EXT4_SUPER_MAGIC, fstatfs};

use crate::limits::{FILE_MODE_DEFAULT, SLICES_MAX};

pub use open::{Access, copy_access, regular, scratch};

/// A file system.
pub trait Fs: Debug {
    /// An open file.
    type File: FsFile;

    /// A lock on a folder, held as long as the value lives.
    type Lock;

    /// Opens a file for appending and reading; a missing file is created with `mode` (less the
    /// umask).
    ///
    /// # Errors
    /// The system's error.
    fn append(&self, path: &Path, mode: u32) -> io::Result<Self::File>;

    /// Opens an output's file for appending; a missing file is created with its folders. After the
    /// first `trusted` bytes of the path no symbolic link is followed, and the file must be a
    /// regular one; `None` if the whole path is trusted.
    ///
    /// # Errors
    /// The system's error; `InvalidInput` if the file cannot be appended to.
    fn output(
        &self,
        path: &Path,
        trusted: Option<usize>,
        access: &Access,
    ) -> io::Result<Self::File> {
        let _ = trusted;
        match self.append(path, access.mode) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.create_folders(path.parent().unwrap_or_else(|| Path::new("/")))?;
                self.append(path, access.mode)
            }
            done => done,
        }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// The system's error.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// Like [`Self::append`], for a file that must be the daemon's own: links are not followed, and
    /// anything but a regular file is refused.
    ///
    /// # Errors
    /// The system's error, or that it is not a regular file.
    fn append_own(&self, path: &Path, mode: u32) -> io::Result<Self::File> {
        self.append(path, mode)
    }

    /// Opens one of the daemon's own files for reading; links and anything but a regular file are
    /// refused.
    ///
    /// # Errors
    /// The system's error, or that it is not a regular file.
    fn open_own(&self, path: &Path) -> io::Result<Self::File> {
        self.open(path)
    }

    /// Creates a folder and missing parent folders.
    ///
    /// # Errors
    /// The system's error.
    fn create_folders(&self, path: &Path) -> io::Result<()>;

    /// Renames a file within the file system, replacing an existing one.
    ///
    /// # Errors
    /// The system's error.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Renames a file within the file system to a name that must be free.
    ///
    /// # Errors
    /// The system's error; `AlreadyExists` if the name is taken.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self.exists(to) {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => self.rename(from, to),
        }
    }

    /// Removes a file.
    ///
    /// # Errors
    /// The system's error.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Returns whether the name exists.
    fn exists(&self, path: &Path) -> bool;

    /// Returns whether the name is that of a regular file; a link to one does not count.
    fn is_file(&self, path: &Path) -> bool {
        self.length(path).is_ok()
    }

    /// The time of the last write to a file.
    ///
    /// # Errors
    /// The system's error.
    fn modified(&self, path: &Path) -> io::Result<SystemTime>;

    /// The length of a file.
    ///
    /// # Errors
    /// The system's error.
    fn length(&self, path: &Path) -> io::Result<u64>;

    /// The entries of a folder, in no particular order.
    ///
    /// # Errors
    /// The system's error.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;

    /// The entries of a folder with their kinds; links are not followed.
    ///
    /// # Errors
    /// The system's error.
    fn entries(&self, folder: &Path) -> io::Result<Vec<(PathBuf, Kind)>>;

    /// Makes the names in a folder durable: those of new files, and the removal of old ones
    /// (fsync(2) of the folder).
    ///
    /// # Errors
    /// The system's error.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Free bytes of the file system, as available to the daemon's user.
    ///
    /// # Errors
    /// The system's error.
    fn free(&self, folder: &Path) -> io::Result<u64>;

    /// Locks a folder through the lock file at `path`, which is created if missing; `None` if
    /// another process holds the lock.
    ///
    /// # Errors
    /// The system's error.
    fn lock(&self, path: &Path) -> io::Result<Option<Self::Lock>>;
}

/// The kind of an entry of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A link, a named pipe, a socket or a device.
    Other,
}

/// An open file.
pub trait FsFile: Debug {
    /// A second handle to the same open file, so that another thread can sync what has been written
    /// while this one continues to append.
    ///
    /// # Errors
    /// The system's error.
    fn share(&self) -> io::Result<Self>
    where
        Self: Sized;

    /// Appends as many bytes of the slices as the system accepts. Returns their number.
    ///
    /// # Errors
    /// The system's error, if nothing was written.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// The length in bytes.
    ///
    /// # Errors
    /// The system's error.
    fn length(&self) -> io::Result<u64>;

    /// Allocates `bytes` bytes from `from` on, after the end of the file, without changing its
    /// length (fallocate(2), FALLOC_FL_KEEP_SIZE).
    ///
    /// # Errors
    /// The system's error; `Unsupported` if it would not make appending cheaper.
    fn preallocate(&mut self, from: u64, bytes: u64) -> io::Result<()>;

    /// Releases what was allocated after the end of the file at `len`; the modification time stays.
    ///
    /// # Errors
    /// The system's error.
    fn release(&mut self, len: u64) -> io::Result<()>;

    /// Returns whether it is a regular file, and so has a length.
    fn is_regular(&self) -> bool {
        true
    }

    /// Truncates the file to `len` bytes and releases what was allocated after them.
    ///
    /// # Errors
    /// The system's error.
    fn set_len(&mut self, len: u64) -> io::Result<()>;

    /// Makes everything written durable (fdatasync(2)). After an error the state of everything
    /// written since the last sync is unknown, and a later success proves nothing.
    ///
    /// # Errors
    /// The system's error.
    fn sync(&mut self) -> io::Result<()>;

    /// Reads from `offset` on. Returns the number of bytes, 0 at the end.
    ///
    /// # Errors
    /// The system's error.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// Fills `buffer` from `offset` on, or up to the end of the file. Returns the number of bytes.
///
/// # Errors
/// The system's error.
pub fn read_full(file: &impl FsFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut at = 0;
    while at < buffer.len() {
        match file.read_at(&mut buffer[at..], offset + at as u64)? {
            0 => break,
            count => at += count,
        }
    }
    Ok(at)
}

/// Writes all of the slices.
///
/// # Errors
/// The system's error; a part may then have been appended to the file.
pub fn write_all(file: &mut impl FsFile, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    write_counted(file, slices, &mut 0)
}

/// Like [`write_all`], but adds the bytes written to `len`, even on error.
///
/// # Errors
/// The system's error.
pub fn write_counted(
    file: &mut impl FsFile,
    mut slices: &mut [IoSlice<'_>],
    len: &mut u64,
) -> io::Result<()> {
    while slices.iter().any(|slice| !slice.is_empty()) {
        match file.write(&slices[..slices.len().min(SLICES_MAX)])? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => {
                *len += count as u64;
                IoSlice::advance_slices(&mut slices, count);
            }
        }
    }
    Ok(())
}

/// Replaces a small file atomically: whatever happens, its name has the old content or the new. It
/// is durable on return.
///
/// # Errors
/// The system's error; the old content is then still there, and the new content may exist under the
/// same name with `.new` appended.
pub fn replace<F: Fs>(fs: &F, path: &Path, content: &[u8]) -> io::Result<()> {
    let new = with_suffix(path, NEW);
    if fs.exists(&new) {
        fs.remove(&new)?;
    }
    let mut file = fs.append_own(&new, FILE_MODE_DEFAULT)?;
    write_all(&mut file, &mut [IoSlice::new(content)])?;
    file.sync()?;
    fs.rename(&new, path)?;
    fs.sync_folder(path.parent().unwrap_or_else(|| Path::new(".")))
}

/// A path with a suffix appended to its name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    name.into()
}

/// Suffix of the name of a file that is to replace another.
pub const NEW: &str = ".new";

/// The real file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsFs;

impl Fs for OsFs {
    type File = File;
    type Lock = Flock<File>;

    fn append(&self, path: &Path, mode: u32) -> io::Result<File> {
        // Opening a named pipe would block the disk thread until the pipe has a reader.
        if path.metadata().is_ok_and(|data| data.file_type().is_fifo()) {
            let message = "it is a named pipe: write to it with pipe = \"cat > …\" instead";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        OpenOptions::new().read(true).append(true).create(true).mode(mode).open(path)
    }

    fn output(&self, path: &Path, trusted: Option<usize>, access: &Access) -> io::Result<File> {
        open::output(path, trusted, access)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn append_own(&self, path: &Path, mode: u32) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(mode);
        own(&mut options, path)
    }

    fn open_own(&self, path: &Path) -> io::Result<File> {
        own(OpenOptions::new().read(true), path)
    }

    fn create_folders(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        open::rename_new(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn is_file(&self, path: &Path) -> bool {
        path.symlink_metadata().is_ok_and(|data| data.is_file())
    }

    fn exists(&self, path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }

    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        path.metadata()?.modified()
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        Ok(path.metadata()?.len())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    }

    fn entries(&self, folder: &Path) -> io::Result<Vec<(PathBuf, Kind)>> {
        let kind = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            let kind = match entry.file_type()? {
                kind if kind.is_file() => Kind::File,
                kind if kind.is_dir() => Kind::Folder,
                _ => Kind::Other,
            };
            Ok((entry.path(), kind))
        };
        fs::read_dir(folder)?.map(kind).collect()
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn free(&self, folder: &Path) -> io::Result<u64> {
        let data = nix::sys::statvfs::statvfs(folder)?;
        Ok(data.blocks_available().saturating_mul(data.fragment_size()))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Self::Lock>> {
        let file = own(OpenOptions::new().write(true).create(true), path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(error.into()),
        }
    }
}

/// Opens a regular file under its own name. Opening a named pipe could block, and the target of a
/// link may belong to another user.
fn own(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let said = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what);
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = options.custom_flags(flags).open(path).map_err(|error| {
        match error.raw_os_error() {
            Some(libc::ELOOP) => said("is a symbolic link, which is not followed here"),
            // A named pipe without a reader, or a socket.
            Some(libc::ENXIO) => said("is no regular file"),
            _ => error,
        }
    })?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(said("is no regular file")),
    }
}

impl FsFile for File {
    fn share(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match Write::write_vectored(self, slices) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn preallocate(&mut self, from: u64, bytes: u64) -> io::Result<()> {
        // XFS preallocates by itself, and btrfs would no longer compress the data.
        if fstatfs(&*self)?.filesystem_type() != EXT4_SUPER_MAGIC {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let number = |bytes| i64::try_from(bytes).map_err(io::Error::other);
        let how = FallocateFlags::FALLOC_FL_KEEP_SIZE;
        Ok(fallocate(&*self, how, number(from)?, number(bytes)?)?)
    }

    fn release(&mut self, len: u64) -> io::Result<()> {
        let modified = self.metadata()?.modified()?;
        Self::set_len(self, len)?;
        self.set_modified(modified)
    }

    fn is_regular(&self) -> bool {
        self.metadata().is_ok_and(|data| data.is_file())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}
