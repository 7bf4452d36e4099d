//! Files as an argument: what the daemon asks of a file system, so that a test can be one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A file system.
pub trait Fs {
    /// An open file.
    type File: FsFile;

    /// Opens a file for appending, made with `mode` (less the umask) where missing.
    ///
    /// # Errors
    /// The system's.
    fn append(&self, path: &Path, mode: u32) -> io::Result<Self::File>;

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

    /// Removes a file.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Whether something has that name.
    fn exists(&self, path: &Path) -> bool;

    /// When a file was last written.
    ///
    /// # Errors
    /// The system's.
    fn modified(&self, path: &Path) -> io::Result<SystemTime>;

    /// What is in a folder, in no order.
    ///
    /// # Errors
    /// The system's.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
}

/// An open file.
pub trait FsFile {
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

    /// Cuts the file to `len` bytes.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
}

/// The system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsFs;

impl Fs for OsFs {
    type File = File;

    fn append(&self, path: &Path, mode: u32) -> io::Result<File> {
        // Opening a named pipe would wait for its reader, and the disk with it.
        if path.metadata().is_ok_and(|data| data.file_type().is_fifo()) {
            let said = "it is a named pipe: write to it with pipe = \"cat > …\" instead";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, said));
        }
        OpenOptions::new().append(true).create(true).mode(mode).open(path)
    }

    fn create_folders(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn exists(&self, path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }

    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        path.metadata()?.modified()
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    }
}

impl FsFile for File {
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

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }
}
