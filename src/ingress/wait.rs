//! Waiting in a receiver that reads one descriptor.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::limits;
use crate::wake::Bell;

/// What a wait ended with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waited {
    Ready,
    Stopped,
    TimedOut,
}

/// Lets a millisecond pass, in which the kernel gathers what comes.
pub(super) fn pause(bell: &Bell) -> Waited {
    let mut fds = [PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(limits::RECV_PAUSE).unwrap_or(PollTimeout::ZERO);
    match poll(&mut fds, timeout) {
        Ok(1..) => Waited::Stopped,
        _ => Waited::TimedOut,
    }
}

/// Waits until there is something to read.
pub(super) fn wait(source: BorrowedFd<'_>, bell: &Bell, longest: Option<Duration>) -> Waited {
    let mut fds =
        [PollFd::new(source, PollFlags::POLLIN), PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
    let timeout = longest.map_or(PollTimeout::NONE, |longest| {
        PollTimeout::try_from(longest).unwrap_or(PollTimeout::MAX)
    });
    // An error can only be an interruption by a signal; the caller looks at its source again.
    let _ = poll(&mut fds, timeout);
    let woke = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
    match (woke(&fds[1]), woke(&fds[0])) {
        (true, _) => Waited::Stopped,
        (false, true) => Waited::Ready,
        (false, false) => Waited::TimedOut,
    }
}
