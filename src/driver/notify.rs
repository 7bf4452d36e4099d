//! Messages to a service manager (sd_notify(3)). The loop never waits for it: messages it does not
//! accept at once are queued, up to a bound.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use crate::limits::NOTES_MAX;

/// The manager's socket.
#[derive(Debug)]
pub(super) struct Notify {
    socket: UnixDatagram,
    address: UnixAddr,
    /// Messages that could not be sent so far.
    waiting: VecDeque<(String, Option<OwnedFd>)>,
    /// True if the last message failed; a failure is logged once.
    failed: bool,
}

impl Notify {
    /// The socket named by the environment, if any.
    pub(super) fn find() -> Option<Self> {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
        match Self::open(&name) {
            Ok(notify) => Some(notify),
            Err(error) => {
                log::warn!("cannot reach the service manager (NOTIFY_SOCKET): {error}");
                None
            }
        }
    }

    fn open(name: &OsStr) -> nix::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => UnixAddr::new_abstract(name)?,
            name => UnixAddr::new(name)?,
        };
        let socket = UnixDatagram::unbound().map_err(|_| Errno::last())?;
        Ok(Self { socket, address, waiting: VecDeque::new(), failed: false })
    }

    /// Sends a message that must arrive, in order of the calls.
    pub(super) fn send(&mut self, text: String, fd: Option<BorrowedFd<'_>>) {
        let fd = fd.and_then(|fd| fd.try_clone_to_owned().ok());
        if self.waiting.len() == NOTES_MAX {
            self.waiting.pop_front();
            log::warn!(
                "the service manager is not reading its notifications; the oldest one was dropped"
            );
        }
        self.waiting.push_back((text, fd));
        self.flush();
    }

    /// Sends a message that is useless later: it is dropped if others are waiting.
    pub(super) fn send_if_idle(&mut self, text: String) {
        self.flush();
        if self.waiting.is_empty() {
            self.send(text, None);
        }
    }

    /// Returns whether nothing is waiting.
    pub(super) fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends waiting messages until the socket blocks.
    pub(super) fn flush(&mut self) {
        while let Some((text, fd)) = self.waiting.front() {
            let fds: Vec<_> = fd.iter().map(AsRawFd::as_raw_fd).collect();
            let rights = [ControlMessage::ScmRights(&fds)];
            let rights = if fds.is_empty() { &[][..] } else { &rights[..] };
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            let text = [IoSlice::new(text.as_bytes())];
            match sendmsg(self.socket.as_raw_fd(), &text, rights, flags, Some(&self.address)) {
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => continue,
                Err(error) => {
                    if !std::mem::replace(&mut self.failed, true) {
                        log::warn!("cannot notify the service manager (NOTIFY_SOCKET): {error}");
                    }
                }
                Ok(_) => self.failed = false,
            }
            self.waiting.pop_front();
        }
    }
}
