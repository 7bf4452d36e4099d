//! Whether anybody has a file open for writing.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Whether a process has a file open for writing; `None` where that cannot be known: a lease is
/// only given to the file's owner or with CAP_LEASE, and not by every file system (fcntl(2),
/// F_SETLEASE). The lease is given back at once.
pub fn has_writer(file: impl AsFd) -> Option<bool> {
    let descriptor = file.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open, and F_SETLEASE takes an integer.
    let code = unsafe { libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_RDLCK) };
    if code == 0 {
        // SAFETY: as above.
        unsafe { libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_UNLCK) };
        return Some(false);
    }
    (io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN)).then_some(true)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_writer_is_seen_while_it_has_the_file_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let writer = File::create(&path).unwrap();
        let reader = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        // Some file systems give no leases.
        if let Some(seen) = has_writer(&reader) {
            assert!(seen);
            drop(writer);
            assert_eq!(has_writer(&reader), Some(false));
        }
    }
}
