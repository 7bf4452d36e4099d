//! Opening named pipes for reading.
//!
//! A path that was a named pipe may be something else by the time it is reopened: a cleanup job
//! removed the pipe, and a writer that opened it with O_CREAT created a regular file with its name.
//! Read as a pipe, such a file ends at once, is reopened, and its lines are read without end. So
//! the kind is checked on the open descriptor, at every open.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Opens a named pipe for reading, without waiting for a writer.
///
/// # Errors
/// The system's; of kind `InvalidInput` if it is not a named pipe.
pub fn open(path: &Path) -> io::Result<File> {
    match open_any(path) {
        Ok((file, true)) => Ok(file),
        Err(error) if error.raw_os_error() != Some(libc::ENXIO) => Err(error),
        // A socket cannot even be opened (ENXIO).
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a named pipe (a FIFO); remove it and make one with mkfifo",
        )),
    }
}

/// Opens any file for reading without waiting; also returns whether it is a named pipe.
///
/// # Errors
/// The system's.
pub fn open_any(path: &Path) -> io::Result<(File, bool)> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let is_fifo = file.metadata()?.file_type().is_fifo();
    Ok((file, is_fifo))
}

/// Creates a named pipe if nothing is there.
///
/// # Errors
/// The system's, or that something else is there.
pub fn make(path: &Path) -> io::Result<()> {
    match path.metadata() {
        Ok(data) if data.file_type().is_fifo() => Ok(()),
        Ok(_) => {
            Err(io::Error::other("it exists and is not a named pipe: remove it or name another"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mode = nix::sys::stat::Mode::from_bits_truncate(0o660);
            nix::unistd::mkfifo(path, mode).map_err(|error| match error {
                nix::errno::Errno::EEXIST => io::Error::other(
                    "a link is there that leads nowhere: remove it or name another path",
                ),
                error => error.into(),
            })
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_named_pipe_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert_eq!(open(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "a line\n").unwrap();
        let error = open(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("not a named pipe"), "{error}");
        assert!(!open_any(&path).unwrap().1);
        assert!(open(folder.path()).is_err());
    }
}
