//! Files as an argument: what the daemon asks of a file system, so that a test can be one.

mod open;

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::{FallocateFlags, Flock, FlockArg, fallocate};
use nix::sys::statfs::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, fstatfs};

use crate::limits::{FILE_MODE_DEFAULT, SLICES_MOST};

pub use open::{Access, copy_access, regular, scratch};

/// A file system.
pub trait Fs {
    /// An open file.
    type File: FsFile;

    /// A lock on a folder, held as long as this lives.
    type Lock;

    /// Opens a file for appending and reading, made with `mode` (less the umask) where missing.
    ///
    /// # Errors
    /// The system's.
    fn append(&self, path: &Path, mode: u32) -> io::Result<Self::File>;

    /// Opens an output's file for appending, made with its folders where missing. Behind the
    /// first `trusted` bytes of the path no symbolic link is followed, and the file must be a
    /// regular one; `None` where the whole path is trusted.
    ///
    /// # Errors
    /// The system's; `InvalidInput` where it is a file that cannot be appended to.
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
    /// The system's.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// The same as [`Self::append`] for a file that must be our own: a link is not followed, and
    /// what is no regular file is left alone.
    ///
    /// # Errors
    /// The system's, and that it is no regular file.
    fn append_own(&self, path: &Path, mode: u32) -> io::Result<Self::File> {
        self.append(path, mode)
    }

    /// Opens a file of our own for reading: no link, and a regular file.
    ///
    /// # Errors
    /// The system's, and that it is no regular file.
    fn open_own(&self, path: &Path) -> io::Result<Self::File> {
        self.open(path)
    }

    /// Makes a folder and those above it where missing.
    ///
    /// # Errors
    /// The system's.
    fn create_folders(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name in the same file system, replacing what is there.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file another name in the same file system, which nothing has yet.
    ///
    /// # Errors
    /// The system's; `AlreadyExists` where something has that name.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self.exists(to) {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => self.rename(from, to),
        }
    }

    /// Removes a file.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Whether something has that name.
    fn exists(&self, path: &Path) -> bool;

    /// Whether a regular file has that name; a link to one is none.
    fn is_file(&self, path: &Path) -> bool {
        self.length(path).is_ok()
    }

    /// When a file was last written.
    ///
    /// # Errors
    /// The system's.
    fn modified(&self, path: &Path) -> io::Result<SystemTime>;

    /// The length of a file.
    ///
    /// # Errors
    /// The system's.
    fn length(&self, path: &Path) -> io::Result<u64>;

    /// What is in a folder, in no order.
    ///
    /// # Errors
    /// The system's.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;

    /// The same with what each is, a link not followed.
    ///
    /// # Errors
    /// The system's.
    fn entries(&self, folder: &Path) -> io::Result<Vec<(PathBuf, Kind)>>;

    /// Has the names in a folder survive a crash: those of new files, and that removed ones
    /// are gone (fsync(2), of the folder).
    ///
    /// # Errors
    /// The system's.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Bytes that a file system has left for us.
    ///
    /// # Errors
    /// The system's.
    fn free(&self, folder: &Path) -> io::Result<u64>;

    /// Locks a folder by the file of that path in it, made where missing; `None` where somebody
    /// else holds the lock. The file must be our own, as with [`Self::append_own`].
    ///
    /// # Errors
    /// The system's.
    fn lock(&self, path: &Path) -> io::Result<Option<Self::Lock>>;
}

/// What a name in a folder stands for.
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
pub trait FsFile {
    /// A second handle to the same open file, so that another thread can sync what was written
    /// by then while this one appends on.
    ///
    /// # Errors
    /// The system's.
    fn share(&self) -> io::Result<Self>
    where
        Self: Sized;

    /// Appends as much of the slices as the system takes; the number of bytes.
    ///
    /// # Errors
    /// The system's, where nothing was written.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// The length in bytes.
    ///
    /// # Errors
    /// The system's.
    fn length(&self) -> io::Result<u64>;

    /// Allocates `bytes` bytes from `from` on, behind the end of the file, whose length stays
    /// (fallocate(2), FALLOC_FL_KEEP_SIZE).
    ///
    /// # Errors
    /// The system's; `Unsupported` where it would not make appending cheaper.
    fn preallocate(&mut self, from: u64, bytes: u64) -> io::Result<()>;

    /// Gives back what was allocated behind the end, which is at `len`; the time of the last write
    /// stays.
    ///
    /// # Errors
    /// The system's.
    fn release(&mut self, len: u64) -> io::Result<()>;

    /// Whether it is a regular file, which has a length.
    fn is_regular(&self) -> bool {
        true
    }

    /// Whether it is on a disk of this machine, so that no network keeps a write waiting.
    fn is_local(&self) -> bool;

    /// Cuts the file to `len` bytes, and gives back what was allocated behind it.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&mut self, len: u64) -> io::Result<()>;

    /// Has what was written survive a crash (fdatasync(2)). After an error nothing is known of
    /// what was written since the last time, and asking again must not be believed.
    ///
    /// # Errors
    /// The system's.
    fn sync(&mut self) -> io::Result<()>;

    /// Reads from `offset` on; the number of bytes, 0 at the end.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// Reads all of `buffer` from `offset` on, or up to the end of the file; the number of bytes.
///
/// # Errors
/// The system's.
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
/// The system's; then the file may hold a part, from its old end on.
pub fn write_all(file: &mut impl FsFile, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    write_counted(file, slices, &mut 0)
}

/// The same, with the bytes that are written added to `len`.
///
/// # Errors
/// The system's.
pub fn write_counted(
    file: &mut impl FsFile,
    mut slices: &mut [IoSlice<'_>],
    len: &mut u64,
) -> io::Result<()> {
    while slices.iter().any(|slice| !slice.is_empty()) {
        match file.write(&slices[..slices.len().min(SLICES_MOST)])? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => {
                *len += count as u64;
                IoSlice::advance_slices(&mut slices, count);
            }
        }
    }
    Ok(())
}

/// Puts a small file in the place of another in one step: whatever happens, its name has the
/// old content or the new. It is durable on return.
///
/// # Errors
/// The system's; then the old content is still there, and the new one may be beside it under
/// the same name with `.new` at its end.
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

/// A path with something behind its name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    name.into()
}

/// What the name of a file ends with that is to replace another.
pub const NEW: &str = ".new";

/// The system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsFs;

impl Fs for OsFs {
    type File = File;
    type Lock = Flock<File>;

    fn append(&self, path: &Path, mode: u32) -> io::Result<File> {
        // Opening a named pipe would wait for its reader, and the disk with it.
        if path.metadata().is_ok_and(|data| data.file_type().is_fifo()) {
            let said = "it is a named pipe: write to it with pipe = \"cat > …\" instead";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, said));
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

/// Opens a regular file under its own name. A named pipe would make the opening wait, and what a
/// link leads to is somebody else's.
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
        // XFS preallocates by itself, and btrfs would no longer compress what is written.
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

    fn is_local(&self) -> bool {
        let local = [EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC];
        let is_file = self.metadata().is_ok_and(|data| data.is_file());
        is_file && fstatfs(self).is_ok_and(|system| local.contains(&system.filesystem_type()))
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
