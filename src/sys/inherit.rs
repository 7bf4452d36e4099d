//! Descriptors passed by a service manager at start (sd_listen_fds(3)).

use std::env::var;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// The first passed descriptor.
const FIRST: RawFd = 3;
/// An upper bound; no manager passes more.
const MAX: RawFd = 1024;

/// Takes the passed descriptors, each with its name. Empty if there is no service manager, and on
/// every call after the first.
pub fn take_inherited() -> Vec<(String, OwnedFd)> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name: &str| var(name).ok().and_then(|value| value.parse::<RawFd>().ok());
    let ours = var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string());
    if !ours || TAKEN.swap(true, Ordering::AcqRel) {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").unwrap_or(0).clamp(0, MAX);
    let names = var("LISTEN_FDNAMES").unwrap_or_default();
    let names = names.split(':').map(str::to_string).chain(std::iter::repeat("unknown".into()));
    let own = |(fd, name)| {
        // SAFETY: F_GETFD only reads the flags of a descriptor number; any number is allowed.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        // A descriptor inherited through exec has no close-on-exec flag; those opened by this
        // process have.
        if flags == -1 || flags & libc::FD_CLOEXEC != 0 {
            return None;
        }
        // SAFETY: the service manager passed these descriptors to this process, nothing else in it
        // knows them, and each is returned only once: TAKEN was not set.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
        Some((name, fd))
    };
    (FIRST..FIRST + count).zip(names).filter_map(own).collect()
}
