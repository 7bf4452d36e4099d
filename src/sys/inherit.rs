//! Descriptors that a service manager hands over at the start (sd_listen_fds(3)).

use std::env::var;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// The first of them.
const FIRST: RawFd = 3;
/// Nobody hands over more.
const MOST: RawFd = 1024;

/// What was handed over, each with its name; nothing where there is no service manager, and
/// nothing the second time.
pub fn take_inherited() -> Vec<(String, OwnedFd)> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name: &str| var(name).ok().and_then(|value| value.parse::<RawFd>().ok());
    let ours = var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string());
    if !ours || TAKEN.swap(true, Ordering::AcqRel) {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").unwrap_or(0).clamp(0, MOST);
    let names = var("LISTEN_FDNAMES").unwrap_or_default();
    let names = names.split(':').map(str::to_string).chain(std::iter::repeat("unknown".into()));
    let own = |(fd, name)| {
        // SAFETY: it asks for the flags of a number, whatever is behind it.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        // What comes through an exec has no such flag; what this process opened itself has.
        if flags == -1 || flags & libc::FD_CLOEXEC != 0 {
            return None;
        }
        // SAFETY: the service manager handed these numbers over to this process, in which nobody
        // else knows of them, and each is given out once: TAKEN was not set.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
        Some((name, fd))
    };
    (FIRST..FIRST + count).zip(names).filter_map(own).collect()
}
