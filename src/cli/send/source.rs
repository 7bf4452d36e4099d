//! The input of `send`: a file, a named pipe that is reopened after its end, or standard input.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::driver::clients::Stop;
use crate::fifo;

/// The source of the lines.
pub(super) struct Source {
    file: File,
    /// True if it is any kind of pipe: its remaining content is still read after a signal.
    pipe: bool,
    /// True if it has a name by which it can be reopened after its end.
    named: bool,
}

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// This many bytes.
    Bytes(usize),
    /// The end of the file, or the writer has closed the pipe.
    End,
    /// A signal came, and nothing more is read.
    Stopped(Left),
}

/// What was left unread at a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Everything available was read.
    Nothing,
    /// There is more to read.
    Some,
}

impl Source {
    /// Opens it; `-` is standard input.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            let stdin: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
            let file = File::from(stdin);
            let pipe = file.metadata()?.file_type().is_fifo();
            return Ok(Self { file, pipe, named: false });
        }
        let (file, pipe) = fifo::open_any(path)?;
        // /dev/stdin and the like may be an unnamed pipe, which cannot be reopened.
        let named = pipe && path.canonicalize().is_ok();
        Ok(Self { file, pipe, named })
    }

    /// Waits for input, and reads it. After a signal only the remaining content of a pipe is read,
    /// as long as there is time.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn read(&mut self, chunk: &mut [u8], stop: &Stop) -> io::Result<Read> {
        loop {
            let readable = self.wait(stop)?;
            if stop.asked() && (!self.pipe || !readable || stop.over()) {
                return self.left(chunk, readable).map(Read::Stopped);
            }
            match self.file.read(chunk) {
                Ok(0) if stop.asked() => return Ok(Read::Stopped(Left::Nothing)),
                Ok(0) => return Ok(Read::End),
                Ok(count) => return Ok(Read::Bytes(count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another reader was faster.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until there is input, or a signal came; returns whether there is input.
    fn wait(&self, stop: &Stop) -> io::Result<bool> {
        loop {
            let mut ready = [
                PollFd::new(self.file.as_fd(), PollFlags::POLLIN),
                PollFd::new(stop.wake.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut ready, PollTimeout::NONE) {
                Ok(_) => return Ok(ready[0].any() == Some(true)),
                Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns whether input remains after a signal.
    fn left(&mut self, chunk: &mut [u8], readable: bool) -> io::Result<Left> {
        // The further input of a terminal or a socket is unknown; a file has an end.
        let is_file = self.file.metadata()?.file_type().is_file();
        let more = match (is_file, self.pipe) {
            (true, _) => self.file.read(&mut chunk[..1])? > 0,
            (false, pipe) => pipe && readable,
        };
        Ok(if more { Left::Some } else { Left::Nothing })
    }

    /// After the end: reopens a named pipe; returns false if that is impossible. The old end is
    /// closed only afterwards, so that lines written meanwhile by the next writer are kept.
    ///
    /// # Errors
    /// The system's; that there is no longer a named pipe at the path.
    pub(super) fn reopen(&mut self, path: &Path) -> io::Result<bool> {
        if self.named {
            self.file = fifo::open(path)?;
        }
        Ok(self.named)
    }
}
