//! The way to a service manager (sd_notify(3)). The loop never waits for it: what it does not take
//! now waits, within bounds.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use crate::limits::NOTES_MOST;

/// The manager's socket.
#[derive(Debug)]
pub(super) struct Notify {
    socket: UnixDatagram,
    address: UnixAddr,
    /// What it did not take yet.
    waiting: VecDeque<(String, Option<OwnedFd>)>,
    /// Whether the last thing said could not be, which is logged once.
    failed: bool,
}

impl Notify {
    /// The socket that the environment names, if it names one.
    pub(super) fn find() -> Option<Self> {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
        match Self::open(&name) {
            Ok(notify) => Some(notify),
            Err(error) => {
                log::warn!("the service manager cannot be told anything: {error}");
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

    /// Says something that must be heard, in the order of the calls.
    pub(super) fn say(&mut self, text: String, fd: Option<BorrowedFd<'_>>) {
        let fd = fd.and_then(|fd| fd.try_clone_to_owned().ok());
        if self.waiting.len() == NOTES_MOST {
            self.waiting.pop_front();
            log::warn!("the service manager does not listen; what it was to be told is lost");
        }
        self.waiting.push_back((text, fd));
        self.go_on();
    }

    /// Says something that is of no use later.
    pub(super) fn mention(&mut self, text: String) {
        self.go_on();
        if self.waiting.is_empty() {
            self.say(text, None);
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Says what waits, as far as it is taken.
    pub(super) fn go_on(&mut self) {
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
                        log::warn!("the service manager (NOTIFY_SOCKET) cannot be told: {error}");
                    }
                }
                Ok(_) => self.failed = false,
            }
            self.waiting.pop_front();
        }
    }
}
