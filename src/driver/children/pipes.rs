//! The pipes to children, as the engine sees them, and what can be asked of one.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;

use mio::unix::pipe;
use nix::fcntl::{FcntlArg, fcntl};

use super::Running;
use super::own_pipes::OwnPipes;
use crate::engine::{Engine, Pipes};
use crate::ids::LaneId;
use crate::limits;
use crate::sys::pipe::unread;

/// The children's pipes and the daemon's own, for the engine.
pub(super) struct Stdins<'a> {
    pub(super) running: &'a mut HashMap<LaneId, Running>,
    pub(super) own: &'a mut OwnPipes,
    /// Children whose pipes will have room in a moment.
    pub(super) retries: &'a mut Vec<LaneId>,
}

impl Stdins<'_> {
    fn stdin(&mut self, lane: LaneId) -> io::Result<&mut pipe::Sender> {
        let stdin = self.running.get_mut(&lane).and_then(|running| running.stdin.as_mut());
        // Its end is about to be reported, and it gets nothing more.
        stdin.ok_or_else(|| ErrorKind::WouldBlock.into())
    }
}

impl Pipes for Stdins<'_> {
    fn hold(&mut self, slot: usize, bytes: &[u8]) -> io::Result<usize> {
        self.own.hold(slot, bytes)
    }

    fn release(&mut self, slot: usize) {
        self.own.release(slot);
    }

    fn share(&mut self, slot: usize, most: usize, last: bool, lane: LaneId) -> io::Result<usize> {
        let stdin = self.running.get(&lane).and_then(|running| running.stdin.as_ref());
        let stdin = stdin.ok_or(ErrorKind::WouldBlock)?;
        self.own.share(slot, most, last, stdin.as_fd())
    }

    fn write(&mut self, lane: LaneId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stdin(lane)?.write_vectored(slices)
    }

    fn retry(&mut self, lane: LaneId) {
        self.retries.push(lane);
    }

    fn unread(&self, lane: LaneId) -> Option<usize> {
        unread(self.running.get(&lane)?.stdin.as_ref()?).ok()
    }
}

/// Makes a child's pipe as large as the system allows this user (fcntl(2), F_SETPIPE_SZ), up to
/// [`limits::PIPE_BUFFER`]: it saves wake-ups. Returns its size.
pub(super) fn enlarge(pipe: impl AsFd) -> Option<u64> {
    let mut wanted = i32::try_from(limits::PIPE_BUFFER).unwrap_or(i32::MAX);
    let size = loop {
        match fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(wanted)) {
            Ok(size) => break Some(size),
            Err(_) if wanted > limits::PIPE_BUFFER_MIN => wanted /= 2,
            Err(_) => break fcntl(&pipe, FcntlArg::F_GETPIPE_SZ).ok(),
        }
    };
    size.and_then(|size| u64::try_from(size).ok())
}

/// A read end of the pipe whose write end is `stdin`, even if its reader is gone (proc(5),
/// /proc/pid/fd: opening a pipe there gives the same pipe).
pub(super) fn reader_of(stdin: &pipe::Sender) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", stdin.as_fd().as_raw_fd());
    std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// Bytes in a pipe.
pub(super) fn pipe_holds(pipe: impl AsFd) -> usize {
    // FIONREAD does not fail on a pipe; if it did, everything written would count as read.
    unread(pipe).unwrap_or(0)
}

/// Tells the engine how much a child has not read.
pub(super) fn note_unread(lane: LaneId, pipe: impl AsFd, engine: &mut Engine) {
    if let Ok(bytes) = unread(pipe) {
        engine.unread(lane, bytes);
    }
}
