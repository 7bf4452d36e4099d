//! Lines to the end of a file. They have arrived once the file is on disk.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use super::{Client, Stop};
use crate::limits::UNSYNCED_MAX;

/// A file that lines are appended to.
#[derive(Debug)]
struct Append {
    file: File,
    /// Bytes of whole lines in it.
    length: u64,
    /// Bytes that were written since it was on disk.
    unsynced: u64,
}

/// Opens a file, which is made if it is missing.
///
/// # Errors
/// The system's, or that it is no regular file.
pub fn open(path: &Path) -> io::Result<Box<dyn Client>> {
    let file = File::options().append(true).create(true).open(path)?;
    let data = file.metadata()?;
    if !data.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "this is no regular file"));
    }
    Ok(Box::new(Append { file, length: data.len(), unsynced: 0 }))
}

impl Append {
    /// Writes all, or nothing: a line that did not fit whole is cut back.
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(lines) {
            // What it says of the disk matters more than what keeps it from being cut back.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += lines.len() as u64;
        self.unsynced += lines.len() as u64;
        if self.unsynced >= UNSYNCED_MAX { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.unsynced = 0;
        Ok(())
    }
}

impl Client for Append {
    fn send(&mut self, lines: &[u8], stop: &Stop) -> (usize, io::Result<()>) {
        if stop.over() {
            return (0, Ok(()));
        }
        match self.append(lines) {
            Ok(()) => (lines.len(), Ok(())),
            Err(error) => (0, Err(error)),
        }
    }

    fn unacknowledged(&mut self) -> u64 {
        self.unsynced
    }

    fn settle(&mut self, _stop: &Stop) -> io::Result<()> {
        self.sync()
    }
}
