//! The path of a Unix socket, which goes with it.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io};

/// The path of a Unix socket. Dropped, the path is removed, if it is still this socket's.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    inode: u64,
    stays: AtomicBool,
    /// Set once the path leads elsewhere, though its inode may be the same.
    lost: AtomicBool,
}

impl SocketPath {
    /// The path of a socket that was just bound there.
    ///
    /// # Errors
    /// The system's.
    pub fn bound(path: &Path) -> io::Result<Arc<Self>> {
        Self::at(path, false)
    }

    /// The path of a socket that the service manager has too.
    pub fn kept(path: &Path) -> Option<Arc<Self>> {
        Self::at(path, true).ok()
    }

    fn at(path: &Path, stays: bool) -> io::Result<Arc<Self>> {
        let (inode, stays) = (path.symlink_metadata()?.ino(), AtomicBool::new(stays));
        let lost = AtomicBool::new(false);
        Ok(Arc::new(Self { path: path.to_path_buf(), inode, stays, lost }))
    }

    /// Whether the path stays though nobody here has the socket any more, because somebody else
    /// has it.
    pub fn set_stays(&self, stays: bool) {
        self.stays.store(stays, Ordering::Relaxed);
    }

    /// The path leads elsewhere from now on.
    pub(super) fn set_lost(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let same = |data: fs::Metadata| data.ino() == self.inode && data.file_type().is_socket();
        if !self.stays.load(Ordering::Relaxed)
            && !self.lost.load(Ordering::Relaxed)
            && self.path.symlink_metadata().is_ok_and(same)
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("{}: cannot be removed: {error}", self.path.display());
        }
    }
}
